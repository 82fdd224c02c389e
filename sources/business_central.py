"""business_central: bodies of Microsoft Dynamics 365 Business Central's API v2.0: one entity, {"value": [...]}, or a documentation's {"kind", "page", "json"}.

What an entity is, its fields say. The entity of the books is the company of the body's @odata.context, else "main".

- sales and purchase invoices -> invoice.issued in `invoice:<company>:business_central:<id>`, once they are posted; Canceled: invoice.voided too.
  Draft and In Review: policy. That one is Paid is a status only: by what, a payment says
- sales and purchase credit memos -> credit_memo.issued in `credit:...`, with the invoice they name
- sales and purchase orders, quotes -> document.recorded in `order:...`
- customer payments (journal lines) -> payment.received in `receipt:...`, with the invoice they apply to as allocation; without a currency code, which the
  API leaves out for the local currency, master data is missing. Business Central signs them negative
- customers, vendors -> customer.changed in `index:...`
- general ledger entries: single lines without the local currency's code: master data missing
- all else (accounts, reports, dimensions, settings, subscriptions to webhooks) holds no document: policy

Money is a JSON number of major units. `version` is lastModifiedDateTime in milliseconds.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from canonical.dead_letters import DeadLetter
from canonical.events import Event
from canonical.ids import CaseKind
from sources.cells import day_of, major_of, midnight, milliseconds, stamp_of
from sources.fields import Fields, Record, Refused, known_currency, label, note, parse, shown
from sources.origin import Origin

SYSTEM = "business_central"

_COMPANY = re.compile(r"companies\(([0-9A-Za-z-]{1,64})\)")
_NOBODY = "00000000-0000-0000-0000-000000000000"
_DATES: dict[str, tuple[CaseKind, str]] = {
    "invoiceDate": ("invoice", "invoice.issued"),
    "creditMemoDate": ("credit", "credit_memo.issued"),
    "orderDate": ("order", "document.recorded"),
    "documentDate": ("order", "document.recorded"),
}
_POSTED, _NOT_YET = {"Open", "Paid", "Canceled", "Corrective"}, {"Draft", "In Review", ""}


def map_record(body: bytes, traceparent: str | None) -> tuple[Event, ...] | DeadLetter:
    record, company = _unwrapped(parse(body))
    origin = Origin(SYSTEM, company, traceparent)
    events: list[Event] = []
    refused: list[Refused] = []
    for entity in _entities(record):
        try:
            events += _told(entity, origin)
        except Refused as reason:
            if reason.failure != "policy":
                raise
            refused.append(reason)
    if not events:
        raise refused[0] if refused else Refused("policy", "business_central: the body holds no entity")
    return tuple(events)


def key(body: bytes) -> bytes:
    return next((str(entity.values["id"]).encode() for entity in _entities(_unwrapped(parse(body))[0])), b"")


def _unwrapped(record: Record) -> tuple[Record, str]:
    inner = record.get("json") if "page" in record else record
    if not isinstance(inner, dict):
        raise Refused("policy", "business_central: the body holds no entity")
    context = inner.get("@odata.context")
    company = _COMPANY.search(context) if isinstance(context, str) else None
    return inner, company[1] if company else "main"


def _entities(record: Record) -> Iterator[Fields]:
    found = Fields(record, "business_central").items("value") if isinstance(record.get("value"), list) else iter([Fields(record, "")])  # fmt: skip
    for entity in found:
        yield Fields(entity.values, f"business_central {shown(entity.values.get('number') or entity.values.get('id') or '(no id)')}")  # fmt: skip


def _told(entity: Fields, origin: Origin) -> Iterable[Event]:
    if entity.has("totalAmountIncludingTax") and (entity.has("customerId") or entity.has("vendorId")):
        return _document(entity, origin)
    if entity.has("appliesToInvoiceId") and entity.has("customerId"):
        return _payment(entity, origin)
    if entity.has("entryNumber") and "debitAmount" in entity.values:
        entity.refuse("a ledger entry: the local currency it is in is not in the body", "master_data")
    if entity.has("number") and entity.has("displayName") and "addressLine1" in entity.values:
        return _party(entity, origin)
    entity.refuse("it holds no document, payment or customer", "policy")


def _version(entity: Fields) -> int | None:
    return milliseconds(stamp_of(entity, "lastModifiedDateTime")) if entity.has("lastModifiedDateTime") else None


def _currency(entity: Fields) -> str:
    code = entity.text_or_none("currencyCode")
    if code is None:
        entity.refuse("currencyCode is empty: the local currency's code is not in the body", "master_data")
    return known_currency(code, entity.label)


def _document(entity: Fields, origin: Origin) -> Iterator[Event]:
    told = next(((name, *how) for name, how in _DATES.items() if entity.has(name)), None)
    if told is None:
        entity.refuse("neither invoiceDate, creditMemoDate nor orderDate says what document it is")
    name, case_kind, event_type = told
    status = entity.text_or_none("status") or ""
    if case_kind != "order" and status in _NOT_YET:
        entity.refuse(f"status is {shown(status)}: it is not posted", "policy")
    if case_kind != "order" and status not in _POSTED:
        entity.refuse(f"status is {shown(status)}, unknown to this adapter")
    ident, currency, day = entity.text("id"), _currency(entity), day_of(entity, name)
    case = origin.case(case_kind, ident)
    total_minor = major_of(entity, "totalAmountIncludingTax", currency)
    data = _common(entity, case_kind, currency, total_minor) | {"accounting_date": day_of(entity, "postingDate") if entity.has("postingDate") else day}  # fmt: skip
    if case_kind == "credit" and entity.has("invoiceId") and entity.text("invoiceId") != _NOBODY:
        data |= {"invoice_id": entity.text("invoiceId"), "invoice_key": origin.case("invoice", entity.text("invoiceId"))}  # fmt: skip
    yield origin.tell(event_type, document=ident, subject=label(entity.text_or_none("number")), case=case, time=midnight(day), data=data)  # fmt: skip
    if status == "Canceled" and case_kind != "order":
        gone = stamp_of(entity, "lastModifiedDateTime") if entity.has("lastModifiedDateTime") else midnight(day)
        yield origin.tell(event_type.replace("issued", "voided"), document=ident, case=case, time=gone, data={"version": _version(entity), "reason": "status Canceled"})  # fmt: skip


def _common(entity: Fields, case_kind: CaseKind, currency: str, total_minor: int) -> dict[str, Any]:
    party = label(entity.text_or_none("customerId") or entity.text_or_none("vendorId"))
    number = "externalDocumentNumber" if entity.has("externalDocumentNumber") else "vendorInvoiceNumber"
    data: dict[str, Any] = {
        "number": label(entity.text_or_none("number")), "version": _version(entity), "currency": currency,
        "customer": None if party is None else {"sold_to" if case_kind == "order" else "bill_to": party},
        "refs": [{"kind": "external", "system": SYSTEM, "value": entity.text(number)}] if entity.has(number) else None,
    }  # fmt: skip
    if case_kind == "order":
        return data | {"kind": "order", "value_minor": total_minor}
    if total_minor < 0:
        entity.refuse(f"totalAmountIncludingTax is {shown(entity.values['totalAmountIncludingTax'])}: not negative in Business Central")  # fmt: skip
    tax_minor = major_of(entity, "totalTaxAmount", currency) if entity.has("totalTaxAmount") else None
    data |= {"direction": "sales" if entity.has("customerId") else "purchase", "total_minor": total_minor, "tax_minor": tax_minor if tax_minor is None or tax_minor >= 0 else None}  # fmt: skip
    if case_kind == "invoice":
        data["due_date"] = day_of(entity, "dueDate") if entity.has("dueDate") else None
    return data


def _payment(entity: Fields, origin: Origin) -> Iterator[Event]:
    ident, currency = entity.text("id"), _currency(entity)
    amount_minor, invoice = abs(major_of(entity, "amount", currency)), entity.text("appliesToInvoiceId")
    parts = [{"target": origin.case("invoice", invoice), "amount_minor": amount_minor}] if invoice != _NOBODY else None
    data = {
        "version": _version(entity), "number": label(entity.text_or_none("documentNumber")), "customer": {"payer": entity.text("customerId")},
        "currency": currency, "amount_minor": amount_minor, "direction": "sales", "allocations": parts,
        "invoice_id": invoice if parts else None, "reference": note(entity.text_or_none("externalDocumentNumber")),
    }  # fmt: skip
    yield origin.tell("payment.received", document=ident, case=origin.case("receipt", ident), time=midnight(day_of(entity, "postingDate")), data=data)  # fmt: skip


def _party(entity: Fields, origin: Origin) -> Iterator[Event]:
    ident, data = entity.text("id"), {"name": note(entity.text("displayName")), "number": label(entity.text("number"))}
    yield origin.customer(ident, data, stamp_of(entity, "lastModifiedDateTime"))
