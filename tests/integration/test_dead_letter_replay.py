"""A dead letter's way back, on a real Apache Kafka broker with real processes: refused, mended, replayed, resolved or parked."""

import json
import os
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from canonical.records import encode
from sinks.client import Client
from sources.registry import SOURCES
from streams import topics
from streams.dead_letters import MAX_REPLAYS
from streams.letters import Chosen, Letter, audit, find
from streams.publisher import producer_config
from tests.fixtures_kafka import Kafka
from tests.fixtures_store import StoreProcess
from tests.fixtures_worker import WorkerProcess
from tests.integration.broken_adapter import REASON
from tests.simulation.shell import document, life

pytestmark = pytest.mark.kafka

LONG_AGO = datetime.now(UTC) - timedelta(days=200)  # every deadline has passed
CASE = "invoice:acme-us:billing:1"
PATIENCE_S = 90
ROOT = Path(__file__).parents[2]


@pytest.fixture
def kafka(private_kafka: Kafka) -> Kafka:
    topics.create(private_kafka.bootstrap, sources=tuple(SOURCES))
    return private_kafka


class Line:
    """A broker, a store and the command line over both."""

    def __init__(self, kafka: Kafka, store: StoreProcess) -> None:
        self.bootstrap, self.store_url = kafka.bootstrap, store.url
        self.client: Client = store.client()

    def send(self, topic: str, bodies: Iterable[bytes], headers: Any = ()) -> None:
        producer = Producer(producer_config(self.bootstrap, "test"))
        for body in bodies:
            producer.produce(topic, body, b"any key", headers=list(headers))
        assert producer.flush(30) == 0

    def dlq(self, *arguments: str | Path) -> Any:
        """What `tieout dlq ... --json` says."""
        env = {**os.environ, "TIEOUT_BOOTSTRAP": self.bootstrap, "TIEOUT_STORE": self.store_url}
        command = [sys.executable, "-m", "tieout", "dlq", *map(str, arguments), "--json"]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    def verify(self) -> Any:
        """What `tieout verify` says of every record on the log."""
        command = [sys.executable, "-m", "tieout", "verify", "--json", "--wait", "60"]
        env = {**os.environ, "TIEOUT_BOOTSTRAP": self.bootstrap, "TIEOUT_STORE": self.store_url}
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, (done.stdout + done.stderr).decode()
        return json.loads(done.stdout)

    def letters(self) -> list[Letter]:
        return find(self.client, Chosen(), 100).letters

    def letter(self) -> Letter:
        (only,) = self.letters()
        return only

    def until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"still not so after {PATIENCE_S} s: {what}"
            time.sleep(0.1)

    def count(self, query: str) -> int:
        return int(self.client.query(query).result_rows[0][0])

    def breaks(self) -> list[str] | None:
        rows = self.client.query(f"SELECT break_classes FROM verdicts FINAL WHERE case_key = '{CASE}'").result_rows
        return list(rows[0][0]) if rows else None

    def read_by_worker(self) -> bool:
        """Everything on the raw and canonical topics is flushed, and every deadline that has come has fired."""
        due = "SELECT count() FROM verdicts FINAL WHERE next_deadline <= now64(6)"
        return not self.count("SELECT sum(lag) FROM positions FINAL") and not self.count(due)


@pytest.fixture
def line(kafka: Kafka, store_process: StoreProcess) -> Line:
    return Line(kafka, store_process)


Start = Callable[..., WorkerProcess]


def test_corrected_mapping_and_a_replay_close_the_break_it_caused(line: Line, start_worker: Start) -> None:
    worker = start_worker("broken", line.bootstrap, line.store_url, module="tests.integration.broken_adapter")
    line.send("raw.canonical", map(encode, life(1, LONG_AGO)), [("trace", b"\xff\x00"), ("none", None)])
    line.until(lambda: "missing_posting" in (line.breaks() or ()), "the posting was refused, so the case breaks")
    assert worker.stop() == 0
    refused = line.letter()
    assert (refused.state, refused.failure, refused.reason) == ("open", "mapping", REASON)

    start_worker("mended", line.bootstrap, line.store_url)
    dry = line.dlq("replay", "--reason", "VAT-19", "--actor", "Ada")
    assert dry["dry_run"] is True
    assert [(one["id"], one["to"]) for one in dry["letters"]] == [(str(refused.place), "raw.canonical")]
    assert line.letter() == refused
    line.dlq("replay", "--reason", "VAT-19", "--actor", "Ada", "--why", "VAT-19 is mapped now", "--yes")
    line.until(lambda: line.breaks() == [], "the break closes by itself")

    line.until(lambda: line.letter().state == "resolved", "the letter is resolved")
    letter = line.letter()
    assert (letter.actor, letter.why, letter.cases) == ("Ada", "VAT-19 is mapped now", [CASE])
    assert letter.replay_count == 1
    assert line.dlq("list", "--case", CASE, "--state", "resolved")["total"] == 1
    history = line.client.query(
        f"SELECT has(break_classes, 'missing_posting'), outcome FROM verdict_history FINAL WHERE case_key = '{CASE}' ORDER BY epoch, seq"
    ).result_rows
    assert (True, "break") in history, "before"
    assert history[-1] == (False, "ok"), "after"
    shown = line.dlq("show", str(letter.place))
    assert [row["action"] for row in shown["audit"]] == ["replayed", "resolved"]
    assert shown["headers"] == [["trace", {"base64": "/wA="}], ["none", None]]

    facts = "SELECT groupUniqArray((case_key, fact_id, raw)) FROM facts"
    before = sorted(line.client.query(facts).result_rows[0][0])
    verdict = line.client.query("SELECT raw, controls FROM verdicts FINAL").result_rows
    again = line.dlq("replay", str(letter.place), "--state", "resolved", "--why", "twice", "--yes")
    assert len(again["letters"]) == 1
    line.until(lambda: len(audit(line.client, letter.place)) == 4, "the second replay is met too")
    line.until(line.read_by_worker, "its event has been read")
    assert sorted(line.client.query(facts).result_rows[0][0]) == before
    assert line.client.query("SELECT raw, controls FROM verdicts FINAL").result_rows == verdict
    assert line.letter().state == "resolved"
    line.verify()


def test_letter_is_mended_by_hand_or_parked_when_it_keeps_failing(
    line: Line, start_worker: Start, tmp_path: Path
) -> None:
    start_worker("worker", line.bootstrap, line.store_url)
    truncated = encode(document("invoice", 1, LONG_AGO))[:-40] + b"\xff"
    line.send("raw.canonical", [truncated])
    line.send("invoices", [b"put there by somebody else"])
    line.until(lambda: len(line.letters()) == 2, "both are refused")
    by_topic = {letter.topic: str(letter.place) for letter in line.letters()}

    mended = tmp_path / "mended.json"
    mended.write_bytes(encode(document("invoice", 1, LONG_AGO)))
    line.dlq("replay", by_topic["raw.canonical"], "--body", mended, "--why", "it was cut off", "--yes")
    line.until(lambda: "resolved" in {letter.state for letter in line.letters()}, "the mended letter is resolved")
    shown = line.dlq("show", by_topic["raw.canonical"])
    assert shown["original"] == {"base64": b64encode(truncated).decode()}, "the original stays as it was"
    assert (shown["audit"][0]["detail"]["mended"], shown["audit"][0]["body"]) == (True, mended.read_text())
    assert shown["cases"] == [CASE]

    for count in range(1, MAX_REPLAYS + 1):
        assert line.dlq("replay", by_topic["invoices"], "--why", "hope", "--yes")["letters"][0]["to"] == "raw.canonical"
        met = count if count < MAX_REPLAYS else count + 1  # the last failure parks it
        line.until(lambda met=met: _worker_rows(line, by_topic["invoices"]) == met, f"replay {count} is refused")
    (letter,) = line.dlq("list", "--state", "parked")["letters"]
    assert (letter["id"], letter["replay_count"], letter["why"]) == (by_topic["invoices"], MAX_REPLAYS, "hope")
    assert line.count("SELECT count() FROM dead_letters FINAL") == 2, "a replay that failed is no letter of its own"
    assert line.dlq("replay", "--why", "once more", "--yes")["letters"] == [], "a parked letter is not sent again"
    left = line.dlq("replay", by_topic["invoices"], "--why", "once more", "--yes")["left"]
    assert [one["state"] for one in left] == ["parked"]
    told = [headers for headers in _dead_letter_headers(line) if headers["__dlq.errors.topic"] == b"invoices"]
    assert sorted(headers["__dlq.errors.delivery.count"] for headers in told) == [b"1", b"2", b"3", b"4"]
    assert {headers["__dlq.errors.group"] for headers in told} == {b"tieout"}
    raw = next(topic for topic in line.verify()["topics"] if topic["topic"] == "raw.canonical")
    assert (raw["records"], raw["facts"], raw["dead_letters"]) == (5, 1, 4), (
        "replays that were refused are accounted for"
    )


def _worker_rows(line: Line, letter_id: str) -> int:
    return line.count(
        f"SELECT count() FROM dead_letter_actions FINAL WHERE batch = '' AND topic = '{letter_id.split('/')[0]}'"
    )


def _dead_letter_headers(line: Line) -> list[dict[str, bytes]]:
    """Of all that is on the topic `dead-letters`."""
    consumer = Consumer({"bootstrap.servers": line.bootstrap, "group.id": "look", "auto.offset.reset": "earliest"})
    ends = {
        number: consumer.get_watermark_offsets(TopicPartition(topics.DEAD_LETTERS, number))[1] for number in range(4)
    }
    consumer.assign([TopicPartition(topics.DEAD_LETTERS, number, 0) for number in ends])
    found = consumer.consume(sum(ends.values()), timeout=30)
    consumer.close()
    return [dict(message.headers()) for message in found]
