"""From deliveries to verdicts without Kafka or a store: what the company tests share."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from random import Random

from canonical import records, structs
from canonical.structs import RecordError
from company.business import Delivery, simulate
from company.compare import Compared, compare
from company.faults import FaultRates
from company.truth import Truth
from matching.case import Case
from matching.effects import as_event, effects, names_others
from matching.judge import judge
from matching.policy import load
from matching.verdict import encode

START = datetime(2026, 1, 5, tzinfo=UTC)
LONG_AFTER = timedelta(days=200)  # every deadline has passed, every record arrived
POLICY = load()


class Ledger:
    """All cases, as one worker would hold them. What one means for another is told when verdicts are asked for."""

    def __init__(self) -> None:
        self.cases: dict[str, Case] = {}
        self.refused = 0
        self._homes: dict[str, Case] = {}  # that have something to tell since
        self._revision = 0

    def take(self, body: bytes) -> None:
        try:
            event = structs.decode(body)
        except RecordError:
            self.refused += 1
            return
        case = self._case(event.correlationid)
        case.add(event)
        if names_others(event, POLICY):
            self._homes[case.key] = case

    def _case(self, key: str) -> Case:
        case = self.cases.get(key)
        if case is None:
            case = self.cases[key] = Case(key)
        return case

    def tell(self) -> None:
        self._revision += 1
        for home in self._homes.values():
            for effect in effects(home, POLICY):
                self._case(effect.target).add(
                    structs.decode(records.encode(as_event(home.key, effect, self._revision)))
                )
        self._homes = {}

    def verdicts(self, as_of: datetime) -> Iterator[bytes]:
        self.tell()
        for case in self.cases.values():
            yield encode(judge(case, POLICY, as_of))


def lived(seed: int, cases: int, days: float = 60, faults: FaultRates | None = None) -> tuple[list[Delivery], Truth]:
    """A company's whole life in memory."""
    truth = Truth()
    end = START + timedelta(days=days)
    return list(simulate(seed, cases, START, end, faults or FaultRates(), truth)), truth


def at_the_end(seed: int, cases: int, days: float, faults: FaultRates | None) -> tuple[Compared, Truth, Ledger]:
    """A company once everything has arrived and every deadline has passed."""
    deliveries, truth = lived(seed, cases, days, faults)
    ledger, as_of = ledger_of(deliveries), START + timedelta(days=days) + LONG_AFTER
    return compare(truth.cases.values(), ledger.verdicts(as_of), as_of), truth, ledger


def in_the_middle(
    seed: int, days: float, faults: FaultRates, spans_days: tuple[int, ...], moments: int
) -> Iterator[tuple[datetime, Compared]]:
    """A company of 400 cases at moments of its life, each within one of the spans, as far as its records have arrived."""
    deliveries, truth = lived(seed, 400, days, faults)
    rng = Random(seed)
    ledger, sent = Ledger(), iter([*deliveries, None])
    delivery = next(sent)
    for as_of in sorted(START + timedelta(days=rng.choice(spans_days) * rng.random()) for _ in range(moments)):
        while delivery is not None and delivery.deliver_at <= as_of:
            ledger.take(delivery.body)
            delivery = next(sent)
        yield as_of, compare(truth.cases.values(), ledger.verdicts(as_of), as_of)


def ledger_of(deliveries: Iterable[Delivery]) -> Ledger:
    ledger = Ledger()
    for delivery in deliveries:
        ledger.take(delivery.body)
    return ledger
