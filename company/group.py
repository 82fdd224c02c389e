"""Invoices between two companies of the group: one sells, the other buys, and both bring the document to the pair's case.

Each side is an invoice with a life of its own. The truth of the pair is told here: what both say sums to nothing, or the
other side never booked it, or booked another amount.
"""

from datetime import datetime, timedelta
from random import Random
from typing import Any

from canonical.ids import intercompany_key
from company.bills import Bill, invoice_data
from company.catalogue import ENTITIES, rate_on, tax_minor
from company.facts import Fact
from company.invoices import InvoiceLife
from company.pace import Pace
from company.truth import ORPHAN_GRACE, TERMS, CaseTruth, Span

_FOLLOWS_WITHIN = TERMS["invoice_to_posting"].target


class PurchaseLife(InvoiceLife):
    """The buyer's side: the supplier's invoice, booked on payables and paid."""

    def __init__(self, rng: Random, pace: Pace, seller: InvoiceLife, bill: Bill, at: datetime) -> None:
        super().__init__(rng, pace, bill, at, seller.serial, seller.other)
        self.seller, self.number = seller, seller.number
        self.key = f"invoice:{self.entity.name}:erp:{self.number}"
        self.document_id = f"bill_{self.serial:09d}"

    def issue(self, document_id: str | None = None, after_s: int = 0) -> Fact:
        document_id = document_id or self.document_id
        data = invoice_data(self.bill, self.number, document_id)
        data |= {"direction": "purchase", "counterparty": self.seller.entity.name}
        at = self.at + timedelta(seconds=after_s)
        self.issued = self.tell("invoice.issued", "erp", f"{document_id}:issued", self.number, at, data)
        return self.issued

    def posting_data(self, journal: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
        return super().posting_data(f"{journal}P", lines) | {"direction": "purchase"}

    def payment_data(self, ident: str, amount_minor: int) -> dict[str, Any]:
        return super().payment_data(ident, amount_minor) | {"direction": "purchase"}

    def tell(
        self, type: str, system: str, ident: str, subject: str, at: datetime, data: dict[str, Any],
        booked_at: datetime | None = None,
    ) -> Fact:  # fmt: skip
        return super().tell(type, system, f"{self.entity.name}:{ident}", subject, at, data, booked_at)

    def lines(self, total_minor: int | None, tax_minor: int | None, base_minor: int | None) -> list[dict[str, Any]]:
        roles = {"receivable": "payable", "deferred": "expense", "tax": "tax"}
        return [
            line | {name: -line[name] for name in ("amount_minor", "base_minor") if name in line} | {"role": roles[line["role"]]}
            for line in super().lines(total_minor, tax_minor, base_minor)
        ]  # fmt: skip


def sell(life: InvoiceLife, fault: str) -> PurchaseLife | None:
    """Tells the seller's life and the buyer's; None where the buyer never booked it."""
    buyer = life.rng.choice([entity for entity in ENTITIES if entity != life.entity and entity.keeps_document_amounts])
    issued = life.issue()
    issued.data["counterparty"] = buyer.name
    life.post()
    life.pay()
    if fault == "unbooked_counterpart":
        return None
    bill = life.bill
    if fault == "counterpart_differs":
        net_minor = max(1, bill.net_minor - max(20, bill.net_minor // 20))
        bill = bill._replace(net_minor=net_minor, tax_minor=tax_minor(net_minor, bill.customer.tax.rate))
    is_foreign = bill.currency != buyer.currency
    bill = bill._replace(
        customer=bill.customer._replace(entity=buyer), discount_minor=0,
        rate=rate_on(bill.issued_on.toordinal(), bill.currency, buyer) if is_foreign else None,
    )  # fmt: skip
    at = issued.booked_at + timedelta(seconds=life.rng.randint(60, 3_000))
    bought = PurchaseLife(life.rng, life.pace, life, bill, at)
    bought.issue()
    bought.post()
    bought.pay()
    return bought


def pair(sold: InvoiceLife, bought: PurchaseLife | None, fault: str) -> CaseTruth:
    """The truth of the case in which both meet."""
    issued = sold.invoice
    other = issued.data["counterparty"]
    truth = CaseTruth(
        correlation_id=intercompany_key(sold.entity.name, other, sold.number), kind="index",
        entity="+".join(sorted((sold.entity.name, other))), document=sold.number, customer="", currency=sold.currency,
        amount_minor=0, fault=fault, known_from=issued.seen_at,
    )  # fmt: skip
    if bought is None:
        until = max(issued.seen_at, issued.booked_at + ORPHAN_GRACE)
        truth.pending.append(Span("waits", issued.seen_at, until))
        truth.breaks.append(Span("intercompany", until, None, sold.bill.total_minor))
        return truth
    first, last = sorted((issued.seen_at, bought.invoice.seen_at))
    truth.known_from = first
    truth.pending.append(Span("waits", first, last))
    left_minor = abs(sold.bill.total_minor - bought.bill.total_minor)
    if left_minor:
        until = max(last, issued.booked_at + _FOLLOWS_WITHIN, bought.invoice.booked_at + _FOLLOWS_WITHIN)
        truth.pending.append(Span("waits", last, until))
        truth.breaks.append(Span("intercompany", until, None, left_minor))
    return truth
