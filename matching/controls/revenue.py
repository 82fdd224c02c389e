"""Is revenue spread over the service as it was sold, and recognised as it was spread?

- A document's schedules (revenue_schedule.set, one an obligation, by ledger) sum to its net: total less tax, nothing for a
  void one. Credit memos in the case reduce it; one with a case of its own may, or has a schedule of its own there.
- Parts lie within the service: the document's period, else that of its lines.
- What is recognised never exceeds what is scheduled up to that month, and follows it by the close of the month (its end
  and policy's grace of cut-off).
- While the ledger may still follow a change, and until all is recognised, the control is not assessed and the case waits.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from matching.case import ALLOCATION
from matching.documents import moment, voided
from matching.findings import Answer, Failure, failed, major, not_applicable, not_assessed, passed
from matching.rounding import rounded
from matching.view import View

_PASS = passed("revenue_schedule", "scheduled as sold, and recognised as scheduled")
_NONE = not_applicable("revenue_schedule", "no revenue schedule in this case")
_NO_DOCUMENT = not_assessed("revenue_schedule", "a schedule, and no document yet")
_NO_SCHEDULE = not_assessed("revenue_schedule", "revenue recognised, and no schedule was told")
_NO_RATE = not_assessed("revenue_schedule", "scheduled in another currency, and the document states no rate")
_FOLLOWING = not_assessed("revenue_schedule", "waiting for the schedule to follow the document")
_IN_TIME = not_assessed("revenue_schedule", "recognised so far; the rest is not due")
_UNPROVEN = not_assessed("revenue_schedule", "revenue is due, and the ledger's feed is itself behind")

Month = tuple[int, int]


class Plan(NamedTuple):
    """What one ledger has of a document's revenue, by month."""

    ledger: str
    currency: str
    schedules: Sequence[Any]
    recognised: Sequence[Any]

    @property
    def total_minor(self) -> int:
        return sum(schedule.data.total_minor for schedule in self.schedules)

    def scheduled_by(self) -> Counter[Month]:
        by_month: Counter[Month] = Counter()
        for schedule in self.schedules:
            for bill in schedule.data.bills:
                by_month[_month(bill.period.end if bill.period is not None else bill.due_on)] += bill.total_minor
        return by_month

    def recognised_by(self) -> Counter[Month]:
        by_month: Counter[Month] = Counter()
        for event in self.recognised:
            by_month[_month(_recognised_on(event))] += event.data.amount_minor
        return by_month


def revenue_schedule(view: View) -> Answer:
    """The revenue schedule is the document's net over its service, and what is recognised follows it month by month.

    A failure shows revenue in the wrong period: too early, too late, or of a sale that is no more. Deferred revenue is off
    by as much the other way.
    """
    by_type = view.by_type
    if "revenue_schedule.set" not in by_type:
        return _NO_SCHEDULE if "revenue.recognised" in by_type else _NONE
    if view.document is None:
        return _NO_DOCUMENT
    answer: Answer = _PASS
    for plan in _plans(view):
        found = _wrong_plan(view, plan) or _wrong_recognition(view, plan)
        if isinstance(found, Failure):
            return found
        answer = found or answer
    return answer


def _plans(view: View) -> Iterator[Plan]:
    schedules, recognised = view.standing("revenue_schedule.set"), view.standing("revenue.recognised")
    for ledger, currency in sorted({(event.data.ledger, event.data.currency) for event in (*schedules, *recognised)}):
        own = [
            [event for event in events if (event.data.ledger, event.data.currency) == (ledger, currency)]
            for events in (schedules, recognised)
        ]
        yield Plan(ledger, currency, *own)


def _wrong_plan(view: View, plan: Plan) -> Answer | None:
    """What is wrong with the schedule itself, or why it cannot be told."""
    for schedule in plan.schedules:
        of_parts = sum(bill.total_minor for bill in schedule.data.bills)
        if of_parts != schedule.data.total_minor:
            return _fails(view, plan, "a schedule is not the sum of its parts; correct it", schedule.data.total_minor, of_parts, "parts", (schedule,))  # fmt: skip
    allowed = _allowed(view, plan)
    if allowed is None:
        return _NO_RATE
    totals, tolerance_minor = allowed
    if all(abs(plan.total_minor - total) > tolerance_minor for total in totals):
        if view.clock.before(view.target_passes_at(_changed_at(view, plan))):
            return _FOLLOWING
        return _fails(view, plan, "the schedule is not the document's net; correct it", totals[0], plan.total_minor, "scheduled", plan.schedules)  # fmt: skip
    return _outside_service(view, plan)


def _allowed(view: View, plan: Plan) -> tuple[list[int], int] | None:
    """Totals that the schedule may have, in its currency, and how far rounding may take it; None without a rate."""
    data = view.document.data
    net_minor = view.total_minor - (data.tax_minor or 0) if view.void is None else 0
    net_minor -= sum(memo.data.total_minor - (memo.data.tax_minor or 0) for memo in _own_credits(view))
    totals = [max(0, net_minor)]
    credited_minor = sum(told.data.amount_minor for told in _told_credits(view))
    if credited_minor and data.total_minor:
        totals.append(
            max(0, net_minor - credited_minor * (data.total_minor - (data.tax_minor or 0)) // data.total_minor)
        )
    if plan.currency == view.currency:
        return totals, len(totals) - 1
    conversion = view.conversion(plan.currency)
    if not conversion.is_known:
        return None
    tolerance = conversion.tolerance(conversion.base(totals[0]), view.policy.tolerance.fx_minor)
    return [rounded(conversion.base(total)) for total in totals], rounded(tolerance) + len(plan.schedules)


def _own_credits(view: View) -> list[Any]:
    if view.kind != "invoice" or "credit_memo.issued" not in view.by_type:
        return []
    voids = view.of("credit_memo.voided")
    return [memo for memo in view.standing("credit_memo.issued") if voided(memo, voids) is None]


def _told_credits(view: View) -> list[Any]:
    return [told for told in view.of(ALLOCATION) if told.data.kind == "credit" and told.data.currency == view.currency]


def _changed_at(view: View, plan: Plan) -> datetime:
    """The last time that the document, or what reduces it, changed."""
    changes = [moment(view.document), *map(moment, _own_credits(view)), *map(moment, _told_credits(view))]
    if view.void is not None:
        changes.append(moment(view.void))
    return max(changes)


def _outside_service(view: View, plan: Plan) -> Answer | None:
    service = _service(view.document.data)
    if service is None:
        return None
    start, end = service
    for schedule in plan.schedules:
        for bill in schedule.data.bills:
            first, last = (
                (bill.period.start, bill.period.end) if bill.period is not None else (bill.due_on, bill.due_on)
            )
            if bill.total_minor and (_month(first) < _month(start) or _month(last) > _month(end)):
                return _fails(view, plan, f"revenue is scheduled for {first} to {last}, the service is {start} to {end}; correct it", 0, bill.total_minor, "outside the service", (schedule,))  # fmt: skip
    return None


def _service(data: Any) -> tuple[date, date] | None:
    """From the first to the last day of service, by the document or by all of its lines."""
    own = getattr(data, "service_period", None)
    periods = [own] if own is not None else [line.period for line in data.lines or ()]
    if not periods or None in periods:
        return None
    return min(period.start for period in periods), max(period.end for period in periods)


def _wrong_recognition(view: View, plan: Plan) -> Answer | None:
    """Recognised before it is scheduled, or not by the close of its month; None where all of it is recognised."""
    scheduled, recognised = plan.scheduled_by(), plan.recognised_by()
    due_minor = done_minor = 0
    for month in sorted({*scheduled, *recognised}):
        due_minor += scheduled[month]
        done_minor += recognised[month]
        if done_minor > due_minor:
            return _fails(view, plan, f"more revenue is recognised by {_text(month)} than is scheduled; take it back", due_minor, done_minor, f"recognised by {_text(month)}", (*plan.schedules, *plan.recognised))  # fmt: skip
        if done_minor < due_minor and sum(recognised.values()) < due_minor:
            late = _not_recognised(view, plan, month, due_minor, done_minor)
            if late is not None:
                return late
    return None


def _not_recognised(view: View, plan: Plan, month: Month, due_minor: int, done_minor: int) -> Answer | None:
    if not view.expect.recognition:
        return None
    closes = view.policy.terms.closes[view.entity].closes_at(*month)
    if view.clock.before(closes):
        return _IN_TIME
    if view.clock.is_behind(view.terms.invoice_to_posting.awaits, closes):
        return _UNPROVEN
    return _fails(view, plan, f"revenue due by {_text(month)} was not recognised by its close; recognise it", due_minor, done_minor, f"recognised by {_text(month)}", (*plan.schedules, *plan.recognised))  # fmt: skip


def _fails(view: View, plan: Plan, reason: str, expected: int, actual: int, what: str, evidence: Iterable[Any]) -> Answer:  # fmt: skip
    exposure_minor = actual - expected
    if plan.currency != view.currency:
        conversion = view.conversion(plan.currency)
        known = conversion.is_known
        exposure_minor = rounded(exposure_minor / conversion.base(1)) if known else view.document.data.total_minor
    return failed(
        view, "revenue_schedule", "revenue_schedule", reason, expected=f"{major(expected, plan.currency)} {what}",
        actual=f"{major(actual, plan.currency)} in ledger {plan.ledger}", amounts=(what, expected, actual),
        variance_minor=actual - expected, currency=plan.currency, exposure_minor=abs(exposure_minor),
        evidence=(view.document, *evidence),
    )  # fmt: skip


def _recognised_on(event: Any) -> date:
    data = event.data
    day: date = data.period.end if data.period is not None else data.accounting_date or moment(event).date()
    return day


def _month(day: date) -> Month:
    return day.year, day.month


def _text(month: Month) -> str:
    return f"{month[0]:04d}-{month[1]:02d}"
