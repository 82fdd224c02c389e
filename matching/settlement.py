"""What has been paid and applied on an invoice, and when it was enough.

- `received`: payments in the document's currency and direction, less what failed afterwards, was returned or refunded.
- A lost dispute takes its payment back where that is applied no longer; where it still is, the loss is the company's own.
- `reductions`: credits, deposits, write-offs, withholding and fees that reduce what is left to pay.
- `applied`: cash applied from payments, less what was unapplied. Where the case holds no payment it is the proof of one
  (books that keep the application and not the payment); a payment in another currency counts for what was applied of it.
- What other cases tell of theirs (`allocation.set`, rule E6) counts like the case's own: a receipt's part for this
  invoice, what it applied, a credit memo with a case of its own; on a receipt what invoices took of it. What other
  invoices took of a payment that lies in this invoice's case has moved on: it was not received for this one.
- All sums are over the document's currency; applications in another one are left out and never guessed at. Those of a
  receipt are over its own money's: an application in another currency counts for what it says it took of it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, final

from matching.case import ALLOCATION
from matching.documents import moment, voided

if TYPE_CHECKING:
    from matching.view import View


@final
class Movement:
    """`at` is when it happened, `booked_at` when a system recorded it."""

    __slots__ = ("amount_minor", "at", "booked_at")

    def __init__(self, at: datetime, booked_at: datetime, amount_minor: int) -> None:
        self.at, self.booked_at, self.amount_minor = at, booked_at, amount_minor


def _in_order(movement: Movement) -> tuple[datetime, datetime, int]:
    return movement.at, movement.booked_at, movement.amount_minor


NOTHING: Sequence[Any] = ()
DISPUTES_WITHOUT_MONEY = frozenset(("inquiry", "invoice"))  # a question to the merchant, a customer who disputes a bill
_BACK = frozenset(("payment.failed", "payment.returned", "refund.issued", "refund.failed"))
_APPLICATIONS = (("cash.applied", 1), ("cash.unapplied", -1))
_TOLD_APPLICATIONS = frozenset(("application", "applied_from", "credit", "reduction"))
_TOLD_REDUCTIONS = frozenset(("credit", "reduction"))
_MONEY = frozenset(
    ("payment.received", "cash.applied", "cash.unapplied", "credit_memo.issued", "refund.issued", ALLOCATION)
)


class Settlement:
    """Without a view: of a case that holds no money."""

    __slots__ = (
        "_applications", "_is_told_payments", "_paid", "_received", "_reductions", "applications", "applied_minor", "foreign",
        "lost", "paid_minor", "payments", "received_minor", "reductions_minor", "refunds", "taken_back",
    )  # fmt: skip

    payments: Sequence[Any]
    foreign: Sequence[Any]
    taken_back: Sequence[Any]  # what says that a payment failed or was returned after it had come in
    refunds: Sequence[Any]  # that stand
    lost: Sequence[Any]  # disputes that took their payment back
    applications: list[Any]  # events that apply or reduce, the evidence of both

    def __init__(self, view: "View | None" = None) -> None:
        self.payments = self.foreign = self.taken_back = self.refunds = self.lost = NOTHING
        self.applications = []
        self._is_told_payments = False  # a receipt's case told of them, if only that they were taken back
        self._received: list[Movement] = []
        self._reductions: list[Movement] = []
        self._applications: list[Movement] = []
        if view is not None:
            if "payment.received" in view.by_type:
                self._take_payments(view)
            if not _BACK.isdisjoint(view.by_type):
                self._take_back(view)
            self._take_applications(view)
            if ALLOCATION in view.by_type:
                self._take_allocations(view)
            if "dispute.lost" in view.by_type:
                self._take_losses(view)
        self.received_minor = _sum(self._received)
        self.applied_minor = _sum(self._applications)
        self.reductions_minor = _sum(self._reductions)
        # Payments; applications in their place where they know more (no payment here, or one in another currency).
        payments_unknown = not self.payments and not self._is_told_payments
        applications_know_more = self.applied_minor > self.received_minor and (self.foreign or payments_unknown)
        self._paid = self._applications if applications_know_more else self._received
        self.paid_minor = self.applied_minor if applications_know_more else self.received_minor

    @property
    def settled_minor(self) -> int:
        return self.paid_minor + self.reductions_minor

    @property
    def credited_minor(self) -> int:
        """Of the reductions, what credits and credit memos took off."""
        return sum(map(_credit_minor, self.applications))

    @property
    def kept_minor(self) -> int:
        """Received and not taken back, whatever was refunded of it."""
        refunded_minor: int = sum(refund.data.amount_minor for refund in self.refunds)
        return self.received_minor + refunded_minor

    def settled_at(self, total_minor: int) -> datetime | None:
        """When payments and reductions reached the total and stayed there."""
        if self.settled_minor < total_minor:
            return None
        reached = _crossing([*self._paid, *self._reductions] if self._reductions else self._paid, total_minor)
        return reached.at if reached else None

    def applicable_minor(self, total_minor: int) -> int:
        """How much of what was received the invoice can take."""
        open_minor = total_minor - self.reductions_minor
        return max(0, min(open_minor, self.received_minor))

    def first_received_at(self) -> datetime:
        return min(movement.booked_at for movement in self._received)

    def oldest_unapplied(self) -> datetime | None:
        """When the first payment was booked that applications do not cover."""
        covered = _crossing(self._received, self.applied_minor + 1)
        return covered.booked_at if covered else None

    def completing_payment(self, needed_minor: int) -> datetime | None:
        """When the payment was booked that made the received sum what is now applied."""
        completing = _crossing(self._received, needed_minor)
        return completing.booked_at if completing else None

    def applied_at(self, needed_minor: int) -> datetime | None:
        completing = _crossing(self._applications, needed_minor)
        return completing.booked_at if completing else None

    def _take_payments(self, view: "View") -> None:
        payments = view.standing("payment.received")
        direction = view.document.data.direction if view.document is not None and view.kind == "invoice" else None
        currency = view.currency or payments[0].data.currency
        own: list[Any] = []
        foreign: list[Any] = []
        for payment in payments:
            if direction is None or payment.data.direction is None or payment.data.direction == direction:
                (own if payment.data.currency == currency else foreign).append(payment)
        self.payments, self.foreign = own, foreign
        self._received = [_movement(payment, 1) for payment in own]

    def _take_back(self, view: "View") -> None:
        currency = view.currency or (self.payments[0].data.currency if self.payments else None)
        returns = [event for event in view.standing("payment.returned") if currency in (None, event.data.currency)]
        returned = {event.data.document_id for event in returns}
        received = {p.data.document_id: p for p in self.payments if p.data.document_id not in returned}
        failures = []
        for failure in view.standing("payment.failed"):
            payment = received.get(failure.data.document_id)
            if payment is not None and failure.time >= payment.time:
                failures.append(failure)
                self._received.append(Movement(failure.time, moment(failure), -payment.data.amount_minor))
        undone = {refund.data.document_id for refund in view.of("refund.failed")}
        refunds = [r for r in view.standing("refund.issued") if r.data.document_id not in undone]
        self.refunds = [refund for refund in refunds if currency in (None, refund.data.currency)]
        self.taken_back = [*failures, *returns]
        self._received += [_movement(event, -1) for event in (*returns, *self.refunds)]

    def _take_losses(self, view: "View") -> None:
        currency = view.currency or (self.payments[0].data.currency if self.payments else None)
        lost = [d for d in view.standing("dispute.lost") if d.data.stage not in DISPUTES_WITHOUT_MONEY]
        movements = [_movement(dispute, -1) for dispute in lost if dispute.data.currency == currency]
        if _sum(self._applications) <= _sum(self._received) + _sum(movements):
            self._received += movements
            self.lost = lost

    def _take_applications(self, view: "View") -> None:
        for event_type, sign in _APPLICATIONS:
            if event_type not in view.by_type:
                continue
            for event in view.standing(event_type):
                amount_minor = self._applied_minor(view, event.data)
                if amount_minor is not None:
                    to = self._applications if event.data.from_kind == "payment" else self._reductions
                    to.append(Movement(event.time, moment(event), sign * amount_minor))
                    self.applications.append(event)
        if view.kind == "invoice" and "credit_memo.issued" in view.by_type:
            self._take_credit_memos(view)

    def _applied_minor(self, view: "View", data: Any) -> int | None:
        """None where it is in another currency and does not say what it took."""
        if view.kind == "receipt" and self.payments and data.currency != self.payments[0].data.currency:
            took: int | None = data.from_amount_minor
            return took if data.from_currency == self.payments[0].data.currency else None
        amount_minor: int = data.amount_minor
        return amount_minor if view.currency in (None, data.currency) else None

    def _take_allocations(self, view: "View") -> None:
        self._is_told_payments = any(event.data.kind == "payment" for event in view.of(ALLOCATION))
        told = [event for event in view.of(ALLOCATION) if event.data.amount_minor]
        first = next(iter((*self.payments, *told)), None)
        currency = view.currency or (first.data.currency if first is not None else None)
        paid = [event for event in told if event.data.kind == "payment"]
        received = [event for event in paid if event.data.amount_minor > 0]
        self.payments = [*self.payments, *(event for event in received if event.data.currency == currency)]
        self.foreign = [*self.foreign, *(event for event in received if event.data.currency != currency)]
        self._received += [_movement(event, 1) for event in paid if event.data.currency == currency]
        for event in told:
            kind = event.data.kind
            if event.data.currency != currency or kind not in _TOLD_APPLICATIONS:
                continue
            if kind == "applied_from" and view.kind == "invoice":
                self._received.append(_movement(event, -1))
                continue
            to = self._reductions if kind in _TOLD_REDUCTIONS else self._applications
            to.append(_movement(event, 1))
            self.applications.append(event)

    def _take_credit_memos(self, view: "View") -> None:
        voids = view.of("credit_memo.voided")
        for memo in view.standing("credit_memo.issued"):
            if memo.data.currency == view.currency and voided(memo, voids) is None:
                self._reductions.append(Movement(memo.time, moment(memo), memo.data.total_minor))
                self.applications.append(memo)


def _movement(event: Any, sign: int) -> Movement:
    data, at = event.data, event.time
    return Movement(at, data.recorded_at or at, sign * data.amount_minor)


class Held(NamedTuple):
    """What a processor holds of the case's own payments until a payout has it; `kept_minor` is before refunds."""

    payments: Sequence[Any]
    received_minor: int
    kept_minor: int
    is_expected: bool


def held_by_processor(view: "View") -> Held:
    """Of a receipt all of it. Of payments that lie in an invoice's case those of systems whose payments policy expects in a
    payout; where it expects none of them, all, for lines to tell of."""
    settlement = view.settlement
    if view.kind == "receipt":
        return Held(settlement.payments, settlement.received_minor, settlement.kept_minor, view.expect.payout)
    expect = view.policy.terms.expect
    own = [payment for payment in settlement.payments if payment.type != ALLOCATION]
    expected = [payment for payment in own if expect[payment.source.partition("/")[0]].payout]
    payments = expected or own
    of = {payment.data.document_id for payment in payments}
    back = [event for event in settlement.taken_back if event.data.document_id in of]
    back += [dispute for dispute in settlement.lost if dispute.data.payment_id in of]
    kept_minor = _amounts(payments) - _amounts(back)
    refunds = [
        refund for refund in settlement.refunds if refund.data.payment_id is None or refund.data.payment_id in of
    ]
    return Held(payments, kept_minor - _amounts(refunds), kept_minor, bool(expected))


def _amounts(events: Sequence[Any]) -> int:
    return sum(event.data.amount_minor for event in events)


def settled_lines(view: "View") -> Sequence[Any]:
    """Lines of payouts that settle payments of this case, charges alone: its own where they name their payout, and those told."""
    own = [line for line in view.standing("settlement.line") if line.data.payout_id or line.data.payout_key]
    told = [event for event in view.of(ALLOCATION) if event.data.kind == "settled"]
    return [line for line in (*own, *told) if gross_minor(line) > 0]


def gross_minor(line: Any) -> int:
    """Of a line of a payout, its own or told."""
    amount_minor: int = line.data.amount_minor if line.type == ALLOCATION else line.data.gross_minor
    return amount_minor


def arrived_lines(view: "View") -> Sequence[Any]:
    """A bank's lines for this payout, its own and those told. One without its statement is said again on it."""
    own = [line for line in view.standing("bank.line") if line.data.statement_id]
    return [*own, *(event for event in view.of(ALLOCATION) if event.data.kind == "bank" and event.data.amount_minor)]


def paid_out_signed_minor(paid: Any) -> int:
    """A payout the other way round takes money from the bank account."""
    amount_minor: int = paid.data.amount_minor
    return -amount_minor if paid.data.direction == "purchase" else amount_minor


def _credit_minor(event: Any) -> int:
    data = event.data
    if event.type == "credit_memo.issued":
        return int(data.total_minor)
    is_credit = data.kind == "credit" if event.type == ALLOCATION else data.from_kind == "credit"
    return (-1 if event.type == "cash.unapplied" else 1) * int(data.amount_minor) if is_credit else 0


def _sum(movements: Sequence[Movement]) -> int:
    if len(movements) == 1:
        return movements[0].amount_minor
    return sum(movement.amount_minor for movement in movements) if movements else 0


def _crossing(movements: Sequence[Movement], needed_minor: int) -> Movement | None:
    """The movement with which the running sum last rose to what is needed; None where it is below at the end."""
    if len(movements) == 1:
        return movements[0] if movements[0].amount_minor >= needed_minor else None
    running, crossed = 0, None
    for movement in sorted(movements, key=_in_order):
        was_below = running < needed_minor
        running += movement.amount_minor
        if was_below and running >= needed_minor:
            crossed = movement
    return crossed if running >= needed_minor else None


NO_MONEY = Settlement()


def settlement_of(view: "View") -> Settlement:
    return NO_MONEY if _MONEY.isdisjoint(view.by_type) else Settlement(view)
