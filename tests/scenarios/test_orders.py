"""An order's life: what was quoted, started, scheduled and billed, and what was billed twice.

Invoices tell their order what they bill it, as a live stream tells it: `bill(...)` is what reached the order's case.
"""

from typing import Any

import pytest

from canonical.events import Event
from canonical.ids import natural_key
from matching.policy import load
from tests.scenarios.books import ORDER, Row, check, invoice, quote, subscription, tell, void
from tests.scenarios.test_effects import told

MONTHS = tuple(
    (f"2026-{month:02d}-01", f"2026-{month:02d}-{last}") for month, last in ((3, 31), (4, 30), (5, 31), (6, 30), (7, 31), (8, 31), (9, 30))
)  # fmt: skip
SAME = natural_key("acme-us", "billing", "sales", "C-1", "V-77")


def days(month: int, count: int = 1) -> dict[str, str]:
    """The service period of the months from the first (0 is March)."""
    return {"start": MONTHS[month][0], "end": MONTHS[month + count - 1][1]}


def schedule(*totals: str, at: str = "0", **more: Any) -> Event:
    """A bill a month from March on, due on the first."""
    bills = [
        {"due_on": MONTHS[month][0], "total_minor": round(float(total) * 100), "period": days(month)}
        for month, total in enumerate(totals)
    ]
    return tell("billing_schedule.set", "bs_1", at, case=ORDER, currency="USD", bills=bills, **more)


def issued(month: int, total: str = "100.00", document: str | None = None, **more: Any) -> Event:
    document = document or f"in_{month}"
    more = {"number": document, "order_key": ORDER, "reason": "recurring", "service_period": days(month)} | more
    return invoice(total, f"{30 * month}d", document=document, case=f"invoice:acme-us:billing:{document}", **more)


def bill(month: int, total: str = "100.00", document: str | None = None, *, voided: bool = False, **more: Any) -> tuple[Event, ...]:  # fmt: skip
    fact = issued(month, total, document, **more)
    ended = (void("1d", fact.data.document_id, case=fact.correlationid),) if voided else ()
    return told(fact, *ended, to=ORDER)


SOLD = (quote("100.00"), subscription("10m", total_minor=10_000, currency="USD"))

QUOTES = (
    Row("sold, started and billed for one amount", (*SOLD, *bill(0)), "2d", "ok", controls={"quote_mismatch": "pass"}),
    Row("billed with tax on top of what was sold", (*SOLD, *bill(0, "120.00", tax="20.00")), "2d", "ok",
        controls={"quote_mismatch": "pass"}),
    Row("the subscription was set up 10.00 cheaper than it was sold",
        (quote("100.00"), subscription("10m", total_minor=9_000, currency="USD")), "2d", "break", "quote_mismatch", "10.00", owner="crm"),
    Row("sold in dollars, set up in euros", (quote("100.00"), subscription("10m", total_minor=10_000, currency="EUR")), "2d", "break",
        "quote_mismatch", "100.00"),
    Row("sold for a year, set up for half of one", (quote("100.00", period={"start": "2026-03-01", "end": "2027-02-28"}),
        subscription("10m", period={"start": "2026-03-01", "end": "2026-08-31"})), "2d", "break", "quote_mismatch", "100.00"),
    Row("a year's price, billed by the month", (quote("1200.00"), subscription("10m", total_minor=10_000)), "2d", "ok",
        controls={"quote_mismatch": "pass"}),
    Row("a half-year's price over a schedule of six months", (quote("600.00"), subscription("10m", total_minor=10_000),
        schedule(*["100.00"] * 6), *bill(0), *bill(1), *bill(2), *bill(3), *bill(4), *bill(5)), "200d", "ok", controls={"quote_mismatch": "pass"}),
    Row("the first bill is short of what was sold", (*SOLD, *bill(0, "80.00")), "2d", "break", "quote_mismatch", "20.00"),
    Row("the first bill holds usage as well", (*SOLD, *bill(0, "130.00", lines=[{"amount_minor": 10_000}, {"amount_minor": 3_000, "reason": "usage"}])),
        "2d", "ok", controls={"quote_mismatch": "pass"}),
    Row("a bill of usage alone is not the first bill", (*SOLD, *bill(0, "30.00", reason="usage")), "2d", "ok", controls={"quote_mismatch": "pass"}),
    Row("March was billed 5.00 short of its schedule", (*SOLD, schedule("100.00"), *bill(0, "95.00")), "2d", "break", "quote_mismatch", "5.00"),
    Row("one bill for three scheduled months", (*SOLD, schedule("100.00", "100.00", "100.00"), *bill(0, "300.00", service_period=days(0, 3))),
        "2d", "ok", controls={"quote_mismatch": "pass"}),
    Row("nothing to compare with", (quote("100.00"), subscription("10m")), "2d", "ok", controls={"quote_mismatch": "not_assessed"}),
)  # fmt: skip

PERIODS = (
    Row("row 3: two ids for one subscription period", (*SOLD, *bill(0), *bill(0, document="in_x")), "2d", "break", "duplicate_period", "100.00"),
    Row("row 3: one invoice by webhook and by backfill", (*SOLD, *bill(0), *bill(0)), "2d", "ok", controls={"duplicate_period": "pass"}),
    Row("the second is the period after", (*SOLD, *bill(0), *bill(1)), "40d", "ok", controls={"duplicate_period": "pass"}),
    Row("three bills of one period", (*SOLD, *bill(0), *bill(0, document="in_x"), *bill(0, document="in_y")), "2d", "break",
        "duplicate_period", "200.00"),
    Row("the one too many was voided", (*SOLD, *bill(0), *bill(0, document="in_x", voided=True)), "2d", "ok", controls={"duplicate_period": "pass"}),
    Row("the second replaces the first", (*SOLD, *bill(0), *bill(0, document="in_x", reason="rebill", replaces="in_0")), "2d", "ok",
        controls={"duplicate_period": "pass"}),
    Row("an upgrade in the period is prorated on a bill of its own", (*SOLD, *bill(0), *bill(0, "20.00", "in_x", reason="proration")), "2d", "ok",
        controls={"duplicate_period": "pass"}),
    Row("another amount, and no word why it was billed", (*SOLD, *bill(0, reason=None), *bill(0, "70.00", "in_x", reason=None)), "2d", "ok",
        controls={"duplicate_period": "pass"}),
    Row("the same amount again, and no word why it was billed", (*SOLD, *bill(0, reason=None), *bill(0, "100.00", "in_x", reason=None)), "2d",
        "break", "duplicate_period", "100.00"),
    Row("bills without a period", (*SOLD, *bill(0, service_period=None)), "2d", "ok", controls={"duplicate_period": "not_applicable"}),
)  # fmt: skip


def supplier(document: str, total: str = "50.00", number: str | None = "V-77", **more: Any) -> Event:
    return invoice(total, document=document, number=number, case=f"invoice:acme-us:billing:{document}", **more)


def same(*facts: Event, key: str = SAME) -> tuple[Event, ...]:
    return told(*facts, to=key)


NO_NUMBER = natural_key("acme-us", "billing", "sales", "C-1", "5000 USD", *MONTHS[0])
NAMELESS = {"number": None, "service_period": days(0)}

NATURAL = (
    Row("one number of one customer under two ids", (*same(supplier("in_1")), *same(supplier("in_2"))), "2d", "break", "duplicate_invoice", "50.00"),
    Row("one number, one document", same(supplier("in_1")), "2d", "ok", controls={"duplicate_invoice": "pass"}),
    Row("the second was voided", (*same(supplier("in_1")), *same(supplier("in_2"), void("1d", "in_2", case="invoice:acme-us:billing:in_2"))),
        "2d", "ok", controls={"duplicate_invoice": "pass"}),
    Row("the second replaces the first", (*same(supplier("in_1")), *same(supplier("in_2", replaces="in_1"))), "2d", "ok",
        controls={"duplicate_invoice": "pass"}),
    Row("no number, and the customer, amount and period are the same", (*same(supplier("in_1", **NAMELESS), key=NO_NUMBER),
        *same(supplier("in_2", **NAMELESS), key=NO_NUMBER)), "2d", "break", "duplicate_invoice", "50.00"),
)  # fmt: skip


@pytest.mark.parametrize("row", (*QUOTES, *PERIODS, *NATURAL), ids=lambda row: row.what)
def test_order(row: Row) -> None:
    check(row)


def test_an_invoice_tells_the_order_of_its_subscription_where_policy_says_that_it_is_named_so() -> None:
    fact = invoice("100.00", case="invoice:acme-us:stripe:in_1", document="in_1", subscription_id="sub_1")
    assert told(fact, to="order:acme-us:stripe:sub_1") != ()
    elsewhere = invoice("100.00", subscription_id="sub_1")
    assert told(elsewhere, to="order:acme-us:billing:sub_1") == ()
    assert load('[expect.billing]\norders = "subscription"').expect["billing"].orders == "subscription"


def test_an_invoice_whose_case_is_named_by_its_number_meets_its_like_there() -> None:
    assert same(supplier("V-77")) == ()
