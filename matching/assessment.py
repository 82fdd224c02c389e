"""What all controls say of one case, asked of each of them or known from an earlier case in the same situation.

- Most cases are ordinary: one standing document, at most one ledger and that in the document's currency, no entry beside the
  document's, no void, no contradiction, no batch left unnamed, no money taken back, no leg late. What most controls say of one follows from its situation: which legs are where, what there
  is to compare. There are few situations, so what was said is kept with the policy and found by them.
- A control that looks into the records themselves (`LOOKS_INTO_RECORDS`) is asked of every case.
- Nothing here decides anything: what is found was said by the controls, and is kept only where none of them failed.
  A control whose pass depends on more than the situation says belongs among those that are always asked.
"""

from collections.abc import Hashable, Sequence

from matching.controls import CONTROLS, LOOKS_INTO_RECORDS
from matching.decisions import authorised
from matching.findings import Failure
from matching.policy import Assessment
from matching.settlement import NO_MONEY
from matching.verdict import Break, ControlResult, Controls, Hop
from matching.view import View

# What is told of few cases, and of which the controls about it say more than the situation does.
_RARE = frozenset(
    (
        "payment.failed", "payment.returned", "refund.issued", "refund.failed", "dispute.opened", "dispute.won",
        "dispute.lost", "decision.made",
    )
)  # fmt: skip
_UNSETTLED = frozenset(("not_assessed", "fail"))
_ASKED = {
    kind: tuple(control for control in controls if control in LOOKS_INTO_RECORDS) for kind, controls in CONTROLS.items()
}


def assess(view: View, hops: Sequence[Hop]) -> Assessment:
    """`hops` as `run` gave them."""
    situation = _situation(view, hops)
    if situation is None:
        return ask_all(view)
    known = view.policy.terms.assessments
    key = (situation, *[control(view) for control in _ASKED[view.kind]])
    found = known.get(key)
    if found is None:
        found = ask_all(view)
        if all(control.result != "fail" for control in found.controls):
            found = known[key] = found._replace(controls=Controls.shared(found.controls))
    return found


def ask_all(view: View) -> Assessment:
    """Every control of the case's kind, in the order of the registry."""
    controls: list[ControlResult] = []
    breaks: list[Break] = []
    exposure_minor = 0
    for control in CONTROLS[view.kind]:
        answer = control(view)
        if isinstance(answer, Failure) and "decision.made" in view.by_type:
            answer = authorised(view, answer)
        if isinstance(answer, Failure):
            breaks += answer.breaks
            exposure_minor = max(exposure_minor, answer.exposure_minor)
            answer = answer.result
        controls.append(answer)
    mandatory = view.policy.terms.mandatory.get(view.kind, frozenset())
    is_settled = mandatory.isdisjoint(control.name for control in controls if control.result in _UNSETTLED)
    return Assessment(tuple(controls), tuple(breaks), exposure_minor, is_settled)


def _situation(view: View, hops: Sequence[Hop]) -> Hashable | None:
    """None for a case that is not ordinary: then every control is asked."""
    if view.document is None or view.void is not None or view.conflicts or view.extra_documents:
        return None
    if not _RARE.isdisjoint(view.by_type) or (view.is_covered and view.names_no_batch):
        return None
    ledgers, settlement = view.ledgers, view.settlement
    if ledgers and (len(ledgers) > 1 or ledgers[0].base_currency != view.currency or ledgers[0].net_minor is None):
        return None
    if view.cause == "waiting" or len(view.postings) != (len(ledgers[0].postings) if ledgers else 0):
        return None
    states = [hop.state for hop in hops]
    if "late" in states or (view.kind == "invoice" and "payment_to_payout" in view.hops):
        return None
    if settlement is NO_MONEY:
        return (view.kind, view.cause, view.expects_posting, view.is_covered, *states)
    paid_minor = settlement.paid_minor
    if any(getattr(applied.data, "from_base_minor", None) is not None for applied in settlement.applications):
        return None
    is_paid_too_much = paid_minor > 0 and settlement.settled_minor > view.total_minor
    is_applied_too_much = settlement.applied_minor + settlement.reductions_minor > view.total_minor
    if is_paid_too_much or is_applied_too_much or settlement.foreign:
        return None
    return (
        view.kind, view.cause, view.expects_posting, view.is_covered, bool(settlement.payments), bool(settlement.applications),
        paid_minor > 0, settlement.applied_minor > 0, *states,
    )  # fmt: skip
