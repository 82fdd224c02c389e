"""Kafka's log as an auditor reads it: what committed records lie in it, from which offset to which, and nothing else.

- No group: partitions are assigned one at a time and read from the offset asked for. Nothing is committed, nobody else is
  rebalanced, no topic is made.
- `read_committed`, like the worker: records of aborted transactions are not given, and an end is the last stable offset.
- Offsets are places, not counts (rule E15): transaction markers and compaction leave holes, so records are enumerated.
- Bounded: a chunk holds CHUNK_RECORDS or about CHUNK_BYTES, whichever comes first.
- Raises CannotRead, in one sentence, where the broker does not give what it says it has.
"""

import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from confluent_kafka import OFFSET_END, Consumer, IsolationLevel, KafkaError, KafkaException
from confluent_kafka import TopicPartition as Place
from confluent_kafka.admin import AdminClient, OffsetSpec

from streams.ports import Record, TopicPartition
from streams.topics import ids

CHUNK_RECORDS = 20_000
CHUNK_BYTES = 64 * 1024**2
FIRST_RECORDS = 16  # asked for at first: they may be of 8 MiB each
QUEUED_KBYTES = 64 * 1024
FETCH_WAIT_MS = 20  # how long the broker may hold a fetch at the log's end, which is where a partition's reading ends
ANSWER_S = 20.0
SILENCE_S = 60.0


class CannotRead(Exception):
    """The broker does not answer, or the log changed while it was read; the message says which."""


class Bounds(NamedTuple):
    """Of one partition's log: the first offset that is still there and the end of what is committed."""

    start: int
    end: int


class Log:
    """One broker's topics. Used by one thread; close it."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        common = {"bootstrap.servers": bootstrap, "log_level": 0}
        self._admin = AdminClient(common)
        self._consumer = Consumer(
            {
                **common,
                "group.id": "tieout-verify",  # asked for by the client, never joined
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": FETCH_WAIT_MS,
                "queued.max.messages.kbytes": QUEUED_KBYTES,
            }
        )

    def close(self) -> None:
        self._consumer.close()

    def topics(self) -> dict[str, int]:
        """Partitions of every topic there is."""
        found = self._metadata().topics
        return {name: len(topic.partitions) for name, topic in found.items() if topic.error is None}

    def knows_times(self) -> bool:
        """The embedded broker looks nothing up by time."""
        return not str(self._metadata().cluster_id).startswith("mockCluster")

    def topic_ids(self, topics: Iterable[str]) -> dict[str, str]:
        """Kafka's id of each topic: another one where it was made anew under its name. Empty on the embedded broker."""
        return ids(self._bootstrap, list(topics))

    def bounds(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, Bounds]:
        wanted = sorted(places)
        starts, ends = (self._offsets(wanted, spec) for spec in (OffsetSpec.earliest(), OffsetSpec.latest()))
        return {place: Bounds(starts[place], max(starts[place], ends[place])) for place in wanted}

    def offsets_at(self, places: Iterable[TopicPartition], moment: datetime) -> dict[TopicPartition, int | None]:
        """The first offset appended at `moment` or later; None where there is none."""
        millis = int(moment.timestamp() * 1000)
        try:
            found = self._consumer.offsets_for_times([Place(*place, millis) for place in places], timeout=ANSWER_S)
        except KafkaException as error:
            raise CannotRead(f"the broker does not say what was appended when: {error}") from error
        return {(at.topic, at.partition): None if at.offset in (OFFSET_END, -1) else at.offset for at in found}

    def records(self, place: TopicPartition, begin: int, end: int) -> Iterator[list[Record]]:
        """Committed records of [begin, end) in order, in chunks."""
        if begin >= end:
            return
        self._consumer.assign([Place(*place, begin)])
        chunk: list[Record] = []
        size, ask, done = 0, FIRST_RECORDS, False
        while not done:
            messages = self._next(place, ask)
            for message in messages:
                if message.error() is not None or message.offset() >= end:
                    done = done or _is_end(message, place, end)
                    continue
                record = _record(message)
                chunk.append(record)
                size += len(record.value or b"")
                done = done or record.offset == end - 1
            ask = _next_ask(chunk, size)
            if len(chunk) >= CHUNK_RECORDS or size >= CHUNK_BYTES:
                yield chunk
                chunk, size = [], 0
        if chunk:
            yield chunk

    def _next(self, place: TopicPartition, count: int) -> list[Any]:
        """At least one message or the word that there is none."""
        deadline = time.monotonic() + SILENCE_S
        while True:
            messages = self._consumer.consume(count, timeout=0.05)
            if messages:
                return list(messages)
            if time.monotonic() > deadline:
                raise CannotRead(f"the broker gave nothing of {place[0]}/{place[1]} for {SILENCE_S:.0f} s")

    def _offsets(self, places: list[TopicPartition], spec: Any) -> dict[TopicPartition, int]:
        if not places:
            return {}
        futures = self._admin.list_offsets(
            {Place(*place): spec for place in places},
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=ANSWER_S,
        )
        return {(place.topic, place.partition): _answer(future).offset for place, future in futures.items()}

    def _metadata(self) -> Any:
        try:
            return self._admin.list_topics(timeout=ANSWER_S)
        except KafkaException as error:
            raise CannotRead(f"no Kafka broker answered within {ANSWER_S:.0f} s: {error}") from error


def _answer(future: Any) -> Any:
    try:
        return future.result(ANSWER_S)
    except (KafkaException, TimeoutError) as error:
        raise CannotRead(f"the broker refuses to describe its log: {error}") from error


def _record(message: Any) -> Record:
    return Record(
        message.topic(), message.partition(), message.offset(), message.timestamp()[1], message.key(),
        message.value(), message.headers() or [],
    )  # fmt: skip


def _is_end(message: Any, place: TopicPartition, end: int) -> bool:
    """True where nothing below `end` follows. Raises CannotRead for an error that does not mend itself."""
    error = message.error()
    if error is None or error.code() == KafkaError._PARTITION_EOF:
        return (message.topic(), message.partition()) == place and message.offset() >= end
    if error.code() == KafkaError._AUTO_OFFSET_RESET:
        raise CannotRead(f"the log of {place[0]}/{place[1]} dropped records while they were read: verify again")
    if error.retriable():
        return False
    raise CannotRead(f"{place[0]}/{place[1]} cannot be read: {error.str()}")


def _next_ask(chunk: list[Record], size: int) -> int:
    """So many that they about fill the chunk, by the size of those before."""
    if not chunk:
        return FIRST_RECORDS
    room = max(1, (CHUNK_BYTES - size) * len(chunk) // max(size, 1))
    return max(1, min(CHUNK_RECORDS - len(chunk), room, 16 * len(chunk), 5_000))
