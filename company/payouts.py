"""A day's payout of card payments, and the bank account that it reaches.

- A payout is a case: the charges, refunds, disputes and fees of one company and day, listed by the processor; a line can be
  left out, converted at another rate than it states, or not come to its net, or less arrive than was paid.
- The ledger may book it in its case, with the fees or with others.
- The account is swept: each statement opens and closes with nothing, so that it needs to know no other. A line of it can
  be lost.
While a payout gathers and arrives its truth is unsettled.
"""

from datetime import datetime, time, timedelta
from random import Random
from typing import Any, NamedTuple

from company.catalogue import Entity
from company.charges import Charge, Line
from company.facts import Fact
from company.truth import ORPHAN_GRACE, TERMS, CaseTruth, Span

_DAY = timedelta(days=1)
_POSTING_TARGET = TERMS["invoice_to_posting"].target


class Listed(NamedTuple):
    """A line of a charge as its payout lists it: in the charge's currency, or as the processor converted it."""

    charge: Charge
    line: Line

    @property
    def is_foreign(self) -> bool:
        return self.charge.exchange is not None and not self.charge.is_listed_converted

    @property
    def currency(self) -> str:
        exchange = self.charge.exchange
        return exchange.into if exchange is not None and not self.is_foreign else self.charge.currency

    @property
    def shown(self) -> tuple[int, int]:
        """Gross and fee."""
        if self.charge.exchange is None or self.is_foreign:
            return self.line.gross_minor, self.line.fee_minor
        return self.charge.exchange.used(self.line.gross_minor), self.charge.exchange.used(self.line.fee_minor)

    def paid(self, minor: int) -> int:
        """What it adds to the payout: of the net, or of the fee."""
        return self.charge.exchange.used(minor) if self.charge.exchange is not None and self.is_foreign else minor

    def stated(self, minor: int) -> int:
        """The same by the rate that is printed."""
        return self.charge.exchange.printed(minor) if self.charge.exchange is not None and self.is_foreign else minor

    @property
    def net_minor(self) -> int:
        gross_minor, fee_minor = self.shown
        return gross_minor - fee_minor


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
        self._unnetted_minor = 0  # what a line's net is off its gross less its fee
        self._fees_off_minor = 0  # what was booked beyond the fees, or less

    def takes(self, charge: Charge) -> bool:
        return (self.entity, self.batch) == (charge.entity, charge.pace.batch) and charge.at < self.closes_at

    def can_have(self, fault: str) -> bool:
        """Without any line nothing can be said of a payout."""
        lines = self._listed()
        own = [each for each in lines if not each.charge.tells_lines]
        return {
            "line_left_out": len(lines) > 1 and bool(self._can_be_left_out(lines)),
            "wrong_rate": any(each.is_foreign for each in lines),
            "line_not_netted": any(not each.is_foreign for each in own),
            "fee_misbooked": len(own) == len(lines),
        }.get(fault, True)

    def _listed(self) -> list[Listed]:
        return [Listed(charge, line) for charge in self.charges for line in charge.lines]

    def _can_be_left_out(self, lines: list[Listed]) -> list[Listed]:
        """So large that rounding cannot hide it, and not the one by which another fault is told."""
        largest_minor = max(abs(each.paid(each.net_minor)) for each in lines)
        large = [each for each in lines if 10 * abs(each.paid(each.net_minor)) >= largest_minor]
        return [each for each in large if not each.charge.fee_off_minor]

    def tell(self, rng: Random, fault: str) -> None:
        """The lines, the payout, and the statement of the account, with one fault (`clean` for none)."""
        at = self.closes_at + timedelta(seconds=rng.randint(*self.paid_after))
        lines = self._listed()
        net_minor = sum(each.paid(each.net_minor) for each in lines)
        if fault == "line_left_out":
            lines.remove(rng.choice(self._can_be_left_out(lines)))
        elif fault == "wrong_rate":
            largest = max((each for each in lines if each.is_foreign), key=lambda each: abs(each.paid(each.net_minor)))
            net_minor += largest.paid(largest.net_minor) * rng.randint(3, 8) // 100 + 3
        if fault in ("line_left_out", "wrong_rate"):
            self._off_minor = abs(net_minor - sum(each.stated(each.net_minor) for each in lines))
        self._tell_lines(rng, at, lines, fault)
        self.paid = self._fact(
            "payout.paid", "payments", self.ident, at, rng,
            {"currency": self.entity.currency, "amount_minor": abs(net_minor), "direction": "sales" if net_minor >= 0 else "purchase"},
        )  # fmt: skip
        self.facts.append(self.paid)
        if fault == "short_transfer":
            self._short_minor = max(1, abs(net_minor) // 100)
        self._tell_bank(rng, at, net_minor + self._short_minor * (1 if net_minor < 0 else -1), fault)
        if fault in ("booked_payout", "fee_misbooked"):
            self._book(rng, at, lines, net_minor, fault)

    def _tell_lines(self, rng: Random, at: datetime, lines: list[Listed], fault: str) -> None:
        for number, each in enumerate(lines):
            charge, is_charge = each.charge, each.line.kind == "charge"
            line = self._line(rng, at, number, each)
            (charge.told_lines if charge.tells_lines else self.facts).append(line)
            if is_charge:
                charge.settled = line
        if fault == "line_not_netted":
            own = [line for line in self.facts if line.data["currency"] == self.entity.currency]
            self._unnetted_minor = rng.randint(1, 500)
            rng.choice(own).data["fee_minor"] += self._unnetted_minor

    def _line(self, rng: Random, at: datetime, number: int, each: Listed) -> Fact:
        charge = each.charge
        gross_minor, fee_minor = each.shown
        data: dict[str, Any] = {
            "kind": each.line.kind, "currency": each.currency, "gross_minor": gross_minor, "fee_minor": fee_minor,
            "net_minor": gross_minor - fee_minor, "payout_id": self.ident,
        }  # fmt: skip
        if charge.exchange is not None:
            data["rate"] = charge.exchange.text
        if charge.tells_lines:
            data |= {"payment_id": charge.ident, "payout_key": self.key}
        else:
            data["payment_key"] = charge.key
        return self._fact("settlement.line", "payments", f"txn_{self.number}_{number}", at, rng, data)

    def _book(self, rng: Random, paid_at: datetime, lines: list[Listed], net_minor: int, fault: str) -> None:
        """The ledger's entry: what came in, the fees, and both out of clearing."""
        fees_minor = sum(each.paid(each.shown[1]) for each in lines)
        if fault == "fee_misbooked":
            fees_minor += max(fees_minor // 10, len(lines) + 1) * rng.choice((-1, 1))
            self._fees_off_minor = abs(fees_minor - sum(each.stated(each.shown[1]) for each in lines))
        sums = (("cash", net_minor), ("fee", fees_minor), ("clearing", -net_minor - fees_minor))
        data = {
            "ledger": "main", "document_type": "payout", "posting_kind": "document", "currency": self.entity.currency,
            "base_currency": self.entity.currency,
            "lines": [{"role": role, "amount_minor": minor, "base_minor": minor} for role, minor in sums],
        }  # fmt: skip
        at = paid_at + timedelta(seconds=rng.randint(20, 40_000))
        entry = self._fact("posting.recorded", "erp", f"JE-{self.number}", at, rng, data)
        self.facts.append(entry)

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
        told = [line for charge in self.charges for line in charge.told_lines]
        seen = [*(fact.seen_at for fact in (*self.facts, *told)), arrived.seen_at]
        state = "not_expected" if self._short_minor else "met"
        truth = CaseTruth(
            correlation_id=self.key, kind="payout", entity=self.entity.name, document=self.ident, customer="",
            currency=self.entity.currency, amount_minor=self.paid.data["amount_minor"], fault=fault, known_from=min(seen),
            hops={"payout_to_bank": [(min(seen), "not_expected"), (max(seen), state)]}, unsettled=[Span("gathers", min(seen), max(seen))],
        )  # fmt: skip
        if self._off_minor:
            truth.breaks.append(Span("payout", max(seen), None, self._off_minor))
        if self._unnetted_minor:
            truth.breaks.append(Span("fee", max(seen), None, self._unnetted_minor))
        if self._fees_off_minor:
            booked = [fact.booked_at for fact in self.facts if fact.type in ("settlement.line", "posting.recorded")]
            until = max(*seen, max(booked) + _POSTING_TARGET)
            truth.pending.append(Span("waits", max(seen), until))
            truth.breaks.append(Span("fee", until, None, self._fees_off_minor))
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
