"""Provider records onto a raw topic, as they are: what a webhook gateway or a connector would produce.

Each message is acknowledged by all in-sync replicas; what could not be delivered is counted by its reason, never left
unsaid. The key is the provider's document id, so that one document's records stay in order.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from confluent_kafka import KafkaException, Producer

from streams.intake import HEARTBEAT
from streams.publisher import producer_config
from streams.topics import raw_topic

METADATA_TIMEOUT_S = 5.0
FLUSH_TIMEOUT_S = 150.0


class Message(NamedTuple):
    key: bytes
    body: bytes


class NoTopic(Exception):
    """The topic to send to does not exist."""


class Sent:
    """What became of the messages, so far."""

    def __init__(self) -> None:
        self.delivered = 0
        self.failures: Counter[str] = Counter()

    def told(self, error: object, _message: object) -> None:
        if error is None:
            self.delivered += 1
        else:
            self.failures[str(error)] += 1

    def refused(self, error: KafkaException) -> None:
        self.failures[str(error.args[0])] += 1


def producer(bootstrap: str, topic: str, batch_messages: int = 10_000) -> Producer:
    """Raises ConnectionError where no broker answers, NoTopic where the topic is missing."""
    settings = {"log_level": 0, "batch.num.messages": batch_messages}
    made = Producer(producer_config(bootstrap, "tieout-send") | settings)
    try:
        topics = made.list_topics(timeout=METADATA_TIMEOUT_S).topics
    except KafkaException as error:
        raise ConnectionError(f"no Kafka broker answers at {bootstrap}: {error.args[0].str()}") from None
    if topic not in topics:
        raise NoTopic(f"topic {topic} does not exist; create it with: tieout topics --bootstrap {bootstrap}")
    return made


def send(
    made: Producer, topic: str, messages: Iterable[Message], *, rate_per_s: float | None = None,
    on_sent: Callable[[int], None] = lambda _count: None,
) -> Sent:  # fmt: skip
    """Sends all of them and waits until each is delivered or has failed. `on_sent` is told of each one handed over."""
    sent, started_s = Sent(), time.monotonic()
    for number, message in enumerate(messages):
        if rate_per_s:
            _serve_until(made, started_s + number / rate_per_s)
        produce(made, topic, message, sent)
        on_sent(1)
    left = made.flush(FLUSH_TIMEOUT_S)
    if left:
        sent.failures["not acknowledged in time"] += left
    return sent


def produce(made: Producer, topic: str, message: Message, sent: Sent) -> None:
    """Hands one message over, waiting while the local queue is full."""
    while True:
        try:
            made.produce(topic, message.body, message.key or None, on_delivery=sent.told)
        except BufferError:
            made.poll(0.1)
        except KafkaException as error:
            sent.refused(error)
            return
        else:
            made.poll(0)
            return


def mark(made: Producer, topic: str) -> Sent:
    """A heartbeat onto every partition: its source has sent everything up to here (streams.feeds)."""
    sent = Sent()
    for partition in made.list_topics(topic, timeout=METADATA_TIMEOUT_S).topics[topic].partitions:
        made.produce(topic, b"", partition=partition, headers=[(HEARTBEAT, b"")], on_delivery=sent.told)
    left = made.flush(FLUSH_TIMEOUT_S)
    if left:
        sent.failures["not acknowledged in time"] += left
    return sent


class Delivery(Protocol):
    """A record that is to be sent at a time, as a generator of records gives it."""

    @property
    def deliver_at(self) -> datetime: ...
    @property
    def source(self) -> str: ...
    @property
    def key(self) -> bytes: ...
    @property
    def body(self) -> bytes: ...


def play(bootstrap: str, deliveries: Iterable[Delivery]) -> None:
    """Sends each when its time has come, to its source's topic. Raises RuntimeError where one could not be delivered."""
    producers: dict[str, Producer] = {}
    sent = Sent()
    for delivery in deliveries:
        topic = raw_topic(delivery.source)
        made = producers.get(topic) or producers.setdefault(topic, producer(bootstrap, topic))
        _serve_until(made, time.monotonic() + (delivery.deliver_at - datetime.now(UTC)).total_seconds())
        produce(made, topic, Message(delivery.key, delivery.body), sent)
        if sent.failures:
            raise RuntimeError(f"a record was not delivered: {next(iter(sent.failures))}")


def _serve_until(made: Producer, at_s: float) -> None:
    """Waits for a time on the monotonic clock, taking in acknowledgements meanwhile."""
    while (left_s := at_s - time.monotonic()) > 0:
        made.poll(min(left_s, 0.1))
