"""xero_tables: a folder of table extracts of Xero books (sources.records joins each header with its lines).

Home cases; every event of a document lies in that document's case and in no other:
- an invoice (sales ACCREC or purchase ACCPAY) and the journals that Xero ties to it by source_id:
  `invoice:<organisation>:xero:<invoice_id>`
- a payment, prepayment or overpayment: `receipt:<organisation>:xero:<source_id>`. The extract does not say which invoice
  it pays, so nothing here does either.
- a credit note and its journals: `credit:<organisation>:xero:<credit_note_id>`
- any other journal: `summary:<organisation>:xero:<journal_id>`; so too a credit note's where the folder has no table of
  credit notes, since nothing then can show that one is missing

What is told:
- AUTHORISED or PAID invoice -> invoice.issued at 00:00Z of its date; VOIDED -> invoice.issued and invoice.voided (its
  journals net to zero). DRAFT, SUBMITTED, DELETED -> policy. `version` is updated_date_utc in milliseconds: of two extracts
  the later holds. A credit note likewise: credit_memo.issued and credit_memo.voided.
- amount_paid and amount_credited -> cash.applied, on fully_paid_on_date or, while only a part is paid, at
  updated_date_utc, the latest it can have been. Without amount_paid it is what amount_due leaves, all of it if PAID.
- A journal -> posting.recorded, lines debit-positive in base currency, recorded_at when Xero created it and
  accounting_date its date. An edit is a reversal and a new posting: all are told, they net out.
- A payment's journal -> payment.received too, on the journal's date. Its reversal in an edit is followed by a new
  posting, which is the same payment at a higher version; payment.returned only where nothing stands in the end.

Money: decimal texts in the invoice's currency, also with an exponent (1E3) or with a comma between thousands where
decimals follow; less than a millionth beside a whole minor unit is what a floating-point column leaves, and is dropped.
currency_rate is document currency for one unit of base currency. Xero keeps six digits of it and extracts drop the last
zeros, so 0.75 is read as 0.750000 and 1.5 as 1.50000: the printed decimals say how exact a rate is. The base currency is the organisation's
base_currency column, or the one currency whose invoices are all at rate 1 (on several days rather than on one; failing
those, the one whose invoices state no rate); where that does not settle it, journals are dead letters (master data):
nobody guesses a currency. Xero keeps hundredths in every currency: a fraction of a yen is a dead letter, and books kept in
a currency of three decimals need policy's tolerance.fx_minor = 10.

Days are taken as they are written, whatever time and zone follow; times are converted to UTC, which they are in where
they name no zone.

Account roles, in this order: Xero's system_account; the control account of the folder (the one that runs through the
invoices' and payments' journals); in a single journal the one untaxed balance sheet line that carries the other lines'
gross amounts, or that stands alone on its side; tax as the untaxed lines that carry the sum of the other lines' tax (a
taxed line on a tax account was coded there by hand and is no tax); then the account's type; names only for currency gains
and rounding, which Xero types as expenses and liabilities. The journal of an invoice that comes to nothing has no line on
the control account.

Several organisations: a folder each, or an organisation_id column (or dbt's source_relation) in invoices and journals;
otherwise master data.
Without organizations.csv the entity is "main".
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, NamedTuple

from canonical.dead_letters import DeadLetter
from canonical.events import Event
from canonical.ids import CaseKind
from sources.cells import NUMBER, amount_of, check_current, day_of, midnight, milliseconds, stamp_of
from sources.fields import Fields, check_columns, known_currency, label, note, parse, shown
from sources.origin import Origin

SYSTEM, LEDGER = "xero", "main"

_RATE = re.compile(rf"{NUMBER}\Z")
_EXACT = Context(prec=200)  # wide enough for any number that matches
_RATE_DIGITS, _MAX_RATE_DECIMALS, _MAX_RATE = 6, 12, Decimal(10) ** 12
_IDENTS = ("invoice_id", "credit_note_id", "journal_id")
_NOT_YET = {"DRAFT", "SUBMITTED", "DELETED"}
_STANDS = {"AUTHORISED", "PAID", "VOIDED"}


class _Document(NamedTuple):
    """How a table of documents is told."""

    case: CaseKind
    issued: str
    voided: str
    ident: str
    number: str
    directions: dict[str, str]


_DOCUMENTS = {
    "invoices": _Document(
        "invoice", "invoice.issued", "invoice.voided", "invoice_id", "invoice_number",
        {"ACCREC": "sales", "ACCPAY": "purchase"},
    ),
    "credit_notes": _Document(
        "credit", "credit_memo.issued", "credit_memo.voided", "credit_note_id", "credit_note_number",
        {"ACCRECCREDIT": "sales", "ACCPAYCREDIT": "purchase"},
    ),
}  # fmt: skip


class _Journal(NamedTuple):
    """How a journal's source type is told."""

    case: CaseKind
    document_type: str
    direction: str | None = None
    posting_kind: str = "document"


_SUMMARY = _Journal("summary", "other")
_MANUAL = _Journal("summary", "other", None, "manual")
_JOURNALS: dict[str, _Journal] = {
    "ACCREC": _Journal("invoice", "invoice", "sales"),
    "ACCPAY": _Journal("invoice", "invoice", "purchase"),
    "ACCRECCREDIT": _Journal("credit", "credit", "sales"),
    "ACCPAYCREDIT": _Journal("credit", "credit", "purchase"),
    "ACCRECPAYMENT": _Journal("receipt", "payment", "sales"),
    "ACCPAYPAYMENT": _Journal("receipt", "payment", "purchase"),
    "ARPREPAYMENT": _Journal("receipt", "payment", "sales"),
    "APPREPAYMENT": _Journal("receipt", "payment", "purchase"),
    "AROVERPAYMENT": _Journal("receipt", "payment", "sales"),
    "APOVERPAYMENT": _Journal("receipt", "payment", "purchase"),
    "ARCREDITPAYMENT": _Journal("receipt", "refund", "sales"),
    "APCREDITPAYMENT": _Journal("receipt", "refund", "purchase"),
    "": _MANUAL,
    "MANJOURNAL": _MANUAL,
} | {source_type: _SUMMARY for source_type in (
    "CASHREC", "CASHPAID", "TRANSFER", "EXPCLAIM", "EXPPAYMENT", "PAYSLIP", "WAGEPAYABLE", "INTEGRATEDPAYROLLPE",
    "INTEGRATEDPAYROLLPT", "INTEGRATEDPAYROLLPTPAYMENT", "INTEGRATEDPAYROLLCN", "EXTERNALSPENDMONEY",
)}  # fmt: skip
# source: Xero's accounting API, journals, source types

_ROLE_OF_SYSTEM = {
    "DEBTORS": "receivable", "CREDITORS": "payable", "GST": "tax", "GSTONIMPORTS": "tax", "ROUNDING": "rounding",
    "BANKCURRENCYGAIN": "fx", "REALISEDCURRENCYGAIN": "fx", "UNREALISEDCURRENCYGAIN": "fx", "RETAINEDEARNINGS": "equity",
    "HISTORICAL": "equity", "UNPAIDEXPCLM": "liability", "WAGEPAYABLES": "liability", "CISASSETS": "tax",
    "CISLIABILITY": "tax",
}  # fmt: skip
_ROLE_OF_TYPE = {
    role_type: role
    for role, types in {
        "cash": "BANK",
        "revenue": "REVENUE SALES OTHERINCOME",
        "expense": "EXPENSE OVERHEADS DIRECTCOSTS DEPRECIATN SUPERANNUATIONEXPENSE WAGESEXPENSE",
        "asset": "CURRENT FIXED INVENTORY NONCURRENT PREPAYMENT",
        "liability": "CURRLIAB LIABILITY TERMLIAB PAYGLIABILITY SUPERANNUATIONLIABILITY WAGESPAYABLELIABILITY",
        "equity": "EQUITY",
    }.items()
    for role_type in types.split()
}
_SHEET = ("asset", "liability", "other")
_CONTROL_ROLES = {"sales": "receivable", "purchase": "payable"}
_NAMED_FX = re.compile(r"currency (gain|revaluation)|bank revaluation|foreign exchange", re.IGNORECASE)


def map_record(body: bytes, traceparent: str | None) -> tuple[Event, ...] | DeadLetter:
    record = parse(body)
    whole = Fields(record, f"xero_tables {shown(record.get('table'))}")
    check_columns(whole)
    table = whole.text_or_none("table")
    if table == "journals":
        return tuple(_journal(whole, traceparent))
    if table in _DOCUMENTS:
        return tuple(_document(whole, traceparent, _DOCUMENTS[table]))
    if table in ("invoice_lines", "credit_note_lines", "journal_lines"):
        _refuse_orphan(whole)
    whole.refuse("no document or journal of a table extract; read the folder with `tieout map xero_tables`")


def key(body: bytes) -> bytes:
    document = parse(body)["document"]
    ident = next((document[name] for name in _IDENTS if document.get(name)), None)
    return ident.encode() if isinstance(ident, str) else b""


def _refuse_orphan(whole: Fields) -> None:
    line = whole.inner("document")
    ident = next((line.text(name) for name in _IDENTS if line.has(name)), None)
    whole.refuse(f"the line belongs to {shown(ident)}, which is not among the {shown(whole.text_or_none('header'))}; extract both tables at one time")  # fmt: skip


def _origin(whole: Fields, row: Fields, traceparent: str | None) -> Origin:
    entity = whole.text_or_none("organisation")
    if entity is None:
        row.refuse("the folder holds several organisations and the row names none; add an organisation_id column or use a folder each", "master_data")  # fmt: skip
    check_current(row, "Xero")
    return Origin(SYSTEM, entity, traceparent)


# --- Invoices and credit notes ----------------------------------------------------------------------------------------


def _document(whole: Fields, traceparent: str | None, told: _Document) -> Iterable[Event]:
    row = whole.inner("document")
    name = told.case if told.case == "invoice" else "credit note"
    row.label = f"xero {name} {shown(row.values.get(told.number) or row.values.get(told.ident))}"
    origin = _origin(whole, row, traceparent)
    direction = told.directions.get(row.text("type").upper())
    if direction is None:
        row.refuse(f"type is {shown(row.text('type'))}, expected {' or '.join(told.directions)}")
    status = row.text("status").upper()
    if status in _NOT_YET:
        row.refuse(f"status is {status}: not a document that stands; it comes in again once approved", "policy")
    if status not in _STANDS:
        row.refuse(f"status is {shown(status)}, unknown to this adapter")
    case = origin.case(told.case, row.text(told.ident))
    yield _issued(whole, row, origin, case, told, direction)
    if status == "VOIDED":
        yield _voided(row, origin, case, told)
    elif told.case == "invoice":
        yield from _applied(whole, row, origin, case)


def _issued(whole: Fields, row: Fields, origin: Origin, case: str, told: _Document, direction: str) -> Event:
    base, currency = whole.text_or_none("base_currency"), _currency(whole, row)
    rate = _rate(row) if base != currency else None
    day = day_of(row, "date")
    contact = row.text_or_none("contact_id")
    data = {
        "number": label(row.text_or_none(told.number)),
        "version": _version(row),
        "accounting_date": day,
        "customer": None if contact is None else {"bill_to": contact},
        "direction": direction,
        "currency": currency,
        "total_minor": _unsigned(row, "total", currency),
        "tax_minor": _tax(row, currency),
        "base_currency": None if base is None else known_currency(base, row.label),
        "rate": rate,
        "rate_direction": None if rate is None else "document_per_base",
        "lines": [_line(line, currency) for line in whole.items("lines")] or None,
    }
    if told.case == "invoice":
        data["due_date"] = day_of(row, "due_date") if row.has("due_date") else None
    number, ident = label(row.text_or_none(told.number)), row.text(told.ident)
    return origin.tell(told.issued, document=ident, subject=number, case=case, time=midnight(day), data=data)


def _tax(row: Fields, currency: str) -> int | None:
    """Not stated where it is negative, as when only what is deducted is taxed: a document's tax has no sign."""
    tax_minor = amount_of(row, "total_tax", currency) if row.has("total_tax") else None
    return tax_minor if tax_minor is None or tax_minor >= 0 else None


def _line(line: Fields, currency: str) -> dict[str, Any]:
    return {
        "amount_minor": amount_of(line, "line_amount", currency, is_rounded=True) if line.has("line_amount") else 0,
        "description": note(line.text_or_none("description")),
        "product": label(line.text_or_none("item_code")),
        "tax_code": label(line.text_or_none("tax_type")),
    }


def _voided(row: Fields, origin: Origin, case: str, told: _Document) -> Event:
    time = stamp_of(row, "updated_date_utc") if row.has("updated_date_utc") else midnight(day_of(row, "date"))
    data = {"number": label(row.text_or_none(told.number)), "version": _version(row), "reason": "status VOIDED"}
    return origin.tell(told.voided, document=row.text(told.ident), case=case, time=time, data=data)


def _applied(whole: Fields, row: Fields, origin: Origin, case: str) -> Iterable[Event]:
    currency, ident = _currency(whole, row), row.text("invoice_id")
    credited_minor = _unsigned(row, "amount_credited", currency) if row.has("amount_credited") else 0
    paid_minor = _paid_minor(row, currency, credited_minor)
    for from_kind, amount_minor in (("payment", paid_minor), ("credit", credited_minor)):
        if amount_minor:
            data = {
                "document_id": f"{ident}/{from_kind}",  # else the two would be versions of one document
                "version": _version(row),
                "from_kind": from_kind,
                "currency": currency,
                "amount_minor": amount_minor,
                "invoice_id": ident,
            }
            yield origin.tell(
                "cash.applied", "applied", from_kind, document=ident, case=case, time=_settled(row), data=data
            )


def _paid_minor(row: Fields, currency: str, credited_minor: int) -> int:
    """As stated; in a table without amount_paid what is no longer due, or all of it where the invoice is PAID."""
    if row.has("amount_paid"):
        return _unsigned(row, "amount_paid", currency)
    if not row.has("amount_due") and row.text("status").upper() != "PAID":
        return 0
    due_minor = _unsigned(row, "amount_due", currency) if row.has("amount_due") else 0
    return max(0, _unsigned(row, "total", currency) - due_minor - credited_minor)


def _settled(row: Fields) -> datetime:
    if row.has("fully_paid_on_date"):
        return midnight(day_of(row, "fully_paid_on_date"))
    return stamp_of(row, "updated_date_utc") if row.has("updated_date_utc") else midnight(day_of(row, "date"))


# --- Journals -------------------------------------------------------------------------------------------------------


def _journal(whole: Fields, traceparent: str | None) -> Iterable[Event]:
    row = whole.inner("document")
    row.label = f"xero journal {shown(row.values.get('journal_number') or row.values.get('journal_id'))}"
    origin = _origin(whole, row, traceparent)
    told = _JOURNALS.get((row.text_or_none("source_type") or "").upper())
    if told is None:
        row.refuse(f"source_type is {shown(row.text('source_type'))}, unknown to this adapter")
    if told.case == "credit" and whole.values.get("credit_notes") is not True:
        told = told._replace(case="summary")
    base = whole.text_or_none("base_currency")
    if base is None:
        row.refuse("the base currency is unknown: no base_currency in organizations.csv, and not exactly one currency whose invoices are all at rate 1; add it to organizations.csv", "master_data")  # fmt: skip
    base = known_currency(base, row.label)
    lines = _posting_lines(whole, row, told, base)
    case = _journal_case(row, origin, told)
    yield _posting(row, origin, case, told, base, lines)
    if told.document_type == "payment":
        yield from _payment(whole, row, origin, case, told, base, lines)


def _journal_case(row: Fields, origin: Origin, told: _Journal) -> str:
    if told.case == "summary":
        return origin.case("summary", row.text("journal_id"))
    if not row.has("source_id"):
        row.refuse(f"a journal of type {row.text('source_type')} without source_id: it cannot be tied to its document")
    return origin.case(told.case, row.text("source_id"))


def _posting(row: Fields, origin: Origin, case: str, told: _Journal, base: str, lines: Sequence[dict[str, Any]]) -> Event:  # fmt: skip
    day = day_of(row, "journal_date")
    recorded_at = stamp_of(row, "created_date_utc") if row.has("created_date_utc") else None
    data = {
        "number": row.text_or_none("journal_number"),
        "recorded_at": recorded_at,
        "accounting_date": day,
        "ledger": LEDGER,
        "document_type": told.document_type,
        "posting_kind": told.posting_kind,
        "direction": told.direction,
        "base_currency": base,
        "lines": lines,
    }
    ident, number = row.text("journal_id"), row.text_or_none("journal_number")
    time = recorded_at or midnight(day)
    return origin.tell("posting.recorded", "recorded", document=ident, subject=number, case=case, time=time, data=data)


def _payment(whole: Fields, row: Fields, origin: Origin, case: str, told: _Journal, base: str, lines: Sequence[dict[str, Any]]) -> Iterable[Event]:  # fmt: skip
    """Cash that moved: the bank lines, or the control line where no bank account took part. Nothing for a net of zero."""
    cash = _net(lines, "cash") or -_net(lines, _CONTROL_ROLES[str(told.direction)])
    incoming = cash if told.direction == "sales" else -cash
    is_returned = incoming < 0 and whole.values.get("standing") is not True
    if incoming == 0 or (incoming < 0 and not is_returned):
        return
    ident = row.text("source_id")
    data = {
        "version": milliseconds(stamp_of(row, "created_date_utc")) if row.has("created_date_utc") else None,
        "accounting_date": day_of(row, "journal_date"),
        "currency": base,
        "amount_minor": abs(incoming),
        "direction": told.direction,
        "reference": note(row.text_or_none("reference")),
    }
    paid, booked = (
        midnight(day_of(row, "journal_date")),
        stamp_of(row, "created_date_utc") if row.has("created_date_utc") else None,
    )
    if is_returned:
        yield origin.tell("payment.returned", document=ident, case=case, time=booked or paid, data=data)
    else:
        yield origin.tell("payment.received", document=ident, case=case, time=paid, data=data)


def _net(lines: Sequence[dict[str, Any]], role: str) -> int:
    return sum(line["base_minor"] for line in lines if line["role"] == role)


# --- Account roles ----------------------------------------------------------------------------------------------------


def _posting_lines(whole: Fields, row: Fields, told: _Journal, base: str) -> list[dict[str, Any]]:
    lines = list(whole.items("lines"))
    for line in lines:
        line.label = row.label
    amounts = [amount_of(line, "net_amount", base) for line in lines]
    roles = _roles(whole, lines, amounts, told)
    return [
        {
            "role": role,
            "account": label(line.text_or_none("account_code") or line.text_or_none("account_name") or line.text_or_none("account_id")),
            "base_minor": amount,
            "tax_code": label(line.text_or_none("tax_type")),
        }
        for line, amount, role in zip(lines, amounts, roles, strict=True)
    ]  # fmt: skip


def _roles(whole: Fields, lines: Sequence[Fields], amounts: Sequence[int], told: _Journal) -> list[str]:
    stated = whole.inner("controls")
    controls = {ident: role for role in _CONTROL_ROLES.values() if (ident := stated.text_or_none(role)) is not None}
    roles = [_role_of(line, controls) for line in lines]
    base, is_document = whole.text("base_currency"), told.document_type in ("invoice", "credit")
    if told.direction and not is_document:
        _mark_tax(
            lines, amounts, roles, base
        )  # of a prepayment, whose only other balance sheet line is the tax account
    wanted = _CONTROL_ROLES.get(told.direction or "")
    if wanted and any(amounts) and wanted not in roles:
        candidates = [index for index in range(len(lines)) if roles[index] in _SHEET and not lines[index].has("tax_type")]  # fmt: skip
        found = _control_by_structure(candidates, lines, amounts, base)
        if found is not None:
            roles[found] = wanted
        elif candidates and is_document:
            lines[0].refuse(f"no line can be told to be the {wanted} control account; mark it with system_account in accounts.csv", "master_data")  # fmt: skip
    if is_document:
        _mark_tax(lines, amounts, roles, base)
    return roles


def _role_of(line: Fields, controls: dict[str, str]) -> str:
    account = line.inner("account")
    system = _ROLE_OF_SYSTEM.get((account.text_or_none("system_account") or "").upper())
    ident = line.text_or_none("account_id") or account.text_or_none("account_id") or line.text_or_none("account_code")
    control = controls.get(ident or "")
    kind = (line.text_or_none("account_type") or account.text_or_none("type") or "").upper()
    name = line.text_or_none("account_name") or account.text_or_none("name") or ""
    if control or (system and not (system == "tax" and line.has("tax_type"))):
        return system or str(control)
    if _NAMED_FX.search(name):
        return "fx"
    return "rounding" if name.strip().lower() == "rounding" else _ROLE_OF_TYPE.get(kind, "other")


def _control_by_structure(candidates: Sequence[int], lines: Sequence[Fields], amounts: Sequence[int], base: str) -> int | None:  # fmt: skip
    """Of the untaxed balance sheet lines the one that carries the whole balance: the taxed lines' gross amounts say how
    much that is; else the line is alone on its side; else it is the only one."""
    gross = sum(amount_of(line, "gross_amount", base) for line in lines if line.has("tax_type") and line.has("gross_amount"))  # fmt: skip
    whole = [index for index in candidates if gross and amounts[index] == -gross]
    alone = [index for index in candidates if sum(1 for other in amounts if other * amounts[index] > 0) == 1]
    return next((found[0] for found in (whole, alone, candidates) if len(found) == 1), None)


def _mark_tax(lines: Sequence[Fields], amounts: Sequence[int], roles: list[str], base: str) -> None:
    """Untaxed balance sheet lines that carry the tax the other lines state are the tax account's: the one of that amount
    (beside it there may be rounding), else all together."""
    if "tax" in roles:
        return
    stated = sum(amount_of(line, "tax_amount", base) for line in lines if line.has("tax_amount"))
    carrying = [index for index, line in enumerate(lines) if roles[index] in _SHEET and not line.has("tax_type")]
    of_that_amount = [index for index in carrying if amounts[index] == stated]
    if stated and len(of_that_amount) == 1:
        carrying = of_that_amount
    if stated and sum(amounts[index] for index in carrying) == stated:
        for index in carrying:
            roles[index] = "tax"


# --- Cells ------------------------------------------------------------------------------------------------------------


def _currency(whole: Fields, row: Fields) -> str:
    """The document's; base currency where the table does not say, as in books that have no other."""
    code = row.text_or_none("currency_code") or whole.text_or_none("base_currency")
    if code is None:
        row.refuse("currency_code is empty", "master_data")
    return known_currency(code, row.label)


def _unsigned(row: Fields, name: str, currency: str) -> int:
    amount_minor = amount_of(row, name, currency)
    if amount_minor < 0:
        row.refuse(f"{name} is {shown(row.text(name))}: an invoice's amounts are not negative")
    return amount_minor


def _rate(row: Fields) -> str | None:
    text = row.text_or_none("currency_rate")
    if text is None:
        return None
    rate = Decimal(text) if _RATE.match(text) else Decimal(0)
    kept = _RATE_DIGITS - max(
        0, rate.adjusted() + 1
    )  # source: help.xero.com, currency settings: six, decimals included
    decimals = min(max(0, kept, -int(rate.as_tuple().exponent)), _MAX_RATE_DECIMALS)
    rate = rate.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP, _EXACT)
    if not rate or rate >= _MAX_RATE:
        row.refuse(f"currency_rate is {shown(text)}, expected a positive decimal")
    return f"{rate:f}"


def _version(row: Fields) -> int | None:
    return milliseconds(stamp_of(row, "updated_date_utc")) if row.has("updated_date_utc") else None
