"""Tie-out of March 2026 in scenarios an accountant can read: facts, and the lines that lead from documents to ledger.

The period is March; START is 1 March. Amounts are in major units, of the balance in its natural sign.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from canonical.money import to_major
from matching.policy import load
from matching.tieout.basis import Basis, PeriodError, months_until, period_of
from matching.tieout.bridge import Balance, Bridge, TieOut
from tests.scenarios.books import after, applied, invoice, payment, posting, reversal, tell, void

CREDIT = "credit:acme-us:billing:CN-1"
RECEIPT = "receipt:acme-us:bank:R-1"
BATCH = "summary:acme-us:erp:B-1"


def tie_out(facts: Sequence[Any], *, known: str | None = None, signed: str | None = None, base: str = "USD") -> TieOut:
    """`known` and `signed`: what was recorded by then."""
    basis = Basis("acme-us", "main", period_of("2026-03"), known and after(known), signed and after(signed))
    reports = [fact for fact in facts if fact.type == "balance.reported"]
    bridge = Bridge(basis, base, load(), reports)
    cases = defaultdict(list)
    for fact in facts:
        cases[fact.correlationid].append(fact)
    for key, found in cases.items():
        bridge.add(key, found)
    return bridge.result()


def of(made: TieOut, position: str) -> Balance:
    (found,) = [balance for balance in made.balances if balance.position == position]
    return found


def major(amount_minor: int) -> str:
    return str(to_major(amount_minor, "USD"))


def lines(balance: Balance) -> dict[str, str]:
    told: dict[str, Decimal] = defaultdict(Decimal)
    for line in balance.lines:
        told[line.name] += to_major(line.amount_minor, "USD")
    return {name: str(amount) for name, amount in told.items()}


def reported(balance: str, at: str = "31d", account: str = "receivable", **more: Any) -> Any:
    minor = int(Decimal(balance) * 100)
    data = {
        "ledger": "main",
        "account": account,
        "currency": "USD",
        "balance_minor": minor,
        "as_of": "2026-03-31",
    } | more
    return tell("balance.reported", f"TB/{account}", at, case=f"index:acme-us:main:{account}", system="erp", **data)


def credit(total: str, at: str, **more: Any) -> Any:
    return tell("credit_memo.issued", "cn_1", at, case=CREDIT, currency="USD", total_minor=int(Decimal(total) * 100), direction="sales", **more)  # fmt: skip


def cash(amount: str, at: str = "3d", *, document: str = "je_p", case: str = RECEIPT, **more: Any) -> Any:
    """The ledger's entry of a payment."""
    minor = int(Decimal(amount) * 100)
    data = {
        "ledger": "main", "document_type": "payment", "posting_kind": "document", "currency": "USD", "base_currency": "USD",
        "lines": [{"role": "cash", "amount_minor": minor}, {"role": "receivable", "amount_minor": -minor}],
    }  # fmt: skip
    return tell("posting.recorded", document, at, case=case, system="erp", **(data | more))


class Scenario(NamedTuple):
    story: str
    facts: tuple[Any, ...]
    documents: str
    ledger: str
    lines: dict[str, str]


EUR = {"currency": "EUR", "rate": "1.25", "rate_direction": "base_per_document", "base_currency": "USD"}

RECEIVABLE = [
    Scenario("billed and booked", (invoice("100"), posting("100")), "100.00", "100.00", {}),
    Scenario("billed and not booked", (invoice("100"),), "100.00", "0.00", {"not_posted": "-100.00"}),
    Scenario("booked without a document", (posting("100"),), "0.00", "100.00", {"no_document": "100.00"}),
    Scenario("booked with another amount", (invoice("100"), posting("90")), "100.00", "90.00", {"amount": "-10.00"}),
    Scenario("booked twice", (invoice("100"), posting("100"), posting("100", document="je_2")), "100.00", "200.00", {"duplicate": "100.00"}),
    Scenario("billed on the last day, booked on the next", (invoice("100", "30d"), posting("100", "31d")), "100.00", "0.00", {"other_period": "-100.00"}),
    Scenario("booked ahead of its date", (invoice("100", "31d"), posting("100", "30d")), "0.00", "100.00", {"other_period": "100.00"}),
    Scenario("its accounting date counts, not when it was made", (invoice("100", "31d", accounting_date="2026-03-31"), posting("100", "32d", accounting_date="2026-03-31")), "100.00", "100.00", {}),
    Scenario("voided and taken back", (invoice("100"), posting("100"), void("2d"), reversal("100", "2d")), "0.00", "0.00", {}),
    Scenario("voided, its posting live", (invoice("100"), posting("100"), void("2d")), "0.00", "100.00", {"not_reversed": "100.00"}),
    Scenario("amended, booked again", (invoice("100", version=1), invoice("80", "1d", event="invoice.amended", version=2), posting("100"), reversal("100", "1d"), posting("80", "1d", document="je_2")), "80.00", "80.00", {}),
    Scenario("amended, the ledger still at the first version", (invoice("100", version=1), invoice("80", "1d", event="invoice.amended", version=2), posting("100")), "80.00", "100.00", {"amount": "20.00"}),
    Scenario("paid and applied", (invoice("100"), posting("100"), applied("100", "3d"), cash("100")), "0.00", "0.00", {}),
    Scenario("applied one day, booked another", (invoice("100"), posting("100"), applied("100", "3d"), cash("100", "4d")), "0.00", "0.00", {}),
    Scenario("applied in March, booked in April", (invoice("100"), posting("100"), applied("100", "30d"), cash("100", "31d")), "0.00", "100.00", {"other_period": "100.00"}),
    Scenario("applied and never booked", (invoice("100"), posting("100"), applied("100", "3d")), "0.00", "100.00", {"applied_not_posted": "100.00"}),
    Scenario("booked and never applied", (invoice("100"), posting("100"), cash("100")), "100.00", "0.00", {"posted_not_applied": "-100.00"}),
    Scenario("applied at once, booked in two parts", (invoice("100"), posting("100"), applied("100", "5d"), cash("60", "3d"), cash("40", "5d", document="je_q", case="receipt:acme-us:bank:R-2")), "0.00", "0.00", {}),
    Scenario("withheld and booked so", (invoice("100"), posting("100"), applied("90", "3d"), applied("10", "3d", kind="withholding", document="ap_2"), cash("100")), "0.00", "0.00", {}),
    Scenario("written off and not booked", (invoice("100"), posting("100"), applied("100", "9d", kind="write_off")), "0.00", "100.00", {"applied_not_posted": "100.00"}),
    Scenario("credited and booked", (invoice("100"), posting("100"), credit("40", "5d"), posting("-40", "5d", document="je_c", case=CREDIT, document_type="credit")), "60.00", "60.00", {}),
    Scenario("credit applied reduces nothing twice", (invoice("100"), posting("100"), credit("40", "5d"), applied("40", "6d", kind="credit"), posting("-40", "5d", document="je_c", case=CREDIT, document_type="credit")), "60.00", "60.00", {}),
    Scenario("credited and not booked", (invoice("100"), posting("100"), credit("40", "5d")), "60.00", "100.00", {"not_posted": "40.00"}),
    Scenario("a batch books two invoices", (invoice("100", summary_key=BATCH), invoice("50", document="in_2", case="invoice:acme-us:billing:INV-2", summary_key=BATCH), posting("150", case=BATCH, posting_kind="summary")), "150.00", "150.00", {}),
    Scenario("a batch that is 5 short", (invoice("100", summary_key=BATCH), invoice("50", document="in_2", case="invoice:acme-us:billing:INV-2", summary_key=BATCH), posting("145", case=BATCH, posting_kind="summary")), "150.00", "145.00", {"amount": "-5.00"}),
    Scenario("a manual journal on receivables", (invoice("100"), posting("100"), posting("7", document="je_m", case=BATCH, posting_kind="manual", document_type="other")), "100.00", "107.00", {"manual": "7.00"}),
    Scenario("in euros, converted and booked in base", (invoice("100", **EUR), posting("125", currency=None, base="125")), "125.00", "125.00", {}),
    Scenario("revalued at the month's end", (invoice("100", **EUR), posting("125", currency=None, base="125"), posting("3", "30d", currency=None, base="3", document="je_r", posting_kind="revaluation", document_type="other")), "125.00", "128.00", {"revaluation": "3.00"}),
    Scenario("a cent of rounding", (invoice("33.33", **(EUR | {"rate": "1.111111"})), posting("37.04", currency=None, base="37.04")), "37.03", "37.04", {"rounding": "0.01"}),
]  # fmt: skip


@pytest.mark.parametrize("row", RECEIVABLE, ids=lambda row: row.story)
def test_every_difference_of_receivables_is_named(row: Scenario) -> None:
    balance = of(tie_out(row.facts), "receivable")
    assert (major(balance.documents_minor), major(balance.ledger_minor), lines(balance)) == row[2:]


@pytest.mark.parametrize("row", RECEIVABLE, ids=lambda row: row.story)
def test_documents_and_lines_make_the_ledger_to_the_last_cent(row: Scenario) -> None:
    for balance in tie_out(row.facts).balances:
        assert balance.documents_minor + sum(line.amount_minor for line in balance.lines) == balance.ledger_minor


@pytest.mark.parametrize("row", RECEIVABLE, ids=lambda row: row.story)
def test_every_line_names_its_documents_and_cases(row: Scenario) -> None:
    named = [line for balance in tie_out(row.facts).balances for line in balance.lines]
    assert all(line.documents and line.cases and line.facts and line.reason for line in named)


REPORTED = [
    ("the ledger reports what it booked", (reported("100"),), "tied_out", "0.00", {}),
    ("the ledger reports nothing", (), "incomplete", "0.00", {}),
    ("the ledger reports more than its postings carry", (reported("105"),), "incomplete", "5.00", {}),
    ("the ledger corrects what it reported", (reported("105"), reported("100", "32d", version=2)), "tied_out", "0.00", {}),
    ("a report of another day says nothing", (reported("100", as_of="2026-02-28"),), "incomplete", "0.00", {}),
    ("booked after the balance was reported", (reported("80"), posting("20", "32d", document="je_l", accounting_date="2026-03-31", case=BATCH, posting_kind="manual", document_type="other")), "explained", "0.00", {"manual": "20.00", "booked_after_report": "-20.00"}),
]  # fmt: skip


@pytest.mark.parametrize(("story", "facts", "state", "residual", "named"), REPORTED, ids=[row[0] for row in REPORTED])
def test_what_the_ledger_reports_is_held_against_its_postings(story: str, facts: tuple[Any, ...], state: str, residual: str, named: dict[str, str]) -> None:  # fmt: skip
    booked = ("80" if "after" in story else "100",)
    balance = of(tie_out((invoice(*booked), posting(*booked), *facts)), "receivable")
    assert (balance.state, major(balance.residual_minor), lines(balance)) == (state, residual, named)


def test_a_balance_reported_in_another_currency_is_not_compared_and_said() -> None:
    balance = of(tie_out((invoice("100"), posting("100"), reported("92", currency="EUR"))), "receivable")
    assert balance.missing == ("account receivable: the ledger reported its balance as of 2026-03-31 only in EUR",)


def test_a_purchase_is_a_payable_and_its_tax_is_an_asset() -> None:
    bill = invoice("113", tax="13", direction="purchase")
    booked = posting("113", tax="13", role="payable", direction="purchase")
    made = tie_out((bill, booked))
    assert (major(of(made, "payable").documents_minor), major(of(made, "payable").ledger_minor)) == ("113.00", "113.00")
    assert (major(of(made, "tax").documents_minor), major(of(made, "tax").ledger_minor)) == ("-13.00", "-13.00")
    assert of(made, "receivable").documents_minor == 0


def test_deferred_revenue_rolls_forward_with_what_was_recognised() -> None:
    schedule = tell("revenue_schedule.set", "rs_1", "0", currency="USD", total_minor=12000, ledger="main", bills=[])
    released = tell("revenue.recognised", "rr_1", "30d", currency="USD", amount_minor=1000, ledger="main")
    line = {"role": "deferred", "amount_minor": -12000}
    release = {"role": "deferred", "amount_minor": 900}
    booked = tell("posting.recorded", "je_1", "0", ledger="main", document_type="invoice", posting_kind="document", base_currency="USD", lines=[line])  # fmt: skip
    eased = tell("posting.recorded", "je_2", "30d", ledger="main", document_type="other", posting_kind="release", base_currency="USD", lines=[release])  # fmt: skip
    balance = of(tie_out((schedule, released, booked, eased)), "deferred")
    rows = {row.kind: (row.documents_minor, row.ledger_minor) for row in balance.sections[0].rows}
    assert rows["schedules"] == (12000, 12000)
    assert rows["recognised"] == (-1000, -900)
    assert lines(balance) == {"amount": "1.00"}


def test_a_balance_that_the_ledger_does_not_keep_is_not_compared() -> None:
    made = tie_out((invoice("100"), posting("100"), payment("100"), reported("100")))
    assert "unapplied" in made.not_kept
    assert made.state == "tied_out"


def test_without_a_rate_it_is_incomplete_and_nothing_is_guessed() -> None:
    balance = of(tie_out((invoice("100", currency="EUR"), posting("125", currency=None, base="125"))), "receivable")
    assert balance.state == "incomplete"
    assert balance.missing[0] == "INV-1: no rate turns 100.00 EUR into USD"


def test_an_application_in_another_case_takes_the_invoices_rate() -> None:
    told = tell("cash.applied", "ap_1", "3d", case=RECEIPT, system="erp", currency="EUR", amount_minor=10000, from_kind="payment", invoice_key="invoice:acme-us:billing:INV-1")  # fmt: skip
    facts = (invoice("100", **EUR), posting("125", currency=None, base="125"), told, cash("125", currency=None))
    balance = of(tie_out(facts), "receivable")
    assert (balance.documents_minor, balance.ledger_minor, lines(balance)) == (0, 0, {})


def test_what_was_booked_after_the_close_is_a_post_close_line() -> None:
    late = posting("100", "35d", accounting_date="2026-03-31")
    balance = of(tie_out((invoice("100"), late), signed="34d"), "receivable")
    (line,) = balance.post_close
    assert (line.ledger_minor, line.documents_minor, line.documents) == (10000, 0, ("posting je_1",))


def test_a_past_close_is_made_again_as_it_was_known() -> None:
    early = (invoice("100"), posting("100"))
    later = (posting("20", "40d", document="je_2", accounting_date="2026-03-31"), void("41d"))
    assert tie_out((*early, *later), known="34d") == tie_out(early, known="34d")


def test_a_past_close_is_not_changed_by_a_better_match_that_came_later() -> None:
    told = applied("100", "5d", recorded_at="2026-03-06T12:00:00Z")
    early = (invoice("100"), posting("100"), told, cash("100", "3d"))
    later = cash("100", "20d", document="je_q", case="receipt:acme-us:bank:R-2", accounting_date="2026-03-06")
    assert tie_out((*early, later), known="10d") == tie_out(early, known="10d")
    assert lines(of(tie_out((*early, later)), "receivable")) == {"posted_not_applied": "-100.00"}


def test_facts_in_any_order_and_number_give_one_tie_out() -> None:
    facts = [fact for row in RECEIVABLE[:6] for fact in row.facts]
    assert tie_out(facts) == tie_out([*reversed(facts), *facts])


def test_the_last_months_end_with_the_one_of_the_day() -> None:
    assert [month.name for month in months_until(date(2026, 1, 31), 3)] == ["2025-11", "2025-12", "2026-01"]
    assert months_until(date(2026, 12, 1), 1) == [period_of("2026-12")]


@pytest.mark.parametrize("text", ["2024", "2024-13", "2024-02-01", "2024-02-10/2024-02-01", "February", ""])
def test_a_period_that_is_none_says_how_to_write_one(text: str) -> None:
    with pytest.raises(PeriodError):
        period_of(text)


def test_a_period_may_be_no_month() -> None:
    span = period_of("2024-01-29/2024-02-25")
    assert (span.start.isoformat(), span.end.isoformat()) == ("2024-01-29", "2024-02-25")
    assert period_of("2024-02").end == date(2024, 2, 29)
