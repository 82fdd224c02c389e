"""The check that every program's end state passes or fails: tieout's, stock Faust's and each peer's alike.

`check` compares the newest (outcome, variance_minor) of every case with the generator's truth (benchmarks.load.truth).
"""

from collections.abc import Mapping

State = tuple[str, int]
SHOWN = 3


class WrongEndState(AssertionError):
    """Some case did not end as the generator made it."""


def check(found: Mapping[str, State], truth: Mapping[str, State]) -> None:
    """Raises WrongEndState with the first few cases that are missing, made up, or not as they must be."""
    if wrong := complaint(found, truth):
        raise WrongEndState(wrong)


def complaint(found: Mapping[str, State], truth: Mapping[str, State]) -> str:
    """What is wrong; empty where nothing is."""
    wrong = [
        f"{key}: {found.get(key, 'no result')}, and must be {truth.get(key, 'nothing: there is no such case')}"
        for key in sorted(found.keys() | truth.keys())
        if found.get(key) != truth.get(key)
    ]
    if not wrong:
        return ""
    return f"{len(wrong):,} of {len(truth):,} cases are wrong, as {'; '.join(wrong[:SHOWN])}"
