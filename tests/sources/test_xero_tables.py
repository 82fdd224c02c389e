"""Xero table extracts: books with other column orders, other names and other holes than those the adapter was made on."""

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest

from sources.records import Mapped, Rejected, SourceError, map_paths

BOOKS = Path(__file__).parent / "fixtures" / "books"


def outcomes(folder: Path) -> list[Mapped | Rejected]:
    return list(map_paths("xero_tables", [str(folder)]))


def events(folder: Path) -> list[Any]:
    return [event for outcome in outcomes(folder) if isinstance(outcome, Mapped) for event in outcome.events]


def refused(folder: Path) -> list[Rejected]:
    return [outcome for outcome in outcomes(folder) if isinstance(outcome, Rejected)]


def told(folder: Path, event_type: str) -> dict[str, Any]:
    return {event.data.document_id: event for event in events(folder) if event.type == event_type}


def lines(event: Any) -> list[tuple[str, int]]:
    return [(line.role, line.base_minor) for line in event.data.lines]


@pytest.fixture
def books(tmp_path: Path) -> Path:
    return shutil.copytree(BOOKS, tmp_path / "books")


def rewrite(path: Path, change: Any) -> None:
    """Rewrites a table row by row; `change` gives the new row or None to drop it."""
    with path.open(newline="") as file:
        rows = [row for row in (change(dict(row)) for row in csv.DictReader(file)) if row is not None]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def without(column: str) -> Any:
    return lambda row: {name: cell for name, cell in row.items() if name != column}


def test_an_invoice_its_posting_and_what_was_applied_meet_in_one_case() -> None:
    types = [event.type for event in events(BOOKS) if event.correlationid == "invoice:org-1:xero:i-1"]
    assert types == ["invoice.issued", "cash.applied", "posting.recorded"]


def test_an_invoice_says_what_the_books_say() -> None:
    data = told(BOOKS, "invoice.issued")["i-2"].data
    assert (data.currency, data.total_minor, data.rate, data.rate_direction) == (
        "USD",
        100000,
        "1.25",
        "document_per_base",
    )
    assert (data.base_currency, data.direction, data.due_date) == ("EUR", "sales", None)
    purchase = told(BOOKS, "invoice.issued")["i-4"].data
    assert (purchase.direction, purchase.total_minor, purchase.tax_minor) == ("purchase", 2380, 380)
    assert purchase.lines[0].amount_minor == 2000


def test_accounts_have_their_roles_whatever_their_names_are() -> None:
    postings = told(BOOKS, "posting.recorded")
    assert lines(postings["j-1"]) == [("receivable", 11900), ("revenue", -10000), ("tax", -1900)]
    assert lines(postings["j-5"]) == [("liability", 2000), ("tax", 380), ("payable", -2380)]
    assert lines(postings["j-7"]) == [("cash", 31000), ("fx", 1000), ("receivable", -32000)]
    assert lines(postings["j-12"]) == [("receivable", -8000), ("revenue", 8000)]


def test_a_voided_invoice_is_issued_voided_and_nets_to_nothing() -> None:
    assert told(BOOKS, "invoice.voided")["i-3"].time.isoformat() == "2026-01-08T09:30:00.120000+00:00"
    case = [event for event in events(BOOKS) if event.correlationid == "invoice:org-1:xero:i-3"]
    net = sum(
        line.base_minor
        for event in case
        if event.type == "posting.recorded"
        for line in event.data.lines
        if line.role == "receivable"
    )
    assert net == 0  # fmt: skip


def test_a_part_payment_and_a_credit_are_applied_as_such() -> None:
    applied = [event.data for event in events(BOOKS) if event.type == "cash.applied" and event.data.invoice_id == "i-2"]
    assert [(data.from_kind, data.amount_minor) for data in applied] == [("payment", 40000), ("credit", 10000)]
    assert len({data.document_id for data in applied}) == 2, "one does not stand for the other"


def test_a_payment_is_the_cash_that_came_in_and_names_no_invoice() -> None:
    received = told(BOOKS, "payment.received")["p-2"]
    assert (received.data.amount_minor, received.data.currency, received.data.invoice_id) == (31000, "EUR", None)
    assert received.correlationid == "receipt:org-1:xero:p-2"
    assert received.time.isoformat() == "2026-01-10T00:00:00+00:00"


def test_a_payment_taken_back_is_returned() -> None:
    returned = told(BOOKS, "payment.returned")
    assert list(returned) == ["p-3"]
    assert returned["p-3"].data.amount_minor == 3000


def test_an_edited_payment_is_one_payment(books: Path) -> None:
    with (books / "journals.csv").open("a") as file:
        file.write("ACCRECPAYMENT,p-3,14,j-14,2026-01-11,2026-01-13 09:00:00 UTC\n")
    with (books / "journal_lines.csv").open("a") as file:
        file.write(
            ",0,25,25,n-30,j-14,a-bank,1200,BANK,Hausbank\n,0,-25,-25,n-31,j-14,a-ford,1400,CURRENT,Forderungen\n"
        )
    assert not told(books, "payment.returned")
    versions = [(e.id, e.data.version, e.data.amount_minor) for e in events(books) if e.data.document_id == "p-3" and e.type == "payment.received"]  # fmt: skip
    assert len({ident for ident, _, _ in versions}) == 1
    assert max(versions, key=lambda told: told[1])[2] == 2500, "the newest posting holds"


def test_journals_without_a_document_are_cases_of_their_own() -> None:
    postings = told(BOOKS, "posting.recorded")
    assert (postings["j-10"].correlationid, postings["j-10"].data.posting_kind) == ("summary:org-1:xero:j-10", "manual")
    assert (postings["j-11"].correlationid, postings["j-11"].data.posting_kind) == (
        "summary:org-1:xero:j-11",
        "document",
    )
    assert postings["j-12"].correlationid == "credit:org-1:xero:cn-1"


def test_booking_time_and_accounting_date_are_kept_apart() -> None:
    data = told(BOOKS, "posting.recorded")["j-10"].data
    assert (data.recorded_at.isoformat(), data.accounting_date.isoformat()) == (
        "2026-02-01T09:00:00+00:00",
        "2026-01-31",
    )


def test_each_bad_row_is_refused_with_its_class() -> None:
    found = [(row.failure, row.reason.partition(":")[0]) for row in refused(BOOKS)]
    assert found == [
        ("policy", "xero invoice 'RE-004'"),
        ("master_data", "xero invoice 'RE-005'"),
        ("mapping", "xero invoice 'RE-006'"),
        ("mapping", "xero_tables 'invoice_lines'"),
        ("mapping", "xero journal '13'"),
    ]


def test_journals_are_refused_where_the_base_currency_cannot_be_known(books: Path) -> None:
    rewrite(books / "invoices.csv", without("currency_rate"))
    journals = [row for row in refused(books) if row.path.endswith("journals.csv")]
    assert len(journals) == 13
    assert {row.failure for row in journals if "NEWTHING" not in row.reason} == {"master_data"}
    assert "i-1" in told(books, "invoice.issued"), "invoices state their own currency"


def test_the_organisations_base_currency_rules(books: Path) -> None:
    rewrite(books / "organisations.csv", lambda row: row | {"base_currency": "EUR"})
    rewrite(books / "invoices.csv", without("currency_rate"))
    assert told(books, "posting.recorded")["j-1"].data.base_currency == "EUR"


def test_one_foreign_invoice_at_rate_one_does_not_make_its_currency_the_base(books: Path) -> None:
    rewrite(books / "invoices.csv", lambda row: row | ({"currency_code": "USD"} if row["invoice_id"] == "i-3" else {}))
    assert told(books, "posting.recorded")["j-1"].data.base_currency == "EUR"


def test_a_single_invoice_and_its_journal_are_enough_to_tell_the_accounts(books: Path) -> None:
    rewrite(books / "journals.csv", lambda row: row if row["journal_id"] == "j-1" else None)
    rewrite(books / "journal_lines.csv", lambda row: row if row["journal_id"] == "j-1" else None)
    assert lines(told(books, "posting.recorded")["j-1"]) == [("receivable", 11900), ("revenue", -10000), ("tax", -1900)]


def test_an_exchange_gain_does_not_hide_the_control_account(books: Path) -> None:
    rewrite(books / "journals.csv", lambda row: row if row["journal_id"] == "j-7" else None)
    rewrite(books / "journal_lines.csv", lambda row: row | {"net_amount": {"a-bank": "330", "a-kurs": "-10"}.get(row["account_id"], "-320")} if row["journal_id"] == "j-7" else None)  # fmt: skip
    assert lines(told(books, "posting.recorded")["j-7"]) == [("cash", 33000), ("fx", -1000), ("receivable", -32000)]


def test_system_accounts_rule_over_what_the_journals_look_like(books: Path) -> None:
    marks = {"a-ford": "DEBTORS", "a-verb": "CREDITORS", "a-ust": "GST", "a-priv": "ROUNDING"}
    rewrite(books / "accounts.csv", lambda row: row | {"system_account": marks.get(row["account_id"], "")})
    assert lines(told(books, "posting.recorded")["j-5"]) == [("rounding", 2000), ("tax", 380), ("payable", -2380)]


def test_a_marked_control_account_is_the_only_one(books: Path) -> None:
    rewrite(
        books / "accounts.csv", lambda row: row | {"system_account": "DEBTORS" if row["account_id"] == "a-erl" else ""}
    )
    assert lines(told(books, "posting.recorded")["j-2"]) == [("asset", 80000), ("receivable", -80000)]


def test_books_without_their_optional_tables_still_map(books: Path) -> None:
    for table in ("organisations.csv", "accounts.csv", "invoice_lines.csv"):
        (books / table).unlink()
    postings = told(books, "posting.recorded")
    assert lines(postings["j-1"]) == [("receivable", 11900), ("revenue", -10000), ("tax", -1900)]
    assert postings["j-1"].correlationid == "invoice:main:xero:i-1"


def test_two_organisations_in_one_folder_are_told_apart_or_refused(books: Path) -> None:
    with (books / "organisations.csv").open("a") as file:
        file.write("Zweite GmbH,org-2\n")
    assert {row.failure for row in refused(books) if "RE-001" in row.reason} == {"master_data"}
    rewrite(books / "invoices.csv", lambda row: row | {"organisation_id": "org-2"})
    assert told(books, "invoice.issued")["i-1"].correlationid == "invoice:org-2:xero:i-1"


def test_a_folder_of_extracts_is_read_folder_by_folder(tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(BOOKS, tmp_path / name)
    assert len(outcomes(tmp_path)) == 2 * len(outcomes(BOOKS))


def test_the_same_lines_twice_in_an_extract_count_once(books: Path) -> None:
    text = (books / "journal_lines.csv").read_text()
    (books / "journal_lines.csv").write_text(text + text.partition("\n")[2])
    assert lines(told(books, "posting.recorded")["j-1"]) == [("receivable", 11900), ("revenue", -10000), ("tax", -1900)]


def test_a_folder_without_tables_is_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"neither invoices\.csv nor journals\.csv"):
        outcomes(tmp_path)
