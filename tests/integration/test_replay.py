"""A replay against a real embedded store that an in-process worker has filled: same bytes, named differences, what-ifs."""

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from canonical import records
from matching.policy import Policy, load
from sinks.client import Client, Store
from sinks.replays import Received, ReplayStore
from sinks.rows import FactBatch
from streams.replay import MOVING_MS, Basis, Found, from_facts, replay
from streams.replay_report import Report
from streams.stored_progress import parse
from tests.fixtures_store import StoreProcess
from tests.simulation.books_of_truth import START, lived
from tests.simulation.shell import Rig, document, life
from tests.unit.test_cli import refusal, tieout

POLICY = load()
LIVE_TABLES = (
    "facts", "verdicts", "verdict_history", "open_cases", "dead_letters", "positions", "epochs", "meta",
)  # fmt: skip


class RealStore:
    """The rig's store port onto a real one."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __call__(self, method: str, *args: Any) -> Any:
        found = getattr(self._store, method)(*args)
        return list(found) if method == "stubs" else found


class Books:
    """A rig whose verdicts are in a real store, and the replay's view of it."""

    def __init__(self, store: Store, policy: Policy = POLICY) -> None:
        self.rig = Rig()
        self.rig.policy = policy
        self.rig.store = RealStore(store)  # type: ignore[assignment]
        self.store = ReplayStore(store.client, patience_s=5)
        self.worker = self.rig.worker("one")
        self.client: Client = store.client

    def replayed(self, policy: Policy = POLICY, as_of: datetime | None = None, **settle: Any) -> list[Found]:
        is_what_if = as_of is not None or policy.hash != self.rig.policy.hash
        basis = Basis(policy, datetime.now(UTC), as_of, is_what_if)
        return list(replay(self.store, from_facts(self.store, Received()), basis, **settle))

    def alter(self, key: str, **fields: Any) -> None:
        """A verdict of a higher revision that nobody judged."""
        live = self.store.live([key])[key]
        raw = msgspec.json.encode(msgspec.json.decode(live.raw) | fields)
        self.client.command(
            "INSERT INTO verdicts (partition, epoch, seq, judged_at, first_seen, digest, changed, progress, raw, controls)"
            " SELECT partition, epoch, seq + 1000000, judged_at, first_seen, digest, changed, progress,"
            " {raw:String}, controls FROM verdicts FINAL WHERE case_key = {key:String}",
            parameters={"raw": raw.decode(), "key": key},
        )

    def delete_facts(self, key: str, topic: str) -> None:
        self.client.command(
            "ALTER TABLE facts DELETE WHERE case_key = {key:String} AND topic = {topic:String} SETTINGS mutations_sync = 2",
            parameters={"key": key, "topic": topic},
        )

    def delete_facts_at(self, offset: int) -> None:
        self.client.command(f"ALTER TABLE facts DELETE WHERE offset = {offset} SETTINGS mutations_sync = 2")

    def checksums(self) -> dict[str, Any]:
        return {
            table: self.client.query(f"SELECT count(), sum(cityHash64(*)) FROM {table}").first_row
            for table in LIVE_TABLES
        }


def key_of(number: int) -> str:
    return f"invoice:acme-us:billing:{number}"


def states(found: list[Found]) -> dict[str, str]:
    return {item.case: item.state for item in found}


def booked(store: Store, *events: Any, policy: Policy = POLICY) -> Books:
    """Books of these events, read and judged an hour later."""

    async def run() -> Books:
        books = Books(store, policy)
        await books.rig.assign(books.worker)
        books.rig.kafka.send(*events)
        books.rig.clock.advance(hours=1)
        await books.rig.settle(books.worker)
        return books

    return asyncio.run(run())


def test_a_rebuild_of_a_living_company_is_the_same_bytes(store: Store) -> None:
    deliveries, truth = lived(21, 400, 40)

    async def live() -> Books:
        books = Books(store)
        await books.rig.assign(books.worker)
        books.rig.clock.now = START
        for number, delivery in enumerate(deliveries):
            books.rig.clock.now = max(books.rig.clock.now, delivery.deliver_at)
            books.rig.kafka.append(f"raw.{delivery.source}", delivery.key, delivery.body)
            if number % 25 == 0:
                await books.rig.settle(books.worker, rounds=1)
        books.rig.clock.advance(days=3)
        await books.rig.settle(books.worker)
        return books

    found = asyncio.run(live()).replayed()
    assert [item for item in found if item.state != "identical"] == []
    assert len(found) == len(truth.cases) > 350
    assert len({item.judged_at for item in found}) > 50, "they were judged at many times"


# --- What differs is named --------------------------------------------------------------------------------------------


def test_a_verdict_that_was_altered_is_found_and_named(store: Store) -> None:
    books = booked(store, *life(1), *life(2), document("invoice", 3))
    books.alter(key_of(2), exposure_minor=99, outcome="break")
    different = [item for item in books.replayed(settle_s=0) if item.state != "identical"]
    assert [(item.case, item.state) for item in different] == [(key_of(2), "different")]
    assert different[0].why == "stored otherwise than judged: outcome, exposure_minor"


def test_a_fact_that_was_deleted_is_found_and_named(store: Store) -> None:
    books = booked(store, *life(1), *life(2))
    books.delete_facts(key_of(1), "postings")
    found = {item.case: item for item in books.replayed(settle_s=0)}
    assert states(list(found.values())) == {key_of(1): "different", key_of(2): "identical"}
    assert found[key_of(1)].why == "2 of the 4 facts that the live verdict was judged with are there"


def test_a_case_without_facts_and_one_without_a_verdict_are_found(store: Store) -> None:
    books = booked(store, *life(1), *life(2), *life(3))
    for topic in ("invoices", "postings", "payments"):
        books.delete_facts(key_of(1), topic)
    books.client.command(f"ALTER TABLE verdicts DELETE WHERE case_key = '{key_of(2)}' SETTINGS mutations_sync = 2")
    age(books, "facts", "received_at", 120, "1")
    found = {item.case: item for item in books.replayed(settle_s=0) if item.state != "identical"}
    assert found[key_of(1)].why == "0 of the 4 facts that the live verdict was judged with are there"
    assert found[key_of(2)].why == "it has facts and no live verdict"
    assert len(found) == 2


def age(books: Books, table: str, column: str, by_s: int, condition: str) -> None:
    books.client.command(
        f"ALTER TABLE {table} UPDATE {column} = {column} - INTERVAL {by_s} SECOND WHERE {condition} "
        "SETTINGS mutations_sync = 2"
    )


def late_fact(books: Books, number: int) -> None:
    """A fact that no worker has taken in."""
    topic, _, raw = records.record(document("posting", number, document_id="another"))
    books.store.write_facts([FactBatch(topic, 0, [9_000], [raw.replace(b"posting:", b"posting:again:")])])


def test_a_fact_that_has_just_come_is_no_difference_and_one_that_nobody_judged_for_long_is(store: Store) -> None:
    books = booked(store, *life(1), *life(2))
    late_fact(books, 1)
    assert states(books.replayed(settle_s=0)) == {key_of(1): "moving", key_of(2): "identical"}
    assert MOVING_MS < 120_000
    age(books, "facts", "received_at", 300, "offset <> 9000")
    age(books, "facts", "received_at", 120, "offset = 9000")
    age(books, "verdicts", "visible_at", 250, "1")
    late = next(item for item in books.replayed(settle_s=0) if item.case == key_of(1))
    assert late.state == "different"
    assert "that the live verdict has not seen" in late.why


def test_a_case_that_moves_is_judged_again_at_the_end(store: Store) -> None:
    books = booked(store, *life(1), *life(2))
    late_fact(books, 1)

    def judged_meanwhile(_cases: int) -> None:
        books.delete_facts_at(9_000)

    assert states(books.replayed(on_cases=judged_meanwhile)) == {key_of(1): "identical", key_of(2): "identical"}


def test_more_moving_cases_than_are_kept_are_told_without_a_second_look(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    books = booked(store, *life(1), *life(2))
    late_fact(books, 1)
    late_fact(books, 2)
    monkeypatch.setattr("streams.replay.RECHECKED_CASES", 1)

    def judged_meanwhile(_cases: int) -> None:
        books.delete_facts_at(9_000)

    assert Counter(states(books.replayed(on_cases=judged_meanwhile)).values()) == {"identical": 1, "moving": 1}


def test_history_that_was_forgotten_is_the_same_bytes_and_never_a_break(store: Store) -> None:
    """Retention dropped facts, then the owner judged the case again without them (rule E14)."""
    books = booked(store, *life(1))
    books.delete_facts(key_of(1), "payments")

    async def judged_again() -> None:
        heir = books.rig.worker("heir")
        await books.rig.assign(heir)
        books.rig.kafka.send(document("invoice", 1))
        await books.rig.settle(heir)

    asyncio.run(judged_again())
    (found,) = books.replayed(settle_s=0)
    assert found.state == "identical"
    assert b"history_incomplete" in found.controls
    later = books.replayed(as_of=books.rig.clock.now + timedelta(days=400))
    assert [(item.state, item.changes.opened) for item in later] == [("identical", ())]


def test_verdicts_of_another_policy_are_told_apart(store: Store) -> None:
    books = booked(store, *life(1), *life(2))
    books.alter(key_of(2), policy="0123456789abcdef")
    found = {item.case: item for item in books.replayed()}
    assert (found[key_of(2)].state, found[key_of(2)].why) == ("other_policy", "0123456789abcdef")
    assert found[key_of(1)].state == "identical"


# --- What if ----------------------------------------------------------------------------------------------------------

TOLERANT = load("[tolerance]\namount_minor = 5\n")


def posted(number: int, off_by_minor: int) -> list[Any]:
    lines = [
        {"role": "receivable", "amount_minor": 12000 + off_by_minor, "base_minor": 12000 + off_by_minor},
        {"role": "revenue", "amount_minor": -12000 - off_by_minor, "base_minor": -12000 - off_by_minor},
    ]
    return [event for event in life(number) if event.type != "posting.recorded"] + [
        document("posting", number, lines=lines)
    ]


def test_a_stricter_policy_opens_exactly_the_breaks_that_it_should(store: Store) -> None:
    off = {1: 0, 2: 3, 3: 5, 4: 40, 5: -4}
    books = booked(store, *(event for number, by in off.items() for event in posted(number, by)), policy=TOLERANT)
    assert {item.case for item in books.replayed(TOLERANT) if item.state != "identical"} == set()
    report = Report(Basis(POLICY, datetime.now(UTC), None, is_what_if=True))
    opened = {}
    for item in books.replayed(POLICY):
        report.add(item)
        opened[item.case] = item.changes.opened
    expected = {key_of(number): () for number in off} | {key_of(number): ("amount",) for number in (2, 3, 5)}
    assert opened == expected
    shown = report.as_dict()
    assert shown["breaks"] == {"opened": {"amount": 3}, "closed": {}, "changed": {}}
    assert (shown["identical"], shown["different"]) == (2, 3)
    (entity,) = shown["entities"]
    assert (entity["exposure_before_minor"], entity["exposure_after_minor"]) == (40, 52)


def test_as_of_a_later_time_what_is_late_has_become_a_break(store: Store) -> None:
    books = booked(store, *life(1), document("invoice", 2))
    changed = {item.case: item.changes for item in books.replayed(as_of=books.rig.clock.now + timedelta(days=3))}
    assert changed[key_of(1)].opened == ()
    assert "missing_posting" in (*changed[key_of(2)].opened, *changed[key_of(2)].changed)


# --- On the command line, and beside the live tables -------------------------------------------------------------------


@pytest.fixture
def own_store(store_process: StoreProcess) -> Store:
    """In the database that commands use."""
    return Store(store_process.client(), patience_s=5)


def replayed(own: StoreProcess, *options: str | Path) -> Any:
    return tieout("replay", "--store", own.url, *options)


def test_a_run_is_kept_beside_the_live_tables_which_stay_as_they_were(
    own_store: Store, store_process: StoreProcess, tmp_path: Path
) -> None:
    books = booked(own_store, *life(1), *life(2), document("invoice", 3))
    books.alter(key_of(2), exposure_minor=99)
    before = books.checksums()
    done = replayed(store_process, "--into", "june", "-o", tmp_path / "differences.jsonl", "--json")
    assert done.returncode == 1, done.stderr
    assert books.checksums() == before
    told = json.loads(done.stdout)
    assert (told["mode"], told["cases"], told["identical"], told["different"]) == ("rebuild", 3, 2, 1)
    (line,) = (tmp_path / "differences.jsonl").read_text().splitlines()
    assert json.loads(line)["case"] == key_of(2)
    shadow = books.client.query("SELECT case_key, state, outcome FROM shadow_verdicts FINAL ORDER BY 1").result_rows
    assert shadow == [(key_of(1), "identical", "ok"), (key_of(2), "different", "ok"), (key_of(3), "identical", "break")]
    run = "SELECT state, origin, cases, identical, different, moving FROM replays FINAL"
    assert books.client.query(run).result_rows == [("done", "facts", 3, 2, 1, 0)]
    assert "run june exists" in refusal(replayed(store_process, "--into", "june"))
    assert replayed(store_process, "--drop", "june").returncode == 0
    assert books.client.query("SELECT count() FROM shadow_verdicts").first_row[0] == 0
    assert "no run june" in refusal(replayed(store_process, "--drop", "june"))
    assert books.checksums() == before


def test_exit_codes_and_what_is_said(own_store: Store, store_process: StoreProcess, tmp_path: Path) -> None:
    books = booked(own_store, *life(1), *posted(2, 3), policy=TOLERANT)
    (tmp_path / "tolerant.toml").write_text("[tolerance]\namount_minor = 5\n")
    (tmp_path / "strict.toml").write_text("")
    assert "give theirs with --policy" in refusal(replayed(store_process))
    same = replayed(store_process, "--policy", tmp_path / "tolerant.toml")
    assert (same.returncode, same.stdout) == (0, b"")
    assert b"rebuilt 2 cases: 2 identical, 0 different, 0 moving" in same.stderr
    what_if = replayed(store_process, "--policy", tmp_path / "strict.toml")
    assert what_if.returncode == 0
    assert f"{key_of(2)}: live ok, rebuilt break amount" in what_if.stdout.decode()
    assert "acme-us: exposure 0.00 USD before, 0.03 USD after (1 opened)" in what_if.stdout.decode()
    one = replayed(store_process, "--policy", tmp_path / "tolerant.toml", "--case", key_of(1), "--json")
    assert json.loads(one.stdout)["cases"] == 1
    assert "there is no case" in refusal(replayed(store_process, "--policy", tmp_path / "strict.toml", "--case", "invoice:a:b:c"))  # fmt: skip
    assert "offsets are of the log" in refusal(replayed(store_process, "--policy", tmp_path / "tolerant.toml", "--from", "3"))  # fmt: skip
    assert "neither a time" in refusal(replayed(store_process, "--from", "yesterday"))
    assert "a run's name" in refusal(replayed(store_process, "--policy", tmp_path / "tolerant.toml", "--into", "a b"))
    assert books.client.query("SELECT count() FROM replays").first_row[0] == 0


def test_a_stored_verdict_is_explained_under_its_own_policy_alone(
    own_store: Store, store_process: StoreProcess, tmp_path: Path
) -> None:
    text = "[hops.invoice_to_posting]\nmissing_after_s = 3_600\n[tolerance]\namount_minor = 1\n"
    books = booked(own_store, document("invoice", 1), *posted(2, 1), policy=load(text))
    (tmp_path / "own.toml").write_text(text)
    done = tieout("policy", "explain", key_of(1), "--store", store_process.url, "--policy", tmp_path / "own.toml")
    assert done.returncode == 0, done.stderr
    live = json.loads(books.store.live([key_of(1)])[key_of(1)].raw)
    assert f"{key_of(1)} is {live['outcome']}, by policy {live['policy']}".encode() in done.stdout
    assert b"missing: [hops.invoice_to_posting] missing_after_s = 3600 (line 2)" in done.stdout
    assert "judged under policy" in refusal(tieout("policy", "explain", key_of(1), "--store", store_process.url))
    assert "no verdict of case invoice:x:y:z" in refusal(
        tieout("policy", "explain", "invoice:x:y:z", "--store", store_process.url)
    )
    passed = tieout("policy", "tolerated", "--store", store_process.url, "--policy", tmp_path / "own.toml", "--json")
    assert [line["let_pass_minor"] for line in json.loads(passed.stdout)] == [1], passed.stderr


def test_only_cases_touched_in_a_time_are_rebuilt(store: Store) -> None:
    books = booked(store, *life(1))
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    for received, expected in ((Received(since=tomorrow), []), (Received(until=tomorrow), [key_of(1)])):
        pages = from_facts(books.store, received)
        found = list(replay(books.store, pages, Basis(POLICY, datetime.now(UTC))))
        assert [item.case for item in found] == expected


def test_pages_hold_every_case_once_in_order_whatever_their_size(store: Store) -> None:
    books = booked(store, *(event for number in range(10, 30) for event in life(number)))
    for topic in ("invoices", "postings", "payments"):
        books.delete_facts(key_of(17), topic)
    for size in (1, 3, 20, 100):
        pages = list(books.store.pages(Received(), size))
        assert [key for page in pages for key in page] == [key_of(number) for number in range(10, 30)]
        assert max(map(len, pages)) <= size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"state":"caught_up"}', {}),
        ('{"state":"catching_up"}', {}),
        ("{}", {}),
        ('{"erp":"2026-03-02T09:00:00Z"}', {"erp": datetime(2026, 3, 2, 9, tzinfo=UTC)}),
    ],
)
def test_progress_is_read_back_as_both_versions_wrote_it(text: str, expected: dict[str, datetime]) -> None:
    assert dict(parse(text).complete_to) == expected


@pytest.mark.parametrize("text", ["", "[]", "null", '{"erp":7}', '{"erp":"soon"}'])
def test_progress_that_nobody_wrote_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="."):
        parse(text)
