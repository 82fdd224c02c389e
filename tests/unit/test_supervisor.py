"""Processes that were started together are watched, and none is left when it is over."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.supervisor import ChildDied, Supervisor, TookTooLong, port_holder

PYTHON = sys.executable
SLEEP = [PYTHON, "-c", "import time; time.sleep(60)"]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def eventually(condition: Callable[[], bool], limit_s: float = 10) -> bool:
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def pid_from(log: Path) -> int | None:
    text = log.read_text().strip()
    return int(text) if text else None


def test_children_end_in_the_reverse_order_of_their_start(tmp_path: Path) -> None:
    order = tmp_path / "order"
    told = f"import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: (open({str(order)!r}, 'a').write(sys.argv[1]), sys.exit()))\nprint('up', flush=True)\nsignal.pause()"
    with Supervisor(tmp_path / "logs") as processes:
        for name in "abc":
            child = processes.start(name, [PYTHON, "-c", told, name])
            processes.wait_for(name, lambda log=child.log: log.read_text() or None, 10)  # type: ignore[misc]
    assert order.read_text() == "cba"


def test_a_child_that_dies_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(ChildDied) as died, Supervisor(tmp_path) as processes:
        other = processes.start("other", SLEEP)
        processes.start("store", [PYTHON, "-c", "import sys; print('line one'); sys.exit('the disk is full')"])
        processes.watch(10)
    assert "the store stopped (exit code 1)" in str(died.value)
    assert "    the disk is full" in str(died.value)
    assert other.process.poll() is not None


def test_a_child_that_was_killed_is_told_by_its_signal(tmp_path: Path) -> None:
    with pytest.raises(ChildDied, match="killed by SIGKILL"), Supervisor(tmp_path) as processes:
        os.kill(processes.start("worker", SLEEP).process.pid, signal.SIGKILL)
        processes.watch(10)


def test_a_child_that_does_not_answer_sigterm_is_killed_with_its_own_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.supervisor.STOP_LIMIT_S", 0.3)
    stubborn = "import signal, subprocess, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint(subprocess.Popen([sys.executable, '-c', 'import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)']).pid, flush=True)\ntime.sleep(60)"
    with Supervisor(tmp_path) as processes:
        child = processes.start("stubborn", [PYTHON, "-c", stubborn])
        grandchild = processes.wait_for("its child", lambda: pid_from(child.log), 10)
        assert is_alive(grandchild)
    assert child.process.returncode == -signal.SIGKILL
    assert eventually(lambda: not is_alive(grandchild))


def test_what_a_child_left_behind_ends_with_it(tmp_path: Path) -> None:
    leaves = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid, flush=True)"
    with Supervisor(tmp_path) as processes:
        child = processes.start("leaves", [PYTHON, "-c", leaves])
        grandchild = pid_from(child.log) or 0
        assert eventually(lambda: pid_from(child.log) is not None)
        grandchild = pid_from(child.log)
        assert grandchild is not None
        child.process.wait(10)
    assert eventually(lambda: not is_alive(grandchild))


def test_waiting_ends_with_a_sentence_that_says_what_did_not_come(tmp_path: Path) -> None:
    with pytest.raises(TookTooLong, match="the moon did not come within 0 s"), Supervisor(tmp_path) as processes:
        processes.wait_for("the moon", lambda: None, 0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_children_end_when_the_supervisor_itself_is_killed(tmp_path: Path) -> None:
    child = "from streams.supervisor import follow_parent; follow_parent(); import os, signal; print(os.getpid(), flush=True); signal.pause()"
    parent = f"from pathlib import Path; from streams.supervisor import Supervisor; import sys\nwith Supervisor(Path({str(tmp_path)!r})) as p: p.start('child', [sys.executable, '-c', {child!r}]); p.watch()"
    process = subprocess.Popen([PYTHON, "-c", parent])
    try:
        log = tmp_path / "child.log"
        assert eventually(lambda: log.exists() and pid_from(log) is not None)
        pid = pid_from(log)
        assert pid is not None and is_alive(pid)
    finally:
        process.kill()
        process.wait()
    assert eventually(lambda: not is_alive(pid))


def test_a_taken_port_is_seen_before_anything_is_started() -> None:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert port_holder("127.0.0.1", port) == "Address already in use"
    assert port_holder("127.0.0.1", port) is None
