"""camt: ISO 20022 bank-to-customer messages camt.053 (statement), camt.052 (report) and camt.054 (notification).

Any version: versions move elements (Btch, Pty, Sts/Cd), and both places are read. What is told and in which case stands
in sources.bank; here is where it is read:
- account: Acct/Id (IBAN, else Othr/Id ...); statement: Id, and the page of StmtPgntn where there is one
- opening: the balance OPBD, else PRCD, else the first ITBD of a page; closing: CLBD, else the last ITBD. Balances of other
  kinds (available, forward, information) are no part of opening + lines = closing. A statement that states only one of
  the two tells its lines alone; with no entry either there is nothing to tell. Two currencies on one account are refused.
- a line: each Ntry (one whose Sts is not BOOK is not on the statement yet), signed by CdtDbtInd (so is a reversal, RvslInd: a reversed debit is a credit), on
  BookgDt, else ValDt, else the statement's day
- reference: the structured creditor reference and the unstructured remittance text; failing both EndToEndId, then what
  the bank adds in words. EndToEndId, InstrId, TxId, UETR, MsgId, PmtInfId, MndtId, ClrSysRef, AcctSvcrRef are refs; the
  word NOTPROVIDED is none.
- counterparty: the debtor of what came in, the creditor of what went out (of a reversal the other way round)
- charges: TtlChrgsAndTaxAmt, else the records' sum, where it is in the account's currency; they are information: the
  entry's amount is what was booked.

A date-time without a zone gives its date only. A reader that had to cut a statement (sources.bank_files) says with the
processing instruction `tieout` at which entry a part begins; the statement's own fact is the same in each part.
"""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import NoReturn, TypeGuard

from canonical.dead_letters import DeadLetter
from canonical.events import Event
from canonical.money import MoneyError, to_minor
from canonical.records import MAX_RECORD_BYTES
from sources.bank.statements import Line, Statement, events_of
from sources.bank.xml import Element, XmlError, parse
from sources.fields import Refused, known_currency, label, shown

_KINDS = {"BkToCstmrStmt": "Stmt", "BkToCstmrAcctRpt": "Rpt", "BkToCstmrDbtCdtNtfctn": "Ntfctn"}
_VERSION = re.compile(r"V[0-9]{2}\Z")
_ACCOUNT = ("Acct/Id/IBAN", "Acct/Id/Othr/Id", "Acct/Id/BBAN", "Acct/Id/UPIC", "Acct/Id/PrtryAcct/Id")
_AMOUNT = re.compile(r"[0-9]{1,18}(\.[0-9]{1,17})?\Z")
_DATE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(Z|[+-][0-9]{2}:[0-9]{2})?\Z")
_DATE_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})?\Z"
)
_REFS = {
    "Refs/EndToEndId": "end_to_end", "Refs/InstrId": "instruction", "Refs/TxId": "transaction", "Refs/UETR": "uetr",
    "Refs/MsgId": "message", "Refs/PmtInfId": "payment_information", "Refs/MndtId": "mandate",
    "Refs/ClrSysRef": "clearing", "Refs/AcctSvcrRef": "bank_reference", "Refs/ChqNb": "cheque",
}  # fmt: skip
_SIGNS = {"CRDT": 1, "DBIT": -1}
_OPENING, _CLOSING = ("OPBD", "PRCD"), ("CLBD",)


def map_record(body: bytes, traceparent: str | None) -> tuple[Event, ...] | DeadLetter:
    message, kind, first = _message(body)
    told = [element for element in message.children if element.name == kind]
    if not told:
        raise Refused("mapping", f"camt: the message holds no {kind}: no statement to read")
    return tuple(event for element in told for event in events_of(_Reader(element, kind).statement(first), traceparent))


def key(body: bytes) -> bytes:
    message, kind, _ = _message(body)
    return next((element.said(*_ACCOUNT) or "" for element in message.all(kind)), "").encode()


def _message(body: bytes) -> tuple[Element, str, int]:
    """(message, the name of what it holds, number of the first entry)."""
    if len(body) > MAX_RECORD_BYTES:
        raise Refused("mapping", f"camt: the record has {len(body)} bytes, limit {MAX_RECORD_BYTES}; read the file with `tieout map camt`, which takes it apart")  # fmt: skip
    try:
        root, instructions = parse(body)
    except XmlError as error:
        raise Refused("mapping", f"camt: {error}; have the file sent again") from None
    for element in root.descendants():
        kind = _KINDS.get(_VERSION.sub("", element.name))
        if kind is not None:
            first = instructions.get("tieout", "1")
            return element, kind, int(first) if first.isdecimal() and len(first) < 10 else 1
    raise Refused("mapping", f"camt: {shown(root.name)} holds no camt.052, camt.053 or camt.054 message")


class _Reader:
    """One statement, report or notification."""

    def __init__(self, element: Element, kind: str) -> None:
        self.element = element
        self.is_report = kind != "Stmt"
        self.label = f"camt {kind} {shown(element.said('Id'))}"
        self.ident = self._needed("Id")
        self.account = element.said(*_ACCOUNT) or self.refuse("Acct/Id is missing: whose account it is")

    def refuse(self, reason: str) -> NoReturn:
        raise Refused("mapping", f"{self.label}: {reason}")

    def statement(self, first: int) -> Statement:
        opening, closing = self._balances()
        entries = list(enumerate(self.element.all("Ntry"), first))
        if opening is None or closing is None:
            if not entries:
                self.refuse("it states no opening and closing balance and has no entry: nothing to tell")
            opening = closing = None
        currency = self._currency([*filter(None, (opening, closing)), *(entry for _, entry in entries)])
        day = self._day_of(closing) or self._created()
        lines = tuple(line for number, entry in entries for line in self._lines(entry, str(number), currency, day))
        return Statement(
            self.account, self.ident + self._page(), currency, self.is_report, day, lines, self._sequence(),
            None if opening is None else self._signed(opening, currency),
            None if closing is None else self._signed(closing, currency),
        )  # fmt: skip

    # --- The statement ------------------------------------------------------------------------------------------------

    def _balances(self) -> tuple[Element | None, Element | None]:
        """(opening, closing); none of a report: its balances are of a moment in the day."""
        if self.is_report:
            return None, None
        found: dict[str, list[Element]] = {}
        for balance in self.element.all("Bal"):
            found.setdefault(balance.said("Tp/CdOrPrtry/Cd", "Tp/Cd") or "", []).append(balance)
        interim = found.get("ITBD", [])
        opening = next((found[code][0] for code in _OPENING if code in found), None)
        closing = next((found[code][-1] for code in _CLOSING if code in found), None)
        if opening is None and interim and (closing is not None or len(interim) > 1):
            opening, interim = interim[0], interim[1:]
        if closing is None and interim:
            closing = interim[-1]
        return opening, closing

    def _page(self) -> str:
        page = self.element.said("StmtPgntn/PgNb", "RptPgntn/PgNb", "NtfctnPgntn/PgNb")
        return f"/{page}" if page is not None else ""

    def _sequence(self) -> int | None:
        text = self.element.said("ElctrncSeqNb", "LglSeqNb")
        if text is None:
            return None
        if not text.isdecimal() or len(text) > 18 or not text.isascii():
            self.refuse(f"ElctrncSeqNb is {shown(text)}, expected a number")
        return int(text)

    def _currency(self, stated: list[Element]) -> str:
        """The account's; all amounts that are part of the balance are in it."""
        codes = {element.find("Amt").attributes.get("Ccy", "") for element in stated if element.find("Amt") is not None}  # type: ignore[union-attr]
        account = self.element.said("Acct/Ccy")
        known = {known_currency(code, self.label) for code in {*codes, *([account] if account else [])} if code}
        if len(known) > 1:
            self.refuse(f"balances and entries are in {' and '.join(sorted(known))}: an account has one currency")
        if not known:
            self.refuse("it states no currency")
        return known.pop()

    def _created(self) -> date:
        text = self.element.said("CreDtTm")
        return self._moment(text, "CreDtTm")[0] if text else self.refuse("it has no date at all")

    def _day_of(self, element: Element | None) -> date | None:
        found = None if element is None else element.find("Dt")
        return None if found is None else self._moment_under(found)[0]

    # --- Its lines ----------------------------------------------------------------------------------------------------

    def _is_booked(self, entry: Element, number: str) -> bool:
        status = entry.said("Sts/Cd", "Sts/Prtry", "Sts")
        if status not in ("BOOK", "PDNG", "INFO", "FUTR"):
            self.refuse(f"Sts of entry {number} is {shown(status)}, expected BOOK, PDNG, INFO or FUTR")
        return status == "BOOK"

    def _lines(self, entry: Element, number: str, currency: str, day: date) -> Iterator[Line]:
        is_booked = self._is_booked(entry, number)
        details = [detail for group in entry.all("NtryDtls") for detail in group.all("TxDtls")]
        whole = self._line(entry, details, number, currency, day)
        amounts = [self._detail_minor(detail, entry, currency) for detail in details]
        if len(details) < 2 or None in amounts or sum(filter(None, amounts)) != whole.amount_minor:
            yield whole._replace(is_booked=is_booked)
            return
        for part, (detail, amount_minor) in enumerate(zip(details, amounts, strict=True), 1):
            line = self._line(entry, [detail], f"{number}/{part}", currency, day)
            yield line._replace(amount_minor=amount_minor or 0, batch_id=f"{self.account}/{self.ident}/{number}", is_booked=is_booked)  # fmt: skip

    def _line(self, entry: Element, details: list[Element], number: str, currency: str, day: date) -> Line:
        """Of an entry with these details: all their references, and in words what the only one says."""
        is_reversal = self._flag(entry, "RvslInd")
        amount_minor = self._signed(entry, currency)
        booked, value = entry.find("BookgDt"), entry.find("ValDt")
        booked_on, booked_at = self._moment_under(booked if booked is not None else value, day)
        said = details[0] if len(details) == 1 else entry
        return Line(
            number, amount_minor, currency, booked_on, booked_at if booked is not None else None,
            None if value is None else self._moment_under(value)[0],
            _reference(said) or entry.said("AddtlNtryInf"),
            _counterparty(said, is_incoming=(amount_minor >= 0) != is_reversal),
            tuple(_refs(entry, details)), is_reversal, self._charges(said, currency), _code(entry),
        )  # fmt: skip

    def _detail_minor(self, detail: Element, entry: Element, currency: str) -> int | None:
        """None where it states no amount in the account's currency."""
        amounts = [detail.find(path) for path in ("Amt", "AmtDtls/TxAmt/Amt", "AmtDtls/InstdAmt/Amt")]
        stated = next((found for found in amounts if found is not None and found.attributes.get("Ccy") == currency), None)  # fmt: skip
        if stated is None:
            return None
        mark = detail.said("CdtDbtInd") or entry.said("CdtDbtInd") or ""
        return _SIGNS.get(mark, 0) * self._minor(stated, currency)

    def _charges(self, said: Element, currency: str) -> int | None:
        total = said.find("Chrgs/TtlChrgsAndTaxAmt")
        if total is not None and total.attributes.get("Ccy") == currency:
            return self._minor(total, currency)
        records = [record for group in said.all("Chrgs") for record in (list(group.all("Rcrd")) or [group])]
        amounts = [amount for record in records if (amount := record.find("Amt")) is not None]
        if total is not None or not amounts or any(amount.attributes.get("Ccy") != currency for amount in amounts):
            return None
        return sum(self._minor(amount, currency) for amount in amounts)

    # --- Values -------------------------------------------------------------------------------------------------------

    def _needed(self, path: str) -> str:
        return self.element.said(path) or self.refuse(f"{path} is missing")

    def _signed(self, element: Element, currency: str) -> int:
        mark = element.said("CdtDbtInd")
        if mark not in _SIGNS:
            self.refuse(f"CdtDbtInd is {shown(mark)}, expected CRDT or DBIT")
        amount = element.find("Amt")
        if amount is None:
            self.refuse(f"{element.name} has no Amt")
        return _SIGNS[mark] * self._minor(amount, currency)

    def _minor(self, amount: Element, currency: str) -> int:
        text = amount.text.strip()
        if not _AMOUNT.match(text):
            self.refuse(f"Amt is {shown(text)}, expected a decimal amount")
        try:
            return to_minor(text, currency)
        except MoneyError as error:
            self.refuse(str(error))

    def _flag(self, element: Element, path: str) -> bool:
        text = element.said(path)
        if text not in (None, "true", "false", "1", "0"):
            self.refuse(f"{path} is {shown(text)}, expected true or false")
        return text in ("true", "1")

    def _moment_under(self, found: Element | None, otherwise: date | None = None) -> tuple[date, datetime | None]:
        """Of a choice of Dt and DtTm; either may hold the other's form, as banks write them."""
        text = None if found is None else found.said("Dt", "DtTm")
        if text is None:
            return (otherwise or self.refuse("a date is missing")), None
        return self._moment(text, found.name if found is not None else "Dt")

    def _moment(self, text: str, name: str) -> tuple[date, datetime | None]:
        day, moment = _DATE.match(text), _DATE_TIME.match(text)
        try:
            if day:
                return date.fromisoformat(day[1]), None
            if moment:
                at = datetime.fromisoformat(f"{moment[1]}T{moment[2]}{moment[4] or ''}")
                return date.fromisoformat(moment[1]), at.astimezone(UTC) if moment[4] else None
        except (ValueError, OverflowError):
            pass
        self.refuse(f"{name} is {shown(text)}, no date or date-time of ISO 8601")


def _reference(said: Element) -> str | None:
    remittance = [info for info in said.all("RmtInf")]
    structured = [ref for info in remittance for block in info.all("Strd") if (ref := block.said("CdtrRefInf/Ref", "CdtrRefInf/CdtrRef"))]  # fmt: skip
    texts = [" ".join(text.text.split()) for info in remittance for text in info.all("Ustrd")]
    more = [text for info in remittance for block in info.all("Strd") if (text := block.said("AddtlRmtInf"))]
    found = " ".join(dict.fromkeys(filter(None, (*structured, *texts, *more))))
    end_to_end = said.said("Refs/EndToEndId")
    return found or (end_to_end if _is_name(end_to_end) else None) or said.said("AddtlTxInf")


def _refs(entry: Element, details: list[Element]) -> Iterator[tuple[str, str]]:
    for detail in details:
        for path, kind in _REFS.items():
            if _is_name(value := detail.said(path)):
                yield kind, value
        for block in (block for info in detail.all("RmtInf") for block in info.all("Strd")):
            if value := block.said("CdtrRefInf/Ref", "CdtrRefInf/CdtrRef"):
                yield "creditor_reference", value
    for path, kind in (("AcctSvcrRef", "bank_reference"), ("NtryRef", "entry")):
        if _is_name(value := entry.said(path)):
            yield kind, value
    for group in (entry.find("NtryDtls/Btch"), entry.find("Btch")):
        for path, kind in (("MsgId", "message"), ("PmtInfId", "payment_information")):
            if group is not None and (value := group.said(path)):
                yield kind, value


def _is_name(value: str | None) -> TypeGuard[str]:
    return value is not None and value.upper().replace(" ", "") not in ("NOTPROVIDED", "NONREF")


def _counterparty(said: Element, *, is_incoming: bool) -> str | None:
    role = "Dbtr" if is_incoming else "Cdtr"
    parties = f"RltdPties/Ultmt{role}", f"RltdPties/{role}"
    return said.said(*(f"{party}/{name}" for party in reversed(parties) for name in ("Nm", "Pty/Nm")))


def _code(entry: Element) -> str | None:
    """ISO's domain, family and sub-family, else the bank's own."""
    codes = [entry.said(f"BkTxCd/Domn/{path}") for path in ("Cd", "Fmly/Cd", "Fmly/SubFmlyCd")]
    return label("/".join(filter(None, codes)) or entry.said("BkTxCd/Prtry/Cd"))
