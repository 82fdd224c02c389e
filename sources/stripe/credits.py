"""Stripe credit notes.

- credit_memo.issued of every credit note, credit_memo.voided of one whose status is void (since it was made, where nothing
  says since when).
- What it took off an open invoice (pre_payment_amount; before that field, the total of a pre_payment note) is a
  cash.applied from credit in the invoice's case, and cash.unapplied once voided. A post_payment note refunds or credits
  the customer's balance: it does not lower the invoice.
"""

from collections.abc import Iterable
from datetime import datetime

from canonical.events import Event
from sources.fields import Fields, shown
from sources.stripe.shapes import Delivery, currency, customer, minor, tax_lines, tax_total


def credit_note(document: Fields, delivery: Delivery) -> Iterable[Event]:
    status = document.text("status")
    if status not in ("issued", "void"):
        document.refuse(f"status is {shown(status)}, unknown to this adapter")
    code, created = currency(document), document.moment("created")
    yield _issued(document, delivery, code, created)
    yield from _applied(document, delivery, code, "cash.applied", created)
    if status == "void":
        voided = document.moment_or_none("voided_at") or delivery.at("credit_note.voided") or created
        ident = document.text("id")
        data = {"number": document.text_or_none("number")}
        case = delivery.origin.case("credit", ident)
        yield delivery.origin.tell("credit_memo.voided", document=ident, case=case, time=voided, data=data)
        yield from _applied(document, delivery, code, "cash.unapplied", voided)


def _issued(document: Fields, delivery: Delivery, code: str, created: datetime) -> Event:
    ident, number = document.text("id"), document.text_or_none("number")
    taxes = tax_lines(document, code)
    effective = document.moment_or_none("effective_at")
    data = {
        "number": number,
        "accounting_date": None if effective is None else effective.date(),
        "customer": customer(document, "bill_to"),
        "direction": "sales",
        "currency": code,
        "total_minor": minor(document, "total", code),
        "tax_minor": tax_total(document, taxes, code),
        "tax_lines": taxes or None,
        "invoice_id": document.reference("invoice"),
    }
    case = delivery.origin.case("credit", ident)
    return delivery.origin.tell(
        "credit_memo.issued", document=ident, subject=number, case=case, time=created, data=data
    )


def _applied(document: Fields, delivery: Delivery, code: str, event_type: str, time: datetime) -> Iterable[Event]:
    invoice_id, total = document.reference("invoice"), minor(document, "total", code)
    before = total if document.text_or_none("type") == "pre_payment" else 0
    if document.has("pre_payment_amount"):
        before = minor(document, "pre_payment_amount", code)
    if before > total:
        document.refuse(f"pre_payment_amount is {before}, more than its total of {total}")
    if before and invoice_id is not None:
        data = {"from_kind": "credit", "currency": code, "amount_minor": before, "invoice_id": invoice_id}
        case = delivery.origin.case("invoice", invoice_id)
        yield delivery.origin.tell(event_type, document=document.text("id"), case=case, time=time, data=data)
