"""Producing to Kafka with acknowledgements, from asyncio, through librdkafka.

- `acks=all`, idempotent, partitioned by `murmur2_random` like Java's clients and aiokafka (rule E4).
- `publish` returns when the broker has acknowledged every message given, and raises KafkaException for one that it
  refused or that could not be delivered within `DELIVERY_TIMEOUT_S`.
- The local queue is bounded; when it is full the caller waits.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaException, Producer

from streams.ports import Outbound

MAX_MESSAGE_BYTES = 12 * 1024 * 1024
DELIVERY_TIMEOUT_S = 120


def producer_config(bootstrap: str, client: str) -> dict[str, Any]:
    """One configuration for everything that we produce."""
    return {
        "bootstrap.servers": bootstrap,
        "client.id": client,
        "partitioner": "murmur2_random",
        "enable.idempotence": True,
        "acks": "all",
        "linger.ms": 5,
        "compression.type": "lz4",
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "queue.buffering.max.messages": 200_000,
        "delivery.timeout.ms": DELIVERY_TIMEOUT_S * 1000,
    }


class _Delivery:
    """Counts acknowledgements of one `publish`; called on the polling thread."""

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        self.remaining = count
        self.loop = loop
        self.error: Any = None
        self.done: asyncio.Future[None] = loop.create_future()

    def __call__(self, error: Any, _message: Any) -> None:
        self.remaining -= 1
        self.error = self.error or error
        if self.remaining == 0:
            self.loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if self.done.done():
            return
        if self.error is not None:
            self.done.set_exception(KafkaException(self.error))
        else:
            self.done.set_result(None)


@contextmanager
def acknowledged(bootstrap: str, client: str) -> Iterator[Callable[[Sequence[Outbound]], None]]:
    """For callers without an event loop: a function that publishes and returns when all of it is acknowledged."""
    publisher = Publisher(bootstrap, client)
    try:
        yield lambda messages: asyncio.run(publisher.publish(messages))
    finally:
        publisher.close()


class Publisher:
    def __init__(self, bootstrap: str, client: str) -> None:
        self._producer = Producer(producer_config(bootstrap, client))
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="publisher", daemon=True)
        self._thread.start()

    async def publish(self, messages: Sequence[Outbound]) -> None:
        if not messages:
            return
        delivery = _Delivery(len(messages), asyncio.get_running_loop())
        for message in messages:
            while not self._accepted(message, delivery):
                await asyncio.sleep(0.01)
        await delivery.done

    def partition_counts(self, topics: Sequence[str]) -> dict[str, int]:
        """Partitions of each topic, 0 for one that does not exist. Blocks."""
        found = self._producer.list_topics(timeout=10).topics
        return {topic: len(found[topic].partitions) if topic in found else 0 for topic in topics}

    def close(self) -> None:
        self._closing.set()
        self._thread.join(timeout=5)
        self._producer.flush(5)

    def _accepted(self, message: Outbound, delivery: _Delivery) -> bool:
        try:
            self._producer.produce(
                message.topic, message.value, message.key or None, on_delivery=delivery, headers=list(message.headers)
            )
        except BufferError:
            return False
        return True

    def _poll(self) -> None:
        while not self._closing.is_set():
            self._producer.poll(0.05)
