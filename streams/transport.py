"""Faust handed whole fetched partition batches: an aiokafka transport of our own.

- One fetched list of records of one partition is one Faust event (`Batch`); Faust's cost per event is paid per batch.
- Faust's acknowledgements, commits and table recovery are not used (faust-streaming 0.15.3 commits past what was not
  acknowledged). `hooks` (streams.app) is told of every assignment before Faust may resume, says where reading starts,
  and commits itself through `commit`.
- Partition p of every topic goes to one member (rule E4): `SamePartitions` instead of Faust's or aiokafka's assignors.
- Every record from where reading starts is handed over: what was fetched across a rebalance is fetched again.
- Reads are `read_committed`; a fetch waits `fetch_wait_s`, not Faust's fixed 1.5 s.
"""

import asyncio
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol, cast

import aiokafka
import faust
from aiokafka.consumer import fetcher
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.errors import CommitFailedError, IllegalStateError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.tables import TableManager
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from streams.ports import Contact, Mark, NotOwner, Record
from streams.times import from_millis

# Small, so that a backlog is read evenly over topics and the parts of a case come close together.
PARTITION_FETCH_BYTES = 512 * 1024
# The broker answers a fetch when it has so much, or after `fetch_wait_s`: at 2,000 records/s a fetch for every few of them
# took half a core of the broker's and a quarter of the worker's.
FETCH_BYTES = 64 * 1024
_SAYS = re.compile(r"epoch=(\d{1,18}) read_before=(\d{1,18})", re.ASCII)  # a commit's metadata
IDLE_S = 0.25  # after so long without a record, look at what the broker has said
HEARD_S = 0.05  # and no more often than this: it goes through all inputs


class PartitionRecords(fetcher.PartitionRecords):  # type: ignore[misc]
    """Of what was fetched; aiokafka's own takes a microsecond a record, to tell sizes and types that nobody asks for."""

    def _consumer_record(self, tp: Any, found: Any) -> Record:
        return Record(tp.topic, tp.partition, found.offset, found.timestamp, found.key, found.value, found.headers)


fetcher.PartitionRecords = PartitionRecords


class Batch(NamedTuple):
    """Records of one partition in offset order; `highwater` is the log's end when they were fetched."""

    topic: str
    partition: int
    records: list[Record]
    highwater: int
    generation: int


class Hooks(Protocol):
    """What the transport tells its owner, on the main event loop."""

    async def revoked(self) -> None: ...

    async def assigned(self, partitions: set[TP], generation: int) -> None: ...

    def start_offsets(self) -> Mapping[TP, int]: ...

    def heard(self, contacts: Mapping[TP, Contact], generation: int) -> None: ...

    def too_early(self) -> set[TP]: ...


class SamePartitions(AbstractPartitionAssignor):  # type: ignore[misc]
    """Member i of n (by id) gets every topic's partitions p with p % n == i."""

    name = "tieout-same-partitions"
    version = 0

    @classmethod
    def assign(cls, cluster: Any, members: Mapping[str, Any]) -> dict[str, Any]:
        ids = sorted(members)
        topics = sorted({topic for metadata in members.values() for topic in metadata.subscription})
        shares: dict[str, list[tuple[str, list[int]]]] = {member: [] for member in ids}
        for topic in topics:
            partitions = sorted(cluster.partitions_for_topic(topic) or ())
            for index, member in enumerate(ids):
                mine = [partition for partition in partitions if partition % len(ids) == index]
                if mine:
                    shares[member].append((topic, mine))
        return {member: ConsumerProtocolMemberAssignment(cls.version, share, b"") for member, share in shares.items()}

    @classmethod
    def metadata(cls, topics: Iterable[str]) -> Any:
        return ConsumerProtocolMemberMetadata(cls.version, list(topics), b"")

    @classmethod
    def on_assignment(cls, assignment: Any) -> None:
        pass


class BatchTopic(faust.Topic):  # type: ignore[misc]
    """A topic whose message value already is a Batch: nothing to decode."""

    def _compile_decode(self) -> None:
        async def decode(message: Any, *, propagate: bool = False) -> Any:
            return self._create_event(None, message.value, None, message)

        self.decode = decode


class NoTables(TableManager):  # type: ignore[misc]
    """tieout keeps none; Faust's own waits a second for them before it subscribes."""

    async def on_start(self) -> None:
        await self._update_channels()
        await self.recovery.start()


class ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        conf, settings = self.app.conf, self.app.tieout
        return aiokafka.AIOKafkaConsumer(
            client_id=settings.worker,
            group_id=conf.id,
            bootstrap_servers=settings.bootstrap.split(","),
            partition_assignment_strategy=[SamePartitions],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=int(settings.fetch_wait_s * 1000),
            fetch_min_bytes=FETCH_BYTES,
            max_poll_records=settings.fetch_records,
            max_partition_fetch_bytes=PARTITION_FETCH_BYTES,
            session_timeout_ms=int(settings.session_timeout_s * 1000),
            heartbeat_interval_ms=int(settings.session_timeout_s * 1000 / 10),
            rebalance_timeout_ms=60_000,
            max_poll_interval_ms=600_000,
            metadata_max_age_ms=60_000,
            check_crcs=True,
        )

    async def commit_in_generation(self, marks: Mapping[TP, Mark], generation: int) -> None:
        """Raises NotOwner where the group has moved on, else whatever aiokafka raises."""
        await self.call_thread(self._commit_raw, marks, generation)

    async def _commit_raw(self, marks: Mapping[TP, Mark], generation: int) -> None:
        consumer = self._ensure_consumer()
        if consumer._coordinator.generation != generation:  # aiokafka would commit under its new generation (rule E2)
            raise NotOwner(f"generation {generation} is over")
        try:
            await consumer.commit(
                {TopicPartition(*tp): OffsetAndMetadata(mark.offset, _says(mark)) for tp, mark in marks.items()}
            )
        except (CommitFailedError, IllegalStateError) as error:
            raise NotOwner(str(error)) from error

    def contacts(self, delivered: Mapping[TP, int]) -> dict[TP, Contact]:
        """What the consumer knows between two fetches. The time is read before the end that goes with it or is older."""
        assignment = self._ensure_consumer()._subscription.subscription.assignment
        found = {}
        for tp in assignment.tps if assignment is not None else ():
            state = assignment.state_value(tp)
            asked_at_ms, end = state.timestamp, state.highwater
            if asked_at_ms is not None and end is not None and state.has_valid_position:
                found[TP(*tp)] = Contact(delivered.get(TP(*tp), 0), state.position, end, from_millis(asked_at_ms))
        return found

    async def marks(self, partitions: Iterable[TP]) -> dict[TP, Mark | None]:
        return cast(dict[TP, Mark | None], await self.call_thread(self._marks, list(partitions)))

    async def _marks(self, partitions: list[TP]) -> dict[TP, Mark | None]:
        coordinator = self._ensure_consumer()._coordinator  # the consumer's own `committed` gives no metadata
        found = await coordinator.fetch_committed_offsets([TopicPartition(*tp) for tp in partitions])
        return {tp: _mark(found.get(TopicPartition(*tp))) for tp in partitions}


class Consumer(driver.Consumer):  # type: ignore[misc]
    """Drains batches; hands assignment and revocation to the hooks before Faust acts on them."""

    _thread: ConsumerThread
    _delivered: dict[TP, int]
    _seeks = 0
    _heard_s = 0.0

    @property
    def hooks(self) -> Hooks:
        return cast(Hooks, self.app.tieout_hooks)

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        await self.hooks.revoked()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self._delivered = {}
        await self.hooks.assigned(assigned, generation_id)
        await super().on_partitions_assigned(assigned, generation_id)

    async def perform_seek(self) -> None:
        """Faust calls this just before it resumes: start where the hooks say."""
        for tp, offset in self.hooks.start_offsets().items():
            await self._seek(TopicPartition(*tp), offset)
        self._seeks += 1

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Faust's own commit is never used: the shell commits what it has flushed."""
        return False

    async def commit_in_generation(self, marks: Mapping[TP, Mark], generation: int) -> None:
        await self._thread.commit_in_generation(marks, generation)

    async def marks(self, partitions: Iterable[TP]) -> dict[TP, Mark | None]:
        return await self._thread.marks(partitions)

    async def end_offsets(self, partitions: Iterable[TP]) -> dict[TP, int]:
        ends = await self._thread.highwaters(*(TopicPartition(*tp) for tp in partitions))
        return {TP(*tp): offset for tp, offset in ends.items()}

    async def begin_offsets(self, partitions: Iterable[TP]) -> dict[TP, int]:
        begins = await self._thread.earliest_offsets(*(TopicPartition(*tp) for tp in partitions))
        return {TP(*tp): offset for tp, offset in begins.items()}

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        """Of these Faust asks for records; what should wait for another input stays in the fetcher's buffer."""
        active = active_partitions or set()
        return await super()._getmany(active - self.hooks.too_early() or active, timeout)

    async def _drain_messages(self, fetcher: Any) -> None:
        stopped = (self._stopped.is_set, fetcher._stopped.is_set)
        while not any(is_set() for is_set in stopped):
            if not self.flow_active:
                await self.wait(self.can_resume_flow)
            seeks = self._seeks
            records, _ = await self._wait_next_records(IDLE_S)
            await asyncio.sleep(0)
            if self.should_stop:
                continue
            if self.flow_active and seeks == self._seeks:
                await self._hand_over(records or {})
            elif records:
                await self._seek_again()

    async def _hand_over(self, records: Mapping[Any, list[Any]]) -> None:
        generation, seeks = self.app.consumer_generation_id, self._seeks
        for tp, fetched in records.items():
            self._delivered[TP(*tp)] = fetched[-1].offset + 1
            await self.wait_first(self.callback(self._batch(tp, fetched, generation)), self.suspend_flow.wait())
            if not self.flow_active or seeks != self._seeks:
                return
        if not records or self.loop.time() - self._heard_s >= HEARD_S:
            self._heard_s = self.loop.time()
            self.hooks.heard(self._thread.contacts(self._delivered), generation)

    async def _seek_again(self) -> None:
        """The consumer has moved on past records that were fetched across a rebalance and not handed over."""
        await self.wait(self.can_resume_flow)
        if not self.should_stop:
            await self.perform_seek()

    def _batch(self, tp: Any, fetched: list[Any], generation: int) -> ConsumerMessage:
        batch = Batch(tp.topic, tp.partition, fetched, self.highwater(tp) or 0, generation)
        first = fetched[0]
        return ConsumerMessage(
            tp.topic, tp.partition, first.offset, first.timestamp / 1000.0, 0, [], None, batch,
            None, 0, 0, TP(tp.topic, tp.partition), generation_id=generation,
        )  # fmt: skip


def _mark(found: Any) -> Mark | None:
    """Metadata of another make says nothing."""
    if found is None:
        return None
    said = _SAYS.fullmatch(found.metadata)
    return Mark(found.offset, *map(int, said.groups())) if said else Mark(found.offset)


def _says(mark: Mark) -> str:
    return f"epoch={mark.epoch} read_before={mark.read_before}"


class Transport(driver.Transport):  # type: ignore[misc]
    Consumer = Consumer
