"""Does the ledger say what the document says?"""

from typing import Any

import pytest

from tests.scenarios.books import Row, applied, check, invoice, payment, posting, reversal, tell, void

PAID = (payment("120.00", "1d"), applied("120.00", "1d+1h"))
EUR = {"currency": "EUR", "rate": "0.920000", "rate_direction": "document_per_base", "base_currency": "USD"}
PAID_EUR = (payment("120.00", currency="EUR"), applied("120.00", currency="EUR"))


def in_base(*lines: tuple[str, int]) -> Any:
    """A posting in base currency alone, line by line."""
    return tell(
        "posting.recorded", "je_1", "1m", system="erp", ledger="main", document_type="invoice", posting_kind="document",
        base_currency="USD", lines=[{"role": role, "base_minor": amount_minor} for role, amount_minor in lines],
    )  # fmt: skip


ROWS = (
    # Amount.
    Row("less booked than invoiced", (invoice("120.00"), posting("115.00")), "1h", "break", "amount", "5.00",
        controls={"amount": "fail", "balance": "pass"}),
    Row("more booked than invoiced", (invoice("120.00"), posting("121.00")), "1h", "break", "amount", "1.00"),
    Row("a cent off, and policy tolerates none", (invoice("120.00"), posting("120.01")), "1h", "break", "amount", "0.01"),
    Row("a cent off, and policy tolerates one", (invoice("120.00"), posting("120.01"), payment("120.00"), applied("120.00")), "40d", "ok",
        policy="[tolerance]\namount_minor = 1"),
    Row("booked in two parts", (invoice("120.00"), posting("100.00"), posting("20.00", "2m", document="je_2"), *PAID), "40d", "ok"),
    Row("booked the wrong way round", (invoice("120.00"), posting("-120.00")), "1h", "break", "amount", "240.00"),
    Row("a purchase sits on payables", (invoice("120.00", direction="purchase"), posting("120.00", role="payable"), *PAID), "40d", "ok"),
    Row("a purchase booked wrong", (invoice("120.00", direction="purchase"), posting("100.00", role="payable")), "1h", "break",
        "amount", "20.00"),
    Row("yen have no decimals", (invoice("12000", currency="JPY"), posting("12000", currency="JPY", base_currency="JPY"),
        payment("12000", currency="JPY"), applied("12000", currency="JPY")), "40d", "ok"),
    Row("no line says receivable: not assessed, so never ok", (invoice("120.00"), posting("120.00", role="asset"), *PAID), "40d",
        "pending", controls={"amount": "not_assessed"}),
    Row("amended, and the ledger has not followed yet", (invoice("120.00"), posting("120.00"),
        invoice("150.00", "1d", event="invoice.amended")), "1d+10m", "pending", next_deadline="1d+15m"),
    Row("amended, and the ledger never followed", (invoice("120.00"), posting("120.00"),
        invoice("150.00", "1d", event="invoice.amended")), "1d+20m", "break", "amount", "30.00"),
    Row("amended, and booked anew", (invoice("120.00"), posting("120.00"), invoice("150.00", "1d", event="invoice.amended"),
        posting("30.00", "1d+5m", document="je_2"), payment("150.00"), applied("150.00")), "40d", "ok"),
    Row("the higher version stands, whichever came last", (invoice("150.00", "0", version=2, id="billing:in_1:v2"),
        invoice("120.00", "1h", version=1, id="billing:in_1:v1"), posting("150.00"), payment("150.00"), applied("150.00")), "40d", "ok"),
    Row("nothing to pay: a line and what is taken off it again, and none on the receivable", (invoice("0"),
        in_base(("revenue", -12000), ("revenue", 12000))), "40d", "ok", controls={"amount": "pass"}),
    # Balance.
    Row("debits are not credits", (invoice("120.00"), posting("120.00", rest="100.00")), "1h", "break", "amount", "20.00",
        controls={"balance": "fail", "amount": "pass"}),
    Row("debits are not credits in base currency: exposed in the document's", (invoice("120.00", **EUR),
        posting("130.43", currency=None, rest="107.43")), "1h", "break", "amount", "21.16"),
    Row("unbalanced because the receivable is wrong: one cause, one break", (invoice("120.00"), posting("110.00", rest="120.00")), "1h",
        "break", "amount", "10.00", controls={"balance": "fail", "amount": "fail"}),
    # Tax.
    Row("tax agrees", (invoice("120.00", tax="20.00"), posting("120.00", tax="20.00"), *PAID), "40d", "ok", controls={"tax": "pass"}),
    Row("tax booked as revenue in part", (invoice("120.00", tax="20.00"), posting("120.00", tax="19.00")), "1h", "break", "tax", "1.00",
        controls={"amount": "pass"}),
    Row("the tax is short and with it the total: one cause, one break", (invoice("120.00", tax="20.00"), posting("119.00", tax="19.00")),
        "1h", "break", "tax", "1.00", controls={"amount": "not_assessed"}),
    Row("the amount is wrong and its tax with it: one cause, one break", (invoice("120.00", tax="20.00"), posting("60.00", tax="10.00")),
        "1h", "break", "amount", "60.00", controls={"tax": "not_assessed"}),
    Row("nothing said about tax is not tax passed", (invoice("120.00"), posting("120.00"), *PAID), "40d", "ok", controls={"tax": "not_assessed"}),
    Row("nothing said about tax, and policy makes it mandatory", (invoice("120.00"), posting("120.00"), *PAID), "40d", "pending",
        policy='[mandatory]\ninvoice = ["amount", "tax"]'),
    Row("tax on the invoice, no line marked as tax in the ledger", (invoice("120.00", tax="20.00"), posting("120.00"), *PAID), "40d", "ok",
        controls={"tax": "not_assessed"}),
    Row("tax-free on both sides", (invoice("120.00", tax="0"), posting("120.00"), *PAID), "40d", "ok", controls={"tax": "pass"}),
    Row("the invoice's own tax lines do not add up", (invoice("120.00", tax="20.00", tax_lines=[{"amount_minor": 1900}]), posting("120.00")),
        "1h", "break", "tax", "1.00"),
    Row("tax lines without a tax total", (invoice("120.00", tax_lines=[{"amount_minor": 1500}, {"amount_minor": 500}]),
        posting("120.00", tax="20.00"), *PAID), "40d", "ok", controls={"tax": "pass"}),
    # Currency.
    Row("booked in another currency", (invoice("120.00"), posting("120.00", currency="EUR", base="130.00")), "1h", "break", "currency", "120.00",
        controls={"amount": "not_assessed"}),
    Row("booked in another currency, taken back and booked right", (invoice("120.00"), posting("120.00", currency="EUR"),
        reversal("120.00", "1h", currency="EUR"), posting("120.00", "1h", document="je_2"), *PAID), "40d", "ok",
        controls={"currency": "pass"}),
    Row("booked in another currency and taken back", (invoice("120.00"), posting("120.00", currency="EUR"),
        reversal("120.00", "1h", currency="EUR")), "1d+1h", "break", "missing_posting", controls={"currency": "pass"}),
    Row("only half of it taken back in the other currency", (invoice("120.00"), posting("120.00", currency="EUR"),
        posting("-60.00", "1h", currency="EUR", document="je_2")), "2h", "break", "currency"),
    Row("amended to another currency, and the ledger has not followed yet", (invoice("120.00"), posting("120.00"),
        invoice("120.00", "1d", currency="EUR", event="invoice.amended")), "1d+10m", "pending", next_deadline="1d+15m",
        controls={"currency": "not_assessed", "amount": "not_assessed"}),
    Row("amended to another currency, and the ledger never followed", (invoice("120.00"), posting("120.00"),
        invoice("120.00", "1d", currency="EUR", event="invoice.amended")), "1d+15m", "break", "currency"),
    Row("another base currency than the document's", (invoice("120.00", **EUR), posting("120.00", currency="EUR", base_currency="GBP", base="104.35")),
        "1h", "break", "currency"),
    Row("paid in another currency, and its application says at what", (invoice("120.00"), posting("120.00"), payment("110.00", currency="EUR"),
        applied("120.00", from_currency="EUR", from_amount_minor=11000)), "40d", "ok", controls={"currency": "pass"}),
    Row("paid in another currency, waiting for the application", (invoice("120.00"), posting("120.00"), payment("110.00", currency="EUR")),
        "1d+1h", "pending"),
    Row("paid in another currency, and never applied", (invoice("120.00"), posting("120.00"), payment("110.00", currency="EUR")),
        "4d", "break", "missing_application", "120.00"),
    Row("paid in another currency where nothing applies", (invoice("120.00"), posting("120.00"), payment("120.00", currency="EUR")),
        "2d", "break", "currency", "120.00", policy="[expect.billing]\napplication = false"),
    Row("tax in base currency: that of three lines was rounded on each", (invoice("120.00", tax="20.00", **EUR), in_base(("receivable", 13043),
        ("revenue", -3621), ("revenue", -3623), ("revenue", -3623), ("tax", -2176)), *PAID_EUR), "40d", "ok", controls={"tax": "pass"}),
    Row("tax in base currency: of one line, two cents are no rounding", (invoice("120.00", tax="20.00", **EUR), in_base(("receivable", 13043),
        ("revenue", -10867), ("tax", -2176))), "1h", "break", "tax", "0.02"),
    # FX.
    Row("base amount is total / rate", (invoice("120.00", **EUR), posting("120.00", currency="EUR", base="130.43"), *PAID_EUR), "40d", "ok",
        controls={"fx": "pass", "amount": "pass"}),
    Row("base amount is total * rate where the rate says so", (invoice("120.00", **(EUR | {"rate": "1.0870", "rate_direction": "base_per_document"})),
        posting("120.00", currency="EUR", base="130.44"), *PAID_EUR), "40d", "ok", controls={"fx": "pass"}),
    Row("a cent of rounding", (invoice("120.00", **EUR), posting("120.00", currency="EUR", base="130.44"), *PAID_EUR), "40d", "ok"),
    Row("booked at yesterday's rate", (invoice("120.00", **EUR), posting("120.00", currency="EUR", base="131.10")), "1h", "break", "fx", "0.62",
        controls={"amount": "pass", "fx": "fail"}),
    Row("a large amount: the rate's printed decimals leave 4 cents open", (invoice("100000.00", **(EUR | {"rate": "0.745556"})),
        posting("100000.00", currency="EUR", base="134128.09"), payment("100000.00", currency="EUR"), applied("100000.00", currency="EUR")), "40d", "ok"),
    Row("ledger holds base amounts only", (invoice("120.00", **EUR), posting("130.43", currency=None), *PAID_EUR), "40d", "ok",
        controls={"amount": "not_applicable", "fx": "pass"}),
    Row("ledger holds base amounts only, and wrong ones", (invoice("120.00", **EUR), posting("120.00", currency=None)), "1h", "break", "fx", "9.60"),
    Row("base amounts only, booked twice", (invoice("120.00", **EUR), posting("130.43", currency=None), posting("130.44", "2m", currency=None, document="je_2")),
        "1h", "break", "duplicate_posting", "120.00"),
    Row("base amounts only, void not reversed", (invoice("120.00", **EUR), posting("130.43", currency=None), void("1h")), "1d", "break", "missing_reversal"),
    Row("base amounts only, void reversed", (invoice("120.00", **EUR), posting("130.43", currency=None), void("1h"),
        reversal("130.43", "2h", currency=None)), "1d", "ok"),
    Row("base amounts only, and no rate: not assessed, so never ok", (invoice("120.00", currency="EUR"), posting("130.43", currency=None), *PAID_EUR), "40d",
        "pending", controls={"fx": "not_assessed"}),
    Row("document amounts agree, no base amounts: not assessed", (invoice("120.00", **EUR), posting("120.00", currency="EUR"), *PAID_EUR), "40d", "pending",
        controls={"amount": "pass", "fx": "not_assessed"}),
    Row("the document's own base total where it has no rate", (invoice("120.00", currency="EUR", base_total_minor=13043, base_currency="USD"),
        posting("120.00", currency="EUR", base="130.43"), *PAID_EUR), "40d", "ok", controls={"fx": "pass"}),
    Row("one currency on both sides", (invoice("120.00"), posting("120.00"), *PAID), "40d", "ok", controls={"fx": "not_applicable"}),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_amount(row: Row) -> None:
    check(row)
