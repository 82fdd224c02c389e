"""The owner of choices between cases (rule E7): which open items money pays that names none.

- An entity has one owner: the worker that holds the partition which the entity's name hashes to. Of all its currencies, for
  money in the ledger's currency may pay a document in another one.
- Nothing is kept that the store does not hold. Receipts and open items (and those whose last event is not older than
  `window_days`) are read from it, again only where they changed; an entity with more than `open_items` of them is left alone.
- A receipt is decided `wait_s` after it was first seen, and only up to where all sources are complete.
- In this order: choose, write the choices, read back which of them hold, look whether the entity still is ours, tell them.
  A choice that was written and not told, for whoever wrote it died, is told again as it was. Told twice it is one fact.
- What was chosen and has not come to its items yet is taken from them here.
- A near tie is told to the receipt's case once for each set of candidates.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from canonical import records
from canonical.structs import decode
from matching.case import ALLOCATION, Case
from matching.identify import Book, Match, Receipt, identify_all
from matching.matches import REFUSED, as_event
from matching.policy import Policy
from matching.unidentified import item_of, receipts_of
from sinks.rows import MatchRow, revision
from streams import metrics
from streams.memory import Partition
from streams.partitioner import partition_of
from streams.ports import NotOwner, Outbound

LOADED_AT_ONCE = 1_000  # cases, between which the worker goes on with its own
IN_FLIGHT = timedelta(minutes=10)  # longer than a choice takes to its items

Ask = Callable[..., Awaitable[Any]]


class Asking(NamedTuple):
    """Receipts of one case, and the digests of what was refused there already."""

    receipts: Sequence[Receipt]
    refused: frozenset[str]


class Entity:
    """What is known of one entity, by the revisions at which it was read."""

    def __init__(self, policy: Policy) -> None:
        self.book = Book(policy.identification)
        self.items: dict[str, int] = {}
        self.told: dict[str, frozenset[str]] = {}  # item: receipts whose part has come to it
        self.receipts: dict[str, tuple[int, Asking]] = {}
        self.settled_at: Any = None  # the state in which nothing more could be chosen


class Identification:
    """`ask` calls the store, patiently; `publish` returns once the broker has acknowledged."""

    def __init__(self, policy: Policy, open_items: int, ask: Ask, publish: Callable[[Sequence[Outbound]], Awaitable[None]]) -> None:  # fmt: skip
        self._policy = policy
        self._most = open_items
        self._ask, self._publish = ask, publish
        self._entities: dict[str, Entity] = {}

    async def decide(self, owned: Mapping[int, Partition], partitions: int, worker: str, now: datetime, horizon: datetime) -> int:  # fmt: skip
        """One round over the entities of the owned partitions; returns how many decisions it told."""
        until = horizon - timedelta(seconds=self._policy.identification.wait_s)
        asking: dict[str, dict[str, int]] = defaultdict(dict)
        for entity, key, number in await self._ask("unidentified", until):
            if partition_of(entity.encode(), partitions) in owned:
                asking[entity][key] = number
        self._entities = {name: known for name, known in self._entities.items() if name in asking}
        told = 0
        for name, receipts in asking.items():
            home = owned[partition_of(name.encode(), partitions)]
            told += await self._decide_for(name, receipts, home, worker, now)
        return told

    async def _decide_for(self, name: str, keys: Mapping[str, int], home: Partition, worker: str, now: datetime) -> int:
        entity = self._entities.setdefault(name, Entity(self._policy))
        await self._read_receipts(entity, keys)
        asking = [receipt for _, known in entity.receipts.values() for receipt in known.receipts]
        if not asking:
            return 0
        items = await self._ask("open_items", name, now - timedelta(days=self._policy.identification.window_days))
        if len(items) > self._most:
            metrics.limit_hit("open_items")
            return 0
        stored = await self._ask("matches_of", name, [*keys], now - IN_FLIGHT)
        state = (dict(keys), items, [row[:5] for row in stored])
        if entity.settled_at == state:
            return 0
        await self._read_items(entity, items)
        entity.book.take_anew(_in_flight(stored, entity.told))
        chosen = {(row.case_key, row.payment_id): row for row in stored}
        again = [chosen[receipt.ident].raw for receipt in asking if receipt.ident in chosen]
        others = [receipt for receipt in asking if receipt.ident not in chosen]
        decided = await asyncio.to_thread(identify_all, entity.book, others)  # the worker goes on meanwhile
        matches = [decision for decision in decided if isinstance(decision, Match)]
        made = [self._row(name, match, home, now) for match in matches]
        ties = [each for each in decided if not isinstance(each, Match) and self._is_news(entity, each)]
        refused = [self._refusal(tie, home) for tie in ties]
        holding = await self._written(name, made, home, worker)
        await self._tell([*again, *holding, *refused])
        metrics.identified([(match.rule, "matched") for match in matches] + [(tie.rule, "refused") for tie in ties])
        entity.settled_at = None if made or again else state
        return len(holding) + len(refused)

    def _row(self, name: str, match: Match, home: Partition, now: datetime) -> MatchRow:
        seq, receipt = home.next_seq(), match.receipt
        raw = records.encode(as_event(match, self._policy.hash, revision(home.epoch, seq)))
        return MatchRow(name, receipt.home, receipt.payment_id, home.epoch, seq, raw, now)

    def _refusal(self, decision: Any, home: Partition) -> bytes:
        return records.encode(as_event(decision, self._policy.hash, revision(home.epoch, home.next_seq())))

    @staticmethod
    def _is_news(entity: Entity, decision: Any) -> bool:
        return decision.is_ambiguous and decision.digest not in entity.receipts[decision.receipt.home][1].refused

    async def _written(self, name: str, made: list[MatchRow], home: Partition, worker: str) -> list[bytes]:
        """Those of our choices that hold once written. Raises NotOwner where somebody has claimed since."""
        await self._check(home, worker)
        if not made:
            return []
        await self._ask("write_matches", made)
        stored = await self._ask("matches_of", name, [row.case_key for row in made], made[0].decided_at)
        await self._check(home, worker)
        holds = {(row.case_key, row.payment_id): row for row in stored}
        return [row.raw for row in made if holds[row.case_key, row.payment_id][3:5] == row[3:5]]

    async def _check(self, home: Partition, worker: str) -> None:
        holders = await self._ask("holders", [home.number])
        if holders.get(home.number) != (home.epoch, worker):
            raise NotOwner(
                f"partition {home.number} is held by {holders.get(home.number)}, not by our epoch {home.epoch}"
            )

    async def _tell(self, raws: Sequence[bytes]) -> None:
        if raws:
            await self._publish([Outbound(*records.record(records.decode(raw))) for raw in raws])

    # Reading what changed

    async def _read_receipts(self, entity: Entity, keys: Mapping[str, int]) -> None:
        known = entity.receipts
        for key in known.keys() - keys.keys():
            del known[key]
        for case in await self._cases(
            [key for key, number in keys.items() if key not in known or known[key][0] != number]
        ):
            refused = frozenset(str(event.data.digest) for event in _facts(case) if event.type == REFUSED)
            known[case.key] = (keys[case.key], Asking(receipts_of(case, self._policy), refused))

    async def _read_items(self, entity: Entity, items: Mapping[str, int]) -> None:
        for key in entity.items.keys() - items.keys():
            entity.book.drop(key)
            del entity.items[key]
            entity.told.pop(key, None)
        changed = [key for key, number in items.items() if entity.items.get(key) != number]
        for start in range(0, len(changed), LOADED_AT_ONCE):
            for case in await self._cases(changed[start : start + LOADED_AT_ONCE]):
                item = item_of(case, self._policy)
                entity.book.drop(case.key) if item is None else entity.book.put(item)
                entity.items[case.key] = items[case.key]
                entity.told[case.key] = frozenset(_homes(case))

    async def _cases(self, keys: Sequence[str]) -> list[Case]:
        found = await self._ask("facts_of", list(keys)) if keys else {}
        cases = []
        for key, facts in found.items():
            case = Case(key, self._policy.limits.facts_of(key))
            for fact in facts:
                case.add(decode(fact.raw))
            cases.append(case)
        return cases


def _facts(case: Case) -> Iterable[Any]:
    return case.facts()


def _homes(case: Case) -> Iterable[str]:
    """Receipts whose part was told to the item."""
    facts: list[Any] = [fact for fact in case.facts() if fact.type == ALLOCATION]
    return (fact.data.home for fact in facts if fact.data.kind in ("payment", "bank") and fact.data.amount_minor)


def _in_flight(stored: Sequence[MatchRow], told: Mapping[str, frozenset[str]]) -> dict[str, int]:
    """By item, what was chosen and has not come to it."""
    taken: dict[str, int] = defaultdict(int)
    for row in stored:
        choice: Any = decode(row.raw)
        for part in choice.data.allocations or ():
            if row.case_key not in told.get(part.target, frozenset()):
                taken[part.target] += part.amount_minor if part.settled_minor is None else part.settled_minor
    return taken
