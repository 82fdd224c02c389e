"""What the worker makes of replayed dead letters: resolved, failed again, parked; the same however often it is read."""

import asyncio
from typing import Any

import pytest

from canonical.records import encode
from matching.policy import load
from streams import metrics
from streams.dead_letters import MAX_REPLAYS, Place, Replay, headers_of, replay_headers
from tests.simulation.shell import Killed, Rig, document, life
from tests.simulation.test_rules import KEY, killed_at, outcome, scenario, start

BROKEN = b'{"trunc\xff\x00'
LETTER = Place("raw.canonical", 0, 0)


def refuse(rig: Rig, headers: Any = ()) -> None:
    rig.kafka.append("raw.canonical", b"k", BROKEN, partition=0, headers=headers)


def replay(rig: Rig, count: int, body: bytes = BROKEN, letter: Place = LETTER) -> None:
    rig.kafka.append("raw.canonical", b"k", body, partition=0, headers=replay_headers([], Replay(letter, count)))


def metric(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


def actions(rig: Rig) -> list[tuple[str, int]]:
    return [(row.action, row.replay) for row in rig.store.actions.values()]


@scenario
async def test_replay_that_can_be_mapped_resolves_its_letter_and_names_its_cases() -> None:
    rig = Rig()
    worker = await start(rig)
    refuse(rig)
    await rig.settle(worker)
    replay(rig, 1, encode(document("invoice", 1)))
    await rig.settle(worker)
    (row,) = rig.store.actions.values()
    assert (row.topic, row.partition, row.offset, row.action, row.replay) == (*LETTER, "resolved", 1)
    assert (row.record_topic, row.record_partition, row.record_offset) == ("raw.canonical", 0, 1)
    assert row.detail == f'{{"cases":["{KEY}"]}}'
    assert outcome(rig) == "pending"


@scenario
async def test_replay_that_is_refused_again_is_a_later_failure_of_the_same_letter() -> None:
    rig = Rig()
    worker = await start(rig)
    refuse(rig)
    await rig.settle(worker)
    first = dict(rig.store.letters)
    rig.clock.advance(hours=1)
    replay(rig, 1, b"[still wrong]")
    await rig.settle(worker)
    assert rig.store.letters == first
    (row,) = rig.store.actions.values()
    assert (row.action, row.replay, row.body, row.at) == ("failed", 1, b"[still wrong]", rig.clock.now)
    told = [dict(message.headers) for message in rig.kafka.published if message.topic == "dead-letters"]
    assert [headers["__dlq.errors.offset"] for headers in told] == [b"0", b"0"]
    assert [headers["__dlq.errors.delivery.count"] for headers in told] == [b"1", b"2"]


@scenario
async def test_letter_that_keeps_failing_is_parked_at_the_cap() -> None:
    rig = Rig()
    worker = await start(rig)
    hits = metric("tieout_limit_hits_total", limit="max_replays")
    refuse(rig)
    await rig.settle(worker)
    for count in range(1, MAX_REPLAYS + 1):
        assert ("parked", count - 1) not in actions(rig)
        replay(rig, count)
        await rig.settle(worker)
    assert actions(rig) == [("failed", 1), ("failed", 2), ("failed", 3), ("parked", 3)]
    assert metric("tieout_limit_hits_total", limit="max_replays") == hits + 1


@pytest.mark.parametrize("step", ["known_letters", "write_dead_letters", "write_letter_actions", "write_positions"])
def test_crash_while_replays_are_flushed_writes_the_same_rows_again(step: str) -> None:
    async def story() -> None:
        for where in ("before", "after"):
            rig = Rig()
            worker = await start(rig)
            refuse(rig)
            await rig.settle(worker)
            replay(rig, MAX_REPLAYS)
            replay(rig, 1, encode(life(1)[0]))
            refuse(rig)
            await rig.read(worker)
            setattr(rig.store, where, killed_at(step))
            with pytest.raises(Killed):
                await worker.flush()
            setattr(rig.store, where, lambda method: None)
            rig.clock.advance(minutes=5)
            before = dict(rig.store.actions)
            await rig.settle(await start(rig, "b"))
            assert sorted(actions(rig)) == [("failed", 3), ("parked", 3), ("resolved", 1)]
            assert {key: rig.store.actions[key] for key in before} == before
            assert set(rig.store.letters) == {LETTER, Place("raw.canonical", 0, 3)}

    asyncio.run(story())


@pytest.mark.parametrize(
    "headers",
    [
        replay_headers([], Replay(Place("raw.canonical", 0, 4711), 1)),
        replay_headers([], Replay(Place("raw.canonical", 1, 0), 1)),
        [("tieout-replay-of", b"raw.canonical/0/0")],
        [("tieout-replay-of", b"raw.canonical/0/0"), ("tieout-replay-count", b"0")],
        [("tieout-replay-of", b"raw.canonical/0/0"), ("tieout-replay-count", b"-1")],
        [("tieout-replay-of", b"raw.canonical/0/0"), ("tieout-replay-count", "\u0661".encode())],
        [("tieout-replay-of", b"\xff\xfe"), ("tieout-replay-count", b"1")],
        [("tieout-replay-of", None), ("tieout-replay-count", None)],
    ],
)
def test_record_that_falsely_says_it_is_a_replay_is_not_hidden(headers: list[Any]) -> None:
    async def story() -> None:
        rig = Rig()
        worker = await start(rig)
        refuse(rig)
        refuse(rig, headers)
        await rig.settle(worker)
        assert set(rig.store.letters) == {LETTER, Place("raw.canonical", 0, 1)}
        assert rig.store.actions == {}

    asyncio.run(story())


@scenario
async def test_headers_come_back_byte_for_byte() -> None:
    sent = [
        ("h", b"v"), ("h", b"again"), ("empty", b""), ("absent", None), ("binary", bytes(range(256))),
        ("text", "ü \\xff".encode()), ("", b"nameless"), ("long", b"x" * 5_000), ("like ours", b'{"base64":"eA=="}'),
    ]  # fmt: skip
    rig = Rig()
    worker = await start(rig)
    refuse(rig, sent)
    await rig.settle(worker)
    (row,) = rig.store.letters.values()
    assert headers_of(row.headers) == sent
    (message,) = [message for message in rig.kafka.published if message.topic == "dead-letters"]
    assert list(message.headers)[: len(sent)] == sent


@scenario
async def test_a_contract_that_policy_refuses_is_a_fact_once_policy_accepts_it_and_it_is_replayed() -> None:
    rig = Rig()
    rig.policy = load('[door]\ncontracts = "refuse"\n[contracts]\n"invoice.issued" = [2]')
    worker = await start(rig)
    body = encode(document("invoice", 1))
    rig.kafka.append("raw.canonical", b"k", body, partition=0, headers=())
    await rig.settle(worker)
    (letter,) = rig.store.letters.values()
    assert (letter.failure_class, letter.original) == ("policy", body)
    rig.policy = load('[door]\ncontracts = "refuse"\n[contracts]\n"invoice.issued" = [1, 2]')
    again = await start(rig, "b")
    replay(rig, 1, body)
    await rig.settle(again)
    assert [row.action for row in rig.store.actions.values()] == ["resolved"]
    assert outcome(rig) == "pending"
