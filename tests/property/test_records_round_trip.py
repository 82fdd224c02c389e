"""Kafka record <-> event in both directions: bytes are stable and nothing that was sent is lost."""

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from canonical import records
from tests.property import events


@settings(max_examples=200, deadline=None)
@given(events.records())
def test_an_event_written_and_read_and_written_again_is_the_same_bytes(record: dict[str, Any]) -> None:
    first = records.encode(records.decode(events.encoded(record)))
    assert records.encode(records.decode(first)) == first
    assert b"\n" not in first


@settings(max_examples=100, deadline=None)
@given(events.records())
def test_no_field_is_lost_or_changed_by_reading_and_writing_it(record: dict[str, Any]) -> None:
    written = msgspec.json.decode(records.encode(records.decode(events.encoded(record))))
    sent = msgspec.json.decode(events.encoded(record))
    for times in (sent, written):
        moments = [(times["data"], name) for name in ("recorded_at", "cutoff", "known_until")]
        for place, name in ((times, "time"), *moments):
            if place.get(name) is not None:
                place[name] = msgspec.convert(place[name], type=events.datetime).astimezone(events.UTC)
    assert written == sent


@settings(max_examples=100, deadline=None)
@given(events.records(), st.data())
def test_the_order_of_fields_on_the_wire_does_not_change_the_record(
    record: dict[str, Any], data: st.DataObject
) -> None:
    known = {name: value for name, value in record.items() if not name.startswith("x_") and name != "class"}
    shuffled = dict(data.draw(st.permutations(list(known.items()))))
    assert records.encode(records.decode(events.encoded(shuffled))) == records.encode(
        records.decode(events.encoded(known))
    )


@settings(max_examples=200, deadline=None)
@given(events.spoiled())
def test_whatever_the_door_lets_in_can_be_written_and_read_again(raw: bytes) -> None:
    try:
        event = records.admit(raw)
    except records.RecordError:
        return
    written = records.encode(event)
    assert records.encode(records.admit(written)) == written
