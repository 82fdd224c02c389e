"""Why a leg is missing: the last failed delivery beside it.

A failure counts until a later delivery to the same target succeeds. It explains the open leg that awaits its target;
one whose target no leg awaits explains the first leg still open.
"""

from typing import Any

from matching.hops import HOPS, OPEN_STATES, awaited_source
from matching.view import View


def failure_beside(view: View, hop_name: str) -> Any | None:
    """The `delivery.failed` that explains an open leg, or None."""
    if "delivery.failed" not in view.by_type:
        return None
    unresolved = [event for event in view.of("delivery.failed") if not _was_delivered_later(view, event)]
    awaited = {awaited_source(view, leg.__name__) for leg in HOPS.get(view.kind, ())}
    own, first = awaited_source(view, hop_name), _first_open(view) == hop_name
    beside = [e for e in unresolved if e.data.target == own or (first and e.data.target not in awaited)]
    return beside[-1] if beside else None


def _was_delivered_later(view: View, failed: Any) -> bool:
    return any(
        event.data.target == failed.data.target and event.time >= failed.time for event in view.of("delivery.succeeded")
    )


def _first_open(view: View) -> str | None:
    return next((name for name, hop in view.hops.items() if hop.state in OPEN_STATES), None)
