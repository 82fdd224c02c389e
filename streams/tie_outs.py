"""A tie-out as it is asked for on the command line: where facts come from, on which basis, and what is written of it.

- Facts come from files of canonical events or from the store; either way case by case, so that memory holds what does not
  yet agree and not what does.
- The ledger, where none is named, is the only one that the entity has postings of; two need a choice.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from canonical.dead_letters import DeadLetter
from canonical.events import EARLIEST, Event
from canonical.structs import RecordError, admit, decode
from matching.parallel import Found, Outcome, Parallel, Scope
from matching.policy import Policy
from matching.tieout.basis import Basis, Span
from matching.tieout.bridge import Bridge, Line, TieOut
from matching.tieout.close import knowledge, restated, signed
from matching.tieout.report import as_record
from sinks.tieouts import TieOutRow, TieOutStore
from streams.batch import Runs

_KEPT = ("balance.reported", "close.signed")


class CannotTieOut(Exception):
    """It cannot be done as asked; one sentence."""


class Facts(NamedTuple):
    """`cases` may be read once. `ledgers`: base currency by ledger, of the entity; `read`: how far the log was, if known.

    `latest`: the latest event's time of what comes from files. `missing`: what is known not to be among the facts.
    """

    ledgers: dict[str, str]
    kept: list[Event]
    cases: Iterator[tuple[str, list[Event]]]
    read: list[tuple[str, int, int]]
    latest: datetime = EARLIEST
    missing: tuple[str, ...] = ()


class Done(NamedTuple):
    """A tie-out, the signature that holds, and what has moved since then without being booked later."""

    made: TieOut
    close: Any | None
    restated: list[Line]

    @property
    def record(self) -> dict[str, Any]:
        return as_record(self.made, self.close, self.restated)


def from_lines(
    lines: Iterable[bytes], entity: str, folder: Path, on_dead_letter: Callable[[DeadLetter], None]
) -> Facts:
    """Facts of canonical events in files; `folder` takes what does not fit in memory."""
    runs, postings, kept, latest = Runs(folder), Counter[tuple[str, str]](), list[Event](), EARLIEST
    refused = 0
    for line in lines:
        record = line.strip().replace(b"\n", b" ")
        try:
            event: Any = admit(record)
        except RecordError as error:
            on_dead_letter(DeadLetter("mapping", str(error)))
            refused += 1
            continue
        runs.add(event.correlationid.encode(), record)
        latest = max(latest, event.time)
        if event.data.entity == entity:
            if event.type == "posting.recorded":
                postings[event.data.ledger, event.data.base_currency] += 1
            elif event.type in _KEPT:
                kept.append(event)
    cases = (
        (key.decode(), [decode(record) for _, record in keyed])
        for key, keyed in groupby(runs.merged(), key=itemgetter(0))
    )
    missing = (f"{refused} lines were no canonical events",) if refused else ()
    return Facts(_ledgers(postings), kept, cases, [], latest, missing)


def from_store(store: TieOutStore, entity: str) -> Facts:
    ledgers = _ledgers(store.ledgers(entity))
    kept = [decode(raw) for raw in store.of_types(_KEPT, entity)]
    cases = ((key, [decode(raw) for raw in found]) for key, found in store.cases())
    letters = store.open_letters().items()
    missing = tuple(
        f"{count} dead letters of {source} are open: what they say is not in the books" for source, count in letters
    )
    return Facts(ledgers, kept, cases, store.read_positions(), missing=missing)


def _ledgers(postings: Mapping[tuple[str, str], int]) -> dict[str, str]:
    """By ledger the currency that most of its postings are kept in: one in another is a mistake, not the ledger's currency."""
    return dict(sorted(postings, key=lambda each: (postings[each], each)))


def tie_out(facts: Facts, basis: Basis, policy: Policy) -> Done:
    """Ties out one period. Raises CannotTieOut."""
    begun = _begin(facts, basis, policy)
    for key, found in facts.cases:
        begun.bridge.add(key, found)
    return begun.done()


def tie_out_all(store: TieOutStore, periods: Sequence[Span], policy: Policy) -> list[Done]:
    """Ties out these periods of every ledger that an entity has postings of, reading the cases once."""
    begun = [
        _begin(facts, Basis(entity, ledger, period), policy)
        for entity in store.entities()
        for facts in [from_store(store, entity)]
        for ledger in facts.ledgers
        for period in periods
    ]
    for key, raws in store.cases():
        found = [decode(raw) for raw in raws]
        for each in begun:
            each.bridge.add(key, found)
    return [each.done() for each in begun]


class _Begun(NamedTuple):
    """A tie-out whose cases are still to come."""

    bridge: Bridge
    close: Any | None
    missing: tuple[str, ...]

    def done(self) -> Done:
        made = self.bridge.result(self.missing)
        return Done(made, self.close, restated(made, self.close) if self.close is not None else [])


def _begin(facts: Facts, basis: Basis, policy: Policy) -> _Begun:
    ledger = _ledger(facts, basis)
    basis = basis._replace(ledger=ledger)
    close = signed(basis, (event for event in facts.kept if event.type == "close.signed"))
    if close is not None:
        basis = basis._replace(signed_at=knowledge(close))
    reports = [event for event in facts.kept if event.type == "balance.reported"]
    return _Begun(Bridge(basis, facts.ledgers[ledger], policy, reports), close, facts.missing)


def _ledger(facts: Facts, basis: Basis) -> str:
    known = ", ".join(sorted(facts.ledgers))
    if not facts.ledgers:
        raise CannotTieOut(f"there are no postings of entity {basis.entity}")
    if basis.ledger and basis.ledger not in facts.ledgers:
        raise CannotTieOut(f"entity {basis.entity} has no ledger {basis.ledger}; known are {known}")
    if not basis.ledger and len(facts.ledgers) > 1:
        raise CannotTieOut(f"entity {basis.entity} has several ledgers, say which one with --ledger: {known}")
    return basis.ledger or next(iter(facts.ledgers))


def compare(facts: Facts, scope: Scope, policy: Policy, now: datetime, on_found: Callable[[Found], None]) -> Outcome:
    """Two ledgers in parallel; `on_found` is told of every difference, case by case."""
    parallel = Parallel(scope, policy, now)
    for key, found in facts.cases:
        for difference in parallel.found(key, found):
            on_found(difference)
    return parallel.outcome()


def store_row(done: Done, at: datetime) -> TieOutRow:
    basis = done.made.basis
    raw = msgspec.json.encode(done.record).decode()
    return TieOutRow(basis.entity, basis.ledger, basis.period.name, done.made.state, at, raw)
