"""Does the ledger leave open on a document what is open on it? Payments, write-offs, withholding, as booked and as applied."""

from typing import Any

from matching.documents import moment
from matching.findings import Answer, Failure, failed, major, not_applicable, not_assessed, passed
from matching.ledger import Ledger
from matching.view import View

_SETTLES = frozenset(("payment", "application", "refund"))
_PASS = passed("open_item", "entries take off the account what was applied")
_IN_PART = not_assessed("open_item", "entries of a part of what was applied were told in this case")
_NONE = not_applicable("open_item", "no entry of a payment or an application in this case")
_OTHER_CURRENCY = not_assessed("open_item", "paid by entries that carry no amount in the document's currency")
_WAITING = not_assessed("open_item", "booked and applied differ, and one may still follow the other")


def open_item(view: View) -> Answer:
    """Entries of payments and applications take no more off the account than was applied, withheld and written off.

    A failure settles an item in the ledger that is still open, which nobody will ask for any more. What was written off
    is compared by itself as well, so that it cannot hide in a payment. Both are breaks of class amount. Entries that lie
    in the payment's own case are not seen from here, so less than was applied is not assessed.
    """
    if view.document is None:
        return _NONE
    answer: Answer = _NONE
    for ledger in view.ledgers:
        settling = [p for p in view.postings if p.data.ledger == ledger.name and _settles(p.data)]
        if settling:
            answer = _of_ledger(view, ledger, settling)
            if answer is not _PASS:
                return answer
    return answer


def _settles(posting: Any) -> bool:
    return posting.document_type in _SETTLES and posting.posting_kind != "revaluation"


def _of_ledger(view: View, ledger: Ledger, settling: list[Any]) -> Answer:
    settlement = view.settlement
    relieved = _lines_minor(view, settling, ledger.role, -ledger.sign)
    written_off = _lines_minor(view, settling, "write_off", ledger.sign)
    if relieved is None or written_off is None:
        return _OTHER_CURRENCY
    applied = settlement.applied_minor + settlement.reductions_minor or settlement.received_minor
    authorised = sum(_signed(a) for a in settlement.applications if getattr(a.data, "from_kind", None) == "write_off")
    tolerance_minor = view.policy.tolerance.payment_minor
    is_written_off_wrong = bool(written_off) and abs(written_off - authorised) > tolerance_minor
    if relieved <= applied + tolerance_minor and not is_written_off_wrong:
        return _PASS if abs(relieved - applied) <= tolerance_minor else _IN_PART
    last = max(map(moment, (*settling, *settlement.payments, *settlement.applications)))
    terms = view.terms.payment_to_application
    due_at = terms.due_at(last)
    if view.clock.before(due_at) or view.clock.is_behind(terms.awaits, due_at):
        return _WAITING
    if is_written_off_wrong:
        return _differs(
            view, settling, f"written off in ledger {ledger.name}", "applied as a write-off", authorised, written_off
        )
    return _differs(view, settling, f"taken off the account in ledger {ledger.name}", "applied", applied, relieved)


def _signed(application: Any) -> int:
    amount_minor: int = application.data.amount_minor
    return -amount_minor if application.type == "cash.unapplied" else amount_minor


def _lines_minor(view: View, postings: list[Any], role: str, sign: int) -> int | None:
    """Net of the lines of a role in the document's currency; None where one has no amount in it."""
    net_minor = 0
    for posting in postings:
        for line in posting.data.lines:
            if line.role == role:
                if line.amount_minor is not None and posting.data.currency == view.currency:
                    net_minor += sign * line.amount_minor
                elif line.base_minor is not None and posting.data.base_currency == view.currency:
                    net_minor += sign * line.base_minor
                else:
                    return None
    return net_minor


def _differs(view: View, settling: list[Any], booked: str, applied: str, expected: int, actual: int) -> Failure:
    return failed(
        view, "open_item", "amount", f"what was {booked} is not what was {applied}; correct the one that is wrong",
        expected=f"{major(expected, view.currency)} {applied}", actual=f"{major(actual, view.currency)} {booked}",
        amounts=(applied, expected, actual), variance_minor=actual - expected,
        evidence=(view.document, *settling, *view.settlement.applications),
    )  # fmt: skip
