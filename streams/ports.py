"""What the shell's logic needs from outside, so that a simulator can stand in for all of it.

Real ones: streams.app (Kafka through Faust and confluent-kafka), sinks.client.Store in a thread, the system clock.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import msgspec

TopicPartition = tuple[str, int]
Clock = Callable[[], datetime]


class NotOwner(Exception):
    """The group or the store says that somebody else owns the partition now. Nothing was committed."""


class InvariantBroken(Exception):
    """Something that must hold does not: the process stops with the reason and commits nothing."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """As it lies in the log; `timestamp` in milliseconds."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class Outbound(NamedTuple):
    topic: str
    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes | None]] = ()


class Contact(NamedTuple):
    """What is known of one partition between two fetches.

    `delivered`: the offset after the last record that was handed to us (0: none yet); `position`: what the consumer will
    ask for next, past markers that are no records; `end`: the log's, as the broker said `at`.
    """

    delivered: int
    position: int
    end: int
    at: datetime


class Mark(NamedTuple):
    """What the group keeps of a partition: where to read on, who committed that, and up to where anybody ever had read.

    The last two outlive a store that is put back. 0 where whoever committed did not say.
    """

    offset: int
    epoch: int = 0
    read_before: int = 0


class Broker(Protocol):
    async def committed(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, Mark | None]: ...

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]: ...

    async def start_offsets(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        """The first offset that each log still holds."""

    async def topic_ids(self, topics: Iterable[str]) -> Mapping[str, str]:
        """Which topic a name stands for now: a topic made anew has another id. "" where the broker has none."""

    async def partition_counts(self, topics: Iterable[str]) -> Mapping[str, int]: ...

    async def commit(self, marks: Mapping[TopicPartition, Mark], generation: int) -> None:
        """Raises NotOwner where the group has moved on."""

    async def publish(self, messages: Sequence[Outbound]) -> None:
        """Returns when the broker has acknowledged all of them."""


class StoreCalls(Protocol):
    def __call__(self, method: str, *args: Any) -> Awaitable[Any]:
        """Calls a method of sinks.client.Store off the event loop, beginning at once; writes keep their order."""
