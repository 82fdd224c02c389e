"""Effects between cases through the shell (rule E6): a receipt's case and its invoices' lie in different partitions."""

import asyncio
from typing import Any

import msgspec
import pytest

from canonical import records
from canonical.events import Event
from matching.policy import load
from streams.batch import reconcile
from streams.partitioner import partition_of
from tests.simulation.shell import START, Killed, Rig, changed, document
from tests.simulation.test_rules import killed_at, scenario, start

RECEIPT = "receipt:acme-us:bank:py-1"
FIRST, SECOND = (f"invoice:acme-us:billing:{number}" for number in (1, 2))


def receipt(parts: dict[str, int], version: int = 1) -> Event:
    """The transfer, and what it pays."""
    return records.make(
        "payment.received", id=f"bank:py-1:{version}", source="bank/acme", subject="py-1", time=START, correlationid=RECEIPT,
        data={
            "entity": "acme-us", "document_id": "py-1", "version": version, "currency": "USD", "amount_minor": 24_000,
            "customer": {"sold_to": "C-1"},
            "allocations": [{"target": target, "amount_minor": amount} for target, amount in parts.items()],
        },
    )  # fmt: skip


def sold() -> list[Event]:
    return [document(kind, number) for number in (1, 2) for kind in ("invoice", "posting")]


BOTH = {FIRST: 12_000, SECOND: 12_000}


def facts_of(rig: Rig, key: str) -> list[dict[str, Any]]:
    return [
        fact
        for row in rig.store.facts_of([key])[key]
        if (fact := records.decode(row.raw).model_dump())["type"] == "allocation.set"
    ]


def payment_leg(rig: Rig, key: str) -> str:
    return next(str(hop["state"]) for hop in rig.store.verdicts()[key]["hops"] if hop["name"] == "invoice_to_payment")


def paid_minor(rig: Rig, key: str) -> int:
    told = facts_of(rig, key)
    return int(max(told, key=lambda fact: fact["data"]["version"])["data"]["amount_minor"]) if told else 0


@scenario
async def test_one_transfer_settles_two_invoices_of_other_partitions() -> None:
    rig = Rig(partitions=4)
    assert len({partition_of(key.encode(), 4) for key in (RECEIPT, FIRST, SECOND)}) > 1
    worker = await start(rig)
    rig.kafka.send(*sold(), receipt(BOTH))
    await rig.settle(worker)
    assert payment_leg(rig, FIRST) == payment_leg(rig, SECOND) == "met"


@scenario
async def test_what_has_not_changed_is_not_told_again() -> None:
    rig = Rig()
    worker = await start(rig)
    rig.kafka.send(receipt(BOTH))
    await rig.settle(worker)
    rig.kafka.send(receipt(BOTH))
    await rig.settle(worker)
    assert len(facts_of(rig, FIRST)) == 1


@scenario
async def test_a_part_that_is_withdrawn_is_taken_back_though_another_worker_told_it() -> None:
    rig = Rig()
    worker = await start(rig)
    rig.kafka.send(receipt(BOTH))
    await rig.settle(worker)
    assert paid_minor(rig, FIRST) == 12_000
    other = await start(rig, "b")
    rig.kafka.send(receipt({SECOND: 24_000}, version=2))
    await rig.settle(other)
    assert paid_minor(rig, FIRST) == 0
    assert paid_minor(rig, SECOND) == 24_000


@pytest.mark.parametrize("step", ["write_facts", "write_verdicts", "write_positions", "holders"])
@pytest.mark.parametrize("where", ["before", "after"])
def test_an_effect_is_told_though_the_worker_dies_in_its_flush(step: str, where: str) -> None:
    async def story() -> None:
        rig = Rig()
        worker = await start(rig)
        rig.kafka.send(*sold(), receipt(BOTH))
        await rig.read(worker)
        setattr(rig.store, where, killed_at(step))
        with pytest.raises(Killed):
            await worker.flush()
        setattr(rig.store, where, lambda method: None)
        again = await start(rig, "b")
        await rig.settle(again)
        assert payment_leg(rig, FIRST) == payment_leg(rig, SECOND) == "met"

    asyncio.run(story())


@scenario
async def test_a_worker_that_lost_the_case_cannot_undo_what_its_heir_told() -> None:
    rig = Rig()
    worker = await start(rig)
    rig.kafka.send(*sold(), receipt(BOTH))
    await rig.settle(worker)
    assert payment_leg(rig, FIRST) == "met"
    late = [row for row in rig.store.facts_of([FIRST])[FIRST] if b"allocation.set" in row.raw]
    heir = await start(rig, "b")
    rig.kafka.send(receipt({SECOND: 24_000}, version=2))
    await rig.settle(heir)
    rig.kafka.send(*[records.decode(row.raw) for row in late])
    await rig.settle(heir)
    assert payment_leg(rig, FIRST) == "waiting"


@scenario
async def test_invoice_is_not_settled_by_an_effect_that_an_outsider_made_up() -> None:
    rig = Rig()
    worker = await start(rig)
    rig.kafka.send(*sold(), receipt(BOTH))
    await rig.settle(worker)
    (told,) = [row.raw for row in rig.store.facts_of([FIRST])[FIRST] if b"allocation.set" in row.raw]
    forged = told.replace(b'"amount_minor":12000', b'"amount_minor":99000')
    assert forged != told
    rig.kafka.append("raw.canonical", FIRST.encode(), forged)
    await rig.settle(worker)
    assert paid_minor(rig, FIRST) == 12_000
    (letter,) = rig.store.letters.values()
    assert (letter.failure_class, letter.original) == ("policy", forged)
    assert letter.reason.startswith("allocation.set is tieout's own word")


def test_files_say_the_same_as_the_stream() -> None:
    lines = [records.encode(event) for event in (*sold(), receipt(BOTH))]
    verdicts = {
        verdict["correlation_id"]: verdict for verdict in map(msgspec.json.decode, reconcile(lines, load(None)))
    }
    legs = [hop["state"] for key in BOTH for hop in verdicts[key]["hops"] if hop["name"] == "invoice_to_payment"]
    assert legs == ["met", "met"] and set(verdicts) == {RECEIPT, *BOTH}


def test_files_read_in_many_runs_say_the_same() -> None:
    lines = [records.encode(event) for event in (*sold(), receipt(BOTH))]
    assert list(reconcile(lines, load(None), run_bytes=1)) == list(reconcile(lines[::-1], load(None)))


UNDER_ERP = "invoice:acme-us:erp:90001"


def under_an_alias() -> list[Event]:
    """The ledger books under its own number; somebody knows which invoice that is."""
    booked = changed(document("posting", 1), correlationid=UNDER_ERP)
    data = {"entity": "acme-us", "document_id": "link-1", "alias": UNDER_ERP}
    link = records.make("case.linked", id="ipaas:link-1", source="ipaas/acme", subject="link-1", time=START, correlationid=FIRST, data=data)  # fmt: skip
    return [document("invoice", 1), booked, link]


def posting_leg(rig: Rig, key: str) -> str:
    return next(str(hop["state"]) for hop in rig.store.verdicts()[key]["hops"] if hop["name"] == "invoice_to_posting")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (2, 0, 1)])
def test_what_came_in_under_an_alias_ties_out_where_it_belongs_whatever_came_first(order: tuple[int, ...]) -> None:
    async def story() -> None:
        rig = Rig(partitions=4)
        worker = await start(rig)
        events = under_an_alias()
        for index in order:
            rig.kafka.send(events[index])
            await rig.settle(worker)
        assert posting_leg(rig, FIRST) == "met"
        assert rig.store.verdicts()[UNDER_ERP]["outcome"] == "ok"

    asyncio.run(story())


@pytest.mark.parametrize("step", ["write_facts", "write_verdicts", "write_positions", "holders"])
def test_what_an_alias_sends_on_arrives_though_the_worker_dies_in_its_flush(step: str) -> None:
    async def story() -> None:
        rig = Rig(partitions=4)
        worker = await start(rig)
        rig.kafka.send(*under_an_alias())
        await rig.read(worker)
        await worker.flush()
        await rig.read(worker)  # the alias hears that it is one
        rig.store.before = killed_at(step)
        with pytest.raises(Killed):
            await worker.flush()
        rig.store.before = lambda method: None
        again = await start(rig, "b")
        await rig.settle(again)
        assert posting_leg(rig, FIRST) == "met"

    asyncio.run(story())


@scenario
async def test_a_fact_that_comes_to_an_alias_later_is_sent_on_alone() -> None:
    rig = Rig()
    worker = await start(rig)
    rig.kafka.send(*under_an_alias())
    await rig.settle(worker)
    before = len(rig.kafka.published)
    paid = changed(document("payment", 1), correlationid=UNDER_ERP)
    rig.kafka.send(paid)
    await rig.settle(worker)
    sent = [message for message in rig.kafka.published[before:] if message.key == FIRST.encode()]
    assert [message.topic for message in sent] == ["payments"]
    assert payment_leg(rig, FIRST) == "met"


def test_files_know_aliases_too() -> None:
    verdicts = {
        verdict["correlation_id"]: verdict
        for verdict in map(msgspec.json.decode, reconcile(map(records.encode, under_an_alias()), load(None)))
    }
    assert [hop["state"] for hop in verdicts[FIRST]["hops"] if hop["name"] == "invoice_to_posting"] == ["met"]
    assert verdicts[UNDER_ERP]["outcome"] == "ok"
