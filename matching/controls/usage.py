"""Was what the customer used billed, and at what it was rated at?

- usage.rated lies in the subscription's case, or is told to it by its own (`allocation.set` of kind usage, rule E6). Bills say
  how much of them is usage, and of which period: that of its lines, else the document's (`matching.billing`).
- Rated usage belongs to the bill whose period of usage holds it. What no bill holds is unbilled, once a bill was due: the
  target of subscription_to_invoice after its period (after it was rated, where it has none).
- Amounts are before tax. Only usage in the currency of its bill is compared; a bill in another one is no bill of it.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple

from matching.billing import bills, days
from matching.case import ALLOCATION
from matching.documents import moment
from matching.findings import Answer, failed, major, not_applicable, not_assessed, passed
from matching.view import View

_DAY = timedelta(days=1)
SHOWN = 20  # ratings that a break names; it counts all of them


class Rated(NamedTuple):
    event: Any
    amount_minor: int
    start: date
    end: date


def _rated(view: View) -> list[Rated]:
    """What was rated and stands, here or in cases of its own."""
    found = [(event, event.data.total_minor) for event in view.standing("usage.rated")]
    found += [(event, event.data.amount_minor) for event in view.of(ALLOCATION) if event.data.kind == "usage"]
    rated = []
    for event, amount_minor in found:
        period, day = event.data.period, moment(event).date()
        start, end = (day, day) if period is None else days(period)
        if amount_minor:
            rated.append(Rated(event, amount_minor, start, end))
    return sorted(rated, key=lambda each: (each.start, each.end, each.event.id))


def _billing(view: View) -> list[Any]:
    """Bills that hold usage, with their period of it."""
    return [bill for bill in bills(view) if bill.data.usage_minor]


def _holds(bill: Any, rated: Rated) -> bool:
    period = bill.data.usage_period or bill.data.period
    if period is None or bill.data.currency != rated.event.data.currency:
        return False
    start, end = days(period)
    return bool(start <= rated.start and rated.end <= end)


_USAGE_PASS = passed("usage", "usage is billed as it was rated")
_USAGE_NONE = not_applicable("usage", "no usage was rated, or none of it was billed yet")
_USAGE_NO_RATING = not_applicable("usage", "usage was billed, and no rating of it was supplied")
_USAGE_WAITING = not_assessed("usage", "billed and rated differ, and a rating or a bill may still come")


def usage(view: View) -> Answer:
    """The usage on a bill is what was rated for its period, to the minor unit.

    Less is revenue given away; more is a customer who will find it in their own log and dispute the whole bill.
    """
    billing = _billing(view)
    if not billing:
        return _USAGE_NONE
    rated = _rated(view)
    if not rated:
        return _USAGE_NO_RATING
    answer: Answer = _USAGE_NO_RATING
    for together in _sharing_a_period(billing):
        held = [each for each in rated if _holds(together[0], each)]
        if not held:
            continue
        rated_minor = sum(each.amount_minor for each in held)
        billed_minor = sum(bill.data.usage_minor for bill in together)
        if abs(billed_minor - rated_minor) > view.policy.tolerance.amount_minor:
            last = max(map(moment, (*together, *(each.event for each in held))))
            return _USAGE_WAITING if _may_still_come(view, last) else _not_as_rated(view, together, held, rated_minor, billed_minor)  # fmt: skip
        answer = _USAGE_PASS
    return answer


def _sharing_a_period(billing: Sequence[Any]) -> list[list[Any]]:
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for bill in billing:
        period = bill.data.usage_period or bill.data.period
        key = (bill.id,) if period is None else (period.start, period.end, bill.data.currency)
        groups.setdefault(key, []).append(bill)
    return list(groups.values())


def _may_still_come(view: View, last: datetime) -> bool:
    terms = view.terms.subscription_to_invoice
    due_at = terms.due_at(last)
    return view.clock.before(due_at) or view.clock.is_behind(terms.awaits, due_at)


def _not_as_rated(view: View, billing: Sequence[Any], rated: Sequence[Rated], rated_minor: int, billed_minor: int) -> Answer:  # fmt: skip
    currency = billing[0].data.currency
    return failed(
        view, "usage", "usage", f"{billing[0].subject} bills usage that was rated at another amount; rate it again or correct the bill",
        expected=f"{major(rated_minor, currency)} rated", actual=f"{major(billed_minor, currency)} billed",
        amounts=(rated_minor, billed_minor), variance_minor=billed_minor - rated_minor, currency=currency,
        evidence=(*billing, *(each.event for each in rated))[:100],
    )  # fmt: skip


_UNBILLED_PASS = passed("unbilled_usage", "all rated usage is on a bill")
_UNBILLED_NONE = not_applicable("unbilled_usage", "no usage was rated")
_UNBILLED_WAITING = not_assessed("unbilled_usage", "usage was rated, and its bill is not due yet")
_UNBILLED_UNPROVEN = not_assessed(
    "unbilled_usage", "the bill of rated usage is due, and billing's feed is itself behind"
)


def unbilled_usage(view: View) -> Answer:
    """What the customer used is billed soon after the period in which it was used.

    Until then it is revenue that was earned and that nobody asked for; at the close of a month it has to be accrued.
    """
    rated = _rated(view)
    if not rated:
        return _UNBILLED_NONE
    billing, terms = _billing(view), view.terms.subscription_to_invoice
    open_ = [each for each in rated if not any(_holds(bill, each) for bill in billing)]
    if not open_:
        return _UNBILLED_PASS
    late = []
    for each in sorted(open_, key=lambda each: each.end):
        ends_at = datetime.combine(each.end + _DAY, time.min, UTC)
        missing_at = terms.missing_at(max(ends_at, moment(each.event)))
        if view.clock.before(missing_at):
            continue
        if view.clock.is_behind(terms.awaits, missing_at):
            return _UNBILLED_UNPROVEN
        late.append(each)
    return _never_billed(view, late) if late else _UNBILLED_WAITING


def _never_billed(view: View, late: Sequence[Rated]) -> Answer:
    currency = late[0].event.data.currency
    total_minor = sum(each.amount_minor for each in late if each.event.data.currency == currency)
    periods = ", ".join(f"{each.start} to {each.end}" for each in late[:SHOWN])
    return failed(
        view, "unbilled_usage", "unbilled_usage", f"used and never billed: {periods}; bill it, or waive it on the record"[:1000],
        expected=f"{major(total_minor, currency)} billed", actual="nothing",
        amounts=[f"{each.event.data.document_id} {each.amount_minor}" for each in late], variance_minor=total_minor,
        currency=currency, evidence=[each.event for each in late[:100]],
    )  # fmt: skip
