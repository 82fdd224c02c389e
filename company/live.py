"""The company as it lives now, for `tieout demo`: what happened in the last weeks at once, then new cases for ever.

- History is drawn day by day from the seed and the calendar, so a second start tells the same history again (the same
  facts, which change nothing) and adds the days since. What of it is still on its way arrives when its time comes.
- New cases run at `company.pace.LIVE`: posted and paid within seconds to a minute. Their numbers follow the clock, so
  two starts never give one number to two invoices.
- `now` is the caller's clock, read once. `deliver_at` says when to send a record; what lies in the past is sent at once.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from random import Random

from company.business import Company, Delivery, Road, TruthSink, moments
from company.customers import Customers
from company.faults import LIVING, FaultRates
from company.pace import LIVE
from company.truth import CaseTruth, DeadLetterTruth

HISTORY_DAYS = 45
HISTORY_CASES_A_DAY = 48
RECORDS_A_CASE = 4
_CUSTOMERS = 400
_DAY_NUMBERS = 1_000  # of document numbers for the history of one day
_LIVE_NUMBERS_FROM = 1_000_000


class _Untold:
    """Nobody asked for the truth."""

    def add(self, entry: CaseTruth | DeadLetterTruth) -> None:
        pass


def live(
    seed: int,
    now: datetime,
    rate_per_s: float,
    history_days: int = HISTORY_DAYS,
    faults: FaultRates | None = None,
    truth: TruthSink | None = None,
) -> Iterator[Delivery]:
    """Deliveries in order, without an end: about `rate_per_s` records a second after `now` (aware, UTC).

    Raises ValueError for a rate that is not positive.
    """
    if rate_per_s <= 0:
        raise ValueError(f"a rate of {rate_per_s} records a second is no life; give one above 0")
    company = Company(seed, Customers(seed, _CUSTOMERS), faults or LIVING, truth or _Untold())
    road = Road()
    yield from _history(seed, company, road, now, history_days)
    cases_per_s = rate_per_s / RECORDS_A_CASE
    serial = first_serial(now, cases_per_s)
    rng = Random(f"{seed}:live:{serial}")
    at = now
    while True:
        at += timedelta(seconds=rng.expovariate(cases_per_s))
        road.put(company.booked_before(at))
        yield from road.until(at)
        road.put(company.case(rng, at, serial, LIVE))
        serial += 1


def _history(seed: int, company: Company, road: Road, now: datetime, days: int) -> Iterator[Delivery]:
    midnight = datetime.combine(now.date(), time.min, UTC)
    for back in range(days, -1, -1):
        day = midnight - timedelta(days=back)
        rng = Random(f"{seed}:{day:%Y-%m-%d}")
        first = day.timetuple().tm_yday * _DAY_NUMBERS
        for number, at in enumerate(moments(rng, HISTORY_CASES_A_DAY, day, day + timedelta(days=1))):
            if at >= now:
                break
            road.put(company.booked_before(at))
            yield from road.until(at)
            road.put(company.case(rng, at, first + number))
    yield from road.until(now)


def first_serial(now: datetime, cases_per_s: float) -> int:
    """Numbers ahead of any that a company of this rate has given since the year began."""
    seconds = int((now - datetime(now.year, 1, 1, tzinfo=UTC)).total_seconds())
    return _LIVE_NUMBERS_FROM + seconds * (int(cases_per_s * 1.5) + 1)
