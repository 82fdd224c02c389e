"""What an event and a case take on the store's disk, and whether merges keep up with flushes.

    python -m benchmarks.storage [--cases 50000] [--rate 2000] [--json FILE]

A generated company's records, its faults and refused records among them, are produced at `rate` a second and go through broker
and worker into the store, with up to five flushes a second meanwhile. Reported: bytes on disk of each table and column, an event
and a case, when all is merged; how many parts one partition of a table had at the most while it went on; CPU of worker and store.
The end state is checked: what had to be refused is, and every case has a verdict.
"""

import argparse
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from benchmarks.cluster import Cluster, cluster, cpu_s, start, wait_for
from company.business import simulate
from company.faults import LIVING
from company.truth import Truth
from sinks.client import Client
from streams.publisher import producer_config
from streams.topics import raw_topic

PATIENCE_S = 900
SEED = 7

PARTS = "SELECT table, partition, count() FROM system.parts WHERE active AND database = currentDatabase() GROUP BY table, partition"
TABLES = """
SELECT table, sum(rows) AS rows, sum(bytes_on_disk) AS bytes FROM system.parts
WHERE active AND database = currentDatabase() GROUP BY table ORDER BY bytes DESC
"""
COLUMNS = """
SELECT table, column, sum(column_bytes_on_disk) AS bytes FROM system.parts_columns
WHERE active AND database = currentDatabase() GROUP BY table, column ORDER BY bytes DESC
"""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--cases", type=int, default=50_000)
    arguments.add_argument("--rate", type=int, default=2_000)
    arguments.add_argument("--json", type=Path)
    given = arguments.parse_args()
    figures = measure(given.cases, given.rate)
    _show(figures)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2))


def measure(cases: int, rate: int) -> dict[str, Any]:
    with cluster(pinned=False) as found:
        command = [sys.executable, "-m", "tieout", "worker", "--bootstrap", found.kafka.bootstrap, "--store", found.store.url, "--metrics-port", "0"]  # fmt: skip
        worker = start(command, found.folder / "worker.log", pinned=False)
        client = found.client()
        try:
            wait_for(lambda: "own partitions" in (found.folder / "worker.log").read_text(), "an assignment", PATIENCE_S)
            with _most_parts(found) as parts:
                letters = _produce(found.kafka.bootstrap, cases, rate)
                wait_for(lambda: _is_quiet(client), "everything read and judged", PATIENCE_S)
            cpu = {"worker": cpu_s(worker.pid), "store": cpu_s(found.store.pid)}
        finally:
            worker.terminate()
            worker.wait(30)
        return _figures(client, cases, letters) | {"most_parts": dict(sorted(parts.items())), "cpu_s": cpu}


def _figures(client: Client, cases: int, letters: int) -> dict[str, Any]:
    before = _bytes(client)
    for table in before:
        client.command(f"OPTIMIZE TABLE {table} FINAL")
    after = _bytes(client)
    events, refused, judged = client.query(
        "SELECT (SELECT count() FROM facts FINAL), (SELECT count() FROM dead_letters FINAL), (SELECT count() FROM verdicts FINAL)"
    ).first_row
    assert refused == letters, f"{refused} dead letters, {letters} planted"
    assert judged >= cases, f"{judged} verdicts of {cases} cases"
    return {
        "events": events, "cases": judged, "raw_bytes_an_event": client.query("SELECT avg(length(raw)) FROM facts").first_row[0],
        "bytes_an_event": sum(after.values()) / events, "bytes_an_event_before_merges": sum(before.values()) / events,
        "bytes_a_case": sum(after.values()) / judged,
        "tables": {table: {"rows": rows, "bytes": size} for table, rows, size in client.query(TABLES).result_rows},
        "columns": {f"{table}.{column}": size for table, column, size in client.query(COLUMNS).result_rows},
    }  # fmt: skip


def _bytes(client: Client) -> dict[str, int]:
    return {table: size for table, _, size in client.query(TABLES).result_rows}


def _produce(bootstrap: str, cases: int, rate: int) -> int:
    """The company's records at `rate` a second; returns how many of them must be refused."""
    truth, now = Truth(), datetime.now(UTC)
    company = simulate(SEED, cases, now - timedelta(days=300), now - timedelta(days=200), LIVING, truth)
    producer = Producer(producer_config(bootstrap, "benchmark"))
    began = time.monotonic()
    for count, delivery in enumerate(company):
        if (wait_s := began + count / rate - time.monotonic()) > 0.001:
            time.sleep(wait_s)
        producer.produce(raw_topic(delivery.source), delivery.body, delivery.key)
        producer.poll(0)
    producer.flush(60)
    return len(truth.dead_letters)


def _is_quiet(client: Client) -> bool:
    """Everything is read, and nothing has changed for two seconds."""
    query = "SELECT sum(lag) = 0, (SELECT max(visible_at) FROM verdicts) < now64(3) - toIntervalSecond(2) FROM positions FINAL"
    return all(client.query(query).first_row)


@contextmanager
def _most_parts(found: Cluster) -> Iterator[dict[str, int]]:
    """By table: how many active parts one of its partitions had at the most, looked at twice a second."""
    most: dict[str, int] = {}
    done = threading.Event()
    client = found.client()

    def look() -> None:
        while not done.wait(0.5):
            for table, _, count in client.query(PARTS).result_rows:
                most[table] = max(most.get(table, 0), count)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield most
    finally:
        done.set()
        watcher.join()


def _show(figures: dict[str, Any]) -> None:
    events, cases = figures["events"], figures["cases"]
    print(f"{events} events of {figures['raw_bytes_an_event']:.0f} bytes, {cases} cases")
    print(f"{figures['bytes_an_event']:.1f} bytes on disk an event, {figures['bytes_a_case']:.0f} a case; {figures['bytes_an_event_before_merges']:.1f} before merges")  # fmt: skip
    print(f"CPU {figures['cpu_s']}; most parts in a partition {figures['most_parts']}")
    for table, size in figures["tables"].items():
        print(f"\n{table:24}{size['rows']:>10} rows{size['bytes'] / events:>9.2f} bytes an event{size['bytes'] / size['rows']:>9.1f} a row")  # fmt: skip
        for name, column in figures["columns"].items():
            if name.split(".")[0] == table and column / events >= 0.05:
                print(f"    {name.split('.', 1)[1]:20}{column / events:>9.2f}")


if __name__ == "__main__":
    main()
