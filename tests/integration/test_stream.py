"""The main job on a real Apache Kafka broker with real processes: workers, the embedded store, kill -9."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from benchmarks import load
from canonical.records import decode
from matching.policy import load as load_policy
from matching.verdict import whole
from sinks.client import Client
from sources.registry import SOURCES
from streams import topics
from streams.batch import reconcile
from tests.fixtures_kafka import Kafka
from tests.fixtures_store import StoreProcess
from tests.fixtures_worker import WorkerProcess, verified
from tests.unit.test_cli import tieout

pytestmark = pytest.mark.kafka

LONG_AGO = datetime.now(UTC) - timedelta(days=200)  # every deadline has passed: verdicts no longer depend on the clock
CASES = 4_000
PATIENCE_S = 120


@pytest.fixture
def kafka(private_kafka: Kafka) -> Kafka:
    topics.create(
        private_kafka.bootstrap,
        partitions=4,
        replication=1,
        sources=tuple(SOURCES),
    )
    return private_kafka


def wait_for(condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {patience_s} s: {what}"
        time.sleep(0.1)


def facts_in(client: Client) -> int:
    return int(client.query("SELECT count() FROM (SELECT DISTINCT topic, partition, offset FROM facts)").first_row[0])


def end_state(client: Client) -> dict[str, bytes]:
    query = "SELECT case_key, raw, controls FROM verdicts FINAL"
    rows = client.query(query, column_formats={"raw": "bytes", "controls": "bytes"}).result_rows
    return {key: whole(raw, controls) for key, raw, controls in rows}


def judged(client: Client) -> tuple[int, int]:
    """The facts that are in verdicts, and how many of these are not final: judged while catching up, their deadline has
    come and has not fired yet, or they await a source. One query: between two of them a flush may end.
    """
    query = (
        "SELECT sum(facts), countIf(outcome != 'ok' AND (next_deadline <= now64(6) OR position(raw, '\"awaiting\":[') > 0)) "
        "FROM verdicts FINAL"
    )
    facts, not_final = client.query(query).first_row
    return int(facts), int(not_final)


def distinct_facts(cases: int) -> int:
    return len({(message.key, decode(message.value).id) for message in load.messages(cases, at=LONG_AGO)})


def settled(client: Client, records: int, cases: int, workers: list[WorkerProcess]) -> None:
    """Everything produced is a fact, and every fact is in a verdict."""
    expected = distinct_facts(cases)

    def done() -> bool:
        for worker in workers:
            assert worker.exit_code() is None, worker.log.read_text()[-3000:]
        return facts_in(client) == records and judged(client) == (expected, 0)

    wait_for(done, f"{records} records in verdicts")


def undisturbed(cases: int) -> dict[str, bytes]:
    """What the batch half says of the same events, judged now."""
    lines = (message.value for message in load.messages(cases, at=LONG_AGO))
    refused: list[Any] = []
    verdicts = reconcile(lines, load_policy(None), datetime.now(UTC), lambda *letter: refused.append(letter))
    found = {}
    for raw in verdicts:
        found[raw.split(b'"', 4)[3].decode()] = raw
    assert not refused
    return found


def test_stream_of_two_workers_gives_the_verdicts_of_the_batch(kafka: Kafka, store_process: StoreProcess, start_worker: Callable[..., WorkerProcess]) -> None:  # fmt: skip
    workers = [start_worker(name, kafka.bootstrap, store_process.url) for name in ("one", "two")]
    records = load.produce(kafka.bootstrap, load.messages(CASES, at=LONG_AGO))
    settled(store_process.client(), records, CASES, workers)
    assert end_state(store_process.client()) == undisturbed(CASES)
    owned = (
        store_process.client()
        .query("SELECT partition, argMax(worker, epoch) FROM epochs GROUP BY partition")
        .result_rows
    )
    assert len(owned) == 4
    assert len({worker for _, worker in owned}) == 2, "one worker did everything"
    assert [worker.stop() for worker in workers] == [0, 0]


def test_worker_killed_in_the_middle_changes_nothing(kafka: Kafka, store_process: StoreProcess, start_worker: Callable[..., WorkerProcess]) -> None:  # fmt: skip
    client = store_process.client()
    records = load.produce(kafka.bootstrap, load.messages(CASES, at=LONG_AGO))
    victim = start_worker("victim", kafka.bootstrap, store_process.url)
    wait_for(lambda: 0 < facts_in(client) or victim.exit_code() is not None, "first facts")
    victim.kill()
    assert facts_in(client) < records or judged(client)[0] < distinct_facts(CASES), "killed too late to show anything"
    heir = start_worker("heir", kafka.bootstrap, store_process.url)
    settled(client, records, CASES, [heir])
    assert end_state(client) == undisturbed(CASES)
    assert heir.stop() == 0


def test_worker_that_was_stopped_goes_on_where_it_was(kafka: Kafka, store_process: StoreProcess, start_worker: Callable[..., WorkerProcess]) -> None:  # fmt: skip
    client = store_process.client()
    first = load.produce(kafka.bootstrap, load.messages(500, at=LONG_AGO))
    worker = start_worker("first", kafka.bootstrap, store_process.url)
    settled(client, first, 500, [worker])
    assert worker.stop() == 0
    rows = client.query("SELECT count() FROM facts").first_row[0]
    again = start_worker("second", kafka.bootstrap, store_process.url)
    load.produce(kafka.bootstrap, iter([message._replace(key=message.key + "-x", value=message.value.replace(message.key.encode(), message.key.encode() + b"-x")) for message in load.messages(10, at=LONG_AGO)]))  # fmt: skip
    more = load.expected(10).events
    wait_for(lambda: facts_in(client) == first + more, "what came after the restart")
    assert client.query("SELECT count() FROM facts").first_row[0] == rows + more, "read again what had been committed"
    assert again.stop() == 0


def test_installation_that_names_its_sources_needs_no_topic_of_others(private_kafka: Kafka, store_process: StoreProcess, start_worker: Callable[..., WorkerProcess]) -> None:  # fmt: skip
    where = ["--bootstrap", private_kafka.bootstrap]
    named = ["--sources", "stripe"]
    made = json.loads(tieout("topics", *where, *named, "--json").stdout)["created"]
    assert {topic for topic in made if topic.startswith("raw.")} == {"raw.canonical", "raw.stripe"}
    looked = ["doctor", *where, "--store", store_process.url, "--json"]
    assert _topics_found(tieout(*looked, *named)) == ("ok", "")
    state, remedy = _topics_found(tieout(*looked, "--sources", "stripe,camt"))
    assert state == "wrong" and remedy.endswith("--sources canonical,stripe,camt")
    of_all = start_worker("of-all", private_kafka.bootstrap, store_process.url)
    wait_for(of_all.exit_code, "the end of a worker that lacks topics")
    assert "raw.camt" in of_all.log.read_text()
    worker = start_worker("of-two", private_kafka.bootstrap, store_process.url, *named)
    records = load.produce(private_kafka.bootstrap, load.messages(50, at=LONG_AGO))
    settled(store_process.client(), records, 50, [worker])
    assert end_state(store_process.client()) == undisturbed(50)
    verified(private_kafka.bootstrap, store_process.url)
    assert worker.stop() == 0


def _topics_found(done: subprocess.CompletedProcess[bytes]) -> tuple[str, str]:
    return next((found["state"], found["remedy"]) for found in json.loads(done.stdout) if found["check"] == "topics")


def test_store_away_for_a_while_loses_nothing(kafka: Kafka, store_process: StoreProcess, start_worker: Callable[..., WorkerProcess]) -> None:  # fmt: skip
    worker = start_worker("patient", kafka.bootstrap, store_process.url)
    wait_for(lambda: "own partitions" in worker.log.read_text(), "an assignment")
    store_process.kill()
    records = load.produce(kafka.bootstrap, load.messages(300, at=LONG_AGO))
    wait_for(lambda: "store unavailable" in worker.log.read_text(), "the worker noticing")
    store_process.start()
    settled(store_process.client(), records, 300, [worker])
    assert end_state(store_process.client()) == undisturbed(300)


def test_worker_beyond_the_number_of_partitions_waits_and_takes_over(private_kafka: Kafka, store_process: StoreProcess, start_worker: Callable[..., WorkerProcess]) -> None:  # fmt: skip
    topics.create(private_kafka.bootstrap, 1, 1, sources=tuple(SOURCES))
    workers = [start_worker(name, private_kafka.bootstrap, store_process.url) for name in ("one", "spare")]
    owns_nothing = "own partitions []"
    wait_for(lambda: any(owns_nothing in worker.log.read_text() for worker in workers), "one without a partition")
    assert [worker.exit_code() for worker in workers] == [None, None]
    owner, spare = sorted(workers, key=lambda worker: owns_nothing in worker.log.read_text().splitlines()[-1])
    assert owner.stop() == 0
    records = load.produce(private_kafka.bootstrap, load.messages(50, at=LONG_AGO))
    settled(store_process.client(), records, 50, [spare])


RUBBISH: dict[str, bytes] = {
    "truncated": b'{"specversion":"1.0","id":"a',
    "not an object": b"[1,2,3]",
    "not JSON": b"hello",
    "empty": b"",
    "NUL bytes": b"\x00\x00",
    "invalid UTF-8": b'{"id":"\xff\xfe"}',
    "NaN": b'{"amount":NaN}',
    "deep": b"[" * 100_000,
    "5 MB": b'{"a":"' + b"x" * 5_000_000 + b'"}',
}


def broken() -> Iterator[tuple[str, bytes]]:
    """A valid invoice with one thing wrong in it."""
    good = next(iter(load.messages(1, at=LONG_AGO))).value
    valid = next(message.value for message in load.messages(40, at=LONG_AGO) if message.topic == "invoices")
    assert good and valid
    yield from RUBBISH.items()
    for what, old, new in (
        ("unknown type", b'"invoice.issued"', b'"invoice.exploded"'),
        ("future contract", b"invoice.issued:1", b"invoice.issued:9"),
        ("unknown currency", b'"USD"', b'"XQX"'),
        ("negative amount", b'"total_minor":', b'"total_minor":-'),
        ("2^63", b'"total_minor":', b'"total_minor":9223372036854775808'),
        ("a float", b'"total_minor":', b'"total_minor":1.5,"was":'),
        ("no correlation id", b'"correlationid"', b'"correlationjd"'),
        ("10 kB correlation id", b'"correlationid":"', b'"correlationid":"invoice:' + b"x" * 10_000),
        ("clock years off", LONG_AGO.isoformat()[:4].encode() + b"-", b"2399-"),
        ("clock in the future", b'"time":"20', b'"time":"20'),
    ):
        mutated = valid.replace(old, new)
        if what == "clock in the future":
            mutated = valid.replace(f'"time":"{LONG_AGO.year}'.encode(), f'"time":"{LONG_AGO.year + 3}'.encode())
        assert mutated != valid, what
        yield what, mutated


def test_rubbish_is_a_dead_letter_with_its_bytes_and_the_stream_goes_on(kafka: Kafka, store_process: StoreProcess, start_worker: Callable[..., WorkerProcess], tmp_path: Path) -> None:  # fmt: skip
    client = store_process.client()
    worker = start_worker("careful", kafka.bootstrap, store_process.url)
    sent = dict(broken())
    rubbish = [load.Message("raw.canonical", what, body) for what, body in sent.items()]
    straight = [load.Message("invoices", what, body) for what, body in sent.items()]
    load.produce(kafka.bootstrap, iter(rubbish))
    load.produce(kafka.bootstrap, iter(straight))
    good = load.produce(kafka.bootstrap, load.messages(100, at=LONG_AGO))
    settled(client, good, 100, [worker])
    wait_for(lambda: client.query("SELECT count() FROM dead_letters").first_row[0] >= 2 * len(sent), "dead letters", 30)
    rows = client.query(
        "SELECT topic, key, class, reason, original FROM dead_letters FINAL",
        column_formats={"original": "bytes", "key": "bytes"},
    ).result_rows
    assert len(rows) == 2 * len(sent)
    for _, key, failure, reason, original in rows:
        assert original == sent[key.decode()], key
        assert failure in ("transient", "mapping", "master_data", "policy")
        assert reason
    assert "tieout_dead_letters_total{class=" in worker.metrics()
    assert worker.stop() == 0
