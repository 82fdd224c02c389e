"""`tieout demo` as a user runs it: it comes up, shows verdicts, and leaves nothing behind but its results."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.test_cli import free_port
from tests.unit.test_supervisor import eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="finds the demo's processes in /proc"),
]
ROOT = Path(__file__).parents[2]
UP_LIMIT_S, DOWN_LIMIT_S = 90.0, 60.0
PARTS = ("broker", "close", "dashboard", "generator", "store", "worker")


class Demo:
    """A demo in a folder of its own; every process of it works in that folder, and by that it is found."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.store_port, self.metrics_port = (free_port() for _ in range(3))
        self.log = folder / "demo.log"
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [
            sys.executable, "-m", "tieout", "demo", "--dir", "kept", "--port", str(self.port),
            "--store-port", str(self.store_port), "--metrics-port", str(self.metrics_port), "--rate", "40",
        ]  # fmt: skip
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(command, cwd=self.folder, env=env, stdout=output, stderr=subprocess.STDOUT)

    def wait_until_live(self) -> None:
        assert self.until(lambda: "tieout is live at" in self.said() or self.process.poll() is not None, UP_LIMIT_S)
        assert f"tieout is live at {self.url} " in self.said(), self.said()

    def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(DOWN_LIMIT_S)

    def said(self) -> str:
        return self.log.read_text()

    def query(self, sql: str) -> str:
        request = urllib.request.Request(f"http://127.0.0.1:{self.store_port}/", sql.encode(), method="POST")
        with urllib.request.urlopen(request, timeout=20) as answer:
            return str(answer.read().decode().strip())

    def processes(self) -> dict[int, str]:
        """Every living process of this demo by its id: its command line."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if (entry / "cwd").resolve() == self.folder and (command := (entry / "cmdline").read_bytes()):
                        found[int(entry.name)] = command.replace(b"\0", b" ").decode()
                except OSError:
                    continue
        return found

    def pid_of(self, part: str) -> int:
        return next(pid for pid, command in self.processes().items() if f"-m tieout {part}" in command)

    @staticmethod
    def until(condition: Callable[[], bool], limit_s: float) -> bool:
        return eventually(condition, limit_s)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path.resolve())
    demo.start()
    try:
        yield demo
    finally:
        for pid in demo.processes():
            os.kill(pid, signal.SIGKILL)
        demo.process.wait(10)


def test_the_demo_shows_verdicts_then_ctrl_c_stops_all_of_it_and_the_next_start_keeps_the_results(demo: Demo) -> None:
    demo.wait_until_live()
    with urllib.request.urlopen(demo.url, timeout=20) as page:
        assert page.status == 200
    assert {path.stem for path in (demo.folder / "kept" / "logs").iterdir()} == set(PARTS)
    assert demo.until(
        lambda: int(demo.query("SELECT count() FROM tieout.open_cases FINAL WHERE outcome = 'break'")) > 5, 60
    )
    assert demo.until(lambda: int(demo.query("SELECT count() FROM tieout.dead_letters FINAL")) > 0, 60)
    assert demo.until(lambda: int(demo.query("SELECT sum(lines) FROM tieout.tie_out_balances")) > 10, 150)
    first = set(demo.query("SELECT case_key FROM tieout.verdicts FINAL").splitlines())

    assert demo.end() == 0
    assert demo.processes() == {}
    assert demo.said().splitlines()[-1] == "stopped"
    assert "everything read is flushed and committed" in (demo.folder / "kept/logs/worker.log").read_text()

    demo.start()
    demo.wait_until_live()
    second = set(demo.query("SELECT case_key FROM tieout.verdicts FINAL").splitlines())
    assert first and first <= second
    assert demo.until(lambda: set(demo.query("SELECT case_key FROM tieout.verdicts FINAL").splitlines()) > first, 60)
    assert demo.end(signal.SIGTERM) == 0
    assert demo.processes() == {}


def test_a_part_that_dies_stops_the_demo_and_the_end_of_its_log_is_shown(demo: Demo) -> None:
    demo.wait_until_live()
    os.kill(demo.pid_of("worker"), signal.SIGKILL)
    assert demo.process.wait(DOWN_LIMIT_S) == 1
    assert "tieout: the worker stopped (killed by SIGKILL); the end of " in demo.said()
    assert "own partitions" in demo.said()
    assert demo.processes() == {}


def test_nothing_is_left_when_the_demo_itself_is_killed(demo: Demo) -> None:
    assert demo.until(lambda: any("-m tieout worker" in command for command in demo.processes().values()), UP_LIMIT_S)
    demo.process.kill()
    demo.process.wait(10)
    assert demo.until(lambda: demo.processes() == {}, DOWN_LIMIT_S), demo.processes()


def test_ctrl_c_while_it_starts_stops_what_has_been_started(demo: Demo) -> None:
    assert demo.until(lambda: any("-m tieout store" in command for command in demo.processes().values()), UP_LIMIT_S)
    assert demo.end() == 0
    assert demo.processes() == {}


def test_a_second_demo_beside_the_first_is_told_which_port_is_in_use(demo: Demo) -> None:
    demo.wait_until_live()
    other = subprocess.run(
        [sys.executable, "-m", "tieout", "demo", "--dir", "other", "--port", str(demo.port)],
        cwd=demo.folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert other.returncode == 2
    assert other.stderr.decode().startswith(f"tieout: port {demo.port} for the dashboard cannot be used")
    assert demo.process.poll() is None
