"""Is the document in the ledger exactly once? Missing, orphaned, duplicated and unreversed postings."""

from typing import Any

from matching.controls.duplicates import same_invoice
from matching.controls.summaries import missing_journal
from matching.deliveries import failure_beside
from matching.findings import Answer, Failure, failed, major, not_applicable, not_assessed, passed
from matching.hops import unposted
from matching.ledger import Ledger
from matching.view import View

_MISSING_PASS = passed("missing_posting", "the document is in the ledger")
_MISSING_NOT_EXPECTED = not_applicable("missing_posting", "no posting is expected")
_MISSING_COVERED = not_applicable("missing_posting", "covered_by_summary: its batch answers for its posting")
_MISSING_NO_BATCH = not_assessed(
    "missing_posting",
    "policy has it booked by a batch, and it names none (summary_key): none can answer for its posting",
)
_MISSING_WAITING = not_assessed("missing_posting", "no posting yet, and its time has not passed")
_MISSING_UNPROVEN = not_assessed("missing_posting", "no posting yet, and the ledger's feed is itself behind")
_MISSING_NO_DOCUMENT = not_applicable("missing_posting", "no document in this case yet")


def missing_posting(view: View) -> Answer:
    """Every document with an amount is booked, by itself or by the batch that it names.

    Until it is, receivables (or payables), revenue and tax are understated. A batch that was never booked is one break,
    on the batch; its documents say that they are covered by it. One that a batch should book, as policy says, and that names
    none is not assessed: nobody can tell whether it was booked.
    """
    if view.kind == "summary":
        return missing_journal(view)
    hop = view.hops.get("invoice_to_posting")
    if hop is None:
        return _MISSING_NO_DOCUMENT
    if hop.state == "missing":
        return _posting_is_missing(view)
    if hop.state == "not_expected":
        if view.names_no_batch:
            return _MISSING_NO_BATCH
        return _MISSING_COVERED if view.is_covered else _MISSING_NOT_EXPECTED
    if hop.state == "unproven":
        return _MISSING_UNPROVEN
    return _MISSING_WAITING if hop.state in ("waiting", "late") else _MISSING_PASS


def _posting_is_missing(view: View) -> Failure:
    refused = failure_beside(view, "invoice_to_posting")
    postings = [posting for ledger in view.ledgers for posting in ledger.postings]
    reason = "the document never reached the ledger; send it again"
    never = " and ".join(unposted(view))
    if never:
        reason = f"the document never reached the ledger {never}; send it there again"
    elif postings:
        reason = "the posting was reversed and nothing was booked in its place"
    if refused is not None:
        reason = (
            f"delivery to {refused.data.target} failed: {refused.data.reason or refused.data.failure or 'no reason'}"
        )
    account = "payable" if view.document.data.direction == "purchase" else "receivable"
    return failed(
        view, "missing_posting", "missing_posting", reason,
        expected=f"{major(view.total_minor, view.currency)} {account} in the ledger{' ' + never if never else ''}",
        actual="nothing stands" if postings and not never else "nothing", amounts=(view.total_minor, 0),
        variance_minor=view.total_minor, failure=refused.data.failure if refused is not None else None,
        evidence=(view.document, *postings, *([refused] if refused is not None else [])),
    )  # fmt: skip


_REVERSAL_PASS = passed("missing_reversal", "the void is reversed in the ledger")
_REVERSAL_NOT_VOID = not_applicable("missing_reversal", "the document is not void")
_REVERSAL_WAITING = not_assessed("missing_reversal", "the void is recent; waiting for its reversal")


def missing_reversal(view: View) -> Answer:
    """A voided document's posting is reversed, within the target of postings. Until then the ledger is overstated."""
    if view.void is None:
        return _REVERSAL_NOT_VOID
    ledger = next((ledger for ledger in view.ledgers if view.causes[ledger.name] == "unreversed"), None)
    if ledger is None:
        return _REVERSAL_PASS
    voided_at = view.void.data.recorded_at or view.void.time
    due_at = view.target_passes_at(voided_at)
    awaits = view.terms.invoice_to_posting.awaits
    if view.clock.before(due_at) or view.clock.is_behind(awaits, due_at):
        return _REVERSAL_WAITING
    stands, currency = ledger.stands_at_minor, ledger.shown_currency
    return failed(
        view, "missing_reversal", "missing_reversal", "the document was voided and its posting still stands; reverse it",
        expected=f"nothing in ledger {ledger.name}", actual=f"{major(stands, currency)} in ledger {ledger.name}",
        amounts=(0, stands), variance_minor=stands, currency=currency,
        exposure_minor=abs(stands) if currency == view.currency else view.document.data.total_minor,
        evidence=(view.document, view.void, *ledger.postings),
    )  # fmt: skip


_DUPLICATE_PASS = passed("duplicate_posting", "booked once")
_DUPLICATE_NONE = not_applicable("duplicate_posting", "no posting of a document in this case")


def duplicate_posting(view: View) -> Answer:
    """The document is booked once: two postings that both stand double the receivable and the revenue.

    So does a posting of its own beside the batch that books it.
    """
    if view.document is None or not view.ledgers:
        return _DUPLICATE_NONE
    if view.is_covered and view.document.data.summary_key is not None:
        ledger = next((ledger for ledger in view.ledgers if not ledger.is_cleared), None)
        return _DUPLICATE_PASS if ledger is None else _booked_beside_its_batch(view, ledger)
    for ledger in view.ledgers:
        if view.causes[ledger.name] == "duplicate":
            return _booked_twice(view, ledger)
    return _DUPLICATE_PASS


def _booked_twice(view: View, ledger: Ledger) -> Failure:
    stands, currency = ledger.stands_at_minor, ledger.shown_currency
    once = round(stands / max(2, len(ledger.standing_postings()))) if ledger.net_minor is None else view.total_minor
    return failed(
        view, "duplicate_posting", "duplicate_posting",
        f"ledger {ledger.name} holds the document more than once; reverse what is too many",
        expected=f"{major(once, currency)} once", actual=f"{major(stands, currency)} net of {len(ledger.postings)} postings",
        amounts=(once, stands), variance_minor=stands - once, currency=currency,
        exposure_minor=abs(stands - once) if ledger.net_minor is not None else view.total_minor,
        evidence=(view.document, *ledger.postings),
    )  # fmt: skip


def _booked_beside_its_batch(view: View, ledger: Ledger) -> Failure:
    stands, currency, batch = ledger.stands_at_minor, ledger.shown_currency, view.document.data.summary_key
    return failed(
        view, "duplicate_posting", "duplicate_posting", f"booked by itself in ledger {ledger.name} and by {batch}; reverse one",
        expected=f"booked by {batch}", actual=f"{major(stands, currency)} of its own as well",
        amounts=(batch, stands), variance_minor=stands, currency=currency, exposure_minor=view.total_minor,
        evidence=(view.document, *ledger.postings),
    )  # fmt: skip


_ORPHAN_PASS = passed("orphan_posting", "postings have their document")
_ORPHAN_NONE = not_applicable("orphan_posting", "no posting in this case")
_ORPHAN_NOTHING = not_assessed("orphan_posting", "the case holds no document yet")
_ORPHAN_WAITING = not_assessed("orphan_posting", "waiting for the document of this posting")
_ORPHAN_REVERSED = passed("orphan_posting", "posted without its document and taken back")


def orphan_posting(view: View) -> Answer:
    """What the ledger books has a document in billing. Otherwise revenue was recorded that nobody invoiced."""
    if view.document is not None:
        return _ORPHAN_PASS if view.ledgers else _ORPHAN_NONE
    if not view.ledgers:
        return _ORPHAN_NONE if _has_money(view) else _ORPHAN_NOTHING
    ledger = next((ledger for ledger in view.ledgers if not ledger.is_cleared), None)
    if ledger is None:
        return _ORPHAN_REVERSED
    if waits_for_document(view, min(posting.data.recorded_at or posting.time for posting in ledger.postings)):
        return _ORPHAN_WAITING
    return _without_document(view, ledger)


def _without_document(view: View, ledger: Ledger) -> Failure:
    stands, currency = ledger.stands_at_minor, ledger.shown_currency
    return failed(
        view, "orphan_posting", "orphan_posting", "the ledger holds a posting whose document billing never sent",
        expected="a document in billing", actual=f"{major(stands, currency)} in ledger {ledger.name}",
        amounts=(0, stands), variance_minor=stands, currency=currency, evidence=ledger.postings,
    )  # fmt: skip


def waits_for_document(view: View, since: Any) -> bool:
    """Whether the document may still come: inside the grace, or while billing's feed is behind it."""
    grace = view.policy.grace
    ends_at = since + grace.duration
    return view.clock.before(ends_at) or view.clock.is_behind(grace.awaits, ends_at)


def _has_money(view: View) -> bool:
    return bool(view.settlement.payments or view.settlement.foreign or view.settlement.applications)


_INVOICE_PASS = passed("duplicate_invoice", "one document")
_INVOICE_NONE = not_applicable("duplicate_invoice", "no document in this case yet")


def duplicate_invoice(view: View) -> Answer:
    """One document is issued once: two of one number, or of one amount and period of a customer, bill the customer twice.

    Two that lie in one case are that case's break; two cases with the same document meet in an index case of what they share.
    """
    if view.kind == "index":
        return same_invoice(view)
    if view.document is None:
        return _INVOICE_NONE
    if not view.extra_documents:
        return _INVOICE_PASS
    extra_minor = sum(extra.data.total_minor for extra in view.extra_documents)
    names = ", ".join(extra.data.document_id for extra in view.extra_documents)
    return failed(
        view, "duplicate_invoice", "duplicate_invoice",
        f"{view.document.source} issued {names} beside {view.document.data.document_id}; void what is too many",
        expected=f"one document of {major(view.document.data.total_minor, view.currency)}",
        actual=f"{1 + len(view.extra_documents)} documents that all stand",
        amounts=(view.document.data.total_minor, extra_minor), variance_minor=extra_minor,
        evidence=(view.document, *view.extra_documents),
    )  # fmt: skip
