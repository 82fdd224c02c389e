"""`tieout` with an adapter that refuses every posting: `python -m tests.integration.broken_adapter worker ...`."""

from canonical.dead_letters import DeadLetter
from canonical.events import Event
from sources import registry
from tieout import main

REASON = "no account mapped for tax code VAT-19"
_right = registry.SOURCES["canonical"]


def refuses_postings(body: bytes, traceparent: str | None) -> tuple[Event, ...] | DeadLetter:
    mapped = _right.map(body, traceparent)
    if isinstance(mapped, DeadLetter) or not any(event.type.startswith("posting.") for event in mapped):
        return mapped
    return DeadLetter("mapping", REASON)


if __name__ == "__main__":
    registry.SOURCES["canonical"] = _right._replace(map=refuses_postings)
    main()
