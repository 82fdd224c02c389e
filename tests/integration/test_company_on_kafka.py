"""The living company through the whole machine: a real broker, two workers, the embedded store; truth against verdicts."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Producer

from canonical.ids import CASE_KINDS
from company.business import simulate
from company.compare import compare
from company.faults import FaultRates
from company.truth import Truth
from sinks.client import Client
from sources.registry import SOURCES
from streams import topics
from streams.publisher import producer_config
from tests.fixtures_kafka import Kafka
from tests.fixtures_store import StoreProcess
from tests.fixtures_worker import WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

CASES = 20_000
PATIENCE_S = 400


def test_twenty_thousand_cases_of_a_living_company_have_the_verdicts_they_deserve(
    private_kafka: Kafka, store_process: StoreProcess, start_worker: Callable[..., WorkerProcess]
) -> None:
    topics.create(private_kafka.bootstrap, partitions=4, replication=1, sources=tuple(SOURCES))
    workers = [start_worker(name, private_kafka.bootstrap, store_process.url) for name in ("one", "two")]
    now = datetime.now(UTC)
    truth = Truth()
    company = simulate(20, CASES, now - timedelta(days=300), now - timedelta(days=200), FaultRates(), truth)
    producer = Producer({**producer_config(private_kafka.bootstrap, "company"), "linger.ms": 50})
    sent = 0
    for delivery in company:
        while True:
            try:
                producer.produce(topics.raw_topic(delivery.source), delivery.body, delivery.key)
                break
            except BufferError:
                producer.poll(0.1)
        sent += 1
    producer.flush(60)
    client = store_process.client()
    _wait_until_quiet(client, workers, len(truth.dead_letters))
    verdicts = client.query("SELECT raw FROM verdicts FINAL", column_formats={"raw": "bytes"}).result_columns[0]
    found = compare(truth.cases.values(), verdicts, datetime.now(UTC))
    assert not found.differences, "\n".join(found.differences[:20])
    of_business = [raw for raw in verdicts if not raw.startswith(b'{"correlation_id":"index:')]
    assert len(of_business) == len(truth.cases) >= CASES
    assert {raw.split(b'"', 4)[3].split(b":")[0].decode() for raw in verdicts} <= set(CASE_KINDS)
    letters = dict(client.query("SELECT class, count() FROM dead_letters FINAL GROUP BY class").result_rows)
    assert letters == _by_failure(truth)
    raw_read = client.query("SELECT sum(next_offset) FROM positions FINAL WHERE topic = 'raw.canonical'").first_row[0]
    assert raw_read == sent
    assert [worker.stop() for worker in workers] == [0, 0]


def _by_failure(truth: Truth) -> dict[str, int]:
    counts: dict[str, int] = {}
    for letter in truth.dead_letters:
        counts[letter.failure] = counts.get(letter.failure, 0) + 1
    return counts


def _wait_until_quiet(client: Client, workers: list[WorkerProcess], dead_letters: int) -> None:
    """Every position stands at its log's end, and the store has not changed from one look to the next."""
    deadline, before = time.monotonic() + PATIENCE_S, None
    while True:
        for worker in workers:
            assert worker.exit_code() is None, worker.log.read_text()[-3_000:]
        lag, letters, facts, rows, due = client.query(
            "SELECT (SELECT sum(lag) FROM positions FINAL), (SELECT count() FROM dead_letters FINAL),"
            " (SELECT count() FROM facts), (SELECT count() FROM verdict_history),"
            " (SELECT count() FROM open_cases FINAL WHERE next_deadline <= now64(6) OR notEmpty(awaiting))"
        ).first_row
        now = (facts, rows)
        if facts and lag == due == 0 and letters == dead_letters and now == before:
            return
        before = now
        assert time.monotonic() < deadline, f"lag {lag}, {letters} of {dead_letters} dead letters, {facts} facts"
        time.sleep(2)
