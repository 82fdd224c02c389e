"""What a worker spends on an event, stage by stage: `python -m benchmarks.stages [--cases 40000] [--source 1]`.

The worker's own functions, compiled as in production unless `--source 1`, without Kafka and without a store: CPU microseconds
an event of this process, the least of several runs, over the load of the drain (three-way cases, shuffled), flushed every
`--flush` records.
"""

import gc
import os
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from time import process_time_ns
from typing import NamedTuple

from benchmarks import load
from benchmarks.cluster import environment
from benchmarks.report import publish, settings
from matching.clock import COMPLETE
from matching.policy import load as load_policy
from sinks import client
from sinks.rows import FactBatch
from streams import join
from streams.memory import Partition

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
NUMBER, PARTITIONS = 0, 1


class Record(NamedTuple):
    """What aiokafka hands over, as far as the join reads it."""

    key: bytes
    value: bytes
    offset: int
    timestamp: int


def main() -> None:
    given = settings(__doc__, cases=40_000, flush=20_000, batch=1_000, runs=5, source=0)
    if not given.source and not str(join.__file__).endswith(".so"):
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.stages", *sys.argv[1:]], environment())
    at_ms = int(START.timestamp() * 1000)
    records = [
        Record(message.key.encode(), message.value, offset, at_ms)
        for offset, message in enumerate(load.messages(given.cases, at=START))
    ]
    runs = [spent(records, given.batch, given.flush) for _ in range(given.runs)]
    rows = [
        {"stage": stage, "us_an_event": round(min(run[stage] for run in runs) / 1_000 / len(records), 2)}
        for stage in runs[0]
    ]
    rows.append({"stage": "all", "us_an_event": round(sum(row["us_an_event"] for row in rows), 2)})
    publish("stages", given, rows)


def spent(records: list[Record], batch: int, flush: int) -> Counter[str]:
    """Nanoseconds of each stage over all records."""
    policy = load_policy()
    partition = Partition(NUMBER, 1, policy.limits.facts_of)
    partition.tells_all = False
    terms = join.Terms(policy, START + timedelta(seconds=60), COMPLETE, "{}", "http://127.0.0.1")
    found: Counter[str] = Counter()
    gc.collect()
    gc.freeze()
    for first in range(0, len(records), flush):
        facts = []
        for start in range(first, min(first + flush, len(records)), batch):
            part = records[start : start + batch]
            ended = _Stage(found)
            parsed = join.parse(part)
            ended("parse")
            partition.missing([event.correlationid for event in parsed.events])
            ended("look up")
            join.apply(parsed, partition, PARTITIONS)
            ended("apply")
            facts.append(
                FactBatch("invoices", NUMBER, [r.offset for r in parsed.records], [r.value for r in parsed.records])
            )
            ended("collect")
        ended = _Stage(found)
        judged = join.judge_dirty(partition, partition.take_dirty(), terms)
        ended("judge and encode")
        for gathered in client._gathered(facts):
            b"".join(client._facts_block(gathered))
        ended("facts to wire")
        for rows in client._slices(judged.rows):
            b"".join(client._verdicts_block(rows))
        ended("verdicts to wire")
    gc.unfreeze()
    return found


class _Stage:
    def __init__(self, found: Counter[str]) -> None:
        self._found, self._since = found, process_time_ns()

    def __call__(self, stage: str) -> None:
        now = process_time_ns()
        self._found[stage] += now - self._since
        self._since = process_time_ns()


if __name__ == "__main__":
    main()
