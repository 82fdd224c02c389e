"""What the benchmarks run against: a real Kafka broker, the embedded store, workers; each on a core of its own choice."""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from sinks.client import Client
from sinks.migrate import migrate
from sources.registry import SOURCES
from streams import topics
from tests.fixtures_kafka import Kafka, start_kafka
from tests.fixtures_store import StoreProcess

APP_CORE, REST_CORE = 0, 1


class Cluster(NamedTuple):
    folder: Path
    kafka: Kafka
    store: StoreProcess

    def client(self) -> Client:
        return self.store.client()


@contextmanager
def cluster(partitions: int = 8, *, pinned: bool = True) -> Iterator[Cluster]:
    """Broker and store, migrated and with topics; `pinned` to the second core where there is one."""
    with tempfile.TemporaryDirectory(prefix="tieout-bench-") as name:
        folder = Path(name)
        kafka = start_kafka(folder / "kafka")
        store = StoreProcess(folder / "store").start()
        try:
            for pid in (kafka.pid, store.pid) if pinned else ():
                pin(pid, REST_CORE)
            migrate(store.client())
            topics.create(kafka.bootstrap, partitions=partitions, replication=1, sources=tuple(SOURCES))
            yield Cluster(folder, kafka, store)
        finally:
            store.kill()
            kafka.kill()


def pin(pid: int, core: int) -> None:
    """All threads of a process onto one core; on a machine of one core nothing is pinned."""
    if (os.cpu_count() or 1) > 1:
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(thread), {core})


def cpu_s(pid: int) -> float:
    """CPU seconds a process has used, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def start(command: Sequence[str], log: Path, *, pinned: bool = True) -> "subprocess.Popen[bytes]":
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, "PYTHONPATH": "."})
    if pinned:
        pin(process.pid, APP_CORE)
    return process


def wait_for(condition: Callable[[], bool], what: str, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"still not so after {patience_s} s: {what}")
        time.sleep(0.25)
