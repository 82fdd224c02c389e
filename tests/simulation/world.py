"""A small world of invoices and what is sent about them: written as JSON, without any code of ours.

- A case is an invoice with its posting, payments, applications, reversal and void, each of which may be missing, wrong,
  doubled, contradicted by another content at its version, or replaced by a higher version.
- Every record is sent to a canonical topic or to `raw.canonical`, some of them again: unchanged, or with another envelope,
  another order of fields and an unknown field, which say the same. Some are written into the store by a bulk writer
  instead (`BULK`), who then says `case.touched`.
- In some worlds transfers settle several invoices: a receipt is a case of its own, whose payment names what it pays, and may
  be corrected by a higher version that names others. Nobody sends what comes of that in the invoices' cases.
- In some worlds a feed puts marks (heartbeats) on its raw partitions, and is complete up to its last mark alone.
- `rubbish` holds the bytes of every record that must become a dead letter, and of nothing else; no two are equal.
- Money is USD, every amount has five digits: where two contents contradict each other, the smaller text is the smaller
  number (matching judges the smaller text).
"""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
END = START + timedelta(days=120)  # every deadline has passed
DUE_DATE = "2026-04-01"
RAW = "raw.canonical"
BULK = "bulk"  # no topic: into the store
HEARTBEAT_S = 60
TOPICS = {
    "invoice.issued": "invoices",
    "invoice.voided": "invoices",
    "posting.recorded": "postings",
    "posting.reversed": "postings",
    "cash.applied": "postings",
    "payment.received": "payments",
}

Data = dict[str, Any]


class Record(NamedTuple):
    """To be appended to `topic` at `at_s`; `partition` None: where its key belongs."""

    at_s: float
    topic: str
    key: bytes
    value: bytes
    partition: int | None = None


class World(NamedTuple):
    records: list[Record]
    rubbish: frozenset[bytes]
    facts_per_case: int
    is_marked: bool
    policy: str


def make(rng: Random, partitions: int, lasts_s: float) -> World:
    facts_per_case = rng.choice((2_000, 2_000, 2_000, 3, 5))
    records: list[Record] = []
    invoices = rng.randint(4, 14)
    stories = [_story(rng, number) for number in range(invoices)]
    if rng.random() < 0.5:
        stories += [_transfer(rng, number, invoices) for number in range(rng.randint(1, 3))]
    for story in stories:
        begins_s = rng.uniform(0, lasts_s * 0.7)
        for event in story:
            records.extend(_deliveries(rng, event, begins_s, lasts_s, partitions))
    rubbish = [_rubbish(rng, serial, lasts_s, partitions) for serial in range(rng.randint(0, 5))]
    records.extend(rubbish)
    records.sort(key=lambda record: record.at_s)
    is_marked = rng.random() < 0.3
    policy = f"[limits]\nfacts_per_case = {facts_per_case}\n"
    if is_marked:
        policy += f"[feeds.erp]\nsources = ['canonical']\nheartbeat_s = {HEARTBEAT_S}\n"
    return World(records, frozenset(record.value for record in rubbish), facts_per_case, is_marked, policy)


# What happens in a case


def _story(rng: Random, number: int) -> Iterator[Data]:
    total = rng.randint(20_000, 90_000)
    told = _event_maker(rng, number)
    if rng.random() < 0.93:
        yield from _invoices(rng, told, total)
    if rng.random() < 0.85:
        yield from _postings(rng, told, total if rng.random() < 0.85 else total + 111)
    if rng.random() < 0.7:
        paid = total if rng.random() < 0.75 else rng.choice((total - 5_000, total + 5_000))
        yield told("payment.received", "p1", {"amount_minor": paid})
        if rng.random() < 0.1:
            yield told("payment.received", "p2", {"amount_minor": rng.choice((total, 10_000))})
    if rng.random() < 0.6:
        applied = total if rng.random() < 0.75 else total - 7_000
        yield told("cash.applied", "a1", {"amount_minor": applied, "from_kind": "payment"})
    if rng.random() < 0.12:
        yield told("invoice.voided", "i1", {"reason": "billed in error"}, "void")


def _invoices(rng: Random, told: Callable[..., Data], total: int) -> Iterator[Data]:
    def invoice(amount: int, **version: int) -> Data:
        terms = {"direction": "sales", "total_minor": amount, "tax_minor": 0, "due_date": DUE_DATE}
        return told("invoice.issued", "i1", terms | version)

    chance = rng.random()
    if chance < 0.7:
        yield invoice(total)
    elif chance < 0.85:  # corrected: the higher version holds, whichever comes first
        yield invoice(total + 222, version=1)
        yield invoice(total, version=2)
    else:  # contradicted
        yield invoice(total, version=1)
        yield invoice(total + 333, version=1)


def _postings(rng: Random, told: Callable[..., Data], total: int) -> Iterator[Data]:
    yield told("posting.recorded", "j1", _entry(total))
    chance = rng.random()
    if chance < 0.1:  # booked twice
        yield told("posting.recorded", "j2", _entry(total))
    elif chance < 0.3:  # reversed, and booked anew or not
        yield told("posting.reversed", "j1r", _entry(-total) | {"reverses": "j1"})
        if chance < 0.22:
            yield told("posting.recorded", "j3", _entry(total))


def _entry(amount: int) -> Data:
    lines = [
        {"role": role, "amount_minor": sign * amount, "base_minor": sign * amount}
        for role, sign in (("receivable", 1), ("revenue", -1))
    ]
    kinds = {"ledger": "main", "document_type": "invoice", "posting_kind": "document", "base_currency": "USD"}
    return kinds | {"lines": lines}


def _transfer(rng: Random, number: int, invoices: int) -> Iterator[Data]:
    """A payment of several invoices; one of those that it names may not exist."""
    told = _event_maker(rng, number, "receipt:acme-us:bank")
    for version in range(1, rng.choice((1, 2, 3)) + 1):
        named = rng.sample(range(invoices + 1), rng.randint(1, 4))
        parts = [(f"invoice:acme-us:billing:{target}", rng.randint(10_000, 30_000)) for target in named]
        rest = rng.choice((0, 0, 0, 5_000, -5_000))
        yield told("payment.received", "t1", {
            "amount_minor": sum(amount for _, amount in parts) + rest, "version": version,
            "allocations": [{"target": target, "amount_minor": amount} for target, amount in parts],
        })  # fmt: skip


def _event_maker(rng: Random, number: int, of: str = "invoice:acme-us:billing") -> Callable[..., Data]:
    key = f"{of}:{number}"

    def told(event_type: str, document: str, data: Data, suffix: str = "") -> Data:
        at = START + timedelta(seconds=rng.randint(0, 300))
        if "reverses" in data:
            data = data | {"reverses": f"{number}-{data['reverses']}"}
        common = {"entity": "acme-us", "document_id": f"{number}-{document}", "customer": {"sold_to": "C-1"}}
        currency = {} if event_type == "invoice.voided" else {"currency": "USD"}
        return {
            "specversion": "1.0", "id": f"{number}-{document}{suffix}", "source": "billing/acme", "type": event_type,
            "subject": f"INV-{number}", "time": f"{at:%Y-%m-%dT%H:%M:%SZ}",
            "dataschema": f"urn:tieout:{event_type}:1", "correlationid": key, "data": common | currency | data,
        }  # fmt: skip

    return told


def touched(key: bytes, serial: int) -> bytes:
    """A bulk writer's word that he has written facts of this case."""
    return json.dumps({
        "specversion": "1.0", "id": f"touched:{serial}", "source": "backfill", "type": "case.touched", "subject": "bulk",
        "time": f"{START:%Y-%m-%dT%H:%M:%SZ}", "dataschema": "urn:tieout:case.touched:1", "correlationid": key.decode(),
        "data": {"entity": "acme-us", "document_id": f"bulk-{serial}"},
    }).encode()  # fmt: skip


# How it is sent


def _deliveries(rng: Random, event: Data, begins_s: float, lasts_s: float, partitions: int) -> Iterator[Record]:
    times = rng.choice((1, 1, 1, 2, 3))
    for time in range(times):
        at_s = min(lasts_s, begins_s + rng.expovariate(1 / (lasts_s * 0.12)))
        said = event if time == 0 or rng.random() < 0.4 else _in_other_words(rng, event)
        yield _sent(rng, said, at_s, partitions)


def _in_other_words(rng: Random, event: Data) -> Data:
    """The same fact in another envelope: what is not content may differ, and so may the order of fields."""
    data = dict(reversed(event["data"].items())) | {"x_delivery": rng.randint(1, 9)}
    moved = event["time"].replace(":00Z", ":01Z")
    trace = {"traceparent": f"00-{rng.getrandbits(124) + 1:032x}-{rng.getrandbits(60) + 1:016x}-01"}
    return event | trace | {"data": data, "time": moved, "source": rng.choice(("billing/acme", "billing/extract"))}


def _sent(rng: Random, event: Data, at_s: float, partitions: int) -> Record:
    value = json.dumps(event, separators=(",", ":")).encode()
    if rng.random() < 0.05:
        return Record(at_s, BULK, event["correlationid"].encode(), value)
    if rng.random() < 0.4:
        return Record(at_s, RAW, b"any", value, rng.randrange(partitions))
    return Record(at_s, TOPICS[event["type"]], event["correlationid"].encode(), value)


def _rubbish(rng: Random, serial: int, lasts_s: float, partitions: int) -> Record:
    event = _event_maker(rng, 900 + serial)("payment.received", "p1", {"amount_minor": 10_000})
    key = event["correlationid"].encode()
    topic, made = rng.choice(RUBBISH)
    value = made(event, serial)
    if made is _under_another_key:
        key = b"invoice:acme-us:billing:0"
    return Record(rng.uniform(0, lasts_s), topic, key, value, rng.randrange(partitions) if topic == RAW else None)


def _under_another_key(event: Data, serial: int) -> bytes:
    return json.dumps(event).encode()


def _no_json(event: Data, serial: int) -> bytes:
    return b'{"cut off %d \xff' % serial


def _unknown_type(event: Data, serial: int) -> bytes:
    return json.dumps(event | {"type": "payment.imagined"}).encode()


def _unknown_version(event: Data, serial: int) -> bytes:
    return json.dumps(event | {"dataschema": "urn:tieout:payment.received:77"}).encode()


def _no_currency(event: Data, serial: int) -> bytes:
    return json.dumps(event | {"data": event["data"] | {"currency": "XXQ"}}).encode()


def _from_the_future(event: Data, serial: int) -> bytes:
    return json.dumps(event | {"time": "2093-01-01T00:00:00Z"}).encode()


def _said_twice(event: Data, serial: int) -> bytes:
    return json.dumps(event).encode()[:-1] + b',"subject":"other"}'


RUBBISH: tuple[tuple[str, Callable[[Data, int], bytes]], ...] = (
    ("payments", _under_another_key),
    ("payments", _no_json),
    ("controls", _no_json),
    ("payments", _unknown_type),
    ("payments", _unknown_version),
    (RAW, _no_json),
    (RAW, _no_currency),
    (RAW, _from_the_future),
    (RAW, _said_twice),
)
