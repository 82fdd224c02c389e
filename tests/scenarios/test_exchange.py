"""Gains and losses of exchange: realised as a document is paid, unrealised while it is open.

The invoice is 920.00 EUR at 0.920000 EUR for a dollar: 1,000.00 USD in the ledger.
"""

from typing import Any

import pytest

from canonical.events import Event
from tests.scenarios.books import Row, applied, check, invoice, payment, posting, tell

EUR = {"currency": "EUR", "rate": "0.920000", "rate_direction": "document_per_base", "base_currency": "USD"}
SOLD = (invoice("920.00", **EUR), posting("920.00", currency="EUR", base="1000.00"))
PAID = (payment("920.00", currency="EUR"), applied("920.00", currency="EUR"))
# A receipt of 111.00 EUR, worth 121.20 USD on its day, for an invoice of 120.00 USD.
IN_USD = (invoice("120.00", base_currency="USD"), posting("120.00"), payment("111.00", currency="EUR"))


def entry(*lines: tuple[str, int | None, int], at: str = "1d+2h", document: str = "je_2", **more: Any) -> Event:
    """An entry line by line: role, cents of a euro, cents of a dollar."""
    told = [{"role": role, "base_minor": base} | ({} if amount is None else {"amount_minor": amount}) for role, amount, base in lines]  # fmt: skip
    stated = {"ledger": "main", "document_type": "payment", "posting_kind": "document", "currency": "EUR", "base_currency": "USD"}  # fmt: skip
    return tell("posting.recorded", document, at, system="erp", lines=told, **(stated | more))


def revalued(by: int, at: str, document: str) -> Event:
    return entry(
        ("receivable", 0, by),
        ("fx", 0, -by),
        at=at,
        document=document,
        document_type="other",
        posting_kind="revaluation",
    )


def from_euros(gain: int, worth: int = 12_120) -> Event:
    return applied(
        "120.00",
        from_currency="EUR",
        from_amount_minor=11_100,
        base_currency="USD",
        from_base_minor=worth,
        realised_fx_minor=gain,
    )


ROWS = (
    Row("paid when the euro was worth more: a gain of 20.00, booked", (*SOLD, *PAID,
        entry(("cash", 92_000, 102_000), ("receivable", -92_000, -100_000), ("fx", 0, -2_000))), "40d", "ok", controls={"fx": "pass"}),
    Row("the gain was left on the receivable", (*SOLD, *PAID, entry(("cash", 92_000, 102_000), ("receivable", -92_000, -102_000))), "40d", "break", "fx", "18.40"),
    Row("the gain may still be booked", (*SOLD, *PAID, entry(("cash", 92_000, 102_000), ("receivable", -92_000, -102_000))), "1d+2h+10m", "pending"),
    Row("the gain was booked by an entry of its own", (*SOLD, *PAID, entry(("cash", 92_000, 102_000), ("receivable", -92_000, -102_000)),
        entry(("receivable", 0, 2_000), ("fx", 0, -2_000), at="1d+3h", document="je_3", document_type="application")), "40d", "ok", controls={"fx": "pass"}),
    Row("half of it paid, relieved at the document's rate", (*SOLD, *PAID, entry(("cash", 46_000, 51_000), ("receivable", -46_000, -50_000), ("fx", 0, -1_000))),
        "40d", "ok", controls={"fx": "pass"}),
    Row("half of it paid, relieved at the day's rate", (*SOLD, *PAID, entry(("cash", 46_000, 51_000), ("receivable", -46_000, -51_000))), "40d", "break", "fx", "9.20"),
    Row("a cent of rounding in the entry", (*SOLD, *PAID, entry(("cash", 92_000, 102_000), ("receivable", -92_000, -100_001), ("fx", 0, -1_999))), "40d", "ok"),
    Row("a year of revaluations, each taken back", (*SOLD, revalued(1_500, "30d", "rv_1"), revalued(-1_500, "31d", "rv_2"), *PAID,
        entry(("cash", 92_000, 102_000), ("receivable", -92_000, -100_000), ("fx", 0, -2_000))), "80d", "ok", controls={"fx": "pass", "duplicate_posting": "pass"}),
    Row("settled, and a revaluation still stands after the close", (*SOLD, revalued(1_500, "30d", "rv_1"), *PAID,
        entry(("cash", 92_000, 102_000), ("receivable", -92_000, -100_000), ("fx", 0, -2_000))), "80d", "break", "fx", "13.80"),
    Row("settled, and its revaluation may still be taken back", (*SOLD, revalued(1_500, "30d", "rv_1"), *PAID,
        entry(("cash", 92_000, 102_000), ("receivable", -92_000, -100_000), ("fx", 0, -2_000))), "40d", "pending", controls={"fx": "not_assessed"}),
    Row("a revaluation of what is still open", (*SOLD, revalued(1_500, "30d", "rv_1")), "31d", "pending", controls={"fx": "pass"}),
    Row("row 9: euros on a dollar invoice, with the right gain", (*IN_USD, from_euros(120)), "40d", "ok", controls={"fx": "not_applicable"}),
    Row("row 9: the gain misbooked", (*IN_USD, from_euros(20)), "40d", "break", "fx", "1.00"),
    Row("a loss stated as a gain", (*IN_USD, from_euros(100, worth=11_900)), "40d", "break", "fx", "2.00"),
    Row("a loss", (*IN_USD, from_euros(-100, worth=11_900)), "40d", "ok"),
    Row("a euro invoice, its application states the gain at the document's rate", (*SOLD, PAID[0], applied("920.00", currency="EUR", base_currency="USD",
        from_base_minor=102_000, realised_fx_minor=2_000)), "40d", "ok", controls={"fx": "pass"}),
    Row("a euro invoice, its application states no gain", (*SOLD, PAID[0], applied("920.00", currency="EUR", base_currency="USD", from_base_minor=102_000)), "40d",
        "break", "fx", "18.40"),
    Row("a supplier's invoice paid dearer is a loss", (invoice("920.00", direction="purchase", **EUR), posting("920.00", currency="EUR", base="1000.00", role="payable"), PAID[0],
        applied("920.00", currency="EUR", base_currency="USD", from_base_minor=102_000, realised_fx_minor=-2_000)), "40d", "ok", controls={"fx": "pass"}),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_exchange(row: Row) -> None:
    check(row)
