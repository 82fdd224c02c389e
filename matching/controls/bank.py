"""Does the bank say what the books say? Payouts on the statement, statements in themselves and one after the other.

- A statement: opening and its lines come to its closing. Lines without `statement_id` are said again and not counted.
- An account: each statement opens with what the one before closed with, and no number is left out; numbers may begin anew.
- A payout: the bank's lines for it (its own or told, `bank`) come to what was paid; of one that failed, to nothing.
- A line that names no payout and that nobody matched has no counterpart: money nobody expected, or left without reason.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from matching.case import ALLOCATION
from matching.documents import moment
from matching.findings import Answer, Failure, failed, major, not_applicable, not_assessed, passed
from matching.matches import choices_among
from matching.settlement import arrived_lines, paid_out_signed_minor
from matching.view import View

_PASS = passed("bank", "the bank says what the books say")
_NONE = not_applicable("bank", "nothing of a bank in this case")
_WAITING = not_assessed("bank", "the bank's records do not add up yet, and the rest may still come")
_NOT_CONNECTED = not_applicable("bank", "no bank line tells of this payout, and policy expects none")
_OTHER_CURRENCY = not_applicable("bank", "the bank's line is in another currency, and states no rate")


def bank(view: View) -> Answer:
    """Money arrives in the bank as it was sent, and statements follow on one another without a gap.

    Cash is the one balance that somebody outside confirms: what the bank does not show is not there, and a statement that
    does not add up or is left out can hide anything.
    """
    if view.kind == "payout":
        return _payout(view)
    if "bank.statement" in view.by_type:
        return _statement(view)
    told = [event for event in view.of(ALLOCATION) if event.data.kind in ("opening", "closing")]
    return _account(view, told) if told else _NONE


def _may_still_come(view: View, events: Sequence[Any]) -> bool:
    ends_at = max(map(moment, events)) + view.policy.grace.duration
    return view.clock.before(ends_at) or view.clock.is_behind(view.terms.payout_to_bank.awaits, ends_at)


def _payout(view: View) -> Answer:
    lines, paid = arrived_lines(view), view.standing("payout.paid")
    if not paid:
        return _NONE
    if not lines:
        return _not_arrived(view, paid[0])
    currency = paid[0].data.currency
    if any(line.data.currency != currency for line in lines):
        return _OTHER_CURRENCY
    expected_minor = 0 if view.of("payout.failed") else paid_out_signed_minor(paid[0])
    arrived_minor = sum(line.data.amount_minor for line in lines)
    if arrived_minor == expected_minor:
        return _PASS
    if _may_still_come(view, (*lines, *paid, *view.of("payout.failed"))):
        return _WAITING
    return failed(
        view, "bank", "bank", "the bank did not receive what was paid out; ask the bank or the processor where it went",
        expected=f"{major(expected_minor, currency)} in the bank", actual=f"{major(arrived_minor, currency)} in {len(lines)} lines",
        amounts=(expected_minor, arrived_minor), variance_minor=arrived_minor - expected_minor, currency=currency,
        evidence=(*paid[:1], *lines[:10]),
    )  # fmt: skip


def _not_arrived(view: View, paid: Any) -> Answer:
    hop = view.hops.get("payout_to_bank")
    if hop is None or hop.state == "not_expected":
        return _NOT_CONNECTED
    if hop.state != "missing":
        return _WAITING
    currency, expected_minor = paid.data.currency, paid_out_signed_minor(paid)
    return failed(
        view, "bank", "bank", "the payout never reached the bank; ask the bank or the processor where it went",
        expected=f"{major(expected_minor, currency)} in the bank", actual="nothing", amounts=(expected_minor, 0),
        variance_minor=expected_minor, currency=currency, evidence=(paid,),
    )  # fmt: skip


def _statement(view: View) -> Answer:
    statement = view.standing("bank.statement")[-1]
    data = statement.data
    lines = [line for line in view.standing("bank.line") if line.data.statement_id]
    reached_minor = data.opening_minor + sum(line.data.amount_minor for line in lines)
    if reached_minor == data.closing_minor:
        return _counterparts(view, lines)
    if _may_still_come(view, (statement, *lines)):
        return _WAITING
    return failed(
        view, "bank", "bank", "opening and lines do not come to closing; have the statement sent again",
        expected=f"{major(data.closing_minor, data.currency)} at closing", currency=data.currency,
        actual=f"{major(reached_minor, data.currency)} by {len(lines)} lines", amounts=(data.closing_minor, reached_minor),
        variance_minor=reached_minor - data.closing_minor, evidence=(statement,),
    )  # fmt: skip


def _counterparts(view: View, lines: Sequence[Any]) -> Answer:
    """Where policy expects it of this system: each line is a payout, or has been matched."""
    if not view.expect.counterpart:
        return _PASS
    matched = choices_among(view.facts).holds
    alone = [
        line for line in lines
        if line.data.amount_minor and line.data.payout_key is None and line.data.document_id not in matched
    ]  # fmt: skip
    if not alone:
        return _PASS
    if _may_still_come(view, alone):
        return _WAITING
    total_minor, currency = sum(abs(line.data.amount_minor) for line in alone), alone[0].data.currency
    return failed(
        view, "bank", "bank", f"{alone[0].subject} and what else is listed has no counterpart in the books; find what it is",
        expected="each line matched", actual=f"{len(alone)} lines without a counterpart", currency=currency,
        amounts=[str(line.data.document_id) for line in alone], variance_minor=total_minor, evidence=alone[:100],
    )  # fmt: skip


def _account(view: View, told: Sequence[Any]) -> Answer:
    closing = {event.data.document_id: event for event in told if event.data.kind == "closing"}
    opening = [event for event in told if event.data.kind == "opening" and event.data.document_id in closing]
    for currency in sorted({event.data.currency for event in opening}):
        chain = _chained([event for event in opening if event.data.currency == currency], closing)
        for before, after in pairwise(chain):
            end = closing[before.data.document_id]
            if end.data.amount_minor == after.data.amount_minor and not _is_left_out(before, after):
                continue
            if _may_still_come(view, (before, after)):
                return _WAITING
            return _gap(view, end, after)
    return _PASS


def _chained(opening: Sequence[Any], closing: Mapping[str, Any]) -> Sequence[Any]:
    """In order of day and number; pages of one number as their balances follow on one another, each once."""
    same: dict[Any, list[Any]] = {}
    for event in sorted(opening, key=lambda event: (event.time, event.data.sequence or 0, event.data.document_id)):
        same.setdefault((event.time, event.data.sequence), []).append(event)
    chain: list[Any] = []
    for pages in same.values():
        told = {(page.data.amount_minor, closing[page.data.document_id].data.amount_minor): page for page in pages}
        left = list(told.values())
        while left:
            at_minor = closing[chain[-1].data.document_id].data.amount_minor if chain else _start(left, closing)
            found = next((page for page in left if page.data.amount_minor == at_minor), left[0])
            left.remove(found)
            chain.append(found)
    return chain


def _start(pages: Sequence[Any], closing: Mapping[str, Any]) -> int | None:
    """What the first of the pages opens with: none of the others closes with it."""
    ends = {closing[page.data.document_id].data.amount_minor for page in pages}
    return next((page.data.amount_minor for page in pages if page.data.amount_minor not in ends), None)


def _is_left_out(before: Any, after: Any) -> bool:
    """By their numbers; one that is lower has begun anew."""
    if before.data.sequence is None or after.data.sequence is None:
        return False
    return bool(after.data.sequence > before.data.sequence + 1)


def _gap(view: View, before: Any, after: Any) -> Failure:
    currency = after.data.currency
    variance_minor = after.data.amount_minor - before.data.amount_minor
    left_out = ""
    if _is_left_out(before, after):
        first, last = before.data.sequence + 1, after.data.sequence - 1
        left_out = f": number {first} is missing" if first == last else f": numbers {first} to {last} are missing"
    return failed(
        view, "bank", "bank", f"the account's statements do not follow on one another{left_out}; have them sent",
        expected=f"{after.subject} to open with {major(before.data.amount_minor, currency)}, as {before.subject} closed",
        actual=f"{major(after.data.amount_minor, currency)} at opening", currency=currency,
        amounts=(before.data.document_id, after.data.document_id, before.data.amount_minor, after.data.amount_minor),
        variance_minor=variance_minor, evidence=(before, after),
    )  # fmt: skip
