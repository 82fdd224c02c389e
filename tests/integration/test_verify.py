"""`tieout verify` against a real Apache Kafka broker, real workers and the embedded store: exit codes and what is named."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from benchmarks import load
from sinks.client import Client
from sources.registry import SOURCES
from streams import topics
from streams.intake import HEARTBEAT
from streams.log import Log
from streams.publisher import producer_config
from tests.fixtures_kafka import Kafka
from tests.fixtures_store import StoreProcess
from tests.fixtures_worker import WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
LONG_AGO = datetime.now(UTC) - timedelta(days=200)
PATIENCE_S = "90"
RUBBISH = (b"hello", b"\x00\x00", b'{"id":"\xff"}', b"", b'{"a":"' + b"x" * 5_000_000 + b'"}')
Start = Callable[..., WorkerProcess]


class Answer(NamedTuple):
    code: int
    proof: dict[str, Any]

    def topic(self, name: str) -> dict[str, int]:
        found: dict[str, int] = next(topic for topic in self.proof["topics"] if topic["topic"] == name)
        return found

    def problems(self) -> list[tuple[Any, ...]]:
        return [(item["kind"], item["topic"], item["partition"], item["offset"]) for item in self.proof["problems"]]


class Stage:
    """A broker with tieout's topics, a store, and `tieout verify` over both."""

    def __init__(self, kafka: Kafka, store: StoreProcess) -> None:
        topics.create(kafka.bootstrap, partitions=2, replication=1, sources=list(SOURCES))
        self.kafka, self.store = kafka, store
        self.client: Client = store.client()

    def verify(self, *options: str) -> Answer:
        done = self.run("--json", *options)
        assert done.returncode in (0, 1), done.stderr
        return Answer(done.returncode, json.loads(done.stdout))

    def run(self, *options: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [
                sys.executable, "-m", "tieout", "verify", "--bootstrap", self.kafka.bootstrap, "--store",
                self.store.url, *options,
            ],
            cwd=ROOT, capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip

    def produce(self, messages: Iterable[tuple[str, bytes, bytes, Any]], **config: Any) -> None:
        producer = Producer(producer_config(self.kafka.bootstrap, "test") | config)
        for topic, key, value, headers in messages:
            producer.produce(topic, value, key, headers=headers)
        assert producer.flush(30) == 0

    def alter(self, statement: str) -> None:
        self.client.command(statement, settings={"mutations_sync": 2, "lightweight_deletes_sync": 2})

    def drop_below(self, place: tuple[str, int], offset: int) -> None:
        """As retention does."""
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap})
        for future in admin.delete_records([TopicPartition(*place, offset)]).values():
            future.result(20)


@pytest.fixture
def stage(private_kafka: Kafka, store_process: StoreProcess) -> Stage:
    return Stage(private_kafka, store_process)


def canonical(cases: int, prefix: str = "B") -> list[tuple[str, bytes, bytes, Any]]:
    found = load.messages(cases, prefix=prefix, at=LONG_AGO)
    return [(message.topic, message.key.encode(), message.value, None) for message in found]


def raw(cases: int, prefix: str) -> list[tuple[str, bytes, bytes, Any]]:
    return [("raw.canonical", key, value, None) for _, key, value, _ in canonical(cases, prefix)]


def explained(answer: Answer) -> str:
    return json.dumps(answer.proof["problems"], indent=1)[:3_000]


def test_living_log_is_proven_and_whatever_is_taken_away_is_named(stage: Stage, start_worker: Start) -> None:
    rubbish = [("raw.canonical", b"k", body, None) for body in RUBBISH]
    rubbish += [("invoices", b"k", body, None) for body in RUBBISH if len(body) < 1_000_000]
    beats = [("raw.canonical", b"", b"", [(HEARTBEAT, b"")])] * 3
    worker = start_worker("one", stage.kafka.bootstrap, stage.store.url)
    stage.produce(canonical(400) + raw(200, "R") + rubbish + beats + canonical(3))
    answer = stage.verify("--wait", PATIENCE_S)
    assert answer.code == 0, explained(answer)
    through_raw = len(raw(200, "R"))
    assert answer.topic("raw.canonical") | {"topic": ""} == {
        "topic": "", "records": through_raw + 8, "facts": through_raw, "duplicates": 0, "dead_letters": 5, "ignored": 3,
        "unread": 0, "missing": 0,
    }  # fmt: skip
    assert answer.topic("invoices")["dead_letters"] == 4
    assert answer.topic("invoices")["duplicates"] >= 3
    assert all(part["counts"]["residual"] == 0 for part in answer.proof["partitions"])
    assert worker.stop() == 0

    topic, partition, offset, key = stage.client.query(
        "SELECT topic, partition, offset, case_key FROM facts WHERE topic = 'payments' AND case_key LIKE '%:B-00000100'"
    ).first_row
    stage.alter(f"DELETE FROM facts WHERE topic = '{topic}' AND partition = {partition} AND offset = {offset}")
    answer = stage.verify()
    assert (answer.code, answer.problems()) == (
        1, [("missing", topic, partition, offset), ("history_incomplete", None, None, None)],
    )  # fmt: skip
    assert answer.proof["problems"][1]["case_key"] == key

    stage.alter("DELETE FROM dead_letters WHERE topic = 'raw.canonical' AND original = 'hello'")
    shown = stage.run()
    assert shown.returncode == 1
    assert "no dead letter is stored" in shown.stdout and shown.stdout.rstrip().endswith("INCOMPLETE: not proven")

    stage.produce(canonical(5, "LATE"))
    unread = {item[1] for item in stage.verify().problems() if item[0] == "unread"}
    assert unread == {"invoices", "payments"} or unread == {"invoices", "payments", "postings"}


def test_transactions_leave_no_false_residual(stage: Stage, start_worker: Start) -> None:
    producer = Producer(
        producer_config(stage.kafka.bootstrap, "test") | {"transactional.id": "t", "transaction.timeout.ms": 130_000}
    )
    producer.init_transactions(30)

    def transact(messages: list[tuple[str, bytes, bytes, Any]], *, commit: bool) -> None:
        producer.begin_transaction()
        for topic, key, value, _ in messages:
            producer.produce(topic, value, key)
        producer.flush(30)
        (producer.commit_transaction if commit else producer.abort_transaction)(30)

    start_worker("one", stage.kafka.bootstrap, stage.store.url)
    stage.produce(canonical(50))
    for number in range(3):
        transact(canonical(20, f"C{number}") + raw(20, f"CR{number}"), commit=True)
        transact(canonical(20, f"A{number}") + raw(20, f"AR{number}"), commit=False)
    answer = stage.verify("--wait", PATIENCE_S)
    assert answer.code == 0, explained(answer)
    direct = len(canonical(50)) + 3 * len(canonical(20)) + 3 * len(raw(20, "CR0"))
    joined = [answer.topic(topic) for topic in ("invoices", "postings", "payments")]
    assert sum(topic["records"] for topic in joined) == sum(topic["facts"] for topic in joined) == direct
    ends = sum(part["log_end"] for part in answer.proof["partitions"] if part["topic"] in ("invoices", "postings", "payments"))  # fmt: skip
    assert ends > direct, "no marker took an offset: this shows nothing"
    assert stage.client.query("SELECT count() FROM facts WHERE case_key LIKE '%:A%'").first_row == (0,)

    producer.begin_transaction()
    topic, key, value, _ = canonical(1, "OPEN")[0]
    producer.produce(topic, value, key)
    producer.flush(30)
    answer = stage.verify()
    assert answer.code == 0, "a transaction that is open is neither committed nor missing: " + explained(answer)
    producer.abort_transaction(30)


def test_what_retention_took_is_proven_by_the_run_or_named_as_a_gap(stage: Stage, start_worker: Start) -> None:
    worker = start_worker("one", stage.kafka.bootstrap, stage.store.url)
    stage.produce(canonical(300))
    assert stage.verify("--wait", PATIENCE_S).code == 0
    assert worker.stop() == 0
    stage.drop_below(("invoices", 0), 10)
    assert stage.verify().code == 0
    before = int(
        stage.client.query(
            "SELECT next_offset FROM positions FINAL WHERE topic = 'invoices' AND partition = 0"
        ).first_row[0]
    )
    stage.produce(canonical(300, "LOST"))
    stage.drop_below(("invoices", 0), before + 7)
    start_worker("two", stage.kafka.bootstrap, stage.store.url)
    answer = stage.verify("--wait", PATIENCE_S)
    assert (answer.code, answer.problems()) == (1, [("gap", "invoices", 0, before)]), explained(answer)
    assert f"offsets {before} to {before + 6}" in answer.proof["problems"][0]["what"]


def test_window_keeps_to_what_was_appended_in_it(stage: Stage, start_worker: Start) -> None:
    start_worker("one", stage.kafka.bootstrap, stage.store.url)
    stage.produce(canonical(30, "EARLY"))
    moments = [pause()]
    stage.produce(canonical(40, "NOON"))
    moments.append(pause())
    stage.produce(canonical(50, "LATE"))
    assert stage.verify("--wait", PATIENCE_S).code == 0
    stage.alter("DELETE FROM facts WHERE case_key LIKE '%:EARLY-%' OR case_key LIKE '%:LATE-%'")
    begin, end = (moment.isoformat() for moment in moments)
    answer = stage.verify("--from", begin, "--to", end)
    assert answer.code == 0, explained(answer)
    assert sum(topic["records"] for topic in answer.proof["topics"]) == len(canonical(40))
    early = stage.verify("--to", begin)
    assert (early.code, early.proof["problem_counts"]["missing"]) == (1, len(canonical(30)))
    late = stage.verify("--from", end)
    assert (late.code, late.proof["problem_counts"]["missing"]) == (1, len(canonical(50)))


def pause() -> datetime:
    """A moment with nothing appended in its millisecond."""
    moment = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
    while datetime.now(UTC) <= moment + timedelta(milliseconds=5):
        time.sleep(0.01)
    return moment


def test_reading_the_log_joins_no_group_and_makes_no_topic(private_kafka: Kafka) -> None:
    topics.create(private_kafka.bootstrap, partitions=1, replication=1)
    admin = AdminClient({"bootstrap.servers": private_kafka.bootstrap})
    before = set(admin.list_topics(timeout=10).topics)
    log = Log(private_kafka.bootstrap)
    producer = Producer(producer_config(private_kafka.bootstrap, "test"))
    for number in range(25_000):
        producer.produce("orders", b"x" * (number % 50), b"k")
        producer.poll(0)
    producer.flush(30)
    (bounds,) = log.bounds([("orders", 0)]).values()
    chunks = list(log.records(("orders", 0), 100, bounds.end - 100))
    assert [record.offset for chunk in chunks for record in chunk] == list(range(100, 24_900))
    assert len(chunks) == 2
    log.close()
    assert {name for name in admin.list_topics(timeout=10).topics if not name.startswith("__")} == before
    assert admin.list_consumer_groups().result(10).valid == []
