"""Which choice of what a payment pays holds (rule E7), and the events that tell of one.

- Choices are `match.made` facts of the payment's case. A person's holds before tieout's, whenever it came. Of two people's
  choices for one payment the first holds (by version, then time, then id); the other is refused, with this as its reason.
  Who changes his mind sends the same id at a higher version, and it counts from that version on.
- A choice that takes more than the payment is refused. What its targets cannot take is for them to say (overpayment).
- tieout's own are told under one id a payment, so that of two the higher revision holds, and nothing is chosen twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from canonical import records
from canonical.events import Event
from matching.case import content
from matching.identify import Match, Receipt, Refusal

TIEOUT = "tieout"
MADE, REFUSED = "match.made", "match.refused"
MONEY_IN = frozenset(("payment.received", "bank.line"))
SHOWN = 20  # candidates told


class Refused(NamedTuple):
    choice: Any
    reason: str


class Choices(NamedTuple):
    """By payment: the choice that holds; and those that do not."""

    holds: Mapping[str, Any]
    refused: Sequence[Refused]


NO_CHOICES = Choices({}, ())


def choices_among(facts: Iterable[Any]) -> Choices:
    """Of the facts of one case, in any order."""
    facts = list(facts)
    made = [fact for fact in facts if fact.type == MADE]
    if not made:
        return NO_CHOICES
    amounts = {fact.data.document_id: abs(fact.data.amount_minor) for fact in facts if fact.type in MONEY_IN}
    holds: dict[str, Any] = {}
    refused: list[Refused] = []
    for choice in sorted(made, key=_rank):
        payment, taken_minor = choice.data.payment_id, sum(part.amount_minor for part in choice.data.allocations or ())
        if taken_minor > amounts.get(payment, taken_minor):
            refused.append(Refused(choice, "it takes more than the payment"))
        elif payment in holds:
            refused.append(Refused(choice, f"{holds[payment].data.actor} had chosen already"))
        else:
            holds[payment] = choice
    return Choices(holds, refused)


def _rank(choice: Any) -> tuple[bool, int, Any, str, bytes]:
    version = choice.data.version
    is_own = choice.data.actor == TIEOUT
    return (is_own, -(version or 0) if is_own else version or 0, choice.time, choice.id, content(choice))


def as_event(decision: Match | Refusal, policy_hash: str, revision: int) -> Event:
    """tieout's choice, or that it cannot choose, as a fact of the payment's case. Its time is the payment's."""
    receipt = decision.receipt
    stated: dict[str, Any] = {
        "entity": receipt.entity, "document_id": receipt.payment_id, "version": revision,
        "payment_id": receipt.payment_id, "rule": decision.rule, "digest": decision.digest, "policy": policy_hash,
    }  # fmt: skip
    if isinstance(decision, Match):
        parts = [_allocation(part, receipt.currency) for part in decision.parts]
        stated |= {"actor": TIEOUT, "invoice_ids": [], "allocations": parts, "compared": decision.compared}
    else:
        stated |= {"reason": decision.reason, "candidates": list(decision.candidates[:SHOWN])}
    kind = MADE if isinstance(decision, Match) else REFUSED
    return records.make(
        kind, id=f"tieout:{_name(receipt, kind)}", source="tieout/identification",
        subject=receipt.payment_id, time=receipt.at, correlationid=receipt.home, data=stated,
    )  # fmt: skip


def _name(receipt: Receipt, kind: str) -> str:
    """A key and an id together can be longer than an id may be."""
    return blake2b(f"{receipt.home}|{receipt.payment_id}|{kind}".encode(), digest_size=16).hexdigest()


def _allocation(part: Any, currency: str) -> dict[str, Any]:
    stated = {"target": part.target, "amount_minor": part.amount_minor}
    if part.currency != currency:
        stated |= {"settled_minor": part.settled_minor, "settled_currency": part.currency}
    return stated
