"""An event loop whose time is a number: tasks, timers and locks are asyncio's own, and nothing is ever waited for.

When nothing is ready to run, the time jumps to the next timer. Two runs of the same code with the same seed therefore
take the same steps in the same order, and an hour of pauses costs nothing. Nothing outside can wake the loop: where
there is neither a ready task nor a timer, `Stuck` is raised.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class Stuck(Exception):
    """Every task waits for another one."""


class VirtualLoop(asyncio.BaseEventLoop):
    def __init__(self) -> None:
        super().__init__()
        self._seconds = 0.0
        self._selector = self

    def time(self) -> float:
        return self._seconds

    def select(self, timeout: float | None) -> list[Any]:
        """What the base loop asks its selector: sleeps until the next timer, or for ever."""
        if timeout is None:
            raise Stuck
        self._seconds += max(0.0, timeout)
        return []

    def _process_events(self, events: list[Any]) -> None: ...

    def _write_to_self(self) -> None: ...


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """As asyncio.run, in virtual time."""
    loop = VirtualLoop()
    loop.set_exception_handler(lambda *_: None)  # what ends a task of a dead process is of no interest to anybody
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(main)
    finally:
        _cancel_all(loop)
        asyncio.set_event_loop(None)
        loop.close()


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
