"""What the shell's logic needs from outside, so that a simulator can stand in for all of it.

Real ones: streams.app (Kafka through Faust and confluent-kafka), sinks.client.Store in a thread, the system clock.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

TopicPartition = tuple[str, int]
Clock = Callable[[], datetime]


class NotOwner(Exception):
    """The group or the store says that somebody else owns the partition now. Nothing was committed."""


class InvariantBroken(Exception):
    """Something that must hold does not: the process stops with the reason and commits nothing."""


class Outbound(NamedTuple):
    topic: str
    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]] = ()


class Broker(Protocol):
    async def committed(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, int | None]: ...

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]: ...

    async def partition_counts(self, topics: Iterable[str]) -> Mapping[str, int]: ...

    async def commit(self, offsets: Mapping[TopicPartition, int], generation: int) -> None:
        """Raises NotOwner where the group has moved on."""

    async def publish(self, messages: Sequence[Outbound]) -> None:
        """Returns when the broker has acknowledged all of them."""


class StoreCalls(Protocol):
    def __call__(self, method: str, *args: Any) -> Awaitable[Any]:
        """Calls a method of sinks.client.Store off the event loop, beginning at once; writes keep their order."""
