"""NetSuite's table extracts: a transaction is a document and its entries, and why a row is refused."""

from pathlib import Path
from typing import Any

from sources.records import Mapped, Rejected, map_paths

ROWS = list(map_paths("netsuite_tables", [str(Path(__file__).parent / "fixtures" / "netsuite")]))
CASES: dict[str, list[Any]] = {}
for _row in ROWS:
    for _event in _row.events if isinstance(_row, Mapped) else ():
        CASES.setdefault(_event.correlationid, []).append(_event)


def case(kind: str, ident: str) -> list[Any]:
    return CASES[f"{kind}:s1:netsuite:{ident}"]


def test_an_invoice_and_its_entry_in_each_book_are_one_case() -> None:
    issued, primary, local = case("invoice", "1")
    assert (issued.data.total_minor, issued.data.currency, issued.data.base_currency, issued.data.rate) == (12_100, "EUR", "USD", "1.0825")  # fmt: skip
    assert [(line.role, line.base_minor) for line in primary.data.lines] == [("receivable", 13_098), ("other", -10_825), ("tax", -2_273)]  # fmt: skip
    assert (primary.data.ledger, local.data.ledger) == ("main", "Local")
    assert (primary.data.document_type, primary.data.base_currency) == ("invoice", "USD")


def test_a_payment_moves_cash_against_the_receivable() -> None:
    received, posted = case("receipt", "2")
    assert (received.type, received.data.amount_minor, received.data.reference) == (
        "payment.received",
        12_100,
        "wire 7",
    )
    assert [(line.role, line.base_minor) for line in posted.data.lines] == [("cash", 13_310), ("receivable", -13_310)]


def test_a_journal_is_a_summary_and_an_order_is_recorded() -> None:
    (journal,), (order,) = case("summary", "3"), case("order", "5")
    assert (journal.data.posting_kind, [line.base_minor for line in journal.data.lines]) == ("manual", [500, -500])
    assert (order.data.kind, order.data.value_minor) == ("order", 12_100)


def test_a_voided_bill_no_longer_stands_and_a_total_may_stand_on_the_main_line() -> None:
    issued, voided = case("invoice", "4")
    assert (issued.data.direction, issued.data.total_minor, voided.type) == ("purchase", 5_000, "invoice.voided")
    assert case("credit", "9")[0].data.total_minor == 750


def test_each_row_that_tells_nothing_says_why() -> None:
    told = {(row.failure, row.reason.split(": ", 1)[1]) for row in ROWS if isinstance(row, Rejected)}
    assert told == {
        ("policy", "type 'Estimate' posts nothing"),
        ("master_data", "currency '9' is not in the folder's table of currencies"),
        ("mapping", "its 1 accounting lines come to 1000 minor units, not to zero; extract all of them"),
        ("mapping", "the line belongs to transaction '99', which is not in the folder; extract both at one time"),
        ("policy", "table 'currency' holds no document, entry or customer of an extract"),
        ("policy", "table 'subsidiary' holds no document, entry or customer of an extract"),
        ("policy", "table 'accounting_book' holds no document, entry or customer of an extract"),
        ("policy", "a table of the older NetSuite.com schema; extract NetSuite2.com's"),
    }
