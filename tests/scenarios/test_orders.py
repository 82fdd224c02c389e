"""An order's life: what was quoted, started, scheduled and billed, and what was billed twice.

Invoices tell their order what they bill it, as a live stream tells it: `bill(...)` is what reached the order's case.
"""

from typing import Any

import msgspec
import pytest

from canonical.events import Event
from canonical.ids import natural_key
from matching.policy import load
from streams.batch import reconcile
from tests.scenarios.books import ORDER, Row, after, check, invoice, quote, subscription, tell, void
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


def turn(at: str, event: str, **more: Any) -> Event:
    return subscription(at, f"subscription.{event}", id=f"billing:sub_1:{event}:{at}", **more)


def billed(*months: int) -> tuple[Event, ...]:
    return tuple(fact for month in months for fact in bill(month))


SEVEN = schedule(*["100.00"] * 7)  # March to September; the seventh is due on day 184
LATE = "190d"


def credited(total: str) -> tuple[Event, ...]:
    """A credit memo on the first bill, which names the order too."""
    return told(tell("credit_memo.issued", "cn_1", "1d", case="credit:acme-us:billing:CN-1", currency="USD",
        total_minor=round(float(total) * 100), direction="sales", invoice_id="in_0", order_key=ORDER), to=ORDER)  # fmt: skip


SCHEDULES = (
    Row("credited in part, and still billed", (*SOLD, schedule("100.00"), *billed(0), *credited("40.00")), "9d", "ok",
        controls={"missing_invoice": "pass"}),
    Row("credited in full, and not billed again", (*SOLD, schedule("100.00"), *billed(0), *credited("100.00")), "9d", "break",
        "missing_invoice", "100.00"),
    Row("credited in full, and billed again", (*SOLD, schedule("100.00"), *billed(0), *credited("100.00"), *bill(0, document="in_x", reason="rebill")),
        "9d", "ok", controls={"missing_invoice": "pass", "duplicate_period": "pass"}),
    Row("row 8: month 7 was never billed", (*SOLD, SEVEN, *billed(0, 1, 2, 3, 4, 5)), LATE, "break", "missing_invoice", "100.00",
        hops={"subscription_to_invoice": "missing"}, owner="finance"),
    Row("row 8: month 7 was never billed, the subscription is paused", (*SOLD, SEVEN, *billed(0, 1, 2, 3, 4, 5), turn("170d", "paused")), LATE,
        "ok", controls={"missing_invoice": "pass"}),
    Row("all seven were billed", (*SOLD, SEVEN, *billed(0, 1, 2, 3, 4, 5, 6)), LATE, "ok", hops={"subscription_to_invoice": "met"},
        controls={"missing_invoice": "pass"}),
    Row("the next month is not due yet", (*SOLD, SEVEN, *billed(0)), "20d", "pending", hops={"subscription_to_invoice": "waiting"},
        next_deadline="31d+12h"),
    Row("a day after it was due", (*SOLD, SEVEN, *billed(0)), "32d", "break", "sla", hops={"subscription_to_invoice": "late"}),
    Row("three days after it was due", (*SOLD, SEVEN, *billed(0)), "34d", "break", "missing_invoice", "100.00"),
    Row("a hole in the middle", (*SOLD, SEVEN, *billed(0, 1, 3, 4, 5, 6)), LATE, "break", "missing_invoice", "100.00"),
    Row("two months never billed", (*SOLD, SEVEN, *billed(0, 1, 2, 3, 4)), LATE, "break", "missing_invoice", "200.00"),
    Row("billed and voided", (*SOLD, schedule("100.00"), *bill(0, voided=True)), "9d", "break", "missing_invoice", "100.00"),
    Row("voided, and billed anew", (*SOLD, schedule("100.00"), *bill(0, voided=True), *bill(0, document="in_x")), "9d", "ok"),
    Row("resumed in June, and June was not billed", (*SOLD, SEVEN, *billed(0, 4, 5, 6), turn("20d", "paused"), turn("90d", "resumed")), LATE,
        "break", "missing_invoice", "100.00"),
    Row("resumed in June, and billed from June on", (*SOLD, SEVEN, *billed(0, 3, 4, 5, 6), turn("20d", "paused"), turn("90d", "resumed")), LATE,
        "ok", controls={"missing_invoice": "pass"}),
    Row("a pause of April and May alone", (*SOLD, SEVEN, *billed(0, 3, 4, 5, 6), turn("20d", "paused", period=days(1, 2))), LATE, "ok"),
    Row("cancelled at the end of May", (*SOLD, SEVEN, *billed(0, 1, 2), turn("90d", "cancelled")), LATE, "ok"),
    Row("cancelled in May, which was never billed", (*SOLD, SEVEN, *billed(0, 1), turn("70d", "cancelled")), LATE, "break", "missing_invoice", "100.00"),
    Row("renewed after it was cancelled, and not billed", (*SOLD, SEVEN, *billed(0, 1, 2, 3, 4), turn("90d", "cancelled"), turn("150d", "renewed")), LATE,
        "break", "missing_invoice", "200.00"),
    Row("amended: the schedule ends in June", (*SOLD, SEVEN, schedule(*["100.00"] * 4, at="90d", id="billing:bs_1:2"), *billed(0, 1, 2, 3)), LATE, "ok"),
    Row("amended: the price rises in June, and the old one was billed", (*SOLD, SEVEN,
        schedule("100.00", "100.00", "100.00", "120.00", at="90d", id="billing:bs_1:2"), *billed(0, 1, 2, 3)), LATE, "break", "quote_mismatch", "20.00"),
    Row("usage alone was billed for the month", (*SOLD, schedule("100.00"), *bill(0, "30.00", reason="usage")), "9d", "break", "missing_invoice", "100.00"),
    Row("a subscription without a quote", (subscription("0"), schedule("100.00")), "9d", "break", "missing_invoice", "100.00"),
    Row("billing's feed is behind", (*SOLD, schedule("100.00")), "9d", "pending", hops={"subscription_to_invoice": "unproven"},
        behind={"billing": "1h"}),
    Row("a schedule without a bill", (*SOLD, schedule()), "9d", "ok", controls={"missing_invoice": "not_applicable"}),
    Row("a bill that is due never, as some systems write it", (*SOLD, tell("billing_schedule.set", "bs_1", "0", case=ORDER, currency="USD",
        bills=[{"due_on": "9999-12-31", "total_minor": 10_000}])), "9d", "pending", hops={"subscription_to_invoice": "waiting"}),
    Row("nothing is due in a month given free", (*SOLD, schedule("100.00", "0"), *billed(0)), "60d", "ok"),
)  # fmt: skip


UPGRADED = (
    quote("310.00"),
    subscription("0", total_minor=31_000, currency="USD"),
    turn("15d", "amended", total_minor=62_000),
)
DAILY = '[expect.billing]\nproration = "daily"'


def rest_of_march(total: str) -> tuple[Event, ...]:
    return bill(0, total, "in_p", reason="proration", service_period={"start": "2026-03-16", "end": "2026-03-31"})


UPGRADES = (
    Row("an upgrade on 16 March: 16 of 31 days of 310.00 more", (*UPGRADED, *bill(0, "310.00"), *rest_of_march("160.00")), "30d", "ok",
        controls={"proration": "pass"}, policy=DAILY),
    Row("an upgrade charged for the whole month", (*UPGRADED, *bill(0, "310.00"), *rest_of_march("310.00")), "30d", "break", "proration", "150.00",
        policy=DAILY),
    Row("an upgrade, and nobody declares how it is prorated", (*UPGRADED, *bill(0, "310.00"), *rest_of_march("310.00")), "30d", "ok",
        controls={"proration": "not_assessed"}),
    Row("an upgrade that waits for the next bill", (*UPGRADED, *bill(0, "310.00")), "30d", "ok", controls={"proration": "not_applicable"},
        policy=DAILY),
)  # fmt: skip


def used(month: int, total: str, document: str = "us_1", **more: Any) -> Event:
    data = {"currency": "USD", "total_minor": round(float(total) * 100), "period": days(month)} | more
    return tell("usage.rated", document, f"{30 * month + 30}d", case=ORDER, **data)


def usage_bill(month: int, total: str, document: str = "in_u", **more: Any) -> tuple[Event, ...]:
    return bill(month, total, document, **{"reason": "usage"} | more)


TOLD_USAGE = told(tell("usage.rated", "us_1", "30d", case="index:acme-us:meter:us_1", currency="USD", total_minor=3_000, period=days(0),
    order_key=ORDER), to=ORDER)  # fmt: skip
MIXED = [{"amount_minor": 10_000}, {"amount_minor": 3_000, "reason": "usage", "period": days(0)}]

USAGE = (
    Row("usage billed as it was rated", (*SOLD, used(0, "30.00"), *usage_bill(0, "30.00")), "60d", "ok",
        controls={"usage": "pass", "unbilled_usage": "pass"}),
    Row("two ratings on one bill, taxed", (*SOLD, used(0, "30.00"), used(0, "12.00", "us_2"), *usage_bill(0, "50.40", tax="8.40")), "60d", "ok",
        controls={"usage": "pass", "unbilled_usage": "pass"}),
    Row("last month's usage on this month's bill", (*SOLD, *bill(0), TOLD_USAGE[0], *bill(1, "130.00", lines=MIXED)), "60d", "ok",
        controls={"usage": "pass", "unbilled_usage": "pass"}),
    Row("billed 5.00 less than it was rated", (*SOLD, used(0, "30.00"), *usage_bill(0, "25.00")), "60d", "break", "usage", "5.00"),
    Row("billed 5.00 more than it was rated", (*SOLD, used(0, "30.00"), *usage_bill(0, "35.00")), "60d", "break", "usage", "5.00"),
    Row("billed at another amount an hour ago", (*SOLD, used(0, "30.00"), *usage_bill(0, "25.00")), "30d+1h", "pending", controls={"usage": "not_assessed"}),
    Row("rated again: the higher version holds", (*SOLD, used(0, "30.00", version=1), used(0, "25.00", version=2, id="meter:us_1:2"),
        *usage_bill(0, "25.00")), "60d", "ok", controls={"usage": "pass"}),
    Row("used and never billed", (*SOLD, used(0, "30.00")), "60d", "break", "unbilled_usage", "30.00"),
    Row("used in two months, one of them billed", (*SOLD, used(0, "30.00"), used(1, "20.00", "us_2"), *usage_bill(0, "30.00")), "90d", "break",
        "unbilled_usage", "20.00"),
    Row("used, and the bill is not due", (*SOLD, used(0, "30.00")), "31d", "pending", controls={"unbilled_usage": "not_assessed"}),
    Row("its bill was voided", (*SOLD, used(0, "30.00"), *usage_bill(0, "30.00", voided=True)), "60d", "break", "unbilled_usage", "30.00"),
    Row("billed, and nobody sent what was rated", (*SOLD, *usage_bill(0, "30.00")), "60d", "ok", controls={"usage": "not_applicable"}),
)  # fmt: skip


@pytest.mark.parametrize("row", (*QUOTES, *PERIODS, *NATURAL, *SCHEDULES, *UPGRADES, *USAGE), ids=lambda row: row.what)
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


def test_files_tell_an_order_what_its_invoices_bill() -> None:
    facts = [*SOLD, SEVEN, *(issued(month) for month in (0, 1, 2, 3, 4, 5)), issued(5, document="in_x")]
    lines = [msgspec.json.encode(fact) for fact in facts]
    verdicts = map(msgspec.json.decode, reconcile(lines, load(None), after(LATE)))
    order = next(verdict for verdict in verdicts if verdict["correlation_id"] == ORDER)
    assert [found["class"] for found in order["breaks"]] == ["duplicate_period", "missing_invoice"]
