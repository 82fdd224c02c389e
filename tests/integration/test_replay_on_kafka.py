"""Replays on a real Apache Kafka broker beside a running worker: from the facts, from the log, whole and in part."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from benchmarks import load
from sources.registry import SOURCES
from streams import topics
from tests.fixtures_kafka import Kafka
from tests.fixtures_store import StoreProcess
from tests.fixtures_worker import WorkerProcess
from tests.integration.test_stream import LONG_AGO, facts_in, settled, wait_for
from tests.unit.test_cli import refusal, tieout

pytestmark = pytest.mark.kafka

CASES = 2_000


@pytest.fixture
def books(
    private_kafka: Kafka, store_process: StoreProcess, start_worker: Callable[..., WorkerProcess]
) -> Iterator["Books"]:
    topics.create(private_kafka.bootstrap, 4, 1, tuple(SOURCES))
    yield Books(private_kafka, store_process, start_worker)


class Books:
    def __init__(self, kafka: Kafka, store: StoreProcess, start_worker: Callable[..., WorkerProcess]) -> None:
        self.kafka, self.store = kafka, store
        self.client = store.client()
        self._start = start_worker

    def worker(self) -> WorkerProcess:
        return self._start("worker", self.kafka.bootstrap, self.store.url)

    def filled(self, cases: int = CASES) -> WorkerProcess:
        worker = self.worker()
        records = load.produce(self.kafka.bootstrap, load.messages(cases, at=LONG_AGO))
        settled(self.client, records, cases, [worker])
        return worker

    def run(self, *options: str) -> Any:
        return tieout("replay", "--store", self.store.url, "--bootstrap", self.kafka.bootstrap, *options)

    def replayed(self, *options: str) -> dict[str, Any]:
        done = self.run("--json", *options)
        assert done.returncode in (0, 1), done.stderr
        told = json.loads(done.stdout)
        assert (told["different"] > 0) == (done.returncode == 1)
        return dict(told)


def test_a_replay_beside_a_running_worker_reports_no_false_difference(books: Books) -> None:
    worker = books.worker()
    messages = list(load.messages(CASES, at=LONG_AGO))
    first = load.produce(books.kafka.bootstrap, iter(messages[: len(messages) // 2]))
    wait_for(lambda: facts_in(books.client) == first, "the first half")
    worker.pause()
    load.produce(books.kafka.bootstrap, iter(messages[len(messages) // 2 :]))
    told = books.replayed("--from-log")
    assert (told["cases"], told["different"]) == (CASES, 0), told
    assert told["moving"] > CASES // 4, "half of the log is not read yet"
    worker.wake()
    while facts_in(books.client) < len(messages):
        for origin in ((), ("--from-log",)):
            assert books.replayed(*origin)["differences"] == []
    settled(books.client, len(messages), CASES, [worker])
    for origin in ((), ("--from-log",)):
        told = books.replayed(*origin)
        assert (told["cases"], told["identical"]) == (CASES, CASES), told
    assert worker.stop() == 0


def test_a_part_of_the_log_is_completed_from_the_store(books: Books) -> None:
    books.filled().stop()
    whole = books.replayed("--from-log")
    assert (whole["cases"], whole["identical"]) == (CASES, CASES)
    for span in (("--from", "300"), ("--to", "100"), ("--from", "200", "--to", "203")):
        part = books.replayed("--from-log", *span)
        assert 0 < part["cases"] < CASES, span
        assert part["identical"] == part["cases"], (span, part)
    assert books.replayed("--from-log", "--from", datetime.now(UTC).isoformat())["cases"] == 0
    assert books.replayed("--from-log", "--to", datetime.now(UTC).isoformat())["identical"] == CASES


def test_what_the_store_lost_or_holds_beside_the_log_is_named(books: Books) -> None:
    books.filled().stop()
    lost = books.client.query("SELECT case_key, topic, partition, offset FROM facts ORDER BY cityHash64(raw)").first_row
    key, topic, partition, offset = lost
    books.client.command(
        f"ALTER TABLE facts DELETE WHERE topic = '{topic}' AND partition = {partition} AND offset = {offset} "
        "SETTINGS mutations_sync = 2"
    )
    from_log = books.replayed("--from-log")
    (found,) = from_log["differences"]
    assert (found["case"], from_log["identical"]) == (key, CASES - 1)
    assert found["why"] == f"the store lacks the fact that the log has at {topic} {partition} {offset}"
    assert found["rebuilt"] == found["live"], "the log still gives the same verdict"
    (found,) = books.replayed()["differences"]
    assert found["case"] == key
    assert "facts that the live verdict was judged with are there" in found["why"]


def test_the_log_does_not_notice_and_a_broker_that_is_away_is_said(books: Books) -> None:
    worker = books.filled(200)
    positions = "SELECT topic, partition, next_offset FROM positions FINAL ORDER BY ALL"
    stored = "SELECT sum(next_offset) FROM positions FINAL WHERE topic NOT LIKE 'raw.%'"
    wait_for(lambda: books.client.query(stored).first_row[0] == load.expected(200).events, "positions")
    before = books.client.query(positions).result_rows
    assert books.replayed("--from-log", "--into", "whole")["identical"] == 200
    assert books.client.query("SELECT count() FROM shadow_verdicts WHERE run = 'whole'").first_row[0] == 200
    assert books.client.query(positions).result_rows == before
    assert worker.exit_code() is None
    assert worker.log.read_text().count("own partitions") == 1, "the group was disturbed"
    assert worker.stop() == 0
    books.kafka.stop()
    assert "no Kafka broker" in refusal(books.run("--from-log"))
