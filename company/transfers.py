"""One bank transfer for two invoices: a receipt with a case of its own that says what it pays, and is applied there.

The invoices are told of their parts. The transfer can be said to pay more than came in, pay another customer's invoice, or
keep a rest that nobody applied.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from company.cash import APPLICATION
from company.customers import Customer
from company.facts import Fact
from company.invoices import InvoiceLife, Payment
from company.legs import unsettled
from company.misplaced import both_billed
from company.truth import TERMS, CaseTruth, Span

_APPLIED_WITHIN = (60, 9_000)  # also of the last one: well within the target
_UNAPPLIED = TERMS["payment_to_application"].missing_after


class Transfer:
    """`life`'s customer pays it and `other`."""

    def __init__(self, life: InvoiceLife, *, is_anothers: bool = False) -> None:
        self.life, self.other = life, both_billed(life, is_anothers)
        self.rng, self.pace, self.entity = life.rng, life.pace, life.entity
        self.ident = f"tr_{life.serial:09d}"
        self.key = f"receipt:{self.entity.name}:bank:{self.ident}"
        self.facts: list[Fact] = []
        self.over_minor = 0  # named and applied beyond what came in
        self.rest_minor = 0  # that nobody applied

    def pay(self, amount_minor: int, *invoices: InvoiceLife) -> None:
        """So much comes in, and pays these in full, as it says."""
        life = self.life
        data = life.payment_data(self.ident, amount_minor)
        del data["invoice_id"], data["reference"]
        data["allocations"] = [{"target": each.key, "amount_minor": each.bill.total_minor} for each in invoices]
        at = max(life.paid_at(), self.other.start + timedelta(seconds=60))
        booked_at = at + life.within(self.pace.bank_import)
        self.received = self._tell("payment.received", "bank", self.ident, at, booked_at, data)
        for each, suffix in zip(invoices, "ab", strict=False):
            self._apply(each, suffix)
        self.over_minor = max(0, sum(each.bill.total_minor for each in invoices) - amount_minor)
        self.rest_minor = max(0, amount_minor - sum(each.bill.total_minor for each in invoices))

    def _apply(self, invoice: InvoiceLife, suffix: str) -> None:
        ident, amount_minor = f"AP-{self.life.serial:09d}{suffix}", invoice.bill.total_minor
        data = {
            "from_kind": "payment", "currency": invoice.bill.currency, "amount_minor": amount_minor, "payment_id": self.ident,
            "invoice_id": invoice.document_id, "invoice_key": invoice.key,
        }  # fmt: skip
        at = self.received.booked_at + self.life.within(_APPLIED_WITHIN)
        applied = self._tell("cash.applied", "erp", ident, at, at, data)
        invoice.told += [self.received, applied]
        invoice.payments.append(Payment(self.received, amount_minor, applied, amount_minor))
        invoice.settled = self.received

    def _tell(
        self, type: str, system: str, ident: str, at: datetime, booked_at: datetime, data: dict[str, Any]
    ) -> Fact:
        stated = {"entity": self.entity.name, "document_id": ident} | data
        self.facts.append(Fact(type, system, f"{ident}:{type}", ident, at, booked_at, self.rng.random(), stated))
        return self.facts[-1]

    def truth(self, fault: str) -> CaseTruth:
        seen = [fact.seen_at for fact in self.facts]
        truth = CaseTruth(
            correlation_id=self.key, kind="receipt", entity=self.entity.name, document=self.ident,
            customer=self.life.bill.customer.id, currency=self.life.bill.currency,
            amount_minor=self.received.data["amount_minor"], fault=fault, known_from=min(seen),
            hops={"payment_to_payout": [(min(seen), "not_expected")]}, unsettled=unsettled(self.facts),
        )  # fmt: skip
        until = max(seen)
        if self.over_minor:
            until = max(until, max(fact.booked_at for fact in self.facts) + APPLICATION)
            truth.breaks.append(Span("misapplied", until, None, self.over_minor))
        elif self.rest_minor:
            until = max(until, self.received.booked_at + _UNAPPLIED)
            truth.breaks.append(Span("unapplied_cash", until, None, self.rest_minor))
        truth.pending.append(Span("waits", min(seen), until))
        return truth


def one_transfer(life: InvoiceLife) -> Transfer:
    """For both, to the cent."""
    transfer = Transfer(life)
    transfer.pay(life.bill.total_minor * 2, life, transfer.other)
    return transfer


def transfer_overstretched(life: InvoiceLife) -> Transfer:
    """Less came in than both invoices, and both were applied in full."""
    transfer = Transfer(life)
    total_minor = life.bill.total_minor
    transfer.pay(total_minor * life.rng.randint(105, 195) // 100, life, transfer.other)
    return transfer


def transfer_for_another(life: InvoiceLife) -> Transfer:
    """The second invoice is another customer's."""
    transfer = Transfer(life, is_anothers=True)
    transfer.pay(life.bill.total_minor * 2, life, transfer.other)
    other = transfer.other
    other.claim("misapplied", other.invoice, transfer.received, exposure_minor=life.bill.total_minor)
    return transfer


def transfer_rest(life: InvoiceLife) -> Transfer:
    """Enough for both, and said to pay the first alone: the rest lies on account, and the second invoice unpaid."""
    transfer = Transfer(life)
    transfer.pay(life.bill.total_minor * 2, life)
    return transfer


def _by_name(*stories: Callable[[InvoiceLife], Transfer]) -> dict[str, Callable[[InvoiceLife], Transfer]]:
    return {story.__name__: story for story in stories}


STORIES = _by_name(one_transfer, transfer_overstretched, transfer_for_another, transfer_rest)


def _transfers(customer: Customer) -> bool:
    return customer.terms_days is not None


FITS = dict.fromkeys(STORIES, _transfers)
