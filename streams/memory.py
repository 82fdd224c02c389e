"""A partition's cases in memory: a cache over ClickHouse, never the record. What it takes is bounded, whatever is open.

- A case that was touched since the last flush is dirty and is never evicted (rule E10); after a flush it is clean.
- What is evicted while it is open is packed: a tenth of the bytes, and a hundredth of the time that the store takes to give
  it back. What has come to its end leaves memory.
- `known` holds a 64-bit hash of every case key the store had when the partition was claimed, and of every one seen
  since: a key outside it is proven not to exist, so a new case needs no look-up. Eight bytes a case; two keys of one hash
  cost one look-up.
- `deadlines` holds the next ones alone, in a heap: all before `deadlines.until`, from which on the store is asked. Entries
  that no longer match their case are dropped when they are due.
- What an earlier owner told of a case's breaks is known where its verdict lies below `told_to`. While `tells_all`, what
  is read may have been read before, by a life whose verdicts the store has lost: then nothing told is known.
- `awaited` says from when on a source's progress matters to some open case: which ones, the store is asked then.
- Nothing here does I/O; who loads is told what is missing.
"""

import heapq
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any, NamedTuple

import msgspec
from lz4 import block as lz4  # type: ignore[import-untyped]

from canonical.structs import decode, plain
from matching.case import Case
from matching.verdict import Awaited
from sinks.client import key_hash

FOREVER = datetime.max.replace(tzinfo=UTC)
FRESH_KEYS = 100_000  # kept as a set, 70 bytes each, before they are laid into an array
MOST_RUNS = 8


class Known:
    """Hashes of keys: sorted arrays, the first as the store gave it, and a set of what is new."""

    def __init__(self, stored: bytes = b"") -> None:
        self._runs = [array("Q", stored)]
        self._fresh: set[int] = set()

    def __contains__(self, key: str) -> bool:
        value = key_hash(key)
        return value in self._fresh or any(_holds(run, value) for run in self._runs)

    def add(self, key: str) -> None:
        self._fresh.add(key_hash(key))
        if len(self._fresh) < FRESH_KEYS:
            return
        self._runs.append(array("Q", sorted(self._fresh)))
        self._fresh = set()
        if len(self._runs) > MOST_RUNS:
            self._runs[1:] = [array("Q", sorted(chain.from_iterable(self._runs[1:])))]


def _holds(run: "array[int]", value: int) -> bool:
    place = bisect_left(run, value)
    return place < len(run) and run[place] == value


class Deadlines:
    """A window of the next (deadline, key): whatever is due before `until` is here, the rest in the store alone."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.until = FOREVER
        self._heap: list[tuple[datetime, str]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def refill(self, stored: Sequence[tuple[datetime, str]]) -> None:
        """With what the store gave from `until` on, `most` of them at the most: fewer are all there are."""
        self.until = stored[-1][0] if len(stored) == self.most else FOREVER
        for entry in stored:
            heapq.heappush(self._heap, entry)

    def add(self, deadline: datetime, key: str) -> None:
        if deadline >= self.until:
            return
        heapq.heappush(self._heap, (deadline, key))
        if len(self._heap) > 2 * self.most:
            self._heap = heapq.nsmallest(self.most, self._heap)
            self.until = self._heap[-1][0]

    def is_spent(self, now: datetime) -> bool:
        """Whether the store may hold a deadline that has come and is not here."""
        return self.until <= now and not (self._heap and self._heap[0][0] <= now)

    def pop(self, now: datetime) -> tuple[datetime, str] | None:
        return heapq.heappop(self._heap) if self._heap and self._heap[0][0] <= now else None


NO_BREAKS: frozenset[tuple[str, str]] = frozenset()
NOTHING_TOLD: Mapping[Any, Any] = {}


class Entry:
    """A case, the records its facts came from, and what the store holds of its verdict (`digest` 0: nothing yet)."""

    __slots__ = ("case", "digest", "dirty", "first_seen", "is_open", "next_deadline", "raws", "told", "told_breaks")

    def __init__(self, case: Case) -> None:
        self.case = case
        self.raws: list[bytes] = []  # added again in any order they give the same facts
        self.dirty = False
        self.is_open = True
        self.first_seen: datetime | None = None
        self.digest = 0
        self.next_deadline: datetime | None = None
        self.told_breaks: frozenset[tuple[str, str]] | None = NO_BREAKS  # None: somebody may have told of others
        self.told: Mapping[Any, Any] = NOTHING_TOLD  # effects, and facts sent on, since the case was loaded

    def add(self, event: Any, raw: bytes) -> bool:
        """True if it changed the facts. Raises ValueError for an event of another case."""
        if not self.case.add(event):
            return False
        self.raws.append(raw if b"\n" not in raw else raw.replace(b"\n", b" "))  # in JSON only white space
        if self.case.is_over_limit:
            self.raws = []
        elif len(self.raws) > 2 * self.case.count + MORE_RAWS:  # parts told again and again: the last one holds
            self.raws = [_encode(fact) for fact in self.case.everything()]
        return True


Told = tuple[str, str]  # class and fingerprint of a break
_Head = tuple[datetime | None, int, datetime | None, list[Told] | None, int]
_encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode
_decode_head: Callable[[bytes], _Head] = msgspec.json.Decoder(_Head).decode
MOST_SAMPLE_BYTES = 8_192
MORE_RAWS = 8  # records of a case beyond twice its facts, before its facts are written anew


class Packed:
    """Clean cases as compressed text, `most` at the most; the half that was packed first goes first.

    The first case of a kind is the dictionary that the others of its kind are compressed with: nearly all of a case is names
    of fields and what its kind has in common. What was told of effects is not kept: it may be told again.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._lately: dict[str, bytes] = {}
        self._earlier: dict[str, bytes] = {}
        self._samples: dict[str, bytes] = {}

    def __len__(self) -> int:
        return len(self._lately) + len(self._earlier)

    def put(self, key: str, entry: Entry) -> None:
        case = entry.case
        if self.most < 2 or case.is_over_limit:
            return
        breaks = None if entry.told_breaks is None else sorted(entry.told_breaks)
        head = (entry.first_seen, entry.digest, entry.next_deadline, breaks, case.forgotten)
        text = b"\n".join([_encode(head), *entry.raws])
        sample = self._samples.setdefault(key.partition(":")[0], text[:MOST_SAMPLE_BYTES])
        if len(self._lately) >= self.most // 2:
            self._earlier, self._lately = self._lately, {}
        self._lately[key] = lz4.compress(text, dict=sample)

    def take(self, key: str, limit: int) -> Entry | None:
        """The case, which is not kept here any longer; None where it is not. `limit`: of its facts."""
        packed = self._lately.pop(key, None) or self._earlier.pop(key, None)
        if packed is None:
            return None
        lines = lz4.decompress(packed, dict=self._samples[key.partition(":")[0]]).split(b"\n")
        entry = Entry(Case(key, limit))
        for raw in lines[1:]:
            entry.add(plain(raw) or decode(raw), raw)
        entry.first_seen, entry.digest, entry.next_deadline, breaks, entry.case.forgotten = _decode_head(lines[0])
        entry.told_breaks = None if breaks is None else frozenset(breaks)
        return entry


class Reached(NamedTuple):
    """What cases were judged with: the time, and up to when each feed was complete."""

    judged_to: datetime
    complete_to: Mapping[str, datetime]


class Partition:
    """Everything a worker knows of one partition while it owns it under `epoch`."""

    def __init__(
        self, number: int, epoch: int, facts_of: Callable[[str], int], deadlines_kept: int = 1_000, packed: int = 0
    ) -> None:
        self.number = number
        self.epoch = epoch
        self._facts_of = facts_of
        self._most_facts: dict[str, int] = {}  # by kind of case
        self.seq = 0
        self.cases: dict[str, Entry] = {}
        self.dirty: dict[str, Entry] = {}
        self.packed = Packed(packed)
        self.known = Known()
        self.deadlines = Deadlines(deadlines_kept)
        self.awaited: dict[str, datetime] = {}
        self.claimed_at_s = 0.0  # by the loop, whose time no clock sets
        self.retold: set[str] = set()  # cases told again, of which an earlier owner may not have told
        self.told_to = 0  # revision up to which breaks were told when the partition was claimed
        self.reached: Reached | None = None  # by earlier owners, as long as we have come less far
        self.tells_all = True  # whether every case that is judged tells its breaks, those told before too
        self.is_of_policy = False  # whether no open case is known to be judged by another policy (rule E16)
        self.is_whole = False  # whether no case lies in two months (rule E9)

    def facts_of(self, key: str) -> int:
        """How many facts the case may have."""
        kind = key.partition(":")[0]
        most = self._most_facts.get(kind)
        if most is None:
            most = self._facts_of(key)
            if len(self._most_facts) < 100:  # kinds are a few; a key may hold anything
                self._most_facts[kind] = most
        return most

    def next_seq(self) -> int:
        self.seq += 1
        return self.seq

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Keys that must be loaded before a fact is added: in the store, not in memory. What is packed is unpacked."""
        return [
            key for key in dict.fromkeys(keys) if key not in self.cases and key in self.known and not self._unpack(key)
        ]

    def _unpack(self, key: str) -> bool:
        entry = self.packed.take(key, self.facts_of(key))
        if entry is not None:
            self.cases[key] = entry
        return entry is not None

    def entry(self, key: str) -> Entry:
        """The case, made anew where it does not exist; now the most recently used."""
        entry = self.cases.pop(key, None)
        if entry is None:
            entry = Entry(Case(key, self.facts_of(key)))
            self.known.add(key)
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

    def schedule(
        self, key: str, entry: Entry, next_deadline: datetime | None, awaiting: Iterable[Awaited] = ()
    ) -> None:
        if next_deadline is not None and next_deadline != entry.next_deadline:
            self.deadlines.add(next_deadline, key)
        entry.next_deadline = next_deadline
        for awaited in awaiting:
            self.awaited[awaited.source] = min(awaited.until, self.awaited.get(awaited.source, awaited.until))

    def due(self, now: datetime, limit: int) -> Iterator[str]:
        """Keys whose deadline has come, each once; those rescheduled meanwhile are left out."""
        while limit and (found := self.deadlines.pop(now)) is not None:
            deadline, key = found
            entry = self.cases.get(key)
            if entry is None or entry.next_deadline == deadline:
                limit -= 1
                yield key

    def evict(self, allowed: int) -> int:
        """Packs or drops clean cases, the least recently used first, down to `allowed`; returns how many."""
        excess = len(self.cases) - allowed
        if excess <= 0:
            return 0
        victims: list[str] = []
        for key, entry in self.cases.items():
            if len(victims) == excess:
                break
            if not entry.dirty:
                victims.append(key)
        for key in victims:
            entry = self.cases.pop(key)
            if entry.is_open:
                self.packed.put(key, entry)
        return len(victims)
