"""Subscriptions billed by a schedule: the verdicts say what was done with them, at the end and in the middle.

The truth is told by company.subscriptions as it makes things happen; the verdicts come from the records alone.
"""

from datetime import timedelta

import pytest

from company.faults import BILLING_FAULTS, BILLING_TURNS, FaultRates
from tests.simulation.books_of_truth import LONG_AFTER, START, at_the_end, in_the_middle, lived

# Nearly every order is billed by a schedule; records overtake each other.
BILLED = FaultRates.only(
    **dict.fromkeys((*BILLING_FAULTS, *BILLING_TURNS), 0.07), delivered_twice=0.2, out_of_order=0.4, malformed=0.1,
)  # fmt: skip
ENDS = {
    "never_billed": {"missing_invoice"}, "billed_twice": {"duplicate_period"}, "billed_short": {"quote_mismatch"},
    "unbilled_usage": {"unbilled_usage"}, "usage_differs": {"usage"}, "downgrade_ignored": {"quote_mismatch"},
}  # fmt: skip


@pytest.mark.parametrize("seed", range(1, 6))
def test_verdicts_say_how_subscriptions_were_billed(seed: int) -> None:
    compared, truth, _ = at_the_end(seed, 1_000, 60, BILLED)
    assert compared.differences == []
    assert (compared.cases, compared.unsettled) == (len(truth.cases), 0)


@pytest.mark.parametrize("seed", range(1, 6))
def test_verdicts_say_what_is_known_of_subscriptions_in_the_middle(seed: int) -> None:
    compared = 0
    for as_of, seen in in_the_middle(seed, 5, BILLED, (2, 40, 80, 120), 10):
        assert seen.differences == [], as_of
        compared += seen.cases
    assert compared > 400


def test_each_fault_of_billing_ends_as_a_controller_would_expect() -> None:
    _, truth = lived(3, 3_000, 30, BILLED)
    as_of = START + timedelta(days=30) + LONG_AFTER
    ends: dict[str, set[str]] = {}
    for case in truth.cases.values():
        expected = case.at(as_of)
        assert expected is not None
        if case.kind == "order":
            ends.setdefault(case.fault, set()).update(expected.break_classes)
            assert expected.outcome == ("break" if case.fault in ENDS else "ok"), case
        elif case.fault.startswith("misprorated"):
            assert expected.break_classes == {"proration"}
    assert {name: classes for name, classes in ends.items() if classes} == ENDS
    assert {*BILLING_FAULTS, *BILLING_TURNS} <= set(ends)
