"""receivables_csv: an accounts receivable file, one row an invoice with the date on which it was settled.

Columns (any order, further ones are ignored): invoiceNumber, InvoiceDate, DueDate, InvoiceAmount, SettledDate
(optional: empty while open), customerID, countryCode, Disputed. Dates are M/D/YYYY. A record is one row as a JSON
object of texts, column -> cell.

What a row says, and its home case `invoice:<countryCode>:receivables_csv:<invoiceNumber>` (the number as it is
written, leading zeros included):
- invoice.issued at 00:00Z of InvoiceDate, with due_date.
- payment.received of the whole amount at 00:00Z of SettledDate, where there is one.
- dispute.opened where Disputed is Yes: that the invoice was disputed, not when or for how much, so it is dated like the
  invoice and stands for its whole amount; its stage is `invoice`, it takes no money back.

Set by this adapter because the file does not say: the currency is USD; an empty countryCode is master data missing.
The file's own DaysToSettle and DaysLate are not read: the dates rule.
"""

import re
from datetime import UTC, date, datetime
from decimal import Decimal

from canonical.dead_letters import DeadLetter
from canonical.events import Event
from canonical.money import MoneyError, to_minor
from sources.fields import Fields, Record, check_columns, parse, shown
from sources.origin import Origin

SYSTEM = "receivables_csv"
DEFAULT_CURRENCY = "USD"

_DATE = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})\Z")
_AMOUNT = re.compile(r"[0-9]{1,15}(\.[0-9]{1,6})?\Z")
_YES, _NO = {"yes", "y", "true"}, {"no", "n", "false", ""}


def map_record(body: bytes, traceparent: str | None) -> tuple[Event, ...] | DeadLetter:
    record = parse(body)
    row = Fields(_trimmed(record), f"receivables_csv row {shown(record.get('invoiceNumber'))}")
    check_columns(row)
    if not row.has("countryCode"):
        row.refuse("countryCode is empty: say which entity the invoice belongs to", "master_data")
    origin = Origin(SYSTEM, row.text("countryCode"), traceparent)
    amount_minor = _amount(row, "InvoiceAmount")
    issued, due = _day(row, "InvoiceDate"), _day(row, "DueDate")
    settled = _day(row, "SettledDate") if row.has("SettledDate") else None
    events = [_issued(row, origin, amount_minor, issued, due)]
    if settled is not None:
        events.append(_received(row, origin, amount_minor, settled))
    if _is_disputed(row):
        events.append(_disputed(row, origin, amount_minor, issued))
    return tuple(events)


def key(body: bytes) -> bytes:
    number = parse(body).get("invoiceNumber")
    return number.strip().encode() if isinstance(number, str) else b""


def _issued(row: Fields, origin: Origin, amount_minor: int, issued: date, due: date) -> Event:
    number, customer = row.text("invoiceNumber"), row.text_or_none("customerID")
    data = {
        "number": number,
        "accounting_date": issued,
        "customer": None if customer is None else {"bill_to": customer},
        "currency": DEFAULT_CURRENCY,
        "total_minor": amount_minor,
        "direction": "sales",
        "due_date": due,
    }
    return _tell(row, origin, "invoice.issued", "issued", issued, data)


def _received(row: Fields, origin: Origin, amount_minor: int, settled: date) -> Event:
    return _money(row, origin, "payment.received", amount_minor, settled, {})


def _disputed(row: Fields, origin: Origin, amount_minor: int, issued: date) -> Event:
    return _money(row, origin, "dispute.opened", amount_minor, issued, {"stage": "invoice"})


def _money(row: Fields, origin: Origin, event_type: str, amount_minor: int, day: date, more: Record) -> Event:
    customer = row.text_or_none("customerID")
    data = {
        "customer": None if customer is None else {"payer": customer},
        "currency": DEFAULT_CURRENCY,
        "amount_minor": amount_minor,
        "direction": "sales",
        "invoice_id": row.text("invoiceNumber"),
    }
    transition = "settled" if event_type == "payment.received" else "disputed"
    return _tell(row, origin, event_type, transition, day, data | more)


def _tell(row: Fields, origin: Origin, event_type: str, transition: str, day: date, data: Record) -> Event:
    """Numbers are unique within an entity only, so the fact's id names the entity too."""
    number = row.text("invoiceNumber")
    case = origin.case("invoice", number)
    return origin.tell(
        event_type, origin.entity, transition, document=number, case=case, time=_midnight(day), data=data
    )


def _trimmed(record: Record) -> Record:
    return {name: value.strip() if isinstance(value, str) else value for name, value in record.items()}


def _day(row: Fields, name: str) -> date:
    text = row.text(name)
    match = _DATE.match(text)
    try:
        month, day, year = (int(part) for part in match.groups()) if match else (0, 0, 0)
        return date(year, month, day)
    except ValueError:
        row.refuse(f"{name} is {shown(text)}, no date M/D/YYYY")


def _amount(row: Fields, name: str) -> int:
    text = row.text(name)
    if not _AMOUNT.match(text):
        row.refuse(f"{name} is {shown(text)}, expected an amount like 1234.50, not negative and without separators")
    try:
        return to_minor(Decimal(text), DEFAULT_CURRENCY)
    except MoneyError as error:
        row.refuse(f"{name}: {error}")


def _is_disputed(row: Fields) -> bool:
    text = (row.text_or_none("Disputed") or "").lower()
    if text not in _YES | _NO:
        row.refuse(f"Disputed is {shown(text)}, expected Yes or No")
    return text in _YES


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
