"""Truth against verdicts: every case and class, and nothing is let pass that the truth does not say.

Verdicts are taken as the JSON that `matching.verdict.encode` writes or ClickHouse keeps, so that the comparison reads
what a user reads, whichever way the verdicts came about.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import msgspec

from company.truth import CaseTruth, Expected


class _Break(msgspec.Struct, rename={"class_": "class"}):
    class_: str
    owner: str


class _Hop(msgspec.Struct):
    name: str
    state: str


class Shown(msgspec.Struct):
    """What is compared of a verdict."""

    correlation_id: str
    outcome: str
    currency: str | None
    exposure_minor: int
    breaks: list[_Break]
    hops: list[_Hop]
    failure: str | None


class Compared(NamedTuple):
    """`differences` as sentences; `cases` were compared; `unsettled` were not, see company.truth."""

    differences: list[str]
    cases: int
    unsettled: int


def differences(truths: Iterable[CaseTruth], verdicts: Iterable[bytes], as_of: datetime) -> list[str]:
    """What truth and verdicts do not agree on, one sentence each; empty where they agree on every case and class."""
    return compare(truths, verdicts, as_of).differences


def compare(truths: Iterable[CaseTruth], verdicts: Iterable[bytes], as_of: datetime) -> Compared:
    """Compares every case that is known at `as_of` with its verdict as judged at that moment."""
    shown = {verdict.correlation_id: verdict for verdict in map(_decoder.decode, verdicts)}
    found: list[str] = []
    compared = unsettled = 0
    for truth in truths:
        verdict = shown.pop(truth.correlation_id, None)
        if as_of < truth.known_from:
            if verdict is not None:
                found.append(f"{truth.correlation_id}: a verdict before any fact was delivered")
            continue
        expected = truth.at(as_of)
        if verdict is None:
            found.append(f"{truth.correlation_id} [{truth.fault}]: no verdict")
        elif expected is None:
            unsettled += 1
        else:
            compared += 1
            found += (f"{truth.correlation_id} [{truth.fault}]: {text}" for text in _differ(expected, verdict))
    found += (f"{key}: a verdict on a case that never was" for key, verdict in shown.items() if not _is_index(verdict))
    return Compared(found, compared, unsettled)


def _is_index(verdict: Shown) -> bool:
    """A small case of what others told, as a period is of what was booked after its end: no case of business."""
    return verdict.correlation_id.startswith("index:") and verdict.outcome == "ok"


def _differ(expected: Expected, verdict: Shown) -> Iterable[str]:
    classes = {found.class_ for found in verdict.breaks}
    for name in sorted(expected.break_classes - classes):
        yield f"missing break {name}"
    for name in sorted(classes - expected.break_classes):
        yield f"break {name} that is none"
    for found in verdict.breaks:
        owner = expected.owners.get(found.class_, found.owner)
        if owner != found.owner:
            yield f"break {found.class_} is {found.owner}'s, should be {owner}'s"
    hops = {hop.name: hop.state for hop in verdict.hops}
    for name in sorted(expected.hops.keys() | hops.keys()):
        if expected.hops.get(name) != hops.get(name):
            yield f"hop {name} is {hops.get(name)}, should be {expected.hops.get(name)}"
    for name in ("outcome", "failure", "exposure_minor", "currency"):
        if getattr(expected, name) != getattr(verdict, name):
            yield f"{name} is {getattr(verdict, name)}, should be {getattr(expected, name)}"


_decoder = msgspec.json.Decoder(Shown)
