"""Stripe invoices and invoice payments.

- invoice.issued from every invoice that was finalized (open, paid, uncollectible, void), zero amounts included, dated
  finalized_at. Its data holds only what cannot change afterwards, so that all snapshots say the same; the one term that
  can, the due date, is its `version` (as a day number: a longer term holds), and an invoice.updated event that moves it
  is an invoice.amended at the version of its own time, which holds over both.
- A negative total is a credit to the customer: credit_memo.issued.
- cash.applied: one fact an invoice for what was paid when its status became paid (amount_paid, at most what was due; all
  that was due when paid out of band, which an older version shows by a paid invoice on which nothing was paid) and one
  for what the customer's balance covered. An older debt of that balance, which Stripe collects with the invoice, is a
  cash.unapplied from credit: what is applied less what is unapplied is the total.
- Where it does not say since when it is paid or void, its event says so, or else its finalization: the earliest it can be.
- payment.received: for each payment the invoice names. A bare invoice of the newest API names none: then
  invoice_payment or the charge tells the payment, and cash.applied alone proves that it was paid.
- invoice_payment names invoice and payment but no customer: `version` 1 of the payment; whoever knows the customer tells
  version 2, which holds.
- payment.failed only from an invoice.payment_failed event: a snapshot does not say that its last attempt failed.
"""

from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from canonical.events import Event
from sources.fields import Fields, Record, note, shown
from sources.origin import Origin
from sources.stripe.shapes import (
    Delivery,
    currency,
    customer,
    linked,
    minor,
    minor_or_zero,
    payment_id,
    period,
    signed_minor,
    tax_lines,
    tax_total,
)

PARTIAL, FULL = 1, 2  # versions of a payment: without and with its customer

_STANDS = {"open", "paid", "uncollectible", "void"}
_REASONS = {
    "subscription_cycle": "recurring",
    "subscription_create": "recurring",
    "subscription": "recurring",
    "subscription_update": "proration",
    "subscription_threshold": "usage",
    "manual": "one_off",
}
_EPOCH_DAY = date(1970, 1, 1)


def invoice(document: Fields, delivery: Delivery) -> Iterable[Event]:
    if _is_preview(document, delivery):
        document.refuse("it is a preview of an invoice that Stripe has not made yet", "policy")
    status = document.text("status")
    if status == "draft":
        document.refuse("status is draft: no demand for payment yet; it comes in again once finalized", "policy")
    if status == "deleted":
        document.refuse("status is deleted: a draft that was never a demand for payment", "policy")
    if status not in _STANDS:
        document.refuse(f"status is {shown(status)}, unknown to this adapter")
    code = currency(document)
    if signed_minor(document, "total", code) < 0:
        yield from _credit(document, delivery, code)
        return
    case = delivery.origin.case("invoice", document.text("id"))
    yield from _issued(document, delivery, case, code)
    if status == "void":
        yield _voided(document, delivery, case, "invoice.voided")
        return
    yield from _balance_applied(document, delivery, case, code)
    yield from _named_payments(document, delivery, case, code)
    if status == "paid":
        yield from _paid(document, delivery, case, code)
    if delivery.event_type == "invoice.payment_failed":
        yield _failed(document, delivery, case, code)


def _is_preview(document: Fields, delivery: Delivery) -> bool:
    """Upcoming invoices have no id, or one of their own kind."""
    if document.has("id"):
        return document.text("id").startswith("upcoming_in_")
    return delivery.event_type in (None, "invoice.upcoming")


def invoice_payment(document: Fields, delivery: Delivery) -> Iterable[Event]:
    """An allocation of one payment to one invoice."""
    status = document.text("status")
    if status != "paid":
        document.refuse(f"status is {shown(status)}: nothing was paid by it", "policy")
    origin, code = delivery.origin, currency(document)
    paid = document.inner("payment")
    ident = _payment_of(document)
    if ident is None:
        document.refuse(f"payment is of type {shown(paid.text_or_none('type'))} and names no payment intent, charge or payment record; tieout cannot tell the payment apart")  # fmt: skip
    invoice_id = document.reference("invoice")
    if invoice_id is None:
        document.refuse("invoice is missing")
    case = origin.case("invoice", invoice_id)
    time = document.inner("status_transitions").moment_or_none("paid_at") or document.moment("created")
    yield _received(origin, ident, case, time, code, minor(document, "amount_paid", code), None)
    yield linked(origin, ident, case, time)


def _payment_of(allocation: Fields) -> str | None:
    """A payment out of band has no id in the versions before payment records: its allocation is all there is of it."""
    paid = allocation.inner("payment")
    is_nameless = (paid.text_or_none("type") or "").startswith("out_of_band")
    return payment_id(paid) or (allocation.text("id") if is_nameless else None)


def received_data(code: str, amount_minor: int, payer: dict[str, str] | None) -> Record:
    """What every telling of one payment says alike."""
    version = PARTIAL if payer is None else FULL
    return {"version": version, "customer": payer, "currency": code, "amount_minor": amount_minor, "direction": "sales"}


def _received(origin: Origin, ident: str, case: str, time: datetime, code: str, amount_minor: int, payer: dict[str, str] | None) -> Event:  # fmt: skip
    data = received_data(code, amount_minor, payer)
    return origin.tell("payment.received", document=ident, case=case, time=time, data=data)


# --- The document -----------------------------------------------------------------------------------------------------


def _issued(document: Fields, delivery: Delivery, case: str, code: str) -> Iterable[Event]:
    origin, ident, number = delivery.origin, document.text("id"), document.text_or_none("number")
    data = _priced(document, code) | {
        "direction": "sales",
        "subscription_id": _subscription(document),
        "reason": "rebill" if document.inner("from_invoice").has("invoice") else _REASONS.get(document.text_or_none("billing_reason") or "", "other"),
        "replaces": document.inner("from_invoice").reference("invoice"),
    }  # fmt: skip
    due = document.moment_or_none("due_date")
    if delivery.event_type == "invoice.updated" and "due_date" in delivery.previous:
        amended = data | _terms(due) | {"version": int((delivery.created or _finalized(document)).timestamp())}
        yield origin.tell("invoice.amended", "due", _day_text(due), document=ident, subject=number, case=case, time=delivery.created or _finalized(document), data=amended)  # fmt: skip
        due = Fields(dict(delivery.previous), document.label).moment_or_none("due_date")
    yield origin.tell("invoice.issued", document=ident, subject=number, case=case, time=_finalized(document), data=data | _terms(due))  # fmt: skip


def _terms(due: datetime | None) -> Record:
    return {"due_date": due.date(), "version": (due.date() - _EPOCH_DAY).days} if due is not None else {}


def _day_text(due: datetime | None) -> str:
    return due.date().isoformat() if due is not None else "none"


def _priced(document: Fields, code: str, sign: int = 1) -> Record:
    taxes = tax_lines(document, code)
    tax = tax_total(document, taxes, code)
    effective = document.moment_or_none("effective_at")
    for line in taxes:
        line["amount_minor"] *= sign
        line["base_minor"] = None if line["base_minor"] is None else line["base_minor"] * sign
    if tax is not None and tax * sign < 0:
        document.refuse(f"tax is {tax}, against the sign of the total")
    return {
        "number": document.text_or_none("number"),
        "accounting_date": None if effective is None else effective.date(),
        "customer": customer(document, "bill_to"),
        "currency": code,
        "total_minor": signed_minor(document, "total", code) * sign,
        "tax_minor": None if tax is None else tax * sign,
        "tax_lines": taxes or None,
        "lines": _lines(document, code, sign),
        "service_period": _service_period(document) if sign > 0 else None,
    }


def _lines(document: Fields, code: str, sign: int) -> list[dict[str, Any]] | None:
    """The lines of the first page, as Stripe sends them; none where there are more, so that they are never taken as all."""
    if _has_more_lines(document):
        return None
    return [
        {
            "amount_minor": signed_minor(line, "amount", code) * sign,
            "description": note(line.text_or_none("description")),
            "product": line.inner("pricing").inner("price_details").reference("product") or _price(line).reference("product"),
            "quantity": _quantity(line),
            "period": period(line),
            "reason": _reason(line),
        }
        for line in document.items("lines")
    ] or None  # fmt: skip


def _reason(line: Fields) -> str | None:
    """Of a line that is not its document's ordinary matter: prorated (below its parent since 2025-03-31), or metered."""
    details = [line.values, *(_inside(line.values, "parent", name) for name in ("subscription_item_details", "invoice_item_details"))]  # fmt: skip
    if any(each.get("proration") is True for each in details):
        return "proration"
    metered = (_inside(line.values, "price", "recurring"), _inside(line.values, "plan"))
    return "usage" if any(each.get("usage_type") == "metered" for each in metered) else None


def _inside(values: Any, *names: str) -> dict[str, Any]:
    """The object at the end of the path; an empty one where something else or nothing lies on it."""
    for name in names:
        values = values.get(name) if isinstance(values, dict) else None
    return values if isinstance(values, dict) else {}


def _has_more_lines(document: Fields) -> bool:
    """Older lists only count; the oldest are arrays, and whole."""
    if not isinstance(document.values.get("lines"), dict):
        return False
    lines = document.inner("lines")
    count = lines.whole_or_none("total_count") or lines.whole_or_none("count") or 0
    return lines.flag("has_more") or count > len(list(document.items("lines")))


def _quantity(line: Fields) -> str | None:
    """Where it has a fraction, `quantity` is truncated."""
    exact = line.text_or_none("quantity_decimal")
    if exact is not None:
        return exact.rstrip("0").removesuffix(".") if "." in exact else exact
    value = line.values.get("quantity")
    return (
        format(value, "f") if isinstance(value, Decimal) else str(line.whole("quantity")) if value is not None else None
    )


def _price(line: Fields) -> Fields:
    return line.inner("price") if isinstance(line.values.get("price"), dict) else Fields({}, line.label)


def _service_period(document: Fields) -> dict[str, date] | None:
    """From the first day to the last of its lines: the invoice's own period_start and period_end are the one before."""
    if _has_more_lines(document):
        return None
    periods = [found for line in document.items("lines") if (found := period(line)) is not None]
    if not periods:
        return None
    return {"start": min(found["start"] for found in periods), "end": max(found["end"] for found in periods)}


def _subscription(document: Fields) -> str | None:
    """parent.subscription_details.subscription since 2025-03-31, top level before."""
    parent = document.inner("parent").inner("subscription_details")
    return parent.reference("subscription") or document.reference("subscription")


def _finalized(document: Fields) -> datetime:
    transitions = document.inner("status_transitions")
    return transitions.moment_or_none("finalized_at") or document.moment("created")


def _voided(document: Fields, delivery: Delivery, case: str, event_type: str) -> Event:
    transitions, told = document.inner("status_transitions"), delivery.at("invoice.voided")
    time = transitions.moment_or_none("voided_at") or told or _finalized(document)
    number = document.text_or_none("number")
    return delivery.origin.tell(event_type, document=document.text("id"), subject=number, case=case, time=time, data={"number": number})  # fmt: skip


def _credit(document: Fields, delivery: Delivery, code: str) -> Iterable[Event]:
    ident, number = document.text("id"), document.text_or_none("number")
    case = delivery.origin.case("credit", ident)
    data = {name: value for name, value in _priced(document, code, -1).items() if name != "service_period"}
    data["direction"] = "sales"
    yield delivery.origin.tell("credit_memo.issued", document=ident, subject=number, case=case, time=_finalized(document), data=data)  # fmt: skip
    if document.text("status") == "void":
        yield _voided(document, delivery, case, "credit_memo.voided")


# --- Its money --------------------------------------------------------------------------------------------------------


def _paid(document: Fields, delivery: Delivery, case: str, code: str) -> Iterable[Event]:
    """What was applied when the invoice's status became paid; and the payment, where an older shape names it."""
    origin, due = delivery.origin, minor_or_zero(document, "amount_due", code)
    amount_paid = minor(document, "amount_paid" if document.has("amount_paid") else "amount_due", code)
    is_out_of_band = document.flag("paid_out_of_band") or amount_paid == 0
    applied = due if is_out_of_band else min(amount_paid, due or minor(document, "total", code))
    if applied == 0:
        return
    told = delivery.at("invoice.paid", "invoice.payment_succeeded")
    time = document.inner("status_transitions").moment_or_none("paid_at") or told or _finalized(document)
    ident = payment_id(document)
    if ident is not None and not is_out_of_band and not document.has("payments"):
        yield _received(origin, ident, case, time, code, amount_paid, customer(document, "payer"))
        yield linked(origin, ident, case, time)
    yield _applied(document, delivery, case, time, "payment", "paid", code, applied)


def _named_payments(document: Fields, delivery: Delivery, case: str, code: str) -> Iterable[Event]:
    """The payments of the newest shape, where the sender expanded them."""
    for row in document.items("payments"):
        ident = _payment_of(row)
        if row.text_or_none("status") == "paid" and ident is not None:
            time = row.inner("status_transitions").moment_or_none("paid_at") or row.moment("created")
            paid = minor(row, "amount_paid", code)
            yield _received(delivery.origin, ident, case, time, code, paid, customer(document, "payer"))
            yield linked(delivery.origin, ident, case, time)


def _balance_applied(document: Fields, delivery: Delivery, case: str, code: str) -> Iterable[Event]:
    """The balance moves up when a credit of the customer is used, and when a total too small to charge is carried over;
    down when an older debt is collected with the invoice."""
    if not (document.has("starting_balance") and document.has("ending_balance")):
        return
    used = signed_minor(document, "ending_balance", code) - signed_minor(document, "starting_balance", code)
    total = minor(document, "total", code)
    if used > total:
        document.refuse(f"its balance moved by {used}, more than its total of {total}")
    if used > 0:
        yield _applied(document, delivery, case, _finalized(document), "credit", "balance", code, used)
    if used < 0:
        yield _applied(document, delivery, case, _finalized(document), "credit", "debt", code, -used, "cash.unapplied")


def _applied(document: Fields, delivery: Delivery, case: str, time: datetime, from_kind: str, transition: str, code: str, amount_minor: int, event_type: str = "cash.applied") -> Event:  # fmt: skip
    ident = document.text("id")
    data = {
        "document_id": f"{ident}/{transition}",  # an application is a document of its own, else two would be versions of one
        "customer": customer(document, "payer"),
        "from_kind": from_kind,
        "currency": code,
        "amount_minor": amount_minor,
        "invoice_id": ident,
    }
    return delivery.origin.tell(event_type, transition, document=ident, case=case, time=time, data=data)


def _failed(document: Fields, delivery: Delivery, case: str, code: str) -> Event:
    """Of the charge that failed where the invoice names it (who knows the charge's reason tells a higher version)."""
    attempt = document.whole_or_none("attempt_count") or 0
    charge = document.reference("charge")
    ident = payment_id(document) or document.text("id")
    transition = ("failed", charge) if charge is not None else ("attempt", str(attempt))
    data = {
        "document_id": charge or f"{ident}/{attempt}",
        "version": PARTIAL,
        "customer": customer(document, "payer"),
        "reference": ident,
        "currency": code,
        "amount_minor": minor(document, "amount_due", code),
        "direction": "sales",
        "attempt": attempt,
    }
    time = delivery.created or _finalized(document)
    return delivery.origin.tell("payment.failed", *transition, document=ident, case=case, time=time, data=data)
