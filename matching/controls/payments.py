"""Was the invoice paid once, in full, and was the money applied? Missing, short, over, duplicate and unapplied cash.

What counts as paid is worked out in `matching.settlement`. Duplicates of the invoice itself widen what may be paid: the
customer who paid both did nothing wrong, and the break is the duplicate's.
"""

from typing import Any

from matching.controls.identification import identified_minor, is_ambiguous
from matching.controls.postings import waits_for_document
from matching.documents import moment
from matching.findings import Answer, Failure, failed, major, not_applicable, not_assessed, passed
from matching.view import View


def due_minor(view: View) -> int:
    """What may be paid at most without being too much."""
    if not view.extra_documents:
        return view.total_minor
    extra_minor: int = sum(extra.data.total_minor for extra in view.extra_documents)
    return view.total_minor + extra_minor


def stands_on_credited(view: View) -> bool:
    """Whether cash is applied to a document of which credits left nothing to pay."""
    settlement, total_minor = view.settlement, view.total_minor
    if total_minor == 0 or settlement.applied_minor <= 0 or settlement.reductions_minor < total_minor:
        return False
    return settlement.credited_minor >= total_minor


def excess_minor(view: View) -> int:
    excess = view.settlement.settled_minor - due_minor(view)
    return excess if view.settlement.paid_minor > 0 and excess > view.policy.tolerance.payment_minor else 0


_NO_DOCUMENT = "no invoice in this case yet"
_MISSING_PASS = passed("missing_payment", "paid")
_MISSING_NONE = not_applicable("missing_payment", "no payment is expected")
_MISSING_WAITING = not_assessed("missing_payment", "not paid yet, and not overdue for long")
_MISSING_UNPROVEN = not_assessed("missing_payment", "not paid yet, and the payments' feed is itself behind")
_MISSING_IN_PART = not_assessed("missing_payment", "paid in part; see short_payment")


def missing_payment(view: View) -> Answer:
    """An invoice long past its due date was paid, credited or written off. Otherwise it is for collections."""
    hop = view.hops.get("invoice_to_payment")
    if hop is None or hop.state == "not_expected":
        return _MISSING_NONE
    if hop.ended_at is not None:
        return _MISSING_PASS
    if view.settlement.paid_minor > 0:
        return _MISSING_IN_PART
    if hop.state == "unproven":
        return _MISSING_UNPROVEN
    return _unpaid(view) if hop.state == "missing" else _MISSING_WAITING


def _unpaid(view: View) -> Failure:
    open_minor = view.total_minor - view.settlement.settled_minor
    return failed(
        view, "missing_payment", "missing_payment", "nothing was received on this invoice; chase it or write it off",
        expected=f"{major(open_minor, view.currency)} received", actual="nothing", amounts=(open_minor, 0),
        variance_minor=open_minor, evidence=(view.document,),
    )  # fmt: skip


_SHORT_PASS = passed("short_payment", "nothing is short")
_SHORT_NONE = not_applicable("short_payment", "nothing received yet")
_SHORT_NO_DOCUMENT = not_applicable("short_payment", _NO_DOCUMENT)
_SHORT_WAITING = not_assessed("short_payment", "paid in part, and the rest is not overdue")


def short_payment(view: View) -> Answer:
    """A payment settles the invoice in full by its due date, with what was credited, withheld or written off."""
    hop = view.hops.get("invoice_to_payment")
    settlement = view.settlement
    if hop is None:
        return _SHORT_NO_DOCUMENT
    if settlement.paid_minor <= 0:
        return _SHORT_NONE
    if hop.ended_at is not None or hop.state == "not_expected":
        return _SHORT_PASS
    if hop.state in ("waiting", "unproven"):
        return _SHORT_WAITING
    open_minor = view.total_minor - settlement.settled_minor
    return failed(
        view, "short_payment", "short_payment",
        f"{major(open_minor, view.currency)} is still open after the due date; chase it, or write it off",
        expected=f"{major(view.total_minor - settlement.reductions_minor, view.currency)} received",
        actual=f"{major(settlement.paid_minor, view.currency)} received",
        amounts=(view.total_minor, settlement.settled_minor), variance_minor=open_minor, evidence=_payments(view),
    )  # fmt: skip


_DUPLICATE_PASS = passed("duplicate_payment", "no payment came twice")
_DUPLICATE_NONE = not_applicable("duplicate_payment", "nothing received yet")
_DUPLICATE_NO_DOCUMENT = not_applicable("duplicate_payment", _NO_DOCUMENT)
_DUPLICATE_APPLIED = not_applicable("duplicate_payment", "cash was applied; the payments behind it were not supplied")
_DUPLICATE_FOREIGN = not_applicable("duplicate_payment", "what was received is in another currency")


def duplicate_payment(view: View) -> Answer:
    """Nobody was charged twice: two payments, each of the whole open amount, mean money to give back."""
    settlement = view.settlement
    if view.document is None:
        return _DUPLICATE_NO_DOCUMENT
    if not settlement.payments:
        if settlement.foreign:
            return _DUPLICATE_FOREIGN
        return _DUPLICATE_APPLIED if settlement.paid_minor > 0 else _DUPLICATE_NONE
    return _paid_twice(view) if _is_paid_twice(view) else _DUPLICATE_PASS


def _is_paid_twice(view: View) -> bool:
    if len(view.settlement.payments) < 2 or not excess_minor(view):
        return False
    open_minor: int = view.document.data.total_minor - view.settlement.reductions_minor
    whole = [payment for payment in view.settlement.payments if payment.data.amount_minor == open_minor]
    return len(whole) > 1


def _paid_twice(view: View) -> Failure:
    excess = excess_minor(view)
    return failed(
        view, "duplicate_payment", "duplicate_payment", "the invoice was paid more than once; refund what is too much",
        expected=f"{major(due_minor(view) - view.settlement.reductions_minor, view.currency)} once",
        actual=f"{major(view.settlement.paid_minor, view.currency)} in {len(view.settlement.payments)} payments",
        amounts=(view.total_minor, view.settlement.settled_minor), variance_minor=excess, evidence=_payments(view),
    )  # fmt: skip


_OVER_PASS = passed("overpayment", "not more than was due")
_OVER_NONE = not_applicable("overpayment", "nothing received yet")
_OVER_NO_DOCUMENT = not_applicable("overpayment", _NO_DOCUMENT)
_OVER_CREDITED = not_assessed("overpayment", "what was paid stands on a document that was credited; see misapplied")
_OVER_TWICE = not_assessed("overpayment", "paid more than once; see duplicate_payment")


def overpayment(view: View) -> Answer:
    """Not more came in than was due. What is over belongs to the customer until refunded or put on account."""
    if view.document is None:
        return _OVER_NO_DOCUMENT
    if view.settlement.paid_minor <= 0:
        return _OVER_NONE
    excess = excess_minor(view)
    if not excess:
        return _OVER_PASS
    if _is_paid_twice(view):
        return _OVER_TWICE
    if stands_on_credited(view):
        return _OVER_CREDITED
    settlement = view.settlement
    return failed(
        view, "overpayment", "overpayment", "more was received than was due; refund it or keep it on account",
        expected=f"{major(max(0, due_minor(view) - settlement.reductions_minor), view.currency)} received",
        actual=f"{major(settlement.paid_minor, view.currency)} received",
        amounts=(view.total_minor, settlement.settled_minor), variance_minor=excess, evidence=_payments(view),
    )  # fmt: skip


_APPLICATION_PASS = passed("missing_application", "the money is applied")
_APPLICATION_NONE = not_applicable("missing_application", "no application is expected")
_APPLICATION_WAITING = not_assessed("missing_application", "not applied yet, and its time has not passed")
_APPLICATION_UNPROVEN = not_assessed("missing_application", "not applied yet, and the ledger's feed is itself behind")
_APPLICATION_IN_PART = not_assessed("missing_application", "applied in part; see unapplied_cash")


def missing_application(view: View) -> Answer:
    """What was received is applied to the invoice: until then the customer looks unpaid and is reminded of it."""
    hop = view.hops.get("payment_to_application")
    if hop is None or hop.state == "not_expected":
        return _APPLICATION_NONE
    if hop.ended_at is not None:
        return _APPLICATION_PASS
    if hop.state == "unproven":
        return _APPLICATION_UNPROVEN
    if hop.state != "missing":
        return _APPLICATION_WAITING
    return _APPLICATION_IN_PART if view.settlement.applied_minor > 0 else _unapplied(view, "missing_application")


_UNAPPLIED_PASS = passed("unapplied_cash", "nothing received is left unapplied")
_UNAPPLIED_NONE = not_applicable("unapplied_cash", "nothing to apply")
_UNAPPLIED_WAITING = not_assessed("unapplied_cash", "not all applied yet, and its time has not passed")
_UNAPPLIED_AT_ALL = not_assessed("unapplied_cash", "nothing is applied; see missing_application")


def unapplied_cash(view: View) -> Answer:
    """What was received is applied in full: a rest lies on account, neither revenue nor the customer's any more."""
    if view.kind == "receipt":
        return _receipt_applied(view)
    hop = view.hops.get("payment_to_application")
    if hop is None or hop.state == "not_expected":
        return _UNAPPLIED_NONE
    if hop.ended_at is not None:
        return _UNAPPLIED_PASS
    if hop.state != "missing":
        return _UNAPPLIED_WAITING
    return _unapplied(view, "unapplied_cash") if view.settlement.applied_minor > 0 else _UNAPPLIED_AT_ALL


def _unapplied(view: View, class_: Any) -> Failure:
    needed = view.settlement.applicable_minor(view.total_minor)
    rest, foreign = needed - view.settlement.applied_minor, view.settlement.foreign
    return failed(
        view, class_, class_, "the money came in and was not applied to the invoice; apply it",
        expected=f"{major(needed, view.currency)} applied" if needed else "the payment applied",
        actual=f"{major(view.settlement.applied_minor, view.currency)} applied",
        amounts=(needed, view.settlement.applied_minor), variance_minor=max(0, rest),
        exposure_minor=rest if rest > 0 or not foreign else view.total_minor, evidence=_payments(view),
    )  # fmt: skip


_RECEIPT_NOT_EXPECTED = not_applicable(
    "unapplied_cash", "this system's payments do not name their invoice; what is applied is told in the invoice's case"
)
_RECEIPT_ON_ACCOUNT = passed("unapplied_cash", "kept on account, as policy allows")
_RECEIPT_IDENTIFIED = passed("unapplied_cash", "identified; what it pays has to be told of its application")
_RECEIPT_AMBIGUOUS = not_assessed("unapplied_cash", "several open items fit it alike; see ambiguous_match")
_RECEIPT_WAITING = not_assessed("unapplied_cash", "the payment names no invoice yet")


def _receipt_applied(view: View) -> Answer:
    """A payment that came without its invoice: on account until it is identified."""
    settlement = view.settlement
    if not settlement.payments:
        return _UNAPPLIED_NONE
    if not view.expect.application:
        return _RECEIPT_NOT_EXPECTED
    identified = identified_minor(view)
    rest = settlement.received_minor - settlement.reductions_minor - max(settlement.applied_minor, identified)
    if rest <= 0:
        return _RECEIPT_IDENTIFIED if identified else _UNAPPLIED_PASS
    if view.expect.on_account:
        return _RECEIPT_ON_ACCOUNT
    if is_ambiguous(view):
        return _RECEIPT_AMBIGUOUS
    terms = view.terms.payment_to_application
    missing_at = terms.missing_at(settlement.first_received_at())
    if view.clock.before(missing_at) or view.clock.is_behind(terms.awaits, missing_at):
        return _RECEIPT_WAITING
    currency = settlement.payments[0].data.currency
    return failed(
        view, "unapplied_cash", "unapplied_cash", "the payment names no invoice; identify it and apply it",
        expected=f"{major(settlement.received_minor, currency)} applied",
        actual=f"{major(settlement.received_minor - rest, currency)} applied",
        amounts=(settlement.received_minor, rest), variance_minor=rest, currency=currency, evidence=_payments(view),
    )  # fmt: skip


_ORPHAN_PASS = passed("orphan_payment", "payments have their invoice")
_ORPHAN_NONE = not_applicable("orphan_payment", "no payment in this case")
_ORPHAN_WAITING = not_assessed("orphan_payment", "waiting for the invoice of this payment")
_ORPHAN_POSTED = not_applicable("orphan_payment", "its invoice is booked and was never sent; see orphan_posting")


def orphan_payment(view: View) -> Answer:
    """Money that names an invoice has one in billing. Otherwise it was paid on something nobody issued."""
    settlement = view.settlement
    if not settlement.payments:
        return _ORPHAN_NONE
    if view.document is not None:
        return _ORPHAN_PASS
    if view.ledgers:
        return _ORPHAN_POSTED
    if waits_for_document(view, min(map(moment, settlement.payments))):
        return _ORPHAN_WAITING
    received = settlement.received_minor or settlement.applied_minor + settlement.reductions_minor
    if received <= 0:
        return _ORPHAN_PASS
    return _for_no_invoice(view, "orphan_payment", settlement.payments, received)


_APPLIED_PASS = passed("orphan_application", "what was applied has its invoice and its payment")
_APPLIED_NONE = not_applicable("orphan_application", "nothing applied in this case")
_APPLIED_PAID = not_applicable("orphan_application", "there are payments as well; see orphan_payment")
_APPLIED_WAITING = not_assessed("orphan_application", "waiting for the document of this application")
_APPLIED_POSTED = not_applicable("orphan_application", "its invoice is booked and was never sent; see orphan_posting")
_APPLIED_BY_SYSTEM = not_applicable("orphan_application", "this system's payments are not expected to be told")


def orphan_application(view: View) -> Answer:
    """Cash that was applied has both its ends: an invoice that billing issued and a payment that came in.

    Without the invoice a receivable was reduced that never was; without the payment, one that nobody paid.
    """
    settlement = view.settlement
    if not settlement.applications:
        return _APPLIED_NONE
    if view.kind == "receipt":
        return _taken_from_nothing(view)
    if view.document is not None:
        return _APPLIED_PASS
    if settlement.payments:
        return _APPLIED_PAID
    if view.ledgers:
        return _APPLIED_POSTED
    if waits_for_document(view, min(map(moment, settlement.applications))):
        return _APPLIED_WAITING
    applied_minor = settlement.applied_minor + settlement.reductions_minor
    if applied_minor <= 0:
        return _APPLIED_PASS
    return _for_no_invoice(view, "orphan_application", settlement.applications, applied_minor)


def _for_no_invoice(view: View, class_: Any, evidence: Any, amount_minor: int) -> Failure:
    currency = evidence[0].data.currency
    done = "received" if class_ == "orphan_payment" else "applied"
    return failed(
        view, class_, class_, f"money was {done} for an invoice that billing never sent; find what it pays for",
        expected="an invoice in billing", actual=f"{major(amount_minor, currency)} {done}", amounts=(0, amount_minor),
        variance_minor=amount_minor, currency=currency, evidence=evidence,
    )  # fmt: skip


def _taken_from_nothing(view: View) -> Answer:
    """On a receipt: invoices say that they were paid out of it, and it never came in."""
    settlement = view.settlement
    if settlement.payments or settlement.applied_minor <= 0:
        return _APPLIED_PASS
    if not view.expect.application:
        return _APPLIED_BY_SYSTEM
    ends_at = min(map(moment, settlement.applications)) + view.policy.grace.duration
    if view.clock.before(ends_at) or view.clock.is_behind(view.terms.invoice_to_payment.awaits, ends_at):
        return _APPLIED_WAITING
    currency = settlement.applications[0].data.currency
    return failed(
        view, "orphan_application", "orphan_application", "cash was applied from a payment that never came in; unapply it",
        expected="a payment received", actual=f"{major(settlement.applied_minor, currency)} applied from it",
        amounts=(settlement.applied_minor, 0), variance_minor=settlement.applied_minor, currency=currency,
        evidence=settlement.applications,
    )  # fmt: skip


def _payments(view: View) -> tuple[Any, ...]:
    settlement = view.settlement
    document = () if view.document is None else (view.document,)
    return (*document, *settlement.payments, *settlement.foreign, *settlement.applications)
