"""hubspot_tables: a folder of table extracts of HubSpot (sources.joined joins each deal with its companies and its stage).

- deal whose stage is closed as won -> opportunity.won in `order:main:hubspot:<deal_id>`, on its close date, sold to its
  company where it has exactly one. A deal that is open or lost, or says no stage: policy
- company -> customer.changed in `index:main:hubspot:<id>`
- merged deals and contacts: policy; what they were merged into stands and tells itself
- all other tables of HubSpot (e-mail, engagements, tickets, forms, people ...) hold no money that tieout reconciles: policy

A stage is won where the pipeline's table says closed_won; without that table, where the deal itself says so. Money is a
decimal in the deal's own deal_currency_code: where that is empty, an amount is master data missing.
"""

import re
from collections.abc import Iterable

from canonical.dead_letters import DeadLetter
from canonical.events import Event
from sources.cells import amount_of, check_current, day_of, milliseconds, stamp_of
from sources.fields import TRUE, Fields, check_columns, known_currency, label, note, parse, shown
from sources.joined import Join, Layout
from sources.origin import Origin

SYSTEM = "hubspot"
LAYOUT = Layout(
    joins={"deal": {
        "companies": Join("deal_company", ("deal_id",), ("deal_id",)),
        "stage": Join("deal_pipeline_stage", ("stage_id",), ("deal_pipeline_stage_id", "property_dealstage"), one=True),
    }},
    affixes=re.compile(r"^(hubspot|raw|stg)_+|_data(_(databricks|postgres|snowflake|redshift|bigquery))?$"),
    names={"deals": "deal", "companies": "company"},
)  # fmt: skip

_SILENT = (
    "email_", "engagement", "ticket", "contact", "form", "owner", "team", "role", "users", "property", "deal_pipeline",
    "deal_stage", "deal_contact", "company_property_history", "deal_property_history", "calls", "campaign", "list", "product",
)  # fmt: skip


def map_record(body: bytes, traceparent: str | None) -> tuple[Event, ...] | DeadLetter:
    whole = Fields(parse(body), "hubspot_tables")
    check_columns(whole)
    table, row = whole.text_or_none("table") or "", whole.inner("document")
    row.label = f"hubspot {table} {shown(row.values.get('deal_id') or row.values.get('id'))}"
    if table == "merged_deal":
        row.refuse("a merge of deals: the deal it was merged into stands and tells itself", "policy")
    if table == "deal_company":
        row.refuse(f"it ties a company to deal {shown(row.values.get('deal_id'))}, which is not in the folder; extract both at one time")  # fmt: skip
    if table.startswith(_SILENT):
        row.refuse(f"table {table} holds no money that tieout reconciles", "policy")
    if table not in ("deal", "company"):
        row.refuse(f"table {shown(table)} is unknown to this adapter; report it with this record")
    check_current(row, "HubSpot")
    origin = Origin(SYSTEM, "main", traceparent)
    return tuple(_deal(whole, row, origin) if table == "deal" else _company(row, origin))


def key(body: bytes) -> bytes:
    row = parse(body)["document"]
    return str(row.get("deal_id") or row["id"]).encode()


def _deal(whole: Fields, row: Fields, origin: Origin) -> Iterable[Event]:
    if not _is_won(whole, row):
        row.refuse("its stage is not one that is closed as won; it comes in again when it is", "policy")
    ident, currency = row.text("deal_id"), _currency(row)
    companies = {company.text("company_id") for company in whole.items("companies")}
    total_minor = amount_of(row, "property_amount", currency)
    if total_minor < 0:
        row.refuse(f"property_amount is {shown(row.text('property_amount'))}: not what is sold")
    closed = stamp_of(row, "property_closedate")
    data = {
        "version": milliseconds(stamp_of(row, "property_hs_lastmodifieddate")) if row.has("property_hs_lastmodifieddate") else None,
        "accounting_date": day_of(row, "property_closedate"),
        "customer": {"sold_to": companies.pop()} if len(companies) == 1 else None,
        "currency": currency,
        "total_minor": total_minor,
    }  # fmt: skip
    yield origin.tell("opportunity.won", document=ident, subject=label(row.text_or_none("property_dealname")), case=origin.case("order", ident), time=closed, data=data)  # fmt: skip


def _is_won(whole: Fields, row: Fields) -> bool:
    stage = whole.inner("stage")
    stated = stage.text_or_none("closed_won") or row.text_or_none("property_hs_is_closed_won")
    return (stated or "").lower() in TRUE or row.text_or_none("property_dealstage") == "closedwon"


def _currency(row: Fields) -> str:
    code = row.text_or_none("property_deal_currency_code")
    if code is None:
        row.refuse("property_deal_currency_code is empty; the company's own currency is not in these tables", "master_data")  # fmt: skip
    return known_currency(code, row.label)


def _company(row: Fields, origin: Origin) -> Iterable[Event]:
    ident, data = row.text("id"), {"name": note(row.text_or_none("property_name"))}
    names = ("property_hs_lastmodifieddate", "property_createdate", "_fivetran_synced")
    name = next((name for name in names if row.has(name)), "property_createdate")
    yield origin.customer(ident, data, stamp_of(row, name))
