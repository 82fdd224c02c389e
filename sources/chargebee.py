"""chargebee: webhook events, API responses, list pages (the reader takes those apart) and bare objects of Chargebee.

An event is only how objects were delivered: its `content` holds several (an invoice with its transaction, customer ...) and
each is told by its own state, so that a webhook, its retry, a poll and a list give one fact (rule E5). `version` is
resource_version, in milliseconds: webhooks come twice and out of order, and the higher one holds. Webhooks are not signed.

Home cases (rule E6); entity = business_entity_id, else "main":
- invoice -> `invoice:<entity>:chargebee:<id>`: invoice.issued once it is posted, payment_due, not_paid or paid; voided or
  deleted -> invoice.voided too; pending: not a document yet. `order_key` is its subscription's case
- what settles it, in its case: cash.applied for each successful linked payment (`payment_key` names its receipt), each applied
  credit, each adjustment credit note, the write-off. Where a list does not come to the total beside it, the total is
  told, at updated_at, the latest it can have been. total = paid + adjusted + written off + credits + due, or the
  record is refused
- transaction -> `receipt:...`: a payment is received, failed or (voided, deleted) returned; a refund lies in the case of
  the payment it refunds. Its parts of invoices are told by the invoices alone: told twice they would count twice. An
  authorisation moves nothing, and what is in progress has not moved yet
- credit note -> `credit:...`, voided or deleted -> credit_memo.voided. What it settles is told by the invoices
- subscription -> `order:...`: activated since started_at, and by its state paused or cancelled; a renewal and a change are
  told by their events, as of then
- an accepted or invoiced quote -> quote.approved in its subscription's case, else its own
- customer -> customer.changed in `index:...`

Money: integers of minor units. exchange_rate is base currency for one unit of the document's.

What makes no event is a dead letter that says why, unless another object of the same record makes one; an object that is
known and cannot be read refuses the whole record.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from canonical.dead_letters import DeadLetter
from canonical.events import Event
from sources.cells import rate_of
from sources.fields import Fields, Record, Refused, known_currency, label, note, parse, shown
from sources.origin import Origin

SYSTEM = "chargebee"

_ISSUED, _NOT_YET = {"paid", "posted", "payment_due", "not_paid"}, {"pending"}
_SILENT = {
    "plan", "addon", "coupon", "coupon_set", "coupon_code", "card", "payment_source", "virtual_bank_account", "gift",
    "order", "unbilled_charge", "unbilled_charges", "promotional_credit", "hosted_page", "item", "item_price",
    "item_family", "attached_item", "differential_price", "contact", "address", "comment", "estimate", "feature",
    "entitlement", "subscription_entitlement", "usage", "usage_file", "ramp", "contract_term", "price_variant",
    "payment_intent", "payment_schedule", "payment_voucher", "portal_session", "site_migration_detail", "token",
    "advance_invoice_schedule", "impacted_subscription", "export", "time_machine", "event", "resource_migration",
    "rule", "business_entity", "business_entity_transfer", "tax_withheld", "invoice_estimate", "download", "discount",
}  # fmt: skip
_LISTS = {
    "invoices": "invoice", "credit_notes": "credit_note", "transactions": "transaction", "customers": "customer",
    "subscriptions": "subscription", "quotes": "quote",
}  # fmt: skip


class _Told(NamedTuple):
    """How an object came: the event it came by, if any."""

    event_type: str | None
    occurred_at: datetime | None
    traceparent: str | None


def map_record(body: bytes, traceparent: str | None) -> tuple[Event, ...] | DeadLetter:
    record = parse(body)
    objects, told = _objects(record, traceparent)
    events: list[Event] = []
    refused: list[Refused] = []
    for kind, document in objects:
        handler = _HANDLERS.get(kind)
        try:
            events += handler(document, told) if handler is not None else _dismiss(document, kind, told.event_type)
        except Refused as reason:
            if handler is not None and reason.failure != "policy":
                raise
            refused.append(reason)
    if not events:
        raise refused[0] if refused else Refused("mapping", "chargebee: the record holds no object")
    return tuple(events)


def key(body: bytes) -> bytes:
    objects, _ = _objects(parse(body), None)
    return next((str(document.values["id"]).encode() for _, document in objects if document.values.get("id")), b"")


def _objects(record: Record, traceparent: str | None) -> tuple[list[tuple[str, Fields]], _Told]:
    if record.get("object") == "event" or "event_type" in record:
        event = Fields(record, f"chargebee event {shown(record.get('id'))}")
        told = _Told(event.text("event_type"), event.moment("occurred_at"), traceparent)
        return list(_inside(event.inner("content").values, event.label)), told
    told = _Told(None, None, traceparent)
    kind = record.get("object")
    if isinstance(kind, str):
        return [(kind, _labelled(kind, record))], told
    return list(_inside(record, "chargebee record")), told


def _inside(content: Record, where: str) -> Iterator[tuple[str, Fields]]:
    """The objects of a response or of an event's content, those in lists too."""
    for name, value in content.items():
        if isinstance(value, dict):
            yield name, _labelled(name, value)
        elif isinstance(value, list) and name in _LISTS:
            for item in Fields(content, where).items(name):
                yield _LISTS[name], _labelled(_LISTS[name], item.values)
        elif isinstance(value, list):
            yield name, _labelled(name, {})


def _labelled(kind: str, values: Record) -> Fields:
    return Fields(values, f"chargebee {kind} {shown(values.get('id') or '(no id)')}")


def _dismiss(document: Fields, kind: str, event_type: str | None) -> Iterable[Event]:
    advice = "; remove it from the webhook's event list to silence this" if event_type is not None else ""
    if kind in _SILENT:
        document.refuse(f"{kind} moves no money that tieout reconciles{advice}", "policy")
    document.refuse(f"object {shown(kind)} is unknown to this adapter; report it with this record")


def _origin(document: Fields, told: _Told) -> Origin:
    return Origin(SYSTEM, document.text_or_none("business_entity_id") or "main", told.traceparent)


def _currency(document: Fields) -> str:
    return known_currency(document.text("currency_code"), document.label)


def _minor(document: Fields, name: str) -> int:
    """0 where absent. Chargebee's amounts are unsigned."""
    amount = document.whole_or_none(name) or 0
    if amount < 0:
        document.refuse(f"{name} is {amount}: Chargebee's amounts are not negative")
    return amount


def _version(document: Fields) -> int | None:
    version = document.whole_or_none("resource_version")
    return version if version is None or version >= 0 else document.refuse(f"resource_version is {version}")


def _seen(document: Fields) -> datetime:
    """When the object was last changed: the latest that anything it says can have happened."""
    return document.moment_or_none("updated_at") or document.moment_or_none("date") or document.moment("created_at")


# --- Invoices -----------------------------------------------------------------------------------------------------------


def _invoice(document: Fields, told: _Told) -> Iterable[Event]:
    status, is_deleted = document.text("status"), document.flag("deleted")
    if status in _NOT_YET:
        document.refuse(f"status is {status}: its charges are still being collected; it comes in again once it is closed", "policy")  # fmt: skip
    if status not in _ISSUED | {"voided"}:
        document.refuse(f"status is {shown(status)}, unknown to this adapter")
    origin, ident = _origin(document, told), document.text("id")
    case = origin.case("invoice", ident)
    yield _issued(document, origin, case)
    if status == "voided" or is_deleted:
        data = {"number": label(ident), "version": _version(document), "reason": "deleted" if is_deleted else note(document.text_or_none("void_reason_code") or "status voided")}  # fmt: skip
        time = document.moment_or_none("voided_at") or _seen(document)
        yield origin.tell("invoice.voided", document=ident, case=case, time=time, data=data)
    else:
        yield from _settled(document, origin, case)


def _issued(document: Fields, origin: Origin, case: str) -> Event:
    currency, subscription = _currency(document), document.text_or_none("subscription_id")
    due = document.moment_or_none("due_date")
    issued = document.moment("date")
    data = {
        "number": label(document.text("id")),
        "version": _version(document),
        "accounting_date": issued.date(),
        "customer": _customer_of(document),
        "direction": "sales",
        "currency": currency,
        "total_minor": _minor(document, "total"),
        "tax_minor": _minor(document, "tax") if document.has("tax") else None,
        **_base(document, currency),
        "due_date": None if due is None else due.date(),
        "order_key": None if subscription is None else origin.case("order", subscription),
        "subscription_id": subscription,
        "reason": "recurring" if document.flag("recurring") else "one_off",
        "lines": [_line(line) for line in document.items("line_items")] or None,
        "tax_lines": [{"amount_minor": _minor(tax, "amount"), "code": label(tax.text_or_none("name"))} for tax in document.items("taxes")] or None,
    }  # fmt: skip
    return origin.tell("invoice.issued", document=document.text("id"), case=case, time=issued, data=data)


def _customer_of(document: Fields) -> dict[str, str] | None:
    customer = document.text_or_none("customer_id")
    return None if customer is None else {"bill_to": customer}


def _base(document: Fields, currency: str) -> dict[str, str | None]:
    base = document.text_or_none("base_currency_code")
    if base is None or base.upper() == currency:
        return {}
    return {
        "base_currency": known_currency(base, document.label),
        "rate": rate_of(document, "exchange_rate"),
        "rate_direction": "base_per_document",
    }


def _line(line: Fields) -> dict[str, Any]:
    start, end = line.moment_or_none("date_from"), line.moment_or_none("date_to")
    is_period = start is not None and end is not None and start <= end
    return {
        "amount_minor": line.whole_or_none("amount") or 0,
        "description": note(line.text_or_none("description")),
        "product": label(line.text_or_none("entity_id")),
        "period": {"start": start.date(), "end": end.date()} if is_period and start and end else None,
    }


def _settled(document: Fields, origin: Origin, case: str) -> Iterator[Event]:
    paid, adjusted, credited = (
        _minor(document, name) for name in ("amount_paid", "amount_adjusted", "credits_applied")
    )
    written_off, due, total = (_minor(document, name) for name in ("write_off_amount", "amount_due", "total"))
    if document.has("amount_due") and paid + adjusted + credited + written_off + due != total:
        document.refuse(f"total is {total}, but paid {paid}, adjusted {adjusted}, written off {written_off}, credits {credited} and due {due} are {paid + adjusted + credited + written_off + due}")  # fmt: skip
    payments = [(link.text("txn_id"), _minor(link, "applied_amount"), link.moment_or_none("applied_at")) for link in document.items("linked_payments") if link.text_or_none("txn_status") in (None, "success")]  # fmt: skip
    credits = [(link.text("cn_id"), _minor(link, "applied_amount"), link.moment_or_none("applied_at")) for link in document.items("applied_credits")]  # fmt: skip
    notes = [(link.text("cn_id"), _minor(link, "cn_total"), link.moment_or_none("cn_date")) for link in document.items("adjustment_credit_notes") if link.text_or_none("cn_status") != "voided"]  # fmt: skip
    for name, kind, total_minor, parts in (
        ("payment", "payment", paid, payments), ("credit", "credit", credited, credits),
        ("adjustment", "credit", adjusted, notes), ("write_off", "write_off", written_off, []),
    ):  # fmt: skip
        if sum(amount for _, amount, _ in parts) != total_minor:
            parts = [("", total_minor, document.moment_or_none("paid_at") if name == "payment" else None)]
        for ident, amount_minor, at in parts:
            if amount_minor:
                yield _applied(document, origin, case, name, kind, ident, amount_minor, at or _seen(document))


def _applied(document: Fields, origin: Origin, case: str, name: str, kind: str, ident: str, amount_minor: int, at: datetime) -> Event:  # fmt: skip
    """`ident` is the transaction's or credit note's, or empty: then it is the whole of that kind."""
    invoice = document.text("id")
    is_payment = kind == "payment" and bool(ident)
    data = {
        "document_id": "/".join(filter(None, (invoice, name, ident))),
        "version": _version(document),
        "from_kind": kind,
        "currency": _currency(document),
        "amount_minor": amount_minor,
        "invoice_id": invoice,
        "payment_id": ident if is_payment else None,
        "payment_key": origin.case("receipt", ident) if is_payment else None,
    }
    return origin.tell("cash.applied", name, *([ident] if ident else []), document=invoice, case=case, time=at, data=data)  # fmt: skip


# --- Transactions and credit notes ----------------------------------------------------------------------------------------


def _transaction(document: Fields, told: _Told) -> Iterable[Event]:
    kind, status, ident = document.text("type"), document.text("status"), document.text("id")
    if kind == "authorization":
        document.refuse("an authorisation moves no money; its capture is a payment", "policy")
    if kind not in ("payment", "refund", "payment_reversal"):
        document.refuse(f"type is {shown(kind)}, unknown to this adapter")
    if status in ("in_progress", "timeout", "needs_attention"):
        document.refuse(f"status is {status}: no money has moved yet; it comes in again when it has", "policy")
    if status not in ("success", "failure", "voided", "late_failure"):
        document.refuse(f"status is {shown(status)}, unknown to this adapter")
    origin, happened = _origin(document, told), document.moment("date")
    of = ident if kind == "payment" else document.text_or_none("refunded_txn_id") or document.text_or_none("reference_transaction_id") or ident  # fmt: skip
    case, data = origin.case("receipt", of), _movement(document)
    types = {"payment": ("payment.received", "payment.failed", "payment.returned"), "refund": ("refund.issued", "refund.failed", "refund.failed"), "payment_reversal": ("payment.returned", None, None)}  # fmt: skip
    moved, failed, undone = types[kind]
    if kind == "refund":
        data["payment_id"] = None if of == ident else of
    if status == "failure":
        if failed is None:
            document.refuse("a reversal that failed took nothing back", "policy")
        yield origin.tell(failed, document=ident, case=case, time=happened, data=data)
        return
    yield origin.tell(moved, document=ident, case=case, time=happened, data=data)
    if undone and (status in ("voided", "late_failure") or document.flag("deleted")):
        why = "deleted" if document.flag("deleted") else f"status {status}"
        yield origin.tell(undone, document=ident, case=case, time=max(happened, document.moment_or_none("voided_at") or _seen(document)), data=data | {"reason": why})  # fmt: skip


def _movement(document: Fields) -> dict[str, Any]:
    customer = document.text_or_none("customer_id")
    invoices = [link.text("invoice_id") for link in document.items("linked_invoices")]
    return {
        "version": _version(document),
        "customer": None if customer is None else {"payer": customer},
        "currency": _currency(document),
        "amount_minor": _minor(document, "amount"),
        "direction": "sales",
        "method": label(document.text_or_none("payment_method")),
        "invoice_id": invoices[0] if len(invoices) == 1 else None,
        "reference": note(document.text_or_none("reference_number") or document.text_or_none("id_at_gateway")),
        "reason": note(document.text_or_none("error_text") or document.text_or_none("error_code")),
    }


def _credit_note(document: Fields, told: _Told) -> Iterable[Event]:
    status, is_deleted = document.text("status"), document.flag("deleted")
    if status not in ("adjusted", "refunded", "refund_due", "voided"):
        document.refuse(f"status is {shown(status)}, unknown to this adapter")
    origin, ident, currency = _origin(document, told), document.text("id"), _currency(document)
    case, issued = origin.case("credit", ident), document.moment("date")
    data = {
        "number": label(ident),
        "version": _version(document),
        "accounting_date": issued.date(),
        "customer": _customer_of(document),
        "direction": "sales",
        "currency": currency,
        "total_minor": _minor(document, "total"),
        "tax_minor": sum(_minor(tax, "amount") for tax in document.items("taxes")) or None,
        **_base(document, currency),
        "invoice_id": document.text_or_none("reference_invoice_id"),
        "lines": [_line(line) for line in document.items("line_items")] or None,
    }
    yield origin.tell("credit_memo.issued", document=ident, case=case, time=issued, data=data)
    if status == "voided" or is_deleted:
        gone = {"version": _version(document), "reason": "deleted" if is_deleted else "status voided"}
        yield origin.tell("credit_memo.voided", document=ident, case=case, time=document.moment_or_none("voided_at") or _seen(document), data=gone)  # fmt: skip


# --- Orders and customers -------------------------------------------------------------------------------------------------


def _subscription(document: Fields, told: _Told) -> Iterable[Event]:
    status, ident = document.text("status"), document.text("id")
    if status == "future":
        document.refuse("status is future: it has not started; it comes in again when it does", "policy")
    if status not in ("in_trial", "active", "non_renewing", "paused", "cancelled", "transferred"):
        document.refuse(f"status is {shown(status)}, unknown to this adapter")
    origin, data = _origin(document, told), _terms(document)
    case = origin.case("order", ident)
    started = document.moment_or_none("started_at") or document.moment_or_none("activated_at") or document.moment("created_at")  # fmt: skip
    yield origin.tell("subscription.activated", document=ident, case=case, time=started, data=data)
    begun = document.moment_or_none("current_term_start")
    if told.event_type == "subscription_renewed" and begun is not None:
        yield origin.tell("subscription.renewed", "renewed", f"{begun:%Y-%m-%d}", document=ident, case=case, time=begun, data=data)  # fmt: skip
    if told.event_type in ("subscription_changed", "subscription_items_renewed", "mrr_updated"):
        changed = _seen(document)
        yield origin.tell("subscription.amended", "amended", str(_version(document) or f"{changed:%Y-%m-%dT%H%M%S}"), document=ident, case=case, time=changed, data=data)  # fmt: skip
    if told.event_type == "subscription_resumed":
        resumed = document.moment_or_none("resume_date") or _seen(document)
        yield origin.tell("subscription.resumed", "resumed", f"{resumed:%Y-%m-%d}", document=ident, case=case, time=resumed, data=data)  # fmt: skip
    if status == "paused":
        paused = document.moment_or_none("pause_date") or _seen(document)
        yield origin.tell("subscription.paused", "paused", f"{paused:%Y-%m-%d}", document=ident, case=case, time=paused, data=data)  # fmt: skip
    if status in ("cancelled", "transferred") or document.flag("deleted"):
        ended = (document.moment_or_none("cancelled_at") if status == "cancelled" else None) or _seen(document)
        yield origin.tell("subscription.cancelled", document=ident, case=case, time=ended, data=data)


def _terms(document: Fields) -> dict[str, Any]:
    start, end = document.moment_or_none("current_term_start"), document.moment_or_none("current_term_end")
    is_term = start is not None and end is not None and start <= end
    items = list(document.items("subscription_items"))
    amounts = [item.whole_or_none("amount") for item in items]
    total_minor = document.whole_or_none("plan_amount") if not items and not document.has("addons") else None
    if items and None not in amounts:
        total_minor = sum(filter(None, amounts))
    plan = document.text_or_none("plan_id") or next((item.text_or_none("item_price_id") for item in items), None)
    return {
        "version": _version(document),
        "customer": _customer_of(document),
        "currency": _currency(document) if document.has("currency_code") else None,
        "total_minor": total_minor if total_minor is None or total_minor >= 0 else None,
        "plan": label(plan),
        "quantity": None if (quantity := document.whole_or_none("plan_quantity")) is None else str(quantity),
        "period": {"start": start.date(), "end": end.date()} if is_term and start and end else None,
    }


def _quote(document: Fields, told: _Told) -> Iterable[Event]:
    status = document.text("status")
    if status in ("open", "declined", "proposed", "closed"):
        document.refuse(f"status is {status}: not a quote that was accepted", "policy")
    if status not in ("accepted", "invoiced"):
        document.refuse(f"status is {shown(status)}, unknown to this adapter")
    origin, ident = _origin(document, told), document.text("id")
    case = origin.case("order", document.text_or_none("subscription_id") or ident)
    data = {
        "number": label(ident),
        "version": _version(document),
        "customer": _customer_of(document),
        "currency": _currency(document),
        "total_minor": _minor(document, "total"),
        "subscription_id": document.text_or_none("subscription_id"),
    }
    yield origin.tell("quote.approved", document=ident, case=case, time=_seen(document), data=data)


def _customer(document: Fields, told: _Told) -> Iterable[Event]:
    """Its name is its identity: the same name is the same fact."""
    if document.flag("deleted"):
        document.refuse("it was deleted in Chargebee; what it said before stands", "policy")
    origin, ident = _origin(document, told), document.text("id")
    names = " ".join(filter(None, (document.text_or_none("first_name"), document.text_or_none("last_name"))))
    data = {"name": note(document.text_or_none("company") or names or None)}
    yield origin.customer(ident, data, _seen(document))


_HANDLERS: dict[str, Callable[[Fields, _Told], Iterable[Event]]] = {
    "invoice": _invoice,
    "transaction": _transaction,
    "credit_note": _credit_note,
    "subscription": _subscription,
    "quote": _quote,
    "customer": _customer,
}
