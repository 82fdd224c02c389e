"""One program, from a full log to its last right result.

- The log is filled before the program starts; the program has one core, broker, store and the reader of results the other.
- The results topic has the broker's own time (LogAppendTime): `events_per_s` is events / (the last result's - the first's),
  `with_start_per_s` counts from the start of the process. CPU and memory are those of the process and its children,
  from their start to the last result.
- It is over when nothing has come for QUIET_S and the end state is right; it has failed when nothing has come for STALL_S.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from subprocess import Popen
from typing import Any, NamedTuple

import msgspec
from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks import load
from benchmarks.cluster import Cluster, cluster, cpu_s, end, peak_mb, start, wait_for
from benchmarks.peers.outcome import State, WrongEndState, complaint
from benchmarks.peers.three_way import PARTITIONS, RESULTS

QUIET_S = 5.0
STALL_S = 300.0


class Result(msgspec.Struct):
    case: str
    outcome: str
    variance_minor: int


class Used(NamedTuple):
    cpu_s: float
    peak_mb: float


class Results:
    """The results topic as it grows: the newest state of each case, how many there were, when the first and last came."""

    def __init__(self, bootstrap: str) -> None:
        admin = AdminClient({"bootstrap.servers": bootstrap})
        topic = NewTopic(RESULTS, PARTITIONS, 1, config={"message.timestamp.type": "LogAppendTime"})
        admin.create_topics([topic])[RESULTS].result(20)
        self.partitions = [TopicPartition(RESULTS, number, 0) for number in range(PARTITIONS)]
        self.reader = Consumer({"bootstrap.servers": bootstrap, "group.id": "results", "enable.auto.commit": False})
        wait_for(
            lambda: len(self.reader.list_topics(RESULTS, 10).topics[RESULTS].partitions) == PARTITIONS, RESULTS, 60
        )
        self.reader.assign(self.partitions)
        self.states: dict[str, State] = {}
        self.count, self.first_s, self.last_s = 0, 0.0, 0.0

    def end(self) -> int:
        return sum(self.reader.get_watermark_offsets(each, 10)[1] for each in self.partitions)

    def read(self) -> None:
        """Up to the end as it is now."""
        end = self.end()
        while sum(max(each.offset, 0) for each in self.reader.position(self.partitions)) < end:
            for message in self.reader.consume(10_000, timeout=1.0):
                self._take(message)

    def _take(self, message: Message) -> None:
        moment = message.timestamp()[1] / 1000
        self.count, self.first_s, self.last_s = self.count + 1, self.first_s or moment, max(self.last_s, moment)
        self.first_s = min(self.first_s, moment)
        if not _is_retraction(message):
            result = msgspec.json.decode(message.value() or b"", type=Result)
            self.states[result.case] = (result.outcome, result.variance_minor)


def measure(command: Sequence[str], cases: int) -> dict[str, Any]:
    """`command` is called with a broker's address and an empty folder; raises WrongEndState, or RuntimeError where it ended."""
    with cluster(PARTITIONS) as found:
        records = load.produce(found.kafka.bootstrap, load.messages(cases))
        results = Results(found.kafka.bootstrap)
        folder = found.folder / "state"
        folder.mkdir()
        started_s = time.time()
        process = start([*command, found.kafka.bootstrap, str(folder)], _log(found))
        try:
            used = _drained(process, results, load.truth(cases), _log(found))
        finally:
            end(process)
            results.reader.close()
    return figures(records, (started_s, results.first_s, results.last_s), used) | {"results": results.count}


def figures(records: int, times_s: tuple[float, float, float], used: Used) -> dict[str, Any]:
    """`times_s`: when the process was started, when the first came out of it and when the last; no rate where all came at once."""
    started_s, first_s, last_s = times_s
    return {
        "events": records, "events_per_s": round(records / (last_s - first_s)) if last_s > first_s else None,
        "with_start_per_s": round(records / (last_s - started_s)),
        "cpu_s_per_million": round(used.cpu_s / records * 1e6, 1), "peak_mb": round(used.peak_mb),
    }  # fmt: skip


def _drained(process: "Popen[bytes]", results: Results, truth: dict[str, State], log: Path) -> Used:
    """What was used when the last result was seen; the end state is right."""
    used, seen, moved_s, checked = Used(0.0, 0.0), 0, time.monotonic(), False
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"it ended by itself: {_last_words(log)}")
        reached, idle_s = results.end(), time.monotonic() - moved_s
        if reached != seen:
            used = Used(cpu_s(process.pid), peak_mb(process.pid))
            seen, moved_s, checked = reached, time.monotonic(), False
        elif idle_s > QUIET_S and seen and not checked:
            results.read()
            checked = True
            if not complaint(results.states, truth):
                return used
        elif idle_s > STALL_S:
            wrong = complaint(results.states, truth)
            raise WrongEndState(f"nothing came for {STALL_S:.0f} s; {wrong}; its log ends with: {_last_words(log)}")
        time.sleep(0.25)


def _log(found: Cluster) -> Path:
    return found.folder / "program.log"


def _last_words(log: Path) -> str:
    return " | ".join(line.strip() for line in log.read_text(errors="replace").splitlines()[-5:] if line.strip())


def _is_retraction(message: Message) -> bool:
    """Pathway takes the old result of a case back when it gives the new one; the other programs give the new one alone."""
    return ("pathway_diff", b"-1") in (message.headers() or ())
