"""salesforce_tables: a folder of table extracts of Salesforce (sources.joined joins each header with its rows).

- opportunity that is won -> opportunity.won in `order:main:salesforce:<id>`, on close_date; with its line items. One that is open or
  lost: policy
- quote (Salesforce's own or CPQ's, sbqq_quote) that is Approved or Accepted -> quote.approved, in its opportunity's case where
  it names one
- order -> document.recorded in `order:...`, with its quote, contract and the numbers that other systems know it by
- account -> customer.changed in `index:...`; one that was merged -> customer.merged (merged_into: master_record_id)
- all other tables of Salesforce hold no money that tieout reconciles: policy

Money is a decimal. The currency is the row's currency_iso_code, else the organization's default_currency_iso_code where the
folder has that table: where it has neither, an amount is master data missing. `version` is system_modstamp (else last_modified_date)
in milliseconds. A row that was deleted tells nothing.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from canonical.dead_letters import DeadLetter
from canonical.events import Event
from sources.cells import amount_of, check_current, day_of, midnight, milliseconds, stamp_of
from sources.fields import TRUE, Fields, check_columns, known_currency, label, note, parse, shown
from sources.joined import Join, Layout
from sources.origin import Origin

SYSTEM = "salesforce"
_LINES = {"lines": Join("opportunity_line_item", ("opportunity_id",), ("id",))}
LAYOUT = Layout(
    joins={"opportunity": _LINES},
    affixes=re.compile(r"^(sf|salesforce|raw|stg)_+|_data$"),
    names={"opportunities": "opportunity", "accounts": "account", "orders": "order", "quotes": "quote", "sbqq_quote_c": "sbqq_quote"},
    shared=("organization",),
)  # fmt: skip

_SILENT = {
    "contact", "lead", "event", "task", "user", "user_role", "record_type", "product_2", "pricebook_2", "pricebook_entry",
    "campaign", "campaign_member", "case", "opportunity_stage", "opportunity_contact_role", "organization", "order_item",
    "quote_line_item", "contract", "profile", "group", "asset", "domain", "fiscal_year_settings", "period",
}  # fmt: skip
_OTHER_NUMBERS = {
    "order_number": "order_number", "netsuite_conn_net_suite_order_number_c": "netsuite_order",
    "netsuite_conn_net_suite_id_c": "netsuite_id", "celigo_sfnsio_net_suite_id_c": "netsuite_id", "sbqq_quote_c": "quote",
    "quote_id": "quote", "contract_id": "contract", "opportunity_id": "opportunity", "po_number": "purchase_order",
}  # fmt: skip


def map_record(body: bytes, traceparent: str | None) -> tuple[Event, ...] | DeadLetter:
    whole = Fields(parse(body), "salesforce_tables")
    check_columns(whole)
    table = whole.text_or_none("table") or ""
    row = whole.inner("document")
    row.label = f"salesforce {table} {shown(row.values.get('name') or row.values.get('id'))}"
    if table.endswith("_history"):
        row.refuse("a history table tells what rows said before; the table itself holds", "policy")
    if table in _SILENT:
        row.refuse(f"table {table} holds no money that tieout reconciles", "policy")
    if table == "opportunity_line_item":
        row.refuse(f"the line belongs to opportunity {shown(row.values.get('opportunity_id'))}, which is not in the folder; extract both at one time")  # fmt: skip
    handler = _HANDLERS.get(table)
    if handler is None:
        row.refuse(f"table {shown(table)} is unknown to this adapter; report it with this record")
    if not (table == "account" and row.has("master_record_id")):  # what was merged is marked as deleted too
        check_current(row, "Salesforce")
    return tuple(handler(whole, row, Origin(SYSTEM, "main", traceparent)))


def key(body: bytes) -> bytes:
    return str(parse(body)["document"]["id"]).encode()


def _opportunity(whole: Fields, row: Fields, origin: Origin) -> Iterable[Event]:
    if (row.text_or_none("is_won") or "").lower() not in TRUE:
        row.refuse("it is not won; it comes in again when it is", "policy")
    currency, ident = _currency(whole, row), row.text("id")
    data = {
        "version": _version(row),
        "accounting_date": day_of(row, "close_date"),
        "customer": _account_of(row),
        "currency": currency,
        "total_minor": _total(row, "amount", currency),
        "lines": [_line(line, currency) for line in whole.items("lines")] or None,
    }
    time = midnight(day_of(row, "close_date"))
    yield origin.tell("opportunity.won", document=ident, subject=label(row.text_or_none("name")), case=origin.case("order", ident), time=time, data=data)  # fmt: skip


def _line(line: Fields, currency: str) -> dict[str, Any]:
    return {
        "amount_minor": amount_of(line, "total_price", currency, is_rounded=True) if line.has("total_price") else 0,
        "description": note(line.text_or_none("name")),
        "product": label(line.text_or_none("product_2_id")),
    }


def _quote(whole: Fields, row: Fields, origin: Origin) -> Iterable[Event]:
    prefix = "sbqq_" if row.has("sbqq_status_c") else ""
    status = row.text_or_none("sbqq_status_c") or row.text("status")
    if status.lower() not in ("approved", "accepted"):
        row.refuse(f"status is {shown(status)}: not an approved quote", "policy")
    currency, ident = _currency(whole, row), row.text("id")
    amount = next((name for name in (f"{prefix}net_amount_c", "grand_total", "total_price") if row.has(name)), "grand_total")  # fmt: skip
    case = origin.case("order", row.text_or_none("opportunity_id") or row.text_or_none("sbqq_opportunity_2_c") or ident)
    data = {
        "number": label(row.text_or_none("quote_number") or row.text_or_none("name")),
        "version": _version(row),
        "customer": _account_of(row),
        "currency": currency,
        "total_minor": _total(row, amount, currency),
    }
    yield origin.tell("quote.approved", document=ident, case=case, time=_changed(row), data=data)


def _order(whole: Fields, row: Fields, origin: Origin) -> Iterable[Event]:
    ident = row.text("id")
    refs = [{"kind": kind, "system": SYSTEM, "value": row.text(column)} for column, kind in _OTHER_NUMBERS.items() if row.has(column)]  # fmt: skip
    is_priced = row.has("total_amount") and (row.has("currency_iso_code") or _organisation(whole) is not None)
    currency = _currency(whole, row) if is_priced else None
    data = {
        "kind": "order",
        "number": label(row.text_or_none("order_number")),
        "version": _version(row),
        "customer": _account_of(row),
        "refs": refs or None,
        "currency": currency,
        "value_minor": None if currency is None else amount_of(row, "total_amount", currency, is_rounded=True),
    }
    name = next((column for column in ("activated_date", "effective_date", "created_date") if row.has(column)), "created_date")  # fmt: skip
    yield origin.tell("document.recorded", "order", document=ident, case=origin.case("order", ident), time=stamp_of(row, name), data=data)  # fmt: skip


def _account(_: Fields, row: Fields, origin: Origin) -> Iterator[Event]:
    ident, data = row.text("id"), {"name": note(row.text_or_none("name")), "number": label(row.text_or_none("account_number"))}  # fmt: skip
    yield origin.customer(ident, data, _changed(row))


def _account_row(whole: Fields, row: Fields, origin: Origin) -> Iterable[Event]:
    """Salesforce marks what was merged as deleted, and says into which."""
    if not row.has("master_record_id"):
        return _account(whole, row, origin)
    ident, into = row.text("id"), row.text("master_record_id")
    data = {"name": note(row.text_or_none("name")), "merged_into": into}
    return (origin.tell("customer.merged", "merged", into, document=ident, case=origin.case("index", ident), time=_changed(row), data=data),)  # fmt: skip


def _account_of(row: Fields) -> dict[str, str] | None:
    account = label(row.text_or_none("account_id") or row.text_or_none("sbqq_account_c"))
    return None if account is None else {"sold_to": account}


def _organisation(whole: Fields) -> str | None:
    stated = {found.text_or_none("default_currency_iso_code") for found in whole.items("organization")} - {None}
    return stated.pop() if len(stated) == 1 else None


def _currency(whole: Fields, row: Fields) -> str:
    code = row.text_or_none("currency_iso_code") or _organisation(whole)
    if code is None:
        row.refuse("no currency_iso_code, and no table organization with one default_currency_iso_code; add either", "master_data")  # fmt: skip
    return known_currency(code, row.label)


def _total(row: Fields, name: str, currency: str) -> int:
    if not row.has(name):
        row.refuse(f"{name} is empty: it states no amount")
    total_minor = amount_of(row, name, currency)
    return total_minor if total_minor >= 0 else row.refuse(f"{name} is {shown(row.text(name))}: not what is sold")


def _changed(row: Fields) -> Any:
    """When the row last changed; failing that, when it was copied: the latest that it can have been."""
    names = ("system_modstamp", "last_modified_date", "created_date", "_fivetran_start", "_fivetran_synced")
    return stamp_of(row, next((name for name in names if row.has(name)), "system_modstamp"))


def _version(row: Fields) -> int | None:
    name = next((name for name in ("system_modstamp", "last_modified_date") if row.has(name)), None)
    return None if name is None else milliseconds(stamp_of(row, name))


_HANDLERS = {
    "opportunity": _opportunity,
    "quote": _quote,
    "sbqq_quote": _quote,
    "order": _order,
    "account": _account_row,
}
