"""An adapter's values become an event by one of two ways, and nobody can tell which: the same refusals, the same bytes."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canonical import records, structs
from canonical.events import EVENTS, parse_time
from tests.property import events
from tests.property.test_structs import CLOSE, RICH_INVOICE

_GIVEN = ("id", "source", "subject", "correlationid", "data")


def made(record: dict[str, Any]) -> Any:
    """The event's bytes, or why it was refused."""
    try:
        values = {name: record[name] for name in _GIVEN} | {"traceparent": record.get("traceparent")}
        event = records.make(record["type"], time=parse_time(record["time"]), **values)
    except structs.RecordError as error:
        return str(error)
    assert (event.type, event.stream) == (record["type"], EVENTS[record["type"]].stream)
    return records.encode(event)


def by_the_model(record: dict[str, Any]) -> Any:
    named = (
        "specversion",
        "id",
        "source",
        "type",
        "subject",
        "time",
        "dataschema",
        "correlationid",
        "traceparent",
        "data",
    )
    envelope = {name: record[name] for name in named if name in record}
    try:
        return records.encode(records.decode(json.dumps(_given(envelope), ensure_ascii=False).encode()))
    except structs.RecordError as error:
        return str(error)


def _given(value: Any) -> Any:
    """Without what is None: not given."""
    if isinstance(value, dict):
        return {name: _given(item) for name, item in value.items() if item is not None}
    return [_given(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("event_type", sorted(EVENTS))
@settings(max_examples=20, deadline=None)
@given(st.data())
def test_every_event_is_written_as_the_model_writes_it(event_type: str, data: st.DataObject) -> None:
    record = data.draw(events.record_of(event_type))
    assert made(record) == by_the_model(record)


@settings(max_examples=300, deadline=None)
@given(events.records())
def test_a_struct_is_written_as_its_event_is(record: dict[str, Any]) -> None:
    known = structs.decode(events.encoded(record))
    assert records.encode(known) == by_the_model(json.loads(structs.encode(known)))
    assert structs.decode(records.encode(known)) == known


@pytest.mark.parametrize("record", [RICH_INVOICE, CLOSE], ids=["invoice", "close"])
@pytest.mark.parametrize("plain", [True, False], ids=["known fields only", "with unknown fields"])
def test_every_wrong_value_is_refused_in_the_same_words(record: dict[str, Any], plain: bool) -> None:
    record = json.loads(json.dumps(record))
    for container, key in [place for place in events.places(record) if place[1] == "x_note" and plain]:
        del container[key]
    given_names = [(record, name) for name in _GIVEN]
    for container, key in given_names + events.places(record["data"]):
        right = container[key]
        for wrong in (value for value in events.WRONG_VALUES if value != "\ud800" and _is_writable(value)):
            container[key] = wrong
            assert made(record) == by_the_model(record), (key, wrong)
        container[key] = right


def _is_writable(value: Any) -> bool:
    """Whether JSON can be made of it here: msgspec writes integers of 64 bits."""
    return type(value) is not int or -(2**63) <= value < 2**64
