"""receivables_csv: an accounts receivable file, one row an invoice with the date on which it was settled.

Columns (any order, capitals and spaces as they please, further ones are ignored): invoiceNumber, InvoiceDate, DueDate,
InvoiceAmount, SettledDate (optional: empty while open), customerID, countryCode, Disputed, currency. Other names that say
the same are in `_NAMES`; two columns that say the same are refused. A record is one row as a JSON object of texts, column
-> cell.

What a row says, and its home case `invoice:<countryCode>:receivables_csv:<invoiceNumber>` (the number as it is
written, leading zeros included):
- invoice.issued at 00:00Z of InvoiceDate, with due_date.
- payment.received of the whole amount at 00:00Z of SettledDate, where there is one.
- dispute.opened where Disputed is Yes: that the invoice was disputed, not when or for how much, so it is dated like the
  invoice and stands for its whole amount; its stage is `invoice`, it takes no money back.
- A negative amount is a credit note, of which the row does not say what it credits: a dead letter.

How dates and amounts are to be read is a matter of the file, not of the row (`habits`, which the reader lays beside each
row):
- 1/2/2013 is M/D/YYYY, unless one date of the file cannot be (31/1/2013), or DaysToSettle beside two dates comes out only
  the other way round: then it is D/M/YYYY. In a file that proves both ways (the rarer one in more than a hundredth of
  the rows that do) a date that could be either is refused.
  YYYY-MM-DD, D.M.YYYY and dates with the month's English name have one meaning; two-digit years are refused.
- 1.234 and 1,234 could be one and a bit or a thousand: other amounts of the file settle it (12.50, 1,234,567), otherwise
  the row is refused.

Set by this adapter because the file does not say: the currency is USD where it has no column for it, the entity `main`
where it has no column for it; an empty countryCode is master data missing. The file's own DaysToSettle and DaysLate are
otherwise not read: the dates rule.
"""

import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal

from canonical.dead_letters import DeadLetter
from canonical.events import Event
from canonical.money import MoneyError, exponent, to_minor
from sources.fields import FALSE, TRUE, Fields, Record, check_columns, known_currency, parse, shown
from sources.origin import Origin

SYSTEM = "receivables_csv"
DEFAULT_CURRENCY, DEFAULT_ENTITY = "USD", "main"

_NAMES = {
    "invoiceNumber": ("invoicenumber", "invoiceno", "invoicenum", "invoiceid"),
    "InvoiceDate": ("invoicedate", "issuedate"),
    "DueDate": ("duedate",),
    "InvoiceAmount": ("invoiceamount", "amount", "invoicetotal"),
    "SettledDate": ("settleddate", "settlementdate", "paiddate", "datepaid", "paymentdate", "cleardate", "settledon"),
    "customerID": ("customerid", "customerno", "customernumber", "customer"),
    "countryCode": ("countrycode", "country", "companycode", "entity"),
    "Disputed": ("disputed", "dispute"),
    "currency": ("currency", "currencycode", "invoicecurrency"),
    "DaysToSettle": ("daystosettle",),
}
_NAME_OF = {other: name for name, others in _NAMES.items() for other in others}
_TIME = r"(?:[ T]00?:00(?::00(?:\.0+)?)?)?"
_ISO = re.compile(rf"([0-9]{{4}})([-/])([0-9]{{1,2}})\2([0-9]{{1,2}}){_TIME}\Z")
_DATE = re.compile(rf"([0-9]{{1,2}})([-/.])([0-9]{{1,2}})\2([0-9]{{4}}){_TIME}\Z")
_NAMED = re.compile(rf"(?:([0-9]{{1,2}})[-/ ])?([A-Za-z]{{3,9}})[-/ ](?:([0-9]{{1,2}}),? )?([0-9]{{4}}){_TIME}\Z")
_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december")  # fmt: skip
_MONTH_FIRST, _DAY_FIRST, _UNCLEAR = "M/D/YYYY", "D/M/YYYY", "unclear"
_DATES = ("InvoiceDate", "DueDate", "SettledDate")
_GROUPED = re.compile(r"[0-9]{1,3}(?:[, .'\u00a0\u2019\u202f][0-9]{3})+\Z")
_FLOAT_NOISE = Decimal("0.000001")


def map_record(body: bytes, traceparent: str | None) -> tuple[Event, ...] | DeadLetter:
    record = parse(body)
    row = _row(record)
    if row.values.get("countryCode") == "":
        row.refuse("countryCode is empty: say which entity the invoice belongs to", "master_data")
    origin = Origin(SYSTEM, row.text_or_none("countryCode") or DEFAULT_ENTITY, traceparent)
    currency = known_currency(row.text_or_none("currency") or DEFAULT_CURRENCY, row.label)
    amount_minor = _amount(row, "InvoiceAmount", currency)
    issued, due = _day(row, "InvoiceDate"), _day(row, "DueDate")
    settled = _settled(row)
    events = [_issued(row, origin, currency, amount_minor, issued, due)]
    if settled is not None:
        events.append(_money(row, origin, "payment.received", currency, amount_minor, settled, {}))
    if _is_disputed(row):
        events.append(_money(row, origin, "dispute.opened", currency, amount_minor, issued, {"stage": "invoice"}))
    return tuple(events)


def key(body: bytes) -> bytes:
    number = _named(parse(body)).get("invoiceNumber")
    return number.strip().encode() if isinstance(number, str) else b""


def habits(rows: Iterable[dict[str, str]]) -> dict[str, str]:
    """How a whole file writes its dates and decimals, as far as it proves it."""
    orders: Counter[str] = Counter()
    signs: Counter[str] = Counter()
    for cells in rows:
        row = {name: cell.strip() for name, cell in _named(cells).items() if isinstance(cell, str)}
        orders.update(_orders_proven(row))
        signs.update(filter(None, [_decimal_sign(row.get("InvoiceAmount", "").strip("$()- "))]))
    proven = {"_dates": orders, "_decimal": signs}
    return {name: _prevailing(found) for name, found in proven.items() if found}


def _prevailing(found: Counter[str]) -> str:
    """One in a hundred is a slip of the pen, more is a file of two minds."""
    (habit, count), *others = found.most_common()
    return habit if not others or others[0][1] * 100 <= count else _UNCLEAR


def _row(record: Record) -> Fields:
    named = {name: value.strip() if isinstance(value, str) else value for name, value in _named(record).items()}
    row = Fields(named, f"receivables_csv row {shown(named.get('invoiceNumber'))}")
    check_columns(row)
    given = [_NAME_OF.get(_plain(name), name) for name in record]
    twice = next((name for name in given if given.count(name) > 1 and name not in record), None)
    if twice:
        row.refuse(f"two columns say {twice}; name the one that holds {twice}")
    return row


def _named(record: Record) -> Record:
    """By the names of this adapter; a column that has one already is not overruled by another."""
    renamed = {_NAME_OF.get(_plain(name), name): value for name, value in record.items()}
    return renamed | {name: value for name, value in record.items() if name in _NAMES}


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def _issued(row: Fields, origin: Origin, currency: str, amount_minor: int, issued: date, due: date) -> Event:
    number, customer = row.text("invoiceNumber"), row.text_or_none("customerID")
    data = {
        "number": number,
        "accounting_date": issued,
        "customer": None if customer is None else {"bill_to": customer},
        "currency": currency,
        "total_minor": amount_minor,
        "direction": "sales",
        "due_date": due,
    }
    return _tell(row, origin, "invoice.issued", "issued", issued, data)


def _money(row: Fields, origin: Origin, event_type: str, currency: str, amount_minor: int, day: date, more: Record) -> Event:  # fmt: skip
    customer = row.text_or_none("customerID")
    data = {
        "customer": None if customer is None else {"payer": customer},
        "currency": currency,
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


# --- Dates ------------------------------------------------------------------------------------------------------------


def _day(row: Fields, name: str) -> date:
    text, order = row.text(name), row.text_or_none("_dates") or _MONTH_FIRST
    meanings = _meanings(text)
    if order != _UNCLEAR:
        meanings = {way: day for way, day in meanings.items() if way == order}
    if len(set(meanings.values())) != 1:
        expected = f"no date {order}" if order != _UNCLEAR else "no date, or two: the file writes both M/D and D/M"
        row.refuse(f"{name} is {shown(text)}, {expected}")
    return next(iter(meanings.values()))


def _settled(row: Fields) -> date | None:
    """None while open. Days without their date are a column under a name that is not known: open is not what it says."""
    if "SettledDate" not in row.values and row.has("DaysToSettle"):
        row.refuse("DaysToSettle is given and no column is named SettledDate; name it so")
    return _day(row, "SettledDate") if row.has("SettledDate") else None


def _meanings(text: str) -> dict[str, date]:
    """What the text says read either way; the same day twice where it can be read in one way alone."""
    only, match = _unmistakable(text), _DATE.match(text)
    if only:
        ways = {_MONTH_FIRST: only, _DAY_FIRST: only}
    elif match:
        first, second, year = int(match[1]), int(match[3]), int(match[4])
        ways = {_MONTH_FIRST: (year, first, second), _DAY_FIRST: (year, second, first)}
        if match[2] == ".":
            ways[_MONTH_FIRST] = ways[_DAY_FIRST]
    else:
        return {}
    return {way: day for way, parts in ways.items() if (day := _date(*parts)) is not None}


def _unmistakable(text: str) -> tuple[int, int, int] | None:
    """(year, month, day) of a date that is written the ISO way or with its month's English name."""
    if iso := _ISO.match(text):
        return int(iso[1]), int(iso[3]), int(iso[4])
    named = _NAMED.match(text)
    if named is None or bool(named[1]) == bool(named[3]):
        return None
    name = named[2].lower()
    month = next((number for number, month in enumerate(_MONTHS, 1) if name in (month, month[:3])), 0)
    return int(named[4]), month, int(named[1] or named[3])


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _orders_proven(row: dict[str, str]) -> set[str]:
    """By a date that exists in one order only, or by the days between two dates that come out in one order only."""
    meanings = [_meanings(row.get(name, "")) for name in _DATES]
    proven = {next(iter(each)) for each in meanings if len(each) == 1}
    issued, _, settled = meanings
    days = row.get("DaysToSettle", "")
    if days.removeprefix("-").isdecimal():
        fits = {way for way in issued.keys() & settled.keys() if (settled[way] - issued[way]).days == int(days)}
        proven |= fits if len(fits) == 1 and len(issued) == len(settled) == 2 else set()
    return proven


# --- Amounts ----------------------------------------------------------------------------------------------------------


def _amount(row: Fields, name: str, currency: str) -> int:
    text = row.text(name)
    unsigned = text.removeprefix("$").strip()
    if unsigned.startswith(("-", "(")):
        row.refuse(f"{name} is {shown(text)}: a credit note, and the row does not say what it credits")
    sign = _decimal_sign(unsigned) or row.text_or_none("_decimal")
    if sign is None and ("." in unsigned or "," in unsigned):
        row.refuse(f"{name} is {shown(text)}: decimals or thousands, and no other amount of the file shows which")
    amount = _decimal(unsigned, sign)
    if amount is None:
        row.refuse(f"{name} is {shown(text)}, expected an amount like 1234.50")
    try:
        whole = round(amount, exponent(currency))
        return to_minor(whole if abs(amount - whole) < _FLOAT_NOISE else amount, currency)
    except MoneyError as error:
        row.refuse(f"{name}: {error}")


def _decimal_sign(text: str) -> str | None:
    """The sign before the decimals, where the text alone shows it: "." in 12.5, 1,234.50 and 1,234,567, not in 1.234."""
    signs = [character for character in text if character in ".,"]
    if not signs:
        return None
    last = signs[-1]
    other = "," if last == "." else "."
    if len(signs) > 1:
        return last if signs.count(last) == 1 else other
    before, _, decimals = text.partition(last)
    could_be_thousands = len(decimals) == 3 and 1 <= len(before) <= 3 and not before.startswith("0")
    return None if could_be_thousands else last


def _decimal(text: str, sign: str | None) -> Decimal | None:
    """None where the text is no amount, or could be two."""
    whole, _, decimals = text.partition(sign) if sign in (".", ",") else (text, "", "")
    if _GROUPED.match(whole) and (sign in (".", ",") and sign not in whole or not set(whole) & {".", ","}):
        whole = "".join(character for character in whole if character.isdecimal())
    is_number = whole.isascii() and whole.isdecimal() and len(whole) <= 15 and (decimals or "0").isdecimal()
    return Decimal(f"{whole}.{decimals or 0}") if is_number and decimals.isascii() and len(decimals) <= 30 else None


def _is_disputed(row: Fields) -> bool:
    text = (row.text_or_none("Disputed") or "no").lower()
    if text not in TRUE | FALSE:
        row.refuse(f"Disputed is {shown(text)}, expected Yes or No")
    return text in TRUE


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
