"""Between two companies of one group: acme-us sells to acme-de, and both bring the document to the case of the pair."""

from typing import Any

import pytest

from canonical.events import Event
from canonical.ids import intercompany_key
from tests.scenarios.books import Row, check, invoice, tell
from tests.scenarios.test_effects import told as told_to

PAIR = intercompany_key("acme-us", "acme-de", "IC-7")


def sold(total: str = "500.00", at: str = "0", **more: Any) -> Event:
    more = {
        "number": "IC-7",
        "case": "invoice:acme-us:billing:IC-7",
        "document": "in_7",
        "counterparty": "acme-de",
    } | more
    return invoice(total, at, **more)


def bought(total: str = "500.00", at: str = "1h", **more: Any) -> Event:
    more = {
        "entity": "acme-de",
        "direction": "purchase",
        "case": "invoice:acme-de:erp:IC-7",
        "document": "bill_7",
        "counterparty": "acme-us",
    } | more
    return sold(total, at, **more)


def told(*facts: Event, revision: int = 1) -> tuple[Event, ...]:
    return told_to(*facts, to=PAIR, revision=revision)


CREDIT = {"currency": "USD", "total_minor": 10_000, "number": "IC-7"}
CREDITED = tell(
    "credit_memo.issued",
    "cn_7",
    "2h",
    case="credit:acme-us:billing:CN-7",
    direction="sales",
    counterparty="acme-de",
    **CREDIT,
)
TAKEN = tell(
    "credit_memo.issued",
    "cn_7",
    "3h",
    case="credit:acme-de:erp:CN-7",
    direction="purchase",
    counterparty="acme-us",
    entity="acme-de",
    **CREDIT,
)

ROWS = (
    Row("one sold, the other bought: eliminated", (*told(sold()), *told(bought())), "2h", "ok", controls={"intercompany": "pass"}),
    Row("the other has not booked it yet", told(sold()), "2h", "pending", next_deadline="1d"),
    Row("the other never booked it", told(sold()), "1d", "break", "intercompany", "500.00", owner="finance"),
    Row("the other never booked it, and billing's feed is behind", told(sold()), "2d", "pending", behind={"billing": "12h"}),
    Row("bought, and nobody sold it", told(bought()), "2d", "break", "intercompany", "500.00"),
    Row("booked for less than was sold", (*told(sold()), *told(bought("450.00"))), "2h", "break", "intercompany", "50.00"),
    Row("booked for less a moment ago", (*told(sold()), *told(bought("450.00"))), "1h+10m", "pending", next_deadline="1h+15m"),
    Row("booked in another currency", (*told(sold()), *told(bought("500.00", currency="EUR"))), "2h", "break", "intercompany", "500.00"),
    Row("corrected on the other side", (*told(sold()), *told(bought("450.00", version=1), bought("500.00", "3h", version=2, id="erp:bill_7:2"), revision=2)), "2d",
        "ok"),
    Row("void on one side alone", (*told(sold(), tell("invoice.voided", "in_7", "1d", case="invoice:acme-us:billing:IC-7")), *told(bought())), "3d", "break",
        "intercompany", "500.00"),
    Row("credited on both sides", (*told(sold()), *told(bought()), *told(CREDITED), *told(TAKEN)), "2d", "ok"),
    Row("credited on one side alone", (*told(sold()), *told(bought()), *told(CREDITED)), "2d", "break", "intercompany", "100.00"),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_intercompany(row: Row) -> None:
    check(row)


def test_both_sides_come_to_one_case() -> None:
    assert intercompany_key("acme-de", "acme-us", "IC-7") == PAIR
