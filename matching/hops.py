"""Hops: the legs of a case, each with its clock. One registry, by kind of case.

- A leg runs from the moment its start was booked to the moment its end was booked (`recorded_at`, else `time`); the
  payment leg runs in calendar days from the invoice's date to the day it was paid.
- A posting that was booked ahead of its invoice has latency 0: the systems' clocks or order differ, nobody waited.
- A leg that has met or missed its end is history: edits later do not reopen it, unless nothing stands any more.
- After a reversal the ledger has its target anew to post again: the due time counts from the reversal. Money that came
  ahead of its invoice can be applied once there is one: the due time counts from the invoice.
- Where ledgers have terms of their own a document is posted once it is in each: the leg is the one of them that is worst.

A new leg is a function here that returns `timed(view, view.terms.<leg>, started_at, ended_at)`, or `not_expected(<leg>)`,
and its place in HOPS (or in ALWAYS, where it runs in cases that have no document of their own). Its terms are policy's:
[hops.<leg>], class `Hops` in `matching.terms`.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import get_args

from matching.billing import expected
from matching.calendars import Calendar
from matching.case import ALLOCATION
from matching.documents import moment
from matching.ledger import Ledger
from matching.settlement import arrived_lines, gross_minor, held_by_processor, settled_lines
from matching.terms import Leg
from matching.verdict import Hop, HopName, HopState
from matching.view import View

_DAY, _MOMENT = timedelta(days=1), timedelta(microseconds=1)
DAY_S = 86_400
_LAST_DUE = date(2999, 12, 31)  # "never", as some systems write it, without leaving the calendar
_LINES = frozenset(("settlement.line", ALLOCATION))  # that may tell of a payout
OPEN_STATES = frozenset(("waiting", "late", "missing", "unproven"))

_NOT_EXPECTED = {name: Hop(name, None, None, None, None, 0, "not_expected", None) for name in get_args(HopName)}
# Of one leg in several ledgers, which tells how the document stands.
_WORST_FIRST: tuple[HopState, ...] = ("missing", "unproven", "late", "waiting", "met_late", "met", "not_expected")


def not_expected(name: HopName) -> Hop:
    return _NOT_EXPECTED[name]


def quote_to_subscription(view: View) -> Hop:
    """From an approved quote to its active subscription: until then the customer has what nobody bills."""
    name: HopName = "quote_to_subscription"
    activated = view.standing("subscription.activated")
    if not view.expect.subscription or (not activated and view.of("subscription.cancelled")):
        return _NOT_EXPECTED[name]
    ended_at = min(map(moment, activated)) if activated else None
    return timed(view, view.terms.quote_to_subscription, moment(view.document), ended_at)


def invoice_to_posting(view: View) -> Hop:
    """From the document to its posting: until then the ledger understates receivables (or payables) and tax."""
    if view.booked_in or view.terms.ledgers:
        return _posting_in_each(view)
    if not view.ledgers:
        if not view.expects_posting:
            return _NOT_EXPECTED["invoice_to_posting"]
        return timed(view, view.terms.invoice_to_posting, moment(view.issued), None)
    return _posting_in(view, view.ledgers, view.terms.invoice_to_posting)


def _posting_in_each(view: View) -> Hop:
    """The worst of the ledgers that hold it or should; of equals the one that took longest."""
    booked = {ledger.name: ledger for ledger in view.ledgers}
    awaited = unposted(view)
    if not booked and not awaited:
        awaited = [""] if view.expects_posting else []
    legs = {name: view.terms.of_ledger(name).invoice_to_posting for name in (*booked, *awaited)}
    each = [_posting_in(view, [ledger], legs[name]) for name, ledger in booked.items()]
    each += [timed(view, legs[name], moment(view.issued), None) for name in awaited]
    return min(each, key=_badness, default=_NOT_EXPECTED["invoice_to_posting"])


def unposted(view: View) -> list[str]:
    """Ledgers in which policy expects an entry of the document's own, and which hold none."""
    if not view.expects_posting:
        return []
    held = {ledger.name for ledger in view.ledgers}
    return [name for name, mode in view.booked_in.items() if mode == "document" and name not in held]


def _badness(hop: Hop) -> tuple[int, float]:
    last = hop.ended_at or hop.due_at
    return _WORST_FIRST.index(hop.state), 0.0 if last is None else -last.timestamp()


def _posting_in(view: View, ledgers: Sequence[Ledger], leg: Leg) -> Hop:
    ended_at = _stands_since(view, ledgers, leg)
    if ended_at is None and not view.expects_posting:
        return _NOT_EXPECTED["invoice_to_posting"]
    reopened_at = _last_reversed_at(ledgers) if ended_at is None else None
    return timed(view, leg, moment(view.issued), ended_at, reopened_at)


def invoice_to_payment(view: View) -> Hop:
    """From the invoice's date to the day it was paid, due at the end of its due date."""
    if not view.expect.payment or view.total_minor == 0:
        return _NOT_EXPECTED["invoice_to_payment"]
    leg = view.terms.invoice_to_payment
    started_at = view.issued.time
    issue_date = started_at.date()
    due_date = min(view.document.data.due_date or issue_date + leg.terms_days * _DAY, _LAST_DUE)
    due_at = _end_of(due_date) if leg.calendar is None else leg.calendar.end_of(due_date)
    target_s = max(0, (due_date - issue_date).days) * DAY_S
    ended_at = view.settlement.settled_at(view.total_minor - view.policy.tolerance.payment_minor)
    if ended_at is not None:
        return _paid(started_at, ended_at, target_s, due_date, due_at, leg.calendar)
    state = view.clock.open_state(due_at, leg.missing_at(due_at), leg.awaits)
    return Hop("invoice_to_payment", started_at, None, None, target_s, 0, state, due_at)


def payment_to_application(view: View) -> Hop:
    """From the money's arrival to its application: until then the customer looks unpaid and gets reminders."""
    name: HopName = "payment_to_application"
    settlement = view.settlement
    needed_minor = settlement.applicable_minor(view.total_minor) if settlement.received_minor else 0
    if not view.expect.application or view.total_minor == 0 or not (needed_minor or settlement.foreign):
        return _NOT_EXPECTED[name]
    leg = view.terms.payment_to_application
    issued_at = moment(view.issued)
    if settlement.foreign and not needed_minor:
        started_at = min(map(moment, settlement.foreign))
        return timed(view, leg, started_at, settlement.applied_at(1), issued_at)
    if settlement.applied_minor < needed_minor:
        return timed(view, leg, settlement.oldest_unapplied() or view.facts[0].time, None, issued_at)
    started_at = settlement.completing_payment(needed_minor) or view.facts[0].time
    return timed(view, leg, started_at, settlement.applied_at(needed_minor), issued_at)


def payment_to_payout(view: View) -> Hop:
    """From the money's arrival at the processor to the payout that lists all of it: until then the processor owes it."""
    name: HopName = "payment_to_payout"
    held = held_by_processor(view)
    payments = [payment for payment in held.payments if payment.data.direction != "purchase"]
    if not payments:
        return _NOT_EXPECTED[name]
    lines = settled_lines(view)
    is_converted = any(line.data.currency != payments[0].data.currency for line in lines)
    ended_at = None
    if lines and (is_converted or sum(map(gross_minor, lines)) >= held.kept_minor):
        ended_at = max(map(moment, lines))
    if ended_at is None and (not held.is_expected or held.received_minor <= 0):
        return _NOT_EXPECTED[name]
    return timed(view, view.terms.payment_to_payout, min(map(moment, payments)), ended_at)


def payout_to_bank(view: View) -> Hop:
    """From the payout to its lines on the bank's statement: until then the money is nowhere that can be seen."""
    name: HopName = "payout_to_bank"
    paid = view.standing("payout.paid")
    if not paid or "payout.failed" in view.by_type:
        return _NOT_EXPECTED[name]
    lines = arrived_lines(view)
    arrived_minor = sum(line.data.amount_minor for line in lines)
    has_arrived = bool(lines) and abs(arrived_minor) >= paid[0].data.amount_minor
    ended_at = max(map(moment, lines)) if has_arrived else None
    if ended_at is None and not view.expect.bank:
        return _NOT_EXPECTED[name]
    return timed(view, view.terms.payout_to_bank, moment(paid[0]), ended_at)


def subscription_to_invoice(view: View) -> Hop:
    """From the day on which the schedule says that a bill is due to the bill: of the first one still open, else the last."""
    due = expected(view)
    if not due:
        return _NOT_EXPECTED["subscription_to_invoice"]
    told_of = next((each for each in due if not each.bills), due[-1])
    return timed(view, view.terms.subscription_to_invoice, told_of.due_at, told_of.billed_at)


# Asked of a case that has its document; without one none of these has started.
HOPS: dict[str, tuple[Callable[[View], Hop], ...]] = {
    "order": (quote_to_subscription,),
    "invoice": (invoice_to_posting, invoice_to_payment, payment_to_application),
    "credit": (invoice_to_posting,),
}
# Asked of every case of the kind, after those above; of an invoice payment_to_payout too, where it holds a payment of its own.
ALWAYS: dict[str, tuple[Callable[[View], Hop], ...]] = {
    "order": (subscription_to_invoice,),
    "receipt": (payment_to_payout,),
    "payout": (payout_to_bank,),
}

_ALL = {kind: (*HOPS.get(kind, ()), *ALWAYS.get(kind, ())) for kind in (*HOPS, *ALWAYS)}
NAMES = {kind: tuple(leg.__name__ for leg in legs) for kind, legs in _ALL.items()}


@lru_cache(maxsize=5_000)
def _end_of(day: date) -> datetime:
    return datetime.combine(day + _DAY, time.min, UTC)


def run(view: View) -> tuple[Hop, ...]:
    """Every hop of the case, in order of the flow; also laid into `view.hops` by name."""
    asked = (_ALL if view.document is not None else ALWAYS).get(view.kind)
    if not asked:
        return ()
    hops = tuple([leg(view) for leg in asked])
    if view.kind == "invoice" and "payment.received" in view.by_type and _may_be_paid_out(view):
        paid_out = payment_to_payout(view)
        hops = hops if paid_out.state == "not_expected" else (*hops, paid_out)
    view.hops = {hop.name: hop for hop in hops}
    return hops


def _may_be_paid_out(view: View) -> bool:
    """Whether a payment that lies in its invoice's case is in a payout: policy expects some to be, or lines tell of it."""
    return view.policy.terms.expects_payouts or (not _LINES.isdisjoint(view.by_type) and bool(settled_lines(view)))


def is_break_when_late(view: View, hop: Hop) -> bool:
    late_is_break: bool = getattr(view.terms, hop.name).late_is_break
    return late_is_break


def awaited_source(view: View, name: str) -> str:
    awaits: str = getattr(view.terms, name).awaits
    return awaits


def timed(
    view: View,
    leg: Leg,
    started_at: datetime,
    ended_at: datetime | None,
    not_before: datetime | None = None,
) -> Hop:
    """The leg as it stands. `not_before`: when it could begin, where that is not when it was started."""
    clock_starts_at = started_at if not_before is None or not_before < started_at else not_before
    is_elapsed = leg.calendar is None  # nearly every leg of nearly every case: worked out here, without a call
    if is_elapsed:
        due_at, target_s = clock_starts_at + leg.target, leg.target_s
    else:
        due_at = leg.due_at(clock_starts_at)
        target_s = int((due_at - clock_starts_at).total_seconds())
    if ended_at is None:
        missing_at = clock_starts_at + leg.missing_after if is_elapsed else leg.missing_at(clock_starts_at)
        state = view.clock.open_state(due_at, missing_at, leg.awaits)
        return Hop(leg.name, started_at, None, None, target_s, 0, state, due_at)
    latency_s = (ended_at - started_at).total_seconds() if ended_at > started_at else 0.0
    if ended_at <= due_at:
        return Hop(leg.name, started_at, ended_at, latency_s, target_s, 0, "met", due_at)
    late_s = (ended_at - due_at).total_seconds()
    return Hop(leg.name, started_at, ended_at, latency_s, target_s, late_s, "met_late", due_at)


def _paid(
    started_at: datetime, ended_at: datetime, target_s: int, due_date: date, due_at: datetime, calendar: Calendar | None
) -> Hop:
    """Late by whole days: what is dated on the last day is in time, at whatever hour."""
    paid_on = ended_at.date()
    if calendar is not None:
        paid_on = ended_at.astimezone(calendar.zone).date()
        due_date = (due_at - _MOMENT).astimezone(calendar.zone).date()
    late_s = max(0, (paid_on - due_date).days) * DAY_S
    latency_s = max(0.0, (ended_at - started_at).total_seconds())  # nobody waited for what was paid ahead
    state: HopState = "met_late" if late_s else "met"
    return Hop("invoice_to_payment", started_at, ended_at, latency_s, target_s, late_s, state, due_at)


def _stands_since(view: View, ledgers: Sequence[Ledger], leg: Leg) -> datetime | None:
    """When the first of the postings that still stand was booked; None while one of the ledgers holds nothing."""
    moments = []
    for ledger in ledgers:
        posted = ledger.standing_postings()
        if not posted or (ledger.is_cleared and view.total_minor != 0):
            return None
        if len(ledger.postings) == 1:
            moments.append(moment(posted[0]))
            continue
        moments.append(_before_edits(ledger, moment(posted[0]), leg))
    return moments[0] if len(moments) == 1 else max(moments)


def _before_edits(ledger: Ledger, since: datetime, leg: Leg) -> datetime:
    """An edit takes back and books anew within the target: what stands then does so since it was first booked."""
    taken_back_at = {p.data.reverses: moment(p) for p in ledger.postings if p.data.reverses}
    if not taken_back_at:
        return since
    undone = [p for p in ledger.postings if p.data.document_id in taken_back_at and not p.data.reverses]
    for posting in sorted(undone, key=moment, reverse=True):
        if since <= leg.due_at(taken_back_at[posting.data.document_id]):
            since = min(since, moment(posting))
    return since


def _last_reversed_at(ledgers: Sequence[Ledger]) -> datetime:
    return max(ledger.last_reversed_at() or ledger.last_booked_at() for ledger in ledgers)
