"""quickbooks: transactions and lists of QuickBooks Online: API objects, query responses, and connectors' records.

A record is {"stream", "data"} as connectors write it, an API response {"Invoice": {...}}, or a query's {"QueryResponse":
{"Invoice": [...]}}. Webhooks carry ids only and tell nothing. A transaction's Id is unique in the company, whatever its type;
`version` is SyncToken, which counts its changes; the entity is "main".

- Invoice (sales), Bill (purchase) -> invoice.issued in `invoice:main:quickbooks:<Id>`. One that was voided says Voided in its
  note and comes to nothing: invoice.voided too; one that was deleted, as change data tell it: invoice.voided
- Payment, BillPayment -> payment.received in `receipt:...`, with the invoices it pays as `allocations`, and cash.applied for
  each: QuickBooks applies as it records. A payment that uses credits beside money says what each invoice took only where there
  is one invoice; otherwise it is told without its parts, and stays unapplied until somebody says
- CreditMemo, VendorCredit -> credit_memo.issued in `credit:...`
- SalesReceipt -> invoice.issued and payment.received in one case: paid at once
- RefundReceipt -> refund.issued in `receipt:...`; it names no payment
- Estimate that was accepted, closed or converted -> quote.approved in `order:...`
- JournalEntry -> posting.recorded in `summary:...`, debit-positive in the transaction's currency. What an account is for is not in
  the entry: its role is `other`
- Customer, Vendor -> customer.changed in `index:...`
- all else (Deposit, Purchase, Transfer, Item, Account, tax codes ...) moves nothing between a customer's invoice and its
  payment: policy

Money is a JSON number of major units in CurrencyRef; ExchangeRate is home currency for one unit of it.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

from canonical.dead_letters import DeadLetter
from canonical.events import Event
from canonical.ids import CaseKind
from sources.cells import day_of, major_of, midnight, rate_of, stamp_of
from sources.fields import Fields, Record, Refused, known_currency, label, note, parse, shown
from sources.origin import Origin

SYSTEM, LEDGER = "quickbooks", "main"

_STREAMS = {
    "invoices": "Invoice", "bills": "Bill", "payments": "Payment", "bill_payments": "BillPayment", "credit_memos": "CreditMemo",
    "vendor_credits": "VendorCredit", "sales_receipts": "SalesReceipt", "refund_receipts": "RefundReceipt",
    "estimates": "Estimate", "journal_entries": "JournalEntry", "customers": "Customer", "vendors": "Vendor",
    "accounts": "Account", "purchases": "Purchase", "payment_methods": "PaymentMethod", "items": "Item", "deposits": "Deposit",
    "terms": "Term", "time_activities": "TimeActivity", "purchase_orders": "PurchaseOrder", "tax_rates": "TaxRate",
    "employees": "Employee", "tax_agencies": "TaxAgency", "tax_codes": "TaxCode", "transfers": "Transfer",
    "classes": "Class", "departments": "Department", "budgets": "Budget",
}  # fmt: skip
_ACCEPTED, _NOT_ACCEPTED = {"Accepted", "Closed", "Converted"}, {"Pending", "Rejected", ""}


def map_record(body: bytes, traceparent: str | None) -> tuple[Event, ...] | DeadLetter:
    origin = Origin(SYSTEM, "main", traceparent)
    events: list[Event] = []
    refused: list[Refused] = []
    for kind, document in _objects(parse(body)):
        handler = _HANDLERS.get(kind)
        try:
            events += handler(document, origin) if handler is not None else _dismiss(kind, document)
        except Refused as reason:
            if reason.failure != "policy":
                raise
            refused.append(reason)
    if not events:
        raise refused[0] if refused else Refused("mapping", "quickbooks: the record holds no object of QuickBooks")
    return tuple(events)


def key(body: bytes) -> bytes:
    return next((str(document.values["Id"]).encode() for _, document in _objects(parse(body))), b"")


def _objects(record: Record) -> Iterator[tuple[str, Fields]]:
    if "eventNotifications" in record:
        raise Refused("policy", "quickbooks: a webhook carries ids only; poll the objects it names and send those")
    stream, data = record.get("stream"), record.get("data")
    if isinstance(stream, str) and isinstance(data, dict):
        kind = _STREAMS.get(stream, stream)
        yield kind, _labelled(kind, data)
        return
    response = record.get("QueryResponse")
    for name, value in (response if isinstance(response, dict) else record).items():
        if isinstance(value, dict) and name[:1].isupper():
            yield name, _labelled(name, value)
        elif isinstance(value, list) and name in _STREAMS.values():
            for item in Fields({name: value}, f"quickbooks {name}").items(name):
                yield name, _labelled(name, item.values)


def _labelled(kind: str, values: Record) -> Fields:
    return Fields(values, f"quickbooks {kind} {shown(values.get('DocNumber') or values.get('Id') or '(no id)')}")


def _dismiss(kind: str, document: Fields) -> Iterable[Event]:
    if kind in _STREAMS.values():
        document.refuse(f"{kind} moves nothing between an invoice and its payment", "policy")
    document.refuse(f"object {shown(kind)} is unknown to this adapter; report it with this record")


# --- What every transaction has -------------------------------------------------------------------------------------------


def _ref(document: Fields, name: str) -> str | None:
    return document.inner(name).text_or_none("value")


def _currency(document: Fields) -> str:
    code = _ref(document, "CurrencyRef")
    if code is None:
        document.refuse("CurrencyRef is missing; the company's home currency is not in the record", "master_data")
    return known_currency(code, document.label)


def _common(document: Fields) -> dict[str, Any]:
    token = document.text_or_none("SyncToken")
    if token is not None and not (token.isdecimal() and token.isascii() and len(token) < 16):
        document.refuse(f"SyncToken is {shown(token)}, expected a number")
    party = _ref(document, "CustomerRef") or _ref(document, "VendorRef")
    created = document.inner("MetaData")
    return {
        "number": label(document.text_or_none("DocNumber")),
        "version": None if token is None else int(token),
        "recorded_at": stamp_of(created, "CreateTime") if created.has("CreateTime") else None,
        "accounting_date": day_of(document, "TxnDate"),
        "customer": None if party is None else {"bill_to": party},
    }


def _unsigned(document: Fields, name: str, currency: str) -> int:
    amount_minor = major_of(document, name, currency)
    return amount_minor if amount_minor >= 0 else document.refuse(f"{name} is {shown(document.values.get(name))}: not negative in QuickBooks")  # fmt: skip


def _priced(document: Fields, currency: str) -> dict[str, Any]:
    tax = document.inner("TxnTaxDetail")
    rate = document.values.get("ExchangeRate")
    lines = [line for line in document.items("Line") if line.text_or_none("DetailType") != "SubTotalLineDetail"]
    return {
        "currency": currency,
        "total_minor": _unsigned(document, "TotalAmt", currency),
        "tax_minor": _unsigned(tax, "TotalTax", currency) if tax.has("TotalTax") else None,
        "rate": rate_of(document, "ExchangeRate") if rate not in (None, 1) else None,
        "rate_direction": "base_per_document" if rate not in (None, 1) else None,
        "lines": [_line(line, currency) for line in lines] or None,
    }


def _line(line: Fields, currency: str) -> dict[str, Any]:
    detail = line.inner("SalesItemLineDetail")
    return {
        "amount_minor": major_of(line, "Amount", currency, is_rounded=True) if line.has("Amount") else 0,
        "description": note(line.text_or_none("Description")),
        "product": label(_ref(detail, "ItemRef")),
        "tax_code": label(_ref(detail, "TaxCodeRef")),
    }


def _changed(document: Fields) -> datetime:
    meta = document.inner("MetaData")
    return stamp_of(meta, "LastUpdatedTime" if meta.has("LastUpdatedTime") else "CreateTime")


def _tell(document: Fields, origin: Origin, event_type: str, kind: CaseKind, data: dict[str, Any], time: datetime | None = None) -> Event:  # fmt: skip
    ident = document.text("Id")
    at = time or midnight(day_of(document, "TxnDate"))
    return origin.tell(event_type, document=ident, subject=label(document.text_or_none("DocNumber")), case=origin.case(kind, ident), time=at, data=data)  # fmt: skip


# --- Documents ------------------------------------------------------------------------------------------------------------


def _invoice(direction: str) -> Callable[[Fields, Origin], Iterable[Event]]:
    def told(document: Fields, origin: Origin) -> Iterable[Event]:
        if document.text_or_none("status") == "Deleted":
            yield _tell(document, origin, "invoice.voided", "invoice", {"reason": "deleted"}, _changed(document))
            return
        data = _common(document) | {"direction": direction} | _priced(document, _currency(document))
        data["due_date"] = day_of(document, "DueDate") if document.has("DueDate") else None
        yield _tell(document, origin, "invoice.issued", "invoice", data)
        if (document.text_or_none("PrivateNote") or "").startswith("Voided") and not data["total_minor"]:
            yield _tell(document, origin, "invoice.voided", "invoice", {"version": data["version"], "reason": "voided"}, _changed(document))  # fmt: skip

    return told


def _credit(direction: str) -> Callable[[Fields, Origin], Iterable[Event]]:
    def told(document: Fields, origin: Origin) -> Iterable[Event]:
        data = _common(document) | {"direction": direction} | _priced(document, _currency(document))
        yield _tell(document, origin, "credit_memo.issued", "credit", data)

    return told


def _sales_receipt(document: Fields, origin: Origin) -> Iterable[Event]:
    currency, common = _currency(document), _common(document)
    yield _tell(document, origin, "invoice.issued", "invoice", common | {"direction": "sales", "due_date": common["accounting_date"]} | _priced(document, currency))  # fmt: skip
    yield _tell(document, origin, "payment.received", "invoice", _moved(document, common, currency, "sales") | {"invoice_id": document.text("Id")})  # fmt: skip


def _moved(document: Fields, common: dict[str, Any], currency: str, direction: str) -> dict[str, Any]:
    party = common["customer"]
    return common | {
        "customer": None if party is None else {"payer": party["bill_to"]},
        "currency": currency,
        "amount_minor": _unsigned(document, "TotalAmt", currency),
        "direction": direction,
        "method": label(document.inner("PaymentMethodRef").text_or_none("name") or document.text_or_none("PayType")),
        "reference": note(document.text_or_none("PaymentRefNum")),
    }


def _payment(direction: str, pays: str, credits: tuple[str, ...]) -> Callable[[Fields, Origin], Iterable[Event]]:
    def told(document: Fields, origin: Origin) -> Iterable[Event]:
        currency, common = _currency(document), _common(document)
        parts = _parts(document, currency, pays, credits)
        data = _moved(document, common, currency, direction)
        if sum(parts.values()) > data["amount_minor"]:
            document.refuse(f"its lines apply {sum(parts.values())} of {data['amount_minor']} minor units")
        data["invoice_id"] = next(iter(parts)) if len(parts) == 1 else None
        data["allocations"] = [{"target": origin.case("invoice", ident), "amount_minor": minor} for ident, minor in parts.items()] or None  # fmt: skip
        yield _tell(document, origin, "payment.received", "receipt", data)
        ident, time = document.text("Id"), midnight(day_of(document, "TxnDate"))
        for invoice, minor in parts.items():
            applied = {
                "document_id": f"{ident}/{invoice}", "version": common["version"], "from_kind": "payment", "currency": currency,
                "amount_minor": minor, "payment_id": ident, "invoice_id": invoice, "invoice_key": origin.case("invoice", invoice),
            }  # fmt: skip
            yield origin.tell("cash.applied", "applied", invoice, document=ident, case=origin.case("receipt", ident), time=time, data=applied)  # fmt: skip

    return told


def _parts(document: Fields, currency: str, pays: str, credits: tuple[str, ...]) -> dict[str, int]:
    """Minor units of money by invoice; empty where credits took part and nobody can tell in which of several."""
    parts: dict[str, int] = {}
    credited = 0
    for line in document.items("Line"):
        amount_minor = _unsigned(line, "Amount", currency) if line.has("Amount") else 0
        for link in line.items("LinkedTxn"):
            kind = link.text_or_none("TxnType")
            if kind == pays:
                ident = link.text("TxnId")
                parts[ident] = parts.get(ident, 0) + amount_minor
            elif kind in credits:
                credited += amount_minor
    if not credited:
        return {ident: minor for ident, minor in parts.items() if minor}
    if len(parts) != 1:
        return {}
    ((ident, minor),) = parts.items()
    return {ident: minor - credited} if minor > credited else {}


def _refund(document: Fields, origin: Origin) -> Iterable[Event]:
    yield _tell(document, origin, "refund.issued", "receipt", _moved(document, _common(document), _currency(document), "sales"))  # fmt: skip


def _estimate(document: Fields, origin: Origin) -> Iterable[Event]:
    status = document.text_or_none("TxnStatus") or ""
    if status in _NOT_ACCEPTED:
        document.refuse(f"TxnStatus is {shown(status)}: not a quote that was accepted", "policy")
    if status not in _ACCEPTED:
        document.refuse(f"TxnStatus is {shown(status)}, unknown to this adapter")
    refs = [{"kind": "invoice", "system": SYSTEM, "value": link.text("TxnId")} for link in document.items("LinkedTxn") if link.text_or_none("TxnType") == "Invoice"]  # fmt: skip
    priced = {name: value for name, value in _priced(document, _currency(document)).items() if name != "lines"}
    yield _tell(document, origin, "quote.approved", "order", _common(document) | priced | {"refs": refs or None}, _changed(document))  # fmt: skip


def _journal(document: Fields, origin: Origin) -> Iterable[Event]:
    currency = _currency(document)
    lines = []
    for line in document.items("Line"):
        detail = line.inner("JournalEntryLineDetail")
        side = detail.text("PostingType")
        if side not in ("Debit", "Credit"):
            line.refuse(f"PostingType is {shown(side)}, expected Debit or Credit")
        account = detail.inner("AccountRef")
        amount_minor = _unsigned(line, "Amount", currency)
        lines.append({"role": "other", "account": label(account.text_or_none("name") or account.text_or_none("value")), "amount_minor": amount_minor if side == "Debit" else -amount_minor})  # fmt: skip
    data = _common(document) | {
        "ledger": LEDGER, "document_type": "other", "posting_kind": "manual", "currency": currency, "base_currency": currency,
        "lines": lines,
    }  # fmt: skip
    if document.has("ExchangeRate") and document.values["ExchangeRate"] != 1:
        document.refuse("an entry in a foreign currency; the home currency it is kept in is not in the record", "master_data")  # fmt: skip
    yield _tell(document, origin, "posting.recorded", "summary", data)


def _party(document: Fields, origin: Origin) -> Iterable[Event]:
    ident = document.text("Id")
    data = {"name": note(document.text_or_none("DisplayName") or document.text_or_none("CompanyName"))}
    yield origin.customer(ident, data, _changed(document))


_HANDLERS: dict[str, Callable[[Fields, Origin], Iterable[Event]]] = {
    "Invoice": _invoice("sales"),
    "Bill": _invoice("purchase"),
    "CreditMemo": _credit("sales"),
    "VendorCredit": _credit("purchase"),
    "Payment": _payment("sales", "Invoice", ("CreditMemo",)),
    "BillPayment": _payment("purchase", "Bill", ("VendorCredit",)),
    "SalesReceipt": _sales_receipt,
    "RefundReceipt": _refund,
    "Estimate": _estimate,
    "JournalEntry": _journal,
    "Customer": _party,
    "Vendor": _party,
}
