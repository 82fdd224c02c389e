"""Credits and rebills of the company, as its truth has them and as they are judged, at the end and in the middle."""

from datetime import timedelta

import pytest

from company.faults import CREDIT_FAULTS, CREDIT_TURNS, FaultRates
from tests.simulation.books_of_truth import LONG_AFTER, START, at_the_end, in_the_middle, lived

# Nearly every invoice is credited or billed again; records overtake each other.
CORRECTED = FaultRates.only(
    **dict.fromkeys((*CREDIT_FAULTS, *CREDIT_TURNS), 0.09), delivered_twice=0.2, out_of_order=0.4, malformed=0.1,
)  # fmt: skip
# By the kind of case in which it shows; fx where the ledger keeps base amounts alone.
ENDS = {
    ("unposted_credit", "credit"): {"missing_posting"}, ("wrong_credit", "credit"): {"amount", "fx"},
    ("over_credited", "invoice"): {"credit_rebill"}, ("rebilled_beside", "invoice"): {"credit_rebill"},
    ("rebilled_short", "invoice"): {"credit_rebill"}, ("credited_untaxed", "invoice"): {"credit_rebill"},
    ("payment_left", "invoice"): {"misapplied"},
}  # fmt: skip


@pytest.mark.parametrize("seed", range(1, 6))
def test_verdicts_say_what_was_credited_and_billed_again(seed: int) -> None:
    compared, truth, _ = at_the_end(seed, 1_500, 60, CORRECTED)
    assert compared.differences == []
    assert (compared.cases, compared.unsettled) == (len(truth.cases), 0)


@pytest.mark.parametrize("seed", range(1, 6))
def test_verdicts_say_what_is_known_of_credits_in_the_middle(seed: int) -> None:
    compared = 0
    for as_of, seen in in_the_middle(seed, 5, CORRECTED, (2, 6, 20, 60), 10):
        assert seen.differences == [], as_of
        compared += seen.cases
    assert compared > 2_000


def test_each_fault_of_credits_ends_as_a_controller_would_expect() -> None:
    _, truth = lived(3, 3_000, 30, CORRECTED)
    as_of = START + timedelta(days=30) + LONG_AFTER
    ends: dict[tuple[str, str], set[str]] = {}
    for case in truth.cases.values():
        expected = case.at(as_of)
        assert expected is not None
        is_rebill = case.kind == "invoice" and len(case.document) > len("INV-2026-000001")
        if is_rebill:
            assert expected.break_classes == ({"missing_payment"} if case.fault == "payment_left" else set()), case
        else:
            ends.setdefault((case.fault, case.kind), set()).update(expected.break_classes)
    assert {case: classes for case, classes in ends.items() if classes} == ENDS
    assert {*CREDIT_FAULTS, *CREDIT_TURNS} <= {fault for fault, _ in ends}
