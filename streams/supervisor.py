"""Processes started together and stopped together.

- Each child leads a process group of its own, so a terminal's Ctrl-C reaches the supervisor alone and the children end
  in the order chosen here: last started, first stopped. SIGTERM first, SIGKILL for the whole group after STOP_LIMIT_S.
- A child's output goes to `<logs>/<name>.log`. A child that ends by itself raises ChildDied with the tail of that log.
- Only processes started here are ever signalled, by their id. One that outlives a supervisor killed with SIGKILL ends
  itself where the system can tell it (Linux): it calls `follow_parent` first.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

STOP_LIMIT_S = 25.0
POLL_S = 0.05
TAIL_LINES = 15
_PARENT = "TIEOUT_PARENT"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Found = TypeVar("Found")


class ChildDied(Exception):
    """A child ended that should have gone on; the message ends with the tail of its log."""


class TookTooLong(Exception):
    """What was waited for did not come in time."""


class Child(NamedTuple):
    name: str
    process: "subprocess.Popen[bytes]"
    log: Path


class Supervisor:
    """`with Supervisor(logs) as processes:` stops on the way out whatever `start` began."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.children: list[Child] = []
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str] = {}) -> Child:
        """`env` is added to this process's environment."""
        log = self.logs / f"{name}.log"
        with log.open("wb") as output, _signals_wait():  # a child that is not in the list yet would outlive us
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                env={**os.environ, **env, _PARENT: str(os.getpid())},
            )  # fmt: skip
            self.children.append(Child(name, process, log))
        return self.children[-1]

    def check(self) -> None:
        """Raises ChildDied where one has ended."""
        for child in self.children:
            code = child.process.poll()
            if code is not None:
                raise ChildDied(f"the {child.name} stopped ({_told(code)}); the end of {child.log}:\n{tail(child.log)}")

    def wait_for(self, what: str, found: Callable[[], Found | None], limit_s: float) -> Found:
        """The first answer that is not None. Raises ChildDied, or TookTooLong after `limit_s`."""
        deadline = time.monotonic() + limit_s
        while (answer := found()) is None:
            self.check()
            if time.monotonic() > deadline:
                raise TookTooLong(f"{what} did not come within {limit_s:.0f} s; see the logs in {self.logs}")
            time.sleep(POLL_S)
        return answer

    def watch(self, for_s: float | None = None) -> None:
        """Returns after `for_s` (None: never). Raises ChildDied as soon as a child ends."""
        deadline = None if for_s is None else time.monotonic() + for_s
        while deadline is None or time.monotonic() < deadline:
            self.check()
            time.sleep(POLL_S * 4)

    def stop(self) -> None:
        """Ends all children; a second Ctrl-C meanwhile kills those that are left."""
        while self.children:
            limit_s = STOP_LIMIT_S
            try:
                stop(self.children[-1].process, limit_s)
            except KeyboardInterrupt:
                for child in self.children:
                    kill(child.process)
            else:
                self.children.pop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def stop(process: "subprocess.Popen[bytes]", limit_s: float) -> None:
    """Asks the process to end, waits, then kills its whole group, with whatever it left behind."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(limit_s)
    kill(process)


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Kills the group that the process leads; the group outlives its leader while a member lives."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    kept = log.read_text(errors="replace").splitlines()[-lines:]
    return "\n".join(f"    {line}" for line in kept) or "    (it wrote nothing)"


def port_holder(host: str, port: int) -> str | None:
    """Why nothing could listen there, or None where something can."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return None


def interrupt_on_signals() -> None:
    """SIGTERM and SIGHUP end the program as Ctrl-C does, and Ctrl-C also where a shell had it ignored."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    for number in _ENDING:
        signal.signal(number, interrupt)


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """Those that end the program are handled when the block has ended. Only the main thread may ask for it."""
    came: list[int] = []
    handlers = {number: signal.signal(number, lambda number, _frame: came.append(number)) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)


def follow_parent() -> None:
    """In a child of a Supervisor: be told to end (SIGTERM) when the supervisor is gone. Elsewhere it does nothing."""
    parent = os.environ.pop(_PARENT, None)
    if parent is None or sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):  # it went before it could be followed
        os.kill(os.getpid(), signal.SIGTERM)


def _told(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
