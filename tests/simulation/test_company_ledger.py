"""The wider ledger of the company: batches, revenue over time, exchange gains and the group, as its truth has them and as they are judged.

What one case means for another (a batch's members) is told as a worker tells it.
"""

from collections import Counter
from datetime import timedelta

import pytest

from company.compare import compare
from company.faults import (
    BATCH_FAULTS,
    GROUP_FAULTS,
    GROUP_TURNS,
    LEDGER_FAULTS,
    LEDGER_TURNS,
    LIVING,
    FaultRates,
)
from tests.simulation.books_of_truth import LONG_AFTER, START, at_the_end, in_the_middle, ledger_of, lived

# Half of the invoices have something of the wider ledger, and half of the batches are wrong; records overtake each other.
WIDER = FaultRates.only(
    **dict.fromkeys((*LEDGER_FAULTS, *LEDGER_TURNS, *GROUP_FAULTS, *GROUP_TURNS), 0.06), **dict.fromkeys(BATCH_FAULTS, 0.12),
    delivered_twice=0.2, out_of_order=0.4, malformed=0.1,
)  # fmt: skip
ENDS = {
    "misscheduled": {"revenue_schedule"}, "unrecognised": {"revenue_schedule"}, "wrong_gain": {"fx"},
    "short_batch": {"summary_split"}, "forgotten_member": {"summary_split", "missing_posting"},
    "member_twice": {"summary_split"}, "unposted_batch": {"missing_posting"},
}  # fmt: skip


@pytest.mark.parametrize("seed", range(1, 6))
def test_verdicts_say_what_the_wider_ledger_did(seed: int) -> None:
    compared, truth, _ = at_the_end(seed, 2_000, 60, WIDER)
    assert compared.differences == []
    assert (compared.cases, compared.unsettled) == (len(truth.cases), 0)


@pytest.mark.parametrize("seed", range(1, 6))
def test_verdicts_say_what_is_known_of_the_wider_ledger_in_the_middle(seed: int) -> None:
    for as_of, compared in in_the_middle(seed, 5, WIDER, (1, 2, 6, 20, 60), 8):
        assert compared.differences == [], as_of


def test_each_fault_of_the_wider_ledger_ends_as_a_controller_would_expect() -> None:
    _, truth = lived(3, 3_000, 30, WIDER)
    as_of = START + timedelta(days=30) + LONG_AFTER
    seen: Counter[str] = Counter()
    for case in truth.cases.values():
        expected = case.at(as_of)
        assert expected is not None
        if case.fault in GROUP_FAULTS:  # a break of the pair, none of the two companies'
            assert expected.break_classes == ({"intercompany"} if case.kind == "index" else set()), case
            continue
        assert bool(expected.break_classes) == (case.fault in ENDS), case
        assert expected.break_classes <= ENDS.get(case.fault, set()), case
        seen[case.fault] += 1
    assert {*ENDS, *LEDGER_TURNS} <= set(seen)


def test_the_company_that_people_watch_has_all_of_it() -> None:
    deliveries, truth = lived(8, 4_000, 20, LIVING)
    assert {*LEDGER_FAULTS, *LEDGER_TURNS, *GROUP_FAULTS, *GROUP_TURNS} <= {case.fault for case in truth.cases.values()}
    as_of = START + timedelta(days=20) + LONG_AFTER
    assert compare(truth.cases.values(), ledger_of(deliveries).verdicts(as_of), as_of).differences == []
