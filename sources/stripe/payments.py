"""Stripe charges, payment intents, refunds and disputes.

- One payment is one fact, whoever tells it: payment.received of its payment id, with the captured amount. Its time is
  the charge's; a payment intent that does not hold its charge takes the event's time, or its own creation, which is the
  earliest it can have been.
- One failed attempt is one fact: payment.failed of its charge. A pending charge or a processing intent is
  payment.initiated. A charge that failed after it had succeeded (its failure has a balance transaction) was received and
  is payment.returned.
- refund.issued when a refund succeeded, is pending (Stripe takes it from the balance at once) or failed later; then
  refund.failed too, and that alone of a canceled one, which takes back what it said while pending. Charges of older API
  versions hold their refunds: those that gave money back are told with them. What releases an authorisation gave none.
- dispute.opened, and dispute.won / dispute.lost once closed; one that ended because the charge was refunded took nothing
  itself. An inquiry (status warning_...) takes no money: it is told with stage `inquiry`, as a dispute of its own.
"""

from collections.abc import Iterable
from datetime import datetime

from canonical.events import Event
from sources.fields import Fields, Record, note, shown
from sources.origin import Origin
from sources.stripe.invoices import FULL, received_data
from sources.stripe.shapes import (
    Delivery,
    currency,
    customer,
    invoice_of,
    linked,
    minor,
    minor_or_zero,
    payment_id,
)

_ISSUED = {"succeeded", "pending", "failed"}
_UNDONE = {"failed", "canceled"}
_ENDINGS = {"won": "won", "lost": "lost", "warning_closed": "won", "charge_refunded": "won"}


def charge(document: Fields, delivery: Delivery) -> Iterable[Event]:
    ident, status = document.text("id"), document.text("status")
    payment = payment_id(document) or ident
    case = _home(document, delivery.origin, payment)
    time = _moment(document, delivery, "charge.succeeded", "charge.captured", "charge.failed")
    if status == "succeeded":
        yield _received(document, delivery.origin, payment, case, time, _captured(document))
        yield from _links(document, delivery.origin, payment, ident, case, time)
    elif status == "failed":
        if document.has("failure_balance_transaction"):
            yield from _returned(document, delivery.origin, payment, case, time)
        yield _failed(document, delivery.origin, payment, case, time, ident, document.text_or_none("failure_code"))
    elif status == "pending":
        yield _initiated(document, delivery.origin, payment, case)
    else:
        document.refuse(f"status is {shown(status)}, unknown to this adapter")
    for row in _refunds_held(document):
        row.label = f"stripe refund {shown(row.values.get('id'))}"
        yield from _refund(row, delivery, payment)


def payment_intent(document: Fields, delivery: Delivery) -> Iterable[Event]:
    ident, status = document.text("id"), document.text("status")
    case = _home(document, delivery.origin, ident)
    if status == "succeeded":
        name = "amount_received" if document.has("amount_received") else "amount"
        amount_minor = minor(document, name, currency(document))
        if amount_minor == 0:
            document.refuse("status is succeeded, but amount_received is 0")
        time = _charged_at(document) or delivery.at("payment_intent.succeeded") or document.moment("created")
        yield _received(document, delivery.origin, ident, case, time, amount_minor)
        yield from _links(document, delivery.origin, ident, document.reference("latest_charge") or ident, case, time)
    elif status == "processing":
        yield _initiated(document, delivery.origin, ident, case)
    elif status == "requires_payment_method":
        yield from _attempted(document, delivery, ident, case)
    else:
        document.refuse(f"status is {status}: no money has moved", "policy")


def refund(document: Fields, delivery: Delivery) -> Iterable[Event]:
    nothing = _moved_nothing(document)
    if nothing is not None:
        document.refuse(nothing, "policy")
    return _refund(document, delivery, payment_id(document))


def dispute(document: Fields, delivery: Delivery) -> Iterable[Event]:
    origin, ident, status = delivery.origin, document.text("id"), document.text("status")
    if status == "prevented":
        document.refuse("the dispute was prevented: no money was taken", "policy")
    is_inquiry = status.startswith("warning_")
    payment = payment_id(document)
    case = origin.case("receipt", payment or ident)
    data = _moved(document) | {
        "payment_id": payment,
        "reason": note(document.text_or_none("reason")),
        "stage": "inquiry" if is_inquiry else "dispute",
    }
    opened, opening = document.moment("created"), "inquiry" if is_inquiry else "opened"
    yield origin.tell("dispute.opened", opening, document=ident, case=case, time=opened, data=data)
    ending = _ENDINGS.get(status)
    if ending is not None:
        closed = _closed_at(document, delivery)
        transition = "inquiry_closed" if is_inquiry else ending
        yield origin.tell(f"dispute.{ending}", transition, document=ident, case=case, time=closed, data=data)
    if payment not in (None, ident):
        yield linked(origin, ident, case, opened)


# --- Payments ---------------------------------------------------------------------------------------------------------


def _home(document: Fields, origin: Origin, payment: str) -> str:
    invoice_id = invoice_of(document)
    return origin.case("invoice", invoice_id) if invoice_id is not None else origin.case("receipt", payment)


def _moment(document: Fields, delivery: Delivery, *event_types: str) -> datetime:
    """A charge is created when it is tried; methods that take days are told by their event, later."""
    created, told = document.moment("created"), delivery.at(*event_types)
    return max(created, told) if told is not None else created


def _captured(document: Fields) -> int:
    code = currency(document)
    if document.has("captured") and not document.flag("captured"):
        document.refuse("it is authorised, not captured: no money has moved yet", "policy")
    if not document.has("amount_captured"):
        return minor(document, "amount", code)
    amount_minor = minor(document, "amount_captured", code)
    if amount_minor == 0 and minor(document, "amount", code) != 0:
        document.refuse(f"captured is true, but amount_captured is 0 of {document.whole('amount')}")
    return amount_minor


def _charged_at(document: Fields) -> datetime | None:
    """The time of the charge that succeeded, where the intent holds it (latest_charge expanded, or older `charges`)."""
    latest = document.values.get("latest_charge")
    held = [document.inner("latest_charge")] if isinstance(latest, dict) else list(document.items("charges"))
    return next((row.moment_or_none("created") for row in held if row.text_or_none("status") == "succeeded"), None)


def _received(document: Fields, origin: Origin, payment: str, case: str, time: datetime, amount_minor: int) -> Event:
    data = received_data(currency(document), amount_minor, customer(document, "payer"))
    return origin.tell("payment.received", document=payment, case=case, time=time, data=data)


def _returned(document: Fields, origin: Origin, payment: str, case: str, time: datetime) -> Iterable[Event]:
    code = currency(document)
    amount_minor = minor_or_zero(document, "amount_captured", code) or minor(document, "amount", code)
    yield _received(document, origin, payment, case, document.moment("created"), amount_minor)
    moved = {"currency": code, "amount_minor": amount_minor, "direction": "sales"}
    data = moved | {"customer": customer(document, "payer"), "reason": note(document.text_or_none("failure_code"))}
    yield origin.tell("payment.returned", document=payment, case=case, time=time, data=data)


def _links(
    document: Fields, origin: Origin, payment: str, charge_id: str, case: str, time: datetime
) -> Iterable[Event]:
    if invoice_of(document) is not None:
        yield linked(origin, payment, case, time)
    if charge_id != payment:
        yield linked(origin, charge_id, case, time)


def _initiated(document: Fields, origin: Origin, payment: str, case: str) -> Event:
    data = _moved(document) | {"customer": customer(document, "payer")}
    return origin.tell("payment.initiated", document=payment, case=case, time=document.moment("created"), data=data)


def _attempted(document: Fields, delivery: Delivery, payment: str, case: str) -> Iterable[Event]:
    """A failed attempt: told by its event, or by an error that names the charge it was."""
    error = document.inner("last_payment_error")
    tried = error.reference("charge") or document.reference("latest_charge")
    told = delivery.at("payment_intent.payment_failed")
    if told is None and (tried is None or not error.values):
        document.refuse("status is requires_payment_method: no money has moved", "policy")
    time = told or document.moment("created")
    attempt = tried or f"{payment}/{int(time.timestamp())}"
    yield _failed(document, delivery.origin, payment, case, time, attempt, error.text_or_none("code"))


def _failed(document: Fields, origin: Origin, payment: str, case: str, time: datetime, attempt: str, reason: str | None) -> Event:  # fmt: skip
    """The attempt is the document, so that two failures of one payment are not versions of each other."""
    data = _moved(document) | {
        "document_id": attempt,
        "version": FULL,
        "customer": customer(document, "payer"),
        "reference": payment,
        "reason": note(reason),
    }
    return origin.tell("payment.failed", "failed", attempt, document=payment, case=case, time=time, data=data)


def _moved(document: Fields) -> Record:
    code = currency(document)
    return {"currency": code, "amount_minor": minor(document, "amount", code), "direction": "sales"}


# --- Refunds and disputes -------------------------------------------------------------------------------------------


def _refund(document: Fields, delivery: Delivery, payment: str | None) -> Iterable[Event]:
    origin, issued = delivery.origin, document.moment("created")
    ident, status = _refund_id(document, payment, issued), _refund_status(document)
    case = origin.case("receipt", payment or ident)
    data = _moved(document) | {"payment_id": payment, "reason": note(document.text_or_none("reason"))}
    if status in _ISSUED:
        yield origin.tell("refund.issued", document=ident, case=case, time=issued, data=data)
    if status in _UNDONE:
        failed = data | {"reason": note(document.text_or_none("failure_reason"))}
        time = _moment(document, delivery, "refund.failed", "refund.updated", "charge.refund.updated")
        yield origin.tell("refund.failed", document=ident, case=case, time=time, data=failed)
    if payment is not None:
        yield linked(origin, ident, case, issued)


def _refund_status(document: Fields) -> str:
    """Absent in the oldest versions, which knew no other."""
    return document.text_or_none("status") or "succeeded"


def _refund_id(document: Fields, payment: str | None, issued: datetime) -> str:
    """The oldest refunds have no id: their balance transaction names them, or the charge and the time."""
    named = document.text_or_none("id") or document.reference("balance_transaction")
    if named is None and payment is None:
        document.refuse("id is missing")
    return named or f"{payment}/{int(issued.timestamp())}"


def _moved_nothing(document: Fields) -> str | None:
    """Why this refund gave no money back; None where it did."""
    if document.text_or_none("reason") == "expired_uncaptured_charge":
        return "reason is expired_uncaptured_charge: it released an authorisation, no money was given back"
    status = _refund_status(document)
    return None if status in _ISSUED | _UNDONE else f"status is {status}: no money was given back"


def _refunds_held(document: Fields) -> Iterable[Fields]:
    """Those inside a charge that gave money back. Until 2025-03-31 a partial capture released the rest as a refund of it,
    the first of that amount: it is not part of what was captured."""
    rows = list(document.items("refunds"))
    rest = document.whole("amount") - document.whole("amount_captured") if document.has("amount_captured") else 0
    is_released = 0 < rest <= (document.whole_or_none("amount_refunded") or 0)
    release = next((row for row in reversed(rows) if is_released and row.values.get("amount") == rest), None)
    return [row for row in rows if row is not release and _moved_nothing(row) is None]


def _closed_at(document: Fields, delivery: Delivery) -> datetime:
    """The event's time; of a polled dispute the last movement of its money."""
    moves = [row.moment("created") for row in document.items("balance_transactions")]
    return delivery.at("charge.dispute.closed") or max(moves, default=document.moment("created"))
