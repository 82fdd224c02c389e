"""Kafka record <-> event, byte-stable: encode(decode(encode(event))) == encode(event).

- A record's value is one line of compact JSON, its key the case key, in the topic named by the event's stream.
- Envelope first, in the models' order; unknown fields follow and are kept; times are UTC with Z.
- `decode` is strict: pydantic, and whatever the fast twin refuses. `admit` is the door for bytes that others wrote: it
  also refuses a field given twice. What passed it is never checked again.
- `make` is the door for an adapter's values: the fast twin alone where that accepts them at first sight, otherwise
  `decode`, in whose words they are refused. What it gives has an event's attributes and is written by `encode`.
"""

from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from pydantic import TypeAdapter, ValidationError

from canonical import structs
from canonical.contracts import dataschema
from canonical.events import EVENTS, CanonicalEvent, Event, format_time
from canonical.plain import MAX_RECORD_BYTES
from canonical.structs import RecordError

__all__ = ["MAX_RECORD_BYTES", "Record", "RecordError", "admit", "decode", "encode", "make", "record", "schema"]

_adapter: TypeAdapter[Event] = TypeAdapter(CanonicalEvent)


class Record(NamedTuple):
    """What is produced to Kafka."""

    topic: str
    key: bytes
    value: bytes


def make(event_type: str, *, id: str, source: str, subject: str, time: datetime, correlationid: str, data: dict[str, Any], traceparent: str | None = None) -> Event:  # fmt: skip
    """An event from an adapter's values; fields that are None are left out. Raises RecordError."""
    envelope = {
        "specversion": "1.0", "id": id, "source": source, "type": event_type, "subject": subject,
        "time": time, "dataschema": dataschema(event_type), "correlationid": correlationid,
        "traceparent": traceparent, "data": data,
    }  # fmt: skip
    event = structs.plain(msgspec.json.encode(envelope))
    if event is not None:
        return event
    return decode(msgspec.json.encode(_without_none(envelope | {"time": format_time(time)})))


def decode(raw: bytes) -> Event:
    """One record to an event. Raises RecordError with the field and what is wrong with it."""
    if len(raw) > MAX_RECORD_BYTES:
        raise RecordError(f"record of {len(raw)} bytes, limit {MAX_RECORD_BYTES}")
    try:
        event = _adapter.validate_json(raw)
    except ValidationError as error:
        raise RecordError(_explain(error)) from None
    structs.decode(raw)  # refuses what pydantic's parser lets through (NaN, Infinity), and contracts not accepted
    return event


def admit(raw: bytes) -> Event:
    """`decode` for bytes that others wrote: parsers disagree about which of two equal names holds, so neither does.

    Raises RecordError.
    """
    event = decode(raw)
    structs.check_names(raw)
    return event


def encode(event: Event) -> bytes:
    if isinstance(event, Event):
        return event.model_dump_json(exclude_unset=True).encode()
    return structs.encode(event)


def record(event: Event) -> Record:
    return Record(event.stream, event.correlationid.encode(), encode(event))


def schema(event_type: str | None = None) -> dict[str, Any]:
    """JSON Schema (2020-12) of every event, or of one type. Raises KeyError for an unknown type."""
    described = _adapter if event_type is None else TypeAdapter(EVENTS[event_type])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tieout canonical event",
    } | described.json_schema()


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [_without_none(item) for item in value]
    return value


def _explain(error: ValidationError) -> str:
    shown = error.errors(include_url=False, include_input=False)[:3]
    return "; ".join(f"{'.'.join(str(part) for part in item['loc'][1:]) or 'record'}: {item['msg']}" for item in shown)
