"""The SQL oracle agrees with the judge, and a rule that is changed in it is found: the comparison can fail."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.oracle import __main__ as oracle

ROOT = Path(__file__).parents[2]

# A rule of the SQL, and what it is changed to.
MISTAKES = {
    "postings are due in two hours": ("posted_at > issued_at + minutes(15)", "posted_at > issued_at + minutes(120)"),
    "a void counts at any version": (" OR v.data.version >= d.data.version", " OR v.data.version > d.data.version"),
    "reversals do not count": ("type IN ('posting.recorded', 'posting.reversed')", "type = 'posting.recorded'"),
    "nothing is withheld": ("a.data.from_kind != 'payment'", "a.data.from_kind = 'deposit'"),
    "every rate is divided by": ("document.data.rate_direction = 'base_per_document'", "false"),
    "an invoice is due a day earlier": ("(toInt64(toInt32(toDate32(day))) + 1)", "toInt64(toInt32(toDate32(day)))"),
}
MISTAKES_OF_MONEY = {
    "refunds may be half as much again": ("greatest(0, refunded_minor - received_minor)", "greatest(0, refunded_minor - received_minor * 3 / 2)"),
    "a won dispute is still open": ("countIf(type = 'dispute.won') > 0", "countIf(type = 'dispute.won') > 1"),
    "fees are no part of a payout": ("assumeNotNull(data.net_minor), data.currency", "assumeNotNull(data.gross_minor), data.currency"),
    "a transfer may pay more than came in": ("greatest(applied_minor, named_minor) - received_minor", "applied_minor - 2 * received_minor"),
    "a rest may lie on account for two years": ("received_at + days(2), 'unapplied_cash'", "received_at + days(700), 'unapplied_cash'"),
    "every line is in the payout's currency": ("at_rate AS (minor, currency, rate, other) -> if(currency = other,", "at_rate AS (minor, currency, rate, other) -> if(true,"),
    "a rate has no decimals but those it prints": ("5 * ten_to(12) + abs(toInt256(minor))", "abs(toInt256(0 * minor))"),
    "lines told by their charges do not count": ("type IN ('settlement.line', 'listed')) AS listed", "type = 'settlement.line') AS listed"),
    "what was converted is not settled": (" AND NOT is_converted), 'not_expected'", "), 'not_expected'"),
    "a fee may be another than was stated": ("arrayConcat(unnetted, unlike)", "unnetted"),
    "gross less fee need not be net": ("arrayConcat(unnetted, unlike)", "unlike"),
    "fees are booked in two years": ("+ 900000000 AS fees_by", "+ days(700) AS fees_by"),
    "fees in another currency are booked as they are": ("is_sum(booked_fees, fees, currency)", "is_sum(booked_fees, arrayMap(f -> (f.1, currency, f.3), fees), currency)"),
    "the bank has two days": ("greatest(arrived_at, paid_at) + days(1)", "greatest(arrived_at, paid_at) + days(300)"),
    "lines of a statement do not count": ("abs(listed_minor - moved_minor)", "abs(moved_minor)"),
}  # fmt: skip
MISTAKES_OF_LEDGER = {
    "a batch is booked whole or not at all": ("booked_minor = 0, 'missing_posting'", "true, 'missing_posting'"),
    "what a pair has told once is enough": ("if(companies < 2, days(1), minutes(15))", "days(400)"),
    "revenue includes its tax": ("total_minor - coalesce(tax_minor, 0) AS net_of_tax", "total_minor AS net_of_tax"),
    "a gain is whatever is stated": ("AND wrong_gain.3 != 0 AND", "AND wrong_gain.3 < 0 AND"),
}
MISTAKES_OF_BILLING = {
    "a pause ends nothing": ("type NOT IN ('subscription.paused', 'subscription.cancelled')", "type != ''"),
    "a bill may be a week late": ("next_due.due_at + days(2)", "next_due.due_at + days(400)"),
    "two bills of a period are one": ("HAVING uniqExact(home) > 1", "HAVING uniqExact(home) > 2"),
    "usage is billed with its tax": ("sumIf(b.net_minor, b.home != '') AS billed_minor", "sumIf(b.total_minor, b.home != '') AS billed_minor"),
    "a month is its days": ("method = 'monthly', arraySum(", "method = 'never', arraySum("),
    "seconds are days": ("method = 'seconds', assumeNotNull", "method = 'never', assumeNotNull"),
    "what a bill gives back is of its price": ("net_minor - beside_minor AS price_minor", "net_minor AS price_minor"),
    "a credit is told to no order": ("SELECT assumeNotNull(document.data.order_key), 1, 0", "SELECT assumeNotNull(document.data.order_key), 0, 0"),
    "a part of a month is a whole one": ("abs(p.3 * p.2 - p.1) >= p.2", "abs(p.3 * p.2 - p.1) >= p.2 * 1000000000"),
}  # fmt: skip
MISTAKES_OF_CASH = {
    "cash may lie beyond what is open for a year": ("minutes(240) AS misapplied_at", "days(400) AS misapplied_at"),
    "what was taken off again is another's still": ("strange_minor > 0) AS is_strangers", "notEmpty(strange)) AS is_strangers"),
    "what a transfer says it pays is not paid": ("type = 'told.payment') AS told_payments", "type = 'told.nothing') AS told_payments"),
    "whose transfer it is does not matter": ("(notEmpty(strangers_receipts) OR strange_minor", "(strange_minor"),
    "a payment that came back need not be unapplied": ("applied_minor - greatest(0, received_minor)) AS standing_minor", "applied_minor - 2 * applied_minor) AS standing_minor"),
    "a return is no payment taken back": ("arrayConcat(returned, arrayFilter", "arrayConcat([], arrayFilter"),
    "a bank's charges pay nothing": ("arrayFilter(a -> a.data.from_kind != 'payment', applied)),", "arrayFilter(a -> a.data.from_kind = 'credit', applied)),"),
}  # fmt: skip

MISTAKES_OF_CREDITS = {
    "a credit takes nothing off its invoice": ("arrayMap(c -> (c.at, c.booked_at, assumeNotNull(c.data.total_minor)), credited)", "[]"),
    "a payment that moved on is still here": ("what = 'cash.applied', 'told.taken'", "what = 'cash.applied', 'told.void'"),
    "a credit turns no sign": ("if(kind = 'credit', -1, 1) AS way", "1 AS way"),
    "a credit without its tax will do": ("coalesce(tax_minor - credited_tax, 0)) AS uncredited_minor", "0) AS uncredited_minor"),
    "what is paid on a credited document stays": ("(is_taken_back OR excess_minor = 0) AS is_misapplied", "excess_minor = 0 AS is_misapplied"),
    "a document may be credited twice": ("credited_minor > total_minor, credited_minor - total_minor", "credited_minor > 2 * total_minor, credited_minor - total_minor"),
    "a rebill stands beside its original": ("credited_minor < total_minor, total_minor - credited_minor", "credited_minor < 0, total_minor - credited_minor"),
}  # fmt: skip
MISTAKES_OF_WRITE_OFFS = {
    "a proposal is a decision": ("arrayLastIndex(d -> d.data.action != 'write_off', decisions)", "0"),
    "one person decides on anything": ("if(minor > 100000, 2, 1)", "1"),
    "it always takes two": ("if(minor > 100000, 2, 1)", "2"),
    "one may decide twice": ("arrayUniq(arrayMap(d -> d.data.actor", "length(arrayMap(d -> d.data.actor"),
    "a decision holds whatever was paid since": ("paid_minor > 0 AND gives_up(", "notEmpty(decisions) OR gives_up("),
    "who decides forgets the payments": ("arrayMap(p -> p.data.document_id, payments),\n", "[],\n"),
    "an entry gives up what it likes": ("written_off_minor - given_up_minor,", "0,"),
}  # fmt: skip
_OF = (
    ("--money", MISTAKES_OF_MONEY), ("--ledger", MISTAKES_OF_LEDGER), ("--billed", MISTAKES_OF_BILLING),
    ("--corrected", MISTAKES_OF_CREDITS), ("--written-off", MISTAKES_OF_WRITE_OFFS), ("--cash", MISTAKES_OF_CASH),
    ("--turmoil", MISTAKES),
)  # fmt: skip


def compare(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """In a process of its own: one has room for one embedded database."""
    command = [sys.executable, "-m", "tests.oracle", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("--cases", "20000"),
        ("--cases", "3000", "--turmoil"),
        ("--cases", "10000", "--money"),
        ("--cases", "3000", "--ledger"),
        ("--cases", "3000", "--billed"),
        ("--cases", "3000", "--corrected"),
        ("--cases", "3000", "--written-off"),
        ("--cases", "3000", "--cash"),
    ],
    ids=["business", "turmoil", "money", "ledger", "billed", "corrected", "written-off", "cash"],
)
def test_sql_over_the_records_says_the_same_of_every_case(arguments: tuple[str, ...]) -> None:
    done = compare(*arguments)
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    assert " 0 differ" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for _, mistakes in _OF for name in mistakes])
def test_the_comparison_finds_a_rule_that_is_wrong(name: str, tmp_path: Path) -> None:
    company, mistakes = next(each for each in _OF if name in each[1])
    right, wrong = mistakes[name]
    rules = "money.sql" if company == "--money" else "verdicts.sql"
    sql = oracle.SQL.with_name(rules).read_text(encoding="utf-8")
    assert sql.count(right) >= 1, right
    changed = tmp_path / rules
    changed.write_text(sql.replace(right, wrong), encoding="utf-8")
    done = compare("--cases", "1500", company, "--sql", str(changed))
    assert done.returncode == 1, done.stdout[-3_000:] + done.stderr[-3_000:]
    assert re.search(r" [1-9]\d* differ", done.stdout)
