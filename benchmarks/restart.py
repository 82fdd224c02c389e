"""A worker starts on a store full of open cases: how long to its first verdict, and how much memory it takes.

    python -m benchmarks.restart [--cases 1000000] [--events 200000] [--cached 200000]

The store is filled with open invoices: a fact and the verdict of each, and the positions, as a worker would have left them.
Then records for cases spread over all of them are appended and a worker is started, which keeps `cached` cases in memory at
the most. The group has been there before.
Reported: seconds from the start of the process to its partitions and to its first verdict that can be seen, memory when it
had loaded and at its peak. The end state is checked: every record a fact of its case beside the old one, no case new.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks import load
from benchmarks.cluster import Cluster, cluster, peak_mb, wait_for
from benchmarks.report import publish, settings
from canonical.structs import decode
from matching.case import Case
from matching.judge import judge
from matching.policy import load as load_policy
from matching.verdict import parts
from sinks.client import Store
from sinks.rows import FactBatch, PositionRow, VerdictRow
from streams.partitioner import partition_of
from streams.positions import BEGINNING

PARTITIONS = 8
CHUNK = 50_000
PATIENCE_S = 900


def main() -> None:
    given = settings(__doc__, cases=1_000_000, events=200_000, cached=200_000)
    publish("restart", given, [measure(given.cases, given.events, given.cached)])


def measure(cases: int, events: int, cached: int) -> dict[str, Any]:
    with cluster(PARTITIONS, pinned=False) as found:
        fill(Store(found.client()), cases, PARTITIONS)
        _start_once(found)
        load.produce(found.kafka.bootstrap, _postings(cases, events))
        log = found.log()
        client = found.client()
        started = time.monotonic()
        worker = found.worker("--cached-cases", str(cached), pinned=False)
        try:
            wait_for(lambda: "own partitions" in log.read_text(), "an assignment", PATIENCE_S)
            assigned_s = time.monotonic() - started
            loaded_mb = peak_mb(worker.pid)
            wait_for(lambda: _count(client, "verdicts WHERE epoch > 0") > 0, "the first verdict", PATIENCE_S)
            first_s = time.monotonic() - started
            wait_for(lambda: _count(client, "verdicts WHERE epoch > 0") >= events, "most verdicts", PATIENCE_S)
            wait_for(lambda: _count(client, "verdicts FINAL WHERE facts = 2") == events, "all verdicts", PATIENCE_S)
            all_s, peak = time.monotonic() - started, peak_mb(worker.pid)
            assert _count(client, "verdicts FINAL") == cases, "a known case was taken for a new one"
        finally:
            worker.terminate()
            worker.wait(60)
    return {
        "open_cases": cases, "cached": cached, "records": events, "assigned_s": round(assigned_s, 1),
        "first_verdict_s": round(first_s, 1), "all_s": round(all_s, 1), "loaded_mb": round(loaded_mb), "peak_mb": round(peak),
    }  # fmt: skip


def _start_once(found: Cluster) -> None:
    """A broker that never had a group takes seconds to make room for the first."""
    log = found.log("earlier")
    worker = found.worker(name="earlier", pinned=False)
    wait_for(lambda: "own partitions" in log.read_text(), "an assignment", PATIENCE_S)
    worker.terminate()
    worker.wait(60)


def _count(client: Any, what: str) -> int:
    return int(client.query(f"SELECT count() FROM {what}").first_row[0])


def _invoice() -> bytes:
    return next(message.value for message in load.messages(40, at=datetime.now(UTC)) if message.topic == "invoices")


def _name(raw: bytes) -> bytes:
    return decode(raw).correlationid.rpartition(":")[2].encode()


def fill(store: Store, cases: int, partitions: int) -> None:
    """One invoice a case, due in a month, and its verdict."""
    raw = _invoice()
    name, now = _name(raw), datetime.now(UTC)
    event = decode(raw)
    case = Case(event.correlationid)
    case.add(event)
    verdict, controls = parts(judge(case, load_policy(None), now - timedelta(seconds=1)))
    numbered = [b"R-%08d" % number for number in range(cases)]
    prefix = event.correlationid.encode()[: -len(name)]
    for first in range(0, cases, CHUNK):
        chunk = numbered[first : first + CHUNK]
        homes = [partition_of(prefix + each, partitions) for each in chunk]
        store.write_verdicts([
            VerdictRow(home, 0, first + place + 1, now, now, 1, True, "{}", verdict.replace(name, each), controls)
            for place, (home, each) in enumerate(zip(homes, chunk, strict=True))
        ])  # fmt: skip
        for number in range(partitions):
            mine = [each for home, each in zip(homes, chunk, strict=True) if home == number]
            offsets = range(10**9 + first, 10**9 + first + len(mine))
            store.write_facts([FactBatch("invoices", number, offsets, [raw.replace(name, each) for each in mine])])
    store.write_positions([
        PositionRow("invoices", "", number, 0, 0, cases, now, 0, 0, 0, BEGINNING, BEGINNING, now, "{}")
        for number in range(partitions)
    ])  # fmt: skip


def _postings(cases: int, events: int) -> Iterator[load.Message]:
    """A posting each of `events` cases, spread evenly over all."""
    raw = next(message.value for message in load.messages(40, at=datetime.now(UTC)) if message.topic == "postings")
    name = _name(raw)
    key = decode(raw).correlationid
    for number in range(events):
        each = b"R-%08d" % (number * cases // events)
        yield load.Message("postings", key.replace(name.decode(), each.decode()), raw.replace(name, each))


if __name__ == "__main__":
    main()
