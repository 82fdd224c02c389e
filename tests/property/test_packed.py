"""A case that was packed comes back as it was, whatever its facts are, and whatever case its kind's dictionary was made of."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.events import EVENTS
from canonical.records import encode
from matching.case import Case
from streams.memory import MORE_RAWS, Entry, Packed
from tests.property.test_every_event import SOME, facts_of
from tests.simulation.shell import START, document

_moments = st.none() | st.datetimes(datetime(1990, 1, 1), datetime(2099, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))
_breaks = st.none() | st.frozensets(st.tuples(st.sampled_from(("amount", "tax")), st.text("0123456789abcdef", min_size=16, max_size=16)))  # fmt: skip
_layouts = st.sampled_from((bytes, lambda raw: raw.replace(b"{", b"{\n ", 1), lambda raw: b" " + raw + b"\r\n"))


@st.composite
def entries(draw: st.DrawFn, event_type: str) -> Entry:
    facts = draw(facts_of(event_type))
    entry = Entry(Case(facts[0].correlationid))
    for fact in facts:
        entry.add(fact, draw(_layouts)(encode(fact)))
    entry.case.forgotten = draw(st.integers(0, 3))
    entry.first_seen, entry.next_deadline = draw(_moments), draw(_moments)
    entry.digest = draw(st.integers(0, 2**64 - 1))
    entry.told_breaks = draw(_breaks)
    return entry


def said(entry: Entry) -> tuple[object, ...]:
    case = entry.case
    state = (entry.first_seen, entry.digest, entry.next_deadline, entry.told_breaks, entry.is_open, entry.dirty)
    return (
        *state,
        case.key,
        case.count,
        case.forgotten,
        case.is_claimed,
        case.facts(),
        case.conflicts(),
        case.everything(),
    )


@pytest.mark.parametrize("event_type", sorted(EVENTS))
@SOME
@given(st.data())
def test_what_was_packed_comes_back_as_it_was(event_type: str, data: st.DataObject) -> None:
    packed = Packed(4)
    first, second = data.draw(entries(event_type)), data.draw(entries(event_type))
    before = {entry.case.key: said(entry) for entry in (first, second)}
    for entry in (first, second):  # one kind or two; one key or two
        packed.put(entry.case.key, entry)
    for key, state in before.items():
        found = packed.take(key, 2_000)
        assert found is not None and said(found) == state
        assert packed.take(key, 2_000) is None


def test_no_more_are_kept_than_were_asked_for_and_the_oldest_go_first() -> None:
    packed = Packed(10)
    for number in range(100):
        packed.put(f"invoice:acme-us:billing:{number}", Entry(Case(f"invoice:acme-us:billing:{number}")))
        assert len(packed) <= 10
    assert packed.take("invoice:acme-us:billing:99", 9) is not None
    assert packed.take("invoice:acme-us:billing:80", 9) is None


def test_a_case_over_its_limit_is_not_kept_and_neither_is_any_where_none_shall_be() -> None:
    entry = Entry(Case("invoice:acme-us:billing:1"))
    Packed(0).put(entry.case.key, entry)
    entry.case.is_over_limit = True
    packed = Packed(10)
    packed.put(entry.case.key, entry)
    assert len(packed) == 0


def test_times_keep_their_microseconds() -> None:
    entry = Entry(Case("invoice:acme-us:billing:1"))
    entry.next_deadline = datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=UTC) + timedelta(days=1)
    packed = Packed(10)
    packed.put(entry.case.key, entry)
    found = packed.take(entry.case.key, 9)
    assert found is not None and found.next_deadline == entry.next_deadline


def test_of_a_fact_that_is_told_again_and_again_a_few_records_are_kept() -> None:
    entry = Entry(Case("invoice:acme-us:billing:1"))
    for seconds in range(100):  # each delivery an earlier one than all before it, which therefore holds
        event = document("invoice", 1, START - timedelta(seconds=seconds))
        assert entry.add(event, encode(event))
        assert 1 <= len(entry.raws) <= 2 * entry.case.count + MORE_RAWS
    packed = Packed(2)
    packed.put(entry.case.key, entry)
    found = packed.take(entry.case.key, 2_000)
    assert found is not None and said(found) == said(entry)
