"""Do the records themselves hold together? Conflicting versions, and the parts of a payout."""

from matching.findings import Answer, failed, major, not_applicable, not_assessed, passed
from matching.view import View

_CONFLICT_PASS = passed("conflict", "no two records contradict each other")


def conflict(view: View) -> Answer:
    """No document was told in two ways at one version. Which of them is true has to be asked at the source."""
    if not view.conflicts:
        return _CONFLICT_PASS
    ids = sorted(set(view.conflicts))
    return failed(
        view, "conflict", "conflict", "one version of a document was sent with two contents; ask its source which is true",
        expected="one content a version", actual=f"contradicting records {', '.join(ids)}"[:1000], amounts=ids,
        exposure_minor=view.document.data.total_minor or 0 if view.document is not None else 0,
        evidence=[fact for fact in view.facts if fact.id in ids],
    )  # fmt: skip


_PAYOUT_PASS = passed("payout", "the payout is the sum of its lines")
_PAYOUT_NOT_YET = not_assessed("payout", "not paid out yet")
_PAYOUT_NO_LINES = not_assessed("payout", "the lines of this payout were not supplied")
_PAYOUT_NONE = not_applicable("payout", "the payout failed; nothing was paid")


def payout(view: View) -> Answer:
    """What the processor paid is the sum of charges, fees, refunds and disputes that it lists for it."""
    paid, lines = view.standing("payout.paid"), view.standing("settlement.line")
    if not paid or view.of("payout.failed"):
        return _PAYOUT_NONE if view.of("payout.failed") else _PAYOUT_NOT_YET
    if not lines:
        return _PAYOUT_NO_LINES
    data = paid[0].data
    net = sum(line.data.net_minor for line in lines if line.data.currency == data.currency)
    if net == data.amount_minor:
        return _PAYOUT_PASS
    return failed(
        view, "payout", "payout", "the payout is not the sum of its lines; ask the processor for the missing ones",
        expected=f"{major(net, data.currency)} from {len(lines)} lines", actual=major(data.amount_minor, data.currency),
        amounts=(net, data.amount_minor), variance_minor=data.amount_minor - net, currency=data.currency,
        evidence=paid[:1],
    )  # fmt: skip
