"""The stream itself: reproducible, in order, whole, and its damaged records refused for the right reason."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise, takewhile
from pathlib import Path
from types import SimpleNamespace

import msgspec

from canonical import records, structs
from canonical.dead_letters import DeadLetter
from canonical.events import Event
from canonical.money import convert, round_minor
from canonical.structs import RecordError
from company import malformed
from company.business import Delivery, simulate
from company.catalogue import ENTITIES
from company.compare import differences
from company.faults import LIVING, FaultRates
from company.live import live
from company.truth import CaseTruth, DeadLetterTruth, Truth, TruthFile, read
from sources.registry import SOURCES, map_record
from streams.batch import reconcile
from streams.intake import intake
from tests.simulation.books_of_truth import LONG_AFTER, POLICY, START, lived

NOW = datetime(2026, 3, 11, 10, 30, tzinfo=UTC)


def test_the_same_seed_lives_the_same_life() -> None:
    first, truth = lived(8, 500)
    second, again = lived(8, 500)
    assert first == second
    assert truth.cases == again.cases
    assert first != lived(9, 500)[0]


def test_records_arrive_in_order_and_none_is_lost() -> None:
    deliveries, truth = lived(2, 2_000, faults=FaultRates.none())
    assert all(one.deliver_at <= other.deliver_at for one, other in pairwise(deliveries))
    assert {delivery.key.decode() for delivery in deliveries} == set(truth.cases)
    assert len({delivery.body for delivery in deliveries}) == len(deliveries)


def test_every_whole_record_passes_the_door_and_every_damaged_one_is_refused_for_its_reason() -> None:
    deliveries, truth = lived(4, 3_000, faults=replace(LIVING, malformed=0.3))
    damaged = {letter.digest: letter for letter in truth.dead_letters}
    refused: Counter[str] = Counter()
    for delivery in deliveries:
        letter = damaged.get(malformed.digest(delivery.body))
        mapped = map_record(delivery.source, delivery.body, None)
        if letter is None:
            assert not isinstance(mapped, DeadLetter), (mapped, delivery.body)
            written = records.encode(records.admit(delivery.body))
            assert msgspec.json.decode(written) == msgspec.json.decode(delivery.body)
        else:
            assert isinstance(mapped, DeadLetter), (letter.malformed, delivery.body)
            assert mapped.failure == letter.failure, (letter.malformed, mapped)
            refused[letter.malformed] += 1
    assert refused == truth.dead_letters_by_class()
    assert set(refused) == set(malformed.WAYS)


def test_intake_lets_every_whole_record_in_and_refuses_those_dated_years_ahead() -> None:
    deliveries, truth = lived(13, 400, faults=FaultRates(clock_ahead=0.2))
    damaged = {letter.digest for letter in truth.dead_letters}
    assert truth.dead_letters_by_class()["clock_years_ahead"] > 40
    for delivery in deliveries:
        arrived_ms = int(delivery.deliver_at.timestamp() * 1000)
        raw = SimpleNamespace(topic=f"raw.{delivery.source}", value=delivery.body, timestamp=arrived_ms)
        is_refused = isinstance(intake(raw, timedelta(days=1), None), DeadLetter)
        assert is_refused == (malformed.digest(delivery.body) in damaged), delivery


def test_the_key_is_the_one_its_source_gives() -> None:
    deliveries, _ = lived(4, 100, faults=FaultRates.none())
    assert all(SOURCES[delivery.source].key(delivery.body) == delivery.key for delivery in deliveries)


def test_every_posting_balances_and_base_amounts_are_those_of_the_printed_rate() -> None:
    deliveries, _ = lived(6, 2_000, faults=FaultRates.none())
    rates, checked = {}, Counter()
    for event in (msgspec.json.decode(delivery.body) for delivery in deliveries):
        data = event["data"]
        if event["type"] == "invoice.issued":
            rates[event["correlationid"]] = data
            assert sum(line["amount_minor"] for line in data["lines"]) + data["tax_minor"] == data["total_minor"]
        elif event["type"] == "posting.recorded":
            assert sum(line["base_minor"] for line in data["lines"]) == 0
            assert sum(line.get("amount_minor", 0) for line in data["lines"]) == 0
            invoice = rates[event["correlationid"]]
            receivable = next(line["base_minor"] for line in data["lines"] if line["role"] == "receivable")
            assert receivable == _base(invoice), invoice
            checked[data["entity"], "rate" in invoice] += 1
    assert {entity for entity, _ in checked} == {entity.name for entity in ENTITIES}
    assert {is_foreign for _, is_foreign in checked} == {True, False}


def test_a_million_cases_are_told_only_as_far_as_somebody_reads() -> None:
    truth = Truth()
    company = simulate(1, 1_000_000, START, START + timedelta(days=365), FaultRates(), truth)
    read_so_far = [next(company) for _ in range(5_000)]
    begun = [case for case in truth.cases.values() if case.known_from <= read_so_far[-1].deliver_at]
    assert len(truth.cases) - len(begun) <= 100, "cases were drawn ahead of their time"
    assert len(truth.cases) < 5_000


def test_truth_is_kept_beside_the_stream_and_read_back(tmp_path: Path) -> None:
    end, path = START + timedelta(days=20), tmp_path / "truth.jsonl"
    memory = Truth()
    list(simulate(3, 300, START, end, FaultRates(malformed=0.1), memory))
    with TruthFile(path) as file:
        list(simulate(3, 300, START, end, FaultRates(malformed=0.1), file))
    entries = list(read(path))
    assert [e for e in entries if isinstance(e, CaseTruth)] == list(memory.cases.values())
    assert [e for e in entries if isinstance(e, DeadLetterTruth)] == memory.dead_letters


def test_batch_reconciliation_of_the_whole_stream_says_the_truth() -> None:
    deliveries, truth = lived(12, 800, 20)
    as_of = START + timedelta(days=20) + LONG_AFTER
    refused = []
    verdicts = reconcile([d.body for d in deliveries], POLICY, as_of, lambda *letter: refused.append(letter))
    assert differences(truth.cases.values(), verdicts, as_of) == []
    assert len(refused) == len(truth.dead_letters)


def test_a_company_to_watch_shows_its_past_at_once_and_new_cases_within_a_minute() -> None:
    truth = Truth()
    shown = list(takewhile(lambda d: d.deliver_at <= NOW + timedelta(minutes=2), live(7, NOW, 20, truth=truth)))
    assert all(one.deliver_at <= other.deliver_at for one, other in pairwise(shown))
    past = [delivery for delivery in shown if delivery.deliver_at <= NOW]
    assert 5_000 < len(past) < 12_000
    outcomes = Counter(e.outcome for case in truth.cases.values() if (e := case.at(NOW)))
    assert min(outcomes["break"], outcomes["pending"], outcomes["ok"]) > 50
    minute = [delivery for delivery in shown if NOW < delivery.deliver_at <= NOW + timedelta(minutes=1)]
    types = Counter(event.type for event in events(minute))
    assert min(types[name] for name in ("invoice.issued", "posting.recorded", "payment.received", "cash.applied")) > 30
    assert 0.5 < len(shown[len(past) :]) / (20 * 120) < 1.5


def test_a_second_start_tells_the_same_past_and_gives_no_number_twice() -> None:
    told: dict[tuple[str, str], Event] = {}
    starts = []
    for now in (NOW, NOW + timedelta(minutes=7)):
        upto = now + timedelta(minutes=5)
        shown = list(
            takewhile(lambda delivery, upto=upto: delivery.deliver_at <= upto, live(7, now, 10, history_days=3))
        )
        for event in events(shown):
            assert told.setdefault((event.correlationid, event.id), event) == event
        starts.append({e.correlationid for e in events(shown) if e.time > now and e.type == "invoice.issued"})
    first, second = starts
    assert len(first) > 300
    assert len(second) > 300
    assert not first & second


def events(deliveries: Iterable[Delivery]) -> Iterator[Event]:
    for delivery in deliveries:
        with suppress(RecordError):
            yield structs.decode(delivery.body)


def _base(invoice: dict) -> int:
    if "rate" not in invoice:
        return invoice["total_minor"]
    per_base = invoice["rate_direction"] == "document_per_base"
    rate = Decimal(invoice["rate"])
    total = convert(invoice["total_minor"], invoice["currency"], invoice["base_currency"], rate, per_base=per_base)
    return round_minor(total)
