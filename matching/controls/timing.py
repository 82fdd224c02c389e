"""Was it in time, and in the right period?"""

from typing import Any

from matching.billing import expected
from matching.deliveries import failure_beside
from matching.documents import moment
from matching.findings import Answer, Failure, failed, major, not_applicable, passed
from matching.hops import is_break_when_late
from matching.settlement import held_by_processor
from matching.verdict import ControlResult, Hop
from matching.view import View

_SLA_PASS = passed("sla", "no leg is past its target")
_SLA_NONE = not_applicable("sla", "no leg with a clock")


def sla(view: View) -> Answer:
    """No leg is past its target and still open. What arrived late is history and no break: nobody can mend it."""
    if not view.hops:
        return _SLA_NONE
    late = [hop for hop in view.hops.values() if hop.state == "late" and is_break_when_late(view, hop)]
    if not late:
        return _SLA_PASS
    failures = [_late(view, hop) for hop in late]
    exposure = max(failure.exposure_minor for failure in failures)
    return Failure(failures[0].result, tuple(found for each in failures for found in each.breaks), exposure)


def _late(view: View, hop: Hop) -> Failure:
    refused = failure_beside(view, hop.name)
    leg = hop.name.replace("_", " ")
    reason = f"{leg} is past its target and has not arrived"
    if refused is not None:
        reason += f": {refused.data.reason or refused.data.failure or 'delivery failed'}"
    waiting_minor, currency = _waiting(view, hop)
    return failed(
        view, "sla", "sla", reason, expected=f"{major(waiting_minor, currency)} by {leg} within {hop.target_s} s",
        actual="not arrived", amounts=(hop.name, waiting_minor), variance_minor=waiting_minor, currency=currency,
        failure=refused.data.failure if refused is not None else None,
        evidence=(view.document or view.facts[0], *([refused] if refused is not None else [])),
    )  # fmt: skip


def _waiting(view: View, hop: Hop) -> tuple[int, str | None]:
    """The amount that the leg holds up, and its currency."""
    settlement, minor = view.settlement, view.total_minor
    if hop.name == "payment_to_application":
        minor = max(0, settlement.applicable_minor(view.total_minor) - settlement.applied_minor)
    elif hop.name == "invoice_to_payment":
        minor = max(0, view.total_minor - settlement.settled_minor)
    elif hop.name == "subscription_to_invoice":
        due = next(due for due in expected(view) if not due.bills)
        return due.total_minor, due.currency
    elif hop.name == "payment_to_payout":
        held = held_by_processor(view)
        return held.received_minor, held.payments[0].data.currency
    elif hop.name == "payout_to_bank":
        paid = view.standing("payout.paid")[0].data
        return paid.amount_minor, paid.currency
    return minor, view.currency


_CUTOFF_PASS = passed("cutoff", "booked into the document's period, in time for its close")
_CUTOFF_NONE = not_applicable("cutoff", "no posting of a document in this case")


def cutoff(view: View) -> Answer:
    """The document is booked in its own accounting period (calendar month), before that period is usually closed.

    Fails where a posting was booked after the period's end plus policy's grace days, or into another period than the
    document's. It looks at every posting, also those since reversed: netting over a document's life would hide that it
    was in the wrong period, or that a closed one was changed. Taking back is free to lie in a later period. Whether it
    is a break is policy's to say (`cutoff.is_break`).
    """
    if view.document is None or not view.ledgers:
        return _CUTOFF_NONE
    own = view.document.data.accounting_date or view.document.time.date()
    close = view.policy.terms.closes[view.entity]
    known = close.known
    for ledger in view.ledgers:
        for posting in ledger.postings:
            booked_into = posting.data.accounting_date or posting.time.date()
            is_of_period = booked_into == own or (booked_into.month == own.month and booked_into.year == own.year)
            if not is_of_period and ledger.books(posting):
                return _outside(view, posting, f"booked into {booked_into:%Y-%m}, the document is of {own:%Y-%m}")
            month = (booked_into.year, booked_into.month)
            if moment(posting) >= (known.get(month) or close.closes_at(*month)):
                return _outside(view, posting, f"booked into {booked_into:%Y-%m} on {moment(posting):%Y-%m-%d}")
    return _CUTOFF_PASS


def _outside(view: View, posting: Any, what: str) -> Answer:
    reason = f"posting {posting.subject} was {what}; check that the period was open"
    if not view.policy.terms.closes[view.entity].is_break:
        return ControlResult("cutoff", "fail", reason)
    total = view.document.data.total_minor
    return failed(
        view, "cutoff", "cutoff", reason, expected="booked in the document's period before its close", actual=what,
        amounts=(total, what), exposure_minor=total, evidence=(view.document, posting),
    )  # fmt: skip
