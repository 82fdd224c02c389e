"""The rules of the design that the shell keeps (E1-E4, E9, E10, E12, E13), each provoked where it would break."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from canonical import records
from canonical.events import Event
from matching.judge import Progress, judge
from matching.policy import load
from matching.verdict import encode, parts, whole
from streams.join import restore
from streams.memory import Partition
from streams.partitioner import partition_of
from streams.ports import Contact, InvariantBroken
from streams.topics import JOINED
from streams.transport import Batch, SamePartitions
from streams.worker import LATE_LOOK_S, LATE_WRITES_S, Worker
from tests.simulation import virtual_time
from tests.simulation.shell import START, ClickHouse, Killed, Rig, changed, document, life

KEY = "invoice:acme-us:billing:1"


def scenario(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    @wraps(test)
    def run() -> None:
        asyncio.run(test())  # type: ignore[arg-type]

    return run


def killed_at(moment: str) -> Callable[[str], None]:
    def kill(method: str) -> None:
        if method == moment:
            raise Killed(method)

    return kill


async def start(rig: Rig, name: str = "a") -> Worker:
    worker = rig.worker(name)
    await rig.assign(worker)
    return worker


def outcome(rig: Rig, key: str = KEY) -> str:
    return str(rig.store.verdicts()[key]["outcome"])


@scenario
async def test_whole_life_of_an_invoice_ties_out() -> None:
    rig = Rig()
    worker = await start(rig)
    rig.kafka.send(*life(1))
    await rig.settle(worker)
    assert outcome(rig) == "ok"
    assert rig.store.verdicts()[KEY]["facts"] == 4


@scenario
async def test_raw_record_of_the_canonical_source_reaches_its_verdict() -> None:
    rig = Rig()
    worker = await start(rig)
    for event in life(1):
        rig.kafka.append("raw.canonical", b"any", records.encode(event))
    await rig.settle(worker)
    assert outcome(rig) == "ok"


# E1: every record read since the last commit makes its case dirty


@pytest.mark.parametrize("step", ["write_facts", "write_verdicts", "write_positions", "holders"])
def test_crash_anywhere_in_a_flush_heals_itself(step: str) -> None:
    async def story() -> None:
        for where in ("before", "after"):
            rig = Rig()
            worker = await start(rig)
            rig.kafka.send(*life(1))
            await rig.read(worker)
            setattr(rig.store, where, killed_at(step))
            with pytest.raises(Killed):
                await worker.flush()
            setattr(rig.store, where, lambda method: None)
            assert not any(rig.kafka.offsets.values()), "committed before it was durable"
            again = await start(rig, "b")
            await rig.settle(again)
            assert outcome(rig) == "ok"

    asyncio.run(story())


@scenario
async def test_duplicate_record_rewrites_its_verdict() -> None:
    rig = Rig()
    worker = await start(rig)
    rig.kafka.send(*life(1))
    await rig.settle(worker)
    rows = len(rig.store.rows)
    rig.kafka.send(life(1)[0])
    await rig.settle(worker)
    assert len(rig.store.rows) == rows + 1
    assert not rig.store.rows[-1].changed
    assert rig.store.verdicts()[KEY]["facts"] == 4


# E2: order of verdict rows is (epoch, seq), and a flush whose epoch has changed never commits


@scenario
async def test_worker_that_was_paused_and_wakes_does_no_harm() -> None:
    rig = Rig()
    zombie = await start(rig, "zombie")
    rig.kafka.send(document("invoice", 1))
    await rig.read(zombie)
    paused, wake = asyncio.Event(), asyncio.Event()

    async def pause() -> None:
        paused.set()
        await wake.wait()

    rig.store.before = lambda method: pause() if method == "write_verdicts" else None
    flushing = asyncio.ensure_future(zombie.flush())
    await paused.wait()
    rig.store.before = lambda method: None
    heir = rig.worker("heir")
    rig.kafka.generation += 1
    await heir.assigned(
        {(topic, n) for topic, count in rig.kafka.partitions.items() for n in range(count)}, rig.kafka.generation
    )
    rig.kafka.send(*life(1)[1:])
    await rig.settle(heir)
    committed = dict(rig.kafka.group_offsets)
    wake.set()
    assert await flushing is False
    assert rig.kafka.group_offsets == committed
    assert outcome(rig) == "ok", "an older epoch's row won"


@scenario
async def test_flush_of_a_lost_epoch_is_not_committed_even_in_its_generation() -> None:
    rig = Rig()
    worker = await start(rig)
    rig.kafka.send(document("invoice", 1))
    await rig.read(worker)
    rig.store.claim(0, "somebody")
    rig.store.claim(1, "somebody")
    before = dict(rig.kafka.group_offsets)
    assert await worker.flush() is False
    assert rig.kafka.group_offsets == before
    assert worker.generation is None


@scenario
async def test_claim_in_a_generation_that_is_over_owns_nothing() -> None:
    rig = Rig()
    worker = rig.worker("late")
    rig.kafka.generation = 5
    await worker.assigned({(topic, n) for topic, count in rig.kafka.partitions.items() for n in range(count)}, 4)
    assert worker.generation is None
    assert worker.partitions == {}


@scenario
async def test_assignment_that_was_overtaken_while_it_loaded_owns_nothing() -> None:
    rig = Rig()
    worker = rig.worker("a")
    loading, go_on = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        loading.set()
        await go_on.wait()

    rig.store.before = lambda method: wait() if method == "known" else None
    overtaken = asyncio.ensure_future(rig.assign(worker))
    await loading.wait()
    rig.store.before = lambda method: None
    await rig.assign(worker)
    epochs = {number: partition.epoch for number, partition in worker.partitions.items()}
    go_on.set()
    await overtaken
    assert worker.generation == rig.kafka.generation
    assert {number: partition.epoch for number, partition in worker.partitions.items()} == epochs
    rig.kafka.send(*life(1))
    await rig.settle(worker)
    assert outcome(rig) == "ok"


@scenario
async def test_worker_beyond_the_number_of_partitions_waits_for_one() -> None:
    rig = Rig(partitions=1)
    first, spare = rig.worker("a"), rig.worker("spare")
    await rig.assign(first, spare)
    assert (spare.generation, spare.partitions) == (rig.kafka.generation, {})
    spare.positions.changed = True  # as it is from time to time, to tell the others how far we are
    assert await spare.flush() is False
    await rig.assign(spare)
    rig.kafka.send(*life(1))
    await rig.settle(spare)
    assert outcome(rig) == "ok"


@scenario
async def test_worker_passed_by_a_claim_that_nobody_holds_does_not_stand_idle_for_ever() -> None:
    """Somebody paused claims late and is killed: no rebalance follows, and the group still names this worker."""
    rig = Rig(flush_interval_s=0.0, unowned_timeout_s=90.0)
    worker = await start(rig)
    rig.store.claim(0, "paused, then killed")
    rig.kafka.send(document("invoice", 1))
    await rig.read(worker)
    assert await worker.flush() is False
    rig.clock.advance(seconds=91)
    with pytest.raises(InvariantBroken, match="partition 0 is held by"):
        await asyncio.wait_for(worker.run(asyncio.Event()), 10)


@scenario
async def test_worker_passed_by_a_claim_goes_on_with_its_next_assignment() -> None:
    rig = Rig(flush_interval_s=0.0, unowned_timeout_s=90.0)
    worker = await start(rig)
    rig.store.claim(0, "somebody")
    rig.kafka.send(*life(1))
    await rig.read(worker)
    assert await worker.flush() is False
    await rig.assign(worker)
    rig.clock.advance(seconds=91)
    await rig.read(worker)
    stop = asyncio.Event()
    stop.set()
    await worker.run(stop)
    assert outcome(rig) == "ok"


@scenario
async def test_new_owner_gets_a_higher_epoch() -> None:
    rig = Rig()
    first = await start(rig, "a")
    second = await start(rig, "b")
    for number, partition in second.partitions.items():
        assert partition.epoch > first.partitions[number].epoch


@scenario
async def test_every_assignment_claims_anew_also_by_the_same_worker() -> None:
    rig = Rig()
    worker = await start(rig)
    epochs = {number: partition.epoch for number, partition in worker.partitions.items()}
    await rig.assign(worker)
    assert all(partition.epoch > epochs[number] for number, partition in worker.partitions.items())


# E3: positions are written after facts and verdicts; a start resumes from the lower of Kafka's and ClickHouse's


@scenario
async def test_flush_writes_in_the_order_that_makes_it_exact() -> None:
    rig = Rig()
    worker = await start(rig)
    rig.kafka.send(document("posting", 1, lines=_unbalanced()))
    rig.kafka.append("invoices", b"x", b"rubbish")
    await rig.read(worker)
    rig.store.calls.clear()
    rig.kafka.calls.clear()
    order: list[str] = []
    rig.store.calls = rig.kafka.calls = order
    await worker.flush()
    assert order == [
        "write_facts",
        "write_verdicts",
        "write_dead_letters",
        "holders",
        "publish",
        "write_positions",
        "holders",
        "commit",
    ]


@scenario
async def test_restored_store_is_caught_up_from_its_own_position() -> None:
    rig = Rig()
    worker = await start(rig)
    rig.kafka.send(*life(1))
    await rig.settle(worker)
    backup = (dict(rig.store.facts), list(rig.store.rows), dict(rig.store.position_rows))
    rig.kafka.send(*life(2))
    await rig.settle(worker)
    rig.store.facts, rig.store.rows, rig.store.position_rows = backup
    again = await start(rig, "b")
    await rig.settle(again)
    assert outcome(rig, "invoice:acme-us:billing:2") == "ok"


@scenario
async def test_offsets_lost_by_kafka_are_read_again() -> None:
    rig = Rig()
    worker = await start(rig)
    rig.kafka.send(*life(1))
    await rig.settle(worker)
    rig.kafka.group_offsets.clear()
    again = await start(rig, "b")
    assert set(again.start_offsets.values()) == {0}
    await rig.settle(again)
    assert rig.store.verdicts()[KEY]["facts"] == 4


@scenario
async def test_topic_made_anew_under_a_worker_is_committed_as_far_as_it_was_read() -> None:
    """aiokafka starts over at the log's beginning; what is committed must not stay where the old log ended."""
    rig = Rig(partitions=1)
    worker = await start(rig)
    rig.kafka.send(*(document("invoice", number) for number in range(5)))
    await rig.settle(worker)
    rig.kafka.logs["invoices", 0].clear()
    rig.kafka.send(document("invoice", 7), document("invoice", 8))
    await worker.receive(Batch("invoices", 0, rig.kafka.logs["invoices", 0], 2, worker.generation or 0))
    await worker.flush()
    assert rig.kafka.offsets["invoices", 0] == rig.store.position_rows["invoices", 0].next_offset == 2
    assert worker.positions.behind() == 0


# E4: co-partitioned, one partitioner, a fixed number of partitions


@scenario
async def test_record_in_the_wrong_partition_stops_the_worker() -> None:
    rig = Rig()
    worker = await start(rig)
    event = document("invoice", 1)
    key = event.correlationid.encode()
    rig.kafka.append("invoices", key, records.encode(event), partition=1 - partition_of(key, 2))
    with pytest.raises(InvariantBroken, match="belongs into"):
        await rig.read(worker)


@scenario
async def test_different_partitions_of_joined_topics_stop_the_worker() -> None:
    rig = Rig()
    worker = rig.worker("a")
    tps = {(topic, 0) for topic in JOINED} | {("orders", 1)}
    with pytest.raises(InvariantBroken, match="different partitions"):
        await worker.assigned(tps, 0)


@scenario
async def test_changed_number_of_partitions_stops_the_worker() -> None:
    rig = Rig()
    await start(rig)
    rig.kafka.partitions = {topic: 3 for topic in rig.kafka.partitions}
    with pytest.raises(InvariantBroken, match="3 partitions"):
        await start(rig, "b")


@scenario
async def test_joined_topics_with_unequal_partition_counts_stop_the_worker() -> None:
    rig = Rig()
    rig.kafka.partitions["payments"] = 1
    with pytest.raises(InvariantBroken, match="differ in their number"):
        await rig.assign(rig.worker("a"), rig.worker("b"))  # a has partition 0 of each


@pytest.mark.parametrize("members", [1, 2, 3, 5])
def test_assignor_gives_a_member_the_same_partitions_of_every_topic(members: int) -> None:
    cluster = SimpleNamespace(partitions_for_topic=lambda topic: set(range(4)))
    metadata = {f"m{i}": SimpleNamespace(subscription=["invoices", "postings", "raw.stripe"]) for i in range(members)}
    shares = SamePartitions.assign(cluster, metadata)
    taken: dict[str, list[int]] = {}
    for share in shares.values():
        assert len({tuple(numbers) for _, numbers in share.assignment}) <= 1
        for topic, numbers in share.assignment:
            taken.setdefault(topic, []).extend(numbers)
    assert {topic: sorted(numbers) for topic, numbers in taken.items()} == {
        topic: [0, 1, 2, 3] for topic in ("invoices", "postings", "raw.stripe")
    }


# E6: a record belongs to exactly one case, the one that its key names


@scenario
async def test_record_under_another_cases_key_is_a_dead_letter() -> None:
    rig = Rig()
    worker = await start(rig)
    rig.kafka.append("invoices", b"invoice:acme-us:billing:2", records.encode(document("invoice", 1)))
    await rig.settle(worker)
    assert [letter.failure_class for letter in rig.store.letters.values()] == ["mapping"]
    assert rig.store.facts == {}


@scenario
async def test_record_that_names_its_case_twice_is_a_dead_letter() -> None:
    """Two parsers would put it into two cases: the worker into the last, the store into the first."""
    rig = Rig()
    worker = await start(rig)
    event = document("invoice", 1)
    raw = records.encode(event)
    for name in (b'"correlationid":', b'"id":', b'"type":', b'"data":'):
        again = raw.replace(name, name + b'"x",' + name, 1)
        assert again != raw
        rig.kafka.append("invoices", event.correlationid.encode(), again)
    await rig.settle(worker)
    assert len(rig.store.letters) == 4
    assert rig.store.facts == {}


# E9: first_seen never changes; the history keeps every verdict that differed


@scenario
async def test_case_keeps_the_month_it_was_first_seen_in() -> None:
    rig = Rig()
    worker = await start(rig)
    rig.kafka.send(document("invoice", 1))
    await rig.settle(worker)
    first_seen = rig.store.final()[KEY].first_seen
    rig.clock.advance(days=40)
    again = await start(rig, "b")
    rig.kafka.send(*life(1)[1:])
    await rig.settle(again)
    assert rig.store.final()[KEY].first_seen == first_seen


@scenario
async def test_case_that_two_lives_stored_in_two_months_is_shown_once() -> None:
    """Both found nothing stored: one read the posting of January's last minute, the other February's invoice first."""
    rig = Rig()
    heir = await _seen_in_two_months(rig)
    assert len(rig.store.shown()) == 2
    await _late_writes_have_come(rig, heir)
    assert [row.first_seen.month for row in rig.store.shown()] == [2]
    assert rig.store.verdicts()[KEY]["facts"] == 2


@scenario
async def test_case_that_two_dead_lives_stored_in_two_months_is_shown_once() -> None:
    rig = Rig()
    await _seen_in_two_months(rig)
    await _late_writes_have_come(rig, await start(rig, "third"))
    assert [row.first_seen.month for row in rig.store.shown()] == [2]


async def _seen_in_two_months(rig: Rig) -> Worker:
    """What the first life had sent to the store arrives when its heir has read the case anew; gives the heir."""
    rig.clock.now = datetime(2026, 1, 31, 23, 59, 30, tzinfo=UTC)
    worker = await start(rig)
    on_their_way = await _killed_while_it_writes(rig, worker, document("posting", 1, rig.clock.now))
    rig.clock.advance(minutes=1)
    heir = await start(rig, "heir")
    rig.kafka.send(document("invoice", 1, rig.clock.now))
    await rig.settle(heir)
    rig.store.write_verdicts(on_their_way)
    return heir


async def _killed_while_it_writes(rig: Rig, worker: Worker, event: Event) -> list[Any]:
    """The event's verdicts, which were sent to the store and have not come there yet."""
    on_their_way: list[Any] = []
    write, rig.store.write_verdicts = rig.store.write_verdicts, on_their_way.extend  # type: ignore[method-assign]
    rig.store.after = killed_at("write_verdicts")
    rig.kafka.send(event)
    await rig.read(worker)
    with pytest.raises(Killed):
        await worker.flush()
    rig.store.write_verdicts, rig.store.after = write, lambda method: None  # type: ignore[method-assign]
    return on_their_way


async def _late_writes_have_come(rig: Rig, worker: Worker) -> None:
    for partition in worker.partitions.values():
        partition.claimed_at_s -= LATE_WRITES_S
    for _ in range(3):
        await worker.tell_late_writes()
        await rig.settle(worker)


@scenario
async def test_deadline_of_a_verdict_that_came_while_its_heir_was_loading_fires() -> None:
    """It came after the deadlines had been asked for, and before the verdicts that nobody was told of."""
    rig = Rig()
    worker = await start(rig)
    on_their_way = await _killed_while_it_writes(rig, worker, document("invoice", 1))
    rig.store.before = lambda method: rig.store.write_verdicts(on_their_way) if method == "awaited" else None
    heir = await start(rig, "heir")
    rig.store.before = lambda method: None
    await rig.settle(heir)
    assert states(rig)["invoice_to_posting"] == "waiting"
    rig.clock.advance(hours=25)
    await rig.settle(heir)
    assert states(rig)["invoice_to_posting"] == "missing"


@scenario
async def test_history_holds_what_differed_and_only_that() -> None:
    rig = Rig()
    worker = await start(rig)
    for event in life(1):
        rig.kafka.send(event)
        rig.kafka.send(event)
        await rig.settle(worker)
    again = await start(rig, "b")
    rig.kafka.send(life(1)[0])
    await rig.settle(again)
    changed = [row.raw for row in rig.store.rows if row.changed]
    assert len(changed) == len(set(changed)) == 4
    assert len(rig.store.rows) > 4


# E10: a dirty case is never evicted; a case is new only where that is proven


@scenario
async def test_evicted_case_comes_back_whole() -> None:
    rig = Rig(cached_cases=2)
    worker = await start(rig)
    rig.kafka.send(*(document("invoice", number) for number in range(50)))
    await rig.settle(worker)
    assert sum(len(partition.cases) for partition in worker.partitions.values()) <= 2
    rig.kafka.send(*(event for number in range(50) for event in life(number)[1:]))
    await rig.settle(worker)
    assert {verdict["outcome"] for verdict in rig.store.verdicts().values()} == {"ok"}
    assert len(rig.store.verdicts()) == 50


@scenario
async def test_case_read_while_its_flush_is_under_way_is_not_evicted() -> None:
    rig = Rig(cached_cases=0, packed_cases=0)
    worker = await start(rig)
    rig.kafka.send(document("invoice", 1))
    await rig.read(worker)

    async def more() -> None:
        rig.store.before = lambda method: None
        rig.kafka.send(document("posting", 1))
        await rig.read(worker)

    rig.store.before = lambda method: more() if method == "write_verdicts" else None
    await worker.flush()
    assert [len(partition.dirty) for partition in worker.partitions.values() if partition.dirty] == [1]
    rig.kafka.send(document("payment", 1))
    await rig.read(worker)
    await worker.flush()
    assert rig.store.verdicts()[KEY]["facts"] == 3


@scenario
async def test_restored_case_is_judged_as_if_it_had_never_left() -> None:
    rig = Rig()
    worker = await start(rig)
    rig.kafka.send(*life(1)[:2])
    await rig.settle(worker)
    (stub, raw) = rig.store.verdicts_of([KEY])[KEY]
    partition = Partition(0, 1, lambda _: 100)
    restore(partition, stub, raw, [fact.raw for fact in rig.store.facts_of([KEY])[KEY]])
    assert parts(judge(partition.cases[KEY].case, rig.policy, rig.store.final()[KEY].judged_at, Progress({})))[0] == raw


# E11: what is missing while its source is behind is unproven; append times and heartbeats tell, never event times


def states(rig: Rig, key: str = KEY) -> dict[str, str]:
    return {hop["name"]: hop["state"] for hop in rig.store.verdicts()[key]["hops"]}


async def two_workers(rig: Rig) -> tuple[Worker, Worker]:
    """(the one that holds KEY, the other)"""
    workers = [rig.worker(name) for name in ("a", "b")]
    await rig.assign(*workers)
    home = partition_of(KEY.encode(), 2)
    return workers[home], workers[1 - home]


@scenario
async def test_what_is_missing_while_another_workers_input_is_behind_is_no_break_until_it_has_caught_up() -> None:
    rig = Rig()
    owner, other = await two_workers(rig)
    rig.kafka.send(document("invoice", 1))
    rig.clock.advance(hours=25)
    await rig.settle(owner)
    assert states(rig)["invoice_to_posting"] == "unproven"
    assert rig.store.verdicts()[KEY]["breaks"] == []
    await rig.settle(other)
    await rig.settle(owner)
    assert states(rig)["invoice_to_posting"] == "missing"


@scenario
async def test_posting_that_was_in_the_other_workers_input_ties_out_without_a_break_in_between() -> None:
    rig = Rig()
    owner, other = await two_workers(rig)
    rig.kafka.send(document("invoice", 1))
    for tp in ((topic, number) for topic in ("raw.canonical",) for number in (0, 1)):
        if tp in other.positions.next_offsets:
            rig.kafka.append(tp[0], b"x", records.encode(document("posting", 1)), partition=tp[1])
    rig.clock.advance(hours=25)
    await rig.settle(owner)
    await rig.settle(other)
    await rig.settle(owner)
    assert states(rig)["invoice_to_posting"] == "met"
    assert _told(rig) == []


@scenario
async def test_source_that_marks_its_topic_is_complete_up_to_its_last_mark_alone() -> None:
    rig = Rig()
    rig.policy = load("[feeds.erp]\nsources = ['canonical']\nheartbeat_s = 60")
    worker = await start(rig)
    rig.kafka.send(document("invoice", 1))
    rig.clock.advance(hours=25)
    await rig.settle(worker)
    assert states(rig)["invoice_to_posting"] == "unproven", "silence was taken for a proof"
    rig.kafka.append("raw.canonical", b"", b"", partition=0, headers=[("tieout-heartbeat", b"")])
    await rig.settle(worker)
    assert states(rig)["invoice_to_posting"] == "unproven", "one partition was taken for all"
    rig.kafka.append("raw.canonical", b"", b"", partition=1, headers=[("tieout-heartbeat", b"")])
    await rig.settle(worker)
    assert states(rig)["invoice_to_posting"] == "missing"
    assert rig.store.letters == {}, "a heartbeat is no record that failed"


@scenario
async def test_event_dated_ahead_completes_nothing() -> None:
    rig = Rig()
    rig.policy = load("[feeds.erp]\nsources = ['canonical']\nheartbeat_s = 60")
    worker = await start(rig)
    rig.kafka.send(document("invoice", 1))
    for number in (0, 1):
        ahead = document("invoice", 70 + number, rig.clock.now + timedelta(hours=23))
        rig.kafka.append("raw.canonical", b"", records.encode(ahead), partition=number)
    appended_at = rig.clock.now
    rig.clock.advance(hours=1)
    await rig.settle(worker)
    assert worker.feeds.complete_to["erp"] == appended_at
    assert states(rig)["invoice_to_posting"] == "unproven"


@scenario
async def test_new_owner_neither_closes_nor_opens_what_was_proven_before() -> None:
    rig = Rig()
    worker = await start(rig)
    rig.kafka.send(document("invoice", 1))
    await rig.settle(worker)
    rig.clock.advance(hours=1)
    await rig.settle(worker)
    told = len(_told(rig))
    rig.kafka.send(document("invoice", 1))
    again = await start(rig, "b")
    await rig.read(again)
    await again.flush()
    assert states(rig)["invoice_to_posting"] == "late"
    assert {message["id"] for message in _told(rig)[told:]} <= {message["id"] for message in _told(rig)[:told]}


@scenario
async def test_new_owner_goes_on_from_what_was_judged_and_not_committed() -> None:
    rig = Rig()
    worker = await start(rig)
    rig.kafka.send(document("invoice", 1))
    await rig.settle(worker)
    rig.clock.advance(hours=25)
    await rig.settle(worker, rounds=1, commits=False)
    assert states(rig)["invoice_to_posting"] == "missing"
    told = len(_told(rig))
    rig.kafka.send(document("invoice", 1))
    again = await start(rig, "b")
    await rig.read(again)
    await again.flush()
    assert states(rig)["invoice_to_posting"] == "missing"
    assert {message["id"] for message in _told(rig)[told:]} <= {message["id"] for message in _told(rig)[:told]}


@scenario
async def test_a_broker_that_does_not_answer_proves_nothing() -> None:
    rig = Rig()
    worker = await start(rig)
    rig.kafka.send(document("invoice", 1))
    await rig.settle(worker)
    rig.clock.advance(hours=25)
    await worker.refresh_progress()
    await worker.fire_deadlines()
    await worker.flush()
    assert states(rig)["invoice_to_posting"] == "waiting"
    await rig.settle(worker)
    assert states(rig)["invoice_to_posting"] == "missing"


@scenario
async def test_marker_at_the_end_of_a_log_is_passed_over_and_holds_nothing_back() -> None:
    rig = Rig()
    worker = await start(rig)
    rig.kafka.send(document("invoice", 1))
    await rig.read(worker)
    tp, log = next((tp, log) for tp, log in rig.kafka.logs.items() if log)
    assert worker.generation is not None
    worker.heard({tp: Contact(len(log), len(log) + 1, len(log) + 1, rig.clock.now)}, worker.generation)
    await worker.flush()
    assert rig.kafka.offsets[tp] == len(log) + 1
    assert worker.positions.lag(tp) == 0


# E15: what the log no longer holds is proven by what was read in one run, or is a gap


@scenario
async def test_records_that_the_log_dropped_before_they_were_read_are_a_gap() -> None:
    rig = Rig(partitions=1)
    worker = await start(rig)
    rig.kafka.send(*(document("invoice", number) for number in range(5)))
    await rig.settle(worker)
    rig.kafka.send(*(document("invoice", number) for number in range(5, 12)))
    rig.kafka.begins["invoices", 0] = 9
    again = await start(rig, "b")
    assert again.start_offsets["invoices", 0] == 9
    (gap,) = rig.store.gaps
    assert (gap.topic, gap.partition, gap.from_offset, gap.to_offset) == ("invoices", 0, 5, 9)
    await rig.settle(again)
    assert rig.store.position_rows["invoices", 0].from_offset == 9
    assert rig.store.position_rows["invoices", 0].next_offset == 12


@scenario
async def test_records_dropped_after_they_were_read_are_no_gap() -> None:
    rig = Rig(partitions=1)
    worker = await start(rig)
    rig.kafka.send(*(document("invoice", number) for number in range(5)))
    await rig.settle(worker)
    rig.kafka.begins["invoices", 0] = 3
    rig.kafka.group_offsets.clear()
    again = await start(rig, "b")
    assert rig.store.gaps == []
    await rig.settle(again)
    assert rig.store.position_rows["invoices", 0].from_offset == 0


@scenario
async def test_topic_made_anew_is_read_from_its_beginning() -> None:
    rig = Rig(partitions=1)
    worker = await start(rig)
    rig.kafka.send(*(document("invoice", number) for number in range(5)))
    await rig.settle(worker)
    rig.kafka.recreate("invoices")
    rig.kafka.send(document("invoice", 77))
    again = await start(rig, "b")
    await rig.settle(again)
    assert "invoice:acme-us:billing:77" in rig.store.verdicts()
    assert rig.store.gaps == []


@scenario
async def test_case_is_not_evicted_while_the_batch_that_found_it_in_memory_waits_for_another() -> None:
    rig = Rig(partitions=1, cached_cases=0, packed_cases=0)
    worker = await start(rig)
    rig.kafka.send(document("invoice", 1))
    await rig.settle(worker)
    rig.kafka.send(document("invoice", 2))
    await rig.read(worker)
    looking, found = asyncio.Event(), asyncio.Event()

    async def look_up() -> None:
        looking.set()
        await found.wait()

    rig.store.before = lambda method: look_up() if method == "facts_of" else None
    rig.kafka.send(document("posting", 2), document("posting", 1))
    reading = asyncio.ensure_future(rig.read(worker))
    await looking.wait()
    rig.store.before = lambda method: None
    flushing = asyncio.ensure_future(worker.flush())
    await asyncio.sleep(0.01)
    found.set()
    await asyncio.gather(reading, flushing)
    await rig.settle(worker)
    assert [verdict["facts"] for verdict in rig.store.verdicts().values()] == [2, 2]


# E12: only the owner writes


@scenario
async def test_batch_of_an_old_generation_is_ignored() -> None:
    rig = Rig()
    worker = await start(rig)
    rig.kafka.send(document("invoice", 1))
    (tp, log) = next((tp, log) for tp, log in rig.kafka.logs.items() if log)
    await worker.receive(Batch(*tp, log, 1, 0))
    assert await worker.flush() is False
    assert rig.store.facts == {}


def written_by_others(rig: Rig, *kinds: str) -> None:
    for offset, kind in enumerate(kinds):
        event = document(kind, 1)
        rig.store.facts[KEY, "backfill.1", 0, offset] = records.encode(event)


def touched() -> Event:
    data = {"entity": "acme-us", "document_id": "1"}
    return records.make("case.touched", id="touched:1", source="backfill", subject="1", time=START, correlationid=KEY, data=data)  # fmt: skip


@scenario
async def test_facts_that_a_bulk_writer_stored_are_judged_once_he_says_so() -> None:
    rig = Rig()
    worker = await start(rig)
    written_by_others(rig, "invoice", "posting", "payment", "application")
    rig.kafka.send(touched())
    await rig.settle(worker)
    assert outcome(rig) == "ok"
    assert rig.store.verdicts()[KEY]["facts"] == 4, "a touch is no fact"


@scenario
async def test_facts_that_a_bulk_writer_stored_join_those_in_memory_and_the_same_fact_counts_once() -> None:
    rig = Rig()
    worker = await start(rig)
    rig.kafka.send(document("invoice", 1))
    await rig.settle(worker)
    written_by_others(rig, "invoice", "posting")
    rig.kafka.send(touched())
    await rig.settle(worker)
    rig.kafka.send(document("payment", 1), document("application", 1))
    await rig.settle(worker)
    assert outcome(rig) == "ok"
    assert rig.store.verdicts()[KEY]["facts"] == 4


# E14: retention drops facts, never what was counted


@scenario
async def test_case_whose_facts_are_no_longer_kept_says_so_and_is_no_break() -> None:
    rig = Rig()
    worker = await start(rig)
    rig.kafka.send(*life(1)[:3])
    await rig.settle(worker)
    rig.store.facts = {place: raw for place, raw in rig.store.facts.items() if place[1] != "invoices"}
    again = await start(rig, "b")
    rig.kafka.send(life(1)[3])
    await rig.settle(again)
    verdict = rig.store.verdicts()[KEY]
    assert (verdict["outcome"], verdict["breaks"], verdict["facts"]) == ("pending", [], 4)
    assert all("history_incomplete" in control["reason"] for control in verdict["controls"])


# E16: another policy judges what is open again


@scenario
async def test_open_cases_are_judged_again_by_a_new_policy_without_a_new_fact() -> None:
    rig = Rig(deadlines_per_flush=2)
    worker = await start(rig)
    rig.kafka.send(*(document("invoice", number) for number in range(7)), *life(8))
    await rig.settle(worker)
    rig.policy = load("[hops.invoice_to_posting]\ntarget_s = 60")
    again = await start(rig, "b")
    rig.clock.advance(minutes=2)
    await rig.settle(again, rounds=6)
    open_cases = [verdict for verdict in rig.store.verdicts().values() if verdict["outcome"] != "ok"]
    assert {verdict["policy"] for verdict in open_cases} == {rig.policy.hash}
    assert {hop["state"] for verdict in open_cases for hop in verdict["hops"] if hop["name"] == "invoice_to_posting"} == {"late"}  # fmt: skip


@scenario
async def test_a_policy_that_changes_from_a_day_on_judges_each_case_by_the_day_it_started() -> None:
    rig = Rig(deadlines_per_flush=2)
    worker = await start(rig)
    rig.kafka.send(*(document("invoice", number) for number in range(5)))
    await rig.settle(worker)
    day = rig.clock().date() + timedelta(days=1)
    rig.policy = load(
        f"[[version]]\nvalid_from = {day}\n[version.hops.invoice_to_posting]\ntarget_s = 60\nlate_is_break = false"
    )
    again = await start(rig, "b")
    rig.clock.advance(minutes=20)
    await rig.settle(again, rounds=6)
    verdicts = rig.store.verdicts().values()
    assert {verdict["policy"] for verdict in verdicts} == {rig.policy.hash}, "not judged again, or not in the open"
    assert {tuple(found["class"] for found in verdict["breaks"]) for verdict in verdicts} == {("sla",)}, (
        "judged by a later day's"
    )


# E13: outbound ids say what happened, are acknowledged before the commit, and are the same when sent again


@scenario
async def test_breaks_are_told_once_when_they_open_and_once_when_they_close_under_ids_that_repeat() -> None:
    rig = Rig()
    worker = await start(rig)
    rig.kafka.send(document("invoice", 1))
    await rig.settle(worker)
    assert _told(rig) == [], "a case without a break was told"
    rig.clock.advance(hours=1)
    await rig.settle(worker)
    opened = _told(rig)
    assert [_classes(message) for message in opened] == [["sla"]]
    rig.kafka.send(document("payment", 1))
    await rig.settle(worker)
    assert _told(rig) == opened, "told again while it stood"
    rig.store.before = killed_at("write_positions")
    rig.kafka.send(document("posting", 1))
    await rig.read(worker)
    with pytest.raises(Killed):
        await worker.flush()
    rig.store.before = lambda method: None
    again = await start(rig, "b")
    await rig.settle(again)
    closed = _told(rig)[1:]
    assert [_classes(message) for message in closed] == [[], []]
    assert len({message["id"] for message in closed}) == 1, "the receiver cannot tell that it is the same"
    assert closed[0]["revision"] < closed[1]["revision"], "the receiver cannot tell which is the newer one"


@scenario
async def test_nothing_is_told_of_a_verdict_that_was_never_written() -> None:
    """The posting that is still to come would leave a break open that no store has ever heard of."""
    rig = Rig()
    worker = await start(rig)
    rig.kafka.send(document("invoice", 1), document("posting", 1, lines=_lines(9_000)))
    await rig.read(worker)
    rig.store.before = killed_at("write_verdicts")
    with pytest.raises(Killed):
        await worker.flush()
    assert _told(rig) == []


@scenario
async def test_break_whose_telling_was_cut_off_is_told_by_the_next_owner_though_nothing_is_read_again() -> None:
    rig = Rig()
    worker = await start(rig)
    rig.kafka.send(document("invoice", 1))
    await rig.settle(worker)
    await an_hour_passes(rig, worker)
    await worker.fire_deadlines()
    publish, rig.kafka.publish = rig.kafka.publish, refused  # type: ignore[method-assign]
    with pytest.raises(Killed):
        await worker.flush()
    assert states(rig)["invoice_to_posting"] == "late", "the verdict is written, and nobody knows of it"
    rig.kafka.publish = publish  # type: ignore[method-assign]
    again = await start(rig, "b")
    await rig.settle(again)
    assert [_classes(message) for message in _told(rig)[-1:]] == [["sla"]]


@scenario
async def test_worker_that_lost_the_case_tells_nothing_of_it() -> None:
    rig = Rig()
    zombie = await start(rig, "zombie")
    rig.kafka.send(document("invoice", 1), document("posting", 1, lines=_lines(9_000)))
    await rig.read(zombie)
    for number in (0, 1):
        rig.store.claim(number, "heir")
    assert await zombie.flush() is False
    assert _told(rig) == []


@scenario
async def test_break_that_a_lost_worker_wrote_is_told_by_the_owner_who_finds_it() -> None:
    """Its row lies in the store when the owner loads the case: that it was written does not mean that it was told."""
    rig = Rig()
    zombie = await start(rig, "zombie")
    rig.kafka.send(document("invoice", 1))
    await rig.settle(zombie)
    await an_hour_passes(rig, zombie)
    heir = await start(rig, "heir")
    await zombie.fire_deadlines()
    assert await zombie.flush() is False
    assert states(rig)["invoice_to_posting"] == "late"
    await rig.settle(heir)
    assert [_classes(message) for message in _told(rig)] == [["sla"]]


@scenario
async def test_break_that_a_dead_worker_had_sent_to_the_store_is_told_though_it_arrives_after_the_claim() -> None:
    rig = Rig()
    worker = await start(rig)
    rig.kafka.send(document("invoice", 1))
    await rig.settle(worker)
    await an_hour_passes(rig, worker)
    await worker.fire_deadlines()
    on_their_way: list[Any] = []
    write, rig.store.write_verdicts = rig.store.write_verdicts, on_their_way.extend  # type: ignore[method-assign]
    rig.kafka.publish, publish = refused, rig.kafka.publish  # type: ignore[method-assign]
    with pytest.raises(Killed):
        await worker.flush()
    rig.store.write_verdicts, rig.kafka.publish = write, publish  # type: ignore[method-assign]
    heir = await start(rig, "heir")
    for partition in heir.partitions.values():
        partition.due = lambda now, limit: iter(())  # type: ignore[method-assign]  # as where it did not keep this deadline
    rig.store.write_verdicts(on_their_way)
    await heir.tell_late_writes()
    await heir.flush()
    assert _told(rig), "nobody ever told of it"


@scenario
async def test_late_writes_are_looked_for_as_long_as_they_may_come_and_no_longer() -> None:
    rig = Rig()
    worker = await start(rig)
    for seconds, is_asked in ((LATE_WRITES_S - 1, True), (2, False)):
        for partition in worker.partitions.values():
            partition.claimed_at_s -= seconds
        rig.store.calls.clear()
        await worker.tell_late_writes()
        assert ("untold" in rig.store.calls) == is_asked


@scenario
async def test_late_writes_are_not_looked_for_with_every_commit() -> None:
    rig = Rig()
    worker = await start(rig)
    asked = []
    for waited_s in (LATE_LOOK_S, 0, LATE_LOOK_S - 1, 1):
        worker._looked_s -= waited_s
        rig.store.calls.clear()
        await worker._tell_how_far()
        asked.append("untold" in rig.store.calls)
    assert asked == [True, False, False, True]


@scenario
async def test_break_told_by_a_store_that_was_put_back_is_taken_back() -> None:
    rig = Rig()
    worker = await start(rig)
    backup = (dict(rig.store.facts), list(rig.store.rows), dict(rig.store.position_rows), {**rig.store.epochs})
    rig.kafka.send(document("invoice", 1), document("posting", 1, lines=_lines(9_000)))
    await rig.settle(worker)
    assert [_classes(message) for message in _told(rig)] == [["amount"]]
    rig.store.facts, rig.store.rows, rig.store.position_rows = backup[:3]
    rig.store.epochs.clear()
    rig.kafka.send(changed(document("posting", 1, document_id="posting-2", lines=_lines(3_000)), id="second"))
    again = await start(rig, "b")
    await rig.settle(again)
    last = max(_told(rig), key=lambda message: message["revision"])
    assert _classes(last) == [], "the message of the store that is gone still holds"


@scenario
async def test_break_told_by_a_store_that_was_put_back_is_taken_back_though_the_offsets_are_lost_too() -> None:
    """Nothing says any more how far epochs had counted, nor what had been read."""
    rig = Rig()
    worker = await start(rig)
    rig.kafka.send(document("invoice", 1), document("posting", 1, lines=_lines(9_000)))
    await rig.settle(worker)
    assert [_classes(message) for message in _told(rig)] == [["amount"]]
    rig.store = ClickHouse(rig.clock)
    rig.kafka.group_offsets.clear()
    rig.kafka.send(changed(document("posting", 1, document_id="posting-2", lines=_lines(3_000)), id="second"))
    rig.clock.advance(minutes=10)
    await rig.settle(await start(rig, "b"))
    last = max(_told(rig), key=lambda message: message["revision"])
    assert _classes(last) == [], "the message of the store that is gone still holds"


@scenario
async def test_break_told_by_a_store_that_was_put_back_twice_is_taken_back_however_late_it_is_read_again() -> None:
    rig = Rig()
    worker = await start(rig)
    backup = (dict(rig.store.facts), list(rig.store.rows), dict(rig.store.position_rows))
    home = partition_of(KEY.encode(), 2)
    other = next(n for n in range(2, 99) if partition_of(f"{KEY[:-1]}{n}".encode(), 2) == home)
    rig.kafka.send(document("invoice", other), document("posting", other))
    rig.kafka.send(document("invoice", 1), document("posting", 1, lines=_lines(9_000)))
    await rig.settle(worker)
    second = changed(document("posting", 1, document_id="posting-2", lines=_lines(3_000)), id="second")
    rig.kafka.send(second)
    rig.store.facts, rig.store.rows, rig.store.position_rows = backup
    rig.settings["pending_records"] = 1
    await start(rig, "b")  # it claims, commits where it begins, and is gone
    again = await start(rig, "c")
    invoices, postings = rig.kafka.logs["invoices", home], rig.kafka.logs["postings", home]
    for batch in (invoices[:1], postings[:1], invoices[1:], postings[1:]):
        await again.receive(Batch(batch[0].topic, home, batch, 9, again.generation or 0))
        await again.flush()
    last = max((told for told in _told(rig) if told["case"] == KEY), key=lambda message: message["revision"])
    assert _classes(last) == [], "the message of the store that is gone still holds"


@scenario
async def test_dead_letter_keeps_its_bytes_and_says_where_it_was() -> None:
    rig = Rig()
    worker = await start(rig)
    rig.kafka.append("raw.canonical", b"k", b'{"trunc\xff\x00', headers=[("h", b"v")])
    await rig.settle(worker)
    (message,) = [message for message in rig.kafka.published if message.topic == "dead-letters"]
    assert message.value == b'{"trunc\xff\x00'
    headers = dict(message.headers)
    assert headers["h"] == b"v"
    assert headers["__dlq.errors.topic"] == b"raw.canonical"
    assert headers["__dlq.errors.offset"] == b"0"
    (letter,) = rig.store.letters.values()
    assert letter.original == message.value


@scenario
async def test_record_larger_than_any_dead_letter_does_not_stop_the_stream() -> None:
    """A topic's limit is of what its producer packed: 8 MB of it may be a hundred unpacked."""
    rig = Rig()
    worker = await start(rig)
    rig.kafka.append("raw.canonical", b"k", b"x" * 20_000_000, headers=[("h", b"v")])
    rig.kafka.append("raw.canonical", b"k", b"y", headers=[("h", b"v" * 20_000_000)])
    await rig.settle(worker)
    large, crowded = [message for message in rig.kafka.published if message.topic == "dead-letters"]
    assert large.value == b"x" * 1_000_000
    assert dict(large.headers)["tieout-cut"] == b"20000000 bytes, whole in the table dead_letters"
    assert (crowded.value, "h" in dict(crowded.headers)) == (b"y", False)
    assert sorted(len(letter.original) for letter in rig.store.letters.values()) == [1, 20_000_000]
    assert any(rig.kafka.offsets.values())


@scenario
async def test_document_booked_years_after_its_arrival_is_a_dead_letter() -> None:
    """Its legs are timed from when it was booked: none of them would ever be late."""
    rig = Rig()
    worker = await start(rig)
    event = document("invoice", 1, recorded_at="2036-03-02T09:00:00Z")
    rig.kafka.append("raw.canonical", b"k", records.encode(event))
    await rig.settle(worker)
    assert rig.store.verdicts() == {}
    (letter,) = rig.store.letters.values()
    assert "2036-03-02" in letter.reason


# Deadlines and time


@scenario
async def test_missing_posting_is_found_when_nothing_more_arrives() -> None:
    rig = Rig()
    worker = await start(rig)
    rig.kafka.send(document("invoice", 1))
    await rig.settle(worker)
    assert outcome(rig) == "pending"
    rig.clock.advance(hours=25)
    await rig.settle(worker)
    assert "missing_posting" in {found["class"] for found in rig.store.verdicts()[KEY]["breaks"]}


@scenario
async def test_deadlines_beyond_those_kept_in_memory_fire_all_the_same() -> None:
    rig = Rig(deadlines_kept=4, cached_cases=0)
    worker = await start(rig)
    for number in range(30):
        rig.kafka.send(document("invoice", number, rig.clock.now))
        await rig.settle(worker, rounds=1)
        rig.clock.advance(seconds=10)
    assert max(len(partition.deadlines) for partition in worker.partitions.values()) <= 4
    again = await start(rig, "b")
    for hours in (1, 25):
        rig.clock.advance(hours=hours)
        await rig.settle(again, rounds=12)
        state = {1: "late", 25: "missing"}[hours]
        assert {states(rig, key)["invoice_to_posting"] for key in rig.store.verdicts()} == {state}


@scenario
async def test_deadline_of_a_case_that_is_not_in_memory_fires_after_a_restart() -> None:
    rig = Rig()
    worker = await start(rig)
    rig.kafka.send(document("invoice", 1))
    await rig.settle(worker)
    again = await start(rig, "b")
    rig.clock.advance(hours=25)
    await rig.settle(again)
    assert outcome(rig) == "break"


@scenario
async def test_posting_still_in_the_backlog_is_not_reported_missing() -> None:
    rig = Rig(partitions=1)
    rig.kafka.send(document("invoice", 1), document("posting", 1))
    rig.clock.advance(days=3)
    worker = await start(rig)
    log = rig.kafka.logs["invoices", 0]
    await worker.receive(Batch("invoices", 0, log, 1, worker.generation or 0))
    await worker.fire_deadlines()
    await worker.flush()
    assert rig.store.verdicts()[KEY]["breaks"] == []
    assert states(rig)["invoice_to_posting"] == "waiting", "judged as of a time that has not been read up to"
    await rig.settle(worker)
    assert "missing_posting" not in {found["class"] for found in rig.store.verdicts()[KEY]["breaks"]}


@scenario
async def test_verdicts_of_the_stream_equal_those_of_a_batch_judged_at_the_same_time() -> None:
    rig = Rig()
    worker = await start(rig)
    for number in range(20):
        rig.kafka.send(*life(number)[: 1 + number % 4])
        await rig.settle(worker)
        rig.clock.advance(minutes=7)
    rig.clock.advance(days=2)
    await rig.settle(worker)
    for key, row in rig.store.final().items():
        partition = Partition(0, 1, lambda _: 100)
        restore(partition, *rig.store.verdicts_of([key])[key], [fact.raw for fact in rig.store.facts_of([key])[key]])
        again = judge(partition.cases[key].case, rig.policy, rig.clock.now, Progress({}))
        assert parts(again) == (row.raw, row.controls)
        assert whole(row.raw, row.controls) == encode(again)


@scenario
async def test_deadline_fires_later_by_as_much_as_a_workers_clock_is_behind_and_is_not_lost() -> None:
    rig = Rig()
    worker = rig.worker("a")
    worker.clock = lambda: rig.clock.now - timedelta(hours=2)
    await rig.assign(worker)
    rig.kafka.send(document("invoice", 1))
    await rig.settle(worker)
    rig.clock.advance(hours=1)
    await rig.settle(worker)
    assert outcome(rig) == "pending", "the invoice has waited an hour for its posting, by a clock that does not know it"
    worker.clock = rig.clock
    await rig.settle(worker)
    assert {found["class"] for found in rig.store.verdicts()[KEY]["breaks"]} == {"sla"}


@scenario
async def test_break_that_a_clock_years_ahead_made_is_taken_back_once_the_clock_is_right() -> None:
    rig = Rig()
    rig.kafka.send(document("invoice", 1))
    right = rig.clock.now
    rig.clock.advance(days=400)
    worker = await start(rig)
    await rig.settle(worker)
    assert outcome(rig) == "break"
    rig.clock.now = right
    again = await start(rig, "b")
    rig.kafka.send(document("invoice", 1))
    await rig.settle(again)
    assert outcome(rig) == "pending"


@scenario
async def test_reading_waits_when_too_much_is_not_yet_durable() -> None:
    rig = Rig(pending_records=10)
    worker = await start(rig)
    rig.kafka.send(*(document("invoice", number) for number in range(40)))
    reading = asyncio.ensure_future(rig.read(worker, at_once=5))
    await asyncio.sleep(0.01)
    assert not reading.done()
    assert sum(len(partition.cases) for partition in worker.partitions.values()) <= 20
    while not reading.done():
        await worker.flush()
        await asyncio.sleep(0)
    await worker.flush()
    assert len(rig.store.verdicts()) == 40


@scenario
async def test_lag_shows_what_is_read_and_not_durable_while_the_store_is_away() -> None:
    rig = Rig(partitions=1)
    worker = await start(rig)
    rig.kafka.send(*(document("invoice", number) for number in range(5)))
    assert worker.lags()["invoices", 0] == 0, "not known of yet"
    await rig.read(worker)
    assert worker.lags()["invoices", 0] == 5
    rig.store.before = killed_at("write_verdicts")
    with pytest.raises(Killed):
        await worker.flush()
    assert worker.lags()["invoices", 0] == 5
    rig.store.before = lambda method: None
    again = await start(rig, "b")
    assert again.lags()["invoices", 0] == 5
    await rig.settle(again)
    assert set(again.lags().values()) == {0}


@scenario
async def test_case_over_its_limit_keeps_working_and_says_so() -> None:
    rig = Rig()
    rig.policy = rig.policy.model_copy(update={"limits": rig.policy.limits.model_copy(update={"facts_per_case": 3})})
    worker = await start(rig)
    rig.kafka.send(*life(1), document("invoice", 2))
    await rig.settle(worker)
    verdict = rig.store.verdicts()[KEY]
    assert verdict["outcome"] != "ok"
    assert any("3" in control["reason"] for control in verdict["controls"])
    assert outcome(rig, "invoice:acme-us:billing:2") == "pending"


def _told(rig: Rig) -> list[dict[str, Any]]:
    return [msgspec.json.decode(message.value) for message in rig.kafka.published if message.topic == "breaks"]


def _classes(message: dict[str, Any]) -> list[str]:
    return [found["class"] for found in message["breaks"]]


async def an_hour_passes(rig: Rig, worker: Worker) -> None:
    """And the worker knows that nothing came in it."""
    rig.clock.advance(hours=1)
    await rig.read(worker)
    worker.positions.changed = True
    await worker.flush()
    await worker.refresh_progress()
    await rig.read(worker)


async def refused(_messages: Any) -> None:
    raise Killed


def _lines(amount_minor: int) -> list[dict[str, Any]]:
    return [
        {"role": role, "amount_minor": sign * amount_minor, "base_minor": sign * amount_minor}
        for role, sign in (("receivable", 1), ("revenue", -1))
    ]


def _unbalanced() -> list[dict[str, Any]]:
    return [{"role": "receivable", "amount_minor": 12000, "base_minor": 12000}]


@scenario
async def test_worker_told_to_stop_in_the_middle_of_a_flush_commits_it_and_what_came_after() -> None:
    rig = Rig(flush_interval_s=0.0)
    worker = await start(rig)
    rig.kafka.send(document("invoice", 1))
    await rig.read(worker)
    stop = asyncio.Event()

    async def told() -> None:
        rig.store.before = lambda method: None
        stop.set()
        rig.kafka.send(document("posting", 1))
        await rig.read(worker)

    rig.store.before = lambda method: told() if method == "write_verdicts" else None
    await asyncio.wait_for(worker.run(stop), 10)
    assert rig.store.verdicts()[KEY]["facts"] == 2
    assert rig.kafka.offsets == worker.positions.next_offsets


# E2: a commit stands beside the next flush


@scenario
async def test_commit_covers_what_has_been_flushed_and_not_what_is_under_way() -> None:
    rig = Rig()
    worker = await start(rig)
    begun = rig.kafka.offsets
    rig.kafka.send(document("invoice", 1))
    await rig.read(worker)
    flushed = worker.positions.next_offsets
    assert await worker.flush(commits=False)
    assert rig.kafka.offsets == begun, "durable, and not yet committed"
    rig.kafka.send(document("posting", 1))
    await rig.read(worker)

    async def beside() -> None:
        rig.store.before = lambda method: None
        assert await worker.commit()
        assert rig.kafka.offsets == flushed

    rig.store.before = lambda method: beside() if method == "write_verdicts" else None
    assert await worker.flush(commits=False)
    assert rig.kafka.offsets == flushed
    assert await worker.commit()
    assert rig.kafka.offsets == worker.positions.next_offsets
    assert not await worker.commit(), "nothing further was flushed"


def test_backlog_that_is_gone_does_not_wait_for_its_interval() -> None:
    async def provoked() -> float:
        rig = Rig(flush_interval_s=1.0, backlog_records=5, backlog_interval_s=300.0)
        worker = await start(rig)
        rig.kafka.send(*(document("invoice", number) for number in range(40)))
        tp, log = max(rig.kafka.logs.items(), key=lambda item: len(item[1]))
        stop = asyncio.Event()
        running = asyncio.ensure_future(worker.run(stop))
        await worker.receive(Batch(*tp, log[:1], len(log), worker.generation or 0))
        await asyncio.sleep(2.5)
        assert rig.store.facts, "the first flush does not wait"
        began_s = asyncio.get_running_loop().time()
        await worker.receive(Batch(*tp, log[1:], len(log), worker.generation or 0))
        while len(rig.store.facts) < len(log):
            await asyncio.sleep(0.1)
        stop.set()
        await running
        return asyncio.get_running_loop().time() - began_s

    assert virtual_time.run(provoked()) < 5


@scenario
async def test_what_is_due_at_once_is_shared_out_over_all_partitions() -> None:
    rig = Rig(deadlines_per_flush=4)
    worker = await start(rig)
    rig.kafka.send(*(document("invoice", number) for number in range(40)))
    await rig.settle(worker)
    rig.clock.now += timedelta(days=400)
    for tp in worker.positions.inputs:
        worker.heard({tp: Contact(*[worker.positions.next_offsets[tp]] * 3, rig.clock())}, worker.generation or 0)
    assert len(worker.partitions) > 1
    assert 0 < await worker.fire_deadlines() <= 4
