"""Accounts receivable files: what a row says, and why a row is refused."""

from datetime import UTC, date, datetime
from pathlib import Path

from sources.records import Mapped, Rejected, map_paths

FOLDER = Path(__file__).parent / "fixtures" / "receivables"
ROWS = list(map_paths("receivables_csv", [str(FOLDER)]))
TAKEN = {row.events[0].data.document_id: row.events for row in ROWS if isinstance(row, Mapped)}


def test_a_settled_invoice_is_issued_and_paid_on_the_rows_dates() -> None:
    issued, received = TAKEN["0000611365"]
    assert issued.correlationid == received.correlationid == "invoice:391:receivables_csv:0000611365"
    assert (issued.type, issued.time) == ("invoice.issued", datetime(2025, 1, 2, tzinfo=UTC))
    assert (issued.data.total_minor, issued.data.currency, issued.data.due_date) == (5594, "USD", date(2025, 2, 1))  # type: ignore[attr-defined]
    assert (received.type, received.time) == ("payment.received", datetime(2025, 1, 15, tzinfo=UTC))
    assert received.data.amount_minor == 5594  # type: ignore[attr-defined]


def test_an_open_invoice_is_not_paid() -> None:
    assert [event.type for event in TAKEN["0009231909"]] == ["invoice.issued"]


def test_a_disputed_invoice_says_so_and_is_still_paid() -> None:
    assert [event.type for event in TAKEN["0007900770"]] == ["invoice.issued", "payment.received", "dispute.opened"]


def test_days_that_contradict_the_dates_change_nothing() -> None:
    issued, received, _ = TAKEN["0007900770"]
    assert (received.time - issued.time).days == 36, "the row says 1 beside dates that are 36 days apart"


def test_equal_numbers_of_two_entities_are_two_facts() -> None:
    ids = [event.id for events in TAKEN.values() for event in events]
    assert len(ids) == len(set(ids))
    assert "receivables_csv:0000611365:391:issued" in ids


def test_each_bad_row_is_refused_with_its_class_and_the_cell_to_correct() -> None:
    refused = [(row.line, row.failure, row.reason.split(": ", 1)[1]) for row in ROWS if isinstance(row, Rejected)]
    assert refused == [
        (5, "mapping", "InvoiceDate is '2/30/2025', no date M/D/YYYY"),
        (6, "master_data", "countryCode is empty: say which entity the invoice belongs to"),
        (
            7,
            "mapping",
            "InvoiceAmount is '-1.00', expected an amount like 1234.50, not negative and without separators",
        ),
        (8, "mapping", "InvoiceAmount: amount 1.005 has more decimals than USD has (2)"),
        (9, "mapping", "Disputed is 'maybe', expected Yes or No"),
        (
            10,
            "mapping",
            "InvoiceAmount is '1,000.00', expected an amount like 1234.50, not negative and without separators",
        ),
        (11, "mapping", "the row has 6 cells for 10 columns; a separator is missing or unquoted"),
    ]
    assert all(row.original and row.path.endswith("settled.csv") for row in ROWS if isinstance(row, Rejected))
