"""Fixtures around a real embedded store process: a free port, a temporary directory, a migrated database.

`store_process` starts one a test; `.kill()` is kill -9, `.start()` starts it again on the same directory and port.
"""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sinks.client import Client, Store, connect
from sinks.migrate import migrate

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


@pytest.fixture
def store(store_process: StoreProcess) -> Iterator[Store]:
    """The worker's view of a fresh store."""
    client = connect(store_process.url, patience_s=5)
    yield Store(client, patience_s=5)
    client.close()
