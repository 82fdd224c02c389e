"""Do two companies of one group agree on what they bill each other?

- An invoice or credit memo that names a `counterparty` is told to the index case of the pair and the document's number
  (`canonical.ids.intercompany_key`), to which both sides come: what one sells is plus, what the other buys minus.
- On consolidation both are eliminated: by currency they sum to nothing, each side having said so.
- Where one side has said nothing the other is waited for as an orphan's document is; where both have and differ, the
  target of postings is left for the one that changed last to be followed.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from matching.case import ALLOCATION
from matching.controls.postings import waits_for_document
from matching.documents import moment
from matching.findings import Answer, Failure, failed, major, not_applicable, not_assessed, passed
from matching.view import View

_PASS = passed("intercompany", "what one company billed the other booked: eliminated to nothing")
_NONE = not_applicable("intercompany", "no document between two companies of the group")
_WAITING = not_assessed("intercompany", "one side has told of the document, the other has not yet")
_FOLLOWING = not_assessed("intercompany", "the two sides differ, and one may still follow the other")


def intercompany(view: View) -> Answer:
    """What one company of the group sells, the other buys, for the same amount in the same currency.

    Otherwise the group's revenue, expense and balances do not eliminate, and the consolidated statements show money that
    nobody outside ever owed.
    """
    told = [event for event in view.of(ALLOCATION) if event.data.kind == "intercompany" and event.data.currency]
    if not told:
        return _NONE
    rest: Counter[str] = Counter()
    for event in told:
        rest[event.data.currency] += event.data.amount_minor
    if not any(rest.values()):
        return _PASS
    standing = [event for event in told if event.data.amount_minor]
    last = max(map(moment, told))
    if len({event.data.entity for event in standing}) < 2:
        return _WAITING if waits_for_document(view, last) else _one_sided(view, standing, rest)
    return _FOLLOWING if view.clock.before(view.target_passes_at(last)) else _differ(view, standing, rest)


def _one_sided(view: View, standing: Sequence[Any], rest: Counter[str]) -> Failure:
    first = standing[0]
    did = "billed" if first.data.direction == "sales" else "booked"
    return _not_eliminated(
        view, standing, rest, f"{first.data.entity} {did} it and its counterparty has nothing; have it booked there"
    )


def _differ(view: View, standing: Sequence[Any], rest: Counter[str]) -> Failure:
    sides = ", ".join(
        f"{event.data.entity} {major(abs(event.data.amount_minor), event.data.currency)}" for event in standing[:4]
    )
    return _not_eliminated(
        view, standing, rest, f"the two companies do not agree: {sides}; correct the one that is wrong"[:1000]
    )


def _not_eliminated(view: View, standing: Sequence[Any], rest: Counter[str], reason: str) -> Failure:
    currency, rest_minor = max(rest.items(), key=lambda item: (abs(item[1]), item[0]))
    left = ", ".join(major(minor, code) for code, minor in sorted(rest.items()) if minor)
    return failed(
        view, "intercompany", "intercompany", reason, expected=f"{major(0, currency)} after elimination", actual=f"{left} left",
        amounts=[f"{code} {minor}" for code, minor in sorted(rest.items())], variance_minor=rest_minor, currency=currency,
        evidence=standing,
    )  # fmt: skip
