"""Credits, rebills and prorated lines: what is taken back, what stands in its place, what a part of a period costs."""

from typing import Any

import pytest

from canonical.events import Event
from tests.scenarios.books import INVOICE, Row, applied, check, invoice, payment, posting, tell
from tests.scenarios.test_effects import CREDIT, told

REBILL = "invoice:acme-us:billing:INV-2"
SOLD = (invoice("120.00", tax="20.00"), posting("120.00", tax="20.00"))


def credit(
    total: str, at: str = "2d", *, tax: str | None = "20.00", document: str = "cn_1", **more: Any
) -> tuple[Event, ...]:
    """A credit memo with a case of its own, as the invoice's case is told of it."""
    data = {"currency": "USD", "total_minor": round(float(total) * 100), "direction": "sales", "invoice_key": INVOICE}
    if tax is not None:
        data["tax_minor"] = round(float(tax) * 100)
    return told(tell("credit_memo.issued", document, at, case=CREDIT, **data | more), to=INVOICE)


REBILLED = told(invoice("110.00", "2d", tax="10.00", document="in_2", number="INV-2", case=REBILL, reason="rebill", replaces="in_1",
    replaces_key=INVOICE), to=INVOICE)  # fmt: skip

REBILLS = (
    Row("credited in full and billed again", (*SOLD, *credit("120.00"), *REBILLED), "5d", "ok", controls={"credit_rebill": "pass"}),
    Row("billed again beside an original that still stands", (*SOLD, *REBILLED), "5d", "break", "credit_rebill", "120.00"),
    Row("billed again, and credited in part", (*SOLD, *credit("100.00"), *REBILLED), "5d", "break", "credit_rebill", "20.00"),
    Row("billed again a minute ago", (*SOLD, *REBILLED), "2d+1m", "pending", controls={"credit_rebill": "not_assessed"}),
    Row("billed again, and the original was voided", (*SOLD, tell("invoice.voided", "in_1", "2d"),
        posting("-120.00", "2d", tax="-20.00", event="posting.reversed", reverses="je_1", document="rev_1"), *REBILLED), "5d", "ok",
        controls={"credit_rebill": "pass"}),
    Row("the credit left the tax where it was", (*SOLD, *credit("120.00", tax="0"), *REBILLED), "5d", "break", "credit_rebill", "20.00"),
    Row("the credit left the tax where it was, a minute ago", (*SOLD, *credit("120.00", tax="0"), *REBILLED), "2d+1m", "pending",
        controls={"credit_rebill": "not_assessed"}),
    Row("row 7: credit and rebill with the payment still on the original", (*SOLD, payment("120.00"), applied("120.00"), *credit("120.00"), *REBILLED),
        "9d", "break", "misapplied"),
    Row("row 7: the payment was moved to the rebill", (*SOLD, payment("120.00"), applied("120.00"), *credit("120.00"), *REBILLED,
        payment("120.00", "2d+1h", event="payment.returned"),
        applied("120.00", "2d+1h", event="cash.unapplied", document="ap_2")), "9d", "ok"),
    Row("a partial credit", (*SOLD, *credit("24.00", tax="4.00"), payment("96.00"), applied("96.00")), "9d", "ok", controls={"credit_rebill": "pass"}),
    Row("two credits that exceed the invoice", (*SOLD, *credit("100.00", tax=None), *credit("40.00", tax=None, document="cn_2")), "9d", "break",
        "credit_rebill", "20.00"),
    Row("nothing credited", (*SOLD, payment("120.00"), applied("120.00")), "9d", "ok", controls={"credit_rebill": "not_applicable"}),
)  # fmt: skip

MARCH = {"start": "2026-03-01", "end": "2026-03-31"}
REST = {"start": "2026-03-16", "end": "2026-03-31"}
YEAR = {"start": "2026-01-01", "end": "2026-12-31"}


def line(amount: str, price: str, method: str | None = "daily", part: dict[str, str] | None = REST, whole: dict[str, str] | None = MARCH, **more: Any) -> dict[str, Any]:  # fmt: skip
    terms = {"price_minor": round(float(price) * 100), "method": method, "period": whole} | more
    stated = {"amount_minor": round(float(amount) * 100), "reason": "proration", "period": part}
    return {name: value for name, value in stated.items() if value is not None} | {
        "proration": {name: value for name, value in terms.items() if value is not None}
    }


def prorated(total: str, *lines: dict[str, Any], **more: Any) -> tuple[Event, ...]:
    more = {"reason": "proration", "lines": list(lines) or None} | more
    return (invoice(total, **more), posting(total), payment(total), applied(total))


PRORATIONS = (
    Row("16 of 31 days of 310.00", prorated("160.00", line("160.00", "310.00")), "5d", "ok", controls={"proration": "pass"}),
    Row("an upgrade in mid-month: the old price given back, the new one charged",
        prorated("160.00", line("-160.00", "310.00"), line("320.00", "620.00")), "5d", "ok", controls={"proration": "pass"}),
    Row("a downgrade charged for a day too many", prorated("170.00", line("170.00", "310.00")), "5d", "break", "proration", "10.00"),
    Row("a year's price by months: March to December and half of February",
        prorated("1260.00", line("1260.00", "1440.00", "monthly", {"start": "2026-02-15", "end": "2026-12-31"}, YEAR)), "5d", "ok",
        controls={"proration": "pass"}),
    Row("the same, charged by days", prorated("1262.47", line("1262.47", "1440.00", "monthly", {"start": "2026-02-15", "end": "2026-12-31"}, YEAR)),
        "5d", "break", "proration", "2.47"),
    Row("by seconds: a quarter of the month", prorated("77.50", line("77.50", "310.00", "seconds", seconds=669_600, of_seconds=2_678_400)), "5d", "ok",
        controls={"proration": "pass"}),
    Row("half a cent is rounding", prorated("51.61", line("51.61", "100.00")), "5d", "ok", controls={"proration": "pass"}),
    Row("the method is policy's", prorated("160.00", line("160.00", "310.00", None)), "5d", "ok", controls={"proration": "pass"},
        policy='[expect.billing]\nproration = "daily"'),
    Row("nobody declares the method", prorated("160.00", line("160.00", "310.00", None)), "5d", "ok", controls={"proration": "not_assessed"}),
    Row("prorated, and no line says of what price", prorated("160.00"), "5d", "ok", controls={"proration": "not_assessed"}),
    Row("nothing prorated", prorated("160.00", reason="recurring"), "5d", "ok", controls={"proration": "not_applicable"}),
)  # fmt: skip


@pytest.mark.parametrize("row", (*REBILLS, *PRORATIONS), ids=lambda row: row.what)
def test_rebill(row: Row) -> None:
    check(row)


def test_a_rebill_finds_its_original_where_both_are_named_by_their_documents() -> None:
    again = invoice("110.00", document="in_2", case="invoice:acme-us:stripe:in_2", reason="rebill", replaces="in_1")
    (event,) = told(again, to="invoice:acme-us:stripe:in_1")
    assert (event.data.kind, event.data.replaces) == ("rebill", "in_1")
    by_number = invoice("110.00", document="in_2", case=REBILL, reason="rebill", replaces="in_1")
    assert told(by_number, to="invoice:acme-us:billing:in_1") == ()
