"""The simulated cluster: many seeds end where SQL says they must, and every planted bug is found by one of them."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.simulation.chaos import AT_A_CALL, AT_ANY_TIME
from tests.simulation.planted import PLANTED, SEEDS, found_at
from tests.simulation.simulator import many, simulate, told

SEEDS_A_RUN = 500
CORES = min(4, os.cpu_count() or 1)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """A worker's log of thousands of faults is long, and is written again by the command that a failure names."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_whatever_fails_every_case_ends_as_sql_says() -> None:
    failed = [told(outcome) for outcome in many(range(SEEDS_A_RUN), CORES) if outcome.problems]
    assert not failed, "\n".join(failed)


def test_every_fault_strikes_in_some_run() -> None:
    missed = {*AT_A_CALL, *AT_ANY_TIME}
    for seed in range(200):
        missed -= simulate(seed).struck.keys()
        if not missed:
            break
    assert not missed


@pytest.mark.parametrize("name", PLANTED)
def test_planted_bug_is_found(name: str) -> None:
    seed, _ = found_at(name)
    assert seed is not None, f"{name!r} was not found within {SEEDS} seeds: the simulator has to become better"


def test_a_seed_lives_the_same_life_whatever_the_order_of_sets() -> None:
    def life(hash_seed: str) -> bytes:
        command = [sys.executable, "-m", "tests.simulation.simulator", "--seed", "5", "--trace"]
        return subprocess.run(command, check=False, capture_output=True, env=os.environ | {"PYTHONHASHSEED": hash_seed}).stdout  # fmt: skip

    first = life("1")
    assert first.count(b"\n") > 50
    assert first == life("2")
