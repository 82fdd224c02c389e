"""Intake: raw records of a source become canonical events, or dead letters. Pure apart from its callers.

A record with the header `tieout-heartbeat` is its source's mark that it has sent everything up to here: no event comes of it
(streams.feeds).

A raw topic is named `raw.<source>`; anybody writes it, with any key. What comes out has passed the door
(canonical.records) and is produced by us alone, keyed by case (rule E4).
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from canonical.dead_letters import DeadLetter
from canonical.events import Event
from canonical.records import record
from matching.door import refused
from matching.policy import Policy
from sources.registry import SOURCES, map_record
from streams.ports import Outbound
from streams.times import from_millis
from streams.topics import RAW_PREFIX

HEARTBEAT = "tieout-heartbeat"


def is_heartbeat(headers: Any) -> bool:
    return any(name == HEARTBEAT for name, _ in headers or ())


def intake(raw: Any, future_skew: timedelta, trace: str | None, policy: Policy | None = None) -> tuple[Event, ...] | DeadLetter:  # fmt: skip
    """Events of one raw Kafka record; with a policy, unless that refuses them. Never raises for what the record holds."""
    source = raw.topic.removeprefix(RAW_PREFIX)
    if source not in SOURCES:
        return DeadLetter("mapping", f"no adapter for source {source!r}")
    mapped = map_record(source, raw.value or b"", trace)
    if isinstance(mapped, DeadLetter):
        return mapped
    letter = dated_ahead(mapped, from_millis(raw.timestamp) + future_skew)
    return letter or (refused(mapped, policy) if policy is not None else None) or mapped


def dated_ahead(events: tuple[Event, ...], latest: datetime) -> DeadLetter | None:
    """The dead letter of a record one of whose events happened, or was booked, after `latest`."""
    for event in events:
        told = max(event.time, event.data.recorded_at or event.time)
        if told > latest:
            return DeadLetter("mapping", f"event dated {told.isoformat()}, after its arrival: a clock is wrong")
    return None


def outbound(events: tuple[Event, ...]) -> Iterator[Outbound]:
    for event in events:
        topic, key, value = record(event)
        yield Outbound(topic, key, value)


def traceparent(headers: Any) -> str | None:
    for name, value in headers or ():
        if name == "traceparent" and value:
            return str(value.decode("ascii", "replace"))
    return None
