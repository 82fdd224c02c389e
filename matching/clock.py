"""Time and progress as arguments, asked only in ways that leave a trace.

- Every comparison of `now` with a moment goes through `before`, which notes the moments still ahead. So the earliest of
  them is the earliest time at which the verdict could change without a new fact, by construction: between two deadlines
  a verdict is constant.
- Every question for a source's progress goes through `is_behind`, which notes what it was short of. So the verdict also
  is constant until one of the sources noted is complete up to the moment noted for it (rule E11).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from matching.verdict import Awaited, HopState


class Progress(NamedTuple):
    """Up to when each source is known to be complete. A source that is absent is assumed to be."""

    complete_to: Mapping[str, datetime] = {}


COMPLETE = Progress()


class Clock:
    __slots__ = ("_awaited", "_complete_to", "next_deadline", "now")

    def __init__(self, now: datetime, progress: Progress) -> None:
        self.now = now
        self._complete_to = progress.complete_to
        self._awaited: dict[str, datetime] = {}
        self.next_deadline: datetime | None = None

    @property
    def awaiting(self) -> tuple[Awaited, ...]:
        """Which sources must be complete up to when for the verdict to change, in order of their names."""
        return tuple(Awaited(source, self._awaited[source]) for source in sorted(self._awaited))

    def before(self, moment: datetime) -> bool:
        """Whether `moment` is still ahead; if so, the verdict may change then."""
        if self.now >= moment:
            return False
        if self.next_deadline is None or moment < self.next_deadline:
            self.next_deadline = moment
        return True

    def is_behind(self, source: str, moment: datetime) -> bool:
        """Whether the source is not yet complete up to `moment`, so that what is missing may still be on its way."""
        complete_to = self._complete_to.get(source)
        if complete_to is None or complete_to >= moment:
            return False
        self._awaited[source] = min(moment, self._awaited.get(source, moment))
        return True

    def open_state(self, due_at: datetime, missing_at: datetime, awaits: str) -> HopState:
        """The state of a leg that has not arrived."""
        if self.before(due_at):
            return "waiting"
        if self.is_behind(awaits, due_at):
            return "unproven"
        if self.before(missing_at) or self.is_behind(awaits, missing_at):
            return "late"
        return "missing"
