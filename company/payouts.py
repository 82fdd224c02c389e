"""Card payments through a processor, a day's payout of them, and the bank account that it reaches.

- A charge is a receipt of its own: refunded, disputed, or refunded for more than it is. What the processor settled of it is
  told by its payout.
- A payout is a case: the charges, refunds, disputes and fees of one company and day, listed by the processor; a line can be
  left out, or less arrive than was paid.
- The account is swept: each statement opens and closes with nothing, so that it needs to know no other. A line of it can
  be lost.
While a payout gathers and arrives its truth is unsettled.
"""

from collections.abc import Callable
from datetime import datetime, time, timedelta
from random import Random
from typing import Any

from company.bills import price_minor
from company.catalogue import Entity
from company.customers import Customer
from company.facts import Fact
from company.legs import unsettled
from company.pace import Pace
from company.truth import ORPHAN_GRACE, CaseTruth, Span

_DAY = timedelta(days=1)
_DISPUTE_FEE_MINOR = 1_500


class Charge:
    """A customer's card is charged."""

    def __init__(self, rng: Random, pace: Pace, customer: Customer, at: datetime, serial: int) -> None:
        self.rng, self.pace, self.customer, self.at, self.serial = rng, pace, customer, at, serial
        self.entity = customer.entity
        self.currency = self.entity.currency
        self.ident = f"ch_{serial:09d}"
        self.key = f"receipt:{self.entity.name}:stripe:{self.ident}"
        self.amount_minor = max(100, price_minor(customer))
        self.facts: list[Fact] = []
        self.refunds: list[Fact] = []
        self.disputed: Fact | None = None
        self.ended: Fact | None = None  # the dispute
        self.settled: Fact | None = None  # the line of the payout that lists it
        self.lines: list[tuple[str, int, int]] = [("charge", self.amount_minor, self.amount_minor * 29 // 1_000 + 30)]
        self.received = self.move("payment.received", self.ident, self.amount_minor, timedelta())

    def move(self, type: str, ident: str, amount_minor: int, after: timedelta, **more: Any) -> Fact:
        data = {
            "entity": self.entity.name, "document_id": ident, "customer": {"payer": self.customer.id}, "currency": self.currency,
            "amount_minor": amount_minor, "method": "card",
        }  # fmt: skip
        at = self.at + after
        name = f"{self.entity.name}:{ident}:{type}"
        self.facts.append(Fact(type, "payments", name, ident, at, at, self.rng.random(), data | more))
        return self.facts[-1]

    def refund(self, amount_minor: int, number: int) -> None:
        ident = f"re_{self.serial:09d}_{number}"
        if number == 1:
            self.lines.append(("refund", -min(amount_minor, self.amount_minor), 0))
        refund = self.move("refund.issued", ident, amount_minor, self.within() * number, payment_id=self.ident)
        self.refunds.append(refund)

    def within(self) -> timedelta:
        return timedelta(milliseconds=self.rng.randrange(self.pace.charge[0] * 1_000, self.pace.charge[1] * 1_000))

    def truth(self, fault: str) -> CaseTruth:
        hop = [(self.received.seen_at, "not_expected")]
        silent = unsettled(self.facts)
        seen = [fact.seen_at for fact in self.facts]
        if self.settled is not None:
            hop.append((max(seen[0], self.settled.seen_at), "met"))
            seen.append(self.settled.seen_at)
            if self.settled.seen_at < max(seen):
                silent.append(Span("overtaken", self.settled.seen_at, max(seen)))
        truth = CaseTruth(
            correlation_id=self.key, kind="receipt", entity=self.entity.name, document=self.ident, customer=self.customer.id,
            currency=self.currency, amount_minor=self.amount_minor, fault=fault, known_from=min(seen),
            hops={"payment_to_payout": hop}, unsettled=silent,
        )  # fmt: skip
        self._tell_breaks(truth)
        return truth

    def _tell_breaks(self, truth: CaseTruth) -> None:
        over_minor = sum(refund.data["amount_minor"] for refund in self.refunds) - self.amount_minor
        if over_minor > 0:
            seen_at = max(fact.seen_at for fact in self.facts)
            until = max(seen_at, max(refund.booked_at for refund in self.refunds) + ORPHAN_GRACE)
            truth.pending.append(Span("waits", seen_at, until))
            truth.breaks.append(Span("refund_unmatched", until, None, over_minor))
        if self.disputed is not None:
            won_at = self.ended.seen_at if self.ended is not None and self.ended.type == "dispute.won" else None
            exposure_minor = self.amount_minor + _DISPUTE_FEE_MINOR
            truth.breaks.append(Span("chargeback", self.disputed.seen_at, won_at, exposure_minor))


def charged(charge: Charge) -> None:
    """Nothing happens to it."""


def refunded(charge: Charge) -> None:
    """In full or in part."""
    charge.refund(charge.amount_minor if charge.rng.random() < 0.5 else max(1, charge.amount_minor // 3), 1)


def over_refunded(charge: Charge) -> None:
    """Refunded twice, for more than came in."""
    charge.refund(charge.amount_minor, 1)
    charge.refund(max(1, charge.amount_minor // 2), 2)


def disputed(charge: Charge) -> None:
    """The customer's bank takes it back, and nobody has decided yet."""
    _dispute(charge, None)


def lost_dispute(charge: Charge) -> None:
    """The bank decides for the customer, and nobody books the loss."""
    _dispute(charge, "dispute.lost")


def won_dispute(charge: Charge) -> None:
    """The bank decides for the company."""
    _dispute(charge, "dispute.won")


def _dispute(charge: Charge, ending: str | None) -> None:
    ident = f"dp_{charge.serial:09d}"
    told = {"payment_id": charge.ident, "fee_minor": _DISPUTE_FEE_MINOR}
    charge.lines.append(("dispute", -charge.amount_minor, _DISPUTE_FEE_MINOR))
    charge.disputed = charge.move("dispute.opened", ident, charge.amount_minor, charge.within(), **told)
    if ending is not None:
        after = timedelta(days=charge.rng.randint(20, 60))
        charge.ended = charge.move(ending, ident, charge.amount_minor, after, **told)


STORIES: dict[str, Callable[[Charge], None]] = {
    story.__name__: story for story in (charged, refunded, over_refunded, disputed, lost_dispute, won_dispute)
}


class Payout:
    """What the processor pays one company for a day's charges, or for less in a life that is watched."""

    def __init__(self, first: Charge) -> None:
        self.entity: Entity = first.entity
        self.day, pace = first.at.date(), first.pace
        midnight = datetime.combine(self.day + _DAY, time.min, first.at.tzinfo)
        self.closes_at = midnight if pace.batch is None else first.at + timedelta(seconds=pace.batch)
        self.number = f"{self.day:%Y%m%d}-{first.serial}"
        self.ident = f"po_{self.number}"
        self.key = f"payout:{self.entity.name}:stripe:{self.ident}"
        self.account = f"{self.entity.name}-sweep"
        self.statement = f"{self.account}/{self.number}"
        self.statement_key = f"summary:{self.entity.name}:bank:{self.statement}"
        self.paid_after, self.batch = pace.journal, pace.batch
        self.charges: list[Charge] = []
        self.facts: list[Fact] = []
        self.bank: list[Fact] = []
        self._off_minor = 0  # what the payout is off its lines
        self._short_minor = 0  # what did not arrive
        self._lost_minor = 0  # of the statement's lines

    def takes(self, charge: Charge) -> bool:
        return (self.entity, self.batch) == (charge.entity, charge.pace.batch) and charge.at < self.closes_at

    def can_have(self, fault: str) -> bool:
        """Without any line nothing can be said of a payout."""
        return fault != "line_left_out" or sum(len(charge.lines) for charge in self.charges) > 1

    def tell(self, rng: Random, fault: str) -> None:
        """The lines, the payout, and the statement of the account, with one fault (`clean` for none)."""
        at = self.closes_at + timedelta(seconds=rng.randint(*self.paid_after))
        lines = [(charge, *line) for charge in self.charges for line in charge.lines]
        net_minor = sum(gross - fee for _, _, gross, fee in lines)
        left_out = rng.randrange(len(lines)) if fault == "line_left_out" else None
        for number, (charge, kind, gross_minor, fee_minor) in enumerate(lines):
            if number == left_out:
                self._off_minor = abs(gross_minor - fee_minor)
                continue
            line = self._line(rng, at, charge, number, kind, gross_minor, fee_minor)
            if kind == "charge":
                charge.settled = line
        self.paid = self._fact(
            "payout.paid", "payments", self.ident, at, rng,
            {"currency": self.entity.currency, "amount_minor": abs(net_minor), "direction": "sales" if net_minor >= 0 else "purchase"},
        )  # fmt: skip
        self.facts.append(self.paid)
        if fault == "short_transfer":
            self._short_minor = max(1, abs(net_minor) // 100)
        self._tell_bank(rng, at, net_minor + self._short_minor * (1 if net_minor < 0 else -1), fault)

    def _line(
        self, rng: Random, at: datetime, charge: Charge, number: int, kind: str, gross_minor: int, fee_minor: int
    ) -> Fact:
        data = {
            "kind": kind, "currency": self.entity.currency, "gross_minor": gross_minor, "fee_minor": fee_minor,
            "net_minor": gross_minor - fee_minor, "payout_id": self.ident, "payment_key": charge.key,
        }  # fmt: skip
        line = self._fact("settlement.line", "payments", f"txn_{self.number}_{number}", at, rng, data)
        self.facts.append(line)
        return line

    def _tell_bank(self, rng: Random, paid_at: datetime, arrived_minor: int, fault: str) -> None:
        """What arrived, and its sweep to the main account: the statement ends with nothing, as it begins."""
        at = paid_at + (timedelta(hours=20) if self.batch is None else timedelta(seconds=5))
        account = {"account": self.account, "currency": self.entity.currency}
        statement = account | {"opening_minor": 0, "closing_minor": 0}
        self.bank.append(self._fact("bank.statement", "bank", self.statement, at, rng, statement))
        for name, amount_minor, more in (
            ("in", arrived_minor, {"payout_key": self.key}),
            ("sweep", -arrived_minor, {}),
        ):
            if name == "sweep" and fault == "lost_bank_line":
                self._lost_minor = abs(amount_minor)
                continue
            line = account | {"amount_minor": amount_minor, "statement_id": self.statement} | more
            self.bank.append(self._fact("bank.line", "bank", f"{self.statement}/{name}", at, rng, line))

    def _fact(self, type: str, system: str, ident: str, at: datetime, rng: Random, data: dict[str, Any]) -> Fact:
        stated = {"entity": self.entity.name, "document_id": ident} | data
        return Fact(type, system, f"{self.entity.name}:{ident}:{type}", ident, at, at, rng.random(), stated)

    def truths(self, fault: str) -> list[CaseTruth]:
        return [self._truth(fault), self._truth_of_statement(fault)]

    def _truth(self, fault: str) -> CaseTruth:
        arrived = next(fact for fact in self.bank if "payout_key" in fact.data)
        seen = [*(fact.seen_at for fact in self.facts), arrived.seen_at]
        state = "not_expected" if self._short_minor else "met"
        truth = CaseTruth(
            correlation_id=self.key, kind="payout", entity=self.entity.name, document=self.ident, customer="",
            currency=self.entity.currency, amount_minor=self.paid.data["amount_minor"], fault=fault, known_from=min(seen),
            hops={"payout_to_bank": [(min(seen), "not_expected"), (max(seen), state)]}, unsettled=[Span("gathers", min(seen), max(seen))],
        )  # fmt: skip
        if self._off_minor:
            truth.breaks.append(Span("payout", max(seen), None, self._off_minor))
        if self._short_minor:
            until = max(*seen, arrived.booked_at + ORPHAN_GRACE)
            truth.pending.append(Span("waits", max(seen), until))
            truth.breaks.append(Span("bank", until, None, self._short_minor))
        return truth

    def _truth_of_statement(self, fault: str) -> CaseTruth:
        seen = [fact.seen_at for fact in self.bank]
        truth = CaseTruth(
            correlation_id=self.statement_key, kind="summary", entity=self.entity.name, document=self.statement, customer="",
            currency=self.entity.currency, amount_minor=0, fault=fault, known_from=min(seen),
            unsettled=[Span("gathers", min(seen), max(seen))],
        )  # fmt: skip
        if self._lost_minor:
            until = max(*seen, self.bank[0].booked_at + ORPHAN_GRACE)
            truth.pending.append(Span("waits", max(seen), until))
            truth.breaks.append(Span("bank", until, None, self._lost_minor))
        return truth
