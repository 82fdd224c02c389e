"""However the company's records are shuffled, repeated and delayed, every case ends with the same verdict."""

from datetime import timedelta
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from company.compare import differences
from tests.simulation.books_of_truth import LONG_AFTER, START, Ledger, ledger_of, lived


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), disorder=st.randoms(use_true_random=False), repeats=st.integers(0, 200))
def test_shuffled_and_repeated_records_end_in_the_same_verdicts(seed: int, disorder: Random, repeats: int) -> None:
    deliveries, truth = lived(seed, 120, 10)
    as_of = START + timedelta(days=10) + LONG_AFTER
    bodies = [delivery.body for delivery in deliveries]
    bodies += disorder.choices(bodies, k=repeats)
    disorder.shuffle(bodies)
    shuffled = Ledger()
    for body in bodies:
        shuffled.take(body)
    verdicts = sorted(shuffled.verdicts(as_of))
    assert verdicts == sorted(ledger_of(deliveries).verdicts(as_of))
    assert differences(truth.cases.values(), verdicts, as_of) == []
