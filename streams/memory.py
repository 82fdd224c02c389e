"""A partition's cases in memory: a cache over ClickHouse, never the record.

- A case that was touched since the last flush is dirty and is never evicted (rule E10); after a flush it is clean.
- `known` holds a 64-bit hash of every case key the store had when the partition was claimed, and of every one seen
  since: a key outside it is proven not to exist, so a new case needs no look-up. A hash collision costs one look-up.
- `deadlines` is a heap of (next_deadline, key); entries that no longer match their case are dropped when they are due.
- Nothing here does I/O; who loads is told what is missing.
"""

import heapq
from collections.abc import Iterable, Iterator
from datetime import datetime

from matching.case import Case


class Entry:
    """A case and what the store holds of its verdict (`digest` 0: nothing yet)."""

    __slots__ = ("case", "digest", "dirty", "first_seen", "next_deadline", "open_breaks")

    def __init__(self, case: Case) -> None:
        self.case = case
        self.dirty = False
        self.first_seen: datetime | None = None
        self.digest = 0
        self.next_deadline: datetime | None = None
        self.open_breaks: frozenset[tuple[str, str]] = frozenset()


class Partition:
    """Everything a worker knows of one partition while it owns it under `epoch`."""

    def __init__(self, number: int, epoch: int, facts_per_case: int) -> None:
        self.number = number
        self.epoch = epoch
        self.facts_per_case = facts_per_case
        self.seq = 0
        self.cases: dict[str, Entry] = {}
        self.dirty: dict[str, Entry] = {}
        self.known: set[int] = set()
        self.deadlines: list[tuple[datetime, str]] = []

    def next_seq(self) -> int:
        self.seq += 1
        return self.seq

    def learn(self, key: str, next_deadline: datetime | None) -> None:
        """A case that the store holds."""
        self.known.add(hash(key))
        if next_deadline is not None:
            heapq.heappush(self.deadlines, (next_deadline, key))

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Keys that must be loaded before a fact is added: in the store, not in memory."""
        return [key for key in dict.fromkeys(keys) if key not in self.cases and hash(key) in self.known]

    def entry(self, key: str) -> Entry:
        """The case, made anew where it does not exist; now the most recently used."""
        entry = self.cases.pop(key, None)
        if entry is None:
            entry = Entry(Case(key, self.facts_per_case))
            self.known.add(hash(key))
        self.cases[key] = entry
        return entry

    def touch(self, key: str, entry: Entry) -> None:
        """Rule E1: whatever was read since the last commit is judged again."""
        if not entry.dirty:
            entry.dirty = True
            self.dirty[key] = entry

    def take_dirty(self) -> dict[str, Entry]:
        dirty, self.dirty = self.dirty, {}
        for entry in dirty.values():
            entry.dirty = False
        return dirty

    def schedule(self, key: str, entry: Entry, next_deadline: datetime | None) -> None:
        if next_deadline is not None and next_deadline != entry.next_deadline:
            heapq.heappush(self.deadlines, (next_deadline, key))
        entry.next_deadline = next_deadline

    def due(self, now: datetime, limit: int) -> Iterator[str]:
        """Keys whose deadline has come, each once; those rescheduled meanwhile are left out."""
        while self.deadlines and self.deadlines[0][0] <= now and limit:
            deadline, key = heapq.heappop(self.deadlines)
            entry = self.cases.get(key)
            if entry is None or entry.next_deadline == deadline:
                limit -= 1
                yield key

    def evict(self, allowed: int, in_flight: Iterable[str] = ()) -> int:
        """Drops clean cases, the least recently used first, down to `allowed`; returns how many."""
        excess = len(self.cases) - allowed
        if excess <= 0:
            return 0
        kept = set(in_flight)
        victims = []
        for key, entry in self.cases.items():
            if len(victims) == excess:
                break
            if not entry.dirty and key not in kept:
                victims.append(key)
        for key in victims:
            del self.cases[key]
        return len(victims)
