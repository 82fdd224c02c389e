"""A tie-out as a record (what is written, signed and stored) and as text for people.

The record holds integers and texts alone, in a fixed order: one tie-out, one text, one digest. Nothing in it says when or
by whom it was made; that stands beside it.
"""

import json
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any

from canonical.events import format_time
from canonical.money import to_major
from matching.tieout.bridge import BEHIND_LEDGER, Balance, Line, PostClose, Row, Section, TieOut

SHOWN = 12  # documents that a line of text names; the record names all

_WORDS = {
    "not_posted": "not posted", "other_period": "in another period", "no_document": "no document", "not_reversed": "not reversed", "amount": "amount differs",
    "rounding": "rounding", "duplicate": "booked twice", "applied_not_posted": "applied, not posted",
    "posted_not_applied": "posted, not applied", "manual": "manual journal", "revaluation": "revaluation",
    "other_lines": "other lines", "booked_after_report": "booked after the report", "restated": "restated since signed",
}  # fmt: skip
_STATES = {"tied_out": "TIES OUT", "explained": "EXPLAINED", "incomplete": "INCOMPLETE"}


def as_record(made: TieOut, close: Any = None, restated: Sequence[Line] = ()) -> dict[str, Any]:
    """`close`: the signature that holds; `restated`: what moved since then and was recorded before."""
    basis = made.basis
    return {
        "entity": basis.entity,
        "ledger": basis.ledger,
        "period": basis.period.name,
        "start": basis.period.start.isoformat(),
        "end": basis.period.end.isoformat(),
        "known_until": format_time(basis.known_until) if basis.known_until else None,
        "signed_at": format_time(basis.signed_at) if basis.signed_at else None,
        "base_currency": made.base_currency,
        "state": made.state,
        "not_kept": list(made.not_kept),
        "missing": list(made.missing),
        "close": None if close is None else _close(close),
        "restated": [_line(line) for line in restated],
        "balances": [_balance(balance) for balance in made.balances],
    }


def digest(made: TieOut) -> str:
    """16 hex over the figures: equal ones have equal digests, whenever and on whatever knowledge they were made."""
    record = as_record(made)
    figures = {
        name: record[name] for name in ("entity", "ledger", "start", "end", "base_currency", "state", "not_kept")
    }
    balances = [{name: value for name, value in each.items() if name != "post_close"} for each in record["balances"]]
    text = json.dumps([figures, balances], sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()[:16]


def _close(close: Any) -> dict[str, Any]:
    data = close.data
    known_until = format_time(data.known_until) if data.known_until else None
    return {
        "id": close.id, "case_key": close.correlationid, "at": format_time(close.time), "actor": data.actor,
        "reviewer": data.reviewer, "cutoff": format_time(data.cutoff), "known_until": known_until, "policy": data.policy,
        "code": data.code, "state": data.state, "digest": data.digest, "comment": data.comment,
    }  # fmt: skip


def _balance(balance: Balance) -> dict[str, Any]:
    fields = balance._asdict()
    fields["sections"] = [
        {"currency": section.currency, "rows": [row._asdict() for row in section.rows]} for section in balance.sections
    ]
    fields["accounts"] = [account._asdict() for account in balance.accounts]
    fields["lines"] = [_line(line) for line in balance.lines]
    fields["post_close"] = [_late(late) for late in balance.post_close]
    return fields


def _line(line: Line) -> dict[str, Any]:
    return line._asdict() | {"day": line.day.isoformat()}


def _late(late: PostClose) -> dict[str, Any]:
    return late._asdict() | {"day": late.day.isoformat(), "known_at": format_time(late.known_at)}


# --- Text -------------------------------------------------------------------------------------------------------------


def text_lines(
    made: TieOut, close: Any = None, restated: Sequence[Line] = (), currency: str | None = None
) -> Iterator[str]:
    """`currency`: only what is in that one; states and totals stay those of the whole."""
    basis = made.basis
    known = f"as known on {format_time(basis.known_until)}" if basis.known_until else "as known now"
    yield f"{basis.entity} · ledger {basis.ledger} · period {basis.period.name} · {known}: {_STATES[made.state]}"
    if close is not None:
        checked = f", checked by {close.data.reviewer}" if close.data.reviewer else ""
        yield f"signed by {close.data.actor}{checked} on {format_time(close.time)}"
    for line in restated:
        yield f"restated: {line.position} {_major(line.amount_minor, made.base_currency)} {made.base_currency}: {line.reason}"
    for lacking in made.missing:
        yield f"missing: {lacking}"
    for balance in made.balances:
        yield ""
        yield from _balance_lines(balance, made.base_currency, currency)
    if made.not_kept:
        yield ""
        yield f"not kept by this ledger: {', '.join(made.not_kept)}"


def _balance_lines(balance: Balance, base: str, currency: str | None) -> Iterator[str]:
    yield f"{balance.position}: {_STATES[balance.state]}"
    for section in balance.sections:
        if currency in (None, section.currency):
            yield from _section_lines(section, base)
    lines = [line for line in balance.lines if currency in (None, line.currency)]
    yield from _columns(_bridge(balance, lines, base, is_whole=currency is None))
    for account in balance.accounts:
        told = "not reported" if account.reported_minor is None else f"reported {_major(account.reported_minor, base)}"
        yield f"  account {account.account}: ledger {_major(account.ledger_minor, base)} {base}, {told}"
    late = [each for each in balance.post_close if currency in (None, each.currency)]
    for each in late:
        yield (
            f"  after the close was signed: {', '.join(each.documents)}: ledger {_major(each.ledger_minor, base)},"
            f" documents {_major(each.documents_minor, base)} {base}, for {each.day}, known {format_time(each.known_at)}"
        )
    for lacking in balance.missing:
        yield f"  missing: {lacking}"


def _section_lines(section: Section, base: str) -> Iterator[str]:
    is_base = section.currency == base
    head = ["", f"documents {section.currency}", f"ledger {section.currency}"]
    head += [] if is_base else [f"documents {base}", f"ledger {base}"]
    yield from _columns([head, *(_row(row, section.currency, base, is_base) for row in section.rows)])


def _row(row: Row, currency: str, base: str, is_base: bool) -> list[str]:
    shown = [row.kind.replace("_", " "), _known(row.documents_minor, currency), _known(row.ledger_minor, currency)]
    return shown + ([] if is_base else [_major(row.documents_base_minor, base), _major(row.ledger_base_minor, base)])


def _bridge(balance: Balance, lines: Sequence[Line], base: str, *, is_whole: bool) -> list[list[str]]:
    rows = [["documents", _major(balance.documents_minor, base), base]] if is_whole else []
    rows += [_named(line, base) for line in lines if line.name not in BEHIND_LEDGER]
    if is_whole:
        rows.append(["ledger", _major(balance.ledger_minor, base), base])
        rows += [_named(line, base) for line in lines if line.name in BEHIND_LEDGER]
        if balance.reported_minor is not None:
            rows.append(["reported", _major(balance.reported_minor, base), base])
            rows.append(["residual", _major(balance.residual_minor, base), base])
    return rows


def _named(line: Line, base: str) -> list[str]:
    more = f" and {len(line.documents) - SHOWN} more" if len(line.documents) > SHOWN else ""
    names = ", ".join(line.documents[:SHOWN])
    return [f"  {_WORDS[line.name]}", _major(line.amount_minor, base), f"{names}{more}: {line.reason}"]


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The first column to the left, amounts to the right, what follows a bridge's amount as it comes."""
    widths = [
        max((len(row[at]) for row in rows if at < len(row)), default=0) for at in range(max(map(len, rows), default=0))
    ]
    for row in rows:
        cells = [cell.ljust(widths[at]) if at == 0 or not _is_amount(cell, rows, at) else cell.rjust(widths[at]) for at, cell in enumerate(row)]  # fmt: skip
        yield f"  {'  '.join(cells)}".rstrip()


def _is_amount(cell: str, rows: Sequence[Sequence[str]], at: int) -> bool:
    return any(row[at][-1:].isdigit() for row in rows if at < len(row)) and len(cell) < 40


def _known(amount_minor: int | None, currency: str) -> str:
    return "not held" if amount_minor is None else _major(amount_minor, currency)


def _major(amount_minor: int, currency: str) -> str:
    return f"{to_major(amount_minor, currency):,}"
