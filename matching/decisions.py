"""What a person decided about a break, and what that changes.

- A decision is bound to the fingerprint of the break that it was made on: when the facts change it lapses, and the break
  returns. Of several on one fingerprint what was decided last holds.
- To write an amount off only authorizes it. Until the ledger says so the money is still open: the case is pending, not ok.
- More than policy lets one person give up (`[write_off] alone_minor`) takes two: until the second has decided, the break stands.
"""

from collections.abc import Sequence
from typing import Any

from matching.findings import Answer, Failure, not_assessed
from matching.verdict import Break
from matching.view import View

# Breaks that end when somebody gives the amount up. Every one is of a control that is mandatory, or leaves a leg open.
WRITTEN_OFF = frozenset(("missing_payment", "short_payment", "chargeback"))


def authorised(view: View, failure: Failure) -> Answer:
    """The failure, or that it waits for the entry that was authorized."""
    decisions = view.standing("decision.made")
    if not all(found.class_ in WRITTEN_OFF and _is_given_up(view, found, decisions) for found in failure.breaks):
        return failure
    return not_assessed(failure.result.name, "written off by decision, and the entry is still to come")


def _is_given_up(view: View, found: Break, decisions: Sequence[Any]) -> bool:
    """By as many people as it takes, none of whom, nor anybody else, decided otherwise since."""
    people = set()
    for decision in reversed(decisions):
        if decision.data.fingerprint == found.fingerprint:
            if decision.data.action != "write_off":
                break
            people.add(decision.data.actor)
    return len(people) >= (2 if found.variance_minor > view.policy.write_off.alone_minor else 1)
