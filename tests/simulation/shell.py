"""Stand-ins for Kafka, ClickHouse and the clock, to drive streams.worker.Worker without either.

They keep what the real ones promise and nothing more: a log a partition with offsets, a group with generations and
committed offsets, tables that keep the newest row by (epoch, seq) and lose nothing once a write has returned. `before`
and `after` are called around every store call and may raise, so a test can end or cut off a worker at any step.
"""

import asyncio
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec

from canonical import records
from canonical.events import Event
from matching.policy import load
from sinks.client import key_hash
from sinks.rows import FactRow, GapRow, MatchRow, PositionRow, Stub, Untold, VerdictRow, revision
from streams.partitioner import partition_of
from streams.ports import Contact, Mark, NotOwner, Outbound, Record
from streams.settings import Settings
from streams.topics import BREAKS, JOINED, MAX_DEAD_LETTER_BYTES
from streams.transport import Batch
from streams.worker import Worker

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class Killed(Exception):
    """The process would be gone at this point."""


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **span: float) -> None:
        self.now += timedelta(**span)


class Kafka:
    """Topics of `partitions` partitions, one consumer group."""

    def __init__(self, clock: Clock, partitions: int = 2, sources: Sequence[str] = ("canonical",)) -> None:
        self.clock = clock
        self.partitions = {topic: partitions for topic in (*JOINED, *(f"raw.{name}" for name in sources))}
        self.logs: dict[tuple[str, int], list[Record]] = defaultdict(list)
        self.group_offsets: dict[tuple[str, int], Mark] = {}
        self.begins: dict[tuple[str, int], int] = {}
        self.births: dict[str, int] = defaultdict(int)
        self.generation = 0
        self.published: list[Outbound] = []
        self.calls: list[str] = []

    def append(self, topic: str, key: bytes, value: bytes, partition: int | None = None, headers: Any = ()) -> None:
        number = partition_of(key, self.partitions[topic]) if partition is None else partition
        log = self.logs[topic, number]
        appended_ms = int(self.clock.now.timestamp() * 1000)
        log.append(Record(topic, number, len(log), appended_ms, key, value, list(headers)))

    @property
    def offsets(self) -> dict[tuple[str, int], int]:
        """What the group has committed."""
        return {tp: mark.offset for tp, mark in self.group_offsets.items()}

    def recreate(self, topic: str) -> None:
        """Deleted and made anew: its log is empty, its id another one, and the group's offsets of it are gone."""
        self.births[topic] += 1
        for tp in [tp for tp in {*self.logs, *self.group_offsets} if tp[0] == topic]:
            self.logs.pop(tp, None)
            self.group_offsets.pop(tp, None)

    def send(self, *events: Event) -> None:
        for event in events:
            self.append(*records.record(event))

    async def committed(self, partitions: Iterable[tuple[str, int]]) -> Mapping[tuple[str, int], Mark | None]:
        return {tp: self.group_offsets.get(tp) for tp in partitions}

    async def end_offsets(self, partitions: Iterable[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        return {tp: len(self.logs[tp]) for tp in partitions}

    async def start_offsets(self, partitions: Iterable[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        return {tp: self.begins.get(tp, 0) for tp in partitions}

    async def topic_ids(self, topics: Iterable[str]) -> Mapping[str, str]:
        return {topic: f"id-{topic}-{self.births[topic]}" for topic in topics}

    async def partition_counts(self, topics: Iterable[str]) -> Mapping[str, int]:
        return {topic: 1 if topic == BREAKS else self.partitions.get(topic, 0) for topic in topics}

    async def commit(self, marks: Mapping[tuple[str, int], Mark], generation: int) -> None:
        self.calls.append("commit")
        if not marks:  # as aiokafka does
            raise ValueError(marks)
        if generation != self.generation:
            raise NotOwner(f"generation {generation} is over")
        self.group_offsets.update(marks)

    async def publish(self, messages: Sequence[Outbound]) -> None:
        self.calls.append("publish")
        for message in messages:
            headers_bytes = sum(len(name) + len(value or b"") for name, value in message.headers)
            assert len(message.key) + len(message.value) + headers_bytes < MAX_DEAD_LETTER_BYTES, (
                "refused by the broker"
            )
            self.published.append(message)
            if message.topic == BREAKS:
                self.logs[BREAKS, 0].append(message)
            elif message.topic in self.partitions:
                self.append(message.topic, message.key, message.value)


class ClickHouse:
    """The store's tables as Python values; async, as the worker's store port is."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.epochs: dict[int, list[tuple[int, str]]] = defaultdict(list)
        self.facts: dict[tuple[str, str, int, int], bytes] = {}
        self.rows: list[VerdictRow] = []
        self._newest: tuple[list[VerdictRow], int, dict[str, VerdictRow]] = (self.rows, 0, {})
        self.letters: dict[tuple[str, int, int], Any] = {}
        self.actions: dict[tuple[str, int, int, str], Any] = {}
        self.position_rows: dict[tuple[str, int], PositionRow] = {}
        self.metas: dict[str, str] = {}
        self.gaps: list[GapRow] = []
        self.matches: dict[tuple[Any, ...], MatchRow] = {}
        self.calls: list[str] = []
        self.before: Callable[[str], Any] = lambda method: None
        self.after: Callable[[str], Any] = lambda method: None

    async def __call__(self, method: str, *args: Any) -> Any:
        self.calls.append(method)
        await _maybe(self.before(method))
        found = getattr(self, method)(*args)
        await _maybe(self.after(method))
        return found

    def verdicts(self) -> dict[str, dict[str, Any]]:
        """What FINAL gives: each case's row of the highest (epoch, seq)."""
        return {
            key: msgspec.json.decode(row.raw) | {"controls": msgspec.json.decode(row.controls)}
            for key, row in self.final().items()
        }

    @staticmethod
    def month(first_seen: datetime) -> Any:
        """What of a case the store keeps apart (rule E9)."""
        return first_seen.year, first_seen.month

    def shown(self) -> list[VerdictRow]:
        """What FINAL gives whoever looks: each case's newest row in each of its months."""
        newest: dict[Any, VerdictRow] = {}
        for row in sorted(self.rows, key=lambda row: (row.epoch, row.seq)):
            newest[_decoded(row.raw)["correlation_id"], self.month(row.first_seen)] = row
        return list(newest.values())

    def split_cases(self, partition: int) -> list[tuple[str, int]]:
        epochs: dict[str, list[int]] = defaultdict(list)
        for row in self.shown():
            if row.partition == partition:
                epochs[_decoded(row.raw)["correlation_id"]].append(row.epoch)
        return sorted((key, max(found)) for key, found in epochs.items() if len(found) > 1)

    def drop_before(self, keys: Sequence[str], epoch: int) -> None:
        self.rows = [row for row in self.rows if row.epoch >= epoch or _decoded(row.raw)["correlation_id"] not in keys]

    def final(self) -> dict[str, VerdictRow]:
        rows, seen, newest = self._newest
        if rows is not self.rows or len(rows) < seen:
            rows, seen, newest = self.rows, 0, {}
        for row in rows[seen:]:
            key = _decoded(row.raw)["correlation_id"]
            known = newest.get(key)
            if known is None or revision(known.epoch, known.seq) <= revision(row.epoch, row.seq):
                newest[key] = row
        self._newest = (rows, len(rows), newest)
        return newest

    def claim(self, partition: int, worker: str, known: int = 0) -> int:
        epoch = max((number for number, _ in self.epochs[partition]), default=0)
        epoch = max(epoch, known) + 1
        self.epochs[partition].append((epoch, worker))
        return epoch

    def holders(self, partitions: Sequence[int]) -> dict[int, tuple[int, str]]:
        return {partition: max(self.epochs[partition]) for partition in partitions if self.epochs[partition]}

    def untold(self, told: Mapping[int, tuple[int, int]]) -> dict[int, list[Untold]]:
        found = {}
        for partition, (told_to, epoch) in told.items():
            before = (row for row in self.rows if row.partition == partition and row.epoch < epoch)
            later = (row for row in before if revision(row.epoch, row.seq) > told_to)
            newest = {
                _decoded(row.raw)["correlation_id"]: row
                for row in sorted(later, key=lambda row: revision(row.epoch, row.seq))
            }
            found[partition] = [Untold(key, row.judged_at, row.progress) for key, row in sorted(newest.items())]
        return found

    def positions(self, partitions: Sequence[int]) -> dict[int, dict[str, PositionRow]]:
        return {
            partition: {topic: row for (topic, number), row in self.position_rows.items() if number == partition}
            for partition in partitions
        }

    def meta(self, key: str) -> str | None:
        return self.metas.get(key)

    def set_meta(self, key: str, value: str) -> None:
        self.metas[key] = value

    def progress(self, topics: Sequence[str]) -> list[PositionRow]:
        return [row for (topic, _), row in self.position_rows.items() if topic in topics]

    def write_gaps(self, rows: Sequence[GapRow]) -> None:
        self.gaps.extend(rows)

    def known(self, partitions: Sequence[int]) -> dict[int, bytes]:
        hashes: dict[int, list[int]] = {partition: [] for partition in partitions}
        for key, row in self.final().items():
            if row.partition in hashes:
                hashes[row.partition].append(key_hash(key))
        return {partition: array("Q", sorted(found)).tobytes() for partition, found in hashes.items()}

    def deadlines(
        self, partitions: Sequence[int], since: datetime, limit: int
    ) -> dict[int, list[tuple[datetime, str]]]:
        found = {}
        for partition in partitions:
            open_cases = ((_time(verdict["next_deadline"]), key) for key, verdict in self._open(partition))
            found[partition] = sorted((at, key) for at, key in open_cases if at is not None and at >= since)[:limit]
        return found

    def awaited(self, partitions: Sequence[int]) -> dict[int, dict[str, datetime]]:
        found: dict[int, dict[str, datetime]] = {partition: {} for partition in partitions}
        for partition, sources in found.items():
            for _, verdict in self._open(partition):
                for awaited in verdict.get("awaiting", ()):
                    until = datetime.fromisoformat(awaited["until"])
                    sources[awaited["source"]] = min(until, sources.get(awaited["source"], until))
        return found

    def awaiting(self, partition: int, source: str, limit: int) -> list[tuple[datetime, str]]:
        waiting = (
            (datetime.fromisoformat(awaited["until"]), key)
            for key, verdict in self._open(partition)
            for awaited in verdict.get("awaiting", ())
            if awaited["source"] == source
        )
        return sorted(waiting)[:limit]

    def judged_otherwise(self, partition: int, policy: str, limit: int) -> list[str]:
        return sorted(key for key, verdict in self._open(partition) if verdict["policy"] != policy)[:limit]

    def _open(self, partition: int) -> list[tuple[str, Any]]:
        found = ((key, row.partition, _decoded(row.raw)) for key, row in self.final().items())
        return [(key, verdict) for key, number, verdict in found if number == partition and verdict["outcome"] != "ok"]

    def verdicts_of(self, keys: Sequence[str]) -> dict[str, tuple[Stub, bytes]]:
        final = self.final()
        return {key: (_stub(final[key]), final[key].raw) for key in keys if key in final}

    def facts_of(self, keys: Sequence[str]) -> dict[str, list[FactRow]]:
        return {
            key: [FactRow(*place, raw) for (case, *place), raw in sorted(self.facts.items()) if case == key]
            for key in keys
        }

    def write_facts(self, batches: Sequence[Any]) -> None:
        for batch in batches:
            for offset, raw in zip(batch.offsets, batch.raws, strict=True):
                key = msgspec.json.decode(raw)["correlationid"]
                self.facts[key, batch.topic, batch.partition, offset] = raw

    def write_verdicts(self, rows: Sequence[VerdictRow]) -> None:
        self.rows.extend(rows)

    def write_dead_letters(self, rows: Sequence[Any]) -> None:
        self.letters.update({(row.topic, row.partition, row.offset): row for row in rows})

    def write_letter_actions(self, rows: Sequence[Any]) -> None:
        self.actions.update({(row.topic, row.partition, row.offset, row.id): row for row in rows})

    def known_letters(self, places: Sequence[tuple[str, int, int]]) -> set[tuple[str, int, int]]:
        return {place for place in places if tuple(place) in self.letters}

    def unidentified(self, until: datetime) -> list[tuple[str, str, int]]:
        return [
            (verdict["entity"], key, revision(row.epoch, row.seq))
            for key, row in sorted(self.final().items())
            if (verdict := _decoded(row.raw))["kind"] in ("receipt", "summary")
            and verdict["outcome"] != "ok"
            and row.first_seen <= until
        ]

    def open_items(self, entity: str, since: datetime) -> dict[str, int]:
        return {
            key: revision(row.epoch, row.seq)
            for key, row in self.final().items()
            if (verdict := _decoded(row.raw))["kind"] in ("invoice", "payout")
            and verdict["entity"] == entity
            and (verdict["outcome"] != "ok" or (_time(verdict["last_event_at"]) or since) >= since)
        }

    def write_matches(self, rows: Sequence[MatchRow]) -> None:
        self.matches.update({row[:5]: row for row in rows})

    def matches_of(self, entity: str, keys: Sequence[str], since: datetime) -> list[MatchRow]:
        holds: dict[tuple[str, str], MatchRow] = {}
        for row in sorted(self.matches.values(), key=lambda row: (-row.epoch, row.seq)):
            if row.entity == entity and (row.case_key in keys or row.decided_at >= since):
                holds.setdefault((row.case_key, row.payment_id), row)
        return [holds[payment] for payment in sorted(holds)]

    def write_positions(self, rows: Sequence[PositionRow]) -> None:
        for row in rows:
            known = self.position_rows.get((row.topic, row.partition))
            if known is None or revision(known.epoch, known.seq) <= revision(row.epoch, row.seq):
                self.position_rows[row.topic, row.partition] = row


class Rig:
    """A cluster and its workers; every method is one step, so a test reads as a schedule."""

    def __init__(self, partitions: int = 2, **settings: Any) -> None:
        self.clock = Clock()
        self.kafka = Kafka(self.clock, partitions)
        self.store = ClickHouse(self.clock)
        self.settings = settings
        self.policy = load(None)

    def worker(self, name: str) -> Worker:
        settings = Settings(worker=name, sources=("canonical",), bootstrap="", store_url="", **self.settings)
        return Worker(settings, self.policy, self.kafka, self.store, self.clock)

    async def assign(self, *workers: Worker) -> None:
        """A rebalance: partition p of every topic goes to worker p % n."""
        self.kafka.generation += 1
        for index, worker in enumerate(workers):
            mine = {
                (topic, number)
                for topic, count in self.kafka.partitions.items()
                for number in range(count)
                if number % len(workers) == index
            }
            await worker.assigned(mine, self.kafka.generation)

    async def read(self, worker: Worker, at_once: int = 1000) -> None:
        """Gives the worker everything it has not read yet, in batches, and tells it that there is no more."""
        for tp in sorted(worker.positions.next_offsets):
            log = self.kafka.logs[tp]
            while (start := worker.positions.next_offsets.get(tp, len(log))) < len(log):
                batch = log[start : start + at_once]
                await worker.receive(Batch(*tp, batch, len(log), worker.generation or 0))
            contact = Contact(len(log), len(log), len(log), self.clock())
            worker.heard({tp: contact}, worker.generation or 0)

    async def settle(self, worker: Worker, rounds: int = 3, *, commits: bool = True) -> None:
        """Reads and flushes until nothing is left: intake's output is read in the next round, progress comes after it.

        `commits`: whether what each round's deadlines and progress brought is committed too.
        """
        for _ in range(rounds):
            await self.read(worker)
            worker.positions.changed = True
            await worker.flush()
            await worker.refresh_progress()
            await self.read(worker)
            await worker.fire_deadlines()
            await worker.flush(commits=commits)


def document(kind: str, number: int, at: datetime = START, **data: Any) -> Event:
    """An invoice, its posting, payment or application of 120.00 USD for case `number`."""
    types = {"invoice": "invoice.issued", "posting": "posting.recorded", "payment": "payment.received", "application": "cash.applied"}  # fmt: skip
    common = {"entity": "acme-us", "document_id": f"{kind}-{number}", "customer": {"sold_to": "C-1"}, "currency": "USD"}
    own: dict[str, dict[str, Any]] = {
        "invoice": {"direction": "sales", "total_minor": 12000, "tax_minor": 0, "due_date": "2026-04-01", "number": str(number)},
        "posting": {
            "ledger": "main", "document_type": "invoice", "posting_kind": "document", "base_currency": "USD",
            "lines": [
                {"role": "receivable", "amount_minor": 12000, "base_minor": 12000},
                {"role": "revenue", "amount_minor": -12000, "base_minor": -12000},
            ],
        },
        "payment": {"amount_minor": 12000},
        "application": {"amount_minor": 12000, "from_kind": "payment", "payment_id": f"payment-{number}"},
    }  # fmt: skip
    return records.make(
        types[kind],
        id=f"{kind}:{number}",
        source="erp/acme" if kind in ("posting", "application") else "billing/acme",
        subject=f"INV-{number}",
        time=at,
        correlationid=f"invoice:acme-us:billing:{number}",
        data={**common, **own[kind], **data},
    )


def life(number: int, at: datetime = START) -> list[Event]:
    """A case that ties out."""
    return [document(kind, number, at) for kind in ("invoice", "posting", "payment", "application")]


async def _maybe(result: Any) -> None:
    if asyncio.iscoroutine(result) or isinstance(result, asyncio.Future):
        await result


@lru_cache(maxsize=20_000)
def _decoded(raw: bytes) -> Any:
    """Not to be changed: it is shared."""
    return msgspec.json.decode(raw)


def _stub(row: VerdictRow) -> Stub:
    verdict = _decoded(row.raw)
    return Stub(
        verdict["correlation_id"], row.first_seen, _time(verdict["next_deadline"]), verdict["outcome"], row.digest,
        verdict["facts"], row.epoch, revision(row.epoch, row.seq),
    )  # fmt: skip


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def changed(event: Event, **envelope: Any) -> Event:
    """The same event with another envelope."""
    told: Any = event
    found: Event = msgspec.structs.replace(told, **envelope)
    return found
