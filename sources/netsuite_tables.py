"""netsuite_tables: a folder of SuiteAnalytics table extracts (NetSuite2.com), a transaction joined with its lines.

A transaction's document and its ledger entry are one row in NetSuite, so both are told, in one case; the entity is its subsidiary (the
main line's):
- CustInvc, VendBill -> invoice.issued in `invoice:<subsidiary>:netsuite:<id>`; CustCred, VendCred -> credit_memo.issued in `credit:...`; voided:
  invoice.voided or credit_memo.voided too. The total is foreigntotal, unsigned
- CustPymt, VendPymt -> payment.received, CustRfnd -> refund.issued, in `receipt:...`. What they pay is not in these tables
- SalesOrd -> document.recorded in `order:...`
- each that posts -> posting.recorded, one an accounting book, in the document's case (other types, Journal among them: in
  `summary:...`). Amounts of accounting lines are in the subsidiary's currency, debit-positive; they come to zero, or the record
  is refused. The main line is the control account (receivable, payable; of a payment the cash), a tax line is tax, a payment's other
  lines are the control account; any other role is `other`
- customers and vendors -> customer.changed in `index:main:...`

Currencies are internal ids: their ISO codes and the subsidiaries' own are looked up in the folder's tables of both; where those say
nothing it is master data missing. Days have no time; createddate and lastmodifieddate are read as UTC where they name no
zone. Rows that were deleted, and other tables, tell nothing. The tables of the older NetSuite.com schema (transactions,
transaction_lines) name types and totals differently and are not read.
"""

import re
from collections.abc import Iterator
from datetime import date
from typing import Any

from canonical.dead_letters import DeadLetter
from canonical.events import Event
from canonical.ids import CaseKind
from sources.cells import amount_of, check_current, day_of, midnight, milliseconds, rate_of, stamp_of
from sources.fields import FALSE, TRUE, Fields, check_columns, known_currency, label, note, parse, shown
from sources.joined import Join, Layout
from sources.origin import Origin

SYSTEM = "netsuite"
LAYOUT = Layout(
    joins={"transaction": {
        "lines": Join("transaction_line", ("transaction",), ("id",)),
        "accounting": Join("tran_acct_line", ("transaction",), ("id",)),
    }},
    affixes=re.compile(r"^(netsuite2?|raw|stg)_+|_data$"),
    names={"transactionline": "transaction_line", "transaction_accounting_line": "tran_acct_line", "transactionaccountingline": "tran_acct_line"},
    shared=("currency", "subsidiary", "accounting_book"),
)  # fmt: skip

_OLDER = {"transactions", "transaction_lines", "currencies", "accounts", "subsidiaries", "accounting_books", "accounting_periods", "consolidated_exchange_rates", "customers", "vendors", "items", "classes", "departments", "locations", "expense_accounts", "income_accounts", "vendor_types"}  # fmt: skip
_DOCUMENTS: dict[str, tuple[CaseKind, str, str, str]] = {
    "CustInvc": ("invoice", "invoice.issued", "sales", "receivable"),
    "VendBill": ("invoice", "invoice.issued", "purchase", "payable"),
    "CustCred": ("credit", "credit_memo.issued", "sales", "receivable"),
    "VendCred": ("credit", "credit_memo.issued", "purchase", "payable"),
    "CustPymt": ("receipt", "payment.received", "sales", "receivable"),
    "VendPymt": ("receipt", "payment.received", "purchase", "payable"),
    "CustRfnd": ("receipt", "refund.issued", "sales", "receivable"),
}
_POSTED_AS = {"invoice.issued": "invoice", "credit_memo.issued": "credit", "payment.received": "payment", "refund.issued": "refund"}  # fmt: skip


def map_record(body: bytes, traceparent: str | None) -> tuple[Event, ...] | DeadLetter:
    whole = Fields(parse(body), "netsuite_tables")
    check_columns(whole)
    table, row = whole.text_or_none("table") or "", whole.inner("document")
    row.label = f"netsuite {table} {shown(row.values.get('tranid') or row.values.get('id') or row.values.get('transaction'))}"  # fmt: skip
    if table in _OLDER:
        row.refuse("a table of the older NetSuite.com schema; extract NetSuite2.com's", "policy")
    if table in ("transaction_line", "tran_acct_line"):
        row.refuse(f"the line belongs to transaction {shown(row.values.get('transaction'))}, which is not in the folder; extract both at one time")  # fmt: skip
    if table not in ("transaction", "customer", "vendor"):
        row.refuse(f"table {shown(table)} holds no document, entry or customer of an extract", "policy")
    check_current(row, "NetSuite")
    if table == "transaction":
        return tuple(_Transaction(whole, row, traceparent).events())
    return (_party(row, Origin(SYSTEM, "main", traceparent)),)


def key(body: bytes) -> bytes:
    row = parse(body)["document"]
    return str(row.get("transaction") or row["id"]).encode()


def _party(row: Fields, origin: Origin) -> Event:
    ident = row.text("id")
    data = {"name": note(row.text_or_none("companyname") or row.text_or_none("altname") or row.text_or_none("entityid")), "number": label(row.text_or_none("entityid"))}  # fmt: skip
    name = next((name for name in ("lastmodifieddate", "datecreated", "_fivetran_synced") if row.has(name)), "lastmodifieddate")  # fmt: skip
    return origin.customer(ident, data, stamp_of(row, name))


class _Transaction:
    def __init__(self, whole: Fields, row: Fields, traceparent: str | None) -> None:
        self.whole, self.row, self.ident = whole, row, row.text("id")
        self.lines = list(whole.items("lines"))
        for line in self.lines:
            line.label = row.label
        mains = [line for line in self.lines if _is(line, "mainline")]
        self.main = mains[0] if mains else None
        subsidiary = row.text_or_none("subsidiary") or next((line.text_or_none("subsidiary") for line in mains or self.lines if line.has("subsidiary")), None)  # fmt: skip
        if subsidiary is None:
            row.refuse("no line of it names a subsidiary: whose books it is in", "master_data")
        self.subsidiary = subsidiary
        self.origin = Origin(SYSTEM, subsidiary, traceparent)
        self.day: date = day_of(row, "trandate")
        self.kind = row.text("type")

    def events(self) -> Iterator[Event]:
        told = _DOCUMENTS.get(self.kind)
        if told is not None:
            yield from self._document(*told)
        elif self.kind == "SalesOrd":
            yield self._order()
        if _is(self.row, "posting"):
            yield from self._postings(told)
        elif told is None and self.kind != "SalesOrd":
            self.row.refuse(f"type {shown(self.kind)} posts nothing", "policy")

    # --- The document -------------------------------------------------------------------------------------------------

    def _document(self, case: CaseKind, event_type: str, direction: str, _: str) -> Iterator[Event]:
        currency = self._iso(self.row.text("currency"))
        party = label(self.row.text_or_none("entity"))
        data = self._common() | {"direction": direction, "currency": currency} | self._rate(currency)
        total_minor = abs(self._total(currency))
        if case == "receipt":
            data = {
                name: value for name, value in data.items() if name not in ("base_currency", "rate", "rate_direction")
            }
            data |= {"amount_minor": total_minor, "customer": None if party is None else {"payer": party}, "reference": note(self.row.text_or_none("memo"))}  # fmt: skip
        else:
            data |= {"total_minor": total_minor, "customer": None if party is None else {"bill_to": party}}
            if case == "invoice":
                data["due_date"] = day_of(self.row, "duedate") if self.row.has("duedate") else None
        yield self._tell(event_type, case, data)
        if _is(self.row, "voided") and case != "receipt":
            yield self._tell(
                event_type.replace("issued", "voided"), case, {"version": data["version"], "reason": "voided"}
            )

    def _order(self) -> Event:
        currency = self._iso(self.row.text("currency"))
        return self._tell("document.recorded", "order", self._common() | {"kind": "order", "currency": currency, "value_minor": self._total(currency)})  # fmt: skip

    def _common(self) -> dict[str, Any]:
        row = self.row
        refs = [{"kind": kind, "system": SYSTEM, "value": row.text(name)} for name, kind in (("externalid", "external"), ("otherrefnum", "purchase_order")) if row.has(name)]  # fmt: skip
        return {
            "number": label(row.text_or_none("tranid")),
            "version": milliseconds(stamp_of(row, "lastmodifieddate")) if row.has("lastmodifieddate") else None,
            "recorded_at": stamp_of(row, "createddate") if row.has("createddate") else None,
            "accounting_date": self.day,
            "refs": refs or None,
        }

    def _tell(self, event_type: str, case: CaseKind, data: dict[str, Any]) -> Event:
        number = label(self.row.text_or_none("tranid"))
        return self.origin.tell(event_type, document=self.ident, subject=number, case=self.origin.case(case, self.ident), time=midnight(self.day), data=data)  # fmt: skip

    def _total(self, currency: str) -> int:
        source = self.row if self.row.has("foreigntotal") else self.main
        name = "foreigntotal" if source is self.row else "foreignamount"
        if source is None or not source.has(name):
            self.row.refuse("neither foreigntotal nor its main line's foreignamount says what it comes to")
        return amount_of(source, name, currency)

    def _rate(self, currency: str) -> dict[str, Any]:
        base = self._base()
        if base == currency or not self.row.has("exchangerate"):
            return {}
        return {"base_currency": base, "rate": rate_of(self.row, "exchangerate"), "rate_direction": "base_per_document"}

    # --- Its entries --------------------------------------------------------------------------------------------------

    def _postings(self, told: tuple[CaseKind, str, str, str] | None) -> Iterator[Event]:
        books: dict[str, list[Fields]] = {}
        for line in self.whole.items("accounting"):
            line.label = self.row.label
            if _is(line, "posting") or not line.has("posting"):
                books.setdefault(line.text("accountingbook"), []).append(line)
        base = self._base() if books else ""
        for book, lines in books.items():
            yield self._posting(book, lines, base, told)
        if not books and told is None:
            self.row.refuse("it posts, and none of its accounting lines are in the folder")

    def _posting(self, book: str, lines: list[Fields], base: str, told: tuple[CaseKind, str, str, str] | None) -> Event:
        posted = [self._posting_line(line, base, told) for line in lines]
        net_minor = sum(line["base_minor"] for line in posted)
        if net_minor:
            self.row.refuse(f"its {len(lines)} accounting lines come to {net_minor} minor units, not to zero; extract all of them")  # fmt: skip
        document_type = _POSTED_AS[told[1]] if told is not None else "other"
        data = self._common() | {
            "ledger": self._ledger(book), "document_type": document_type, "posting_kind": "document" if told is not None else "manual",
            "direction": told[2] if told is not None else None, "base_currency": base, "lines": posted,
            "reverses": self.row.text_or_none("reversal") if _is(self.row, "isreversal") else None,
        }  # fmt: skip
        case = self.origin.case(told[0] if told is not None else "summary", self.ident)
        return self.origin.tell("posting.recorded", "recorded", book, document=self.ident, case=case, time=midnight(self.day), data=data)  # fmt: skip

    def _posting_line(self, line: Fields, base: str, told: tuple[CaseKind, str, str, str] | None) -> dict[str, Any]:
        number = line.text_or_none("transactionline")
        own = next((other for other in self.lines if other.text_or_none("id") == number), None)
        debit, credit = (amount_of(line, name, base) if line.has(name) else 0 for name in ("debit", "credit"))
        amount_minor = debit - credit if line.has("debit") or line.has("credit") else amount_of(line, "amount", base) if line.has("amount") else 0  # fmt: skip
        return {"role": self._role(own, told), "account": label(line.text_or_none("account")), "base_minor": amount_minor}  # fmt: skip

    def _role(self, own: Fields | None, told: tuple[CaseKind, str, str, str] | None) -> str:
        if told is None or own is None:
            return "other"
        if _is(own, "taxline"):
            return "tax"
        is_main, is_payment = _is(own, "mainline"), told[0] == "receipt"
        if is_main:
            return "cash" if is_payment else told[3]
        return told[3] if is_payment else "other"

    # --- What ids mean ------------------------------------------------------------------------------------------------

    def _named(self, table: str, ident: str, column: str) -> str | None:
        rows = [found for found in self.whole.items(table) if found.text_or_none("id") == ident]
        standing = [found for found in rows if (found.text_or_none("_fivetran_active") or "").lower() not in FALSE]
        return next((found.text_or_none(column) for found in standing or rows), None)

    def _iso(self, ident: str) -> str:
        code = self._named("currency", ident, "symbol")
        if code is None:
            self.row.refuse(f"currency {shown(ident)} is not in the folder's table of currencies", "master_data")
        return known_currency(code, self.row.label)

    def _base(self) -> str:
        ident = self._named("subsidiary", self.subsidiary, "currency")
        if ident is None:
            self.row.refuse(f"subsidiary {shown(self.subsidiary)} is not in the folder's table of subsidiaries", "master_data")  # fmt: skip
        return self._iso(ident)

    def _ledger(self, book: str) -> str:
        is_primary = (self._named("accounting_book", book, "isprimary") or "").lower() in TRUE
        return "main" if is_primary else self._named("accounting_book", book, "name") or f"book {book}"


def _is(row: Fields, name: str) -> bool:
    return (row.text_or_none(name) or "").lower() in TRUE
