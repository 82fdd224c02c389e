"""Did what was sold start? Orders and their subscriptions."""

from matching.deliveries import failure_beside
from matching.findings import Answer, Failure, failed, major, not_applicable, not_assessed, passed
from matching.view import View

_PASS = passed("missing_subscription", "the subscription is active")
_NONE = not_applicable("missing_subscription", "no approved quote, or none that expects a subscription")
_WAITING = not_assessed("missing_subscription", "no subscription yet, and its time has not passed")
_UNPROVEN = not_assessed("missing_subscription", "no subscription yet, and billing's feed is itself behind")


def missing_subscription(view: View) -> Answer:
    """An approved quote becomes a subscription: until then the customer has what nobody bills."""
    hop = view.hops.get("quote_to_subscription")
    if hop is None or hop.state == "not_expected":
        return _NONE
    if hop.state == "missing":
        return _never_started(view)
    if hop.state == "unproven":
        return _UNPROVEN
    return _WAITING if hop.state in ("waiting", "late") else _PASS


def _never_started(view: View) -> Failure:
    refused = failure_beside(view, "quote_to_subscription")
    reason = "the quote was approved and no subscription was activated; activate it"
    if refused is not None:
        reason = (
            f"delivery to {refused.data.target} failed: {refused.data.reason or refused.data.failure or 'no reason'}"
        )
    return failed(
        view, "missing_subscription", "missing_subscription", reason,
        expected=f"a subscription over {major(view.total_minor, view.currency)}", actual="nothing",
        amounts=(view.total_minor, 0), variance_minor=view.total_minor,
        failure=refused.data.failure if refused is not None else None,
        evidence=(view.document, *([refused] if refused is not None else [])),
    )  # fmt: skip
