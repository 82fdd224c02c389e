"""A shop's tables: what an order, its payments and a customer say, and why a row is refused."""

from collections import defaultdict
from datetime import date
from pathlib import Path
from typing import Any

from matching.case import Case
from matching.judge import judge
from matching.policy import load
from sources.records import Mapped, Rejected, map_paths
from tests.scenarios.books import after

FOLDER = Path(__file__).parent / "fixtures" / "shop"
ROWS = list(map_paths("shop_tables", [str(FOLDER)]))


def by_case() -> dict[str, list[Any]]:
    cases: dict[str, list[Any]] = defaultdict(list)
    for row in ROWS:
        for event in row.events if isinstance(row, Mapped) else ():
            cases[event.correlationid].append(event)
    return cases


CASES = by_case()


def told(order: str) -> list[tuple[str, int | None, date]]:
    """(type, amount, day) of everything that lies in an order's case."""
    return [
        (event.type, getattr(event.data, "total_minor", getattr(event.data, "amount_minor", None)), event.time.date())
        for event in CASES[f"invoice:main:shop:{order}"]
    ]


def breaks_of(order: str) -> list[tuple[str, int]]:
    case = Case(f"invoice:main:shop:{order}")
    for event in CASES[case.key]:
        case.add(event)
    return [
        (found.class_, found.variance_minor) for found in judge(case, load(), after("0s").replace(year=2027)).breaks
    ]


def test_an_order_paid_in_parts_comes_to_what_was_tendered() -> None:
    second, third = date(2025, 1, 2), date(2025, 1, 3)
    assert told("1") == [("invoice.issued", 1700, second), ("payment.received", 1000, second), ("payment.received", 700, third)]  # fmt: skip
    assert breaks_of("1") == []
    (line,) = CASES["invoice:main:shop:1"][0].data.lines
    assert "states no price" in line.description


def test_a_returned_order_owes_what_was_paid_and_not_the_coupon() -> None:
    assert [(kind, amount) for kind, amount, _ in told("2")] == [
        ("invoice.issued", 2500), ("payment.received", 2300), ("cash.applied", 200), ("credit_memo.issued", 2300),
    ]  # fmt: skip
    assert breaks_of("2") == [("overpayment", 2300)]


def test_a_price_that_the_table_states_is_not_overruled_by_payments() -> None:
    assert [(kind, amount) for kind, amount, _ in told("3")] == [
        ("invoice.issued", 5000), ("payment.received", 4000), ("payment.failed", 1000),
    ]  # fmt: skip
    assert breaks_of("3") == [("short_payment", 1000)]


def test_a_return_that_is_pending_undoes_nothing() -> None:
    assert told("4") == [("invoice.issued", 0, date(2025, 1, 5)), ("payment.received", 0, date(2025, 1, 5))]
    assert breaks_of("4") == []


def test_money_kept_for_a_cancelled_order_is_found() -> None:
    assert [kind for kind, _, _ in told("5")] == ["invoice.issued", "payment.received", "invoice.voided"]
    assert breaks_of("5") == [("overpayment", 900)]


def test_a_payment_whose_order_is_not_there_is_an_orphan() -> None:
    assert told("99") == [("payment.received", 1200, date(2025, 1, 9))]
    assert breaks_of("99") == [("orphan_payment", 1200)]


def test_a_customer_is_told_by_name() -> None:
    names = {event.data.name for key, events in CASES.items() if key.startswith("index:") for event in events}
    assert names == {"Ada L.", "Grace"}


def test_each_row_that_cannot_be_told_says_why() -> None:
    assert [(Path(row.path).stem, row.line, row.failure, row.reason) for row in ROWS if isinstance(row, Rejected)] == [
        ("raw_orders", 7, "mapping", "shop order '6': status is 'lost', unknown to this adapter"),
        ("raw_orders", 8, "mapping", "shop order '7': no payment names it and the table states no price: what it comes to is unknown"),
        ("raw_orders", 9, "mapping", "shop order '8': date is '2025-02-30', no date YYYY-MM-DD"),
        ("raw_payments", 13, "mapping", "shop payment '12': amount is '12.00', expected whole minor units"),
        ("raw_payments", 14, "mapping", "shop payment '13': amount is '-5': what was paid back is no payment, and the table does not say what it is"),
        ("raw_payments", 15, "mapping", "shop_tables: the row has 4 cells for 6 columns; a separator is missing or unquoted"),
    ]  # fmt: skip


def test_a_table_of_something_else_is_refused_row_by_row(tmp_path: Path) -> None:
    (tmp_path / "stores.csv").write_text("id,name\n1,Main Street\n2,Harbour\n")
    rows = [row for row in map_paths("shop_tables", [str(tmp_path)]) if isinstance(row, Rejected)]
    assert [row.failure for row in rows] == ["policy", "policy"]


def test_a_shop_that_states_prices_needs_neither_payments_nor_states(tmp_path: Path) -> None:
    (tmp_path / "raw_orders.csv").write_text("id,customer,ordered_at,subtotal,tax_paid,order_total\nab-1,c-1,2025-01-02T10:11:12,900,100,1000\n")  # fmt: skip
    (row,) = map_paths("shop_tables", [str(tmp_path)])
    assert isinstance(row, Mapped)
    (issued,) = row.events
    assert (issued.data.total_minor, issued.data.tax_minor, issued.data.customer.bill_to) == (1_000, 100, "c-1")  # type: ignore[attr-defined]
