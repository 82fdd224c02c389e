"""Accounts, rounding, tax by code, and applications that have lost one of their ends."""

from typing import Any

import pytest

from canonical.events import Event
from tests.scenarios.books import Row, applied, check, invoice, payment, posting, tell
from tests.scenarios.test_effects import RECEIPT, told

PAID = (payment("120.00", "1d"), applied("120.00", "1d+1h"))


def entry(*lines: tuple[Any, ...], document: str = "je_1", **more: Any) -> Event:
    """An entry line by line: role, amount in cents, tax code."""
    told = [dict(zip(("role", "amount_minor", "tax_code"), line, strict=False)) for line in lines]
    stated = {"ledger": "main", "document_type": "invoice", "posting_kind": "document", "currency": "USD", "base_currency": "USD"}  # fmt: skip
    return tell("posting.recorded", document, "1m", system="erp", lines=told, **(stated | more))


def taxed(amount: int, base: int | None = None, rate: str | None = None, **more: Any) -> dict[str, Any]:
    return {"amount_minor": amount, "base_minor": base, "rate": rate} | more


def lines(*amounts: int) -> list[dict[str, int]]:
    return [{"amount_minor": amount} for amount in amounts]


WRITTEN_OFF = applied("20.00", kind="write_off", document="ap_2")
# Three lines of 0.85 at 19 %: 0.16 each (0.1615) are 0.48, and 2.55 together are 0.4845, 0.48; of 0.87: 0.1653, 0.17 each, 0.51 and 0.50.
THREE = [taxed(17, 87, "19.0", code="S")] * 3
BY_LINE = {"tax": "0.51", "tax_lines": THREE}
PAID_BY_LINE = (payment("3.12"), applied("3.12"))
# One of 20 % and one of 7 %, by code.
TWO_CODES = {"tax": "17.00", "tax_lines": [taxed(1_000, 5_000, "20", code="S"), taxed(700, 10_000, "7", code="R")]}
PAID_TWO_CODES = (payment("167.00"), applied("167.00"))

ROWS = (
    # Rounding.
    Row("billing rounds each of three lines, the ledger the whole: a cent", (invoice("3.12", **BY_LINE), posting("3.11", tax="0.50")), "1h", "break",
        "rounding", "0.01", controls={"amount": "not_assessed", "tax": "not_assessed"}),
    Row("the same cent, and policy tolerates it", (invoice("3.12", **BY_LINE), posting("3.11", tax="0.50"), *PAID_BY_LINE), "40d", "ok",
        policy="[tolerance]\namount_minor = 1\ntax_minor = 1", controls={"rounding": "pass"}),
    Row("two cents are more than rounding explains", (invoice("3.12", **BY_LINE), posting("3.10", tax="0.49")), "1h", "break", "tax", "0.02"),
    Row("the totals agree and the tax is a cent off by rounding", (invoice("3.12", **BY_LINE), posting("3.12", tax="0.50")), "1h", "break", "rounding", "0.01",
        controls={"amount": "pass"}),
    Row("rounded alike", (invoice("3.12", **BY_LINE), posting("3.12", tax="0.51"), *PAID_BY_LINE), "40d", "ok", controls={"rounding": "pass", "tax": "pass"}),
    Row("the rates leave nothing to round: a cent is a cent", (invoice("120.00", tax="20.00", tax_lines=[taxed(2_000, 10_000, "20")] * 1), posting("120.01", tax="20.00")),
        "1h", "break", "amount", "0.01"),
    Row("four lines of prices times quantities: two cents", (invoice("120.00", lines=lines(3_000, 3_000, 3_000, 3_000)), posting("120.02")), "1h", "break",
        "rounding", "0.02"),
    Row("four lines, three cents", (invoice("120.00", lines=lines(3_000, 3_000, 3_000, 3_000)), posting("120.03")), "1h", "break", "amount", "0.03"),
    Row("one line is rounded like the whole", (invoice("120.00", lines=lines(12_000)), posting("120.01")), "1h", "break", "amount", "0.01"),
    # Tax: at its rate, by code, inside the price, reverse charge.
    Row("a tax line is not its base at its rate", (invoice("120.00", tax="20.00", tax_lines=[taxed(2_000, 10_000, "19")]), posting("120.00", tax="20.00")),
        "1h", "break", "tax", "1.00"),
    Row("tax inside the price, on a base net of it", (invoice("119.00", tax="19.00", tax_lines=[taxed(1_900, 10_000, "19", inclusive=True)]),
        posting("119.00", tax="19.00"), payment("119.00"), applied("119.00")), "40d", "ok", controls={"tax": "pass"}),
    Row("tax inside the price, on the price", (invoice("119.00", tax="19.00", tax_lines=[taxed(1_900, 11_900, "19", inclusive=True)]),
        posting("119.00", tax="19.00"), payment("119.00"), applied("119.00")), "40d", "ok", controls={"tax": "pass"}),
    Row("tax inside the price, reckoned on top of it", (invoice("119.00", tax="22.61", tax_lines=[taxed(2_261, 11_900, "19", inclusive=True)]),
        posting("119.00", tax="22.61")), "1h", "break", "tax", "3.61"),
    Row("two codes, each booked as its own", (invoice("167.00", **TWO_CODES), entry(("receivable", 16_700), ("revenue", -15_000), ("tax", -1_000, "S"),
        ("tax", -700, "R")), *PAID_TWO_CODES), "40d", "ok", controls={"tax": "pass"}),
    Row("two codes, booked the other way round", (invoice("167.00", **TWO_CODES), entry(("receivable", 16_700), ("revenue", -15_000), ("tax", -1_000, "R"),
        ("tax", -700, "S"))), "1h", "break", "tax", "3.00"),
    Row("reverse charge: no tax on the invoice, two legs in the ledger", (invoice("120.00", tax="0", direction="purchase", tax_lines=[taxed(0, code="RC")]),
        entry(("payable", -12_000), ("expense", 12_000), ("tax", 2_280, "RC-IN"), ("tax", -2_280, "RC-OUT")), *PAID), "40d", "ok", controls={"tax": "pass"}),
    Row("reverse charge, and one leg is missing", (invoice("120.00", tax="0", direction="purchase", tax_lines=[taxed(0, code="RC")]),
        entry(("payable", -12_000), ("expense", 9_720), ("tax", 2_280, "RC-IN"))), "1h", "break", "tax", "22.80"),
    # Accounts.
    Row("an invoice booked against cash", (invoice("120.00"), posting("120.00", rest_role="cash")), "1h", "break", "account", "120.00",
        controls={"amount": "pass"}),
    Row("an invoice booked as deferred revenue", (invoice("120.00"), posting("120.00", rest_role="deferred"), *PAID), "40d", "ok", controls={"account": "pass"}),
    Row("a payment booked as revenue", (invoice("120.00"), posting("120.00"), entry(("cash", 12_000), ("revenue", -12_000), document="je_2", document_type="payment"),
        *PAID), "40d", "break", "account", "120.00"),
    Row("a payment booked against the receivable", (invoice("120.00"), posting("120.00"), entry(("cash", 12_000), ("receivable", -12_000), document="je_2",
        document_type="payment"), *PAID), "40d", "ok", controls={"account": "pass"}),
    Row("a revaluation that touches revenue", (invoice("120.00"), posting("120.00"), posting("5.00", document="je_2", posting_kind="revaluation"), *PAID), "40d",
        "break", "account", "5.00"),
    Row("a write-off and what was withheld, booked", (invoice("120.00"), posting("120.00"), payment("100.00"), applied("100.00"),
        applied("20.00", kind="write_off", document="ap_2"),
        entry(("write_off", 2_000), ("receivable", -2_000), document="je_2", document_type="application")), "40d", "ok", controls={"account": "pass"}),
    Row("an account that this company's policy does not allow", (invoice("120.00"), posting("120.00", rest_role="deferred")), "1h", "break", "account",
        policy='[accounts]\ninvoice = ["receivable", "revenue", "tax"]'),
    # Open items: what entries take off the account, and what was applied.
    Row("the whole payment and a write-off, booked and applied", (invoice("120.00"), posting("120.00"), payment("100.00"), applied("100.00"), WRITTEN_OFF,
        entry(("cash", 10_000), ("write_off", 2_000), ("receivable", -12_000), document="je_2", document_type="payment")), "40d", "ok", controls={"open_item": "pass"}),
    Row("more was written off in the ledger than was applied", (invoice("120.00"), posting("120.00"), payment("100.00"), applied("100.00"), WRITTEN_OFF,
        entry(("cash", 9_000), ("write_off", 3_000), ("receivable", -12_000), document="je_2", document_type="payment")), "40d", "break", "amount", "10.00"),
    Row("ten withheld by the customer, and twenty taken off the account", (invoice("120.00"), posting("120.00"), payment("110.00"), applied("110.00"),
        applied("10.00", kind="withholding", document="ap_2"),
        entry(("cash", 11_000), ("tax", 2_000), ("receivable", -13_000), document="je_2", document_type="payment")), "40d", "break", "amount", "10.00"),
    Row("taken off the account, and the application may still come", (invoice("120.00"), posting("120.00"), payment("120.00"),
        entry(("cash", 13_000), ("receivable", -13_000), document="je_2", document_type="payment")), "1d+3h", "pending", controls={"open_item": "not_assessed"}),
    Row("only the write-off's entry lies in this case", (invoice("120.00"), posting("120.00"), payment("100.00"), applied("100.00"), WRITTEN_OFF,
        entry(("write_off", 2_000), ("receivable", -2_000), document="je_2", document_type="application")), "40d", "ok", controls={"open_item": "not_assessed"}),
    # Applications without one of their ends.
    Row("applied, and the invoice may still come", (applied("100.00"),), "1d+2h", "pending", controls={"orphan_application": "not_assessed"}),
    Row("a write-off of an invoice that nobody issued", (applied("100.00", kind="write_off"),), "3d", "break", "orphan_application", "100.00"),
    Row("applied and unapplied, and nobody issued it", (applied("100.00"), applied("100.00", "1d+2h", event="cash.unapplied", document="un_1")), "3d", "ok"),
    Row("an invoice was paid out of a receipt that never came in", told(invoice("100.00"), applied("100.00", payment_key=RECEIPT), to=RECEIPT), "3d", "break",
        "orphan_application", "100.00"),
    Row("the receipt may still come in", told(invoice("100.00"), applied("100.00", payment_key=RECEIPT), to=RECEIPT), "1d+2h", "pending"),
    Row("the receipt came in", (payment("100.00", case=RECEIPT), *told(invoice("100.00"), applied("100.00", payment_key=RECEIPT), to=RECEIPT)), "40d", "ok",
        controls={"orphan_application": "pass"}),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_account(row: Row) -> None:
    check(row)
