"""Which version of a document stands.

- Of two versions of one document the higher `version` holds; where none is stated the later one, an amendment before an
  original of the same moment.
- Two contents at one version are a conflict: both ids are reported and the smaller content is judged.
- A document named by another's `replaces` no longer stands; neither does one that was voided at its version or later.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from canonical.events import Event
from matching.case import content

_NEVER = datetime(1, 1, 1, tzinfo=UTC)


def moment(event: Event) -> datetime:
    """When the system booked it, where it says so."""
    return event.data.recorded_at or event.time


def standing(events: Sequence[Event], conflicts: list[str]) -> Sequence[Event]:
    """One event a document, in order of time; ids of contradicting versions are appended to `conflicts`."""
    if len(events) < 2:
        return events
    latest: dict[tuple[str | None, str], Event] = {}
    for event in events:
        document = _document(event)
        known = latest.get(document)
        latest[document] = event if known is None else _later(known, event, conflicts)
    return [event for event in events if latest[_document(event)] is event]


def _document(event: Event) -> tuple[str | None, str]:
    """Ledgers kept side by side number one entry alike: each has its own."""
    return getattr(event.data, "ledger", None), event.data.document_id


def _later(known: Event, event: Event, conflicts: list[str]) -> Event:
    known_rank, rank = _rank(known), _rank(event)
    if known_rank != rank:
        return known if known_rank > rank else event
    if known.data == event.data:
        return known
    conflicts += [known.id, event.id]
    return min(known, event, key=content)


def _rank(event: Event) -> tuple[int, datetime, bool]:
    version = event.data.version
    return (-1, event.time, event.type == "invoice.amended") if version is None else (version, _NEVER, False)


def voided(document: Event, voids: Iterable[Event]) -> Event | None:
    """The void that ended this version of the document, if any."""
    version = document.data.version
    for void in voids:
        if void.data.document_id == document.data.document_id and (
            version is None or void.data.version is None or void.data.version >= version
        ):
            return void
    return None


def not_replaced(documents: Sequence[Any]) -> Sequence[Any]:
    replaced = {getattr(document.data, "replaces", None) for document in documents}
    return [document for document in documents if document.data.document_id not in replaced]
