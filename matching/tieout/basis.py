"""On which basis a tie-out is made, and the words it is made in.

- A basis is one entity, one ledger, one accounting period, and a moment of knowledge: only what the systems had recorded
  by then takes part, so that a past close can be rebuilt whatever has been booked since.
- An event was known from its `recorded_at`, or from its time where it states none. A document that states none and lies in
  a system that keeps the ledger too was known from the entry that first booked it: such a system posts what it approves.
- An entry belongs to the period of its `accounting_date`, or of the UTC day of its time where it states none. A period is
  a calendar month, or both days of any other one.
- Balances are shown in their natural sign: receivable and clearing are debits, all others are credits.
"""

import re
from calendar import monthrange
from datetime import date, datetime
from typing import Literal, NamedTuple

Side = Literal["documents", "ledger"]
Position = Literal["receivable", "payable", "deferred", "tax", "clearing", "unapplied"]
Kind = Literal[
    "invoices", "voids", "credits", "applications", "write_offs", "fx", "schedules", "recognised", "received", "refunds",
    "settled", "fees", "payouts", "manual", "other",
]  # fmt: skip

SIGNS: dict[Position, int] = {"receivable": 1, "payable": -1, "deferred": -1, "tax": -1, "clearing": 1, "unapplied": -1}
ALWAYS_KEPT = frozenset(("receivable", "payable"))  # other accounts a ledger may do without


class PeriodError(ValueError):
    """A period that is none; the message says how to write one."""


class Span(NamedTuple):
    """Both days included."""

    name: str
    start: date
    end: date


class Basis(NamedTuple):
    """`known_until` None: everything known. `signed_at`: the knowledge of an earlier close, to tell what came after it."""

    entity: str
    ledger: str
    period: Span
    known_until: datetime | None = None
    signed_at: datetime | None = None

    def knows(self, at: datetime) -> bool:
        return self.known_until is None or at <= self.known_until


def period_of(text: str) -> Span:
    """`2024-02`, or `2024-01-29/2024-02-25` where periods are no months. Raises PeriodError."""
    try:
        if match := re.fullmatch(r"(\d{4})-(\d{2})", text):
            year, month = int(match[1]), int(match[2])
            return Span(text, date(year, month, 1), date(year, month, monthrange(year, month)[1]))
        first, _, last = text.partition("/")
        span = Span(text, date.fromisoformat(first), date.fromisoformat(last))
    except ValueError:
        raise PeriodError(f"{text!r} is no period; write 2024-02, or 2024-01-29/2024-02-25") from None
    if span.end < span.start:
        raise PeriodError(f"period {text} ends before it starts")
    return span


def months_until(day: date, count: int) -> list[Span]:
    """The last `count` months, the earliest first, up to the one of this day."""
    last = day.year * 12 + day.month - 1
    return [period_of(f"{month // 12:04}-{month % 12 + 1:02}") for month in range(last - count + 1, last + 1)]
