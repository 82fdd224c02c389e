"""judge(case, policy, now, progress) -> Verdict: the one place where a verdict comes from.

- Pure: equal arguments give equal bytes. No clock, no I/O, no state.
- Between two deadlines the verdict is constant; `next_deadline` is the earliest time at which it can change without a
  new fact, `awaiting` the progress of sources that can change it too, `wait_for` the source to look at first.
- Outcome: `break` if there is any break; `ok` if every mandatory control was assessed (pass or not applicable) and no
  leg is open; `pending` otherwise.
- A case over its limit of facts, or some of whose facts are no longer kept (rule E14), is not judged: it is pending, every
  control not assessed and saying so, always the same. An alias is judged where its facts are sent on to (matching.aliases).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from matching.aliases import home_of
from matching.assessment import assess
from matching.case import ALLOCATION, Case
from matching.clock import COMPLETE, Clock, Progress
from matching.controls import NAMES
from matching.deliveries import failure_beside
from matching.findings import bounded
from matching.hops import OPEN_STATES, awaited_source, run
from matching.policy import Policy
from matching.verdict import ControlResult, Hop, Outcome, Result, Verdict
from matching.view import View, split_key

__all__ = ["COMPLETE", "Progress", "judge"]


def judge(case: Case, policy: Policy, now: datetime, progress: Progress = COMPLETE) -> Verdict:
    """The verdict of a case as known at `now` (aware, UTC)."""
    if case.is_over_limit:
        reason = f"the case has more than {case.limit} facts (limit facts_per_case) and is not judged"
        return _not_judged(case, policy, case.limit + 1, reason)
    if case.forgotten:
        reason = f"history_incomplete: {case.forgotten} of the case's facts are no longer kept, so it is not judged"
        return _not_judged(case, policy, case.count + case.forgotten, reason)
    home = home_of(case)
    if home is not None:
        return _not_judged(case, policy, case.count, f"this key is an alias: its facts are judged in {home}", "ok")
    clock = Clock(now, progress)
    view = View(case, policy, clock)
    hops = run(view)
    open_hops = [hop for hop in hops if hop.state in OPEN_STATES]
    assessment = assess(view, hops)
    outcome: Outcome = "pending" if open_hops or not assessment.is_settled else "ok"
    if assessment.breaks:
        outcome = "break"
    facts = view.facts
    currency, amount_minor = _amount(view)
    return Verdict(
        view.key,
        view.kind,
        view.entity,
        _document(view),
        _customer(view),
        outcome,
        currency,
        bounded(amount_minor),
        assessment.exposure_minor,
        assessment.controls,
        assessment.breaks,
        hops,
        case.count,
        facts[0].time if facts else None,
        facts[-1].time if facts else None,
        clock.next_deadline,
        None if outcome == "ok" else _wait_for(view, open_hops),
        _failure(view, open_hops) if open_hops else None,
        tuple(sorted(set(view.conflicts))) if view.conflicts else (),
        policy.hash,
        clock.awaiting,
    )


def _amount(view: View) -> tuple[str | None, int]:
    """What the case is about: its document's amount, else what was booked, paid or paid out."""
    if view.document is not None:
        return view.currency, view.document.data.total_minor
    if view.ledgers:
        return view.ledgers[0].shown_currency, abs(view.ledgers[0].stands_at_minor)
    if view.settlement.payments:
        return view.settlement.payments[0].data.currency, max(0, view.settlement.received_minor)
    return _stated_amount(view)


def _stated_amount(view: View) -> tuple[str | None, int]:
    for fact in _own_first(view):
        data: Any = fact.data
        minor = getattr(data, "amount_minor", None) or getattr(data, "total_minor", None)
        if minor is not None and getattr(data, "currency", None) is not None:
            return data.currency, abs(minor)
    for posting in view.postings:
        lines = posting.data.lines
        return posting.data.base_currency, sum(line.base_minor for line in lines if (line.base_minor or 0) > 0)
    return None, 0


def _document(view: View) -> str:
    if view.document is not None:
        return str(view.document.data.number or view.document.subject)
    return next((fact.data.number for fact in _own_first(view) if fact.data.number), view.ident)


def _own_first(view: View) -> Sequence[Any]:
    """What other cases told of theirs names this one only where nothing else does."""
    if ALLOCATION not in view.by_type:
        return view.facts
    return [fact for fact in view.facts if fact.type != ALLOCATION] or view.facts


def _customer(view: View) -> str | None:
    parties = view.document.data.customer if view.document is not None else None
    if parties is None:
        parties = next((fact.data.customer for fact in _own_first(view) if fact.data.customer is not None), None)
    return None if parties is None else parties.sold_to or parties.bill_to or parties.payer


def _wait_for(view: View, open_hops: Sequence[Hop]) -> str | None:
    """The source of the leg that could not be proven, else of the first leg still open, else of a missing document."""
    if open_hops:
        first = next((hop for hop in open_hops if hop.state == "unproven"), open_hops[0])
        return awaited_source(view, first.name)
    if view.document is None and view.kind in ("invoice", "credit") and view.facts:
        return view.policy.grace.awaits
    return None


def _failure(view: View, open_hops: Sequence[Hop]) -> str | None:
    if "delivery.failed" not in view.by_type:
        return None
    for hop in open_hops:
        beside = failure_beside(view, hop.name)
        if beside is not None:
            failure: str | None = beside.data.failure
            return failure
    return None


def _not_judged(case: Case, policy: Policy, facts: int, reason: str, outcome: Outcome = "pending") -> Verdict:
    kind, entity, _, ident = split_key(case.key)
    result: Result = "not_applicable" if outcome == "ok" else "not_assessed"
    controls = tuple(ControlResult(name, result, reason) for name in NAMES[kind])
    return Verdict(
        case.key, kind, entity, ident, None, outcome, None, 0, 0, controls, (), (), facts, None, None, None, None,
        None, (), policy.hash,
    )  # fmt: skip
