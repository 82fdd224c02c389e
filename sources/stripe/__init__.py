"""stripe: webhook events and API objects of Stripe, the newest shapes and the older ones.

The body is an event ({"object": "event"}) or a bare object as a poll returns it. An event is only how an object's state
was delivered: what is told comes from the object, so a webhook, its retry and a poll of one transition give one fact id
and the same data (rule E5). What contradicts its event (payment_intent.succeeded about one that did not) is refused.

Home cases (rule E6), entity = the event's account, else "main":
- invoice -> `invoice:<entity>:stripe:<in_...>`: issued, amended, voided, and its cash.applied
- payment -> the case of its invoice where the object names that; otherwise `receipt:<entity>:stripe:<payment id>`. The
  payment id is the payment intent's, or the charge's where there is none. Since API 2025-03-31 a charge no longer names
  its invoice; whatever knows both (invoice_payment, older charges and invoices) also tells case.linked, so that the
  receipt's facts are re-homed.
- refund, dispute -> the receipt case of the payment: neither names an invoice
- credit note, and an invoice with a negative total -> `credit:...`; that a credit note lowers an open invoice is a
  cash.applied in the invoice's case
- payout -> `payout:...`; balance transaction -> the receipt case of its source (ch_, re_, dp_ ...), else
  `summary:...:<txn_...>`: Stripe does not say on it which payout it is in
- subscription -> `order:...:<sub_...>`; quote -> the order of its subscription, else `order:...:<qt_...>`
- customer -> `index:...:<cus_...>`

Money: Stripe's integers count its own minor units, which are not ISO 4217's everywhere (sources.stripe.shapes).

What makes no event is a dead letter that says why: nothing moves (sources.stripe.silent), another record tells the same
money, or the state is not yet one that counts (draft, processing, uncaptured).
"""

from collections.abc import Callable, Iterable
from datetime import datetime

import msgspec

from canonical.dead_letters import DeadLetter
from canonical.events import Event
from sources.fields import Fields, Record, parse, shown
from sources.origin import Origin
from sources.stripe import credits, customers, invoices, older, orders, payments, settlements
from sources.stripe.shapes import Delivery, check_consistent
from sources.stripe.silent import dismiss

SYSTEM = "stripe"

_HANDLERS: dict[str, Callable[[Fields, Delivery], Iterable[Event]]] = {
    "invoice": invoices.invoice,
    "invoice_payment": invoices.invoice_payment,
    "charge": payments.charge,
    "payment_intent": payments.payment_intent,
    "refund": payments.refund,
    "dispute": payments.dispute,
    "credit_note": credits.credit_note,
    "payout": settlements.payout,
    "balance_transaction": settlements.balance_transaction,
    "subscription": orders.subscription,
    "quote": orders.quote,
    "customer": customers.customer,
}


def map_record(body: bytes, traceparent: str | None) -> tuple[Event, ...] | DeadLetter:
    record = parse(body)
    document, delivery = _unwrapped(record, traceparent)
    kind = document.values.get("object")
    document.label = f"stripe {kind} {shown(document.values.get('id') or '(no id)')}"
    handler = _HANDLERS.get(kind) if isinstance(kind, str) else None
    if document.values.get("deleted") is True:
        document.refuse("it was deleted at Stripe; what it said before stands", "policy")
    if handler is None:
        dismiss(document, kind, delivery.event_type)
    check_consistent(document, delivery)
    events = tuple(handler(document, delivery))
    if not events:
        document.refuse("its present state tells nothing that tieout reconciles", "policy")
    return events


class _Inner(msgspec.Struct):
    id: str | None = None


class _Data(msgspec.Struct):
    object: _Inner | None = None


class _Keyed(msgspec.Struct):
    id: str | None = None
    data: _Data | None = None


_keyed = msgspec.json.Decoder(_Keyed)


def key(body: bytes) -> bytes:
    """The object's id, not the event's: all records of one object stay in order."""
    record = _keyed.decode(body)
    inner = record.data.object if record.data is not None else None
    return ((inner.id if inner is not None else None) or record.id or "").encode()


def _unwrapped(record: Record, traceparent: str | None) -> tuple[Fields, Delivery]:
    if record.get("object") != "event":
        if record.get("object") == "v2.core.event":
            Fields(record, f"stripe event {shown(record.get('id'))}").refuse("a thin event carries no object; subscribe to snapshot events", "policy")  # fmt: skip
        return Fields(older.modern(record, None).values, "stripe"), Delivery(Origin(SYSTEM, "main", traceparent))
    event = Fields(record, f"stripe event {shown(record.get('id'))}")
    data = event.inner("data")
    if not data.has("object"):
        event.refuse("it carries no data.object")
    told = older.modern(data.inner("object").values, event.text("type"))
    document = Fields(told.values, event.label)
    previous = data.values.get("previous_attributes")
    origin = Origin(SYSTEM, _account(event), traceparent)
    delivery = Delivery(origin, told.event_type, _happened_at(event, document), previous if isinstance(previous, dict) else {})  # fmt: skip
    return document, delivery


def _account(event: Fields) -> str:
    """The connected account that it happened in; the oldest events call it user_id."""
    return event.text_or_none("account") or event.text_or_none("user_id") or "main"


def _happened_at(event: Fields, document: Fields) -> datetime:
    """The event's time; Stripe's sample events are all of 2012, and nothing happens to an object before it exists."""
    born = document.values.get("created")
    return max(event.moment("created"), document.moment("created")) if type(born) is int else event.moment("created")
