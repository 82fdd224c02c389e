"""Card payments of the company, their payouts and the bank, as its truth has them and as they are judged."""

from datetime import timedelta

import pytest

from company.compare import compare
from company.faults import (
    LIVING,
    MONEY_FAULTS,
    MONEY_TURNS,
    PAYOUT_FAULTS,
    PAYOUTS,
    TRANSFER_FAULTS,
    TRANSFER_TURNS,
    FaultRates,
)
from tests.simulation.books_of_truth import LONG_AFTER, START, at_the_end, in_the_middle, ledger_of, lived

# Most of the cases are card payments, most of the payouts are wrong; records overtake each other.
CARDS = FaultRates.only(
    **dict.fromkeys((*MONEY_FAULTS, *MONEY_TURNS), 0.08),
    **dict.fromkeys((*TRANSFER_FAULTS, *TRANSFER_TURNS), 0.05), **dict.fromkeys(PAYOUTS, 0.12), delivered_twice=0.2,
    out_of_order=0.4, malformed=0.1,
)  # fmt: skip
ENDS = {
    "over_refunded": {"refund_unmatched"}, "disputed": {"chargeback"}, "lost_dispute": {"chargeback"},
    "other_fee_kept": {"fee"}, "line_left_out": {"payout"}, "short_transfer": {"bank"}, "lost_bank_line": {"bank"},
    "wrong_rate": {"payout"}, "line_not_netted": {"fee"}, "fee_misbooked": {"fee"},
    "transfer_overstretched": {"misapplied"}, "transfer_rest": {"unapplied_cash"},
}  # fmt: skip


@pytest.mark.parametrize("seed", range(1, 6))
def test_verdicts_say_what_was_done_with_the_money(seed: int) -> None:
    compared, truth, _ = at_the_end(seed, 2_000, 60, CARDS)
    assert compared.differences == []
    assert (compared.cases, compared.unsettled) == (len(truth.cases), 0)


@pytest.mark.parametrize("seed", range(1, 6))
def test_verdicts_say_what_is_known_of_the_money_in_the_middle(seed: int) -> None:
    for as_of, compared in in_the_middle(seed, 5, CARDS, (1, 2, 6, 20, 60), 8):
        assert compared.differences == [], as_of


def test_each_fault_of_the_money_ends_as_a_controller_would_expect() -> None:
    _, truth = lived(3, 3_000, 30, CARDS)
    as_of = START + timedelta(days=30) + LONG_AFTER
    seen = set()
    for case in truth.cases.values():
        expected = case.at(as_of)
        assert expected is not None
        if case.kind == "invoice":
            continue  # what transfers pay: see test_company_cash
        is_of_statement = case.fault == "lost_bank_line"
        if case.fault in PAYOUT_FAULTS and is_of_statement != (case.kind == "summary"):
            assert not expected.break_classes, "what is wrong with a statement is none of the payout's"
            continue
        assert expected.break_classes == ENDS.get(case.fault, set()), case
        seen.add(case.fault)
    assert {
        *MONEY_FAULTS,
        *(set(MONEY_TURNS) - {"charged"}),
        *PAYOUTS,
        *TRANSFER_FAULTS,
        *TRANSFER_TURNS,
        "none",
    } <= seen


def test_the_company_that_people_watch_has_all_of_it() -> None:
    deliveries, truth = lived(8, 4_000, 20, LIVING)
    drawn = {*MONEY_FAULTS, *MONEY_TURNS, *PAYOUTS} - {"charged"}  # in which nothing happens to it
    assert drawn <= {case.fault for case in truth.cases.values()}
    as_of = START + timedelta(days=20) + LONG_AFTER
    assert compare(truth.cases.values(), ledger_of(deliveries).verdicts(as_of), as_of).differences == []
