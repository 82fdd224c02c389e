"""Hops: the legs of a case, each with its clock. One registry, by kind of case.

- A leg runs from the moment its start was booked to the moment its end was booked (`recorded_at`, else `time`); the
  payment leg runs in calendar days from the invoice's date to the day it was paid.
- A posting that was booked ahead of its invoice has latency 0: the systems' clocks or order differ, nobody waited.
- A leg that has met or missed its end is history: edits later do not reopen it, unless nothing stands any more.
- After a reversal the ledger has its target anew to post again: the due time counts from the reversal. Money that came
  ahead of its invoice can be applied once there is one: the due time counts from the invoice.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

from matching.documents import moment
from matching.ledger import Ledger
from matching.policy import ElapsedLeg
from matching.verdict import Hop, HopName, HopState
from matching.view import View

_DAY = timedelta(days=1)
DAY_S = 86_400
_LAST_DUE = date(2999, 12, 31)  # "never", as some systems write it, without leaving the calendar
OPEN_STATES = frozenset(("waiting", "late", "missing", "unproven"))

_NOT_EXPECTED = {
    name: Hop(name, None, None, None, None, 0, "not_expected", None)
    for name in ("quote_to_subscription", "invoice_to_posting", "invoice_to_payment", "payment_to_application")
}


def quote_to_subscription(view: View) -> Hop:
    """From an approved quote to its active subscription: until then the customer has what nobody bills."""
    name: HopName = "quote_to_subscription"
    activated = view.standing("subscription.activated")
    if not view.expect.subscription or (not activated and view.of("subscription.cancelled")):
        return _NOT_EXPECTED[name]
    ended_at = min(map(moment, activated)) if activated else None
    return _elapsed(view, name, view.terms.quote_to_subscription, moment(view.document), ended_at)


def invoice_to_posting(view: View) -> Hop:
    """From the document to its posting: until then the ledger understates receivables (or payables) and tax."""
    name: HopName = "invoice_to_posting"
    ended_at = _stands_since(view) if view.ledgers else None
    if ended_at is None and not view.expects_posting:
        return _NOT_EXPECTED[name]
    reopened_at = _last_reversed_at(view) if ended_at is None and view.ledgers else None
    return _elapsed(view, name, view.terms.invoice_to_posting, moment(view.issued), ended_at, reopened_at)


def invoice_to_payment(view: View) -> Hop:
    """From the invoice's date to the day it was paid, due at the end of its due date."""
    if not view.expect.payment or view.total_minor == 0:
        return _NOT_EXPECTED["invoice_to_payment"]
    terms = view.terms.invoice_to_payment
    started_at = view.issued.time
    issue_date = started_at.date()
    due_date = view.document.data.due_date or issue_date + terms.terms
    due_date = min(due_date, _LAST_DUE)
    due_at = _end_of(due_date)
    target_s = max(0, (due_date - issue_date).days) * DAY_S
    ended_at = view.settlement.settled_at(view.total_minor - view.policy.tolerance.payment_minor)
    if ended_at is not None:
        return _paid(started_at, ended_at, target_s, due_date, due_at)
    missing_at = due_at + terms.missing_after
    state = view.clock.open_state(due_at, missing_at, terms.awaits)
    return Hop("invoice_to_payment", started_at, None, None, target_s, 0, state, due_at)


def payment_to_application(view: View) -> Hop:
    """From the money's arrival to its application: until then the customer looks unpaid and gets reminders."""
    name: HopName = "payment_to_application"
    settlement = view.settlement
    needed_minor = settlement.applicable_minor(view.total_minor) if settlement.received_minor else 0
    if not view.expect.application or view.total_minor == 0 or not (needed_minor or settlement.foreign):
        return _NOT_EXPECTED[name]
    terms = view.terms.payment_to_application
    issued_at = moment(view.issued)
    if settlement.foreign and not needed_minor:
        started_at = min(map(moment, settlement.foreign))
        return _elapsed(view, name, terms, started_at, settlement.applied_at(1), issued_at)
    if settlement.applied_minor < needed_minor:
        return _elapsed(view, name, terms, settlement.oldest_unapplied() or view.facts[0].time, None, issued_at)
    started_at = settlement.completing_payment(needed_minor) or view.facts[0].time
    return _elapsed(view, name, terms, started_at, settlement.applied_at(needed_minor), issued_at)


# Asked of a case that has its document; without one no leg has started.
HOPS: dict[str, tuple[Callable[[View], Hop], ...]] = {
    "order": (quote_to_subscription,),
    "invoice": (invoice_to_posting, invoice_to_payment, payment_to_application),
    "credit": (invoice_to_posting,),
}


_NAMES = {kind: tuple(leg.__name__ for leg in legs) for kind, legs in HOPS.items()}


@lru_cache(maxsize=5_000)
def _end_of(day: date) -> datetime:
    return datetime.combine(day + _DAY, time.min, UTC)


def run(view: View) -> tuple[Hop, ...]:
    """Every hop of the case, in order of the flow; also laid into `view.hops` by name."""
    if view.document is None:
        return ()
    hops = tuple([leg(view) for leg in HOPS.get(view.kind, ())])
    view.hops = dict(zip(_NAMES[view.kind], hops, strict=True)) if hops else {}
    return hops


def is_break_when_late(view: View, hop: Hop) -> bool:
    late_is_break: bool = getattr(view.terms, hop.name).late_is_break
    return late_is_break


def awaited_source(view: View, name: str) -> str:
    awaits: str = getattr(view.terms, name).awaits
    return awaits


def _elapsed(
    view: View,
    name: HopName,
    terms: ElapsedLeg,
    started_at: datetime,
    ended_at: datetime | None,
    not_before: datetime | None = None,
) -> Hop:
    """`not_before`: when the leg could begin, where that is not when it was started."""
    clock_starts_at = started_at if not_before is None or not_before < started_at else not_before
    due_at = clock_starts_at + terms.target
    if ended_at is None:
        state = view.clock.open_state(due_at, clock_starts_at + terms.missing_after, terms.awaits)
        return Hop(name, started_at, None, None, terms.target_s, 0, state, due_at)
    latency_s = (ended_at - started_at).total_seconds() if ended_at > started_at else 0.0
    if ended_at <= due_at:
        return Hop(name, started_at, ended_at, latency_s, terms.target_s, 0, "met", due_at)
    late_s = (ended_at - due_at).total_seconds()
    return Hop(name, started_at, ended_at, latency_s, terms.target_s, late_s, "met_late", due_at)


def _paid(started_at: datetime, ended_at: datetime, target_s: int, due_date: date, due_at: datetime) -> Hop:
    late_s = max(0, (ended_at.date() - due_date).days) * DAY_S
    latency_s = max(0.0, (ended_at - started_at).total_seconds())  # nobody waited for what was paid ahead
    state: HopState = "met_late" if late_s else "met"
    return Hop("invoice_to_payment", started_at, ended_at, latency_s, target_s, late_s, state, due_at)


def _stands_since(view: View) -> datetime | None:
    """When the first of the postings that still stand was booked; None while one of the ledgers holds nothing."""
    moments = []
    for ledger in view.ledgers:
        posted = ledger.standing_postings()
        if not posted or (ledger.is_cleared and view.total_minor != 0):
            return None
        if len(ledger.postings) == 1:
            moments.append(moment(posted[0]))
            continue
        moments.append(_before_edits(view, ledger, moment(posted[0])))
    return moments[0] if len(moments) == 1 else max(moments)


def _before_edits(view: View, ledger: Ledger, since: datetime) -> datetime:
    """An edit takes back and books anew within the target: what stands then does so since it was first booked."""
    taken_back_at = {p.data.reverses: moment(p) for p in ledger.postings if p.data.reverses}
    if not taken_back_at:
        return since
    target = view.terms.invoice_to_posting.target
    undone = [p for p in ledger.postings if p.data.document_id in taken_back_at and not p.data.reverses]
    for posting in sorted(undone, key=moment, reverse=True):
        if since - taken_back_at[posting.data.document_id] <= target:
            since = min(since, moment(posting))
    return since


def _last_reversed_at(view: View) -> datetime:
    return max(ledger.last_reversed_at() or ledger.last_booked_at() for ledger in view.ledgers)
