"""What the benchmarks run against: a real Kafka broker, the embedded store, workers; each on a core of its own choice."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from sinks.client import Client
from sinks.migrate import migrate
from sources.registry import SOURCES
from streams import topics
from tests.fixtures_kafka import Kafka, start_kafka
from tests.fixtures_store import StoreProcess

APP_CORE, REST_CORE = 0, 1
ROOT = Path(__file__).resolve().parent.parent


class Cluster(NamedTuple):
    folder: Path
    kafka: Kafka
    store: StoreProcess

    def client(self) -> Client:
        return self.store.client()

    def worker(self, *options: str, name: str = "worker", pinned: bool = True) -> "subprocess.Popen[bytes]":
        """A worker, started; it writes into `log(name)`."""
        command = [sys.executable, "-m", "tieout", "worker", "--bootstrap", self.kafka.bootstrap, "--store", self.store.url, "--metrics-port", "0"]  # fmt: skip
        return start([*command, *options], self.log(name), pinned=pinned)

    def log(self, name: str = "worker") -> Path:
        return self.folder / f"{name}.log"


@contextmanager
def cluster(partitions: int = 8, *, pinned: bool = True, sources: Sequence[str] = tuple(SOURCES)) -> Iterator[Cluster]:
    """Broker and store, migrated and with topics; `pinned` to the second core where there is one, and we with them."""
    environment()  # compiled before anybody's clock runs
    ours = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory(prefix="tieout-bench-") as name:
        folder = Path(name)
        kafka = start_kafka(folder / "kafka")
        store = StoreProcess(folder / "store").start()
        try:
            for pid in (kafka.pid, store.pid, os.getpid()) if pinned else ():
                pin(pid, REST_CORE)
            migrate(store.client())
            topics.create(kafka.bootstrap, partitions=partitions, replication=1, sources=tuple(sources))
            yield Cluster(folder, kafka, store)
        finally:
            store.kill()
            kafka.kill()
            os.sched_setaffinity(0, ours)


def pin(pid: int, core: int) -> None:
    """All threads of a process onto one core; on a machine of one core nothing is pinned."""
    if (os.cpu_count() or 1) > 1:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(ProcessLookupError):  # it has ended since
                os.sched_setaffinity(int(thread), {core})


def cpu_s(pid: int) -> float:
    """CPU seconds a process and its children have used, all threads, the children that have ended included."""
    ticks = 0
    for each in _with_children(pid):
        fields = _read(f"/proc/{each}/stat").rpartition(")")[2].split()
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def peak_mb(pid: int) -> float:
    """The most that a process has held, with the most that each of its children has."""
    kilobytes = 0
    for each in _with_children(pid):
        for line in _read(f"/proc/{each}/status").splitlines():
            if line.startswith("VmHWM"):
                kilobytes += int(line.split()[1])
    return kilobytes / 1024


@cache
def environment() -> dict[str, str]:
    """In which tieout runs compiled, as in production, from the source as it is."""
    subprocess.run([ROOT / "scripts" / "compiled.sh"], check=True)
    paths = os.pathsep.join((str(ROOT / ".tieout" / "compiled"), str(ROOT)))
    return {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": paths}


def start(command: Sequence[str], log: Path, *, pinned: bool = True) -> "subprocess.Popen[bytes]":
    """Ours run compiled, as in production. `pinned` to the first core, with all threads and children, where there are two cores."""
    only = ["taskset", "--cpu-list", str(APP_CORE)] if pinned and (os.cpu_count() or 1) > 1 else []
    with log.open("ab") as output:
        return subprocess.Popen([*only, *command], stdout=output, stderr=output, env=environment())


def end(process: "subprocess.Popen[bytes]") -> None:
    """kill -9 of a process that `start` gave, and of its children."""
    for pid in _with_children(process.pid) if process.poll() is None else ():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(30)


def _with_children(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            found.extend(int(child) for child in _read(children).split())
    return found


def _read(path: str | Path) -> str:
    """A file under /proc; nothing, where its process has just ended."""
    try:
        return Path(path).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


class Ran(NamedTuple):
    """What a whole process used, its start included."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def ran(command: Sequence[str], log: Path) -> Ran:
    """Runs a command of tieout to its end, pinned to one core. Raises RuntimeError with its log where it fails."""
    environment()  # compiled before the clock runs
    began_s = time.monotonic()
    process = start([sys.executable, "-m", "tieout", *command], log)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"tieout {command[0]} ended with {process.returncode}: {log.read_text()[-3_000:]}")
    return Ran(time.monotonic() - began_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def wait_for(condition: Callable[[], bool], what: str, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"still not so after {patience_s} s: {what}")
        time.sleep(0.25)
