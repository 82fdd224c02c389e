"""A case: the set of facts known under one case key.

- Adding is commutative, associative and idempotent: order, duplicates and replays cannot change the set.
- A fact is (id, type, data). The same fact delivered again keeps the smallest envelope (time, traceparent, ...), so the
  set does not depend on which delivery came first.
- One id with two different contents keeps both. Of them the higher `version` holds; where the versions are equal it is
  a conflict, and the one judged is chosen by content, never by arrival.
- An `allocation.set` tells what another case means for this one (rule E6): only its highest version is kept.
- `forgotten` is how many of its facts the store no longer keeps (rule E14): retention drops facts, never what was counted.
- Limit `facts_per_case`: beyond it the facts are let go and `is_over_limit` stays set: memory is bounded and the
  verdict constant, whatever the order.

Events come in as `canonical.structs` (or as pydantic events, which are converted: unknown fields do not take part).
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

import msgspec
from pydantic import BaseModel

from canonical import records, structs
from canonical.events import Event

FACTS_PER_CASE = 2_000
ALLOCATION = "allocation.set"

_in_order = attrgetter("time", "id")


class Case:
    """Facts of one case key. `limit` is policy's `facts_per_case`."""

    __slots__ = ("_facts", "_rivals", "count", "forgotten", "is_claimed", "is_over_limit", "key", "limit")

    def __init__(self, key: str, limit: int = FACTS_PER_CASE) -> None:
        self.key = key
        self.limit = limit
        self.count = 0
        self.forgotten = 0
        self.is_over_limit = False
        self.is_claimed = False  # whether another case has said that this key is an alias of its own
        self._facts: dict[str, Event] = {}
        self._rivals: list[Event] | None = None  # further contents of an id: rare, so not paid for by every case

    def add(self, event: Event) -> bool:
        """True if the set changed. Raises ValueError for an event of another case (a broken invariant)."""
        if event.correlationid != self.key:
            raise ValueError(f"event {event.id} belongs to case {event.correlationid}, not to {self.key}")
        if self.is_over_limit:
            return False
        event = _normal(event)
        if event.type == ALLOCATION:
            return self._revise(event)
        known = self._facts.get(event.id)
        if known is None:
            self._facts[event.id] = event
            return self._counted()
        if _same_content(known, event):
            if _envelope(event) < _envelope(known):
                self._facts[event.id] = event
                return True
            return False
        return self._add_rival(event)

    def everything(self) -> list[Event]:
        """Every content of every fact, those that no longer hold too; in no order."""
        return [*self._facts.values(), *(self._rivals or ())]

    def facts(self) -> list[Event]:
        """One event an id, in order of (time, id)."""
        chosen = list(self._facts.values())
        if self._rivals is not None:
            chosen = [min(self._contents(ident), key=_preference) for ident in self._facts]
        if len(chosen) > 1:
            chosen.sort(key=_in_order)
        return chosen

    def conflicts(self) -> tuple[str, ...]:
        """Ids with more than one content at their highest version."""
        if self._rivals is None:
            return ()
        return tuple(ident for ident in sorted({rival.id for rival in self._rivals}) if self._is_conflict(ident))

    def _add_rival(self, event: Event) -> bool:
        rivals = self._rivals = self._rivals or []
        for index, rival in enumerate(rivals):
            if rival.id == event.id and _same_content(rival, event):
                if _envelope(event) < _envelope(rival):
                    rivals[index] = event
                    return True
                return False
        rivals.append(event)
        return self._counted()

    def _revise(self, event: Event) -> bool:
        """Of two revisions the higher one is kept, of one revision the smaller content and envelope.

        Kept under a name that no fact id can have, whatever ids other events use: they hold a space.
        """
        name = f"{ALLOCATION} {event.id}"
        known = self._facts.get(name)
        if known is not None and _revision(event) >= _revision(known):
            return False
        self._facts[name] = event
        data: Any = event.data
        self.is_claimed = self.is_claimed or data.kind == "alias"
        return self._counted() if known is None else True

    def _counted(self) -> bool:
        self.count += 1
        if self.count > self.limit:
            self.is_over_limit = True
            self._facts, self._rivals = {}, None
        return True

    def _contents(self, ident: str) -> Iterator[Event]:
        yield self._facts[ident]
        for rival in self._rivals or ():
            if rival.id == ident:
                yield rival

    def _is_conflict(self, ident: str) -> bool:
        versions = [_version(event) for event in self._contents(ident)]
        return versions.count(max(versions)) > 1


def _normal(event: Event) -> Event:
    """As a struct, its times in UTC: one text for one instant."""
    if isinstance(event, BaseModel):
        return structs.decode(records.encode(event))
    if event.time.tzinfo is not UTC:
        event = _replace(event, time=_utc(event.time))
    booked = event.data.recorded_at
    if booked is not None and booked.tzinfo is not UTC:
        event = _replace(event, data=_replace(event.data, recorded_at=_utc(booked)))
    return event


def _replace(struct: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(struct, **changes)


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def _same_content(one: Event, other: Event) -> bool:
    return one.type == other.type and one.data == other.data


def _envelope(event: Event) -> tuple[datetime, str, str, str, str]:
    return (event.time, event.traceparent or "", event.source, event.subject, event.dataschema)


def _version(event: Event) -> int:
    version = event.data.version
    return -1 if version is None else version


def _revision(event: Event) -> tuple[int, bytes, Any]:
    return (*_preference(event), _envelope(event))


def content(event: Event) -> bytes:
    """What the fact says, as bytes with one total order."""
    return event.type.encode() + msgspec.json.encode(event.data)


def _preference(event: Event) -> tuple[int, bytes]:
    return (-_version(event), content(event))
