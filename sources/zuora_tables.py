"""zuora_tables: a folder of table extracts of Zuora (sources.joined joins each invoice with its items).

- invoice that is Posted -> invoice.issued in `invoice:main:zuora:<id>`, with its items as lines; below nothing: credit_memo.issued in
  `credit:...`. Reversed, voided or canceled after it was posted: invoice.voided too. `order_key` where its items bill one
  subscription. credit_memo_amount -> cash.applied from a credit, at updated_date, the latest it can have been
- invoice_payment -> cash.applied in the invoice's case (`payment_key` is the payment's receipt), on the day it was made
- payment -> payment.received on effective_date in `receipt:...`; Error -> payment.failed; Voided -> payment.returned too
- credit_balance_adjustment that is Processed: a Decrease pays an invoice -> cash.applied from a credit; an Increase keeps a credit on
  account and pays nothing: policy
- credit_memo -> credit_memo.issued in `credit:...`
- refund -> refund.issued or refund.failed in `receipt:...`; where the table has no currency for it, it is master data missing
- subscription -> subscription.activated in `order:...:<id>`; Cancelled -> subscription.cancelled too. Every amendment is a subscription of its
  own id, which is what invoice items name; `refs` hold its number and first id
- account -> customer.changed in `index:...`
- all other tables of Zuora move nothing: policy

Money is a decimal in transaction_currency (payments: currency). exchange_rate is home currency for one unit of it. Stamps without a
zone are read as UTC. An item in another currency than its invoice is none of its lines. `version` is updated_date in milliseconds.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from canonical.dead_letters import DeadLetter
from canonical.events import Event
from sources.cells import amount_of, check_current, day_of, midnight, milliseconds, rate_of, stamp_of
from sources.fields import FALSE, Fields, check_columns, known_currency, label, note, parse, shown
from sources.joined import Join, Layout
from sources.origin import Origin

SYSTEM = "zuora"
LAYOUT = Layout(
    joins={"invoice": {"items": Join("invoice_item", ("invoice_id",), ("id",))}},
    affixes=re.compile(r"^(zuora|raw|stg)_+|_data$"),
    names={"invoices": "invoice", "invoice_items": "invoice_item", "payments": "payment", "accounts": "account", "subscriptions": "subscription"},
)  # fmt: skip

_SILENT = {
    "amendment", "contact", "payment_method", "product", "product_rate_plan", "product_rate_plan_charge", "rate_plan",
    "rate_plan_charge", "rate_plan_charge_tier", "taxation_item", "accounting_code", "accounting_period", "journal_entry",
    "journal_run", "usage", "order", "order_item", "feature", "unit_of_measure", "contact_snapshot", "payment_gateway",
    "refund_invoice_payment", "billing_run", "import", "export", "tax_code",
}  # fmt: skip


def map_record(body: bytes, traceparent: str | None) -> tuple[Event, ...] | DeadLetter:
    whole = Fields(parse(body), "zuora_tables")
    check_columns(whole)
    table, row = whole.text_or_none("table") or "", whole.inner("document")
    name = row.values.get("invoice_number") or row.values.get("payment_number") or row.values.get("number") or row.values.get("id")  # fmt: skip
    row.label = f"zuora {table} {shown(name)}"
    if table in _SILENT:
        row.refuse(f"table {table} moves nothing that tieout reconciles", "policy")
    if table == "invoice_item":
        row.refuse(f"the item belongs to invoice {shown(row.values.get('invoice_id'))}, which is not in the folder; extract both at one time")  # fmt: skip
    handler = _HANDLERS.get(table)
    if handler is None:
        row.refuse(f"table {shown(table)} is unknown to this adapter; report it with this record")
    check_current(row, "Zuora")
    return tuple(handler(whole, row, Origin(SYSTEM, "main", traceparent)))


def key(body: bytes) -> bytes:
    row = parse(body)["document"]
    return str(row.get("invoice_id") or row["id"]).encode()


def _standing(row: Fields, gives: set[str], not_yet: set[str]) -> str:
    """The status, in small letters. Refused where it gives nothing, or is not known."""
    status = row.text("status").lower()
    if status in not_yet:
        row.refuse(f"status is {row.text('status')}: nothing has come of it", "policy")
    return status if status in gives else row.refuse(f"status is {shown(row.text('status'))}, unknown to this adapter")


def _currency(row: Fields) -> str:
    code = row.text_or_none("transaction_currency") or row.text_or_none("currency")
    if code is None:
        row.refuse("no transaction_currency: the table does not say what the amount is in", "master_data")
    return known_currency(code, row.label)


def _version(row: Fields) -> int | None:
    return milliseconds(stamp_of(row, "updated_date")) if row.has("updated_date") else None


def _unsigned(row: Fields, name: str, currency: str) -> int:
    amount_minor = amount_of(row, name, currency) if row.has(name) else 0
    return amount_minor if amount_minor >= 0 else row.refuse(f"{name} is {shown(row.text(name))}: not negative in Zuora")  # fmt: skip


def _party(row: Fields, role: str) -> dict[str, str] | None:
    account = label(row.text_or_none("account_id"))
    return None if account is None else {role: account}


# --- Invoices and what settles them -----------------------------------------------------------------------------------------


def _invoice(whole: Fields, row: Fields, origin: Origin) -> Iterable[Event]:
    gone = {"reversed", "voided", "canceled", "cancelled"}
    status = _standing(row, {"posted", *gone}, {"draft", "generating", "error", "pending"})
    if status in gone and not row.has("posted_date"):
        row.refuse(f"status is {row.text('status')}, and it was never posted", "policy")
    currency, ident = _currency(row), row.text("id")
    if row.has("adjustment_amount") and amount_of(row, "adjustment_amount", currency):
        row.refuse("adjustment_amount is not zero, and the table does not say in which direction it was adjusted")
    total_minor = amount_of(row, "amount", currency)
    kind, issued = ("invoice", "invoice.issued") if total_minor >= 0 else ("credit", "credit_memo.issued")
    case = origin.case("invoice" if kind == "invoice" else "credit", ident)
    time = midnight(day_of(row, "invoice_date"))
    data = _priced(whole, row, origin, currency, total_minor)
    if kind == "credit":
        data = {name: value for name, value in data.items() if name not in ("due_date", "order_key")}
    yield origin.tell(issued, document=ident, subject=label(row.text_or_none("invoice_number")), case=case, time=time, data=data)  # fmt: skip
    if status in gone:
        reason = {"version": _version(row), "reason": f"status {row.text('status')}"}
        yield origin.tell(issued.replace("issued", "voided"), document=ident, case=case, time=stamp_of(row, "updated_date"), data=reason)  # fmt: skip
    elif kind == "invoice" and (credited_minor := _unsigned(row, "credit_memo_amount", currency)):
        yield _applied(row, origin, ident, "credit", credited_minor, currency, f"{ident}/credit_memos", stamp_of(row, "updated_date"))  # fmt: skip


def _priced(whole: Fields, row: Fields, origin: Origin, currency: str, total_minor: int) -> dict[str, Any]:
    items = list(whole.items("items"))
    subscriptions = {item.text_or_none("subscription_id") for item in items} - {None}
    tax_minor = amount_of(row, "tax_amount", currency) if row.has("tax_amount") else None
    return {
        "number": label(row.text_or_none("invoice_number")),
        "version": _version(row),
        "recorded_at": stamp_of(row, "posted_date") if row.has("posted_date") else None,
        "accounting_date": day_of(row, "invoice_date"),
        "customer": _party(row, "bill_to"),
        "direction": "sales",
        "currency": currency,
        "total_minor": abs(total_minor),
        "tax_minor": tax_minor if tax_minor is None or tax_minor >= 0 else None,
        **_home(row, currency),
        "due_date": day_of(row, "due_date") if row.has("due_date") else None,
        "order_key": origin.case("order", str(subscriptions.pop())) if len(subscriptions) == 1 else None,
        "lines": [
            _line(item, currency)
            for item in items
            if (item.text_or_none("transaction_currency") or currency).upper() == currency
        ]
        or None,
    }


def _home(row: Fields, currency: str) -> dict[str, Any]:
    home = row.text_or_none("home_currency")
    if home is None or not row.has("exchange_rate") or home.upper() == currency:
        return {}
    return {"base_currency": known_currency(home, row.label), "rate": rate_of(row, "exchange_rate"), "rate_direction": "base_per_document"}  # fmt: skip


def _line(item: Fields, currency: str) -> dict[str, Any]:
    start, end = (day_of(item, name) if item.has(name) else None for name in ("service_start_date", "service_end_date"))
    return {
        "amount_minor": amount_of(item, "charge_amount", currency, is_rounded=True) if item.has("charge_amount") else 0,
        "description": note(item.text_or_none("charge_name")),
        "product": label(item.text_or_none("sku")),
        "tax_code": label(item.text_or_none("tax_code")),
        "period": {"start": start, "end": end} if start and end and start <= end else None,
    }  # fmt: skip


def _applied(row: Fields, origin: Origin, invoice: str, from_kind: str, amount_minor: int, currency: str, document: str, time: Any, payment: str | None = None) -> Event:  # fmt: skip
    data = {
        "version": _version(row),
        "from_kind": from_kind,
        "currency": currency,
        "amount_minor": amount_minor,
        "invoice_id": invoice,
        "payment_id": payment,
        "payment_key": None if payment is None else origin.case("receipt", payment),
    }
    return origin.tell("cash.applied", "applied", document=document, case=origin.case("invoice", invoice), time=time, data=data)  # fmt: skip


def _invoice_payment(_: Fields, row: Fields, origin: Origin) -> Iterable[Event]:
    currency = _currency(row)
    yield _applied(row, origin, row.text("invoice_id"), "payment", _unsigned(row, "amount", currency), currency, row.text("id"), stamp_of(row, "created_date"), row.text("payment_id"))  # fmt: skip


def _adjustment(_: Fields, row: Fields, origin: Origin) -> Iterable[Event]:
    _standing(row, {"processed"}, {"canceled", "cancelled"})
    kind = row.text("type").lower()
    if kind == "increase":
        row.refuse("an increase keeps a credit on account; it pays no invoice yet", "policy")
    if kind != "decrease":
        row.refuse(f"type is {shown(row.text('type'))}, expected Increase or Decrease")
    if not row.has("invoice_id"):
        row.refuse("a decrease that names no invoice pays back a credit; the refund tells it", "policy")
    currency = _currency(row)
    yield _applied(row, origin, row.text("invoice_id"), "credit", _unsigned(row, "amount", currency), currency, row.text("id"), midnight(day_of(row, "adjustment_date")))  # fmt: skip


def _credit_memo(_: Fields, row: Fields, origin: Origin) -> Iterable[Event]:
    _standing(row, {"posted"}, {"draft", "canceled", "cancelled", "error", "pending"})
    ident, currency = row.text("id"), _currency(row)
    name = "credit_memo_date" if row.has("credit_memo_date") else "created_date"
    data = {
        "number": label(row.text_or_none("number")), "version": _version(row), "accounting_date": day_of(row, name),
        "customer": _party(row, "bill_to"), "direction": "sales", "currency": currency,
        "total_minor": _unsigned(row, "total_amount" if row.has("total_amount") else "amount", currency),
        "invoice_id": row.text_or_none("invoice_id"),
    }  # fmt: skip
    yield origin.tell("credit_memo.issued", document=ident, case=origin.case("credit", ident), time=midnight(day_of(row, name)), data=data)  # fmt: skip


# --- Payments, subscriptions and accounts -----------------------------------------------------------------------------------


def _payment(_: Fields, row: Fields, origin: Origin) -> Iterable[Event]:
    status = _standing(row, {"processed", "error", "voided"}, {"draft", "processing", "canceled", "cancelled", "pending", "posted"})  # fmt: skip
    ident, currency = row.text("id"), _currency(row)
    data = {
        "number": label(row.text_or_none("payment_number")), "version": _version(row), "customer": _party(row, "payer"),
        "currency": currency, "amount_minor": _unsigned(row, "amount", currency), "direction": "sales",
        "method": label(row.text_or_none("type")), "reference": note(row.text_or_none("reference_id")),
        "reason": note(row.text_or_none("gateway_response")) if status == "error" else None,
    }  # fmt: skip
    case, time = origin.case("receipt", ident), midnight(day_of(row, "effective_date" if row.has("effective_date") else "created_date"))  # fmt: skip
    if status == "error":
        yield origin.tell("payment.failed", document=ident, case=case, time=time, data=data)
        return
    yield origin.tell("payment.received", document=ident, case=case, time=time, data=data)
    if status == "voided":
        yield origin.tell("payment.returned", document=ident, case=case, time=max(time, stamp_of(row, "updated_date")), data=data | {"reason": "status Voided"})  # fmt: skip


def _refund(_: Fields, row: Fields, origin: Origin) -> Iterable[Event]:
    status = _standing(row, {"processed", "error"}, {"canceled", "cancelled", "processing", "draft", "pending"})
    ident, currency = row.text("id"), _currency(row)
    of = row.text_or_none("payment_id")
    data = {"version": _version(row), "currency": currency, "amount_minor": _unsigned(row, "amount", currency), "direction": "sales", "method": label(row.text_or_none("method_type")), "payment_id": of}  # fmt: skip
    time = midnight(day_of(row, "refund_date")) if row.has("refund_date") else stamp_of(row, "created_date")
    yield origin.tell("refund.issued" if status == "processed" else "refund.failed", document=ident, case=origin.case("receipt", of or ident), time=time, data=data)  # fmt: skip


def _subscription(_: Fields, row: Fields, origin: Origin) -> Iterable[Event]:
    if (row.text_or_none("is_latest_version") or "").lower() in FALSE:
        row.refuse("an earlier version of the subscription; the latest one tells itself", "policy")
    status = _standing(row, {"active", "cancelled", "canceled", "expired", "suspended"}, {"draft", "pendingactivation", "pendingacceptance", "pending activation", "pending acceptance"})  # fmt: skip
    ident = row.text("id")
    began = next((name for name in ("service_activation_date", "contract_effective_date", "subscription_start_date", "term_start_date") if row.has(name)), "created_date")  # fmt: skip
    refs = [{"kind": kind, "system": SYSTEM, "value": row.text(name)} for name, kind in (("name", "number"), ("original_id", "first_version")) if row.has(name)]  # fmt: skip
    data = {"number": label(row.text_or_none("name")), "version": _version(row), "customer": _party(row, "sold_to"), "refs": refs or None}  # fmt: skip
    case = origin.case("order", ident)
    yield origin.tell("subscription.activated", document=ident, case=case, time=midnight(day_of(row, began)), data=data)
    ended = {"cancelled": ("subscription.cancelled", "cancelled_date"), "canceled": ("subscription.cancelled", "cancelled_date"), "suspended": ("subscription.paused", "updated_date")}.get(status)  # fmt: skip
    if ended is not None:
        name = ended[1] if row.has(ended[1]) else "updated_date"
        yield origin.tell(ended[0], document=ident, case=case, time=stamp_of(row, name), data=data)


def _account(_: Fields, row: Fields, origin: Origin) -> Iterable[Event]:
    ident, data = row.text("id"), {"name": note(row.text_or_none("name")), "number": label(row.text_or_none("account_number"))}  # fmt: skip
    time = stamp_of(row, "updated_date" if row.has("updated_date") else "created_date")
    yield origin.customer(ident, data, time)


_HANDLERS: dict[str, Callable[[Fields, Fields, Origin], Iterable[Event]]] = {
    "invoice": _invoice,
    "invoice_payment": _invoice_payment,
    "credit_balance_adjustment": _adjustment,
    "credit_memo": _credit_memo,
    "payment": _payment,
    "refund": _refund,
    "subscription": _subscription,
    "account": _account,
}
