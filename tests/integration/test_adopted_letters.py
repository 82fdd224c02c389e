"""Dead letter topics of other frameworks, on a real Apache Kafka broker: adopted once, replayed as they were."""

import os
import struct
from itertools import count
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from sinks.client import Store
from streams import letters as work
from streams.dead_letters import Place, Replay, replay_headers
from streams.foreign_letters import CannotAdopt, adopt
from streams.letters import Chosen, Letter, audit, contents, find, send_again
from tests import foreign_records as foreign
from tests.fixtures_kafka import Kafka
from tests.foreign_records import KEY, OWN, VALUE, Headers

pytestmark = pytest.mark.kafka

SMALL = {"max.message.bytes": "20000"}
_numbers = count()


class Topics:
    """A dead letter topic and the topic of its originals, both of the test's own."""

    def __init__(self, kafka: Kafka) -> None:
        number = next(_numbers)
        self.bootstrap = kafka.bootstrap
        self.dlt, self.origin = f"adopted-{number}.DLT", f"adopted-{number}"
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        made = admin.create_topics([NewTopic(self.dlt, 2), NewTopic(self.origin, 1, config=SMALL)])
        for future in made.values():
            future.result(20)

    def write(self, *records: Headers, value: bytes | None = VALUE) -> None:
        producer = Producer({"bootstrap.servers": self.bootstrap, "acks": "all"})
        for headers in records:
            producer.produce(self.dlt, value, KEY, partition=1, headers=headers, timestamp=foreign.AT_MS)
        assert producer.flush(30) == 0

    def on_origin(self, number: int) -> list[Any]:
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "look"})
        consumer.assign([TopicPartition(self.origin, 0, 0)])
        found = consumer.consume(number, timeout=30)
        consumer.close()
        return list(found)


@pytest.fixture
def topics(kafka_broker: Kafka) -> Topics:
    return Topics(kafka_broker)


def letters(store: Store) -> dict[int, Letter]:
    return {letter.offset: letter for letter in find(store.client, Chosen(), 100).letters}


def test_letters_of_all_three_are_adopted_once(topics: Topics, store: Store) -> None:
    topics.write(
        foreign.streams(topic=topics.origin, offset=1), foreign.connect(topic=topics.origin, offset=2),
        foreign.spring(topic=topics.origin, offset=3), foreign.spring(topic=topics.origin, offset=3), OWN,
    )  # fmt: skip
    foreign_offset = 4
    found = adopt(store.client, topics.bootstrap, topics.dlt, "canonical", "Ada", "")
    assert found == (4, 1, 1)
    adopted = letters(store)
    stages = {1: "streams", 2: "connect", 3: "spring", foreign_offset: "foreign"}
    assert {offset: letter.stage for offset, letter in adopted.items()} == stages
    assert [letter.place for letter in adopted.values() if letter.stage == "foreign"] == [
        Place(topics.dlt, 1, foreign_offset)
    ]
    assert {letter.state for letter in adopted.values()} == {"open"}
    again, row = audit(store.client, Place(topics.origin, 2, 3))
    assert (again.action, again.record_offset) == ("failed", 3)
    assert (row.action, row.actor, row.reason) == ("adopted", "Ada", f"adopted from {topics.dlt}")
    assert (row.record_topic, row.record_partition, row.record_offset) == (topics.dlt, 1, 2)
    assert adopt(store.client, topics.bootstrap, topics.dlt, "canonical", "Ada", "") == (0, 0, 0)
    topics.write(foreign.connect(topic=topics.origin, offset=4))
    assert adopt(store.client, topics.bootstrap, topics.dlt, "canonical", "Ada", "") == (1, 0, 0)


def test_command_cut_off_before_its_audit_adopts_the_same_letters(topics: Topics, store: Store) -> None:
    topics.write(
        foreign.spring(topic=topics.origin, offset=1), foreign.spring(topic=topics.origin, offset=1, said="again")
    )
    assert adopt(store.client, topics.bootstrap, topics.dlt, "", "Ada", "") == (1, 1, 0)
    before = letters(store)
    store.client.command("TRUNCATE TABLE dead_letter_actions")
    assert adopt(store.client, topics.bootstrap, topics.dlt, "", "Ada", "") == (1, 1, 0)
    assert {letter.reason for letter in before.values()} == {"again"}
    assert [letter._replace(acted_at=None) for letter in letters(store).values()] == [
        letter._replace(acted_at=None) for letter in before.values()
    ]


def test_letter_goes_back_to_where_its_own_application_reads_as_it_was(topics: Topics, store: Store) -> None:
    topics.write(foreign.connect(topic=topics.origin, offset=7))
    adopt(store.client, topics.bootstrap, topics.dlt, "", "Ada", "")
    (letter,) = letters(store).values()
    assert letter.target == topics.origin
    acted = send_again(store.client, topics.bootstrap, [letter], "Ada", "the sink is mended")
    assert (len(acted.done), acted.failed) == (1, [])
    (record,) = topics.on_origin(1)
    assert (record.key(), record.value()) == (KEY, VALUE)
    assert record.headers() == replay_headers(OWN, Replay(letter.place, 1))
    (letter,) = letters(store).values()
    assert (letter.state, letter.replay_count, letter.why) == ("replayed", 1, "the sink is mended")
    sent = audit(store.client, letter.place)[-1]
    assert (sent.record_topic, sent.record_partition, sent.record_offset) == (topics.origin, 0, record.offset())

    # Connect refuses it again: it lies elsewhere now, but its headers still say which letter it is
    told = [
        item for item in foreign.connect(topic=topics.origin, partition=0, offset=record.offset()) if item not in OWN
    ]
    topics.write([*record.headers(), *told])
    assert adopt(store.client, topics.bootstrap, topics.dlt, "", "Ada", "") == (0, 1, 0)
    (letter,) = letters(store).values()
    assert (letter.state, letter.replay_count) == ("open", 1)
    assert [row.body for row in audit(store.client, letter.place) if row.action == "failed"] == [VALUE]


def test_letter_that_keeps_failing_elsewhere_is_parked_at_the_cap(topics: Topics, store: Store) -> None:
    topics.write(foreign.spring(topic=topics.origin))
    adopt(store.client, topics.bootstrap, topics.dlt, "", "Ada", "")
    for number in (1, 2, 3):
        (letter,) = letters(store).values()
        assert letter.state == "open"
        send_again(store.client, topics.bootstrap, [letter], "Ada", "hope")
        sent = topics.on_origin(number)[-1]
        again = [
            item for item in foreign.spring(topic=topics.origin, partition=0, offset=sent.offset()) if item not in OWN
        ]
        topics.write([*sent.headers(), *again])
        adopt(store.client, topics.bootstrap, topics.dlt, "", "Ada", "")
    (letter,) = letters(store).values()
    assert (letter.state, letter.replay_count) == ("parked", 3)


def test_replay_that_the_broker_does_not_take_is_told_and_nothing_is_recorded(topics: Topics, store: Store) -> None:
    topics.write(foreign.connect(topic=topics.origin, offset=1), value=os.urandom(40_000))
    topics.write(foreign.connect(topic=topics.origin, offset=2))
    adopt(store.client, topics.bootstrap, topics.dlt, "", "Ada", "")
    acted = send_again(store.client, topics.bootstrap, list(letters(store).values()), "Ada", "hope")
    assert [letter.offset for letter in acted.done] == [2]
    ((letter, reason),) = acted.failed
    assert letter.offset == 1
    assert "too large" in reason
    assert {offset: letter.state for offset, letter in letters(store).items()} == {1: "open", 2: "replayed"}
    assert [row.action for row in audit(store.client, letter.place)] == ["adopted"]


def test_letters_too_large_to_be_in_memory_at_once_are_sent_in_parts(topics: Topics, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr(work, "SLICE_BYTES", 5_000)
    monkeypatch.setattr(work, "SLICE_LETTERS", 2)
    sizes = [1_000, 4_000, 4_001, 9_000, 1, 1, 1]
    for offset, size in enumerate(sizes):
        topics.write(foreign.connect(topic=topics.origin, offset=offset), value=b"x" * size)
    adopt(store.client, topics.bootstrap, topics.dlt, "", "Ada", "")
    acted = send_again(store.client, topics.bootstrap, list(letters(store).values()), "Ada", "hope")
    assert len(acted.done) == len(sizes)
    assert sorted(len(record.value()) for record in topics.on_origin(len(sizes))) == sorted(sizes)
    assert {letter.state for letter in letters(store).values()} == {"replayed"}


def test_content_of_a_hostile_record_is_kept_and_not_believed(topics: Topics, store: Store) -> None:
    topics.write(
        [("kafka_dlt-original-topic", b"\xff'; DROP TABLE"), ("kafka_dlt-original-partition", struct.pack(">i", 0)), ("kafka_dlt-original-offset", struct.pack(">q", 5))],
        [("tieout-replay-of", b"nothing/0/0"), ("tieout-replay-count", b"1"), *foreign.connect(topic=topics.origin, offset=8)],
        value=None,
    )  # fmt: skip
    assert adopt(store.client, topics.bootstrap, topics.dlt, "", "Ada", "") == (2, 0, 0)
    found = letters(store)
    assert found[5].topic == "\\xff'; DROP TABLE"
    assert found[8].place == Place(topics.origin, 2, 8)
    assert contents(store.client, [found[8].place])[found[8].place].original == b""


@pytest.mark.parametrize("topic", ["invoices", "raw.stripe", "dead-letters", "breaks", "no-such-topic"])
def test_topic_that_cannot_be_adopted_is_refused(kafka_broker: Kafka, store: Store, topic: str) -> None:
    with pytest.raises(CannotAdopt):
        adopt(store.client, kafka_broker.bootstrap, topic, "", "Ada", "")
