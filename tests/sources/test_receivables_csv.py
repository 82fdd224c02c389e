"""Accounts receivable files: what a row says, and why a row is refused."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

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
        (7, "mapping", "InvoiceAmount is '-1.00': a credit note, and the row does not say what it credits"),
        (8, "mapping", "InvoiceAmount: amount 1.005 has more decimals than USD has (2)"),
        (9, "mapping", "Disputed is 'maybe', expected Yes or No"),
        (11, "mapping", "the row has 6 cells for 10 columns; a separator is missing or unquoted"),
    ]
    assert all(row.original and row.path.endswith("settled.csv") for row in ROWS if isinstance(row, Rejected))


def taken(tmp_path: Path, *rows: str, header: str = "invoiceNumber;InvoiceDate;DueDate;InvoiceAmount;SettledDate;countryCode;Disputed") -> list[Any]:  # fmt: skip
    """(date, due date, total, currency) of each invoice of a file, or why its row was refused."""
    (tmp_path / "rows.csv").write_text("\n".join((header, *rows)) + "\n")
    told = list(map_paths("receivables_csv", [str(tmp_path)]))
    return [
        row.reason.split(": ", 1)[1] if isinstance(row, Rejected) else
        (row.events[0].time.date().isoformat(), row.events[0].data.due_date.isoformat(), row.events[0].data.total_minor, row.events[0].data.currency)  # type: ignore[attr-defined]
        for row in told
    ]  # fmt: skip


def test_a_file_that_proves_the_day_to_come_first_is_read_so(tmp_path: Path) -> None:
    read = taken(tmp_path, "1;3/4/2025;3/5/2025;1;;391;No", "2;3/4/2025;31/5/2025;1;;391;No")
    assert [(issued, due) for issued, due, *_ in read] == [("2025-04-03", "2025-05-03"), ("2025-04-03", "2025-05-31")]


def test_days_to_settle_prove_which_comes_first(tmp_path: Path) -> None:
    header = "invoiceNumber;InvoiceDate;DueDate;InvoiceAmount;SettledDate;countryCode;DaysToSettle"
    read = taken(tmp_path, "1;3/4/2025;3/5/2025;1;10/4/2025;391;7", header=header)
    assert read == [("2025-04-03", "2025-05-03", 100, "USD")]
    assert taken(tmp_path, "1;3/4/2025;4/3/2025;1;3/11/2025;391;7", header=header)[0][0] == "2025-03-04"


def test_in_a_file_of_two_minds_a_date_that_could_be_either_is_refused(tmp_path: Path) -> None:
    rows = ["1;13/4/2025;2025-05-13;1;;391;No", "2;4/13/2025;2025-05-13;1;;391;No", "3;3/4/2025;2025-05-13;1;;391;No"]
    first, second, third = taken(tmp_path, *rows)
    assert (first[0], second[0]) == ("2025-04-13", "2025-04-13")
    assert third == "InvoiceDate is '3/4/2025', no date, or two: the file writes both M/D and D/M"
    slip = taken(tmp_path, *(f"{n};4/13/2025;4/14/2025;1;;391;No" for n in range(120)), *rows[:1], rows[2])
    assert slip[-2:] == ["InvoiceDate is '13/4/2025', no date M/D/YYYY", ("2025-03-04", "2025-05-13", 100, "USD")]


@pytest.mark.parametrize(
    "written",
    [
        "2025-04-03", "2025/4/3", "2025-04-03 00:00:00", "2025-04-03T00:00:00.000", "3.4.2025", "4/3/2025 0:00",
        "03-Apr-2025", "3 April 2025", "Apr 3, 2025",
    ],
)  # fmt: skip
def test_a_date_of_one_meaning_is_read_in_any_file(tmp_path: Path, written: str) -> None:
    assert taken(tmp_path, f"1;{written};2025-05-03;1;;391;No")[0][0] == "2025-04-03"


@pytest.mark.parametrize(
    ("written", "beside", "total_minor"),
    [
        ("55.94", "1", 5594), ("1,234.50", "1", 123450), ("1.234,50", "1", 123450), ("12,5", "1", 1250),
        ("1,234,567", "1", 123456700), ("1 234.50", "1", 123450), ("1'234.50", "1", 123450), ("$55.94", "1", 5594),
        ("55.940000000000005", "1", 5594), ("0.500", "1", 50), ("1234.500", "1", 123450),
        ("1,234", "55.94", 123400), ("1.500", "55.94", 150), ("1.234", "55,94", 123400), ("1,500", "55,94", 150),
        ("1.500", "-123.456", None), ("$1.500", "$123.456", None),
        ("1,234", "1", None), ("1.234", "1", None), ("12,34.50", "1", None), ("1.2.3", "1", None), ("1,23,456", "1", None),
        ("(5.00)", "1", None), ("-5", "1", None), ("\u20ac5", "1", None), ("1.005", "0.5", None), ("\u0665", "1", None),
        ("", "1", None), (".", "1", None), ("5.", "1", 500), (".5", "1", None),
    ],
)  # fmt: skip
def test_an_amount_is_read_as_the_file_writes_amounts_or_not_at_all(tmp_path: Path, written: str, beside: str, total_minor: int | None) -> None:  # fmt: skip
    read = taken(tmp_path, f"1;1/2/2025;1/3/2025;{written};;391;No", f"2;1/2/2025;1/3/2025;{beside};;391;No")
    assert (None if isinstance(read[0], str) else read[0][2]) == total_minor


def test_a_currency_that_the_file_states_is_not_overruled(tmp_path: Path) -> None:
    header = "Invoice Number;Invoice Date;Due_Date;AMOUNT;Currency Code"
    read = taken(tmp_path, "1;1/2/2025;1/3/2025;1000;jpy", "2;1/2/2025;1/3/2025;1;XZZ", "3;1/2/2025;1/3/2025;1;", header=header)  # fmt: skip
    assert [row[3] if isinstance(row, tuple) else "refused" for row in read] == ["JPY", "refused", "USD"]
    assert read[0][2] == 1000, "yen have no decimals"


def test_columns_by_another_name_are_known_and_never_chosen_between(tmp_path: Path) -> None:
    header = "invoice_no;issue date;due date;amount;paid date;Customer"
    (tmp_path / "rows.csv").write_text(f"{header}\n7;1/2/2025;1/3/2025;5;1/4/2025;Müller\n")
    (row,) = map_paths("receivables_csv", [str(tmp_path)])
    assert isinstance(row, Mapped)
    assert [(event.correlationid, event.type) for event in row.events] == [
        ("invoice:main:receivables_csv:7", "invoice.issued"),
        ("invoice:main:receivables_csv:7", "payment.received"),
    ]
    twice = taken(tmp_path, "7;1/2/2025;1/3/2025;5;6", header="invoiceNumber;InvoiceDate;DueDate;amount;invoice total")
    assert twice == ["two columns say InvoiceAmount; name the one that holds InvoiceAmount"]


def test_an_invoice_settled_before_its_date_keeps_both_days(tmp_path: Path) -> None:
    taken(tmp_path, "1;1/20/2025;2/20/2025;5;1/15/2025;391;No")
    (row,) = map_paths("receivables_csv", [str(tmp_path)])
    assert isinstance(row, Mapped)
    assert [event.time.day for event in row.events] == [20, 15]


@pytest.mark.parametrize("written", ["4/3/25", "2025-4-31", "3-Apx-2025", "Apr 2025", "3 Apr 3 2025", "45750", "2025-04-03 17:00"])  # fmt: skip
def test_a_date_that_is_none_is_refused(tmp_path: Path, written: str) -> None:
    assert taken(tmp_path, f"1;{written};2025-05-03;1;;391;No") == [f"InvoiceDate is '{written}', no date M/D/YYYY"]


def test_an_unknown_name_for_the_settled_date_does_not_leave_every_invoice_open(tmp_path: Path) -> None:
    header = "invoiceNumber;InvoiceDate;DueDate;InvoiceAmount;gone by;DaysToSettle"
    read = taken(tmp_path, "1;1/2/2025;1/3/2025;1;1/4/2025;2", header=header)
    assert read == ["DaysToSettle is given and no column is named SettledDate; name it so"]
