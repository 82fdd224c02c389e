"""Tie-out of a real company's books: to the last minor unit what plain SQL over its tables says, month by month.

INV-0017 is dated 29 February, was booked on 9 March at 21:01 into March, taken back, booked and taken back again, and booked
into February at 21:02:47, 194.93 lower.
"""

import json
import subprocess
import sys
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from canonical.records import encode
from canonical.structs import decode
from matching.policy import load
from matching.tieout.basis import Basis, period_of
from matching.tieout.bridge import BEHIND_LEDGER, Balance, Bridge, PostClose, TieOut
from sources.records import Mapped, map_paths

ROOT = Path(__file__).parents[2]
BOOKS = ROOT.parent / "shared" / "data" / "xero_books"
ENTITY = "dab0e928-c82f-4c46-83fd-36ee9674d745"
INV_0017 = f"invoice:{ENTITY}:xero:4ab6c076-0c47-4fe2-9a62-85a84fba8b2e"
MONTHS = [f"{year}-{month:02d}" for year in (2019, 2020, 2021) for month in range(1, 13) if "2019-11" <= f"{year}-{month:02d}" <= "2021-03"]  # fmt: skip
Sums = dict[tuple[int, str, str, str, str], tuple[int, int]]

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not BOOKS.is_dir(), reason="no real data at ../shared/data beside the repository"),
]


@pytest.fixture(scope="module")
def cases() -> dict[str, list[Any]]:
    found = defaultdict(list)
    for outcome in map_paths("xero_tables", [str(BOOKS)]):
        assert isinstance(outcome, Mapped)
        for event in outcome.events:
            found[event.correlationid].append(decode(encode(event)))
    return found


def tie_out(cases: dict[str, list[Any]], month: str, known: datetime | None = None, signed: datetime | None = None) -> TieOut:  # fmt: skip
    bridge = Bridge(Basis(ENTITY, "main", period_of(month), known, signed), "CAD", load())
    for key, facts in cases.items():
        bridge.add(key, facts)
    return bridge.result()


def of(made: TieOut, position: str) -> Balance:
    (found,) = [balance for balance in made.balances if balance.position == position]
    return found


@pytest.fixture(scope="module")
def by_sql() -> Sums:
    done = subprocess.run([sys.executable, "-m", "tests.oracle.tie_out", str(BOOKS)], cwd=ROOT, capture_output=True, check=True)  # fmt: skip
    rows = map(json.loads, done.stdout.splitlines())
    return {
        (month, position, side, kind, currency): (amount, base)
        for month, position, side, kind, currency, amount, base in rows
    }


def moved(made: TieOut, month: str) -> Sums:
    """The period's movements as the SQL gives them: the ledger's without a currency, nothing that comes to nothing."""
    sums: dict[Any, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for balance in made.balances:
        for section in balance.sections:
            for row in section.rows[1:-1]:
                key = (int(month.replace("-", "")), balance.position)
                amount, base = sums[*key, "documents", row.kind, section.currency]
                sums[*key, "documents", row.kind, section.currency] = (amount + (row.documents_minor or 0), base + row.documents_base_minor)  # fmt: skip
                _, base = sums[*key, "ledger", row.kind, ""]
                sums[*key, "ledger", row.kind, ""] = (0, base + row.ledger_base_minor)
    return {key: value for key, value in sums.items() if value != (0, 0)}


def test_every_month_moves_as_plain_sql_says_to_the_last_minor_unit(cases: dict[str, list[Any]], by_sql: Sums) -> None:
    for month in MONTHS:
        said = moved(tie_out(cases, month), month)
        of_sql = {key: sums for key, sums in by_sql.items() if key[0] == int(month.replace("-", "")) and sums != (0, 0)}
        assert {key: sums for key, sums in said.items() if key[1:3] != ("tax", "ledger")} == of_sql, month


def test_every_months_closing_is_the_sum_of_all_before_it(cases: dict[str, list[Any]], by_sql: Sums) -> None:
    for month in MONTHS:
        until = int(month.replace("-", ""))
        for balance in tie_out(cases, month).balances:
            for side, minor in (("documents", balance.documents_minor), ("ledger", balance.ledger_minor)):
                if (balance.position, side) != ("tax", "ledger"):
                    assert minor == sum(base for (at, position, of_side, *_), (_, base) in by_sql.items() if at <= until and (position, of_side) == (balance.position, side))  # fmt: skip


def test_documents_and_lines_make_the_ledger_in_every_month(cases: dict[str, list[Any]]) -> None:
    for month in MONTHS:
        for balance in tie_out(cases, month).balances:
            lines = [line for line in balance.lines if line.name not in BEHIND_LEDGER]
            assert balance.documents_minor + sum(line.amount_minor for line in lines) == balance.ledger_minor
            assert all(line.documents and line.cases for line in lines)


def test_sales_and_purchases_are_told_apart_in_every_currency(cases: dict[str, list[Any]]) -> None:
    made = tie_out(cases, "2020-02")
    billed = {
        (balance.position, section.currency): (row.documents_minor, row.documents_base_minor, row.ledger_base_minor)
        for balance in made.balances for section in balance.sections for row in section.rows if row.kind == "invoices"
    }  # fmt: skip
    assert billed["receivable", "USD"] == (1000000, 1338132, 1338132)
    assert billed["payable", "CAD"][0] == billed["payable", "CAD"][1]
    assert ("receivable", "CAD") not in billed  # no sale was made in Canadian dollars


def of_inv_0017(balance: Balance) -> list[PostClose]:
    return [late for late in balance.post_close if late.case_key == INV_0017]


def test_inv_0017_is_absent_from_february_signed_on_5_march(cases: dict[str, list[Any]]) -> None:
    receivable = of(tie_out(cases, "2020-02", known=datetime(2020, 3, 5, tzinfo=UTC)), "receivable")
    (usd,) = [section for section in receivable.sections if section.currency == "USD"]
    invoiced = {row.kind: row for row in usd.rows}["invoices"]
    assert (invoiced.documents_minor, invoiced.documents_base_minor, invoiced.ledger_base_minor) == (
        250000,
        332120,
        332120,
    )
    assert INV_0017 not in {case for line in receivable.lines for case in line.cases}


def test_inv_0017_is_a_post_close_line_of_10060_12_on_9_march_and_today(cases: dict[str, list[Any]]) -> None:
    signed = datetime(2020, 3, 5, tzinfo=UTC)
    for known in (datetime(2020, 3, 10, tzinfo=UTC), None):
        receivable = of(tie_out(cases, "2020-02", known, signed), "receivable")
        (late,) = of_inv_0017(receivable)
        assert (late.ledger_minor, late.documents_minor, late.currency) == (1006012, 1006012, "USD")
        assert (late.known_at, late.day.isoformat()) == (
            datetime(2020, 3, 9, 21, 2, 47, 970000, tzinfo=UTC),
            "2020-02-29",
        )
        assert not [line for line in receivable.lines if INV_0017 in line.cases]  # documents and ledger agree


@pytest.mark.parametrize(
    ("known", "march", "february"),
    [("21:01:51", 0, 0), ("21:01:52", 1025505, 0), ("21:02:07", 1025505, 0), ("21:02:48", 0, 1006012)],
)
def test_inv_0017_moved_into_february_194_93_lower_within_a_minute(cases: dict[str, list[Any]], known: str, march: int, february: int) -> None:  # fmt: skip
    at = datetime.fromisoformat(f"2020-03-09T{known}+00:00")
    one = {INV_0017: cases[INV_0017]}
    booked_february = of(tie_out(one, "2020-02", at), "receivable").ledger_minor
    booked_march = of(tie_out(one, "2020-03", at), "receivable").ledger_minor - booked_february
    assert (booked_march, booked_february) == (march, february)
    assert 1006012 - 1025505 == -19493
