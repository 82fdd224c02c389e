"""Card payments through a processor: each a receipt of its own, with what becomes of it.

- It is refunded, disputed, or refunded for more than it is. What the processor settled of it is told by its payout, or by lines
  in its own case that name the payout; then the charge says what its fee is.
- One in another currency than the payout's is listed in its own with a rate, or as the processor converted it. The rate
  that was used has more decimals than the one printed.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple

from canonical.money import exponent
from company.bills import price_minor
from company.catalogue import MICRO, rate_micro, rate_text, round_half_up
from company.customers import Customer
from company.facts import Fact
from company.legs import unsettled
from company.pace import Pace
from company.truth import ORPHAN_GRACE, CaseTruth, Span

_DISPUTE_FEE_MINOR = 1_500
_NANO = 1_000 * MICRO


class Exchange(NamedTuple):
    """One unit of `currency` in `into`: as printed, in millionths, and as it was used."""

    currency: str
    into: str
    micro: int
    nano: int

    @property
    def text(self) -> str:
        return rate_text(self.micro)

    def printed(self, amount_minor: int) -> int:
        return self._converted(amount_minor, self.micro, MICRO)

    def used(self, amount_minor: int) -> int:
        return self._converted(amount_minor, self.nano, _NANO)

    def _converted(self, amount_minor: int, rate: int, unit: int) -> int:
        scaled = amount_minor * rate * 10 ** exponent(self.into)
        return round_half_up(scaled, unit * 10 ** exponent(self.currency))


class Line(NamedTuple):
    """What a payout lists of a charge, in the charge's currency."""

    kind: str
    gross_minor: int
    fee_minor: int


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
        self.exchange: Exchange | None = None
        self.is_listed_converted = False
        self.tells_lines = False  # in its own case
        self.told_lines: list[Fact] = []
        self.fee_off_minor = 0  # what was kept beyond the fee that it stated
        self.lines = [Line("charge", self.amount_minor, self.amount_minor * 29 // 1_000 + 30)]
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
            self.lines.append(Line("refund", -min(amount_minor, self.amount_minor), 0))
        refund = self.move("refund.issued", ident, amount_minor, self.within() * number, payment_id=self.ident)
        self.refunds.append(refund)

    def within(self) -> timedelta:
        return timedelta(milliseconds=self.rng.randrange(self.pace.charge[0] * 1_000, self.pace.charge[1] * 1_000))

    def truth(self, fault: str) -> CaseTruth:
        hop = [(self.received.seen_at, "not_expected")]
        silent = unsettled([*self.facts, *self.told_lines])
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
        if self.fee_off_minor and self.settled is not None:
            since = max(self.received.seen_at, self.settled.seen_at)
            truth.breaks.append(Span("fee", since, None, self.fee_off_minor))
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
    charge.lines.append(Line("dispute", -charge.amount_minor, _DISPUTE_FEE_MINOR))
    charge.disputed = charge.move("dispute.opened", ident, charge.amount_minor, charge.within(), **told)
    if ending is not None:
        after = timedelta(days=charge.rng.randint(20, 60))
        charge.ended = charge.move(ending, ident, charge.amount_minor, after, **told)


def charged_abroad(charge: Charge) -> None:
    """In the customer's currency, and paid out in the company's."""
    rng, into = charge.rng, charge.currency
    charge.currency = charge.received.data["currency"] = charge.customer.currency
    micro = rate_micro(into, charge.currency, charge.at.toordinal())
    charge.exchange = Exchange(charge.currency, into, micro, micro * 1_000 + rng.randint(-499, 499))
    charge.is_listed_converted, charge.tells_lines = rng.random() < 0.3, rng.random() < 0.3
    if rng.random() < 0.2:
        charge.refund(max(1, charge.amount_minor // 3), 1)


def self_settled(charge: Charge) -> None:
    """It says what its fee is, and its own case tells what was settled: just that was kept."""
    charge.tells_lines = True
    charge.received.data["fee_minor"] = charge.lines[0].fee_minor


def other_fee_kept(charge: Charge) -> None:
    """The processor keeps more than the charge said, or less."""
    self_settled(charge)
    first = charge.lines[0]
    charge.fee_off_minor = max(1, first.fee_minor // charge.rng.randint(2, 6))
    kept_minor = first.fee_minor + charge.fee_off_minor * charge.rng.choice((-1, 1))
    charge.lines[0] = first._replace(fee_minor=kept_minor)


STORIES: dict[str, Callable[[Charge], None]] = {
    story.__name__: story
    for story in (
        charged, refunded, over_refunded, disputed, lost_dispute, won_dispute, charged_abroad, self_settled, other_fee_kept,
    )
}  # fmt: skip

# What only some customers' charges can have.
FITS: dict[str, Callable[[Customer], bool]] = {"charged_abroad": lambda customer: customer.is_foreign}
