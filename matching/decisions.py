"""What a person decided about a break, and what that changes.

- A decision is bound to the fingerprint of the break that it was made on: when the facts change it lapses, and the break
  returns. Of several on one fingerprint the last holds.
- To write an amount off only authorizes it. Until the ledger says so the money is still open: the case is pending, not ok.
"""

from matching.findings import Answer, Failure, not_assessed
from matching.view import View

# Breaks that end when somebody gives the amount up. Every one is of a control that is mandatory, or leaves a leg open.
WRITTEN_OFF = frozenset(("missing_payment", "short_payment", "chargeback"))


def authorised(view: View, failure: Failure) -> Answer:
    """The failure, or that it waits for the entry that was authorized."""
    last = {decision.data.fingerprint: decision.data for decision in view.standing("decision.made")}
    for found in failure.breaks:
        decision = last.get(found.fingerprint)
        if decision is None or decision.action != "write_off" or found.class_ not in WRITTEN_OFF:
            return failure
    return not_assessed(failure.result.name, "written off by decision, and the entry is still to come")
