"""What identification is about, out of cases: an invoice or a payout as an open item, money that names nothing as receipts.

- What is open of an invoice is its total less reductions and less the payments that are known. An application whose
  payment nobody names does not reduce it: which payment that was is the question. It says on which day it was, and how much.
- A payout is open until lines of a bank come to it, from the day before it was paid (the bank's day may be another) until it counts
  as missing (leg payout_to_bank).
- A payment asks to be identified while it stands, in a case of its own, with no part of it allocated, applied or chosen. So
  does a line of a bank statement that is no payout, no reversal and no part of a report.
- The control account's move in the payment's own postings is what the ledger cleared with it.
"""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any

from canonical.events import EARLIEST, Parties
from matching import documents
from matching.case import ALLOCATION, Case
from matching.clock import COMPLETE, Clock
from matching.identify import Item, Receipt
from matching.matches import choices_among
from matching.policy import Policy
from matching.settlement import arrived_lines
from matching.view import View

_CONTROL = {"sales": "receivable", "purchase": "payable"}
_NEVER_MIND_THE_TIME = Clock(EARLIEST, COMPLETE)


def item_of(case: Case, policy: Policy) -> Item | None:
    """None where there is no document, or it does not stand. One that is settled has nothing open."""
    if case.is_over_limit:
        return None
    if case.key.startswith("payout:"):
        return _payout_of(View(case, policy, _NEVER_MIND_THE_TIME))
    if not case.key.startswith("invoice:"):
        return None
    view = View(case, policy, _NEVER_MIND_THE_TIME)
    if view.document is None or view.void is not None:
        return None
    data, settlement = view.document.data, view.settlement
    applied = list(_unattributed(view))
    attributed_minor = settlement.applied_minor - sum(amount for _, amount in applied)
    known_minor = max(settlement.received_minor, attributed_minor)
    open_minor = max(0, view.total_minor - settlement.reductions_minor - known_minor)
    base_currency, base_minor = _carried(view) if open_minor == view.total_minor else (None, None)
    issued_on = data.accounting_date or view.issued.time.date()
    return Item(
        case.key, data.entity, data.direction, data.currency, open_minor, issued_on,
        data.due_date or issued_on + timedelta(days=view.terms.invoice_to_payment.terms_days), data.number,
        (data.document_id, *(ref.value for ref in data.refs or ())), _customers(data.customer),
        tuple(sorted(applied)), base_currency, base_minor,
    )  # fmt: skip


def _payout_of(view: View) -> Item | None:
    paid = view.standing("payout.paid")
    if not paid or "payout.failed" in view.by_type:
        return None
    event, data = paid[0], paid[0].data
    open_minor = max(0, data.amount_minor - abs(sum(line.data.amount_minor for line in arrived_lines(view))))
    missing_at = view.terms.payout_to_bank.missing_at(documents.moment(event))
    return Item(
        view.key, data.entity, data.direction or "sales", data.currency, open_minor, event.time.date() - timedelta(days=1),
        missing_at.date(), data.number or data.document_id, (data.document_id, *(ref.value for ref in data.refs or ())),
    )  # fmt: skip


def _due_on(issued_on: date, terms: timedelta) -> date:
    return date.max if date.max - issued_on < terms else issued_on + terms


def _unattributed(view: View) -> Iterator[tuple[date, int]]:
    if view.settlement.received_minor:
        return  # which payment it was of is known
    for event in view.standing("cash.applied"):
        data = event.data
        if data.from_kind == "payment" and data.currency == view.currency and data.payment_id is None and data.payment_key is None:  # fmt: skip
            yield data.accounting_date or event.time.date(), data.amount_minor


def _carried(view: View) -> tuple[str | None, int | None]:
    """What the one ledger carries the document at, in a currency that is not the document's."""
    if len(view.ledgers) != 1 or view.ledgers[0].base_currency == view.currency:
        return None, None
    return view.ledgers[0].base_currency, view.ledgers[0].base_minor


def receipts_of(case: Case, policy: Policy) -> list[Receipt]:
    """Payments of the case that name nothing by a key, and for which nothing was chosen."""
    if not case.key.startswith(("receipt:", "summary:")) or case.is_over_limit:
        return []
    facts = case.facts()
    types = {fact.type for fact in facts}
    choices = choices_among(facts).holds
    if "payment.received" in types and case.key.startswith("receipt:"):
        return [] if types & _SPOKEN_FOR or _is_told(facts) else _payments(case.key, facts, choices)
    if "bank.line" in types:
        return [_of_line(case.key, f) for f in facts if f.type == "bank.line" and _is_asking(f.data) and f.data.document_id not in choices]  # fmt: skip
    return []


# Somebody has dealt with the payment already.
_SPOKEN_FOR = frozenset(("payment.failed", "payment.returned", "cash.applied", "refund.issued", "dispute.opened"))


def _is_told(facts: Sequence[Any]) -> bool:
    return any(
        fact.type == ALLOCATION and fact.data.kind == "applied_from" and fact.data.amount_minor for fact in facts
    )


def _payments(home: str, facts: Sequence[Any], chosen: Any) -> list[Receipt]:
    standing: Sequence[Any] = documents.standing([fact for fact in facts if fact.type == "payment.received"], [])
    asking = [
        p for p in standing if p.data.amount_minor and not p.data.allocations and p.data.document_id not in chosen
    ]
    if not asking:
        return []
    postings = [fact for fact in facts if fact.type in ("posting.recorded", "posting.reversed")]
    return [_of_payment(home, payment, postings if len(standing) == 1 else []) for payment in asking]


def _of_payment(home: str, payment: Any, postings: Sequence[Any]) -> Receipt:
    data = payment.data
    direction = data.direction or "sales"
    base_currency, cleared_minor = _cleared(postings, direction)
    refs = tuple(ref.value for ref in data.refs or ())
    return Receipt(
        home, data.document_id, data.entity, direction, data.currency, data.amount_minor, payment.time,
        data.accounting_date or payment.time.date(), () if data.invoice_id is None else (data.invoice_id,),
        tuple(said for said in (data.reference, *refs) if said), _customers(data.customer), base_currency, cleared_minor,
    )  # fmt: skip


def _cleared(postings: Sequence[Any], direction: str) -> tuple[str | None, int | None]:
    currencies = {posting.data.base_currency for posting in postings}
    if len(currencies) != 1:
        return None, None
    standing: Sequence[Any] = documents.standing(postings, [])
    lines = [line for posting in standing for line in posting.data.lines if line.role == _CONTROL[direction]]
    if not lines or any(line.base_minor is None for line in lines):
        return None, None
    moved_minor = sum(line.base_minor for line in lines)
    return currencies.pop(), -moved_minor if direction == "sales" else moved_minor


def _is_asking(line: Any) -> bool:
    is_booked = line.statement_id is not None and line.payout_key is None
    return is_booked and not line.is_reversal and line.amount_minor != 0


def _of_line(home: str, line: Any) -> Receipt:
    data = line.data
    refs = tuple(ref.value for ref in data.refs or ())
    return Receipt(
        home, data.document_id, data.entity, "sales" if data.amount_minor > 0 else "purchase", data.currency,
        abs(data.amount_minor), line.time, data.value_date or data.accounting_date or line.time.date(), (),
        tuple(said for said in (data.reference, *refs) if said), _customers(data.customer), is_bank_line=True,
    )  # fmt: skip


def _customers(parties: Parties | None) -> tuple[str, ...]:
    if parties is None:
        return ()
    return tuple(sorted({name for name in (parties.sold_to, parties.bill_to, parties.payer) if name}))
