"""What camt and MT940 have in common: a statement and its lines as values, and the events that tell them."""

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from canonical.events import Event
from sources.fields import note
from sources.origin import Origin

SYSTEM, ENTITY = "bank", "main"


class Line(NamedTuple):
    """One movement. `number` is its place in the statement, as in "3" or "3/1" for a part of a batch."""

    number: str
    amount_minor: int
    currency: str
    booked_on: date
    booked_at: datetime | None = None
    value_date: date | None = None
    reference: str | None = None
    counterparty: str | None = None
    refs: tuple[tuple[str, str], ...] = ()
    is_reversal: bool = False
    charges_minor: int | None = None
    code: str | None = None
    batch_id: str | None = None
    is_booked: bool = True


class Statement(NamedTuple):
    """`ident` names it within the account. A report has no balances; a statement may come without them."""

    account: str
    ident: str
    currency: str
    is_report: bool
    day: date
    lines: tuple[Line, ...]
    sequence: int | None = None
    opening_minor: int | None = None
    closing_minor: int | None = None


def events_of(statement: Statement, traceparent: str | None) -> Iterator[Event]:
    origin = Origin(SYSTEM, ENTITY, traceparent)
    document = f"{statement.account}/{statement.ident}"
    case = origin.case("summary", document)
    if statement.opening_minor is not None and statement.closing_minor is not None:
        data = {
            "accounting_date": statement.day,
            "account": statement.account,
            "currency": statement.currency,
            "sequence": statement.sequence,
            "opening_minor": statement.opening_minor,
            "closing_minor": statement.closing_minor,
        }
        yield origin.tell("bank.statement", document=document, subject=statement.ident, case=case, time=_midnight(statement.day), data=data)  # fmt: skip
    for line in statement.lines:
        ident = f"{document}/{line.number}"
        time = line.booked_at or _midnight(line.booked_on)
        yield origin.tell("bank.line", document=ident, case=case, time=time, data=_line(statement, line, document))


def _line(statement: Statement, line: Line, document: str) -> dict[str, Any]:
    return {
        "accounting_date": line.booked_on,
        "account": statement.account,
        "currency": line.currency,
        "amount_minor": line.amount_minor,
        "reference": note(line.reference),
        "counterparty": note(line.counterparty),
        "refs": list(_refs(line.refs)) or None,
        "statement_id": None if statement.is_report or not line.is_booked else document,
        "value_date": line.value_date,
        "is_reversal": line.is_reversal or None,
        "charges_minor": line.charges_minor,
        "code": line.code,
        "batch_id": line.batch_id,
    }


def _refs(refs: Iterable[tuple[str, str]]) -> Iterator[dict[str, str]]:
    """Each name once, in order; what is longer than a name may be stands in the reference's text only."""
    for kind, value in dict.fromkeys(refs):
        if len(value) <= 200 and value.isprintable():
            yield {"kind": kind, "system": SYSTEM, "value": value}


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
