"""Was money taken back by the customer's bank, and has that been dealt with?

- A dispute is told by its stages: opened, then won or lost. From the opening the money is gone; if it is won it comes back.
- An inquiry, and a customer who disputes a bill, take no money: no chargeback.
- A loss is dealt with once the ledger says so: the cash it took is booked out, or the application it undid is taken back.
"""

from collections.abc import Sequence
from typing import Any

from matching.controls.receipts import paid_out_minor
from matching.findings import Answer, Failure, failed, major, not_applicable, passed
from matching.settlement import DISPUTES_WITHOUT_MONEY
from matching.view import View

_STAGES = ("dispute.opened", "dispute.won", "dispute.lost")
_PASS = passed("chargeback", "disputes were won, or their loss is booked")
_NONE = not_applicable("chargeback", "no payment was disputed")
_NO_MONEY = passed("chargeback", "a question was asked, no money was taken")


def chargeback(view: View) -> Answer:
    """A payment that the customer's bank takes back is answered in time; a lost one is booked.

    Until it is won, the amount and the dispute's fee are at risk; once lost, the ledger shows cash that is gone until the
    loss is booked or the invoice is open again.
    """
    told = [event for stage in _STAGES for event in view.of(stage)]
    if not told:
        return _NONE
    taken = [event for event in told if event.data.stage not in DISPUTES_WITHOUT_MONEY]
    if not taken:
        return _NO_MONEY
    last: dict[str, Any] = {}
    for event in sorted(taken, key=lambda event: (event.type != "dispute.opened", event.time, event.id)):
        last[event.data.document_id] = event
    opened = [event for event in last.values() if event.type == "dispute.opened"]
    lost = [event for event in last.values() if event.type == "dispute.lost"]
    if opened:
        return _disputed(view, opened, "the payment is disputed and its money held back; answer in time", "open")
    if lost and not _is_booked(view, _amount_minor(lost)):
        return _disputed(
            view, lost, "the dispute is lost and its loss is not booked; book it, or open the invoice", "lost"
        )
    return _PASS


def _disputed(view: View, disputes: Sequence[Any], reason: str, stage: str) -> Failure:
    amount_minor, fee_minor = _amount_minor(disputes), sum(event.data.fee_minor or 0 for event in disputes)
    currency = disputes[0].data.currency
    fee = f" and a fee of {major(fee_minor, currency)}" if fee_minor else ""
    return failed(
        view, "chargeback", "chargeback", reason, expected="the payment stands, or its loss is booked",
        actual=f"{major(amount_minor, currency)} {stage}{fee}", currency=currency, amounts=(stage, amount_minor, fee_minor),
        variance_minor=amount_minor, exposure_minor=amount_minor + fee_minor, evidence=disputes,
    )  # fmt: skip


def _amount_minor(disputes: Sequence[Any]) -> int:
    return sum(event.data.amount_minor for event in disputes)


def _is_booked(view: View, lost_minor: int) -> bool:
    """Booked out of cash, beside what was refunded; or unapplied, so that the invoice is open again."""
    settlement = view.settlement
    refunded_minor = sum(refund.data.amount_minor for refund in settlement.refunds)
    if paid_out_minor(view, ("refund", "other", "payment")) >= lost_minor + refunded_minor:
        return True
    return bool(settlement.lost) and "cash.unapplied" in view.by_type
