"""Historical loads: resumable anywhere, nothing double, and the verdicts of `tieout reconcile` whoever comes first."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from benchmarks import load as trade
from canonical.records import decode
from sinks.client import Client, Store
from sinks.replays import ReplayStore
from sources.registry import SOURCES
from streams import backfill, topics
from streams.backfill import CannotLoad, Load, begin, examine
from streams.partitioner import partition_of
from streams.ports import Outbound
from tests.fixtures_kafka import Kafka
from tests.fixtures_store import StoreProcess
from tests.fixtures_worker import WorkerProcess
from tests.integration.test_stream import LONG_AGO, distinct_facts, end_state, judged, undisturbed, wait_for
from tests.unit.test_cli import refusal, tieout

PARTITIONS = 4
SKEW_S = 86_400.0
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
STATE = {
    "facts": "SELECT DISTINCT topic, partition, offset, raw FROM facts ORDER BY ALL",
    "dead_letters": "SELECT * EXCEPT received_at FROM dead_letters FINAL ORDER BY ALL",
    "chunks": "SELECT run, stage, chunk, records, events, letters, cases, last_case FROM backfill_chunks FINAL ORDER BY ALL",
    "runs": "SELECT run, state, source, digest FROM backfills FINAL ORDER BY ALL",
}


class Died(Exception):
    """The process would be gone at this point."""


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """60 cases in two files, with records among them that are none."""
    folder = tmp_path / "history"
    folder.mkdir()
    lines = [message.value for message in trade.messages(60, at=LONG_AGO)]
    lines[7:7] = [b'{"type":"invoice.exploded"}', b"\xff\x00 rubbish"]
    lines[90:90] = [lines[3].replace(f'"time":"{LONG_AGO.year}'.encode(), f'"time":"{LONG_AGO.year + 3}'.encode())]
    (folder / "2019.jsonl").write_bytes(b"\n".join(lines[:80]))
    (folder / "2020.jsonl").write_bytes(b"\n".join(lines[80:]))
    return folder


def loaded(store: Store, folder: Path, publish: Callable[[Sequence[Outbound]], None]) -> list[str]:
    """One life of `tieout backfill`; returns what it told."""
    books, told = ReplayStore(store.client, patience_s=0), list[str]()
    given = examine(SOURCES["canonical"], [str(folder)])
    run = begin(books, given, None, NOW + timedelta(days=100), told.append)
    load = Load(books, run, given.source, PARTITIONS, SKEW_S)
    if not load.is_done:
        load.write([str(folder)], lambda _count: None, 100)
        load.touch(publish, lambda _count: None, 40)
    return told


def state(client: Client) -> dict[str, Any]:
    return {name: client.query(query).result_rows for name, query in STATE.items()}


def test_every_record_is_a_fact_at_its_cases_home_or_a_dead_letter_with_its_bytes(store: Store, history: Path) -> None:
    published: list[Outbound] = []
    loaded(store, history, published.extend)
    client = store.client
    facts = client.query("SELECT case_key, topic, partition, raw FROM facts").result_rows
    assert len(facts) == trade.expected(60).events
    assert {partition for _, _, partition, _ in facts} == set(range(PARTITIONS))
    assert all(partition == partition_of(key.encode(), PARTITIONS) for key, _, partition, _ in facts)
    letters = client.query(
        "SELECT topic, class, reason, original, headers FROM dead_letters FINAL ORDER BY offset",
        column_formats={"original": "bytes"},
    ).result_rows
    assert [original for *_, original, _ in letters][:2] == [b'{"type":"invoice.exploded"}', b"\xff\x00 rubbish"]
    assert "after its arrival" in letters[2][2]
    assert {topic for topic, *_ in letters} == {topic for _, topic, _, _ in facts}
    assert dict(json.loads(letters[0][4])) == {"path": str(history / "2019.jsonl"), "line": "8"}
    touched = [message.key.decode() for message in published]
    assert sorted(touched) == sorted({key for key, *_ in facts}), "each case is judged once"
    assert {message.topic for message in published} == {"controls"}
    assert {decode(message.value).type for message in published} == {"case.touched"}


@pytest.mark.parametrize("call", range(1, 23))
def test_cut_off_anywhere_the_same_command_ends_where_an_undisturbed_one_does(
    store: Store, history: Path, call: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every insert and every publication is cut off once, before and (its answer lost) after it was done."""
    published: list[Outbound] = []
    calls = 0

    def cut_off(method: Callable[..., Any]) -> Callable[..., Any]:
        def dying(*args: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == (call + 1) // 2 and call % 2:
                raise Died
            done = method(*args)
            if calls == (call + 1) // 2:
                raise Died
            return done

        return dying

    with monkeypatch.context() as patch:
        patch.setattr(ReplayStore, "_insert", cut_off(ReplayStore._insert))
        with pytest.raises(Died):
            loaded(store, history, cut_off(published.extend))
    loaded(store, history, published.extend)
    found = state(store.client)
    assert len({message.key for message in published}) == 60
    assert len(found["facts"]) == trade.expected(60).events
    assert len(found["dead_letters"]) == 3
    assert sum(row[3] for row in found["chunks"]) == trade.expected(60).events + 3
    assert sum(row[6] for row in found["chunks"]) == 60
    assert found["runs"][0][1] == "done"
    loaded(store, history, published.extend)
    assert state(store.client) == found, "a complete run is not done again"


def test_changed_input_is_another_run_which_is_said_and_shared_facts_count_once(store: Store, history: Path) -> None:
    published: list[Outbound] = []
    assert loaded(store, history, published.extend) == []
    with (history / "2020.jsonl").open("ab") as more:
        more.write(b"\n" + next(message.value for message in trade.messages(1, prefix="X", at=LONG_AGO)))
    (told,) = loaded(store, history, published.extend)
    assert "these paths held other records in run canonical-" in told
    assert store.client.query("SELECT uniqExact(run) FROM backfills").first_row[0] == 2
    assert store.client.query("SELECT uniqExact(case_key, fact_id) FROM facts").first_row[0] == distinct_facts(60) + 1
    books, given = ReplayStore(store.client), examine(SOURCES["canonical"], [str(history)])
    begin(books, given, "years", NOW, published.append)
    with (history / "2020.jsonl").open("ab") as more:
        more.write(b"\nnot a record")
    with pytest.raises(CannotLoad, match="run years was of other records"):
        begin(books, examine(SOURCES["canonical"], [str(history)]), "years", NOW, published.append)


def test_a_case_key_of_any_make_is_told_to_its_owner(store: Store, tmp_path: Path) -> None:
    one = next(message for message in trade.messages(1, at=LONG_AGO))
    keys = ["invoice:short", "invoice:::", "invoice:" + "x" * 248, "invoice:acme%00:b:%0A%FF"]
    (tmp_path / "odd.jsonl").write_bytes(b"\n".join(one.value.replace(one.key.encode(), key.encode()) for key in keys))
    published: list[Outbound] = []
    loaded(store, tmp_path, published.extend)
    assert sorted(message.key.decode() for message in published) == sorted(keys)
    assert {decode(message.value).correlationid for message in published} == set(keys)


def test_a_record_of_more_events_than_it_has_places_is_a_dead_letter(
    store: Store, history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "PLACES_A_RECORD", 0)
    loaded(store, history, lambda _messages: None)
    reasons = store.client.query("SELECT DISTINCT reason FROM dead_letters FINAL").result_columns[0]
    assert "the record gives 1 events, limit 0" in reasons
    assert store.client.query("SELECT count() FROM facts").first_row[0] == 0


def test_a_renamed_file_is_the_same_run(store: Store, history: Path) -> None:
    before = examine(SOURCES["canonical"], [str(history)])
    (history / "2019.jsonl").rename(history / "1999.jsonl")
    assert examine(SOURCES["canonical"], [str(history)]).digest == before.digest


# --- On a real broker, with a worker -----------------------------------------------------------------------------------

CASES = 1_500


class Books:
    def __init__(self, kafka: Kafka, store: StoreProcess, folder: Path) -> None:
        topics.create(kafka.bootstrap, PARTITIONS, 1, tuple(SOURCES))
        self.kafka, self.store, self.client = kafka, store, store.client()
        self.file = folder / "history.jsonl"

    def backfill(self, *options: str) -> Any:
        return tieout("backfill", "canonical", self.file, "--bootstrap", self.kafka.bootstrap, "--store", self.store.url, *options)  # fmt: skip

    def settled(self, cases: int, worker: WorkerProcess) -> dict[str, bytes]:
        """The end state, once every fact is in a verdict and all messages to the workers have been read."""
        expected = distinct_facts(cases)
        lag = "SELECT sum(lag) FROM positions FINAL"

        def done() -> bool:
            assert worker.exit_code() is None, worker.log.read_text()[-3000:]
            return self.client.query(lag).first_row == (0,) and judged(self.client) == (expected, 0)

        wait_for(done, "every fact in a verdict")
        return end_state(self.client)


@pytest.fixture
def books(private_kafka: Kafka, store_process: StoreProcess, tmp_path: Path) -> Books:
    return Books(private_kafka, store_process, tmp_path)


def write(path: Path, messages: Sequence[trade.Message]) -> None:
    path.write_bytes(b"".join(message.value + b"\n" for message in messages))


@pytest.mark.kafka
def test_history_without_any_worker_is_judged_when_one_comes(
    books: Books, start_worker: Callable[..., WorkerProcess]
) -> None:
    messages = list(trade.messages(CASES, at=LONG_AGO))
    write(books.file, messages)
    done = books.backfill()
    assert done.returncode == 0, done.stderr
    assert f"backfilled {len(messages)} records to {len(messages)} events of {CASES} cases, 0 dead letters" in done.stderr.decode()  # fmt: skip
    assert books.client.query("SELECT count() FROM verdicts").first_row[0] == 0
    assert b"was complete already" in books.backfill().stderr
    worker = start_worker("first", books.kafka.bootstrap, books.store.url)
    assert books.settled(CASES, worker) == undisturbed(CASES)
    assert worker.stop() == 0


@pytest.mark.kafka
def test_half_of_a_case_live_and_half_by_backfill_ties_out_as_one(
    books: Books, start_worker: Callable[..., WorkerProcess]
) -> None:
    worker = start_worker("first", books.kafka.bootstrap, books.store.url)
    messages = list(trade.messages(CASES, at=LONG_AGO))
    live, history = messages[: len(messages) * 2 // 3], messages[len(messages) // 3 :]
    trade.produce(books.kafka.bootstrap, iter(live[: len(live) // 2]))
    write(books.file, history)
    assert books.backfill().returncode == 0
    trade.produce(books.kafka.bootstrap, iter(live[len(live) // 2 :]))
    assert books.settled(CASES, worker) == undisturbed(CASES)
    proof = tieout("verify", "--bootstrap", books.kafka.bootstrap, "--store", books.store.url, "--wait", "30")
    assert proof.returncode == 0, proof.stdout
    assert worker.stop() == 0


@pytest.mark.kafka
def test_a_load_that_is_killed_goes_on_where_it_was(books: Books, start_worker: Callable[..., WorkerProcess]) -> None:
    messages = list(trade.messages(5_000, at=LONG_AGO))
    write(books.file, messages)
    command = [sys.executable, "-m", "tieout", "backfill", "canonical", str(books.file), "--bootstrap", books.kafka.bootstrap, "--store", books.store.url]  # fmt: skip
    victim = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    wait_for(lambda: books.client.query("SELECT count() FROM backfill_chunks").first_row[0] > 0, "a first chunk")
    victim.kill()
    victim.wait()
    assert books.client.query("SELECT count() FROM facts").first_row[0] < len(messages), "killed too late"
    done = books.backfill()
    assert f"to {len(messages)} events of 5000 cases" in done.stderr.decode(), done.stderr
    distinct = "SELECT count() FROM (SELECT DISTINCT topic, partition, offset FROM facts)"
    assert books.client.query(distinct).first_row[0] == len(messages)
    worker = start_worker("first", books.kafka.bootstrap, books.store.url)
    assert len(books.settled(5_000, worker)) == 5_000
    replayed = tieout("replay", "--store", books.store.url, "--json")
    assert json.loads(replayed.stdout)["identical"] == 5_000, replayed.stdout
    assert worker.stop() == 0


@pytest.mark.kafka
def test_what_is_missing_is_said_before_anything_is_written(books: Books, tmp_path: Path) -> None:
    books.file.write_bytes(b"{}\n")
    assert "unknown source" in refusal(tieout("backfill", "nosuch", books.file))
    assert "no Kafka broker" in refusal(tieout("backfill", "canonical", books.file, "--bootstrap", "127.0.0.1:1"))
    books.client.command("INSERT INTO meta (key, value) VALUES ('partitions', '8')")
    assert "topics have 4 partitions, the store was filled with 8" in refusal(books.backfill())
