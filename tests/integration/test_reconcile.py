"""`reconcile`, the batch half: the same verdicts as the judge gives, from lines in any order, in steady memory."""

import csv
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from canonical import records
from canonical.dead_letters import DeadLetter
from matching.judge import judge
from matching.policy import load
from matching.verdict import Verdict, decode, encode
from sources.records import Mapped, map_paths
from streams.batch import reconcile
from tests.scenarios.books import START, after, applied, case_of, invoice, payment, posting

DATA = Path(__file__).parents[3] / "shared" / "data"
POLICY = load()
KEYS = [f"invoice:acme-us:billing:INV-{number:05d}" for number in range(300)]


def lines_of(key: str) -> list[bytes]:
    facts = (invoice("120.00"), posting("120.00"), payment("120.00"), applied("120.00"))
    number = key.rpartition(":")[2]
    return [_line(fact, key).replace(b'"number":"INV-1"', f'"number":"{number}"'.encode()) for fact in facts]


def _line(fact: Any, key: str) -> bytes:
    shown = {k: v for k, v in msgspec.to_builtins(fact).items() if v is not None}
    data = {k: v for k, v in shown["data"].items() if v is not None}
    if "lines" in data:
        data["lines"] = [{k: v for k, v in line.items() if v is not None} for line in data["lines"]]
    if "customer" in data:
        data["customer"] = {k: v for k, v in data["customer"].items() if v is not None}
    return msgspec.json.encode(shown | {"correlationid": key, "data": data})


def of_documents(verdicts: Iterable[bytes]) -> list[bytes]:
    """Without the index cases, in which invoices of one number meet."""
    return [raw for raw in verdicts if decode(raw).kind != "index"]


def test_one_verdict_a_case_in_order_of_the_key() -> None:
    lines = [line for key in KEYS for line in lines_of(key)]
    Random(1).shuffle(lines)
    verdicts = [decode(raw) for raw in of_documents(reconcile(lines, POLICY))]
    assert [verdict.correlation_id for verdict in verdicts] == KEYS
    assert {verdict.outcome for verdict in verdicts} == {"ok"}


def test_the_verdict_is_the_judges() -> None:
    facts = (invoice("120.00"), posting("115.00"))
    expected = encode(judge(case_of(*facts), POLICY, after("1h")))
    assert list(reconcile([_line(fact, facts[0].correlationid) for fact in facts], POLICY, after("1h"))) == [expected]


def test_without_a_moment_it_is_judged_as_of_the_latest_event() -> None:
    late = payment("5.00", "20m", case="receipt:acme-us:stripe:py_9")
    lines = [_line(invoice("120.00"), KEYS[0]), _line(late, late.correlationid)]
    alone, beside = (decode(of_documents(reconcile(some, POLICY))[0]) for some in (lines[:1], lines))
    assert (alone.outcome, beside.outcome) == ("pending", "break")
    assert list(reconcile([], POLICY)) == []


def test_spilling_to_files_changes_nothing() -> None:
    lines = [line for key in KEYS for line in lines_of(key)]
    Random(2).shuffle(lines)
    assert list(reconcile(lines, POLICY, run_bytes=50_000)) == list(reconcile(lines, POLICY))


def test_memory_does_not_grow_with_the_input() -> None:
    def peak(cases: int) -> int:
        lines = (
            line for number in range(cases) for line in lines_of(f"invoice:acme-us:billing:{number * 7919 % cases}")
        )
        tracemalloc.start()
        assert sum(decode(raw).kind != "index" for raw in reconcile(lines, POLICY, run_bytes=100_000)) == cases
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    small, large = peak(150), peak(1_000)
    assert large < small * 1.5 + 200_000


def test_a_bad_line_is_a_dead_letter_and_the_rest_goes_on() -> None:
    good = lines_of(KEYS[0])
    bad = [b'{"specversion":', b"\xff\xfe", good[0].replace(b'"USD"', b'"XXX"'), b"[]", b"null"]
    letters: list[tuple[int, bytes, DeadLetter]] = []
    lines = [good[0], bad[0], b"", *bad[1:], *good[1:]]
    verdicts = of_documents(reconcile(lines, POLICY, on_dead_letter=lambda *letter: letters.append(letter)))
    assert [decode(raw).facts for raw in verdicts] == [4]
    assert [(number, original) for number, original, _ in letters] == list(zip((2, 4, 5, 6, 7), bad, strict=True))
    assert [letter.failure for _, _, letter in letters] == ["mapping", "mapping", "master_data", "mapping", "mapping"]
    assert all(letter.reason for _, _, letter in letters)


def test_a_record_over_several_lines_of_white_space_is_one_record() -> None:
    pretty = msgspec.json.format(lines_of(KEYS[0])[0], indent=2)
    assert b"\n" in pretty
    assert len(of_documents(reconcile([pretty], POLICY, START, run_bytes=1))) == 1


# --- Real books --------------------------------------------------------------------------------------------------------


def verdicts_of(source: str, folder: str, policy: str = "") -> list[Verdict]:
    path = DATA / folder
    if not path.exists():
        pytest.skip(f"real data {folder} is not beside the repository")
    mapped = [item for item in map_paths(source, [str(path)]) if isinstance(item, Mapped)]
    lines = [records.encode(event) for item in mapped for event in item.events]
    return [decode(raw) for raw in reconcile(lines, load(policy))]


@pytest.mark.realdata
def test_latency_and_lateness_of_every_settled_invoice_are_the_published_ones() -> None:
    verdicts = {(v.entity, v.document): v for v in verdicts_of("receivables_csv", "accounts_receivable")}
    with (DATA / "accounts_receivable" / "invoices_settled.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(verdicts) == 2_466
    for row in rows:
        verdict = verdicts[row["countryCode"], row["invoiceNumber"]]
        hop = next(hop for hop in verdict.hops if hop.name == "invoice_to_payment")
        assert hop.latency_s == int(row["DaysToSettle"]) * 86_400
        assert hop.late_s == int(row["DaysLate"]) * 86_400
        assert verdict.outcome == "ok"


@pytest.mark.realdata
def test_every_invoice_of_real_books_ties_to_its_posting() -> None:
    invoices = [verdict for verdict in verdicts_of("xero_tables", "xero_books") if verdict.kind == "invoice"]
    assert len(invoices) == 302
    for verdict in invoices:
        results = {control.name: control.result for control in verdict.controls}
        assert {results["amount"], results["fx"]} <= {"pass", "not_applicable"}, verdict
        assert "pass" in (results["amount"], results["fx"]), verdict
        assert results["missing_posting"] == results["duplicate_posting"] == results["balance"] == "pass"
    assert {found.class_ for verdict in invoices for found in verdict.breaks} == {"missing_payment"}
    unpaid = {verdict.document for verdict in invoices if verdict.outcome != "ok"}
    assert len(unpaid) == 7  # AUTHORISED in the books: three a month overdue, four not


@pytest.mark.realdata
def test_an_invoice_booked_across_its_period_end_is_seen() -> None:
    verdicts = verdicts_of("xero_tables", "xero_books", "[cutoff]\nis_break = true")
    crossed = {v.document: v for v in verdicts if any(found.class_ == "cutoff" for found in v.breaks)}
    assert "booked into 2020-03, the document is of 2020-02" in crossed["INV-0017"].breaks[0].reason
    assert len(crossed) == 25  # of 302: what a controller can look at


@pytest.mark.realdata
def test_every_order_of_a_real_shop_ties_out_or_says_what_it_owes() -> None:
    orders = [verdict for verdict in verdicts_of("shop_tables", "jaffle_shop") if verdict.kind == "invoice"]
    with (DATA / "jaffle_shop" / "raw_orders.csv").open() as file:
        returned = {row["id"] for row in csv.DictReader(file) if row["status"] == "returned"}
    assert len(orders) == 99
    assert {verdict.document for verdict in orders if verdict.outcome != "ok"} == returned
    assert {found.class_ for verdict in orders for found in verdict.breaks} == {"overpayment"}


@pytest.mark.realdata
def test_statements_of_real_banks_add_up_but_where_the_samples_were_cut() -> None:
    statements = [v for v in verdicts_of("mt940", "bank/mt940") if v.kind == "summary"]
    assert len(statements) > 80
    cut = [v for v in statements if any(found.class_ == "bank" for found in v.breaks)]
    assert len(cut) == 10
