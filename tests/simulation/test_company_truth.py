"""The company's truth and the verdicts agree on every case and class, at the end and in the middle of its life.

The truth is told by the stories (company.stories) as they make things happen; the verdicts come from the records alone.
"""

from collections import Counter
from datetime import timedelta

import pytest

from company.compare import compare
from company.faults import INVOICE_FAULTS, INVOICE_TURNS, ORDER_FAULTS, FaultRates
from tests.simulation.books_of_truth import LONG_AFTER, START, at_the_end, in_the_middle, ledger_of, lived

SEEDS = range(1, 21)
CASES = 5_000
DAYS = 60
# Everything goes wrong, often, and records overtake each other all the time.
TURMOIL = FaultRates(
    **dict.fromkeys((*INVOICE_FAULTS, *INVOICE_TURNS), 0.03),
    **dict.fromkeys(ORDER_FAULTS, 0.2),
    coincidence=0.5,
    delivered_twice=0.2,
    out_of_order=0.4,
    malformed=0.1,
)

# What each fault of an invoice comes to in the end, for people to check: its break, or a tie-out.
ENDS = {
    "missing_posting": {"missing_posting"},
    "late_posting": set(),
    "rejected_posting": {"missing_posting"},
    "api_failure": {"missing_posting"},
    "api_recovered": set(),
    "wrong_amount": {"amount"},
    "wrong_tax": {"tax"},
    "wrong_customer": {"customer"},
    "wrong_currency": {"currency"},
    "wrong_fx": {"fx"},
    "wrong_entity": {"entity"},
    "unbalanced_posting": {"amount"},
    "conflicting_invoice": {"conflict"},
    "duplicate_invoice": {"duplicate_invoice"},
    "duplicate_posting": {"duplicate_posting"},
    "orphan_posting": {"orphan_posting"},
    "void_not_reversed": {"missing_reversal"},
    "missing_payment": {"missing_payment"},
    "short_payment": {"short_payment"},
    "overpayment": {"overpayment"},
    "duplicate_payment": {"duplicate_payment"},
    "orphan_payment": {"orphan_payment"},
    "missing_application": {"missing_application"},
    "late_application": set(),
    "unapplied_remainder": {"unapplied_cash"},
    "missing_subscription": {"missing_subscription"},
    "late_subscription": set(),
    "subscription_api_failure": {"missing_subscription"},
} | {turn: set() for turn in (*INVOICE_TURNS, "none")}


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_verdicts_say_what_was_done_in_100_000_cases(seed: int) -> None:
    compared, truth, ledger = at_the_end(seed, CASES, DAYS, None)
    assert compared.differences == []
    assert (compared.cases, compared.unsettled) == (CASES, 0)
    assert ledger.refused == len(truth.dead_letters)


@pytest.mark.parametrize("seed", SEEDS)
def test_verdicts_say_what_is_known_in_the_middle_of_turmoil(seed: int) -> None:
    compared = unsettled = 0
    for as_of, seen in in_the_middle(seed, 2, TURMOIL, (1, 2, 4, 20, 60, 100), 8):
        assert seen.differences == [], as_of
        compared += seen.cases
        unsettled += seen.unsettled
    assert unsettled <= compared * 0.05 + 10, "the truth is silent about too much"


def test_each_fault_ends_as_a_controller_would_expect() -> None:
    deliveries, truth = lived(3, 3_000, 30, TURMOIL)
    as_of = START + timedelta(days=30) + LONG_AFTER
    seen = set()
    for case in truth.cases.values():
        expected = case.at(as_of)
        assert expected is not None
        first, _, second = case.fault.partition("+")
        classes = ENDS[first] | ENDS[second or "none"]
        if first == "wrong_amount" and "fx" in expected.break_classes:
            continue  # a ledger that keeps base amounts only cannot tell a wrong amount from a wrong rate
        assert expected.break_classes == classes, case
        assert expected.outcome == ("break" if classes else "ok"), case
        assert (expected.exposure_minor > 0) == bool(classes), case
        seen |= {first, second or "none"}
    assert seen == set(ENDS)
    assert len(deliveries) > 3_000


def test_a_company_without_faults_ties_out() -> None:
    deliveries, truth = lived(5, 1_000, 30, FaultRates.none())
    as_of = START + timedelta(days=30) + LONG_AFTER
    ledger = ledger_of(deliveries)
    assert {case.at(as_of).outcome for case in truth.cases.values()} == {"ok"}
    assert compare(truth.cases.values(), ledger.verdicts(as_of), as_of).differences == []
    assert truth.dead_letters == []


def test_faults_come_at_the_set_rates() -> None:
    rates = FaultRates()
    _, truth = lived(11, 20_000)
    kinds = Counter(case.kind for case in truth.cases.values())
    faults = Counter(case.fault.partition("+")[0] for case in truth.cases.values())
    for kind, names in (("invoice", (*INVOICE_FAULTS, *INVOICE_TURNS)), ("order", ORDER_FAULTS)):
        for name in names:
            due = getattr(rates, name) * kinds[kind]
            assert abs(faults[name] - due) < 5 * due**0.5, (name, faults[name], due)
    assert len(truth.cases) == 20_000
