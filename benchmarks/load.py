"""A known load for the benchmarks: three-way cases, shuffled within a window, with a known share of faults.

Per 1,000 cases: 10 without a posting, 10 without a payment, 10 posted with a wrong amount, 5 invoices delivered twice.
Records are canonical events of about 450 bytes, produced into the canonical topics as intake would. A `Shape` gives cases of
more facts, each paid in as many parts as it takes, or another share of wrong amounts.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec
from confluent_kafka import Producer

from streams.publisher import producer_config

WRONG_BY_MINOR = 500


class Sent(NamedTuple):
    """What was produced, and what must come out: cases by outcome as of the time they are judged."""

    events: int
    cases: int
    wrong_amount: int


class Shape(NamedTuple):
    """`facts` a case that lacks nothing, three at the least; `wrong_per_mille` of the cases, 980 at the most."""

    facts: int = 3
    wrong_per_mille: int = 10


class Message(NamedTuple):
    topic: str
    key: str
    value: bytes


USUAL = Shape()


def messages(cases: int, seed: int = 1, prefix: str = "B", at: datetime | None = None, shape: Shape = USUAL) -> Iterator[Message]:  # fmt: skip
    """Events in a shuffled order; parts of a case lie up to about 3,000 events apart. `at` None: stamped when yielded."""
    order = random.Random(seed)
    window: list[tuple[int, str, int]] = []
    for number in range(cases):
        window.extend((number, *part) for part in _parts(number, shape))
        while len(window) > 3_000:
            yield _message(prefix, *_taken(window, order), at, shape)
    while window:
        yield _message(prefix, *_taken(window, order), at, shape)


def expected(cases: int) -> Sent:
    events = sum(len(_parts(number, USUAL)) for number in range(cases))
    return Sent(events, cases, sum(_wrong(number, USUAL) for number in range(cases)))


def truth(cases: int, prefix: str = "B", shape: Shape = USUAL) -> dict[str, tuple[str, int]]:
    """How each case must end: (outcome, what was posted beyond what was invoiced, in minor units), by its key."""
    ends = {}
    for number in range(cases):
        outcome = "break" if _wrong(number, shape) else "pending" if number % 1_000 < 20 else "ok"
        ends[_key(prefix, number)] = (outcome, WRONG_BY_MINOR if _wrong(number, shape) else 0)
    return ends


def produce(bootstrap: str, found: Iterator[Message]) -> int:
    """Produces as fast as the broker takes it; returns how many."""
    live = {"queue.buffering.max.messages": 5_000}  # as a day of trade would: neighbours are appended together
    producer = Producer({**producer_config(bootstrap, "benchmark"), **live})
    count = 0
    for message in found:
        while True:
            try:
                producer.produce(message.topic, message.value, message.key)
                break
            except BufferError:
                producer.poll(0.05)
        count += 1
        if count % 1_000 == 0:
            producer.poll(0)
    producer.flush(60)
    return count


def _taken(window: list[tuple[int, str, int]], order: random.Random) -> tuple[int, str, int]:
    index = order.randrange(len(window))
    window[index], window[-1] = window[-1], window[index]
    return window.pop()


def _wrong(number: int, shape: Shape) -> bool:
    return number % 1_000 in range(20, 20 + shape.wrong_per_mille)


def _parts(number: int, shape: Shape) -> list[tuple[str, int]]:
    """(topic, number of the part), in the order in which they happen."""
    place = number % 1_000
    paid = [("payments", part) for part in range(shape.facts - 2)]
    if place < 10:
        return [("invoices", 0), *paid]
    if place < 20:
        return [("invoices", 0), ("postings", 0)]
    again = [("invoices", 0)] if 30 <= place < 35 else []
    return [("invoices", 0), ("postings", 0), *paid, *again]


def _document(prefix: str, number: int) -> str:
    return f"{prefix}-{number:08d}"


def _key(prefix: str, number: int) -> str:
    return f"invoice:acme-us:billing:{_document(prefix, number)}"


def _message(prefix: str, number: int, topic: str, part: int, at: datetime | None, shape: Shape) -> Message:
    document, key = _document(prefix, number), _key(prefix, number)
    own = document if part == 0 else f"{document}-{part}"
    moment = at or datetime.now(UTC)
    amount = 10_000 + number % 5_000
    data = {"entity": "acme-us", "document_id": f"{topic[:2]}-{own}", "number": document, "customer": {"sold_to": f"C-{number % 977}"}, "currency": "USD"}  # fmt: skip
    if topic == "invoices":
        kind, source = "invoice.issued", "billing/main"
        data |= {
            "total_minor": amount,
            "tax_minor": 0,
            "direction": "sales",
            "due_date": (moment + timedelta(days=30)).date(),
        }
    elif topic == "postings":
        kind, source = "posting.recorded", "erp/main"
        posted = amount + (WRONG_BY_MINOR if _wrong(number, shape) else 0)
        data |= {
            "ledger": "main", "document_type": "invoice", "posting_kind": "document", "base_currency": "USD",
            "lines": [{"role": "receivable", "amount_minor": posted}, {"role": "revenue", "amount_minor": -posted}],
        }  # fmt: skip
    else:
        kind, source = "payment.received", "bank/main"
        data |= {"amount_minor": _paid_minor(amount, part, shape.facts - 2), "method": "card"}
    event = {
        "specversion": "1.0", "id": f"{source}:{own}:{kind}", "source": source, "type": kind, "subject": document,
        "time": moment.isoformat().replace("+00:00", "Z"), "dataschema": f"urn:tieout:{kind}:1", "correlationid": key, "data": data,
    }  # fmt: skip
    return Message(topic, key, msgspec.json.encode(event))


def _paid_minor(amount_minor: int, part: int, parts: int) -> int:
    """Equal parts; the first has what is left over."""
    return amount_minor // parts + (amount_minor % parts if part == 0 else 0)
