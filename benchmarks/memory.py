"""What an open case of three facts takes of a worker's memory, as it is judged and packed: `python -m benchmarks.memory`.

    python -m benchmarks.memory [--cases 200000] [--flush 20000]

The worker's own functions, compiled as in production, without Kafka and without a store. Resident memory after a quarter of the
cases and after all of them, once with every case kept as it is judged and once with all but `flush` records' worth packed: the
slope between the two is a case, whatever the process itself takes. What came back is checked: every case with all its facts.
"""

import gc
import os
import subprocess
import sys
from datetime import timedelta
from typing import Any

from benchmarks import load
from benchmarks.cluster import environment
from benchmarks.report import publish, settings
from benchmarks.stages import NUMBER, PARTITIONS, START, Record
from matching.clock import COMPLETE
from matching.policy import load as load_policy
from streams import join
from streams.memory import Partition

_CHILD = "--child"


def main() -> None:
    if sys.argv[1:2] == [_CHILD]:
        print(*_rss_bytes(*map(int, sys.argv[2:])))
        return
    given = settings(__doc__, cases=200_000, flush=20_000)
    rows = [_row("as it is judged", given, packs=0), _row("packed", given, packs=1)]
    publish("memory", given, rows)


def _row(what: str, given: Any, packs: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.memory", _CHILD, str(given.cases), str(given.flush), str(packs)]
    told = subprocess.run(command, env=environment(), check=True, capture_output=True, text=True).stdout.split()
    return {
        "a case": what,
        "cases": given.cases,
        "bytes_a_case": round((int(told[1]) - int(told[0])) / (given.cases * 3 / 4)),
    }


def _rss_bytes(cases: int, flush: int, packs: int) -> tuple[int, int]:
    """After a quarter of the cases, and after all."""
    policy = load_policy()
    partition = Partition(NUMBER, 1, policy.limits.facts_of, packed=2 * cases * packs)
    partition.tells_all = False
    terms = join.Terms(policy, START + timedelta(seconds=60), COMPLETE, "{}", "http://127.0.0.1")
    at_ms = int(START.timestamp() * 1000)
    found, batch = [], []
    quarter = cases * 3 // 4
    for offset, message in enumerate(load.messages(cases, at=START)):
        batch.append(Record(message.key.encode(), message.value, offset, at_ms))
        if len(batch) == flush or offset == quarter:
            _flushed(batch, partition, terms, flush // 3 if packs else cases)
            batch = []
        if offset == quarter:
            found.append(_resident())
    _flushed(batch, partition, terms, flush // 3 if packs else cases)
    found.append(_resident())
    partition.missing(load.truth(cases))
    facts = sum(entry.case.count for entry in partition.cases.values())
    delivered_twice = cases // 1_000 * 5
    assert facts == load.expected(cases).events - delivered_twice, f"{facts} facts came back"
    return found[0], found[1]


def _flushed(batch: list[Record], partition: Partition, terms: join.Terms, allowed: int) -> None:
    parsed = join.parse(batch)
    partition.missing([event.correlationid for event in parsed.events])
    join.apply(parsed, partition, PARTITIONS)
    join.judge_dirty(partition, partition.take_dirty(), terms)
    partition.evict(allowed)


def _resident() -> int:
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
