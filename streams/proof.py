"""What a proof of completeness found: counts by partition, what is wrong with its exact place, and how both are told.

- A record of the log is exactly one of: fact, dead letter, ignored on purpose, unread, missing. `duplicates` are those
  among the facts that say what another record said already.
- `Proof.is_complete` is true where nothing was found that is missing, unread, unequal or beyond proof.
- Problems are counted all, kept up to KEPT_PROBLEMS, printed up to SHOWN_PROBLEMS.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any, Literal, NamedTuple

KEPT_PROBLEMS = 1_000
SHOWN_PROBLEMS = 20

Kind = Literal[
    "missing",  # a record of the log is neither a fact nor a dead letter, or one of its events is no fact
    "altered",  # the store holds other bytes for a record, or other contents for a fact
    "unread",  # records that the worker has not stored yet
    "gap",  # offsets that the log dropped before they were read
    "below_start",  # offsets that are no longer in the log and in no run of reading that the store holds
    "recreated",  # the topic was made anew; what the store holds is of the one before
    "no_verdict",  # a case with facts and without a verdict
    "stale_verdict",  # a verdict that counts fewer facts than its case has
    "history_incomplete",  # a verdict that counted more facts than the store still holds
    "total_differs",  # a source's own total is not what its facts come to
]


@dataclass
class Counts:
    records: int = 0
    facts: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    ignored: int = 0
    unread: int = 0
    missing: int = 0

    def add(self, other: "Counts") -> None:
        for item in fields(self):
            setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))

    @property
    def residual(self) -> int:
        """Records that are none of what a record can be: always 0, or the proof itself is wrong."""
        return self.records - self.facts - self.dead_letters - self.ignored - self.unread - self.missing


@dataclass
class PartitionProof:
    """`log_start` and `log_end` as of the snapshot; `begin` and `end` what was asked for; `next_offset` the store's."""

    topic: str
    partition: int
    log_start: int
    log_end: int
    begin: int
    end: int
    from_offset: int
    next_offset: int
    counts: Counts = field(default_factory=Counts)


class Problem(NamedTuple):
    kind: Kind
    what: str
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    case_key: str | None = None

    @property
    def place(self) -> str:
        if self.topic is None:
            return self.case_key or ""
        return f"{self.topic}/{self.partition}" + ("" if self.offset is None else f"@{self.offset}")


@dataclass
class Proof:
    as_of: datetime
    begin: datetime | None
    end: datetime | None
    partitions: list[PartitionProof] = field(default_factory=list)
    verdicts: int = 0
    cases_looked_at: int = 0
    totals: int = 0
    problems: list[Problem] = field(default_factory=list)
    problem_counts: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        return not self.problem_counts

    def find(self, problem: Problem) -> None:
        self.problem_counts[problem.kind] += 1
        if len(self.problems) < KEPT_PROBLEMS:
            self.problems.append(problem)

    def topics(self) -> dict[str, Counts]:
        found: dict[str, Counts] = {}
        for part in self.partitions:
            found.setdefault(part.topic, Counts()).add(part.counts)
        return found


def lines(proof: Proof) -> Iterator[str]:
    """For people: a table a topic, then what is wrong with its place, then the answer."""
    names = [item.name for item in fields(Counts)]
    yield f"{'topic':<20}" + "".join(f"{name.replace('_', ' '):>14}" for name in names)
    for topic, counts in proof.topics().items():
        yield f"{topic:<20}" + "".join(f"{getattr(counts, name):>14,}" for name in names)
    yield f"{proof.verdicts:,} verdicts, {proof.totals:,} totals reported by sources"
    yield from (f"note: {note}" for note in proof.notes)
    for problem in proof.problems[:SHOWN_PROBLEMS]:
        yield f"{problem.kind:<18} {problem.place}: {problem.what}"
    more = proof.problem_counts.total() - SHOWN_PROBLEMS
    if more > 0:
        yield f"... and {more:,} more ({', '.join(f'{count:,} {kind}' for kind, count in proof.problem_counts.items())})"
    yield "COMPLETE: every record is accounted for" if proof.is_complete else "INCOMPLETE: not proven"


def as_json(proof: Proof) -> dict[str, Any]:
    return {
        "complete": proof.is_complete,
        "as_of": proof.as_of.isoformat(),
        "from": proof.begin and proof.begin.isoformat(),
        "to": proof.end and proof.end.isoformat(),
        "topics": [{"topic": topic} | asdict(counts) for topic, counts in proof.topics().items()],
        "partitions": [
            asdict(part) | {"counts": asdict(part.counts) | {"residual": part.counts.residual}}
            for part in proof.partitions
        ],
        "verdicts": proof.verdicts,
        "reported_totals": proof.totals,
        "problem_counts": dict(proof.problem_counts),
        "problems": [problem._asdict() for problem in proof.problems],
        "notes": proof.notes,
    }
