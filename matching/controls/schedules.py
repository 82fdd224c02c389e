"""Was everything billed that the subscription's schedule says? What was never billed is found here, and nowhere else."""

from collections.abc import Sequence

from matching.billing import Due, expected
from matching.deliveries import failure_beside
from matching.findings import Answer, Failure, failed, major, not_applicable, not_assessed, passed
from matching.view import View

_PASS = passed("missing_invoice", "every bill of the schedule was issued")
_NONE = not_applicable("missing_invoice", "no bill is scheduled in this case, or none that is still expected")
_WAITING = not_assessed("missing_invoice", "billed so far; the next bill's time has not passed")
_UNPROVEN = not_assessed("missing_invoice", "a bill is due, and billing's feed is itself behind")

SHOWN = 20  # bills that a break names; it counts all of them


def missing_invoice(view: View) -> Answer:
    """Every bill that the subscription's schedule says was issued, soon after the day on which it is due.

    Not expected is what falls into a pause or lies after a cancellation. What is missing was delivered and never charged:
    revenue that no ledger and no payment will ever show to be absent.
    """
    hop = view.hops.get("subscription_to_invoice")
    if hop is None or hop.state == "not_expected":
        return _NONE
    if hop.state == "unproven":
        return _UNPROVEN
    if hop.state == "missing":
        return _never_billed(view)
    return _PASS if hop.ended_at is not None else _WAITING


def _never_billed(view: View) -> Failure:
    terms = view.terms.subscription_to_invoice
    missing: list[Due] = []
    for due in expected(view):
        if not due.bills:
            missing_at = terms.missing_at(due.due_at)
            if view.clock.before(missing_at) or view.clock.is_behind(terms.awaits, missing_at):
                break
            missing.append(due)
    return _names(view, missing)


def _names(view: View, missing: Sequence[Due]) -> Failure:
    refused = failure_beside(view, "subscription_to_invoice")
    currency, total_minor = missing[0].currency, sum(due.total_minor for due in missing if due.currency == missing[0].currency)  # fmt: skip
    periods = ", ".join(f"{due.start} to {due.end}" for due in missing[:SHOWN])
    reason = f"never billed: {periods}; issue the bill, or end or pause the subscription"
    if refused is not None:
        reason += f" (delivery to {refused.data.target} failed: {refused.data.reason or refused.data.failure})"
    schedules = {due.schedule.id: due.schedule for due in missing}
    return failed(
        view, "missing_invoice", "missing_invoice", reason[:1000],
        expected=f"{len(missing)} bills of {major(total_minor, currency)}", actual="nothing",
        amounts=[f"{due.due_on} {due.total_minor} {due.currency}" for due in missing], variance_minor=total_minor,
        currency=currency, failure=refused.data.failure if refused is not None else None,
        evidence=(*schedules.values(), *([refused] if refused is not None else [])),
    )  # fmt: skip
