"""How fast one worker drains a full log, facts and verdicts in ClickHouse before the commit; stock Faust beside it.

    python -m benchmarks.drain [--cases 200000] [--stock-cases 10000] [--json FILE]

The log is filled before the run. The rate is distinct records / (when the last fact was stored - when the first was),
the worker pinned to one core, broker and store to the other. The end state is checked: every record a fact, every fact
in a verdict, every wrong amount a break.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks import load
from benchmarks.cluster import Cluster, cluster, cpu_s, peak_mb, start, wait_for

PATIENCE_S = 900
PARTITIONS = 8
RESULTS = "stock-results"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--cases", type=int, default=200_000)
    arguments.add_argument("--stock-cases", type=int, default=10_000)
    arguments.add_argument("--json", type=Path)
    given = arguments.parse_args()
    results = {"tieout": tieout(given.cases), "stock Faust": stock(given.stock_cases)}
    results["ratio"] = {
        "events_per_s": round(results["tieout"]["events_per_s"] / results["stock Faust"]["events_per_s"], 1)
    }
    for name, figures in results.items():
        print(f"{name:12} {figures}")
    if given.json:
        given.json.write_text(json.dumps(results, indent=2))


def tieout(cases: int) -> dict[str, Any]:
    with cluster(PARTITIONS) as found:
        records = load.produce(found.kafka.bootstrap, load.messages(cases))
        command = [sys.executable, "-m", "tieout", "worker", "--bootstrap", found.kafka.bootstrap, "--store", found.store.url, "--metrics-port", "0"]  # fmt: skip
        worker = start(command, found.folder / "worker.log")
        client = found.client()
        try:
            wait_for(lambda: _facts(client) == records, "every record a fact", PATIENCE_S)
            expected = load.expected(cases)
            wait_for(lambda: _judged(client) == expected.events - cases // 1_000 * 5, "every fact judged", 60)
            cpu, peak, store_cpu = cpu_s(worker.pid), peak_mb(worker.pid), cpu_s(found.store.pid)
        finally:
            worker.terminate()
            worker.wait(30)
        first, last = client.query(
            "SELECT toFloat64(min(received_at)), toFloat64(max(received_at)) FROM facts"
        ).first_row
        wrong = client.query("SELECT count() FROM verdicts FINAL WHERE has(break_classes, 'amount')").first_row[0]
        assert wrong == expected.wrong_amount, f"{wrong} breaks, {expected.wrong_amount} planted"
        rows = client.query("SELECT count() FROM verdict_history").first_row[0]
    return {
        "events": records, "events_per_s": round(records / (last - first)), "cpu_s_per_million": round(cpu / records * 1e6, 1),
        "store_cpu_s_per_million": round(store_cpu / records * 1e6, 1), "peak_mb": round(peak), "verdicts_per_case": round(rows / cases, 2),
    }  # fmt: skip


def stock(cases: int) -> dict[str, Any]:
    with cluster(PARTITIONS) as found:
        records = load.produce(found.kafka.bootstrap, load.messages(cases))
        admin = AdminClient({"bootstrap.servers": found.kafka.bootstrap})
        admin.create_topics([NewTopic(RESULTS, PARTITIONS, 1)])[RESULTS].result(20)
        command = [sys.executable, "-m", "benchmarks.stock_faust", found.kafka.bootstrap, str(PARTITIONS)]
        worker = start(command, found.folder / "stock.log")
        try:
            first, last = _results(found, records)
            cpu, peak = cpu_s(worker.pid), peak_mb(worker.pid)
        finally:
            worker.kill()
            worker.wait(30)
    return {
        "events": records, "events_per_s": round(records / (last - first)), "cpu_s_per_million": round(cpu / records * 1e6, 1),
        "peak_mb": round(peak),
    }  # fmt: skip


def _facts(client: Any) -> int:
    return int(client.query("SELECT count() FROM facts").first_row[0])


def _judged(client: Any) -> int:
    return int(client.query("SELECT sum(facts) FROM verdicts FINAL").first_row[0])


def _results(found: Cluster, records: int) -> tuple[float, float]:
    """When the first and the last of `records` results were seen, by a reader that does not share the app's core."""
    reader = Consumer(
        {"bootstrap.servers": found.kafka.bootstrap, "group.id": "count", "auto.offset.reset": "earliest"}
    )
    deadline = time.monotonic() + PATIENCE_S
    reader.assign([TopicPartition(RESULTS, number, 0) for number in range(PARTITIONS)])
    seen, first, last = 0, 0.0, 0.0
    while seen < records and time.monotonic() < deadline:
        for message in reader.consume(5_000, timeout=1.0):
            moment = message.timestamp()[1] / 1000
            first, last = min(first or moment, moment), max(last, moment)
            seen += 1
    reader.close()
    if seen < records:
        raise TimeoutError(f"stock Faust gave {seen} of {records} results")
    return first, last


if __name__ == "__main__":
    main()
