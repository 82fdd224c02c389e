"""Clocks that do not always run: business time and the nightly runs of a ledger. Pure; zones come from the zone database.

- `after(start, seconds)` is when a leg that begins at `start` has had its time: never before `start`, and never earlier
  for a later start, also where clocks change and years end.
- Business time runs between opening and closing on working days of the calendar's own zone. A day on which clocks change
  has the hours that it has. The time is up at a closing, not at the next opening, where both would do.
- A batch run takes what was booked before it starts. The time is up `seconds` after the end of the first run that starts
  after `start`. A run that is set for an hour that clocks skip starts that much later; one set for an hour that comes
  twice starts in the first.
- No search is longer than SEARCHED_DAYS: what a calendar does not reach by then is due at the end of that.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

SEARCHED_DAYS = 4_000
_KEPT_DAYS = 5_000
_DAY = timedelta(days=1)


class Calendar(Protocol):
    name: str
    zone: ZoneInfo

    def after(self, start: datetime, seconds: int) -> datetime: ...

    def end_of(self, day: date) -> datetime:
        """The end of a day, or of the next that counts where it does not."""


class Days(NamedTuple):
    """Which days count: by weekday (Monday is 0), less holidays by date and those of every year by (month, day)."""

    weekdays: frozenset[int]
    holidays: frozenset[date] = frozenset()
    yearly: frozenset[tuple[int, int]] = frozenset()

    def has(self, day: date) -> bool:
        return day.weekday() in self.weekdays and day not in self.holidays and (day.month, day.day) not in self.yearly


class BusinessTime:
    """`opens` and `closes` are local; None is midnight, so that a working day is a whole one."""

    def __init__(self, name: str, zone: str, days: Days, opens: time | None = None, closes: time | None = None) -> None:
        self.name = name
        self.zone = ZoneInfo(zone)
        self._days, self._opens, self._closes = days, opens, closes
        self._windows: dict[date, tuple[datetime, datetime] | None] = {}

    def after(self, start: datetime, seconds: int) -> datetime:
        if not seconds:
            return start
        rest = timedelta(seconds=seconds)
        day = start.astimezone(self.zone).date()
        for _ in range(SEARCHED_DAYS):
            window = self._window(day)
            if window is not None:
                begins, ends = max(start, window[0]), window[1]
                if begins + rest <= ends:
                    return begins + rest
                rest -= max(timedelta(), ends - begins)
            day += _DAY
        return _at(day, None, self.zone)

    def end_of(self, day: date) -> datetime:
        return _end_of(day, self._days, self.zone)

    def _window(self, day: date) -> tuple[datetime, datetime] | None:
        """From opening to closing, or None on a day that does not count."""
        if day in self._windows:
            return self._windows[day]
        window = None
        if self._days.has(day):
            closes = _at(day + _DAY, None, self.zone) if self._closes is None else _at(day, self._closes, self.zone)
            window = (_at(day, self._opens, self.zone), closes)
        if len(self._windows) < _KEPT_DAYS:
            self._windows[day] = window
        return window


class BatchRuns:
    """Runs that start at these local times of day and take `takes_s` seconds."""

    def __init__(self, name: str, zone: str, days: Days, runs: Sequence[time], takes_s: int) -> None:
        self.name = name
        self.zone = ZoneInfo(zone)
        self._days, self._runs, self._takes = days, sorted(runs), timedelta(seconds=takes_s)

    def after(self, start: datetime, seconds: int) -> datetime:
        rest = self._takes + timedelta(seconds=seconds)
        day = start.astimezone(self.zone).date()
        for _ in range(SEARCHED_DAYS):
            if self._days.has(day):
                starts = [_at(day, run, self.zone) for run in self._runs]
                later = [begins for begins in starts if begins > start]
                if later:
                    return min(later) + rest
            day += _DAY
        return _at(day, None, self.zone) + rest

    def end_of(self, day: date) -> datetime:
        return _end_of(day, self._days, self.zone)


def _end_of(day: date, days: Days, zone: ZoneInfo) -> datetime:
    for _ in range(SEARCHED_DAYS):
        if days.has(day):
            break
        day += _DAY
    return _at(day + _DAY, None, zone)


def is_zone(name: str) -> bool:
    """Whether the zone database knows it."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _at(day: date, local: time | None, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, local or time.min, zone).astimezone(UTC)
