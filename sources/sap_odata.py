"""sap_odata: OData bodies of SAP S/4HANA: billing documents, sales orders, supplier invoices, accounting document items.

A record is a response (V2: {"d": {"results": [...]}} or {"d": {...}}, V4: {"value": [...]}, a reader's {"message": [...]}), or one
entity. What an entity is, its fields say. Entity = CompanyCode (a sales order names none: its sales organization stands in). Numbers are
texts: leading zeros are part of them.

- billing document -> invoice.issued in `invoice:<company>:sap:<number>` (categories M, P, 5) or credit_memo.issued in `credit:...` (O, 6);
  cancelled: voided too. A cancellation (N, S) voids the document that it names. The total is TotalGrossAmount, else net and
  tax
- supplier invoice -> invoice.issued, direction purchase, number with its fiscal year; a credit memo: credit_memo.issued; with a
  ReverseDocument: voided too
- sales order -> document.recorded in `order:...`
- accounting document items -> posting.recorded, one for each document whose items in the record come to zero: in the case of the billing document that it
  posts, else in `summary:<company>:sap:<year>/<number>`. The cube signs its amounts (credits are negative); BSEG has unsigned
  ones beside S and H: a document with a negative H is taken as signed, any other has its H negated, never both. A role
  is read off the account type (customers, vendors) and the tax determination; any other is `other`
- items, partners, pricing elements, schedule lines: told by their header (policy). Requests and notifications hold no
  document (policy)

Days: /Date(ms)/ is a day in UTC; what a reader made of it with a zone is taken back to UTC. The null date (0, 00000000,
empty) is none. Money: decimal texts in TransactionCurrency, in the company's currency beside it.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

from canonical.dead_letters import DeadLetter
from canonical.events import Event
from canonical.ids import CaseKind
from sources.cells import major_of, midnight, stamp_of
from sources.fields import Fields, Record, Refused, known_currency, label, parse, shown
from sources.origin import Origin

SYSTEM, LEDGER = "sap", "main"

_MS_DATE = re.compile(r"/Date\((-?[0-9]{1,15})(?:[+-][0-9]{4})?\)/\Z")
_DAY = re.compile(r"([0-9]{4})-?([0-9]{2})-?([0-9]{2})\Z")
_NULL_DATES = {"0", "00000000", "0000-00-00"}
_INVOICES, _CREDITS, _CANCELLATIONS = {"M", "P", "5"}, {"O", "6"}, {"N": "invoice", "S": "credit"}
_PARTS = {
    "PartnerFunction": "a partner", "PricingProcedureStep": "a pricing element", "ScheduleLine": "a schedule line",
    "BillingDocumentItem": "an item", "SalesOrderItem": "an item", "SupplierInvoiceItem": "an item", "TaxBaseAmountInTransCrcy": "a tax",
}  # fmt: skip
_ACCOUNT_ROLES = {"D": "receivable", "K": "payable", "A": "asset"}
_TAXES = {"MWS", "VST", "NVV", "MW1", "MW2"}
_DOCUMENT_TYPES = {"RV": "invoice", "DR": "invoice", "KR": "invoice", "RE": "invoice", "DG": "credit", "KG": "credit", "DZ": "payment", "KZ": "payment"}  # fmt: skip


def map_record(body: bytes, traceparent: str | None) -> tuple[Event, ...] | DeadLetter:
    entities = list(_entities(parse(body)))
    events: list[Event] = []
    refused: list[Refused] = []
    items: dict[tuple[str, str, str], list[Fields]] = {}
    for entity in entities:
        try:
            if entity.has("AccountingDocument") and entity.has("AccountingDocumentItem"):
                items.setdefault(_document_of(entity), []).append(entity)
            else:
                events += _handler(entity)(entity, traceparent)
        except Refused as reason:
            if reason.failure != "policy":
                raise
            refused.append(reason)
    for lines in items.values():
        events.append(_posting(lines, traceparent))
    if not events:
        raise refused[0] if refused else Refused("mapping", "sap_odata: the record holds no entity")
    return tuple(events)


def key(body: bytes) -> bytes:
    names = ("BillingDocument", "SalesOrder", "SupplierInvoice", "AccountingDocument")
    return next((str(entity.values[name]).encode() for entity in _entities(parse(body)) for name in names if entity.has(name)), b"")  # fmt: skip


def _entities(record: Record) -> Iterator[Fields]:
    if "connection_key" in record or "api_schema" in record:
        raise Refused("policy", "sap_odata: a request or notification holds no document; send what the API answers")
    if isinstance(record.get("type"), str) and str(record["type"]).startswith("sap."):
        raise Refused("policy", "sap_odata: a notification names a document and does not hold it; read it by the API")
    inner = record.get("d")
    if isinstance(inner, dict):
        record = inner
    for name in ("results", "value", "message"):
        if isinstance(record.get(name), list):
            yield from (_labelled(item) for item in Fields(record, "sap_odata").items(name))
            return
    yield _labelled(Fields(record, "sap_odata"))


def _labelled(entity: Fields) -> Fields:
    for name in ("AccountingDocument", "BillingDocument", "SalesOrder", "SupplierInvoice"):
        if entity.has(name) and not (name == "AccountingDocument" and not entity.has("AccountingDocumentItem")):
            return Fields(entity.values, f"sap {name} {shown(entity.values[name])}")
    return Fields(entity.values, "sap entity")


def _handler(entity: Fields) -> Callable[[Fields, str | None], Iterable[Event]]:
    part = next((word for name, word in _PARTS.items() if name in entity.values), None)
    if part is not None:
        entity.refuse(f"{part} is told by its document's header", "policy")
    found = next((handler for name, handler in _HANDLERS.items() if entity.has(name)), None)
    return found or entity.refuse("no billing document, sales order, supplier invoice or accounting document item; report it with this record")  # fmt: skip


def _day(entity: Fields, name: str) -> date:
    text = entity.text(name)
    milliseconds, day = _MS_DATE.match(text), _DAY.match(text)
    try:
        if milliseconds:
            return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(milliseconds[1]))).date()
        if day:
            return date(int(day[1]), int(day[2]), int(day[3]))
    except (ValueError, OverflowError):
        entity.refuse(f"{name} is {shown(text)}, no date")
    return stamp_of(entity, name).date()


def _has_day(entity: Fields, name: str) -> bool:
    return entity.has(name) and str(entity.values[name]) not in _NULL_DATES


def _minor(entity: Fields, name: str, currency: str) -> int:
    return major_of(entity, name, currency) if entity.has(name) else 0


# --- Documents ------------------------------------------------------------------------------------------------------------


def _billing(entity: Fields, traceparent: str | None) -> Iterable[Event]:
    category, ident = entity.text("SDDocumentCategory"), entity.text("BillingDocument")
    if category == "U":
        entity.refuse("a pro forma invoice bills nothing", "policy")
    if category not in _INVOICES | _CREDITS | _CANCELLATIONS.keys():
        entity.refuse(f"SDDocumentCategory is {shown(category)}, unknown to this adapter")
    origin = Origin(SYSTEM, entity.text("CompanyCode"), traceparent)
    day = _day(entity, "BillingDocumentDate")
    if category in _CANCELLATIONS:
        yield _cancelled(entity, origin, category, day)
        return
    kind: CaseKind = "invoice" if category in _INVOICES else "credit"
    currency = known_currency(entity.text("TransactionCurrency"), entity.label)
    net_minor, tax_minor = _minor(entity, "TotalNetAmount", currency), _minor(entity, "TaxAmount", currency)
    total_minor = abs(_minor(entity, "TotalGrossAmount", currency) or net_minor + tax_minor)
    sold_to, payer = label(entity.text_or_none("SoldToParty")), label(entity.text_or_none("PayerParty"))
    refs = [{"kind": word, "system": SYSTEM, "value": entity.text(name)} for name, word in (("DocumentReferenceID", "reference"), ("AccountingDocument", "accounting_document")) if entity.has(name)]  # fmt: skip
    data = {
        "number": label(ident), "accounting_date": day, "customer": {"sold_to": sold_to, "payer": payer} if sold_to or payer else None,
        "refs": refs or None, "direction": "sales", "currency": currency, "total_minor": total_minor, "tax_minor": abs(tax_minor),
    }  # fmt: skip
    event_type = "invoice.issued" if kind == "invoice" else "credit_memo.issued"
    yield origin.tell(event_type, document=ident, case=origin.case(kind, ident), time=midnight(day), data=data)
    if entity.flag("BillingDocumentIsCancelled"):
        gone = _day(entity, "LastChangeDate") if _has_day(entity, "LastChangeDate") else day
        yield origin.tell(event_type.replace("issued", "voided"), document=ident, case=origin.case(kind, ident), time=midnight(gone), data={"reason": "cancelled"})  # fmt: skip


def _cancelled(entity: Fields, origin: Origin, category: str, day: date) -> Event:
    ident = entity.text("CancelledBillingDocument")
    is_invoice = _CANCELLATIONS[category] == "invoice"
    case = origin.case("invoice" if is_invoice else "credit", ident)
    data = {"reason": f"cancelled by {entity.text('BillingDocument')}"}
    return origin.tell("invoice.voided" if is_invoice else "credit_memo.voided", "cancelled", entity.text("BillingDocument"), document=ident, case=case, time=midnight(day), data=data)  # fmt: skip


def _supplier(entity: Fields, traceparent: str | None) -> Iterable[Event]:
    ident = f"{entity.text('FiscalYear')}/{entity.text('SupplierInvoice')}"
    origin = Origin(SYSTEM, entity.text("CompanyCode"), traceparent)
    currency = known_currency(entity.text("DocumentCurrency"), entity.label)
    is_credit = str(entity.values.get("SupplierInvoiceIsCreditMemo") or "").upper() in ("X", "TRUE")
    kind: CaseKind = "credit" if is_credit else "invoice"
    posted = _day(entity, "PostingDate")
    vendor = label(entity.text_or_none("InvoicingParty"))
    refs = [{"kind": "supplier_number", "system": SYSTEM, "value": entity.text("SupplierInvoiceIDByInvcgParty")}] if entity.has("SupplierInvoiceIDByInvcgParty") else None  # fmt: skip
    data = {
        "number": label(entity.text("SupplierInvoice")), "accounting_date": posted, "customer": None if vendor is None else {"bill_to": vendor},
        "refs": refs, "direction": "purchase", "currency": currency, "total_minor": abs(major_of(entity, "InvoiceGrossAmount", currency)),
    }  # fmt: skip
    event_type = "credit_memo.issued" if is_credit else "invoice.issued"
    case, time = origin.case(kind, ident), midnight(_day(entity, "DocumentDate") if _has_day(entity, "DocumentDate") else posted)  # fmt: skip
    yield origin.tell(event_type, document=ident, case=case, time=time, data=data)
    if entity.has("ReverseDocument"):
        reason = {"reason": f"reversed by {entity.text('ReverseDocument')}"}
        yield origin.tell(event_type.replace("issued", "voided"), document=ident, case=case, time=midnight(posted), data=reason)  # fmt: skip


def _order(entity: Fields, traceparent: str | None) -> Iterable[Event]:
    ident = entity.text("SalesOrder")
    origin = Origin(SYSTEM, entity.text_or_none("CompanyCode") or entity.text("SalesOrganization"), traceparent)
    currency = known_currency(entity.text("TransactionCurrency"), entity.label)
    customer = label(entity.text_or_none("SoldToParty"))
    refs = [{"kind": "purchase_order", "system": SYSTEM, "value": entity.text("PurchaseOrderByCustomer")}] if entity.has("PurchaseOrderByCustomer") else None  # fmt: skip
    data = {
        "kind": "order", "number": label(ident), "customer": None if customer is None else {"sold_to": customer}, "refs": refs,
        "currency": currency, "value_minor": major_of(entity, "TotalNetAmount", currency),
    }  # fmt: skip
    day = _day(entity, "SalesOrderDate" if _has_day(entity, "SalesOrderDate") else "CreationDate")
    yield origin.tell("document.recorded", "order", document=ident, case=origin.case("order", ident), time=midnight(day), data=data)  # fmt: skip


# --- Accounting documents ---------------------------------------------------------------------------------------------------


def _document_of(entity: Fields) -> tuple[str, str, str]:
    return entity.text("CompanyCode"), entity.text("FiscalYear"), entity.text("AccountingDocument")


def _posting(items: list[Fields], traceparent: str | None) -> Event:
    first = items[0]
    company, year, number = _document_of(first)
    origin = Origin(SYSTEM, company, traceparent)
    base, currency = (known_currency(first.text(name), first.label) for name in ("CompanyCodeCurrency", "TransactionCurrency"))  # fmt: skip
    is_signed = any(item.text_or_none("DebitCreditCode") == "H" and _minor(item, "AmountInCompanyCodeCurrency", base) < 0 for item in items)  # fmt: skip
    lines = [_posting_line(item, base, currency, is_signed) for item in items]
    net_minor = sum(line["base_minor"] for line in lines)
    if net_minor:
        first.refuse(f"its {len(items)} items come to {net_minor} minor units, not to zero: send the whole document in one record")  # fmt: skip
    booked = _day(first, "PostingDate")
    kind = _DOCUMENT_TYPES.get(first.text_or_none("AccountingDocumentType") or "", "other")
    billing = next((item.text("BillingDocument") for item in items if item.has("BillingDocument")), None)
    reverses = first.text_or_none("ReverseDocument")
    data = {
        "number": number, "accounting_date": booked, "ledger": first.text_or_none("Ledger") or LEDGER, "document_type": kind,
        "posting_kind": "document" if kind != "other" else "manual", "currency": currency, "base_currency": base, "lines": lines,
        "recorded_at": midnight(_day(first, "AccountingDocumentCreationDate")) if _has_day(first, "AccountingDocumentCreationDate") else None,
        "reverses": None if reverses is None else f"{first.text_or_none('ReverseDocumentFiscalYear') or year}/{reverses}",
    }  # fmt: skip
    ident = f"{year}/{number}"
    home: CaseKind = "credit" if kind == "credit" else "invoice"
    case = origin.case("summary", ident) if billing is None else origin.case(home, billing)
    return origin.tell("posting.recorded", "recorded", company, document=ident, case=case, time=midnight(booked), data=data)  # fmt: skip


def _posting_line(item: Fields, base: str, currency: str, is_signed: bool) -> dict[str, Any]:
    side = item.text("DebitCreditCode")
    if side not in ("S", "H"):
        item.refuse(f"DebitCreditCode is {shown(side)}, expected S or H")
    if item.text("CompanyCodeCurrency") != base or item.text("TransactionCurrency") != currency:
        item.refuse("its items are in several currencies")
    sign = -1 if side == "H" and not is_signed else 1
    role = _ACCOUNT_ROLES.get(item.text_or_none("FinancialAccountType") or "", "other")
    return {
        "role": "tax" if item.text_or_none("TransactionTypeDetermination") in _TAXES else role,
        "account": label(item.text_or_none("GLAccount")),
        "amount_minor": sign * _minor(item, "AmountInTransactionCurrency", currency),
        "base_minor": sign * _minor(item, "AmountInCompanyCodeCurrency", base),
        "tax_code": label(item.text_or_none("TaxCode")),
    }


_HANDLERS: dict[str, Callable[[Fields, str | None], Iterable[Event]]] = {
    "BillingDocument": _billing,
    "SupplierInvoice": _supplier,
    "SalesOrder": _order,
}
