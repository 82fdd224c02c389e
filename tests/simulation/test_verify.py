"""Completeness is proven or not, and what is missing is named: the worker's real logic on a log in memory, the real store.

Each test lets a worker do its work, takes something away or alters it, and asks what the proof says.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from canonical import records
from canonical.events import Event
from matching.policy import load
from sinks.client import Store
from sinks.evidence import Evidence
from sinks.rows import FactBatch, GapRow
from streams.intake import HEARTBEAT
from streams.log import Bounds, CannotRead
from streams.ports import Record
from streams.proof import Problem, Proof, as_json, lines
from streams.verify import Asked, verify
from streams.worker import Worker
from tests.simulation.shell import START, Kafka, Rig, document, life

RUBBISH = (b"", b"hello", b"[1,2]", b'{"id":"\xff"}', b"\x00\x00", b'{"type":"invoice.exploded"}')


class MemoryLog:
    """The rig's topics as an auditor reads them; `at_once` records a chunk. Places in `aborted` are never given."""

    def __init__(self, kafka: Kafka, at_once: int = 7) -> None:
        self.kafka = kafka
        self.at_once = at_once
        self.aborted: set[tuple[str, int, int]] = set()
        self.moments: dict[datetime, dict[tuple[str, int], int]] = {}

    def topics(self) -> Mapping[str, int]:
        return self.kafka.partitions

    def knows_times(self) -> bool:
        return bool(self.moments)

    def topic_ids(self, topics: Iterable[str]) -> Mapping[str, str]:
        return {topic: f"id-{topic}-{self.kafka.births[topic]}" for topic in topics}

    def bounds(self, places: Iterable[tuple[str, int]]) -> Mapping[tuple[str, int], Bounds]:
        return {tp: Bounds(self.kafka.begins.get(tp, 0), len(self.kafka.logs[tp])) for tp in places}

    def offsets_at(self, places: Iterable[tuple[str, int]], moment: datetime) -> Mapping[tuple[str, int], int | None]:
        return {tp: self.moments[moment].get(tp) for tp in places}

    def records(self, place: tuple[str, int], begin: int, end: int) -> Iterator[list[Record]]:
        assert begin >= self.kafka.begins.get(place, 0), "asked for what the log has dropped"
        found = [item for item in self.kafka.logs[place][begin:end] if (*place, item.offset) not in self.aborted]
        for start in range(0, len(found), self.at_once):
            yield found[start : start + self.at_once]


class Books:
    """A rig over the real store, and its proof."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.rig = Rig(partitions=2)
        self.rig.store = self._call  # type: ignore[assignment]
        self.kafka = self.rig.kafka
        self.log = MemoryLog(self.kafka)

    async def _call(self, method: str, *args: Any) -> Any:
        return getattr(self.store, method)(*args)

    def send(self, *events: Event) -> None:
        self.kafka.send(*events)

    def send_raw(self, body: bytes, headers: Any = ()) -> None:
        self.kafka.append("raw.canonical", b"any", body, headers=headers)

    def work(self, name: str = "a") -> None:
        """A worker starts, reads all there is and stops."""

        async def life_of_a_worker() -> None:
            worker: Worker = self.rig.worker(name)
            await self.rig.assign(worker)
            await self.rig.settle(worker)

        asyncio.run(life_of_a_worker())

    def alter(self, statement: str) -> None:
        self.store.client.command(statement, settings={"mutations_sync": 2, "lightweight_deletes_sync": 2})

    def proof(self, asked: Asked | None = None) -> Proof:
        return verify(self.log, Evidence(self.store.client), ["canonical"], asked or Asked())

    def place_of(self, event: Event) -> tuple[str, int, int]:
        topic, _, value = records.record(event)
        return next(
            (*tp, item.offset)
            for tp, log in self.kafka.logs.items()
            for item in log
            if tp[0] == topic and item.value == value
        )


@pytest.fixture
def books(store: Store) -> Books:
    return Books(store)


def found(proof: Proof) -> list[tuple[str, Any, Any, Any]]:
    return [(item.kind, item.topic, item.partition, item.offset) for item in proof.problems]


def only(proof: Proof) -> Problem:
    assert len(proof.problems) == 1, "\n".join(lines(proof))
    assert not proof.is_complete
    return proof.problems[0]


def complete(proof: Proof) -> Proof:
    assert proof.is_complete, "\n".join(lines(proof))
    assert all(part.counts.residual == 0 for part in proof.partitions)
    assert list(lines(proof))[-1].startswith("COMPLETE")
    assert as_json(proof)["complete"] is True
    return proof


# What is whole


def test_what_was_read_is_proven_with_its_rubbish_duplicates_and_heartbeats(books: Books) -> None:
    for number in range(10):
        books.send(*life(number))
    books.send(life(3)[0], life(3)[0])
    for event in life(20):
        books.send_raw(records.encode(event))
    books.send_raw(records.encode(life(20)[0]))
    for body in RUBBISH:
        books.send_raw(body)
        books.kafka.append("invoices", b"any", body)
    books.send_raw(b"\x00", headers=[(HEARTBEAT, b"")])
    books.send(touched(4))
    books.send_raw(records.encode(touched(5)))
    books.work()
    topics = complete(books.proof()).topics()
    invoices, raw, controls = topics["invoices"], topics["raw.canonical"], topics["controls"]
    assert (invoices.records, invoices.facts, invoices.duplicates) == (10 + 2 + 2 + 6, 14, 3)
    assert invoices.dead_letters == len(RUBBISH)
    assert (raw.records, raw.facts, raw.dead_letters, raw.ignored) == (
        5 + 6 + 2,
        5,
        6 + 1,
        1,
    )  # tieout alone says touched
    assert (controls.records, controls.ignored) == (1, 1)


def test_nothing_at_all_is_complete(books: Books) -> None:
    books.work()
    complete(books.proof())


def test_flush_that_was_written_twice_is_no_duplicate(books: Books) -> None:
    books.send(*life(1))
    books.work()
    topic, partition, offset = books.place_of(life(1)[0])
    books.store.write_facts([FactBatch(topic, partition, [offset], [records.encode(life(1)[0])])])
    assert complete(books.proof()).topics()["invoices"].duplicates == 0


def test_two_contents_of_one_fact_are_two_facts_and_both_are_asked_for(books: Books) -> None:
    first, second = document("invoice", 1), document("invoice", 1, total_minor=13000)
    books.send_raw(records.encode(first))
    books.send_raw(records.encode(second))
    books.work()
    complete(books.proof())
    books.kafka.logs["invoices", books.place_of(second)[1]].clear()  # only the raw record still says so
    books.alter("DELETE FROM facts WHERE raw LIKE '%13000%'")
    kinds = {item.kind: item for item in books.proof().problems}
    assert kinds["altered"].topic == "raw.canonical"
    assert "says something else" in kinds["altered"].what


def test_retried_record_whose_trace_differs_is_the_same_fact(books: Books) -> None:
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    books.send_raw(records.encode(document("invoice", 1)))
    books.work()
    (record,) = (item for tp, log in books.kafka.logs.items() for item in log if tp[0] == "raw.canonical")
    record.headers.append(("traceparent", trace.encode()))
    complete(books.proof())


# What is missing, by name


def test_missing_fact_is_named_with_its_offset(books: Books) -> None:
    for number in range(5):
        books.send(*life(number))
    books.work()
    lost = life(3)[1]
    books.alter(f"DELETE FROM facts WHERE fact_id = '{lost.id}'")
    proof = books.proof()
    assert ("missing", *books.place_of(lost)) in found(proof)
    assert lost.id in next(item for item in proof.problems if item.kind == "missing").what
    history = next(item for item in proof.problems if item.kind == "history_incomplete")
    assert history.case_key == lost.correlationid
    assert "counted 4 facts, the store holds 3" in history.what
    assert len(proof.problems) == 2
    assert proof.topics()["postings"].missing == 1


def test_event_of_a_raw_record_that_never_became_a_fact_is_named(books: Books) -> None:
    books.send_raw(records.encode(life(1)[0]))
    books.work()
    books.alter("DELETE FROM facts WHERE 1")
    books.alter("DELETE FROM verdicts WHERE 1")
    for log in [log for tp, log in books.kafka.logs.items() if tp[0] == "invoices"]:
        log.clear()
    problem = only(books.proof())
    assert (problem.kind, problem.topic, problem.offset) == ("missing", "raw.canonical", 0)
    assert (problem.case_key, life(1)[0].id in problem.what) == (life(1)[0].correlationid, True)


@pytest.mark.parametrize("topic", ["raw.canonical", "invoices"])
def test_deleted_dead_letter_is_named_with_its_offset(books: Books, topic: str) -> None:
    books.send(*life(1))
    for body in (*RUBBISH, b"this one"):
        books.kafka.append(topic, b"any", body)
    books.work()
    complete(books.proof())
    books.alter(f"DELETE FROM dead_letters WHERE topic = '{topic}' AND original = 'this one'")
    place = next(
        (*tp, item.offset) for tp, log in books.kafka.logs.items() for item in log if item.value == b"this one"
    )
    problem = only(books.proof())
    assert (problem.kind, problem.topic, problem.partition, problem.offset) == ("missing", *place)


def test_dead_letter_with_other_bytes_is_named(books: Books) -> None:
    books.send_raw(b"rubbish")
    books.work()
    before = books.store.client.query("SELECT * FROM dead_letters")
    row = dict(zip(before.column_names, before.first_row, strict=True)) | {"original": "rubbisH"}
    books.alter("DELETE FROM dead_letters WHERE 1")
    books.store.client.insert("dead_letters", [list(row.values())], column_names=list(row))
    problem = only(books.proof())
    assert (problem.kind, problem.topic, problem.offset) == ("altered", "raw.canonical", 0)


def test_altered_bytes_of_a_fact_are_named_with_its_offset(books: Books) -> None:
    for number in range(5):
        books.send(*life(number))
    books.work()
    paid = life(2)[2]
    topic, partition, offset = books.place_of(paid)
    books.alter(f"DELETE FROM facts WHERE fact_id = '{paid.id}'")
    altered = records.encode(paid).replace(b"12000", b"12001")
    books.store.write_facts([FactBatch(topic, partition, [offset], [altered])])
    proof = books.proof()
    assert found(proof) == [("altered", topic, partition, offset)]
    assert proof.topics()["payments"].missing == 1


def test_unread_tail_is_not_proven_and_says_from_where(books: Books) -> None:
    books.send(*life(1))
    books.work()
    books.send(*life(1)[:1], *life(2)[:1], document("invoice", 3))
    proof = books.proof()
    assert {item.kind for item in proof.problems} == {"unread"}
    assert proof.topics()["invoices"].unread == 3
    assert not proof.is_complete
    books.work("b")
    complete(books.proof())


def test_fact_of_a_record_beyond_the_position_is_not_counted_on(books: Books) -> None:
    books.send(*life(1))
    books.work()
    late = document("invoice", 1, total_minor=13000)
    books.send(late)
    topic, partition, offset = books.place_of(late)
    books.store.write_facts([FactBatch(topic, partition, [offset], [records.encode(late)])])
    problem = only(books.proof())
    assert (problem.kind, problem.topic, problem.partition, problem.offset) == ("unread", topic, partition, offset)


def test_raw_record_whose_events_lie_unread_further_on_is_unread_too(books: Books) -> None:
    books.work()
    books.send_raw(records.encode(life(1)[0]))

    async def intake_only() -> None:
        worker = books.rig.worker("b")
        await books.rig.assign(worker)
        await books.rig.read(worker)
        await worker.flush()  # publishes the event, which nobody has read yet

    asyncio.run(intake_only())
    proof = books.proof()
    assert {(item.kind, item.topic) for item in proof.problems} == {("unread", "raw.canonical"), ("unread", "invoices")}
    books.work("c")
    complete(books.proof())


def test_waiting_for_a_worker_ends_when_it_has_read_the_snapshot(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    books.send(*life(1))
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        books.work()

    monkeypatch.setattr("streams.verify.time.sleep", nap)
    complete(books.proof(Asked(wait_s=30)))
    assert len(naps) == 1


def test_waiting_in_vain_ends_with_what_is_unread(books: Books) -> None:
    books.work()
    books.send(*life(1))
    proof = books.proof(Asked(wait_s=0.3))
    assert {item.kind for item in proof.problems} == {"unread"}


# What the log no longer holds


def drop(books: Books, place: tuple[str, int], begin: int) -> None:
    books.kafka.begins[place] = begin


def one_partition(books: Books, numbers: Iterable[int]) -> tuple[str, int]:
    """Invoices of these cases; the place of the fuller partition."""
    books.send(*(document("invoice", number) for number in numbers))
    return max((tp for tp in books.kafka.logs if tp[0] == "invoices"), key=lambda tp: len(books.kafka.logs[tp]))


def test_records_dropped_after_they_were_read_are_proven_by_the_run(books: Books) -> None:
    place = one_partition(books, range(10))
    books.work()
    drop(books, place, 3)
    complete(books.proof())


def test_gap_is_named_with_its_offsets(books: Books) -> None:
    place = one_partition(books, range(10))
    books.work()
    read = len(books.kafka.logs[place])
    one_partition(books, range(10, 40))
    drop(books, place, read + 4)
    books.work("b")
    problem = only(books.proof())
    assert (problem.kind, problem.topic, problem.partition, problem.offset) == ("gap", *place, read)
    assert f"offsets {read} to {read + 3}" in problem.what


def test_gap_of_a_topic_that_is_no_more_is_no_gap_of_the_new_one(books: Books) -> None:
    books.send(*life(1))
    books.work()
    books.store.write_gaps([GapRow("invoices", "id-of-another", 0, 5, 9, "w", START)])
    complete(books.proof())


def test_what_was_dropped_before_the_run_began_is_not_proven(books: Books) -> None:
    place = one_partition(books, range(10))
    drop(books, place, 2)
    books.work()
    problem = only(books.proof())
    assert (problem.kind, problem.topic, problem.partition, problem.offset) == ("below_start", *place, 0)
    assert "offsets 0 to 1" in problem.what


def test_dropped_and_never_read_is_not_proven_while_no_worker_has_noticed(books: Books) -> None:
    place = one_partition(books, range(10))
    books.work()
    read = len(books.kafka.logs[place])
    one_partition(books, range(10, 40))
    drop(books, place, read + 4)
    kinds = {(item.kind, item.topic, item.partition, item.offset) for item in books.proof().problems}
    assert ("below_start", *place, read) in kinds
    assert ("unread", *place, read + 4) in kinds


def test_position_of_a_topic_made_anew_proves_nothing(books: Books) -> None:
    books.send(*life(1))
    books.work()
    books.kafka.recreate("invoices")
    books.send(document("invoice", 7))
    kinds = {(item.kind, item.topic) for item in books.proof().problems}
    assert kinds == {("recreated", "invoices"), ("unread", "invoices")}
    books.work("b")
    complete(books.proof())


def test_records_of_an_aborted_transaction_are_not_asked_for(books: Books) -> None:
    books.send(*life(1))
    books.work()
    place = books.place_of(life(1)[3])
    books.log.aborted.add(place)
    books.alter(f"DELETE FROM facts WHERE topic = '{place[0]}' AND offset = {place[2]} AND partition = {place[1]}")
    assert {item.kind for item in books.proof().problems} == {"history_incomplete"}


def test_fact_that_no_record_of_the_log_is_gets_a_note(books: Books) -> None:
    books.send(*life(1))
    books.work()
    books.log.aborted.add(books.place_of(life(1)[3]))
    assert any("1 facts that no record of the log is" in note for note in complete(books.proof()).notes)


# Verdicts


def test_stale_verdict_is_named_with_its_case(books: Books) -> None:
    books.send(*life(1), *life(2))
    books.work()
    rows = books.store.client.query("SELECT * FROM positions FINAL").result_rows
    assert rows
    books.alter("ALTER TABLE verdicts UPDATE facts = 3 WHERE case_key LIKE '%:2'")
    problem = only(books.proof())
    assert (problem.kind, problem.case_key) == ("stale_verdict", life(2)[0].correlationid)
    assert "counts 3 facts of 4" in problem.what


def test_case_without_a_verdict_is_named(books: Books) -> None:
    books.send(*life(1), *life(2))
    books.work()
    books.alter("DELETE FROM verdicts WHERE case_key LIKE '%:2'")
    problem = only(books.proof())
    assert (problem.kind, problem.case_key) == ("no_verdict", life(2)[0].correlationid)


def test_verdict_whose_facts_are_all_gone_is_incomplete_history(books: Books) -> None:
    books.send(*life(1))
    books.work()
    books.alter("DELETE FROM facts WHERE 1")
    drop_all(books)
    problem = only(books.proof())
    assert (problem.kind, problem.case_key) == ("history_incomplete", life(1)[0].correlationid)


def drop_all(books: Books) -> None:
    for tp, log in books.kafka.logs.items():
        drop(books, tp, len(log))


def test_case_over_its_limit_is_no_alarm(books: Books) -> None:
    books.rig.policy = load("[limits]\nfacts_per_case = 3\n")
    books.send(*life(1), *life(2)[:3])
    books.work()
    complete(books.proof())
    books.alter("DELETE FROM facts WHERE case_key LIKE '%:1'")
    drop_all(books)
    assert only(books.proof()).kind == "history_incomplete"


def test_running_worker_between_its_facts_and_its_verdicts_is_no_alarm(books: Books) -> None:
    books.send(*life(1)[:3])
    books.work()
    books.send(life(1)[3])
    topic, partition, offset = books.place_of(life(1)[3])
    books.store.write_facts([FactBatch(topic, partition, [offset], [records.encode(life(1)[3])])])
    assert {item.kind for item in books.proof().problems} == {"unread"}


# What sources say of themselves


def total(count: int, total_minor: int | None, **data: Any) -> Event:
    return control(
        "source.total_reported", "billing:2026-03:invoices",
        {
            "document_id": "2026-03", "system": "billing", "type": "invoice.issued", "count": count, "currency": "USD",
            "period": {"start": "2026-03-01", "end": "2026-03-31"}, "total_minor": total_minor, **data,
        },
    )  # fmt: skip


def touched(number: int) -> Event:
    return control(
        "case.touched", f"touched:{number}", {"document_id": str(number)}, f"invoice:acme-us:billing:{number}"
    )


def control(kind: str, ident: str, data: dict[str, Any], case: str = "index:acme-us:billing:totals") -> Event:
    return records.make(
        kind, id=ident, source="billing/acme", subject=ident, time=START, correlationid=case,
        data={"entity": "acme-us"} | data,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (total(3, 36000), ""),
        (total(3, 36000, system="billing/acme"), ""),
        (total(3, None), ""),
        (total(0, 0, period={"start": "2026-02-01", "end": "2026-02-28"}), ""),
        (total(0, 0, currency="EUR"), ""),
        (total(0, 0, entity="other"), ""),
        (total(3, 36000, period={"start": "2026-03-02", "end": "2026-03-02"}), ""),
        (total(4, 36000), "says 4 invoice.issued of 36000 USD for acme-us, 2026-03-01 to 2026-03-31; the store has 3 of 36000"),
        (total(3, 36001), "of 36001 USD for acme-us, 2026-03-01 to 2026-03-31; the store has 3 of 36000 USD"),
        (total(1, 12000, system="erp"), "erp says 1 invoice.issued"),
        (total(3, 36000, type="invoice.isued"), "the store has 0"),
    ],
)  # fmt: skip
def test_sources_own_total_is_compared_with_its_facts(books: Books, said: Event, why: str) -> None:
    for number in (1, 2, 3):
        books.send(document("invoice", number))
    books.send(document("invoice", 3), document("posting", 3), said)
    books.work()
    proof = books.proof()
    assert proof.totals == 1
    if not why:
        complete(proof)
        return
    problem = only(proof)
    assert (problem.kind, problem.topic, problem.partition, problem.offset) == ("total_differs", *books.place_of(said))
    assert why in problem.what


def test_accounting_date_decides_the_period_and_the_higher_version_the_amount(books: Books) -> None:
    books.send(document("invoice", 1, accounting_date="2026-02-28"))
    books.send(document("invoice", 2, version=1), document("invoice", 2, version=2, total_minor=15000))
    books.send(total(1, 15000))
    books.work()
    complete(books.proof())


def test_later_report_of_the_same_total_replaces_the_earlier(books: Books) -> None:
    books.send(document("invoice", 1))
    books.send(total(9, 9, version=1), total(1, 12000, version=2))
    books.work()
    assert complete(books.proof()).totals == 1


# A part of the log


def test_window_of_append_times_asks_for_nothing_outside(books: Books) -> None:
    books.send(*life(1))
    before = {(topic, n): len(books.kafka.logs[topic, n]) for topic in books.kafka.partitions for n in (0, 1)}
    books.send(*life(2))
    books.work()
    books.alter(f"DELETE FROM facts WHERE fact_id = '{life(1)[0].id}'")
    morning, evening = START, START + timedelta(hours=12)
    books.log.moments = {morning: before, evening: {}}
    proof = complete(books.proof(Asked(begin=morning, end=evening)))
    assert sum(counts.records for counts in proof.topics().values()) == 4
    books.log.moments = {morning: dict.fromkeys(before, 0), evening: before}
    assert "missing" in {item.kind for item in books.proof(Asked(begin=morning, end=evening)).problems}


def test_window_on_a_broker_without_times_cannot_be_proven(books: Books) -> None:
    with pytest.raises(CannotRead, match="--from"):
        books.proof(Asked(begin=datetime(2026, 1, 1, tzinfo=UTC)))


def test_missing_topic_cannot_be_proven(books: Books) -> None:
    del books.kafka.partitions["postings"]
    with pytest.raises(CannotRead, match="no topic postings"):
        books.proof()


def test_raw_topic_that_nobody_reads_is_told(books: Books) -> None:
    books.work()
    books.kafka.partitions["raw.sap"] = 1
    assert any(note.startswith("raw.sap is read by nobody") for note in complete(books.proof()).notes)


def test_many_problems_are_counted_all_and_shown_in_part(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.proof.SHOWN_PROBLEMS", 3)
    monkeypatch.setattr("streams.proof.KEPT_PROBLEMS", 5)
    for number in range(10):
        books.send(document("invoice", number))
    books.work()
    books.alter("DELETE FROM facts WHERE 1")
    books.alter("DELETE FROM verdicts WHERE 1")
    proof = books.proof()
    assert (proof.problem_counts["missing"], len(proof.problems)) == (10, 5)
    shown = list(lines(proof))
    assert sum(line.startswith("missing") for line in shown) == 3
    assert "... and 7 more (10 missing)" in shown
