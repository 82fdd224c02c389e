"""The truth of what the company did, known because it did it; never derived by what it is to test.

- A case's truth is a timeline, because a verdict depends on the moment: which break stands since when and until when,
  in which state each hop is from when. `at(as_of)` reads it at one moment. Moments are when a fact was delivered or a
  deadline passed, whichever is later.
- Deadlines here are the business' own promises, written down once more (`TERMS`), and equal the default policy's.
- While facts of a case overtake each other on their way, what can be known of it is a matter of the order; the truth
  then calls itself unsettled and says nothing. Once they have arrived it is settled again.
- Kept as JSON lines beside the stream: one object a case (`CaseTruth`) and a rejected record (`DeadLetterTruth`).
"""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple, Self

import msgspec

Timeline = list[tuple[datetime, str]]


class Terms(NamedTuple):
    target: timedelta
    missing_after: timedelta
    missing_class: str
    late_is_break: bool


TERMS = {
    "quote_to_subscription": Terms(timedelta(hours=1), timedelta(hours=24), "missing_subscription", True),
    "invoice_to_posting": Terms(timedelta(minutes=15), timedelta(hours=24), "missing_posting", True),
    "payment_to_application": Terms(timedelta(hours=4), timedelta(hours=48), "missing_application", True),
    "invoice_to_payment": Terms(timedelta(), timedelta(days=30), "missing_payment", False),  # from the due date's end
}
ORPHAN_GRACE = timedelta(hours=24)
# Who mends a leg that is missing because its delivery failed.
OWNERS = {"transient": "platform", "mapping": "integration", "master_data": "finance", "policy": "finance"}
_DELIVERED_LEGS = frozenset(("missing_posting", "missing_subscription"))
OPEN_STATES = frozenset(("waiting", "late", "missing"))


class Span(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Something that holds from `since` until `until` (for good where it is None)."""

    name: str
    since: datetime
    until: datetime | None = None
    exposure_minor: int = 0

    def holds(self, as_of: datetime) -> bool:
        return self.since <= as_of and (self.until is None or as_of < self.until)


class Expected(NamedTuple):
    """What the verdict of one case must say at one moment."""

    outcome: str
    break_classes: frozenset[str]
    hops: dict[str, str]
    failure: str | None
    exposure_minor: int
    currency: str | None
    owners: dict[str, str]  # by break class, where a failed delivery decides it


class CaseTruth(msgspec.Struct, tag="case", tag_field="truth", gc=False, omit_defaults=True):
    """`fault` names what was done to the case: a fault, a turn of business that must tie out, or "none"."""

    correlation_id: str
    kind: str
    entity: str
    document: str
    customer: str
    currency: str
    amount_minor: int
    fault: str
    known_from: datetime
    hops: dict[str, Timeline] = {}
    breaks: list[Span] = []
    pending: list[Span] = []
    failures: list[Span] = []
    unsettled: list[Span] = []

    def at(self, as_of: datetime) -> Expected | None:
        """None where the case is not yet known, or not settled."""
        if as_of < self.known_from or any(span.holds(as_of) for span in self.unsettled):
            return None
        hops = {name: state for name, line in self.hops.items() if (state := _state(line, as_of)) is not None}
        standing = [span for span in self.breaks if span.holds(as_of)]
        waits = any(state in OPEN_STATES for state in hops.values()) or any(s.holds(as_of) for s in self.pending)
        failure = next((span.name for span in self.failures if span.holds(as_of)), None)
        classes = frozenset(span.name for span in standing)
        return Expected(
            outcome="break" if standing else "pending" if waits else "ok",
            break_classes=classes,
            hops=hops,
            failure=failure,
            exposure_minor=max((span.exposure_minor for span in standing), default=0),
            currency=self.currency,
            owners={name: OWNERS[failure] for name in classes & _DELIVERED_LEGS} if failure else {},
        )


class DeadLetterTruth(msgspec.Struct, tag="dead_letter", tag_field="truth", frozen=True, gc=False):
    """A record that must become a dead letter. `digest` is that of its bytes; `malformed` what is wrong with it."""

    deliver_at: datetime
    malformed: str
    failure: str
    digest: str


class Truth:
    """Collects in memory what a simulation did. For a million cases use `TruthFile`."""

    def __init__(self) -> None:
        self.cases: dict[str, CaseTruth] = {}
        self.dead_letters: list[DeadLetterTruth] = []

    def add(self, entry: CaseTruth | DeadLetterTruth) -> None:
        if isinstance(entry, CaseTruth):
            self.cases[entry.correlation_id] = entry
        else:
            self.dead_letters.append(entry)

    def dead_letters_by_class(self) -> Counter[str]:
        return Counter(letter.malformed for letter in self.dead_letters)


class TruthFile:
    """Writes each entry as a line of JSON when it is added; close it, or use it in a `with`."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def add(self, entry: CaseTruth | DeadLetterTruth) -> None:
        self._file.write(_encoder.encode(entry) + b"\n")

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read(path: Path) -> Iterator[CaseTruth | DeadLetterTruth]:
    with path.open("rb") as lines:
        for line in lines:
            yield _decoder.decode(line)


def leg(
    known_from: datetime,
    due_at: datetime,
    missing_at: datetime,
    ended_at: datetime | None = None,
    seen_at: datetime | None = None,
    is_late: bool | None = None,
) -> Timeline:
    """States of a leg that is known to run from `known_from`. Its end was booked at `ended_at`, delivered at `seen_at`.

    `is_late` says whether it ended late where that is not `ended_at > due_at`.
    """
    seen_at = max(seen_at, known_from) if seen_at is not None else None
    opens = [(known_from, "waiting"), (max(known_from, due_at), "late"), (max(known_from, missing_at), "missing")]
    line = [(since, state) for since, state in opens if seen_at is None or since < seen_at]
    if ended_at is not None and seen_at is not None:
        late = ended_at > due_at if is_late is None else is_late
        line.append((seen_at, "met_late" if late else "met"))
    return line


def spans(line: Timeline, state: str) -> Iterator[tuple[datetime, datetime | None]]:
    """When the timeline is in `state`."""
    for index, (since, name) in enumerate(line):
        if name == state:
            until = line[index + 1][0] if index + 1 < len(line) else None
            if since != until:
                yield since, until


def _state(line: Timeline, as_of: datetime) -> str | None:
    state = None
    for since, name in line:
        if since > as_of:
            break
        state = name
    return state


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(CaseTruth | DeadLetterTruth)
