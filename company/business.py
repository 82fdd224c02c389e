"""A living SaaS business as a stream of records, with faults at set rates and the truth beside it.

- `simulate` gives deliveries in the order in which they arrive, and adds to `truth` what each case is. Equal arguments
  give equal bytes: every draw comes from `random.Random(seed)`.
- It streams: a case is told when its first moment comes, and only what is still on its way is held in memory. A million
  cases need a `TruthFile` instead of `Truth`.
- Records are of source `canonical`: the body is a canonical event, the key its case.
- Between `start` and `end` cases begin; what follows from them may arrive weeks later.
"""

import heapq
from bisect import bisect
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate, count
from random import Random
from typing import NamedTuple, Protocol

from company import charges, credits, downgrades, group, malformed, misplaced, orders, stories, subscriptions, transfers
from company.bills import draw_bill
from company.charges import Charge
from company.customers import Customer, Customers
from company.facts import Fact
from company.faults import (
    BATCH_FAULTS,
    GROUP_FAULTS,
    GROUP_TURNS,
    INVOICES,
    MONEY_FAULTS,
    MONEY_TURNS,
    ORDERS,
    PAYOUTS,
    FaultRates,
)
from company.invoices import InvoiceLife
from company.ledger import Batch
from company.orders import OrderLife
from company.pace import REAL, Pace
from company.payouts import Payout
from company.transfers import Transfer
from company.truth import CaseTruth, DeadLetterTruth

SOURCE = "canonical"
_ORDERS = 0.12  # of cases
_STRIDE = 7_919  # walks through the customers so that each is billed about once a round
# Of a day's business, by hour in UTC: the entities' working hours laid over one another.
_HOURS = (3, 4, 4, 4, 4, 5, 6, 8, 9, 9, 8, 7, 7, 8, 9, 9, 9, 8, 7, 6, 5, 4, 3, 3)
_WEEKEND = 0.35
_OF_GROUP = frozenset((*GROUP_FAULTS, *GROUP_TURNS))
_OF_MONEY = frozenset((*MONEY_FAULTS, *MONEY_TURNS))
_SUBSCRIBED = subscriptions.STORIES | downgrades.STORIES
_FITS = stories.FITS | credits.FITS | charges.FITS | transfers.FITS
_FIRST_OF_MONTH = 2.5  # billing runs


Life = InvoiceLife | OrderLife | Charge | Transfer
Spoil = Callable[[Random, malformed.Envelope], tuple[str, bytes]]


class Delivery(NamedTuple):
    """One record on its way into topic `raw.<source>`."""

    deliver_at: datetime
    source: str
    key: bytes
    body: bytes


class TruthSink(Protocol):
    def add(self, entry: CaseTruth | DeadLetterTruth) -> None: ...


def simulate(
    seed: int, cases: int, start: datetime, end: datetime, faults: FaultRates, truth: TruthSink
) -> Iterator[Delivery]:
    """All deliveries of `cases` cases that begin between `start` and `end` (aware, UTC), in order of arrival."""
    company = Company(seed, Customers(seed, customers_for(cases, start, end)), faults, truth)
    rng = Random(f"{seed}:business")
    road = Road()
    for serial, at in enumerate(moments(rng, cases, start, end), 1):
        road.put(company.booked_before(at))
        yield from road.until(at)
        road.put(company.case(rng, at, serial))
    road.put(company.booked_before(end + timedelta(days=1)))
    yield from road.rest()


def customers_for(cases: int, start: datetime, end: datetime) -> int:
    """So many that each is billed about once a month."""
    months = max(1, round((end - start) / timedelta(days=30)))
    return round(cases * (1 - _ORDERS) / months)


class Road:
    """What is on its way, in order of arrival."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, bytes, bytes]] = []
        self._order = count()

    def put(self, deliveries: list[tuple[datetime, bytes, bytes]]) -> None:
        for at, key, body in deliveries:
            heapq.heappush(self._heap, (at, next(self._order), key, body))

    def until(self, at: datetime) -> Iterator[Delivery]:
        while self._heap and self._heap[0][0] <= at:
            yield self._next()

    def rest(self) -> Iterator[Delivery]:
        while self._heap:
            yield self._next()

    def _next(self) -> Delivery:
        at, _, key, body = heapq.heappop(self._heap)
        return Delivery(at, SOURCE, key, body)


class Company:
    """Draws one case after another. `case` adds its truth and gives its deliveries: (deliver_at, key, body)."""

    def __init__(self, seed: int, customers: Customers, faults: FaultRates, truth: TruthSink) -> None:
        self._customers = customers
        self._faults = faults
        self._truth = truth
        self._invoice_faults = _Draw(faults, INVOICES)
        self._batch_faults = _Draw(faults, BATCH_FAULTS)
        self._batches: list[Batch] = []
        self._payout_faults = _Draw(faults, PAYOUTS)
        self._payouts: list[tuple[Payout, dict[str, str]]] = []  # with what was done to their charges
        self._seed = seed
        self._order_faults = _Draw(faults, ORDERS)

    def case(self, rng: Random, at: datetime, serial: int, pace: Pace = REAL) -> list[tuple[datetime, bytes, bytes]]:
        if rng.random() < _ORDERS:
            fault = self._order_faults(rng)
            if fault in _SUBSCRIBED:
                return self._subscribed(rng, pace, at, serial, fault)
            order = OrderLife(rng, pace, self._customers[serial * _STRIDE], at, serial)
            orders.STORIES[fault](order)
            return self._sent(rng, order, fault)
        fault = self._invoice_faults(rng)
        customer = self._customer(fault, serial)
        if fault in _OF_MONEY:
            return self._charged(rng, Charge(rng, pace, customer, at, serial), fault)
        bill = draw_bill(rng, customer, at, is_free=fault == "free")
        invoice = InvoiceLife(rng, pace, bill, at, serial, other=self._other(customer, serial))
        second = self._second(rng, fault, customer)
        if fault in credits.STORIES:
            return self._corrected(rng, invoice, fault)
        if fault in _OF_GROUP:
            return self._between_companies(rng, invoice, fault)
        if fault in misplaced.STORIES:
            other = misplaced.STORIES[fault](invoice)
            return self._sent(rng, other, fault) + self._sent(rng, invoice, fault)
        if fault in transfers.STORIES:
            transfer = transfers.STORIES[fault](invoice)
            lives: tuple[Life, ...] = (transfer, transfer.other, invoice)
            return [sent for life in lives for sent in self._sent(rng, life, fault)]
        if fault == "batched":
            self._join_batch(invoice)
        stories.tell(invoice, fault, second)
        return self._sent(rng, invoice, f"{fault}+{second}" if second else fault)

    def _subscribed(self, rng: Random, pace: Pace, at: datetime, serial: int, fault: str) -> list[tuple[datetime, bytes, bytes]]:  # fmt: skip
        """The order's truth comes after its bills': it depends on when those are delivered."""
        customer = self._customers[serial * _STRIDE]
        order = subscriptions.Subscription(rng, pace, customer, at, serial, self._other(customer, serial))
        _SUBSCRIBED[fault](order)
        sent: list[tuple[datetime, bytes, bytes]] = []
        for name, bill in order.bills.items():
            sent += self._sent(rng, bill, fault if name == "proration" else "none")
        for memo in order.credits:
            sent += self._sent(rng, memo, fault)
        return sent + self._sent(rng, order, fault)

    def _between_companies(self, rng: Random, sold: InvoiceLife, fault: str) -> list[tuple[datetime, bytes, bytes]]:
        bought = group.sell(sold, fault)
        sent = self._sent(rng, sold, fault)
        if bought is not None:
            sent += self._sent(rng, bought, fault)
        self._truth.add(group.pair(sold, bought, fault))
        return sent

    def _corrected(self, rng: Random, original: InvoiceLife, fault: str) -> list[tuple[datetime, bytes, bytes]]:
        """The original's truth comes last: it depends on when what the others tell it is delivered."""
        sent: list[tuple[datetime, bytes, bytes]] = []
        for life in (*credits.tell(original, fault), original):
            sent += self._sent(rng, life, fault)
        return sent

    def _join_batch(self, invoice: InvoiceLife) -> None:
        batch = next((batch for batch in self._batches if batch.takes(invoice)), None)
        if batch is None:
            batch = Batch(invoice)
            self._batches.append(batch)
        batch.members.append(invoice)
        invoice.batch_key = batch.key

    def _charged(self, rng: Random, charge: Charge, fault: str) -> list[tuple[datetime, bytes, bytes]]:
        """Its truth is added with its payout's, which lists it."""
        charges.STORIES[fault](charge)
        gathering = next((each for each in self._payouts if each[0].takes(charge)), None)
        if gathering is None:
            gathering = (Payout(charge), {})
            self._payouts.append(gathering)
        gathering[0].charges.append(charge)
        gathering[1][charge.key] = "none" if fault == "charged" else fault
        self._detour(rng, charge)
        return self._delivered(rng, charge)

    def _paid_out_before(self, at: datetime) -> list[tuple[datetime, bytes, bytes]]:
        sent: list[tuple[datetime, bytes, bytes]] = []
        for payout, faults in [each for each in self._payouts if each[0].closes_at <= at]:
            self._payouts.remove((payout, faults))
            rng = Random(f"{self._seed}:{payout.key}")
            fault = self._payout_faults(rng)
            if not payout.can_have(fault):
                fault = "clean"
            payout.tell(rng, fault)
            for truth in payout.truths("none" if fault == "clean" else fault):
                self._truth.add(truth)
            for charge in payout.charges:
                self._truth.add(charge.truth(faults[charge.key]))
            for key, facts in (
                (payout.key, payout.facts),
                (payout.statement_key, payout.bank),
                *((charge.key, charge.told_lines) for charge in payout.charges),
            ):
                for fact in facts:
                    sent += self._records(rng, fact, key)
        return sent

    def booked_before(self, at: datetime) -> list[tuple[datetime, bytes, bytes]]:
        """The journals of the batches that have gathered by then, and the payouts; their truth is added."""
        sent = self._paid_out_before(at)
        for batch in [batch for batch in self._batches if batch.closes_at <= at]:
            self._batches.remove(batch)
            rng = Random(f"{self._seed}:{batch.key}")
            fault = self._batch_faults(rng)
            batch.tell(rng, fault)
            self._truth.add(batch.truth("none" if fault == "clean" else fault))
            for fact in batch.facts:
                sent += self._records(rng, fact, batch.key)
        return sent

    def _customer(self, fault: str, serial: int) -> Customer:
        fits = _FITS.get(fault)
        number = serial * _STRIDE
        while fits is not None and not fits(self._customers[number]):
            number += 1
        return self._customers[number]

    def _second(self, rng: Random, fault: str, customer: Customer) -> str | None:
        beside = stories.second_faults(fault, customer)
        return rng.choice(beside) if beside and rng.random() < self._faults.coincidence else None

    def _other(self, customer: Customer, serial: int) -> Customer:
        other = self._customers[serial * _STRIDE + 1]
        return other if other.id != customer.id else self._customers[serial * _STRIDE + 2]

    def _sent(self, rng: Random, life: Life, fault: str) -> list[tuple[datetime, bytes, bytes]]:
        self._detour(rng, life)
        self._truth.add(life.truth("none" if fault == "clean" else fault))
        return self._delivered(rng, life)

    def _detour(self, rng: Random, life: Life) -> None:
        for fact in life.facts:
            if rng.random() < self._faults.out_of_order:
                fact.seen_at += timedelta(seconds=rng.randint(*life.pace.detour))

    def _delivered(self, rng: Random, life: Life) -> list[tuple[datetime, bytes, bytes]]:
        faults = self._faults
        sent = []
        for fact in life.facts:
            sent += self._records(rng, fact, life.key)
        for rate, spoil in ((faults.malformed, malformed.spoil), (faults.clock_ahead, malformed.ahead)):
            if rng.random() < rate:
                sent.append(self._spoilt(rng, rng.choice(life.facts), _stray_key(life.key), spoil))
        return sent

    def _records(self, rng: Random, fact: Fact, key: str) -> list[tuple[datetime, bytes, bytes]]:
        if not fact.is_delivered:
            return [self._spoilt(rng, fact, key)]
        home, body = key.encode(), fact.body(key)
        if rng.random() < self._faults.delivered_twice:
            again_at = fact.seen_at + timedelta(seconds=rng.randint(1, 90_000))
            return [(fact.seen_at, home, body), (again_at, home, body)]
        return [(fact.seen_at, home, body)]

    def _spoilt(
        self, rng: Random, fact: Fact, key: str, spoil: Spoil = malformed.spoil
    ) -> tuple[datetime, bytes, bytes]:
        way, body = spoil(rng, fact.envelope(key))
        self._truth.add(DeadLetterTruth(fact.seen_at, way, malformed.FAILURE[way], malformed.digest(body)))
        return fact.seen_at, key.encode(), body


class _Draw:
    """Which fault a case has; `clean` for most."""

    def __init__(self, faults: FaultRates, names: tuple[str, ...]) -> None:
        self._names = (*names, "clean")
        self._upto = list(accumulate(getattr(faults, name) for name in names))

    def __call__(self, rng: Random) -> str:
        return self._names[bisect(self._upto, rng.random())]


def _stray_key(key: str) -> str:
    """A case that nothing else belongs to: were the spoilt record accepted, it would show."""
    return f"{key}-spoilt"


def moments(rng: Random, number: int, start: datetime, end: datetime) -> Iterator[datetime]:
    """`number` moments between start and end in order, in the rhythm of days, weeks and billing runs."""
    hours = max(1, -(-(end - start) // timedelta(hours=1)))
    upto = list(accumulate(_weight(start + timedelta(hours=hour)) for hour in range(hours)))
    done = 0
    for hour, weight in enumerate(upto):
        due = round(number * weight / upto[-1])
        first = start + timedelta(hours=hour)
        span_ms = int(min(timedelta(hours=1), end - first) / timedelta(milliseconds=1))
        for offset_ms in sorted(rng.randrange(max(1, span_ms)) for _ in range(due - done)):
            yield first + timedelta(milliseconds=offset_ms)
        done = due


def _weight(at: datetime) -> float:
    at = at.astimezone(UTC)
    weight = _HOURS[at.hour] * (_WEEKEND if at.weekday() >= 5 else 1.0)
    return weight * _FIRST_OF_MONTH if at.day == 1 else weight
