"""By when each leg is due: as policy says it, and resolved for one entity and ledger.

- A hop has its general terms. `entities.<entity>` below it overrides any of them for one entity, and for postings
  `ledgers.<ledger>` for one ledger and `entities.<entity>.ledgers.<ledger>` for that ledger of that entity; of several
  that speak to one point the nearest holds: entity and ledger, then entity, then ledger.
- `calendar` names one of [calendars]; "elapsed" is time as it passes. Targets run on it: see `matching.calendars`.
- Resolved terms are read several times a verdict, so they are plain structs and worked out once.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, model_validator

from matching.calendars import BatchRuns, BusinessTime, Calendar, Days, is_zone
from matching.verdict import HopName

MAX_ENTITIES = 10_000
MAX_MONTHS = 1_000
_DAY = timedelta(days=1)
_NEVER = datetime.max.replace(tzinfo=UTC)
ELAPSED = "elapsed"
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
Seconds = Annotated[int, Field(ge=0, le=10 * 366 * 86_400)]
DayCount = Annotated[int, Field(ge=0, le=3_660)]
LocalTime = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
DayOfYear = Annotated[str, Field(pattern=r"^(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


# Calendars


class CalendarSection(Section):
    zone: str
    holidays: tuple[date, ...] = ()
    yearly_holidays: tuple[DayOfYear, ...] = ()

    @model_validator(mode="after")
    def _has_its_zone(self) -> "CalendarSection":
        if not is_zone(self.zone):
            raise ValueError(f"zone: there is no time zone {self.zone!r}")
        return self

    def counted(self, weekdays: tuple[str, ...]) -> Days:
        """The given days of the week, less the holidays."""
        yearly = frozenset((int(day[:2]), int(day[3:])) for day in self.yearly_holidays)
        return Days(frozenset(map(WEEKDAYS.index, weekdays)), frozenset(self.holidays), yearly)


class BusinessCalendar(CalendarSection):
    """Time that runs in the business hours of working days; all day where no hours are given."""

    kind: Literal["business"]
    weekend: Annotated[tuple[Weekday, ...], Field(max_length=6)]
    opens: LocalTime | None = None
    closes: LocalTime | None = None

    @model_validator(mode="after")
    def _opens_before_it_closes(self) -> "BusinessCalendar":
        if self.opens is not None and self.closes is not None and self.opens >= self.closes:
            raise ValueError("closes: must be later than opens")
        return self

    def named(self, name: str) -> Calendar:
        days = self.counted(tuple(day for day in WEEKDAYS if day not in self.weekend))
        return BusinessTime(name, self.zone, days, _local(self.opens), _local(self.closes))


class BatchCalendar(CalendarSection):
    """Runs that fill a ledger: the local times at which they start, on which days, and how long one takes."""

    kind: Literal["batch"]
    runs: Annotated[tuple[LocalTime, ...], Field(min_length=1, max_length=288)]
    days: Annotated[tuple[Weekday, ...], Field(min_length=1)]
    takes_s: Annotated[int, Field(ge=0, le=7 * 86_400)]

    def named(self, name: str) -> Calendar:
        runs = [time.fromisoformat(run) for run in self.runs]
        return BatchRuns(name, self.zone, self.counted(self.days), runs, self.takes_s)


CalendarTerms = Annotated[BusinessCalendar | BatchCalendar, Field(discriminator="kind")]


def _local(stated: str | None) -> time | None:
    return None if stated is None else time.fromisoformat(stated)


# Hops, as written


class HopOverride(Section):
    missing_after_s: Seconds | None = None
    late_is_break: bool | None = None
    awaits: str | None = None
    calendar: str | None = None


class ClockedOverride(HopOverride):
    target_s: Seconds | None = None


class PostingOverride(ClockedOverride):
    ledgers: dict[str, ClockedOverride] = {}


class DueDateOverride(HopOverride):
    terms_days: DayCount | None = None


class HopTerms(Section):
    missing_after_s: Seconds
    late_is_break: bool
    awaits: str
    calendar: str


class ClockedHop(HopTerms):
    """A leg timed from the event that starts it."""

    target_s: Seconds
    entities: dict[str, ClockedOverride] = {}


class PostingHop(HopTerms):
    """A leg into a ledger, timed from the event that starts it."""

    target_s: Seconds
    ledgers: dict[str, ClockedOverride] = {}
    entities: dict[str, PostingOverride] = {}


class DueDateHop(HopTerms):
    """A leg due at the end of a calendar day."""

    terms_days: DayCount
    entities: dict[str, DueDateOverride] = {}


class Hops(Section):
    quote_to_subscription: ClockedHop
    subscription_to_invoice: ClockedHop
    invoice_to_posting: PostingHop
    invoice_to_payment: DueDateHop
    payment_to_application: ClockedHop
    payment_to_payout: ClockedHop
    payout_to_bank: ClockedHop


def stated(hops: Hops) -> Iterator[tuple[tuple[str, ...], HopTerms | HopOverride]]:
    """Every place below [hops] that states terms, general ones and overrides, with its path."""
    for name, hop in hops:
        yield (name,), hop
        for ledger, own in getattr(hop, "ledgers", {}).items():
            yield (name, "ledgers", ledger), own
        for entity, override in hop.entities.items():
            yield (name, "entities", entity), override
            for ledger, own in getattr(override, "ledgers", {}).items():
                yield (name, "entities", entity, "ledgers", ledger), own


# Hops, resolved


class Leg(msgspec.Struct, frozen=True):
    """The terms of a hop as they hold for one entity and ledger. `terms_days` is for documents that state no due date."""

    name: HopName
    target_s: int
    target: timedelta
    missing_after_s: int
    missing_after: timedelta
    late_is_break: bool
    awaits: str
    calendar: Calendar | None
    terms_days: int

    def due_at(self, start: datetime) -> datetime:
        """When a leg that begins at `start` has had its target."""
        return start + self.target if self.calendar is None else self.calendar.after(start, self.target_s)

    def missing_at(self, start: datetime) -> datetime:
        """When it counts as missing; for a leg with a due date `start` is the end of that day."""
        return start + self.missing_after if self.calendar is None else self.calendar.after(start, self.missing_after_s)


class EntityHops(msgspec.Struct, frozen=True):
    """The hops as they hold for one entity; `ledgers` has those of the ledgers that have terms of their own."""

    quote_to_subscription: Leg
    subscription_to_invoice: Leg
    invoice_to_posting: Leg
    invoice_to_payment: Leg
    payment_to_application: Leg
    payment_to_payout: Leg
    payout_to_bank: Leg
    ledgers: dict[str, "EntityHops"]

    def of_ledger(self, ledger: str) -> "EntityHops":
        return self.ledgers.get(ledger, self)


class EntityTerms(dict[str, EntityHops]):
    """By entity, each worked out when first asked for."""

    def __init__(self, hops: Hops, calendars: Mapping[str, CalendarTerms]) -> None:
        self._hops = hops
        self.calendars: dict[str, Calendar | None] = {name: terms.named(name) for name, terms in calendars.items()}
        self.calendars[ELAPSED] = None

    def __missing__(self, entity: str) -> EntityHops:
        ledgers = {ledger: self._resolved(entity, ledger, {}) for ledger in self._ledgers(entity)}
        resolved = self._resolved(entity, None, ledgers)
        if len(self) < MAX_ENTITIES:  # entities come from records: what they name is not kept without end
            self[entity] = resolved
        return resolved

    def _ledgers(self, entity: str) -> set[str]:
        hop = self._hops.invoice_to_posting
        override = hop.entities.get(entity)
        return set(hop.ledgers) | set(override.ledgers if override is not None else ())

    def _resolved(self, entity: str, ledger: str | None, ledgers: dict[str, EntityHops]) -> EntityHops:
        legs: dict[str, Any] = {name: self._leg(name, hop, entity, ledger) for name, hop in self._hops}
        return EntityHops(**legs, ledgers=ledgers)

    def _leg(self, name: Any, hop: HopTerms, entity: str, ledger: str | None) -> Leg:
        terms = hop.model_dump(exclude={"entities", "ledgers"})
        for override in overrides(hop, entity, ledger):
            terms |= override.model_dump(exclude={"ledgers"}, exclude_none=True)
        target_s, missing_after_s = terms.get("target_s", 0), terms["missing_after_s"]
        return Leg(
            name, target_s, timedelta(seconds=target_s), missing_after_s, timedelta(seconds=missing_after_s),
            terms["late_is_break"], terms["awaits"], self.calendars[terms["calendar"]], terms.get("terms_days", 0),
        )  # fmt: skip


# The close of a period


class CutoffOverride(Section):
    grace_days: DayCount | None = None
    is_break: bool | None = None
    calendar: str | None = None
    closes_periods: bool | None = None


class Cutoff(Section):
    grace_days: DayCount
    is_break: bool
    calendar: str
    closes_periods: bool
    entities: dict[str, CutoffOverride] = {}


class Close(msgspec.Struct, frozen=True):
    """When an entity's accounting periods (calendar months) close."""

    grace_days: int
    is_break: bool
    calendar: Calendar | None
    closes_periods: bool
    known: dict[tuple[int, int], datetime]

    def closes_at(self, year: int, month: int) -> datetime:
        """The end of the last grace day after a month: of days as they pass in UTC, or of working days of a calendar."""
        known = self.known.get((year, month))
        if known is None:
            known = self._closes_at(year, month)
            if len(self.known) < MAX_MONTHS:
                self.known[year, month] = known
        return known

    def _closes_at(self, year: int, month: int) -> datetime:
        if year >= date.max.year - 20:
            return _NEVER
        day = date(year + month // 12, month % 12 + 1, 1)
        if self.calendar is None:
            return datetime.combine(day, time.min, UTC) + self.grace_days * _DAY
        closes = datetime.combine(day, time.min, self.calendar.zone).astimezone(UTC)
        for _ in range(self.grace_days):
            closes = self.calendar.end_of(day)
            day = closes.astimezone(self.calendar.zone).date()
        return closes


class EntityCloses(dict[str, Close]):
    """By entity, each worked out when first asked for."""

    def __init__(self, cutoff: Cutoff, calendars: Mapping[str, Calendar | None]) -> None:
        self._cutoff, self._calendars = cutoff, calendars

    def __missing__(self, entity: str) -> Close:
        terms = self._cutoff.model_dump(exclude={"entities"})
        override = self._cutoff.entities.get(entity)
        if override is not None:
            terms |= override.model_dump(exclude_none=True)
        calendar = self._calendars[terms["calendar"]]
        found = Close(terms["grace_days"], terms["is_break"], calendar, terms["closes_periods"], {})
        if len(self) < MAX_ENTITIES:
            self[entity] = found
        return found


def overrides(hop: Any, entity: str, ledger: str | None) -> Iterator[HopOverride]:
    """What is laid over the general terms, the nearest last."""
    own = hop.entities.get(entity)
    for below in (getattr(hop, "ledgers", {}).get(ledger), own, getattr(own, "ledgers", {}).get(ledger)):
        if below is not None:
            yield below
