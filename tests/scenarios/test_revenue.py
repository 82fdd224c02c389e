"""Revenue over its service, and periods that are closed.

The invoice: 360.00 and tax 72.00 for March to May 2026, 120.00 of revenue a month. Months close ten days after their end.
"""

from typing import Any

import pytest

from canonical.events import Event
from canonical.ids import period_key
from tests.scenarios.books import Row, applied, check, invoice, payment, posting, reversal, tell, void
from tests.scenarios.test_effects import told

MARCH = period_key("acme-us", "main", 2026, 3)
ENDS = {"3": "31", "4": "30", "5": "31", "6": "30"}
SERVICE = {"start": "2026-03-01", "end": "2026-05-31"}


def month(number: str) -> dict[str, str]:
    return {"start": f"2026-0{number}-01", "end": f"2026-0{number}-{ENDS[number]}"}


def sold(**more: Any) -> tuple[Event, ...]:
    more = {"tax": "72.00", "service_period": SERVICE, "accounting_date": "2026-03-01"} | more
    return (invoice("432.00", **more), posting("432.00", tax="72.00", rest_role="deferred", accounting_date="2026-03-01"),
        payment("432.00"), applied("432.00"))  # fmt: skip


def schedule(
    *parts: tuple[str, int], total: int | None = None, at: str = "5m", document: str = "rs_1", **more: Any
) -> Event:
    bills = [{"due_on": month(n)["end"], "total_minor": minor, "period": month(n)} for n, minor in parts]
    stated = {
        "ledger": "main",
        "currency": "USD",
        "total_minor": sum(minor for _, minor in parts) if total is None else total,
    }
    return tell("revenue_schedule.set", document, at, system="erp", bills=bills, **(stated | more))


def recognised(number: str, minor: int = 12_000, at: str = "31d", **more: Any) -> Event:
    stated = {"ledger": "main", "currency": "USD", "period": month(number)} | more
    return tell(
        "revenue.recognised", stated.pop("document", f"rr_{number}"), at, system="erp", amount_minor=minor, **stated
    )


CLOSES = "[cutoff]\ncloses_periods = true"
FIFTH_DAY = """[cutoff]
closes_periods = true
calendar = "berlin"
grace_days = 5
[calendars.berlin]
kind = "business"
zone = "Europe/Berlin"
weekend = ["saturday", "sunday"]
holidays = [2026-04-03, 2026-04-06]
"""

BILLED = sold()[:2]
EVENLY = schedule(("3", 12_000), ("4", 12_000), ("5", 12_000))
ALL = (recognised("3"), recognised("4", at="61d"), recognised("5", at="92d"))
MEMO = tell("credit_memo.issued", "cn_1", "2d", currency="USD", total_minor=14_400, tax_minor=2_400, direction="sales")
REDUCED = schedule(("3", 8_000), ("4", 8_000), ("5", 8_000), at="2d+5m", version=2, id="erp:rs_1:2")


def closed(at: str = "35d", *, document: str = "2026-03", **more: Any) -> Event:
    return tell("period.closed", document, at, case=MARCH, system="erp", ledger="main", period=month("3"), **more)


def booked(at: str, on: str = "2026-03-30", total: str = "120.00") -> tuple[Event, ...]:
    return told(posting(total, at, accounting_date=on), to=MARCH)


ROWS = (
    Row("no schedule: nothing to assess", sold(), "120d", "ok", controls={"revenue_schedule": "not_applicable"}),
    Row("scheduled over three months, recognised over three months", (*sold(), EVENLY, *ALL), "120d", "ok", controls={"revenue_schedule": "pass"}),
    Row("the first month is recognised, the others are not due", (*sold(), EVENLY, ALL[0]), "45d", "pending", next_deadline="70d+12h"),
    Row("March was not recognised by its close", (*sold(), EVENLY), "41d", "break", "revenue_schedule", "120.00"),
    Row("March is not recognised, and its close has not come", (*sold(), EVENLY), "39d", "pending"),
    Row("March is not recognised, and the ledger's feed is behind", (*sold(), EVENLY), "41d", "pending", behind={"erp": "30d"}),
    Row("March was recognised with April", (*sold(), EVENLY, recognised("4", 24_000, "61d"), ALL[2]), "120d", "ok"),
    Row("recognition is not told by this system", (*sold(), EVENLY), "120d", "ok", policy="[expect.billing]\nrecognition = false"),
    Row("scheduled with its tax", (*sold(), schedule(("3", 14_400), ("4", 14_400), ("5", 14_400)), *ALL), "45d", "break", "revenue_schedule", "72.00"),
    Row("a month is missing from the schedule", (*sold(), schedule(("3", 12_000), ("4", 12_000)), *ALL[:2]), "70d", "break", "revenue_schedule", "120.00"),
    Row("the schedule is not the sum of its parts", (*sold(), schedule(("3", 12_000), ("4", 12_000), total=36_000)), "1d+3h", "break", "revenue_schedule", "120.00"),
    Row("scheduled a month beyond the service", (*sold(), schedule(("4", 12_000), ("5", 12_000), ("6", 12_000))), "1d+3h", "break", "revenue_schedule", "120.00"),
    Row("two obligations, each with a schedule", (*sold(), schedule(("3", 6_000), ("4", 6_000), ("5", 6_000)),
        schedule(("3", 6_000), ("4", 6_000), ("5", 6_000), document="rs_2"), *ALL), "120d", "ok"),
    Row("all of it recognised in the first month", (*sold(), EVENLY, recognised("3", 36_000)), "45d", "break", "revenue_schedule", "240.00"),
    Row("recognised twice", (*sold(), EVENLY, *ALL, recognised("5", document="rr_5b", at="92d")), "120d", "break", "revenue_schedule", "120.00"),
    Row("recognised, and no schedule was told: not assessed, so never ok", (*sold(), *ALL), "120d", "pending", controls={"revenue_schedule": "not_assessed"}),
    # Changes.
    Row("amended, and the schedule has not followed yet", (*BILLED, EVENLY, invoice("360.00", "2d", tax="60.00", event="invoice.amended", service_period=SERVICE)),
        "2d+10m", "pending", controls={"revenue_schedule": "not_assessed"}),
    Row("credited in part, and the schedule never followed", (*BILLED, EVENLY, MEMO), "2d+20m", "break", "revenue_schedule", "120.00"),
    Row("credited in part, and scheduled anew", (*BILLED, EVENLY, MEMO, REDUCED, payment("288.00"), applied("288.00"),
        recognised("3", 8_000), recognised("4", 8_000), recognised("5", 8_000)), "120d", "ok"),
    Row("void, and its revenue still scheduled", (invoice("432.00", tax="72.00"), EVENLY, void("1h")), "2d", "break", "revenue_schedule", "360.00"),
    Row("void, and its schedule emptied", (invoice("432.00", tax="72.00"), EVENLY, void("1h"), schedule(total=0, at="2h", version=2, id="erp:rs_1:2")), "2d", "ok"),
    Row("scheduled in the ledger's currency at the document's rate", (
        invoice("432.00", tax="72.00", currency="EUR", rate="0.920000", rate_direction="document_per_base", base_currency="USD"),
        posting("432.00", currency="EUR", base="469.57"), payment("432.00", currency="EUR"), applied("432.00", currency="EUR"),
        schedule(("3", 13_043), ("4", 13_044), ("5", 13_043)), recognised("3", 13_043), recognised("4", 13_044), recognised("5", 13_043)), "120d", "ok",
        controls={"revenue_schedule": "pass"}),
    Row("scheduled in the ledger's currency at another rate", (
        invoice("432.00", tax="72.00", currency="EUR", rate="0.920000", rate_direction="document_per_base", base_currency="USD"),
        posting("432.00", currency="EUR", base="469.57"), schedule(("3", 13_000), ("4", 13_000), ("5", 13_000))), "1h", "break", "revenue_schedule"),
    # Closed periods: entries booked into March after its end are told to the case of March.
    Row("March closed on 5 April, an entry of 3 April before it", (closed(), *booked("33d")), "60d", "ok", controls={"closed_period": "pass"}),
    Row("an entry of 10 April in a March closed on 5 April", (closed(), *booked("40d")), "60d", "break", "closed_period", "120.00"),
    Row("reopened for it, and closed again", (closed(), tell("period.reopened", "2026-03:r", "39d", case=MARCH, system="erp", ledger="main", period=month("3")),
        closed("41d", id="erp:2026-03:closed:2"), *booked("40d")), "60d", "ok"),
    Row("reopened and closed again, and an entry from before the reopening", (closed(), tell("period.reopened", "2026-03:r", "39d", case=MARCH, system="erp",
        ledger="main", period=month("3")), closed("41d", id="erp:2026-03:closed:2"), *booked("38d")), "60d", "break", "closed_period", "120.00"),
    Row("reopened, closed again, and booked after that", (closed(), tell("period.reopened", "2026-03:r", "39d", case=MARCH, system="erp", ledger="main",
        period=month("3")), closed("41d", id="erp:2026-03:closed:2", document="2026-03:2"), *booked("42d")), "60d", "break", "closed_period", "120.00"),
    Row("booked into a March whose close was signed", (tell("close.signed", "close-2026-03", "37d", case=MARCH, system="people", ledger="main", period=month("3"), actor="ann",
        cutoff="2026-04-06T00:00:00Z"), *booked("40d")), "60d", "break", "closed_period", "120.00"),
    Row("taken back in a closed March", (closed(), *told(posting("120.00"), reversal("120.00", "40d", accounting_date="2026-03-30"), to=MARCH)), "60d", "break",
        "closed_period", "120.00"),
    Row("booked late into a March that nobody closed", booked("40d"), "60d", "ok", controls={"closed_period": "not_applicable"}),
    # Closed by policy's calendar: ten days after the month, or on its fifth working day (Easter between) in Berlin.
    Row("booked into March on 11 April, whose grace days close it", booked("41d"), "60d", "break", "closed_period", "120.00", policy=CLOSES, owner="finance"),
    Row("booked into March on 10 April, inside its grace days", booked("40d"), "60d", "ok", policy=CLOSES, controls={"closed_period": "pass"}),
    Row("booked on 10 April into a March that closes on its fifth working day", booked("40d"), "60d", "break", "closed_period", "120.00", policy=FIFTH_DAY),
    Row("booked on 9 April, its fifth working day", booked("39d"), "60d", "ok", policy=FIFTH_DAY, controls={"closed_period": "pass"}),
    Row("a sister company's calendar closes nothing here", booked("41d"), "60d", "ok",
        policy="[cutoff.entities.acme-de]\ncloses_periods = true", controls={"closed_period": "not_applicable"}),
    Row("closed by its calendar, and reopened for the entry", (tell("period.reopened", "2026-03:r", "41d", case=MARCH, system="erp", ledger="main", period=month("3")),
        *booked("42d")), "60d", "ok", policy=CLOSES),
    Row("closed early, reopened, and closed by its calendar", (closed(), tell("period.reopened", "2026-03:r", "36d", case=MARCH, system="erp", ledger="main",
        period=month("3")), *booked("42d")), "60d", "break", "closed_period", "120.00", policy=CLOSES),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_revenue(row: Row) -> None:
    check(row)


def test_what_is_booked_in_its_own_month_is_told_to_nobody() -> None:
    assert told(posting("120.00", accounting_date="2026-03-01"), to=MARCH) == ()
