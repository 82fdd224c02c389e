"""Fixtures around a real embedded store process: a free port, a temporary directory, a migrated database.

- `store` is the cheap one: a database of the test's own in one process of the session.
- `store_process` is a process of the test's own: `.kill()` is kill -9, `.start()` starts it again on the same directory
  and port, `.url` is where it is.
"""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from sinks.client import Client, Store, connect
from sinks.migrate import migrate

_numbers = count()
REPOSITORY = Path(__file__).parent.parent
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20


class StoreProcess:
    """`python -m sinks.embedded` as a child, ended by its own pid alone."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.port = 0
        self._child: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.directory.with_suffix(".log")

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    def start(self) -> "StoreProcess":
        command = [sys.executable, "-m", "sinks.embedded", str(self.directory), str(self.port)]
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("w") as log:
            self._child = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=log, text=True)
        timer = threading.Timer(START_TIMEOUT_S, self._child.kill)
        timer.start()
        assert self._child.stdout is not None
        line = self._child.stdout.readline().strip()
        timer.cancel()
        if not line:
            raise RuntimeError(f"the store did not start: {self.log.read_text()}")
        self.port = int(line.rpartition(":")[2])
        return self

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        return self._end(signal.SIGTERM)

    def client(self, database: str = "tieout") -> Client:
        return connect(self.url, database, patience_s=0)

    def _end(self, number: signal.Signals) -> int:
        if self._child is None:
            return 0
        child, self._child = self._child, None
        child.send_signal(number)
        try:
            return child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            raise
        finally:
            assert child.stdout is not None
            child.stdout.close()


@pytest.fixture
def start_store(tmp_path: Path) -> Iterator[Callable[..., StoreProcess]]:
    """Starts stores; all are ended after the test. `start_store()` uses one directory of the test's own."""
    started: list[StoreProcess] = []

    def start(directory: Path | None = None) -> StoreProcess:
        process = StoreProcess(directory or tmp_path / "store")
        started.append(process)
        return process.start()

    yield start
    for process in started:
        process.kill()


@pytest.fixture
def store_process(start_store: Callable[..., StoreProcess]) -> StoreProcess:
    """A running store with a migrated, empty database."""
    process = start_store()
    migrate(process.client())
    return process


@pytest.fixture(scope="session")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    """One store for all tests that give themselves a database of their own and neither stop nor fill it."""
    process = StoreProcess(tmp_path_factory.mktemp("shared") / "store").start()
    yield process
    process.kill()


@pytest.fixture
def store(shared_store: StoreProcess) -> Iterator[Store]:
    """The worker's view of an empty, migrated database of the test's own."""
    client = connect(shared_store.url, f"tieout_{next(_numbers)}", patience_s=5)
    migrate(client)
    yield Store(client, patience_s=5)
    client.command(f"DROP DATABASE {client.database} SYNC")
    client.close()
