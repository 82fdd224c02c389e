"""From deliveries to verdicts without Kafka or a store: what the company tests share."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from canonical import structs
from canonical.structs import RecordError
from company.business import Delivery, simulate
from company.faults import FaultRates
from company.truth import Truth
from matching.case import Case
from matching.judge import judge
from matching.policy import load
from matching.verdict import encode

START = datetime(2026, 1, 5, tzinfo=UTC)
LONG_AFTER = timedelta(days=200)  # every deadline has passed, every record arrived
POLICY = load()


class Ledger:
    """All cases, as one worker would hold them."""

    def __init__(self) -> None:
        self.cases: dict[str, Case] = {}
        self.refused = 0

    def take(self, body: bytes) -> None:
        try:
            event = structs.decode(body)
        except RecordError:
            self.refused += 1
            return
        case = self.cases.get(event.correlationid)
        if case is None:
            case = self.cases[event.correlationid] = Case(event.correlationid)
        case.add(event)

    def verdicts(self, as_of: datetime) -> Iterator[bytes]:
        for case in self.cases.values():
            yield encode(judge(case, POLICY, as_of))


def lived(seed: int, cases: int, days: float = 60, faults: FaultRates | None = None) -> tuple[list[Delivery], Truth]:
    """A company's whole life in memory."""
    truth = Truth()
    end = START + timedelta(days=days)
    return list(simulate(seed, cases, START, end, faults or FaultRates(), truth)), truth


def ledger_of(deliveries: Iterable[Delivery]) -> Ledger:
    ledger = Ledger()
    for delivery in deliveries:
        ledger.take(delivery.body)
    return ledger
