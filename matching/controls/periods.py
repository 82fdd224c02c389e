"""Was anything booked into a period after it was closed?

- A period has an index case of its own (`canonical.ids.period_key`): period.closed and period.reopened lie there, and each
  entry that was booked after the period's end is told there by its own case (rule E6). Earlier ones cannot have come
  after a close.
- A close that was signed (close.signed) closes as well, and so does, where policy says so (`cutoff.closes_periods`), the end of
  the period's grace days. Closed is what the last of all of these said by when the entry was booked; what was booked
  between a reopening and the next close is in order, because somebody allowed it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from matching.case import ALLOCATION
from matching.documents import moment
from matching.findings import Answer, Failure, failed, major, not_applicable, passed
from matching.view import View

_PASS = passed("closed_period", "nothing was booked into the period while it was closed")
_NONE = not_applicable("closed_period", "no period was closed in this case")

SHOWN = 20  # entries that a break names; it counts all of them


def closed_period(view: View) -> Answer:
    """Nothing is booked into a closed period. What is changes figures that were reported, and perhaps signed.

    Taking an entry back in a closed period is as much a change as making one. Where policy says so (`cutoff.closes_periods`) a
    period closes with its grace days, though nobody has told its close.
    """
    closes = [*view.of("period.closed"), *view.of("close.signed")]
    booked = [event for event in view.of(ALLOCATION) if event.data.kind == "booked"]
    told = [(moment(event), event.type != "period.reopened") for event in (*closes, *view.of("period.reopened"))]
    close = view.policy.terms.closes[view.entity]
    if close.closes_periods and booked:
        own = booked[0].data.accounting_date
        told.append((close.closes_at(own.year, own.month), True))
    if not any(is_closed for _, is_closed in told):
        return _NONE
    told.sort()
    late = [entry for entry in booked if entry.data.amount_minor and _is_closed(told, moment(entry))]
    return _booked_late(view, sorted(closes, key=moment), late, told) if late else _PASS


def _is_closed(told: Sequence[tuple[datetime, bool]], at: datetime) -> bool:
    before = [is_closed for since, is_closed in told if since < at]
    return bool(before) and before[-1]


def _booked_late(view: View, closes: Sequence[Any], late: Sequence[Any], told: Sequence[tuple[datetime, bool]]) -> Failure:  # fmt: skip
    closed_at = next(since for since, is_closed in told if is_closed)
    currency = late[0].data.currency
    moved_minor = sum(entry.data.amount_minor for entry in late if entry.data.currency == currency)
    names = ", ".join(entry.subject for entry in late[:SHOWN])
    return failed(
        view, "closed_period", "closed_period", f"booked after the close: {names}; book it into an open period, or reopen this one"[:1000],
        expected=f"nothing booked after {closed_at:%Y-%m-%d %H:%M}",
        actual=f"{len(late)} entries of {major(moved_minor, currency)}", amounts=(len(late), moved_minor),
        variance_minor=moved_minor, currency=currency, evidence=(*closes[:1], *late[:SHOWN]),
    )  # fmt: skip
