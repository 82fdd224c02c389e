"""Was it settled which open items the money pays? Choices are facts of the money's case (`matching.matches`)."""

from typing import Any

from matching.documents import voided
from matching.findings import Answer, failed, major, not_applicable, passed
from matching.matches import MADE, MONEY_IN, NO_CHOICES, REFUSED, Choices, choices_among
from matching.verdict import ControlResult
from matching.view import View

_NOTHING_TO_CHOOSE = not_applicable("ambiguous_match", "nothing was to be chosen")
_SETTLED = passed("ambiguous_match", "applied, or given back, since")


def choices_of(view: View) -> Choices:
    return choices_among(view.facts) if MADE in view.by_type else NO_CHOICES


def identified_minor(view: View) -> int:
    """How much of the case's payments was found to pay something."""
    standing = {payment.data.document_id for payment in view.settlement.payments}
    holds = choices_of(view).holds.items()
    return sum(part.amount_minor for ident, choice in holds if ident in standing for part in choice.data.allocations or ())  # fmt: skip


def is_ambiguous(view: View) -> bool:
    return REFUSED in view.by_type and bool(_undecided(view))


def ambiguous_match(view: View) -> Answer:
    """Money that several open items fit equally well is left to a person, and what somebody chose holds.

    Nothing is taken by a guess: until somebody chooses, the items look unpaid and the money belongs to none of them.
    """
    if REFUSED not in view.by_type and MADE not in view.by_type:
        return _NOTHING_TO_CHOOSE
    undecided = _undecided(view)
    if not undecided:
        return _chosen(view)
    refusal, money = undecided[0]
    amount_minor = sum(abs(each.data.amount_minor) for _, each in undecided)
    candidates = refusal.data.candidates
    return failed(
        view, "ambiguous_match", "ambiguous_match", f"{refusal.data.reason}; choose among them",
        expected="one open item", actual=f"{major(abs(money.data.amount_minor), money.data.currency)} for any of {', '.join(candidates)}",
        amounts=(amount_minor, *candidates), variance_minor=amount_minor, currency=money.data.currency,
        evidence=[each for _, each in undecided],
    )  # fmt: skip


def _undecided(view: View) -> list[tuple[Any, Any]]:
    """(refusal, money) of what nobody has chosen for, applied or given back since."""
    settlement = view.settlement
    if settlement.payments and settlement.received_minor <= settlement.applied_minor:
        return []
    holds, returns = choices_of(view).holds, view.of("payment.returned")
    money = {fact.data.document_id: fact for kind in MONEY_IN for fact in view.standing(kind)}
    return [
        (refusal, money[refusal.data.payment_id])
        for refusal in view.standing(REFUSED)
        if refusal.data.payment_id in money.keys() - holds.keys()
        and refusal.data.candidates
        and voided(money[refusal.data.payment_id], returns) is None
    ]


def _chosen(view: View) -> ControlResult:
    choices = choices_of(view)
    if not choices.holds:
        return _SETTLED
    said = [f"{choice.data.actor} chose by {choice.data.rule}" for choice in choices.holds.values()]
    said += [f"the choice of {refused.choice.data.actor} was refused: {refused.reason}" for refused in choices.refused]
    return passed("ambiguous_match", "; ".join(said[:SHOWN]))


SHOWN = 10  # choices told, of a statement with many lines
