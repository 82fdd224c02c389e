"""Choices between cases (rule E7): what money pays that names nothing, in files and through the shell."""

import asyncio
import contextlib
import random
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from canonical import records
from canonical.events import Event
from matching.policy import load
from streams.batch import reconcile
from streams.worker import Worker
from tests.simulation.shell import START, Killed, Rig, document
from tests.simulation.test_rules import killed_at, scenario, start

POLICY = load(None)
AT_ONCE = load("[identification]\nwait_s = 0")
FIRST, SECOND = "invoice:acme-us:billing:1", "invoice:acme-us:billing:2"
RECEIPT = "receipt:acme-us:bank:py-1"


def money(number: int, amount_minor: int = 12_000, **data: Any) -> Event:
    stated = {
        "entity": "acme-us", "document_id": f"py-{number}", "currency": "USD", "amount_minor": amount_minor,
        "customer": {"payer": "C-1"},
    } | data  # fmt: skip
    return records.make(
        "payment.received", id=f"bank:py-{number}", source="bank/acme", subject=f"py-{number}", time=START,
        correlationid=f"receipt:acme-us:bank:py-{number}", data=stated,
    )  # fmt: skip


def sold(*numbers: int) -> list[Event]:
    return [document(kind, number) for number in numbers for kind in ("invoice", "posting")]


def verdicts(*events: Event, **options: Any) -> dict[str, Any]:
    found = reconcile([records.encode(event) for event in events], POLICY, **options)
    return {verdict["correlation_id"]: verdict for verdict in map(msgspec.json.decode, found)}


def paid(verdict: dict[str, Any]) -> str:
    return next(hop["state"] for hop in verdict["hops"] if hop["name"] == "invoice_to_payment")


def test_files_find_what_money_pays_that_names_it_in_words() -> None:
    found = verdicts(*sold(1, 2), money(1, reference="for INV-2, thank you"))
    assert paid(found["invoice:acme-us:billing:2"]) == "met"
    assert paid(found["invoice:acme-us:billing:1"]) == "waiting"


def test_files_leave_two_identical_invoices_to_a_person() -> None:
    found = verdicts(*sold(1, 2), money(1))
    assert [each["class"] for each in found["receipt:acme-us:bank:py-1"]["breaks"]] == ["ambiguous_match"]
    assert paid(found["invoice:acme-us:billing:1"]) == paid(found["invoice:acme-us:billing:2"]) == "waiting"


def chosen_by(actor: str, target: str, version: int = 1) -> Event:
    return records.make(
        "match.made", id=f"dashboard:{actor}", source="dashboard/acme", subject="py-1", time=START, correlationid=RECEIPT,
        data={
            "entity": "acme-us", "document_id": actor, "actor": actor, "rule": "person", "payment_id": "py-1", "version": version,
            "invoice_ids": [], "allocations": [{"target": target, "amount_minor": 12_000}],
        },
    )  # fmt: skip


def test_a_choice_that_lies_among_the_files_is_kept() -> None:
    found = verdicts(*sold(1, 2), money(1, reference="INV-2"), chosen_by("mary", FIRST))
    assert [paid(found[f"invoice:acme-us:billing:{number}"]) for number in (1, 2)] == ["met", "waiting"]


STATEMENT = "summary:acme-us:bank:DE1/7"
LINE = records.make(
    "bank.line", id="bank:DE1/7/1", source="bank/acme", subject="DE1/7/1", time=START, correlationid=STATEMENT,
    data={
        "entity": "acme-us", "document_id": "DE1/7/1", "account": "DE1", "currency": "USD", "amount_minor": 12_000,
        "reference": "SVWZ+INV-2 with thanks", "statement_id": "DE1/7",
    },
)  # fmt: skip


STATED = records.make(
    "bank.statement", id="bank:DE1/7", source="bank/acme", subject="DE1/7", time=START, correlationid=STATEMENT,
    data={
        "entity": "acme-us", "document_id": "DE1/7", "account": "DE1", "currency": "USD", "opening_minor": 0, "closing_minor": 12_000,
    },
)  # fmt: skip


def test_a_line_of_a_bank_statement_pays_the_invoice_that_it_names() -> None:
    found = verdicts(*sold(1, 2), LINE)
    assert [paid(found[key]) for key in (FIRST, SECOND)] == ["waiting", "met"]
    found = verdicts(*sold(1, 2), LINE, money(1, reference="INV-2"))
    assert [paid(found[key]) for key in (FIRST, SECOND)] == ["waiting", "met"], "the same money, told twice"


def payout(number: int, amount_minor: int = 494_137, **data: Any) -> Event:
    stated = {
        "entity": "acme-us",
        "document_id": f"po_{number}X",
        "currency": "USD",
        "amount_minor": amount_minor,
    } | data
    return records.make(
        "payout.paid", id=f"stripe:po_{number}X:paid", source="stripe/acme", subject=f"po_{number}X", time=START,
        correlationid=f"payout:acme-us:stripe:po_{number}X", data=stated,
    )  # fmt: skip


def changed(event: Event, data: dict[str, Any], **envelope: Any) -> Event:
    """The event, saying something else."""
    return replace(event, data=replace(event.data, **data), **envelope)


def arrival(reference: str = "STRIPE PAYMENTS", amount_minor: int = 494_137) -> Event:
    return changed(LINE, {"reference": reference, "amount_minor": amount_minor})


def arrived(verdict: dict[str, Any]) -> str:
    return next(hop["state"] for hop in verdict["hops"] if hop["name"] == "payout_to_bank")


FIRST_PAYOUT, SECOND_PAYOUT = "payout:acme-us:stripe:po_1X", "payout:acme-us:stripe:po_2X"


def test_a_line_of_a_bank_statement_is_the_payout_of_its_amount() -> None:
    found = verdicts(payout(1), payout(2, 50_000), arrival())
    assert [arrived(found[key]) for key in (FIRST_PAYOUT, SECOND_PAYOUT)] == ["met", "not_expected"]


def test_of_two_payouts_of_one_amount_the_text_says_which_arrived() -> None:
    found = verdicts(payout(1), payout(2), arrival("STRIPE po_2X"))
    assert [arrived(found[key]) for key in (FIRST_PAYOUT, SECOND_PAYOUT)] == ["not_expected", "met"]


def test_two_payouts_of_one_amount_are_left_to_a_person() -> None:
    found = verdicts(payout(1), payout(2), arrival())
    assert [arrived(found[key]) for key in (FIRST_PAYOUT, SECOND_PAYOUT)] == ["not_expected", "not_expected"]
    assert [each["class"] for each in found[STATEMENT]["breaks"]] == ["ambiguous_match"]


def test_a_payout_whose_line_is_known_takes_no_other() -> None:
    stated = {"amount_minor": 494_137, "document_id": "DE1/6/1", "payout_key": FIRST_PAYOUT}
    known = changed(LINE, stated, id="bank:DE1/6/1", subject="DE1/6/1", correlationid="summary:acme-us:bank:DE1/6")
    found = verdicts(payout(1), known, arrival())
    assert found[FIRST_PAYOUT]["outcome"] == verdicts(payout(1))[FIRST_PAYOUT]["outcome"]
    assert arrived(found[FIRST_PAYOUT]) == "met"


def test_choices_in_files_depend_neither_on_order_nor_on_how_many_runs_they_take() -> None:
    events = [*sold(*range(1, 9)), *(money(n, reference=f"INV-{n}") for n in (1, 3, 5)), money(6), money(7, 24_000)]
    expected = verdicts(*events)
    random.Random(7).shuffle(events)
    assert verdicts(*events, run_bytes=1) == expected


# --- Through the shell --------------------------------------------------------------------------------------------------


async def owner(*events: Event, partitions: int = 4, **settings: Any) -> tuple[Rig, Worker]:
    rig = Rig(partitions=partitions, **settings)
    rig.policy = AT_ONCE
    worker = await start(rig)
    rig.kafka.send(*events)
    await rig.settle(worker)
    return rig, worker


async def decided(rig: Rig, worker: Worker) -> None:
    await worker.identify()
    await rig.settle(worker)


def legs(rig: Rig, *keys: str) -> list[str]:
    found = rig.store.verdicts()
    return [paid(found[key]) for key in keys or (FIRST, SECOND)]


def told(rig: Rig, kind: str = "match.made") -> list[Any]:
    return [event for message in rig.kafka.published if message.topic == "decisions" and (event := records.decode(message.value)).type == kind]  # fmt: skip


@scenario
async def test_money_that_names_its_invoice_in_words_settles_it_in_another_partition() -> None:
    rig, worker = await owner(*sold(1, 2), money(1, reference="for INV-2"))
    await decided(rig, worker)
    assert legs(rig) == ["waiting", "met"]
    assert rig.store.verdicts()[RECEIPT]["outcome"] == "ok"


@scenario
async def test_a_choice_is_made_once_and_kept_though_more_is_known_later() -> None:
    rig, worker = await owner(*sold(1), money(1))
    await decided(rig, worker)
    rig.kafka.send(*sold(2), money(1))
    again = await start(rig, "b")
    await rig.settle(again)
    await decided(rig, again)
    assert legs(rig) == ["met", "waiting"]
    assert len(told(rig)) == len(rig.store.matches) == 1


STEPS = ["unidentified", "write_matches", "matches_of", "holders"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("where", ["before", "after"])
def test_a_choice_survives_the_death_of_who_made_it(step: str, where: str) -> None:
    """Whatever the dead one wrote is what is told: two receipts are never given one invoice."""

    async def story() -> None:
        rig, worker = await owner(*sold(1, 2), money(1, reference="INV-2"), money(2, reference="INV-1"))
        setattr(rig.store, where, killed_at(step))
        with pytest.raises(Killed):
            await worker.identify()
        setattr(rig.store, where, lambda method: None)
        written = {row[:3]: row.raw for row in rig.store.matches.values()}
        rig.kafka.send(*sold(3))
        again = await start(rig, "b")
        await rig.settle(again)
        await decided(rig, again)
        assert legs(rig) == ["met", "met"]
        assert {row[:3]: row.raw for row in rig.store.matches.values()}.items() >= written.items(), "chosen anew"
        assert len(rig.store.matches) == 2

    asyncio.run(story())


@scenario
async def test_a_choice_that_was_written_and_not_told_is_told_by_the_next_owner_as_it_was() -> None:
    rig, worker = await owner(*sold(1), money(1))
    rig.store.after = killed_at("write_matches")
    with pytest.raises(Killed):
        await worker.identify()
    rig.store.after = lambda method: None
    rig.kafka.send(*sold(2))  # by now it would be a near tie
    again = await start(rig, "b")
    await rig.settle(again)
    await decided(rig, again)
    assert legs(rig) == ["met", "waiting"] and len(rig.store.matches) == 1


@scenario
async def test_what_is_chosen_and_has_not_come_to_its_invoice_is_not_given_away_again() -> None:
    rig, worker = await owner(*sold(1), money(1))
    await worker.identify()
    rig.kafka.send(money(2))
    await rig.read(worker)
    await worker.flush()  # the second receipt is known; of the first one's choice nobody has read yet
    worker.feeds.adopt(worker.positions.next_offsets)
    await worker.identify()
    await rig.settle(worker)
    assert len(rig.store.matches) == 1


@scenario
async def test_a_worker_that_lost_the_entity_decides_nothing() -> None:
    rig, worker = await owner(*sold(1), money(1))
    await start(rig, "b")
    assert await worker.identify() == 0
    assert not rig.store.matches and not told(rig)


@scenario
async def test_an_entity_is_decided_by_the_worker_that_holds_its_partition_alone() -> None:
    rig, _ = await owner(*sold(1), money(1))
    both = [rig.worker("a"), rig.worker("b")]
    await rig.assign(*both)
    for each in both:
        await rig.read(each)
    for each in both:
        each.positions.changed = True
        await each.flush()
        await each.refresh_progress()
    assert sorted([await each.identify() for each in both]) == [0, 1]


@scenario
async def test_a_near_tie_is_told_once_and_a_persons_choice_ends_it() -> None:
    rig, worker = await owner(*sold(1, 2), money(1))
    for _ in range(3):
        await decided(rig, worker)
    assert len(told(rig, "match.refused")) == 1
    assert [found["class"] for found in rig.store.verdicts()[RECEIPT]["breaks"]] == ["ambiguous_match"]
    rig.kafka.send(chosen_by("mary", SECOND), chosen_by("paul", FIRST, version=2))
    await rig.settle(worker)
    await decided(rig, worker)
    assert legs(rig) == ["waiting", "met"] and rig.store.verdicts()[RECEIPT]["outcome"] == "ok"
    reasons = [c["reason"] for c in rig.store.verdicts()[RECEIPT]["controls"] if c["name"] == "ambiguous_match"]
    assert "the choice of paul was refused: mary had chosen already" in reasons[0]


@scenario
async def test_a_bank_line_that_policy_wants_matched_is_matched_live() -> None:
    rig = Rig(partitions=4)
    rig.policy = load("[identification]\nwait_s = 0\n[expect.bank]\ncounterpart = true")
    worker = await start(rig)
    rig.kafka.send(*sold(1, 2), STATED, LINE)
    await rig.settle(worker)
    rig.clock.advance(days=2)  # until then its counterpart may still come
    await rig.settle(worker)
    await decided(rig, worker)
    assert legs(rig) == ["waiting", "met"]
    assert [choice.data.payment_id for choice in told(rig)] == ["DE1/7/1"]


@scenario
async def test_a_payout_finds_its_bank_line_live() -> None:
    rig = Rig(partitions=4)
    rig.policy = load("[identification]\nwait_s = 0\n[expect.bank]\ncounterpart = true\n[expect.stripe]\nbank = true")
    worker = await start(rig)
    rig.kafka.send(payout(1), payout(2, 50_000), changed(STATED, {"closing_minor": 494_137}), arrival())
    await rig.settle(worker)
    rig.clock.advance(days=2)
    await rig.settle(worker)
    await decided(rig, worker)
    legs_of = {key: msgspec.json.decode(row.raw) for key, row in rig.store.final().items() if key.startswith("payout:")}
    assert [arrived(legs_of[key]) for key in (FIRST_PAYOUT, SECOND_PAYOUT)] == ["met", "waiting"]


@scenario
async def test_money_told_for_another_entity_than_its_case_pays_nothing_and_stops_nobody() -> None:
    rig, worker = await owner(*sold(1), money(1, entity="acme-de"))
    await decided(rig, worker)
    assert not told(rig) and legs(rig, FIRST) == ["waiting"]
    both = [document("invoice", 1, entity="acme-de"), money(1, entity="acme-de")]
    rig, worker = await owner(*both)
    for _ in range(2):
        await decided(rig, worker)
    assert len(told(rig)) == len(rig.store.matches) == 1


@scenario
async def test_money_waits_for_what_may_still_come_in() -> None:
    rig = Rig(partitions=4)
    worker = await start(rig)
    rig.kafka.send(*sold(1), money(1))
    await rig.settle(worker)
    assert await worker.identify() == 0, "decided before wait_s"


@scenario
async def test_an_entity_with_more_open_items_than_the_limit_is_left_alone() -> None:
    _, worker = await owner(*sold(1, 2), money(1, reference="INV-2"), open_items=1)
    assert await worker.identify() == 0


@pytest.mark.parametrize("seed", range(12))
def test_the_stream_chooses_as_files_do_whatever_the_order(seed: int) -> None:
    """Records in any order, some twice, workers that die in between; decided once everything is there."""
    dice = random.Random(seed)
    events = [*sold(*range(1, 9)), *(money(n, reference=f"INV-{n}") for n in (1, 3, 5)), money(6), money(7, 24_000)]
    expected = verdicts(*events)

    async def story() -> Rig:
        rig = Rig(partitions=4)
        rig.policy = AT_ONCE
        worker = await start(rig)
        mixed = [*events, *dice.sample(events, 5)]
        dice.shuffle(mixed)
        for place, event in enumerate(mixed):
            rig.kafka.send(event)
            if dice.random() < 0.2:
                await rig.read(worker)
            if dice.random() < 0.2:
                worker = await start(rig, f"w{place}")
        await rig.settle(worker)
        for _ in range(2):
            setattr(rig.store, dice.choice(["before", "after"]), killed_at(dice.choice(STEPS)))
            with contextlib.suppress(Killed):
                await worker.identify()
                await worker.flush()
            rig.store.before = rig.store.after = lambda method: None
            worker = await start(rig, f"again{_}")
            await rig.settle(worker)
        await decided(rig, worker)
        return rig

    found = asyncio.run(story()).store.verdicts()
    shown = {key: ([b["class"] for b in v["breaks"]], [h["state"] for h in v["hops"]]) for key, v in expected.items()}
    assert {
        key: ([b["class"] for b in v["breaks"]], [h["state"] for h in v["hops"]]) for key, v in found.items()
    } == shown
