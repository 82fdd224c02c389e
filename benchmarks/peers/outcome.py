"""The check that every program's end state passes or fails: tieout's, stock Faust's and each peer's alike.

`check` compares the newest (outcome, variance_minor) of every case with the generator's truth (benchmarks.load.truth).
"""

from collections.abc import Mapping

State = tuple[str, int]
SHOWN = 3


class WrongEndState(AssertionError):
    """Some case did not end as the generator made it."""


def differences(found: Mapping[str, State], truth: Mapping[str, State]) -> list[str]:
    """A line for each case that is missing, made up, or not as it must be."""
    return [
        f"{key}: {found.get(key, 'no result')}, and must be {truth.get(key, 'nothing: there is no such case')}"
        for key in sorted(found.keys() | truth.keys())
        if found.get(key) != truth.get(key)
    ]


def check(found: Mapping[str, State], truth: Mapping[str, State]) -> None:
    """Raises WrongEndState, with the first few differences."""
    wrong = differences(found, truth)
    if wrong:
        raise WrongEndState(f"{len(wrong):,} of {len(truth):,} cases are wrong, as {'; '.join(wrong[:SHOWN])}")
