"""Business time and batch runs: never backwards, right across clock changes and year ends, as counted minute by minute."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from matching.calendars import BatchRuns, BusinessTime, Calendar, Days

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia")
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
WORKWEEK = frozenset(range(5))
# Around every change of clocks and year's end there is; Lord Howe changes by half an hour, Apia once skipped a day.
NEAR = (
    datetime(2026, 3, 27, tzinfo=UTC), datetime(2026, 10, 23, tzinfo=UTC), datetime(2026, 3, 6, tzinfo=UTC),
    datetime(2026, 10, 30, tzinfo=UTC), datetime(2026, 10, 2, tzinfo=UTC), datetime(2026, 4, 3, tzinfo=UTC),
    datetime(2026, 12, 30, tzinfo=UTC), datetime(2011, 12, 28, tzinfo=UTC), datetime(2028, 2, 27, tzinfo=UTC),
)  # fmt: skip
moments = st.builds(lambda near, minutes: near + minutes * MINUTE, st.sampled_from(NEAR), st.integers(0, 6 * 1440))
local_times = st.builds(time, st.integers(0, 23), st.sampled_from((0, 1, 30, 59)))
days = st.builds(
    Days,
    st.sets(st.integers(0, 6), min_size=1).map(frozenset),
    st.sets(st.dates(date(2026, 10, 20), date(2026, 11, 3)), max_size=3).map(frozenset),
    st.sets(st.sampled_from(((1, 1), (12, 25), (12, 31), (2, 29))), max_size=2).map(frozenset),
)


@st.composite
def business(draw: st.DrawFn) -> BusinessTime:
    opens, closes = sorted(draw(st.lists(local_times, min_size=2, max_size=2, unique=True)))
    whole = draw(st.booleans())
    return BusinessTime(
        "b", draw(st.sampled_from(ZONES)), draw(days), None if whole else opens, None if whole else closes
    )


batches = st.builds(
    BatchRuns,
    st.just("n"),
    st.sampled_from(ZONES),
    days,
    st.lists(local_times, min_size=1, max_size=4),
    st.integers(0, 7_200),
)
seconds = st.integers(0, 4 * 86_400)


@given(st.one_of(business(), batches), moments, moments, seconds, seconds)
@settings(deadline=None)
def test_who_starts_later_or_has_more_time_is_never_due_earlier(
    calendar: Calendar, one: datetime, other: datetime, less: int, more: int
) -> None:
    first, second = sorted((one, other))
    short, long = sorted((less, more))
    assert first <= calendar.after(first, short) <= calendar.after(second, short)
    assert calendar.after(first, short) <= calendar.after(first, long)


@given(business(), moments, st.integers(0, 1_500))
@settings(deadline=None, max_examples=60)
def test_business_time_is_the_minutes_of_open_hours(calendar: BusinessTime, start: datetime, minutes: int) -> None:
    """Counted minute by minute on the wall clock of the zone, for a week; what is not reached by then is due later."""
    days_, opens, closes = calendar._days, calendar._opens or time.min, calendar._closes
    counted, at = 0, start
    while counted < minutes and at < start + 7 * DAY:
        local = at.astimezone(calendar.zone)
        is_open = opens <= local.time() and (closes is None or local.time() < closes)
        counted += days_.has(local.date()) and is_open and not _is_in_a_clock_change(local)
        at += MINUTE
    due_at = calendar.after(start, minutes * 60)
    if any(
        _is_in_a_clock_change((start + hours * timedelta(hours=1)).astimezone(calendar.zone))
        for hours in range(-3, 171)
    ):
        assert due_at >= start  # an hour that comes twice, or not at all, is the next test's
    elif counted < minutes:
        assert due_at >= at
    else:
        assert due_at == at


def _is_in_a_clock_change(local: datetime) -> bool:
    before, after = local - timedelta(hours=3), local + timedelta(hours=3)
    return before.utcoffset() != after.utcoffset()


@given(batches, moments, seconds)
@settings(deadline=None, max_examples=60)
def test_a_batch_takes_what_was_booked_before_it_starts(calendar: BatchRuns, start: datetime, grace_s: int) -> None:
    """The first run after the start among all runs of a month, written down beforehand."""
    begin = start.astimezone(calendar.zone).date()
    runs = sorted(
        datetime.combine(day, run, calendar.zone).astimezone(UTC)
        for day in (begin + count * DAY for count in range(-2, 40))
        if calendar._days.has(day)
        for run in calendar._runs
    )
    expected = next(run for run in runs if run > start)
    assert calendar.after(start, grace_s) == expected + calendar._takes + timedelta(seconds=grace_s)


def test_a_day_on_which_clocks_change_has_the_hours_that_it_has() -> None:
    berlin = BusinessTime("b", "Europe/Berlin", Days(frozenset(range(7))))
    friday = datetime(2026, 3, 27, 23, tzinfo=UTC)  # midnight there
    assert berlin.after(friday, 47 * 3_600) == datetime(2026, 3, 29, 22, tzinfo=UTC)
    assert berlin.end_of(date(2026, 3, 29)) - berlin.end_of(date(2026, 3, 28)) == timedelta(hours=23)
    assert berlin.end_of(date(2026, 10, 25)) - berlin.end_of(date(2026, 10, 24)) == timedelta(hours=25)


def test_business_hours_over_a_weekend_and_new_year() -> None:
    yearly = frozenset(((1, 1),))
    office = BusinessTime("b", "America/New_York", Days(WORKWEEK, frozenset(), yearly), time(9), time(17))
    thursday = datetime(2026, 12, 31, 16, tzinfo=ZoneInfo("America/New_York"))
    monday = datetime(2027, 1, 4, 10, tzinfo=ZoneInfo("America/New_York"))
    assert office.after(thursday, 2 * 3_600) == monday.astimezone(UTC)
    assert office.after(thursday, 3_600) == thursday.replace(hour=17).astimezone(UTC)
    assert office.end_of(date(2027, 1, 1)) == datetime(2027, 1, 5, tzinfo=ZoneInfo("America/New_York"))


def test_a_run_in_an_hour_that_is_skipped_or_comes_twice_is_one_run() -> None:
    nightly = BatchRuns("n", "Europe/Berlin", Days(frozenset(range(7))), [time(2, 30)], 0)
    assert nightly.after(datetime(2026, 3, 29, 0, tzinfo=UTC), 0) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert nightly.after(datetime(2026, 10, 25, 0, tzinfo=UTC), 0) == first
    assert nightly.after(first, 0) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_a_calendar_that_never_opens_again_is_due_in_the_end() -> None:
    shut = frozenset(date(2026, 1, 1) + count * DAY for count in range(5_000))
    for calendar in (
        BusinessTime("b", "UTC", Days(WORKWEEK, shut)),
        BatchRuns("n", "UTC", Days(WORKWEEK, shut), [time(2)], 0),
    ):
        assert calendar.after(datetime(2026, 1, 1, tzinfo=UTC), 1) >= datetime(2036, 12, 1, tzinfo=UTC)
