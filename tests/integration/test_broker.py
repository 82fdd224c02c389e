"""Both brokers, through a client's eyes: topics are made as the design says, and records come back as they went."""

import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic, ResourceType

from streams import topics
from streams.embedded_broker import EmbeddedBroker
from tests.fixtures_kafka import Kafka

RECORDS = [(f"invoice:acme-us:billing:INV-{n}".encode(), bytes([n, 0, 255]) * 50) for n in range(200)]


@pytest.mark.kafka
def test_topics_are_made_once_with_equal_partitions_and_delete_policy(kafka_broker: Kafka) -> None:
    first = topics.create(kafka_broker.bootstrap, partitions=4, sources=["stripe"])
    assert {first.partitions[topic] for topic in topics.JOINED} == {4}
    assert "raw.stripe" in first.partitions
    assert topics.create(kafka_broker.bootstrap, partitions=8, sources=["stripe"]) == topics.Created(
        first.partitions, []
    )
    assert _settings(kafka_broker.bootstrap, "invoices")["cleanup.policy"].value == "delete"


@pytest.mark.kafka
def test_records_come_back_from_a_real_broker_as_they_were_sent(kafka_broker: Kafka) -> None:
    topics.create(kafka_broker.bootstrap, partitions=4, sources=["roundtrip"])
    _send(kafka_broker.bootstrap, "raw.roundtrip", RECORDS)
    assert sorted(_read(kafka_broker.bootstrap, "raw.roundtrip", len(RECORDS))) == sorted(RECORDS)


@pytest.mark.kafka
def test_acknowledged_records_survive_kill_9_of_the_broker(private_kafka: Kafka) -> None:
    topics.create(private_kafka.bootstrap, partitions=2)
    _send(private_kafka.bootstrap, "invoices", RECORDS)
    first_pid = private_kafka.pid
    private_kafka.kill()
    private_kafka.start()
    assert private_kafka.pid != first_pid
    assert sorted(_read(private_kafka.bootstrap, "invoices", len(RECORDS))) == sorted(RECORDS)


@pytest.mark.kafka
def test_a_joined_topic_with_more_partitions_is_refused_and_named(private_kafka: Kafka) -> None:
    topics.create(private_kafka.bootstrap, partitions=2)
    admin = AdminClient({"bootstrap.servers": private_kafka.bootstrap})
    _done(admin.create_partitions([NewPartitions("postings", 3)]))
    _wait_until(lambda: topics.partition_counts(private_kafka.bootstrap)["postings"] == 3)
    with pytest.raises(topics.TopicsDiffer, match="postings has 3.*raise the smaller ones to 3"):
        topics.create(private_kafka.bootstrap, partitions=2)


@pytest.mark.kafka
def test_a_compacted_joined_topic_is_refused_and_named(private_kafka: Kafka) -> None:
    compacted = NewTopic("invoices", 2, 1, config={"cleanup.policy": "compact"})
    admin = AdminClient({"bootstrap.servers": private_kafka.bootstrap})
    _done(admin.create_topics([compacted]))
    with pytest.raises(topics.TopicsDiffer, match=r"cleanup.policy=delete.*invoices"):
        topics.create(private_kafka.bootstrap, partitions=2)


@pytest.mark.kafka
def test_a_topic_that_was_never_made_does_not_appear_by_accident(kafka_broker: Kafka) -> None:
    name = f"mistyped-{uuid.uuid4()}"
    refused: list[int] = []
    producer = Producer({"bootstrap.servers": kafka_broker.bootstrap, "topic.metadata.propagation.max.ms": 1000})
    producer.produce(name, b"lost?", on_delivery=lambda error, _: refused.append(error.code()))
    assert producer.flush(30) == 0
    assert refused == [KafkaError.UNKNOWN_TOPIC_OR_PART]
    assert name not in topics.partition_counts(kafka_broker.bootstrap, [name])


def test_the_embedded_broker_has_the_catalogue_with_the_partitions_asked_for() -> None:
    with EmbeddedBroker(partitions=6, sources=["stripe"]) as broker:
        made = topics.create(broker.bootstrap, partitions=6, sources=["stripe"])
        assert made == topics.Created(dict.fromkeys(topics.catalogue(["stripe"]), 6), [])


def test_a_source_added_later_gets_its_topic_on_the_embedded_broker() -> None:
    with EmbeddedBroker() as broker:
        assert topics.create(broker.bootstrap, sources=["stripe"]).made == ["raw.stripe"]


def test_records_come_back_from_the_embedded_broker_as_they_were_sent() -> None:
    with EmbeddedBroker() as broker:
        _send(broker.bootstrap, "invoices", RECORDS)
        assert sorted(_read(broker.bootstrap, "invoices", len(RECORDS))) == sorted(RECORDS)


def test_the_embedded_broker_process_tells_its_address_and_ends_on_sigterm(tmp_path: Path) -> None:
    address = tmp_path / "broker"
    with subprocess.Popen(
        [sys.executable, "-m", "streams.embedded_broker", str(address)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            bootstrap = process.stdout.readline().strip()
            assert set(topics.partition_counts(bootstrap)) == set(topics.JOINED)
            assert address.read_text().strip() == bootstrap
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()
    assert not address.exists()


def test_no_broker_at_the_address_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "METADATA_TIMEOUT_S", 1.0)
    with pytest.raises(ConnectionError, match="no Kafka broker answered"):
        topics.create("127.0.0.1:1")


def _send(bootstrap: str, topic: str, records: list[tuple[bytes, bytes]]) -> None:
    refused: list[KafkaError] = []
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "partitioner": "murmur2_random"})
    for key, value in records:
        producer.produce(topic, key=key, value=value, on_delivery=lambda error, _: error and refused.append(error))
    assert producer.flush(30) == 0
    assert refused == []


def _read(bootstrap: str, topic: str, count: int) -> list[tuple[bytes, bytes]]:
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": str(uuid.uuid4()), "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    found: list[tuple[bytes, bytes]] = []
    while len(found) < count:
        messages = consumer.consume(count, timeout=20)
        assert messages, f"only {len(found)} of {count} records arrived"
        found += [(message.key(), message.value()) for message in messages if message.error() is None]
    consumer.close()
    return found


def _settings(bootstrap: str, topic: str) -> dict:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    admin = AdminClient({"bootstrap.servers": bootstrap})  # its futures end with it
    return admin.describe_configs([resource])[resource].result(20)


def _wait_until(holds: Callable[[], bool], deadline_s: float = 20.0) -> None:
    end = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < end, f"not so within {deadline_s} s"


def _done(futures: dict) -> None:
    for future in futures.values():
        future.result(20)
