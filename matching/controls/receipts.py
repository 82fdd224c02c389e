"""Is a payment used as it came in? Misapplied cash, money taken back after it was applied, refunds that belong to nothing.

- The parts of a payment never come to more than it, and an invoice never takes more than is open on it.
- Movements that undo each other are booked one after the other: what they leave in between is given the target of
  applications, and while the ledger's feed is behind nothing is missing.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from matching.case import ALLOCATION
from matching.controls.parties import joined, names_of
from matching.controls.payments import due_minor, excess_minor, stands_on_credited
from matching.documents import moment
from matching.findings import Answer, Failure, failed, major, not_applicable, not_assessed, passed
from matching.view import View

_MISAPPLIED_PASS = passed("misapplied", "applied where it belongs, and not beyond what is open")
_MISAPPLIED_NONE = not_applicable("misapplied", "nothing applied or allocated in this case")
_MISAPPLIED_WAITING = not_assessed("misapplied", "applied to what takes it no longer, and it may still be moved")
_MISAPPLIED_OVERPAID = not_applicable("misapplied", "more was paid than was due; see overpayment")


def misapplied(view: View) -> Answer:
    """Cash is applied to a document of the customer who paid, that is open, and never more of it than came in.

    An application to another customer's invoice, to one that a credit has since taken back in full (the rebill is what
    the customer paid), or beyond the open amount: one customer is reminded of what was paid and another is not.
    """
    if view.kind == "receipt":
        return _more_than_came_in(view)
    settlement = view.settlement
    if view.document is None or not (settlement.applications or settlement.payments):
        return _MISAPPLIED_NONE
    stranger = _of_another_customer(view)
    if stranger is not None:
        return _for_another_customer(view, *stranger)
    over_minor = settlement.applied_minor - max(0, due_minor(view) - settlement.reductions_minor)
    if over_minor <= view.policy.tolerance.payment_minor or not settlement.applications:
        return _MISAPPLIED_PASS
    is_credited = stands_on_credited(view)
    if not is_credited and excess_minor(view):
        return _MISAPPLIED_OVERPAID
    if may_be_undone(view, max(map(moment, settlement.applications))):
        return _MISAPPLIED_WAITING
    return _beyond_what_is_open(view, over_minor, is_credited)


def may_be_undone(view: View, since: datetime) -> bool:
    """Whether the ledger may still follow what happened at `since`."""
    terms = view.terms.payment_to_application
    ends_at = terms.due_at(since)
    return view.clock.before(ends_at) or view.clock.is_behind(terms.awaits, ends_at)


def _of_another_customer(view: View) -> tuple[Any, int] | None:
    """What other cases paid or applied here, or was applied without a payment, on another customer: the first of it, and
    how much stands. What was unapplied again stands no longer."""
    if "payment.received" in view.by_type and ALLOCATION not in view.by_type:
        return None
    told = [e for e in (*view.settlement.payments, *view.settlement.applications) if _is_from_elsewhere(view, e)]
    strangers = [event for event in told if _is_anothers(view, event)]
    if not strangers:
        return None
    paid = next((event for event in strangers if event.type == ALLOCATION and event.data.kind == "payment"), None)
    if paid is not None:
        return paid, paid.data.amount_minor
    theirs = {getattr(event.data, "payment_id", None) for event in strangers} - {None}
    undone = [e for e in told if e not in strangers and e.type == "cash.unapplied" and e.data.payment_id in theirs]
    applied_minor = sum(
        -event.data.amount_minor if event.type == "cash.unapplied" else event.data.amount_minor
        for event in (*strangers, *undone)
    )
    return (strangers[0], applied_minor) if applied_minor > 0 else None


def _is_from_elsewhere(view: View, event: Any) -> bool:
    if event.type == ALLOCATION:
        return event.data.kind in ("payment", "application")
    return event.type in ("cash.applied", "cash.unapplied") and "payment.received" not in view.by_type


def _is_anothers(view: View, event: Any) -> bool:
    if event.data.customer is None and not event.data.refs:
        return False
    ours, theirs = names_of(view.document), names_of(event)
    return bool(ours and theirs) and ours.isdisjoint(theirs) and joined(view, ours).isdisjoint(theirs)


def _for_another_customer(view: View, event: Any, amount_minor: int) -> Failure:
    ours, theirs = ", ".join(sorted(names_of(view.document))), ", ".join(sorted(names_of(event)))
    return failed(
        view, "misapplied", "misapplied",
        f"{event.subject} is money of customer {theirs}; move it to a document of theirs, or link the two ids",
        expected=f"money of {ours}", actual=f"{major(amount_minor, event.data.currency)} of {theirs}",
        amounts=(ours, theirs, amount_minor), variance_minor=amount_minor, currency=event.data.currency,
        exposure_minor=min(amount_minor, view.document.data.total_minor), evidence=(view.document, event),
    )  # fmt: skip


def _beyond_what_is_open(view: View, over_minor: int, is_credited: bool) -> Failure:
    settlement = view.settlement
    open_minor = max(0, due_minor(view) - settlement.reductions_minor)
    reason = "more is applied than is open on the document; unapply what is too much"
    if is_credited:
        reason = "the document was credited in full and what was paid still stands on it; move it to the rebill"
    return failed(
        view, "misapplied", "misapplied", reason, expected=f"{major(open_minor, view.currency)} applied at the most",
        actual=f"{major(settlement.applied_minor, view.currency)} applied", amounts=(open_minor, settlement.applied_minor),
        variance_minor=over_minor, evidence=(view.document, *settlement.applications),
    )  # fmt: skip


def _more_than_came_in(view: View) -> Answer:
    """On a receipt: what was applied of it, and what it says it pays, against what it is."""
    settlement = view.settlement
    if not settlement.payments or not (settlement.applications or _named_minor(settlement.payments)):
        return _MISAPPLIED_NONE
    received_minor = sum(payment.data.amount_minor for payment in settlement.payments)
    used_minor = max(settlement.applied_minor, _named_minor(settlement.payments))
    if used_minor - received_minor <= view.policy.tolerance.payment_minor:
        return _MISAPPLIED_PASS
    if may_be_undone(view, max(map(moment, (*settlement.payments, *settlement.applications)))):
        return _MISAPPLIED_WAITING
    currency = settlement.payments[0].data.currency
    return failed(
        view, "misapplied", "misapplied", "more of the payment is used than came in; unapply what is too much",
        expected=f"{major(received_minor, currency)} at the most", actual=f"{major(used_minor, currency)} used",
        amounts=(received_minor, used_minor), variance_minor=used_minor - received_minor, currency=currency,
        evidence=(*settlement.payments, *settlement.applications)[:100],
    )  # fmt: skip


def _named_minor(payments: Sequence[Any]) -> int:
    """What the payments say they pay in other cases."""
    return sum(part.amount_minor for payment in payments for part in getattr(payment.data, "allocations", None) or ())


_REVERSED_PASS = passed("reversed_after_application", "what was taken back is not applied any more")
_REVERSED_NONE = not_applicable("reversed_after_application", "no payment was taken back")
_REVERSED_FOREIGN = not_applicable("reversed_after_application", "what was received is in another currency")
_REVERSED_WAITING = not_assessed("reversed_after_application", "a payment was taken back, and may still be unapplied")


def reversed_after_application(view: View) -> Answer:
    """A payment that failed or was returned after it had been applied is unapplied, within the target of applications.

    Until then the ledger shows an invoice as paid that nobody paid, and nobody reminds the customer of it.
    """
    settlement = view.settlement
    if not settlement.taken_back:
        return _REVERSED_NONE
    if settlement.foreign:
        return _REVERSED_FOREIGN
    over_minor = settlement.applied_minor - max(0, settlement.kept_minor)
    if over_minor <= view.policy.tolerance.payment_minor or "payment.received" not in view.by_type:
        return _REVERSED_PASS
    if may_be_undone(view, max(map(moment, settlement.taken_back))):
        return _REVERSED_WAITING
    taken_minor = sum(event.data.amount_minor for event in settlement.taken_back)
    stands_minor = min(over_minor, taken_minor)
    currency = settlement.taken_back[0].data.currency
    return failed(
        view, "reversed_after_application", "reversed_after_application",
        "the payment was taken back and its application stands; unapply it, and the invoice is open again",
        expected=f"{major(max(0, settlement.kept_minor), currency)} applied",
        actual=f"{major(settlement.applied_minor, currency)} applied", currency=currency,
        amounts=(settlement.kept_minor, settlement.applied_minor), variance_minor=stands_minor,
        evidence=(*settlement.taken_back, *settlement.applications)[:100],
    )  # fmt: skip


_REFUND_PASS = passed("refund_unmatched", "refunds belong to money that came in or to a credit")
_REFUND_NONE = not_applicable("refund_unmatched", "no refund in this case")
_REFUND_ELSEWHERE = not_applicable(
    "refund_unmatched", "this system tells payments in the case of their invoice, which may be another"
)
_REFUND_WAITING = not_assessed("refund_unmatched", "waiting for the payment or credit of this refund")
_REFUND_UNDONE = passed("refund_unmatched", "the refund failed, and nothing books it")


def refund_unmatched(view: View) -> Answer:
    """A refund gives back what came in, or pays out a credit, and no more than that; one that failed is not booked.

    Money that leaves without either has no reason: the classic way to take it. One that failed and is booked left the
    ledger and not the bank: the customer still waits for it.
    """
    issued = view.of("refund.issued")
    if not issued and not view.of("refund.failed"):
        return _REFUND_NONE
    refunds = _standing_refunds(view)
    refunded_minor = sum(refund.data.amount_minor for refund in refunds)
    over_minor = refunded_minor - _refundable_minor(view)
    if over_minor <= view.policy.tolerance.payment_minor:
        return _booked_though_failed(view, refunded_minor)
    if not (view.settlement.payments or view.expect.application):
        return _REFUND_ELSEWHERE
    ends_at = max(map(moment, refunds)) + view.policy.grace.duration
    if view.clock.before(ends_at) or view.clock.is_behind(view.terms.invoice_to_payment.awaits, ends_at):
        return _REFUND_WAITING
    currency = refunds[0].data.currency
    has_ground = over_minor < refunded_minor
    reason = "more was refunded than came in; find out why" if has_ground else "nothing came in that it gives back"
    return failed(
        view, "refund_unmatched", "refund_unmatched", reason,
        expected=f"{major(refunded_minor - over_minor, currency)} refunded at the most",
        actual=f"{major(refunded_minor, currency)} in {len(refunds)} refunds", currency=currency,
        amounts=(refunded_minor - over_minor, refunded_minor), variance_minor=over_minor, evidence=refunds,
    )  # fmt: skip


def _standing_refunds(view: View) -> Sequence[Any]:
    undone = {refund.data.document_id for refund in view.of("refund.failed")}
    return [refund for refund in view.standing("refund.issued") if refund.data.document_id not in undone]


def _refundable_minor(view: View) -> int:
    """What a refund of this case can give back."""
    if view.kind == "credit":
        return view.total_minor if view.document is not None else 0
    settlement = view.settlement
    if settlement.payments or settlement.foreign:
        foreign_minor: int = sum(payment.data.amount_minor for payment in settlement.foreign)
        return max(0, settlement.kept_minor) + foreign_minor
    return max(0, settlement.applied_minor)  # books that keep applications and no payments


def _booked_though_failed(view: View, refunded_minor: int) -> Answer:
    """The refunds stand to reason: does the ledger book more than them?"""
    if not view.of("refund.failed"):
        return _REFUND_PASS
    booked_minor = paid_out_minor(view, ("refund",))
    if booked_minor <= refunded_minor:
        return _REFUND_PASS if refunded_minor else _REFUND_UNDONE
    failures = view.of("refund.failed")
    if may_be_undone(view, max(map(moment, failures))):
        return _REFUND_WAITING
    currency = failures[0].data.currency
    return failed(
        view, "refund_unmatched", "refund_unmatched", "the refund failed and is booked; reverse it, and pay the customer",
        expected=f"{major(refunded_minor, currency)} booked", actual=f"{major(booked_minor, currency)} booked",
        amounts=("failed", refunded_minor, booked_minor), variance_minor=booked_minor - refunded_minor, currency=currency,
        evidence=failures,
    )  # fmt: skip


def paid_out_minor(view: View, document_types: Sequence[str]) -> int:
    """What entries of these types take out of cash and clearing, net; of payments' entries, what takes them back."""
    out_minor = 0
    for posting in view.postings:
        amounts = (line.base_minor if line.amount_minor is None else line.amount_minor for line in posting.data.lines if line.role in ("cash", "clearing"))  # fmt: skip
        net_minor = sum(amount or 0 for amount in amounts)
        kind = posting.data.document_type
        if kind in document_types:
            out_minor -= net_minor if kind != "payment" else min(0, net_minor)
    return out_minor


_POSTED = passed("missing_posting", "what came in and what was refunded is booked")
_POSTING_NONE = not_applicable("missing_posting", "policy expects no entry in a payment's own case")
_POSTING_WAITING = not_assessed("missing_posting", "not all booked yet, and its time has not passed")


def missing_posting(view: View) -> Answer:
    """Where policy expects it (`receipt_posting`), each payment and each refund is booked: cash moves when money does."""
    settlement = view.settlement
    if not view.expect.receipt_posting or not (settlement.payments or settlement.refunds):
        return _POSTING_NONE
    refunded_minor = sum(refund.data.amount_minor for refund in settlement.refunds)
    answer: Answer = _POSTED
    for name, moved, booked_minor, expected_minor in (
        ("payment", settlement.payments, _paid_in_minor(view), settlement.kept_minor),
        ("refund", settlement.refunds, paid_out_minor(view, ("refund",)), refunded_minor),
    ):
        if not moved or booked_minor >= expected_minor:
            continue
        leg = view.terms.invoice_to_posting
        since = max(map(moment, moved))
        if view.clock.open_state(leg.due_at(since), leg.missing_at(since), leg.awaits) != "missing":
            answer = _POSTING_WAITING
            continue
        return _not_booked(view, name, moved, booked_minor, expected_minor)
    return answer


def _paid_in_minor(view: View) -> int:
    """What entries of payments bring in, net, on cash, clearing and fees: the processor keeps its fee of what came in."""
    lines = (
        line for posting in view.postings if posting.data.document_type == "payment" for line in posting.data.lines
    )
    amounts = (line.base_minor if line.amount_minor is None else line.amount_minor for line in lines if line.role in ("cash", "clearing", "fee"))  # fmt: skip
    return sum(amount or 0 for amount in amounts)


def _not_booked(view: View, name: str, moved: Sequence[Any], booked_minor: int, expected_minor: int) -> Failure:
    currency = moved[0].data.currency
    return failed(
        view, "missing_posting", "missing_posting", f"the {name} never reached the ledger; send it again",
        expected=f"{major(expected_minor, currency)} booked as {name}", actual=f"{major(booked_minor, currency)} booked",
        amounts=(name, expected_minor, booked_minor), variance_minor=expected_minor - booked_minor, currency=currency, evidence=moved,
    )  # fmt: skip
