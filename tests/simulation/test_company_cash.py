"""Cash of the company that comes back, comes short, is put on another invoice, or pays two, as its truth has it and as it is judged."""

from datetime import timedelta

import pytest

from company.compare import compare
from company.faults import CASH_FAULTS, CASH_TURNS, LIVING, TRANSFER_FAULTS, TRANSFER_TURNS, FaultRates
from tests.simulation.books_of_truth import LONG_AFTER, START, at_the_end, in_the_middle, ledger_of, lived

# Most invoices have something of it; records overtake each other.
MOVED = FaultRates.only(
    **dict.fromkeys((*CASH_FAULTS, *CASH_TURNS, *TRANSFER_FAULTS, *TRANSFER_TURNS), 0.06),
    delivered_twice=0.2,
    out_of_order=0.4,
    malformed=0.1,
)
# What each comes to in the end; where there are two invoices, or a transfer for both, in any of the cases.
ENDS = {
    "returned_payment": [{"reversed_after_application", "missing_payment"}],
    "bounced_payment": [{"reversed_after_application", "missing_payment"}],
    "returned_in_part": [{"reversed_after_application", "short_payment"}],
    "returned_for_good": [{"missing_payment"}],
    "unbooked_charges": [{"short_payment"}],
    "wrong_invoice": [{"misapplied"}, {"missing_application"}, {"missing_payment"}],
    "wrong_customer_paid": [{"misapplied"}, {"missing_application"}, {"missing_payment"}],
    "transfer_overstretched": [{"misapplied"}, set()],
    "transfer_for_another": [{"misapplied"}, set()],
    "transfer_rest": [{"unapplied_cash"}, {"missing_payment"}, set()],
}


@pytest.mark.parametrize("seed", range(1, 6))
def test_verdicts_say_what_became_of_the_cash(seed: int) -> None:
    compared, truth, _ = at_the_end(seed, 2_000, 60, MOVED)
    assert compared.differences == []
    assert (compared.cases, compared.unsettled) == (len(truth.cases), 0)


@pytest.mark.parametrize("seed", range(1, 6))
def test_verdicts_say_what_is_known_of_the_cash_in_the_middle(seed: int) -> None:
    compared = 0
    for as_of, seen in in_the_middle(seed, 5, MOVED, (2, 10, 20, 40, 90), 12):
        assert seen.differences == [], as_of
        compared += seen.cases
    assert compared > 400


def test_each_fault_of_the_cash_ends_as_a_controller_would_expect() -> None:
    _, truth = lived(3, 3_000, 30, MOVED)
    as_of = START + timedelta(days=30) + LONG_AFTER
    seen: dict[str, list[set[str]]] = {}
    for case in truth.cases.values():
        expected = case.at(as_of)
        assert expected is not None
        assert set(expected.break_classes) in ENDS.get(case.fault, [set()]), case
        seen.setdefault(case.fault, []).append(set(expected.break_classes))
    assert all(classes in seen[fault] for fault, ends in ENDS.items() for classes in ends)
    assert {*CASH_FAULTS, *CASH_TURNS, *TRANSFER_FAULTS, *TRANSFER_TURNS} <= set(seen)


def test_the_company_that_people_watch_has_all_of_it() -> None:
    deliveries, truth = lived(8, 4_000, 20, LIVING)
    assert {*CASH_FAULTS, *CASH_TURNS, *TRANSFER_FAULTS, *TRANSFER_TURNS} <= {
        case.fault for case in truth.cases.values()
    }
    as_of = START + timedelta(days=20) + LONG_AFTER
    assert compare(truth.cases.values(), ledger_of(deliveries).verdicts(as_of), as_of).differences == []
