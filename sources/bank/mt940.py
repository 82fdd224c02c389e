"""mt940: SWIFT statements MT940 (and MT942, interim reports), one or more messages a record.

A message begins with :20:. What is told and in which case stands in sources.bank; here is where it is read:
- account :25:; statement :28C: (number, and page after the slash) with the :20: reference and the closing balance's day,
  because banks restart their numbers, and some number nothing
- :60F: or :60M: opening, :62F: or :62M: closing: a page (M) adds up by itself. A message without both is cut off or of
  another kind: a dead letter. A message with neither and with :13D:, :34F: or :90D: is an MT942: its lines are a report's.
- :61: a line. C and RD (a reversed debit) come in, D and RC go out; EC and ED are only expected. A third letter is the
  currency's last. Value date with its century by SWIFT's rule (80 and up is 19xx), entry date MMDD in the year nearest
  to it; without one the value date is the day. Some banks leave out the comma of a whole amount.
- :86: behind a line describes it: German sub-fields (?20EREF+..., also with > or ~), Dutch words (/EREF/.../REMI/...) or
  free text. Its lines are wrapped at 65 characters, also inside a word. Behind the balance it is the bank's remark.
- refs: the customer's reference of :61:, the bank's (behind //), EREF, KREF, MREF

Text is UTF-8, else Latin-1. Tags that say nothing of money (:21:, :64:, :65:, :NS: ...) are passed over; one that comes
out of its place (:25: behind a line) makes the message a dead letter, and so does any :61: that cannot be read: the rest
would not add up.
"""

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import NamedTuple, NoReturn

from canonical.dead_letters import DeadLetter
from canonical.events import Event
from canonical.money import EXPONENTS, MoneyError, to_minor
from canonical.records import MAX_RECORD_BYTES
from sources.bank.statements import Line, Statement, events_of
from sources.fields import Refused, known_currency, label, shown

_TAG = re.compile(r":([0-9]{2}[A-Z]?|NS):(.*)", re.DOTALL)
_END = re.compile(r"-(\}.*|X{3}|\x03)?\s*\Z")
_BALANCE = re.compile(r"([CD])([0-9]{6})([A-Z]{3})([0-9]{1,15}(?:,[0-9]{0,4})?)\s*\Z")
_LINE = re.compile(
    r"([0-9]{6})([0-9]{4}|[ ]{4})?(RC|RD|EC|ED|C|D)([A-Z])?[\n ]?([0-9]{1,15}(?:,[0-9]{0,4})?)"
    r"([A-Z][A-Z0-9 ]{3})?((?:(?!//)[^\n])*)(?://([^\n]*))?(?:\n(.*))?\Z",
    re.DOTALL,
)
_NUMBER = re.compile(r"([0-9]{1,5})(?:/([0-9]{1,5}))?\s*\Z")
_ONCE = ("20", "25", "28", "28C", "60F", "60M", "62F", "62M")
_SIGNS = {"C": 1, "RD": 1, "EC": 1, "D": -1, "RC": -1, "ED": -1}
_SUBFIELD = re.compile(r"[0-9]{3}(?=([?>~])[0-9]{2})")
_SEPA = re.compile(r"(EREF|KREF|MREF|CRED|DEBT|COAM|OAMT|SVWZ|ABWA|ABWE|BREF|RREF|PREF)\+")
_DUTCH = re.compile(r"/(EREF|REMI|NAME|IBAN|BENM|ORDP|CSID|MARF|PREF|KREF|RTRN|ISDT|ID|TRTP|BIC|ULTC|ULTD|ADDR)/")
_WRAPPED_AT = 65
_NO_NAME = {"NONREF", "NOTPROVIDED", "EREF", "KREF", "KREF+", ""}


class _Message(NamedTuple):
    """Tags in order, each with its text; lines with what follows them."""

    header: dict[str, str]
    lines: list[tuple[str, str]]
    others: set[str]


class _Described(NamedTuple):
    reference: str | None
    counterparty: str | None
    refs: tuple[tuple[str, str], ...]


def map_record(body: bytes, traceparent: str | None) -> tuple[Event, ...] | DeadLetter:
    if len(body) > MAX_RECORD_BYTES:
        raise Refused("mapping", f"mt940: the message has {len(body)} bytes, limit {MAX_RECORD_BYTES}; have the bank send it in pages")  # fmt: skip
    texts = list(_messages(_decoded(body)))
    if not texts:
        raise Refused("mapping", "mt940: no tag :20:, so no message of MT940 or MT942; the record is of another source or was cut")  # fmt: skip
    return tuple(event for text in texts for event in events_of(_Reader(text).statement(), traceparent))


def key(body: bytes) -> bytes:
    return next((line[4:].strip().encode() for line in _decoded(body).split("\n") if line.startswith(":25:")), b"")


def _decoded(body: bytes) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = body.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _messages(text: str) -> Iterator[list[str]]:
    """The lines of each message, from its :20: to its end."""
    lines: list[str] | None = None
    for line in text.split("\n"):
        if line.lstrip(" \x01").startswith(":20:"):
            if lines is not None:
                yield lines
            lines = [line.lstrip(" \x01")]
        elif lines is not None:
            lines.append(line)
    if lines is not None:
        yield lines


class _Reader:
    def __init__(self, lines: list[str]) -> None:
        self.label = f"mt940 {shown(lines[0][4:].strip())}"
        self.message = self._parsed(lines)

    def refuse(self, reason: str) -> NoReturn:
        raise Refused("mapping", f"{self.label}: {reason}")

    def statement(self) -> Statement:
        header = self.message.header
        account = header.get("25", "").strip()
        if not account:
            self.refuse("tag :25: is missing: whose account it is")
        opening, closing = (header.get(f"{tag}F", header.get(f"{tag}M")) for tag in ("60", "62"))
        if opening is None and closing is None and self.message.others & {"13D", "34F", "34", "90D", "90C", "13"}:
            return self._report(account)
        if opening is None or closing is None:
            self.refuse(f"tag :{'60F' if opening is None else '62F'}: is missing: the message was cut off or is of another kind")  # fmt: skip
        opening_minor, currency, _ = self._balance(opening, "60")
        closing_minor, closing_currency, day = self._balance(closing, "62")
        if currency != closing_currency:
            self.refuse(f"opening is in {currency} and closing in {closing_currency}: an account has one currency")
        number, page = self._number()
        ident = "/".join((header["20"].strip() or "-", number, *([page] if page else []), f"{day:%Y%m%d}"))
        lines = tuple(self._line(at, *line, currency) for at, line in enumerate(self.message.lines, 1))
        return Statement(account, ident, currency, False, day, lines, int(number), opening_minor, closing_minor)

    def _report(self, account: str) -> Statement:
        """An MT942: its currency stands on its floor limit or its sums."""
        texts = " ".join(self.message.header.get(tag, "") for tag in ("34F", "34", "90D", "90C"))
        code = next((code for code in re.findall(r"(?<![A-Z])[A-Z]{3}", texts) if code in EXPONENTS), None)
        if code is None:
            self.refuse("no currency in :34F:, :90D: or :90C:")
        if not self.message.lines:
            raise Refused("policy", f"{self.label}: an interim report without a line tells nothing")
        number, page = self._number()
        lines = tuple(self._line(at, *line, code) for at, line in enumerate(self.message.lines, 1))
        day = max(line.booked_on for line in lines)
        ident = "/".join((self.message.header["20"].strip() or "-", number, *([page] if page else []), f"{day:%Y%m%d}"))
        return Statement(account, ident, code, True, day, lines)

    def _parsed(self, lines: list[str]) -> _Message:
        """Continuation lines belong to their tag; what follows the end of the message is its envelope."""
        header: dict[str, str] = {}
        found: list[tuple[str, str]] = []
        others: set[str] = set()
        for tag, text in _tags(lines):
            if tag == "61":
                found.append((text, ""))
            elif tag == "86" and found and not header.keys() & {"62F", "62M"}:
                before = found[-1][1]
                found[-1] = (found[-1][0], f"{before}\n{text}" if before else text)
            elif tag in _ONCE and (tag in header or (found and tag not in ("62F", "62M"))):
                self.refuse(f"tag :{tag}: comes {'again' if tag in header else 'behind a line'}; the message is damaged")  # fmt: skip
            else:
                header.setdefault(tag, text)
                others.add(tag)
        return _Message(header, found, others)

    def _number(self) -> tuple[str, str | None]:
        text = self.message.header.get("28C", self.message.header.get("28", "0"))
        match = _NUMBER.match(text)
        if match is None:
            self.refuse(f"tag :28C: is {shown(text)}, expected a statement number like 5/1")
        return match[1], match[2]

    def _balance(self, text: str, tag: str) -> tuple[int, str, date]:
        match = _BALANCE.match(text)
        if match is None:
            self.refuse(f"tag :{tag}: is {shown(text)}, expected a balance like C261231EUR1234,56")
        currency = known_currency(match[3], self.label)
        return (1 if match[1] == "C" else -1) * self._minor(match[4], currency), currency, self._day(match[2])

    def _line(self, at: int, text: str, description: str, currency: str) -> Line:
        match = _LINE.match(text)
        if match is None:
            self.refuse(f"tag :61: of line {at} is {shown(text)}, which cannot be read")
        value_text, entry_text, mark, _, amount, kind, customer, bank, more = match.groups()
        value_date = self._day(value_text)
        booked_on = self._nearest(value_date, entry_text) if entry_text and entry_text.strip() else value_date
        described = _described(description)
        refs = [("customer_reference", (customer or "")[:16].strip()), ("bank_reference", (bank or "").strip())]
        words = " ".join(filter(None, ((customer or "")[16:].strip(), " ".join((more or "").split()))))
        return Line(
            str(at), _SIGNS[mark] * self._minor(amount, currency), currency, booked_on, None, value_date,
            described.reference or words or None, described.counterparty,
            (*((kind, value) for kind, value in refs if value.upper() not in _NO_NAME), *described.refs),
            mark in ("RC", "RD"), None, label(kind), None, mark not in ("EC", "ED"),
        )  # fmt: skip

    def _minor(self, text: str, currency: str) -> int:
        try:
            return to_minor(Decimal(text.replace(",", ".")), currency)
        except MoneyError as error:
            self.refuse(str(error))

    def _day(self, text: str) -> date:
        year = int(text[:2])
        try:
            return date(year + (1900 if year >= 80 else 2000), int(text[2:4]), int(text[4:]))
        except ValueError:
            self.refuse(f"{shown(text)} is no date YYMMDD")

    def _nearest(self, value_date: date, entry: str) -> date:
        days = []
        for year in (value_date.year - 1, value_date.year, value_date.year + 1):
            try:
                days.append(date(year, int(entry[:2]), int(entry[2:])))
            except ValueError:
                continue  # 29 February of a year that has none
        if not days:
            self.refuse(f"{shown(entry)} is no date MMDD")
        return min(days, key=lambda day: abs((day - value_date).days))


def _tags(lines: list[str]) -> Iterator[tuple[str, str]]:
    tag, text = "", ""
    for line in lines:
        match = _TAG.match(line)
        if match:
            if tag:
                yield tag, text.rstrip("\n")
            tag, text = match[1], match[2]
        elif _END.match(line):
            break
        elif tag:
            text += f"\n{line}"
    if tag:
        yield tag, text.rstrip("\n")


# --- Descriptions (:86:) ------------------------------------------------------------------------------------------------


def _described(text: str) -> _Described:
    german = _SUBFIELD.match(text.lstrip())
    if german:
        return _german(text.replace("\n", ""), german[1])
    flat = _unwrapped(text)
    words = _DUTCH.split(flat)
    if len(words) > 1:
        return _dutch(words)
    return _Described(flat or None, None, ())


def _unwrapped(text: str) -> str:
    """A full line was cut where it ended, also inside a word; any other ended there."""
    joined = ""
    for line in text.split("\n"):
        joined += line if len(line) >= _WRAPPED_AT else f"{line} "
    return " ".join(joined.split())


def _german(text: str, sign: str) -> _Described:
    fields: dict[str, str] = {}
    for part in re.split(rf"{re.escape(sign)}(?=[0-9]{{2}})", text.lstrip())[1:]:
        fields[part[:2]] = fields.get(part[:2], "") + part[2:]
    purpose = "".join(value for name, value in fields.items() if "20" <= name <= "29" or "60" <= name <= "63")
    parts = _SEPA.split(purpose)
    said = dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))
    refs = tuple((kind, said[name]) for name, kind in (("EREF", "end_to_end"), ("KREF", "customer_reference"), ("MREF", "mandate")) if said.get(name, "").upper() not in _NO_NAME)  # fmt: skip
    name = " ".join(f"{fields.get('32', '')}{fields.get('33', '')}".split())
    reference = said.get("SVWZ") or " ".join(purpose.split()) or fields.get("00", "").strip()
    return _Described(reference or None, name or None, refs)


def _dutch(words: list[str]) -> _Described:
    said: dict[str, str] = {}
    for name, value in zip(words[1::2], words[2::2], strict=True):
        said.setdefault(name, value.strip(" /"))
    refs = tuple((kind, said[name]) for name, kind in (("EREF", "end_to_end"), ("KREF", "customer_reference"), ("MARF", "mandate")) if said.get(name, "").upper() not in _NO_NAME)  # fmt: skip
    return _Described(said.get("REMI") or said.get("EREF") or words[0].strip() or None, said.get("NAME") or None, refs)
