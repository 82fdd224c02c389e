"""What the company gives up of its invoices, as its truth has it and as it is judged, at the end and in the middle."""

from datetime import timedelta

import pytest

from company.faults import WRITE_OFF_FAULTS, WRITE_OFF_TURNS, FaultRates
from tests.simulation.books_of_truth import LONG_AFTER, START, at_the_end, in_the_middle, lived

# Nearly every invoice has something to give up; records overtake each other.
GIVEN_UP = FaultRates.only(
    **dict.fromkeys((*WRITE_OFF_FAULTS, *WRITE_OFF_TURNS), 0.11), delivered_twice=0.2, out_of_order=0.4, malformed=0.1,
)  # fmt: skip
ENDS = {
    "write_off_proposed": {"missing_payment"}, "write_off_alone": {"missing_payment"}, "write_off_withdrawn": {"missing_payment"}, "write_off_lapsed": {"short_payment"},
    "write_off_misbooked": {"amount"}, "write_off_beyond": {"overpayment"},
}  # fmt: skip


@pytest.mark.parametrize("seed", range(1, 6))
def test_verdicts_say_what_was_given_up(seed: int) -> None:
    compared, truth, _ = at_the_end(seed, 2_000, 60, GIVEN_UP)
    assert compared.differences == []
    assert (compared.cases, compared.unsettled) == (len(truth.cases), 0)


@pytest.mark.parametrize("seed", range(1, 6))
def test_verdicts_say_what_is_known_of_write_offs_in_the_middle(seed: int) -> None:
    compared = 0
    for as_of, seen in in_the_middle(seed, 5, GIVEN_UP, (40, 60, 80, 90), 16):
        assert seen.differences == [], as_of
        compared += seen.cases
    assert compared > 2_000


def test_each_write_off_ends_as_a_controller_would_expect() -> None:
    _, truth = lived(3, 2_000, 30, GIVEN_UP)
    as_of = START + timedelta(days=30) + LONG_AFTER
    seen = set()
    for case in truth.cases.values():
        expected = case.at(as_of)
        assert expected is not None
        assert expected.break_classes == ENDS.get(case.fault, set()), case
        is_open = case.fault == "write_off_unbooked"
        assert is_open == (expected.outcome == "pending"), case
        seen.add(case.fault)
    assert {*WRITE_OFF_FAULTS, *WRITE_OFF_TURNS} <= seen
