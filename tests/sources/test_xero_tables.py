"""Xero table extracts: books with other column orders, other names and other holes than those the adapter was made on."""

import csv
import json
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
        "1.25000",
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


def test_an_organisation_without_an_id_is_the_only_one_or_is_refused(books: Path) -> None:
    (books / "organisations.csv").write_text("name,base_currency\nMuster GmbH,EUR\nMuster GmbH,EUR\n")
    assert told(books, "posting.recorded")["j-1"].correlationid == "invoice:main:xero:i-1"
    (books / "organisations.csv").write_text("name,base_currency\nMuster GmbH,EUR\nZweite GmbH,USD\n")
    assert not told(books, "posting.recorded")


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


def test_two_files_of_one_table_are_never_chosen_between(books: Path) -> None:
    shutil.copy(books / "invoices.csv", books / "xero_invoice_data.csv")
    with pytest.raises(SourceError, match=r"both hold invoices; leave one"):
        outcomes(books)


def test_a_folder_without_tables_is_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"neither invoices\.csv nor journals\.csv"):
        outcomes(tmp_path)


# --- Rates and amounts as extracts print them ---------------------------------------------------------------------------


def test_a_rate_is_as_exact_as_xero_keeps_it_although_its_last_zeros_are_gone(books: Path) -> None:
    """1.25 read as two decimals would leave 3.20 open on 800.00."""
    rates = {
        "1.25": "1.25000", "0.75": "0.750000", "0.745518": "0.745518", "0.7455180001": "0.7455180001", "110": "110.000",
        "14500000": "14500000", ".5": "0.500000", "1.2500000000000002": "1.250000000000", "6.7E-05": "0.000067",
        "0": None, "1e99": None, "-1": None,
    }  # fmt: skip
    for printed, rate in rates.items():
        rewrite(books / "invoices.csv", lambda row, cell=printed: row | ({"currency_rate": cell} if row["invoice_id"] == "i-2" else {}))  # fmt: skip
        event = told(books, "invoice.issued").get("i-2")
        assert (event and event.data.rate) == rate, printed


@pytest.mark.parametrize(
    ("printed", "total_minor"),
    [
        ("1E3", 100000), ("1.0e+03", 100000), (".5", 50), ("1234.50000000", 123450), ("1,234.50", 123450),
        ("90.33999999999999", 9034), ("119.00000000000001", 11900), ("NULL", None), ("1,234", None), ("1.234,50", None),
        ("10.005", None), ("1 234.50", None), ("-1", None), ("12.3.4", None), ("1e99", None), ("1e-99", 0),
    ],
)  # fmt: skip
def test_an_amount_is_read_as_it_is_meant_or_not_at_all(books: Path, printed: str, total_minor: int | None) -> None:
    rewrite(books / "invoices.csv", lambda row: row | ({"total": printed} if row["invoice_id"] == "i-1" else {}))
    event = told(books, "invoice.issued").get("i-1")
    assert (event and event.data.total_minor) == total_minor


@pytest.mark.parametrize(
    ("written", "recorded_at"),
    [
        ("2026-01-05 10:00:00.250 UTC", "2026-01-05T10:00:00.250000+00:00"),
        ("2026-01-05T10:00:00Z", "2026-01-05T10:00:00+00:00"),
        ("2026-01-05T10:00:00.123456789", "2026-01-05T10:00:00.123456+00:00"),
        ("2026-01-05 23:00:00.000 +1300", "2026-01-05T10:00:00+00:00"),
        ("2026-01-05 10:00", "2026-01-05T10:00:00+00:00"),
        ("2026-01-05", "2026-01-05T00:00:00+00:00"),
        ("05/01/2026 10:00", None),
        ("2026-01-05 25:00:00", None),
    ],
)
def test_a_time_is_converted_to_utc_and_a_day_is_the_day_that_is_written(books: Path, written: str, recorded_at: str | None) -> None:  # fmt: skip
    rewrite(books / "journals.csv", lambda row: row | {"created_date_utc": written, "journal_date": written})
    event = told(books, "posting.recorded").get("j-1")
    assert (event and event.data.recorded_at.isoformat()) == recorded_at
    assert event is None or event.data.accounting_date.isoformat() == "2026-01-05"


def test_tax_that_is_taken_off_does_not_cost_the_invoice(books: Path) -> None:
    rewrite(books / "invoices.csv", lambda row: row | {"total_tax": "-1.90"})
    assert told(books, "invoice.issued")["i-1"].data.tax_minor is None


def test_a_line_of_many_decimals_is_shown_rounded_and_costs_no_invoice(books: Path) -> None:
    rewrite(books / "invoice_lines.csv", lambda row: row | {"line_amount": "33.33335"})
    assert told(books, "invoice.issued")["i-1"].data.lines[0].amount_minor == 3333


@pytest.mark.parametrize(
    ("change", "applied"),
    [
        ({}, [("i-1", "payment", 11900), ("i-2", "credit", 10000)]),
        ({"amount_due": "19"}, [("i-1", "payment", 10000), ("i-2", "payment", 88100), ("i-2", "credit", 10000), ("i-4", "payment", 480)]),
    ],
)  # fmt: skip
def test_what_was_paid_is_told_without_its_column(books: Path, change: dict[str, str], applied: Any) -> None:
    rewrite(books / "invoices.csv", lambda row: {name: cell for name, cell in (row | change).items() if name != "amount_paid"})  # fmt: skip
    found = [event.data for event in events(books) if event.type == "cash.applied"]
    assert [(data.invoice_id, data.from_kind, data.amount_minor) for data in found] == applied


def test_names_are_for_people_and_cost_no_invoice(books: Path) -> None:
    rewrite(books / "invoices.csv", lambda row: row | {"invoice_number": "RE\n001 " + "x" * 300})
    rewrite(books / "invoice_lines.csv", lambda row: row | {"item_code": "ABO\t1"})
    data = told(books, "invoice.issued")["i-1"].data
    assert (data.number[:7], len(data.number), data.lines[0].product) == ("RE 001 ", 200, "ABO 1")


# --- Tables as databases write them -------------------------------------------------------------------------------------


def remade(folder: Path, table: str, header: Any = str, cell: Any = str) -> None:
    """Rewrites a table with other column names and cells."""
    with (folder / table).open(newline="") as file:
        rows = list(csv.reader(file))
    with (folder / table).open("w", newline="") as file:
        csv.writer(file).writerows([[header(name) for name in rows[0]], *([cell(text) for text in row] for row in rows[1:])])  # fmt: skip


def test_capitals_and_a_word_for_empty_change_nothing(books: Path) -> None:
    known = events(books)
    for table in books.iterdir():
        remade(books, table.name, str.upper, lambda text: text or "NULL")
    assert events(books) == known


def test_tables_as_json_lines_say_the_same(books: Path) -> None:
    known = events(books)
    for table in list(books.iterdir()):
        with table.open(newline="") as file:
            rows = list(csv.DictReader(file))
        numbers = {"total", "currency_rate", "net_amount", "amount_paid", "total_tax"}
        lines_ = [{name: float(cell) if name in numbers and cell else cell or None for name, cell in row.items()} for row in rows]  # fmt: skip
        table.with_suffix(".jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines_))
        table.unlink()
    assert events(books) == known


def test_what_was_deleted_or_superseded_is_not_in_the_books(books: Path) -> None:
    with (books / "journal_lines.csv").open("a") as file:
        file.write(",0,7,7,n-90,j-1,a-erl,8400,REVENUE,Erlöse\n")
    rewrite(books / "journal_lines.csv", lambda row: row | {"_fivetran_deleted": "TRUE" if row["journal_line_id"] == "n-90" else "false"})  # fmt: skip
    rewrite(books / "invoices.csv", lambda row: row | {"_fivetran_active": "false" if row["invoice_id"] == "i-2" else "true"})  # fmt: skip
    assert lines(told(books, "posting.recorded")["j-1"]) == [("receivable", 11900), ("revenue", -10000), ("tax", -1900)]
    assert "i-2" not in told(books, "invoice.issued")
    assert [row.failure for row in refused(books) if "RE-002" in row.reason] == ["policy"]


def test_a_line_that_cannot_be_read_is_not_left_out_in_silence(books: Path) -> None:
    with (books / "journal_lines.csv").open("ab") as file:
        file.write(b",0,7,7,n-90,j-1,a-erl,8400,REVENUE\n")
        file.write(b",0,7,7,n-91,j-1,a-erl,8400,REVENUE,Erl\xf6se\n")
    reasons = [row.reason for row in refused(books) if row.path.endswith("journal_lines.csv")]
    assert ["9 cells for 10 columns" in reasons[0], "not UTF-8" in reasons[1]] == [True, True]


def test_schemas_that_were_united_are_organisations(books: Path) -> None:
    (books / "organisations.csv").write_text("organisation_id,source_relation\norg-1,de\norg-2,at\n")
    rewrite(books / "journals.csv", lambda row: row | {"source_relation": "de"})
    rewrite(books / "invoices.csv", lambda row: row | {"source_relation": "at" if row["invoice_id"] == "i-3" else "de"})
    issued = told(books, "invoice.issued")
    assert [issued[ident].data.entity for ident in ("i-1", "i-3")] == ["org-1", "org-2"]


# --- Base currency ------------------------------------------------------------------------------------------------------


def base_of(books: Path) -> str | None:
    posting = told(books, "posting.recorded").get("j-1")
    return posting and posting.data.base_currency


def test_a_draft_and_a_chance_rate_of_one_do_not_hide_the_base_currency(books: Path) -> None:
    rewrite(books / "invoices.csv", lambda row: row | ({"currency_code": "USD"} if row["status"] == "DRAFT" else {"currency_rate": "1"} if row["currency_code"] == "USD" else {}))  # fmt: skip
    assert base_of(books) == "EUR", "USD is at rate 1 on one day, EUR on several"


def test_books_of_one_currency_need_no_rate(books: Path) -> None:
    rewrite(books / "invoices.csv", lambda row: {name: cell for name, cell in row.items() if name != "currency_rate"} if row["currency_code"] == "EUR" else None)  # fmt: skip
    assert base_of(books) == "EUR"


def test_documents_without_a_currency_are_in_the_one_the_organisation_keeps(books: Path) -> None:
    rewrite(books / "invoices.csv", without("currency_code"))
    assert {row.failure for row in refused(books) if "RE-001" in row.reason} == {"master_data"}
    rewrite(books / "organisations.csv", lambda row: row | {"base_currency": "EUR"})
    assert told(books, "invoice.issued")["i-1"].data.currency == "EUR"


# --- Credit notes and journals without a control line ---------------------------------------------------------------------


def test_a_credit_note_and_its_posting_meet_in_one_case(books: Path) -> None:
    (books / "credit_notes.csv").write_text(
        "credit_note_id,credit_note_number,type,status,date,currency_code,currency_rate,total,total_tax,contact_id\n"
        "cn-1,GS-1,ACCRECCREDIT,PAID,2026-01-16,EUR,1,80,0,c-1\n"
        "cn-2,GS-2,ACCPAYCREDIT,VOIDED,2026-01-16,EUR,1,5,0,c-9\n"
    )
    case = [event for event in events(books) if event.correlationid == "credit:org-1:xero:cn-1"]
    assert [event.type for event in case] == ["credit_memo.issued", "posting.recorded"]
    assert (case[0].data.number, case[0].data.direction, case[0].data.total_minor) == ("GS-1", "sales", 8000)
    assert list(told(books, "credit_memo.voided")) == ["cn-2"]


def test_without_a_table_of_credit_notes_nothing_is_said_to_be_missing(books: Path) -> None:
    assert told(books, "posting.recorded")["j-12"].correlationid == "summary:org-1:xero:j-12"


def only(books: Path, source_type: str, *lines_: str) -> list[tuple[str, int]]:
    """The roles of one journal alone in its books."""
    rewrite(books / "journals.csv", lambda row: row | {"source_type": source_type} if row["journal_id"] == "j-1" else None)  # fmt: skip
    (books / "journal_lines.csv").write_text("journal_id,account_id,net_amount,tax_amount,gross_amount,tax_type\n" + "".join(f"j-1,{line}\n" for line in lines_))  # fmt: skip
    return lines(told(books, "posting.recorded")["j-1"])


def test_a_discount_does_not_hide_the_control_account(books: Path) -> None:
    roles = only(books, "ACCREC", "a-erl,-100,-19,-119,OUTPUT", "a-erl,10,1.90,11.90,OUTPUT", "a-ust,-17.10,0,-17.10,", "a-ford,107.10,0,107.10,")  # fmt: skip
    assert roles == [("revenue", -10000), ("revenue", 1000), ("tax", -1710), ("receivable", 10710)]


def test_an_invoice_that_comes_to_nothing_is_posted_without_a_control_line(books: Path) -> None:
    assert only(books, "ACCREC", "a-erl,-100,0,-100,NONE", "a-erl,100,0,100,NONE") == [
        ("revenue", -10000),
        ("revenue", 10000),
    ]


def test_invoices_that_come_to_nothing_do_not_make_sales_the_control_account(books: Path) -> None:
    """Every journal of theirs runs through Sales, and not every one through the receivable."""
    rewrite(books / "journals.csv", lambda row: row if row["source_type"] == "ACCREC" else None)
    with (books / "journal_lines.csv").open("a") as file:
        file.writelines(f"OUTPUT,0,{amount},{amount},n-{i},j-3b,a-erl,8400,REVENUE,Erlöse\n" for i, amount in ((90, 5), (91, -5)))  # fmt: skip
    with (books / "journals.csv").open("a") as file:
        file.write("ACCREC,i-9,99,j-3b,2026-01-07,2026-01-07 10:00:00 UTC\n")
    assert lines(told(books, "posting.recorded")["j-2"]) == [("receivable", 80000), ("revenue", -80000)]


def test_a_prepayment_is_cash_whatever_it_is_booked_against(books: Path) -> None:
    taxed = only(books, "ARPREPAYMENT", "a-bank,119,0,119,", "a-erl,-100,-19,-119,OUTPUT", "a-ust,-19,0,-19,")
    assert taxed == [("cash", 11900), ("revenue", -10000), ("tax", -1900)]
    assert only(books, "APPREPAYMENT", "a-bank,-50,0,-50,", "a-priv,50,0,50,NONE") == [("cash", -5000), ("liability", 5000)]  # fmt: skip
    assert told(books, "payment.received")["i-1"].data.amount_minor == 5000


def test_rounding_beside_the_tax_does_not_hide_it(books: Path) -> None:
    rewrite(books / "accounts.csv", lambda row: row | ({"name": "Verrechnung"} if row["account_id"] == "a-priv" else {}))  # fmt: skip
    roles = only(books, "ACCREC", "a-ford,119.01,0,119.01,", "a-erl,-100,-19,-119,OUTPUT", "a-ust,-19,0,-19,", "a-priv,-0.01,0,-0.01,")  # fmt: skip
    assert roles == [("receivable", 11901), ("revenue", -10000), ("tax", -1900), ("liability", -1)]


def test_what_is_coded_to_the_tax_account_by_hand_is_no_tax(books: Path) -> None:
    rewrite(books / "accounts.csv", lambda row: row | {"system_account": {"a-ust": "GST", "a-verb": "CREDITORS"}.get(row["account_id"], "")})  # fmt: skip
    roles = only(books, "ACCPAY", "a-ust,30,0,30,NONE", "a-aufw,100,19,119,INPUT", "a-ust,19,0,19,", "a-verb,-149,0,-149,")  # fmt: skip
    assert roles == [("liability", 3000), ("expense", 10000), ("tax", 1900), ("payable", -14900)]
