"""Real worker processes for tests and benchmarks, ended by their own pid alone."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures_kafka import free_port

REPOSITORY = Path(__file__).parent.parent
STOP_TIMEOUT_S = 40


class WorkerProcess:
    """`tieout worker` as a child (or `module` that runs it in its own way). `log` is its standard error, `metrics()` its Prometheus page."""

    def __init__(self, folder: Path, name: str, bootstrap: str, store_url: str, *options: str, module: str = "tieout") -> None:  # fmt: skip
        self.name = name
        self.log = folder / f"{name}.log"
        self.metrics_port = free_port()
        self._command = [
            sys.executable, "-m", module, "worker", "--bootstrap", bootstrap, "--store", store_url,
            "--metrics-port", str(self.metrics_port), *options,
        ]  # fmt: skip
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    def start(self) -> "WorkerProcess":
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(self._command, cwd=REPOSITORY, stdout=log, stderr=log)
        return self

    def exit_code(self) -> int | None:
        assert self._child is not None
        return self._child.poll()

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        return self._end(signal.SIGTERM)

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def wake(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5) as page:
            return str(page.read().decode())

    def _end(self, how: signal.Signals) -> int:
        if self._child is None or self._child.poll() is not None:
            return self._child.returncode if self._child else 0
        self._child.send_signal(how)
        try:
            return self._child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
            raise


def verified(bootstrap: str, store_url: str) -> str:
    """What `tieout verify` says of what they hold; fails where it is not proven."""
    command = [sys.executable, "-m", "tieout", "verify", "--bootstrap", bootstrap, "--store", store_url]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=1_800)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """Starts workers: `start_worker(name, bootstrap, store_url, *options, module=...)`; all are ended after the test."""
    started: list[WorkerProcess] = []

    def start(name: str, bootstrap: str, store_url: str, *options: str, module: str = "tieout") -> WorkerProcess:
        worker = WorkerProcess(tmp_path, name, bootstrap, store_url, *options, module=module)
        started.append(worker)
        return worker.start()

    yield start
    for worker in started:
        worker.kill()
