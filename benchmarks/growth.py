"""How tieout grows: curves of rate, memory and latency along one axis at a time, the others as they usually are.

    python -m benchmarks.growth                                     # each axis, short
    python -m benchmarks.growth --open-cases 100000 1000000 5000000 10000000
    python -m benchmarks.growth --facts 3 30 300 --breaks-per-mille 1 50 500
    python -m benchmarks.growth --partitions 8 64 256 --workers 1 2

With a flag of an axis only the axes that are named. A point is a cluster of its own, nothing pinned: the store is filled
with `open_cases` invoices, `events` records lie in the log, and `workers` are started on it (rate, CPU, memory); once it is
empty, `rate` events a second come for `seconds` (latency). CPU is of all workers together, memory their peaks summed. With
several workers the rate includes that they find each other. `events` must be enough for many flushes. The end state of every point is checked: every record a fact,
nothing left to read, each case's outcome and variance as planted, no case lost or new.
"""

import subprocess
import time
from typing import Any, NamedTuple

from benchmarks import drain, latency, load, restart
from benchmarks.cluster import Cluster, cluster, cpu_s, peak_mb, wait_for
from benchmarks.peers.outcome import check
from benchmarks.peers.runs import Used, figures
from benchmarks.report import publish, settings
from sinks.client import Store

PATIENCE_S = 1_800
SOURCE = "canonical"  # no topics of the others: with many partitions they would be most of the broker's work


class Point(NamedTuple):
    open_cases: int = 0
    facts: int = 3
    partitions: int = 8
    workers: int = 1
    breaks_per_mille: int = 10

    @property
    def shape(self) -> load.Shape:
        return load.Shape(self.facts, self.breaks_per_mille)


SHORT = {
    "open_cases": (0, 100_000),
    "facts": (3, 30, 300),
    "partitions": (8, 64),
    "workers": (1, 2),
    "breaks_per_mille": (1, 50, 500),
}


def main() -> None:
    given = settings(__doc__, events=60_000, rate=500, seconds=10, **dict.fromkeys(SHORT, ()))
    named = {axis: getattr(given, axis) for axis in SHORT if getattr(given, axis)}
    rows: list[dict[str, Any]] = []
    for axis, values in (named or SHORT).items():
        for value in values:
            point = Point()._replace(**{axis: value})
            rows.append({"axis": axis} | point._asdict() | measure(point, given.events, given.rate, given.seconds))
            print(rows[-1], flush=True)
    publish("growth", given, rows)


def measure(point: Point, events: int, rate: int, seconds: int) -> dict[str, Any]:
    cases, paced_cases = max(1, events // point.facts), max(1, rate * seconds // point.facts)
    with cluster(point.partitions, pinned=False, sources=(SOURCE,)) as found:
        restart.fill(Store(found.client()), point.open_cases, point.partitions)
        records = load.produce(found.kafka.bootstrap, load.messages(cases, shape=point.shape))
        store_before_s, started_s = cpu_s(found.store.pid), time.time()
        workers = [found.worker("--sources", SOURCE, name=f"worker-{number}", pinned=False) for number in range(point.workers)]  # fmt: skip
        try:
            _wait_until_read(found, point.open_cases + records)
            used, store_cpu = _used(workers), cpu_s(found.store.pid) - store_before_s
            coming = load.messages(paced_cases, prefix="L", shape=point.shape)
            sent, behind_s = latency.paced(latency.producer(found.kafka.bootstrap), coming, rate)
            _wait_until_read(found, point.open_cases + records + sent)
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.wait(60)
        client = found.client()
        first, last = client.query(
            "SELECT toFloat64(min(received_at)), toFloat64(max(received_at)) FROM facts WHERE case_key LIKE '%:B-%'"
        ).first_row
        check(drain.states(client), load.truth(cases, shape=point.shape))
        known = client.query("SELECT count() FROM verdicts FINAL").first_row[0]
        assert known == point.open_cases + cases + paced_cases, f"{known} cases"
        seen = latency.percentiles(client, "L")
    return figures(records, (started_s, first, last), used) | {
        "store_cpu_s_per_million": round(store_cpu / records * 1e6, 1), "p50_s": seen["p50_s"], "p99_s": seen["p99_s"],
        "sender_behind_s": round(behind_s, 3),
    }  # fmt: skip


def _used(workers: "list[subprocess.Popen[bytes]]") -> Used:
    return Used(sum(cpu_s(worker.pid) for worker in workers), sum(peak_mb(worker.pid) for worker in workers))


def _wait_until_read(found: Cluster, facts: int) -> None:
    """What is read again after a rebalance has two rows until they are merged."""
    client = found.client()
    wait_for(lambda: client.query("SELECT count() FROM facts").first_row[0] >= facts, "every record read", PATIENCE_S)
    wait_for(
        lambda: client.query("SELECT count() FROM facts FINAL").first_row[0] == facts, "every record a fact", PATIENCE_S
    )
    wait_for(lambda: client.query("SELECT max(lag) FROM positions FINAL").first_row[0] == 0, "all flushed", PATIENCE_S)


if __name__ == "__main__":
    main()
