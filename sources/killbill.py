"""killbill: API response bodies of Kill Bill, one or many objects each, also wrapped as {"section", "json"}.

What an object is, its fields say:
- invoice -> invoice.issued in `invoice:main:killbill:<invoiceId>` once COMMITTED; VOID: invoice.voided too; DRAFT and a dry run (no
  number): policy. Below nothing: credit_memo.issued in `credit:...`. Tax is the sum of its TAX items, `order_key` its subscription's case where its items have
  one. Account credit it used (CBA_ADJ items below zero) -> cash.applied from a credit
- payment, with its transactions -> in `receipt:...:<paymentId>`: PURCHASE and CAPTURE payment.received or payment.failed, REFUND
  refund.issued or refund.failed, CHARGEBACK dispute.opened. What is pending or only authorised has not moved. With a targetInvoiceId what was received is
  cash.applied in the invoice's case (`payment_key`)
- subscription (also inside its bundle) -> subscription.activated in `order:...`, subscription.cancelled from its cancelledDate
- account -> customer.changed in `index:...`, where it says a time
- items, credits and charges are told by their invoice; catalogs, tags, fields, audit logs, settings hold no money: policy

Money is a JSON number of major units. An invoice has only dates, and no version: two states of it are told apart by what is told.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from canonical.dead_letters import DeadLetter
from canonical.events import Event
from sources.cells import day_of, major_of, midnight, stamp_of
from sources.fields import Fields, Record, Refused, known_currency, label, note, parse, shown
from sources.origin import Origin

SYSTEM = "killbill"

_HOLDERS = ("invoices", "payments", "bundles", "subscriptions", "next", "account")
_SILENT = (
    "customFieldId", "tagId", "changeType", "paymentMethodId", "blockedId", "tenantId", "principal", "username", "role",
    "isControlTag", "currentUtcTime", "catalogValidationErrors", "prices", "plans", "product", "products", "effectiveDate",
    "initialReevaluationInterval", "isClearState", "busEvents", "nodeInfos", "account.data", "coupon", "redemptionCode", "wallet",
    "walletId", "prettyName", "values", "state", "status", "permissions", "email", "unitUsageRecords", "rolledUpUnits",
)  # fmt: skip


def map_record(body: bytes, traceparent: str | None) -> tuple[Event, ...] | DeadLetter:
    origin = Origin(SYSTEM, "main", traceparent)
    events: list[Event] = []
    refused: list[Refused] = []
    for entity in _entities(_unwrapped(parse(body))):
        try:
            events += _handler(entity)(entity, origin)
        except Refused as reason:
            if reason.failure != "policy":
                raise
            refused.append(reason)
    if not events:
        raise refused[0] if refused else Refused("policy", "killbill: the body holds no object")
    return tuple(events)


def key(body: bytes) -> bytes:
    names = ("paymentId", "invoiceId", "subscriptionId", "accountId")
    return next((str(entity.values[name]).encode() for entity in _entities(_unwrapped(parse(body))) for name in names if entity.has(name)), b"")  # fmt: skip


def _unwrapped(record: Record) -> list[Record]:
    body = record["json"] if "section" in record and "json" in record else record
    found = body if isinstance(body, list) else [body]
    if not all(isinstance(item, dict) for item in found):
        raise Refused("policy", f"killbill: {shown(body)} is no object with money")
    return found


def _entities(records: list[Record]) -> Iterator[Fields]:
    """Objects, those inside a page, a bundle or an account's timeline too."""
    for record in records:
        inner = [record[name] for name in _HOLDERS if name in record]
        held = [item for value in inner for item in (value if isinstance(value, list) else [value]) if isinstance(item, dict)]  # fmt: skip
        if held and "invoiceId" not in record and "paymentId" not in record:
            yield from _entities(held)
        else:
            yield Fields(record, "killbill object")


def _handler(entity: Fields) -> Callable[[Fields, Origin], Iterable[Event]]:
    if entity.has("invoiceItemId"):
        entity.refuse("an item is told by its invoice", "policy")
    for name, word, handler in _HANDLERS:
        if entity.has(name) and (name != "accountId" or "billCycleDayLocal" in entity.values):
            entity.label = f"killbill {word} {shown(entity.values.get('invoiceNumber') or entity.values[name])}"
            if name == "subscriptionId" and "bundleId" not in entity.values:
                break
            return handler
    if any(name in entity.values for name in _SILENT) or not entity.values:
        entity.refuse("it holds no money that tieout reconciles", "policy")
    entity.refuse("unknown to this adapter; report it with this record")


def _currency(entity: Fields) -> str:
    return known_currency(entity.text("currency"), entity.label)


def _invoice(entity: Fields, origin: Origin) -> Iterable[Event]:
    status, ident = entity.text("status"), entity.text("invoiceId")
    if status == "DRAFT" or not entity.has("invoiceNumber"):
        entity.refuse("a draft or a dry run: it bills nothing yet", "policy")
    if status not in ("COMMITTED", "VOID"):
        entity.refuse(f"status is {shown(status)}, unknown to this adapter")
    currency, day = _currency(entity), day_of(entity, "invoiceDate")
    items = list(entity.items("items"))
    total_minor = major_of(entity, "amount", currency)
    taxes = [major_of(item, "amount", currency) for item in items if item.text_or_none("itemType") == "TAX" and item.has("amount")]  # fmt: skip
    subscriptions = {item.text_or_none("subscriptionId") for item in items} - {None}
    account = label(entity.text_or_none("accountId"))
    data = {
        "number": label(entity.text("invoiceNumber")), "accounting_date": day, "customer": None if account is None else {"bill_to": account},
        "direction": "sales", "currency": currency, "total_minor": abs(total_minor),
        "tax_minor": sum(taxes) if taxes and sum(taxes) >= 0 else None,
        "lines": [_line(item, currency) for item in items if item.text_or_none("itemType") != "CBA_ADJ"] or None,
    }  # fmt: skip
    is_credit = total_minor < 0
    if not is_credit:
        data["order_key"] = origin.case("order", str(subscriptions.pop())) if len(subscriptions) == 1 else None
    case = origin.case("credit" if is_credit else "invoice", ident)
    issued = "credit_memo.issued" if is_credit else "invoice.issued"
    yield origin.tell(issued, document=ident, subject=label(entity.text("invoiceNumber")), case=case, time=midnight(day), data=data)  # fmt: skip
    if status == "VOID":
        yield origin.tell(issued.replace("issued", "voided"), document=ident, case=case, time=midnight(day), data={"reason": "status VOID"})  # fmt: skip
        return
    used_minor = -sum(min(0, major_of(item, "amount", currency)) for item in items if item.text_or_none("itemType") == "CBA_ADJ" and item.has("amount"))  # fmt: skip
    if used_minor and not is_credit:
        applied = {"from_kind": "credit", "currency": currency, "amount_minor": used_minor, "invoice_id": ident}
        yield origin.tell("cash.applied", "applied", "credit", document=f"{ident}/credit", case=case, time=midnight(day), data=applied)  # fmt: skip


def _line(item: Fields, currency: str) -> dict[str, Any]:
    start, end = (day_of(item, name) if item.has(name) else None for name in ("startDate", "endDate"))
    return {
        "amount_minor": major_of(item, "amount", currency, is_rounded=True) if item.has("amount") else 0,
        "description": note(item.text_or_none("description")),
        "product": label(item.text_or_none("planName")),
        "period": {"start": start, "end": end} if start and end and start <= end else None,
    }


_MOVES = {
    "PURCHASE": ("payment.received", "payment.failed"), "CAPTURE": ("payment.received", "payment.failed"),
    "REFUND": ("refund.issued", "refund.failed"), "CHARGEBACK": ("dispute.opened", None),
}  # fmt: skip


def _payment(entity: Fields, origin: Origin) -> Iterable[Event]:
    ident, account, invoice = entity.text("paymentId"), label(entity.text_or_none("accountId")), entity.text_or_none("targetInvoiceId")  # fmt: skip
    moved = False
    for transaction in entity.items("transactions"):
        kind, status = transaction.text("transactionType"), transaction.text("status")
        if kind in ("AUTHORIZE", "VOID", "CREDIT") or status in ("PENDING", "UNKNOWN", "PLUGIN_FAILURE"):
            continue  # nothing moved: refused below where that is all there is
        if kind not in _MOVES or status not in ("SUCCESS", "PAYMENT_FAILURE"):
            transaction.refuse(f"transaction {shown(kind)} with status {shown(status)}, unknown to this adapter")
        event_type = _MOVES[kind][status != "SUCCESS"]
        if event_type is None:
            continue
        moved = True
        yield from _moved(transaction, origin, event_type, ident, account, invoice)
    if not moved:
        entity.refuse("none of its transactions moved money", "policy")


def _moved(transaction: Fields, origin: Origin, event_type: str, payment: str, account: str | None, invoice: str | None) -> Iterator[Event]:  # fmt: skip
    ident, currency, time = transaction.text("transactionId"), _currency(transaction), stamp_of(transaction, "effectiveDate")  # fmt: skip
    amount_minor = major_of(transaction, "amount", currency)
    if amount_minor < 0:
        transaction.refuse(f"amount is {shown(transaction.values['amount'])}: a transaction's is not negative")
    data: dict[str, Any] = {
        "customer": None if account is None else {"payer": account}, "currency": currency, "amount_minor": amount_minor,
        "direction": "sales", "invoice_id": invoice, "reference": note(transaction.text_or_none("firstPaymentReferenceId")),
        "reason": note(transaction.text_or_none("gatewayErrorMsg")),
    }  # fmt: skip
    if event_type.startswith(("refund", "dispute")):
        data |= {"payment_id": payment}
    if event_type == "dispute.opened":
        data |= {"stage": "chargeback"}
    yield origin.tell(event_type, document=ident, case=origin.case("receipt", payment), time=time, data=data)
    if event_type == "payment.received" and invoice is not None:
        applied = {
            "from_kind": "payment", "currency": currency, "amount_minor": amount_minor, "payment_id": payment,
            "payment_key": origin.case("receipt", payment), "invoice_id": invoice,
        }  # fmt: skip
        yield origin.tell("cash.applied", "applied", document=ident, case=origin.case("invoice", invoice), time=time, data=applied)  # fmt: skip


def _subscription(entity: Fields, origin: Origin) -> Iterable[Event]:
    ident, account = entity.text("subscriptionId"), label(entity.text_or_none("accountId"))
    if entity.text_or_none("state") == "PENDING":
        entity.refuse("state is PENDING: it has not started", "policy")
    began = "billingStartDate" if entity.has("billingStartDate") else "startDate"
    data = {"plan": label(entity.text_or_none("planName")), "customer": None if account is None else {"sold_to": account}}  # fmt: skip
    case = origin.case("order", ident)
    yield origin.tell("subscription.activated", document=ident, case=case, time=midnight(day_of(entity, began)), data=data)  # fmt: skip
    if entity.has("cancelledDate"):
        yield origin.tell("subscription.cancelled", document=ident, case=case, time=midnight(day_of(entity, "cancelledDate")), data=data)  # fmt: skip


def _account(entity: Fields, origin: Origin) -> Iterable[Event]:
    if not isinstance(entity.values.get("referenceTime"), str):
        entity.refuse("an account that says no time (referenceTime)", "policy")
    ident, data = entity.text("accountId"), {"name": note(entity.text_or_none("company") or entity.text_or_none("name"))}  # fmt: skip
    yield origin.customer(ident, data, stamp_of(entity, "referenceTime"))


_HANDLERS: tuple[tuple[str, str, Callable[[Fields, Origin], Iterable[Event]]], ...] = (
    ("paymentId", "payment", _payment),
    ("invoiceId", "invoice", _invoice),
    ("subscriptionId", "subscription", _subscription),
    ("accountId", "account", _account),
)
