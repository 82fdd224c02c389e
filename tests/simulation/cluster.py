"""A broker with its consumer group, a store, a clock and worker processes, all of which fail when chaos says so.

What the real ones promise is kept, and no more:
- The log: offsets grow, with gaps where transaction markers lie. Appended is appended.
- The group: a rebalance asks every member to come back; who does not in time is put out. A commit counts in its
  generation alone. Members are told one thing at a time, as aiokafka does.
- The store: a call that returned is durable. One that failed may have had its effect, or a part of it, or have it later.
  A worker has one connection for reading and one for writing, each of which does one thing at a time.
- A process that is killed takes no further step; what it had sent may still arrive. One that is frozen goes on later.
"""

import asyncio
import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from matching.policy import Policy
from sinks.client import StoreUnavailable
from streams.app import READS
from streams.partitioner import partition_of
from streams.ports import Contact, Mark, NotOwner, Outbound, Record
from streams.settings import Settings
from streams.topics import BREAKS, DEAD_LETTERS, JOINED
from streams.transport import Batch
from streams.worker import Worker
from tests.simulation.auditor import Auditor
from tests.simulation.chaos import Chaos
from tests.simulation.shell import ClickHouse
from tests.simulation.world import RAW, START

TopicPartition = tuple[str, int]
Share = tuple[int, list[TopicPartition]]  # generation, what a member is given in it
SESSION_S, REBALANCE_S, RESTART_S = 10.0, 60.0, 5.0
LISTEN_S = 3.0  # how often a consumer tells what it has heard of the log's ends
NOTICE_S = 3.0  # a heartbeat's interval: how late a member hears of a rebalance


class Injected(Exception):
    """A fault that ends the process, as Kafka's own errors do."""


class Clock:
    """What time it really is; each process may be wrong about it."""

    def __init__(self) -> None:
        self.passed = timedelta()

    def __call__(self) -> datetime:
        return START + self.passed + timedelta(seconds=asyncio.get_running_loop().time())


class Log:
    """One partition: records in the order of their offsets, which may have gaps; `end` is the next offset."""

    def __init__(self) -> None:
        self.records: list[Any] = []
        self.offsets: list[int] = []
        self.begin = self.end = 0
        self.last_said = -1  # of what is no mark

    def drop_before(self, offset: int) -> None:
        """Retention."""
        first = bisect_left(self.offsets, offset)
        del self.records[:first], self.offsets[:first]
        self.begin = max(self.begin, offset)

    def since(self, offset: int, most: int) -> list[Any]:
        first = bisect_left(self.offsets, offset)
        return self.records[first : first + most]


class Kafka:
    """Topics and one consumer group."""

    def __init__(self, partitions: int, clock: Clock, chaos: Chaos, auditor: Auditor) -> None:
        self.counts = dict.fromkeys((*JOINED, RAW, BREAKS, DEAD_LETTERS), partitions)
        self.inputs = [topic for topic in self.counts if topic not in (BREAKS, DEAD_LETTERS)]
        self.clock, self.chaos, self.auditor = clock, chaos, auditor
        self.logs: dict[TopicPartition, Log] = defaultdict(Log)
        self.committed: dict[TopicPartition, Mark] = {}
        self.generation = 0
        self.members: dict[Process, None] = {}
        self._joining: dict[Process, asyncio.Future[Share | None]] = {}
        self._round = 0
        self._grown: dict[str, list[asyncio.Future[None]]] = defaultdict(list)

    # The log

    def append(self, topic: str, key: bytes, value: bytes, partition: int | None = None, headers: Any = ()) -> None:
        number = partition_of(key, self.counts[topic]) if partition is None else partition
        log = self.logs[topic, number]
        appended_ms = int(self.clock().timestamp() * 1000)
        record = Record(topic, number, log.end, appended_ms, key, value, list(headers))
        log.records.append(record)
        log.offsets.append(log.end)
        log.last_said = log.last_said if headers and topic == RAW else log.end
        log.end += 1
        if topic == RAW and self.chaos.rng.random() < 0.1:  # the end of a transaction of whoever writes there
            log.end += self.chaos.rng.randint(1, 3)
        self.auditor.appended(record)
        self.wake(topic)

    def wake(self, topic: str) -> None:
        for waiter in self._grown.pop(topic, ()):
            if not waiter.done():
                waiter.set_result(None)

    def growth(self, topic: str) -> "asyncio.Future[None]":
        waiter = asyncio.get_running_loop().create_future()
        self._grown[topic].append(waiter)
        return waiter

    # The group

    def offset(self, tp: TopicPartition) -> int:
        mark = self.committed.get(tp)
        return mark.offset if mark else 0

    def commit(self, member: "Process", marks: Mapping[TopicPartition, Mark], generation: int) -> None:
        if member not in self.members or generation != self.generation:
            raise NotOwner(f"generation {generation} is over")
        offsets = {tp: mark.offset for tp, mark in marks.items()}
        self.auditor.committed(offsets, {number: member.epoch(number) for _, number in offsets})
        self.committed.update(marks)

    def join(self, member: "Process") -> "asyncio.Future[Share | None]":
        """What a member is given, once everybody has come back or the time for it is over; None: it was put out."""
        self.members[member] = None
        answer = asyncio.get_running_loop().create_future()
        self._joining[member] = answer
        if len(self._joining) == 1:
            self._call_back(member)
            self._round += 1
            asyncio.get_running_loop().call_later(REBALANCE_S, self._complete, self._round)
        self._complete_if_all_are_back()
        return answer

    def leave(self, member: "Process") -> None:
        """Said by the member, or by its silence."""
        answer = self._joining.pop(member, None)
        if answer is not None and not answer.done():
            answer.set_result(None)  # the group does not know it any more: it has to ask anew
        if self.members.pop(member, self) is None:
            self._call_back(member)
        self._complete_if_all_are_back()

    def _call_back(self, cause: "Process") -> None:
        for member in self.members:
            if member is not cause and member not in self._joining:
                late_s = NOTICE_S * self.chaos.rng.random()
                asyncio.get_running_loop().call_later(late_s, member.rejoin.set)

    def _complete_if_all_are_back(self) -> None:
        if self._joining and all(member in self._joining for member in self.members):
            self._complete(self._round)

    def _complete(self, of_round: int) -> None:
        if of_round != self._round or not self._joining:
            return
        joined, self._joining = self._joining, {}
        self._round += 1
        self.generation += 1
        self.members = dict.fromkeys(sorted(joined, key=lambda member: member.name))
        for index, member in enumerate(self.members):
            share = [
                (topic, number)
                for topic in self.inputs
                for number in range(self.counts[topic])
                if number % len(self.members) == index
            ]
            if not joined[member].done():
                joined[member].set_result((self.generation, share))
        self.chaos.trace(f"generation {self.generation}: {[member.name for member in self.members]}")


class Store(ClickHouse):
    """The tables; every write tells the auditor."""

    def __init__(self, clock: Clock, auditor: Auditor) -> None:
        super().__init__(clock)  # type: ignore[arg-type]
        self.auditor = auditor
        self.is_away = False
        self.life = 0  # how often it has been put back

    @staticmethod
    def month(first_seen: datetime) -> Any:
        """Ten seconds here, so that every run sees some end."""
        return first_seen.replace(second=first_seen.second // 10 * 10, microsecond=0)

    def write_verdicts(self, rows: Sequence[Any]) -> None:
        self.auditor.judged(rows, self.epochs)
        super().write_verdicts(rows)

    def write_positions(self, rows: Sequence[Any]) -> None:
        self.auditor.positions_written(rows, self.epochs)
        super().write_positions(rows)

    def holders(self, partitions: Sequence[int]) -> dict[int, tuple[int, str]]:
        """Of several that inserted one number, the first."""
        found = {}
        for partition in partitions:
            if claims := self.epochs[partition]:
                highest = max(epoch for epoch, _ in claims)
                found[partition] = next(claim for claim in claims if claim[0] == highest)
        return found

    async def claim_in_steps(self, partition: int, worker: str, known: int, step: Callable[[], Awaitable[None]]) -> int:
        """As sinks.client.Store.claim does it: others may come between its steps."""
        claims = self.epochs[partition]
        epoch = max(known, max((number for number, _ in claims), default=0)) + 1
        while True:
            await step()
            claims.append((epoch, worker))
            await step()
            rivals = sorted({name for number, name in claims if number == epoch})
            if rivals == [worker]:
                self.auditor.claimed(partition, epoch)
                return epoch
            epoch = max(number for number, _ in claims) + 1 + rivals.index(worker)

    def backup(self) -> dict[str, Any]:
        return {
            "facts": dict(self.facts), "rows": list(self.rows), "letters": dict(self.letters), "metas": dict(self.metas),
            "position_rows": dict(self.position_rows), "gaps": list(self.gaps),
            "epochs": defaultdict(list, {partition: list(claims) for partition, claims in self.epochs.items()}),
        }  # fmt: skip

    def restore(self, backup: dict[str, Any]) -> None:
        self.life += 1
        for name, table in backup.items():
            setattr(self, name, table)


class Process:
    """One life of one worker: its tasks, its connections, its place in the group."""

    def __init__(self, name: str, settings: Settings, policy: Policy, kafka: Kafka, store: Store, chaos: Chaos) -> None:
        self.name, self.kafka, self.store, self.chaos = name, kafka, store, chaos
        self.settings = settings
        self.skew = timedelta()
        self.is_alive = True
        self.ended: Callable[[Process, Exception | None], None] = lambda process, error: None
        self.rejoin = asyncio.Event()
        self.stop = asyncio.Event()
        self._awake = asyncio.Event()
        self._awake.set()
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._fetched: dict[TopicPartition, int] = {}
        self._delivered: dict[TopicPartition, int] = {}
        self._generation = 0
        self._told_committed: Mapping[TopicPartition, int] = {}
        self._told_stored: dict[TopicPartition, int] = {}
        self._lanes = {"read": asyncio.Lock(), "write": asyncio.Lock()}
        self.worker = Worker(settings, policy, self, self._store_call, lambda: kafka.clock() + self.skew)

    # Life

    def start(self) -> None:
        self.rejoin.set()
        self._watched(self._coordinate())
        self._flushing = self._watched(self.worker.run(self.stop))
        self._watched(self._listen())
        for topic in self.kafka.inputs:
            self._watched(self._agent(topic))

    def kill(self, why: str) -> None:
        if self.is_alive:
            self.chaos.trace(f"{self.name} dies: {why}")
            self.is_alive = False
            for task in self._tasks:
                task.cancel()
            asyncio.get_running_loop().call_later(SESSION_S, self.kafka.leave, self)
            self.ended(self, None)

    def freeze(self, seconds: float) -> None:
        if self.is_frozen or not self.is_alive:
            return
        self.chaos.trace(f"{self.name} freezes for {seconds:.0f} s")
        self._awake.clear()
        loop = asyncio.get_running_loop()
        loop.call_later(seconds, self.wake)
        loop.call_later(SESSION_S, self._miss_heartbeats)

    @property
    def is_frozen(self) -> bool:
        return not self._awake.is_set()

    def wake(self) -> None:
        if self.is_frozen:
            self.chaos.trace(f"{self.name} goes on")
            self._awake.set()
            if self not in self.kafka.members:
                asyncio.get_running_loop().call_later(NOTICE_S * self.chaos.rng.random(), self.rejoin.set)

    def _miss_heartbeats(self) -> None:
        if self.is_frozen and self.is_alive:
            self.kafka.leave(self)

    async def leave(self) -> None:
        """Told to stop: reads no more, flushes what it has, leaves the group."""
        self._fetched = {}
        self.stop.set()
        await asyncio.wait([self._flushing])
        if self.is_alive:
            self.kill("asked to")
            self.kafka.leave(self)

    def _watched(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = self._spawned(self._watch(work))
        return task

    async def _watch(self, work: Coroutine[Any, Any, Any]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 (whatever it is, it ends the process, as streams.app.die does)
            if self.is_alive:
                self.ended(self, error)
                self.kill(repr(error))

    def _spawned(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        return task

    async def step(self, when: str = "") -> None:
        """Time goes by; the process may freeze or be killed here."""
        await asyncio.sleep(self.chaos.pause_s())
        if when and self.chaos.strikes(f"freeze_{when}"):
            self.freeze(self.chaos.rng.choice((1.0, 15.0, 90.0)))
        if when and self.chaos.strikes(f"crash_{when}"):
            self.kill(f"crash {when} a call")
            await asyncio.sleep(0)
        await self._awake.wait()

    # Its consumer

    async def _coordinate(self) -> None:
        while True:
            await self.rejoin.wait()
            await self.step()
            self.rejoin.clear()
            self._fetched = {}
            self._told_stored = {}
            await self.worker.revoked()
            await self.step()
            answer = await self.kafka.join(self)
            await self.step()
            if answer is None:
                continue
            generation, share = answer
            self._generation = generation
            await self.worker.assigned(dict.fromkeys(share).keys(), generation)  # type: ignore[arg-type]
            self.kafka.auditor.began(self.name, self.worker.start_offsets, self._told_committed, self._told_stored)
            self._delivered = {}
            self._fetched = {tp: self.kafka.offset(tp) for tp in share} | self.worker.start_offsets
            self.chaos.trace(f"{self.name} reads from {sorted(self.worker.start_offsets.items())}")
            for topic in self.kafka.inputs:
                self.kafka.wake(topic)
            if self not in self.kafka.members:  # it took too long
                self.rejoin.set()

    async def _agent(self, topic: str) -> None:
        while True:
            batch = self._fetch(topic)
            if batch is None:
                await self.kafka.growth(topic)
                continue
            await self.step()
            await self.worker.receive(batch)
            self.kafka.auditor.received(self)

    def _fetch(self, topic: str) -> Batch | None:
        if self.stop.is_set():
            return None
        ready = [tp for tp in self._fetched if tp[0] == topic and self._fetched[tp] < self.kafka.logs[tp].end]
        patient = [tp for tp in ready if tp not in self.worker.positions.too_early(self.worker.clock())] or ready
        for tp in patient:
            records = self.kafka.logs[tp].since(
                self._fetched[tp], self.chaos.rng.randint(1, self.settings.fetch_records)
            )
            self._fetched[tp] = records[-1].offset + 1 if records else self.kafka.logs[tp].end
            if records:
                self._delivered[tp] = records[-1].offset + 1
                return Batch(*tp, records, self.kafka.logs[tp].end, self._generation)
        return None

    async def _listen(self) -> None:
        """What the consumer knows of the log's ends reaches the worker; the broker was asked a moment before."""
        while True:
            await asyncio.sleep(LISTEN_S)
            asked_at, generation = self.worker.clock(), self._generation
            contacts = {
                tp: Contact(self._delivered.get(tp, 0), position, self.kafka.logs[tp].end, asked_at)
                for tp, position in self._fetched.items()
            }
            await self.step()
            self.worker.heard(contacts, generation)

    # The worker's broker port

    async def committed(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, Mark | None]:
        await self.step("before")
        marks = {tp: self.kafka.committed.get(tp) for tp in partitions}
        self._told_committed = {tp: mark.offset for tp, mark in marks.items() if mark}
        return marks

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        await self.step("before")
        return {tp: self.kafka.logs[tp].end for tp in partitions}

    async def start_offsets(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        return {tp: self.kafka.logs[tp].begin for tp in partitions}

    async def topic_ids(self, topics: Iterable[str]) -> Mapping[str, str]:
        await self.step("before")
        return {topic: f"id of {topic}" for topic in topics}

    async def partition_counts(self, topics: Iterable[str]) -> Mapping[str, int]:
        await self.step("before")
        return {topic: self.kafka.counts.get(topic, 0) for topic in topics}

    async def commit(self, marks: Mapping[TopicPartition, Mark], generation: int) -> None:
        await self.step("before")
        if self.chaos.strikes("commit_fails"):
            raise Injected("the coordinator is not available")
        self.kafka.commit(self, marks, generation)
        shown = _shown({tp: mark.offset for tp, mark in marks.items()})
        self.chaos.trace(f"{self.name} commits {shown} in generation {generation}")
        if self.chaos.strikes("commit_unanswered"):
            raise Injected("the commit was not answered")
        await self.step("after")

    async def publish(self, messages: Sequence[Outbound]) -> None:
        await self.step("before")
        if self.chaos.strikes("publish_fails"):
            raise Injected("a message could not be delivered")
        if self.chaos.strikes("publish_in_flight"):
            late_s = self.chaos.rng.choice((1.0, 30.0))
            asyncio.get_running_loop().call_later(late_s, self._arrive, self._produce, messages, self.store.life)
            self.kill("crash while messages are in flight")
            await asyncio.sleep(0)
        cut = self.chaos.rng.randint(0, len(messages)) if self.chaos.strikes("publish_cut_off") else len(messages)
        self._produce(messages[:cut])
        if cut < len(messages):
            await self.step("after")
            self._produce(messages[cut:])
        if self.chaos.strikes("publish_twice"):
            self._produce(messages)
        if self.chaos.strikes("publish_unanswered"):
            raise Injected("the acknowledgement was lost")
        await self.step("after")

    def _produce(self, messages: Sequence[Outbound]) -> None:
        for topic, key, value, headers in messages:
            self.kafka.append(topic, key, value, headers=headers)
            if topic == BREAKS:
                self.kafka.auditor.told_of(partition_of(key, self.kafka.counts[BREAKS]), value)
            elif b'"allocation.set"' in value:
                home = json.loads(value)["data"]["home"].encode()
                self.kafka.auditor.effect_told(partition_of(home, self.kafka.counts[topic]), value)
        self.chaos.trace(f"{self.name} publishes {' '.join(map(_said, messages))}")

    def epoch(self, number: int) -> int:
        partition = self.worker.partitions.get(number)
        return partition.epoch if partition is not None else 0

    # The worker's store port

    def _store_call(self, method: str, *args: Any) -> Awaitable[Any]:
        return self._spawned(self._call_store(method, args))

    async def _call_store(self, method: str, args: tuple[Any, ...]) -> Any:
        async with self._lanes["read" if method in READS else "write"]:
            await self.step("before")
            if self.store.is_away or self.chaos.strikes("store_refuses"):
                raise StoreUnavailable(f"{method} refused")
            if method.startswith("write_"):
                await self._write(method, *args)
                found = None
            elif method == "claim":
                found = await self.store.claim_in_steps(*args, self.step)
            else:
                found = getattr(self.store, method)(*args)
            if method == "positions":
                rows = (row for stored in found.values() for row in stored.values())
                self._told_stored |= {(row.topic, row.partition): row.next_offset for row in rows}
            self.chaos.trace(f"{self.name} {method} {_told(method, args, found)}")
            if self.chaos.strikes("store_unanswered"):
                raise StoreUnavailable(f"{method} was not answered")
            await self.step("after")
            return found

    async def _write(self, method: str, rows: Sequence[Any]) -> None:
        write, rng = getattr(self.store, method), self.chaos.rng
        if self.chaos.strikes("store_cut_off"):
            write(rows[: rng.randint(0, len(rows))])
            raise StoreUnavailable(f"{method} was cut off")
        if self.chaos.strikes("crash_in_flight"):
            asyncio.get_running_loop().call_later(rng.choice((1.0, 30.0)), self._arrive, write, rows, self.store.life)
            self.kill(f"crash while {method} is in flight")
            await asyncio.sleep(0)
        write(rows)
        if self.chaos.strikes("store_repeats"):
            asyncio.get_running_loop().call_later(rng.choice((1.0, 30.0)), self._arrive, write, rows, self.store.life)

    def _arrive(self, write: Callable[[Any], None], rows: Sequence[Any], life: int) -> None:
        if self.chaos.is_on and life == self.store.life:  # the network forgets what it held when the world heals
            self.chaos.trace(f"late from {self.name}: {write.__name__} of {len(rows)}")
            write(rows)


def _shown(offsets: Mapping[TopicPartition, int]) -> str:
    return " ".join(f"{topic}/{number}@{offset}" for (topic, number), offset in offsets.items() if offset)


def _said(message: Outbound) -> str:
    if message.topic != BREAKS:
        return message.topic
    told = json.loads(message.value)
    classes = " ".join(found["class"] for found in told["breaks"]) or "nothing"
    return f"{classes} of {told['case'].rpartition(':')[2]}"


def _told(method: str, args: tuple[Any, ...], found: Any) -> str:
    if method == "write_verdicts":
        cases = (json.loads(row.raw)["correlation_id"].rpartition(":")[2] for row in args[0])
        return " ".join(f"{case}:{row.epoch}.{row.seq}" for case, row in zip(cases, args[0], strict=True))
    if method == "write_facts":
        return " ".join(f"{batch.topic}/{batch.partition}@{list(batch.offsets)}" for batch in args[0])
    if method == "write_positions":
        return _shown({(row.topic, row.partition): row.next_offset for row in args[0]})
    return f"{args} -> {found if method in ('claim', 'holders', 'meta') else ''}"
