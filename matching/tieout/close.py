"""Signing a close: what a `close.signed` event freezes, and what has become of it since.

- A signature is an event in the period's own case; a period may be signed again, and the last one known holds.
- It can always be made again: the tie-out on the knowledge that it froze. Where that now gives another total, something
  that had been recorded before was not there when it was signed: a line `restated`, never a silent change.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from canonical.events import Event, format_time
from canonical.ids import fact_id, period_key
from canonical.records import make
from matching.documents import moment
from matching.tieout.basis import Basis
from matching.tieout.bridge import Balance, Line, TieOut
from matching.tieout.report import digest


class Signature(NamedTuple):
    """Who signs, when, and under what."""

    actor: str
    reviewer: str | None
    comment: str | None
    at: datetime
    policy: str
    code: str
    positions: tuple[tuple[str, int, int], ...]  # topic, partition, next offset of the log


def sign(made: TieOut, signature: Signature) -> Event:
    """The tie-out as a close.signed event. Its basis says what was known; without a limit that is what is known now."""
    basis = made.basis
    end = basis.period.end
    known_until = basis.known_until or signature.at
    data = {
        "entity": basis.entity,
        "document_id": f"{basis.ledger}/{basis.period.name}",
        "recorded_at": format_time(signature.at),
        "ledger": basis.ledger,
        "period": {"start": basis.period.start.isoformat(), "end": end.isoformat()},
        "actor": signature.actor,
        "reviewer": signature.reviewer,
        "cutoff": format_time(datetime(end.year, end.month, end.day, tzinfo=UTC) + timedelta(days=1)),
        "known_until": format_time(known_until),
        "policy": signature.policy,
        "code": signature.code,
        "state": made.state,
        "digest": digest(made),
        "totals": [_total(balance, made.base_currency) for balance in made.balances],
        "positions": [
            {"topic": topic, "partition": partition, "offset": offset} for topic, partition, offset in signature.positions
        ],
        "comment": signature.comment,
    }  # fmt: skip
    return make(
        "close.signed", id=fact_id("tieout", basis.ledger, basis.period.name, format_time(signature.at)),
        source="tieout/close", subject=basis.period.name, time=signature.at,
        correlationid=period_key(basis.entity, basis.ledger, end.year, end.month), data=data,
    )  # fmt: skip


def _total(balance: Balance, currency: str) -> dict[str, Any]:
    return {
        "position": balance.position, "currency": currency, "opening_minor": balance.opening_minor,
        "documents_minor": balance.documents_minor, "ledger_minor": balance.ledger_minor,
        "reported_minor": balance.reported_minor, "residual_minor": balance.residual_minor, "lines": len(balance.lines),
    }  # fmt: skip


def signed(basis: Basis, closes: Iterable[Event]) -> Any | None:
    """The last signature of the period that was known at the time, if any."""
    found = [close for close in closes if _is_of(close, basis) and basis.knows(moment(close))]
    return max(found, key=lambda close: (moment(close), close.id), default=None)


def _is_of(close: Any, basis: Basis) -> bool:
    data, period = close.data, basis.period
    return bool(
        data.entity == basis.entity and data.ledger == basis.ledger and data.period.start == period.start and data.period.end == period.end
    )  # fmt: skip


def knowledge(close: Any) -> datetime:
    """What was known when it was signed; for a signature that does not say, its own time."""
    known: datetime = close.data.known_until or moment(close)
    return known


def restated(made: TieOut, close: Any) -> list[Line]:
    """By what each balance of the ledger has moved since it was signed that no post-close line accounts for."""
    frozen = {
        total.position: total.ledger_minor for total in close.data.totals or () if total.currency == made.base_currency
    }
    moved = ((balance, _unaccounted(balance, frozen)) for balance in made.balances if balance.position in frozen)
    return [
        _restated(balance, amount_minor, close, made.base_currency) for balance, amount_minor in moved if amount_minor
    ]


def _unaccounted(balance: Balance, frozen: dict[str, int]) -> int:
    return balance.ledger_minor - frozen[balance.position] - sum(late.ledger_minor for late in balance.post_close)


def _restated(balance: Balance, amount_minor: int, close: Any, currency: str) -> Line:
    reason = "recorded before the close was signed, and not there when it was"
    return Line(
        "restated", balance.position, currency, amount_minor, (f"close of {close.subject}",), (close.correlationid,),
        (close.id,), close.data.period.end, reason,
    )  # fmt: skip
