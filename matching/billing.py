"""What a subscription is to be billed, and what it was billed: a schedule beside the bills that other cases told of.

- The standing schedules say which bill is due on which day, for which period (without one: until the next is due). It is
  not expected where the subscription was paused or cancelled when its period began, and never had been resumed by then.
- Bills are what invoices tell of themselves (`allocation.set` of kind bill, rule E6). One of usage or proration alone covers
  no scheduled bill; neither does one that was voided, credited in full, or that another one `replaces`.
- A bill covers the scheduled ones with which it shares more than half of the shorter period: systems differ about the day
  on which a period ends, and a first one may begin late. A bill without a period counts by its date.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from matching.case import ALLOCATION
from matching.documents import moment

if TYPE_CHECKING:
    from matching.view import View

_DAY = timedelta(days=1)
_MONTH = timedelta(days=30)
_FIRST_DAY, _LAST_DAY = date(1900, 1, 1), date(2999, 12, 31)
_EARLY = timedelta(days=3)  # so long before it is due a bill without a period may be dated
_BESIDE = frozenset(("usage", "proration", "one_off"))  # reasons for which a bill is none of the schedule's
_SWITCHES = {
    "subscription.activated": True, "subscription.resumed": True, "subscription.renewed": True,
    "subscription.paused": False, "subscription.cancelled": False,
}  # fmt: skip


class Due(NamedTuple):
    """A scheduled bill and what covers it."""

    schedule: Any
    due_on: date
    start: date
    end: date
    total_minor: int
    currency: str
    bills: Sequence[Any]

    @property
    def due_at(self) -> datetime:
        return datetime.combine(self.due_on, time.min, UTC)

    @property
    def billed_at(self) -> datetime | None:
        return min(map(moment, self.bills), default=None)


def bills(view: "View") -> list[Any]:
    """The bills that stand, in order of time."""
    told = [event for event in view.of(ALLOCATION) if event.data.kind == "bill"]
    replaced, credited = set(), Counter[str]()
    for event in told:
        if event.data.amount_minor > 0:
            replaced.add(event.data.replaces)
        elif event.data.replaces is not None:
            credited[event.data.replaces] -= event.data.amount_minor
    return [
        event
        for event in told
        if event.data.document_id not in replaced and event.data.amount_minor > credited[event.data.document_id]
    ]


def regular(view: "View") -> list[Any]:
    """Those that bill the subscription's price."""
    return [bill for bill in bills(view) if bill.data.reason not in _BESIDE]


def expected(view: "View") -> list[Due]:
    """The scheduled bills that are expected, in the order in which they are due."""
    schedules = view.standing("billing_schedule.set")
    if not schedules:
        return []
    told, switches = regular(view), _switches(view)
    due = [each for schedule in schedules for each in _scheduled(schedule, told) if each.total_minor]
    due = [each for each in due if each.bills or _is_active(switches, each.start)]
    return sorted(due, key=lambda each: (each.due_on, each.schedule.id))


def grouped(due: Sequence[Due]) -> Iterator[tuple[list[Due], list[Any]]]:
    """Billed ones with the bills that cover them; those that one bill covers come together."""
    group: list[Due] = []
    covering: dict[str, Any] = {}
    for each in due:
        if not each.bills:
            continue
        if group and covering.keys().isdisjoint(bill.id for bill in each.bills):
            yield group, list(covering.values())
            group, covering = [], {}
        group.append(each)
        covering |= {bill.id: bill for bill in each.bills}
    if group:
        yield group, list(covering.values())


def _scheduled(schedule: Any, told: Sequence[Any]) -> Iterator[Due]:
    planned = sorted(schedule.data.bills, key=lambda bill: bill.due_on)
    due_days = [within_calendar(bill.due_on) for bill in planned]
    ends = [*due_days[1:], due_days[-1] + _MONTH] if due_days else []
    for bill, due_on, until in zip(planned, due_days, ends, strict=True):
        start, end = days(bill.period) if bill.period is not None else (due_on, max(due_on, until - _DAY))
        window = (due_on - _EARLY, until - _EARLY)
        covering = [each for each in told if _covers(each, (start, end), window)]
        currency = schedule.data.currency
        covering = [each for each in covering if each.data.currency == currency] or covering
        yield Due(schedule, due_on, start, end, bill.total_minor, currency, covering)


def _covers(bill: Any, period: tuple[date, date], window: tuple[date, date]) -> bool:
    if bill.data.period is None:
        return window[0] <= dated(bill) < window[1]
    start, end = days(bill.data.period)
    shared = (min(end, period[1]) - max(start, period[0])).days + 1
    return 2 * shared > min(end - start, period[1] - period[0]).days + 1


def days(period: Any) -> tuple[date, date]:
    """A period that ends before it begins is one day: what a sender meant by it cannot be known."""
    start = within_calendar(period.start)
    return start, max(start, within_calendar(period.end))


def within_calendar(day: date) -> date:
    """ "Never", as some systems write it, leaves room to count from."""
    return min(max(day, _FIRST_DAY), _LAST_DAY)


def dated(event: Any) -> date:
    return within_calendar(event.data.accounting_date or event.time.date())


def _switches(view: "View") -> list[tuple[date, datetime, bool]]:
    """(since, when told, whether it runs) of every turn the subscription took; a pause of a stated length ends by itself."""
    turns = []
    for event_type, is_active in _SWITCHES.items():
        for event in view.of(event_type):
            period = event.data.period
            turns.append((event.time.date(), event.time, is_active))
            if event_type == "subscription.paused" and period is not None:
                start, end = days(period)
                turns[-1] = (start, event.time, False)
                turns.append((end + _DAY, event.time, True))
    return sorted(turns)


def _is_active(switches: Sequence[tuple[date, datetime, bool]], day: date) -> bool:
    """Before its first turn a subscription that has a schedule runs: bills may be for days before it was activated."""
    state = True
    for since, _, is_active in switches:
        if since <= day:
            state = is_active
    return state
