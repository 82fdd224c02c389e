"""The life of one invoice across billing, ledger, payments and bank, as it was meant and as it went wrong.

`InvoiceLife` is the vocabulary: issue, post, pay, apply, void. A story (company.stories) tells the life in it and claims
what must be found (`claim`). The truth is read off what was told: legs from the moments of its facts (company.legs),
breaks from the claims. Nothing here nets, sums or compares records.
"""

from datetime import UTC, datetime, time, timedelta
from functools import partial
from random import Random
from typing import Any, NamedTuple

from company.bills import Bill, invoice_data
from company.customers import Customer
from company.facts import Fact
from company.legs import Legs, Reopened, ReopenedLegs, given_up, unsettled
from company.pace import Pace
from company.truth import CaseTruth, Span

_DAY = timedelta(days=1)
SERIALS = 10_000_000  # between the documents of one story: more than there are cases
FAILURES = {
    "transient": "erp answered 503 service unavailable",
    "mapping": "account code {plan} is not mapped to a ledger account",
    "master_data": "customer {erp_id} is blocked in erp",
    "policy": "period is locked for posting",
}


class Claim(NamedTuple):
    """A break that must stand once all of `evidence` is delivered and `from_at` has passed, until `until`."""

    name: str
    evidence: tuple[Fact, ...]
    exposure_minor: int
    from_at: datetime | None = None
    until: Fact | None = None


class Wait(NamedTuple):
    """The case is pending from the fact's delivery to `until`, or to the delivery of `ended_by`."""

    fact: Fact
    until: datetime
    ended_by: Fact | None = None

    def span(self) -> Span:
        ends = self.until if self.ended_by is None else min(self.until, self.ended_by.seen_at)
        return Span("waits", self.fact.seen_at, ends)


class Payment(NamedTuple):
    fact: Fact
    amount_minor: int
    applied: Fact | None
    applied_minor: int


class InvoiceLife:
    kind = "invoice"

    def __init__(self, rng: Random, pace: Pace, bill: Bill, at: datetime, serial: int, other: Customer) -> None:
        self.rng, self.pace, self.bill, self.at = rng, pace, bill, at
        self.other = other  # some other customer
        self.entity = bill.customer.entity
        self.serial = serial
        self.number = f"INV-{at.year}-{serial:06d}"
        self.key = f"invoice:{self.entity.name}:billing:{self.number}"
        self.document_id = f"in_{serial:09d}"
        self.currency, self.amount_minor = bill.currency, bill.total_minor
        self.facts: list[Fact] = []
        self.told: list[Fact] = []  # what other cases tell this one of theirs
        self.payments: list[Payment] = []
        self.claims: list[Claim] = []
        self.pending: list[Wait] = []
        self.failed: list[tuple[str, Fact, Fact | None]] = []
        self.gaps: list[tuple[Fact, Fact]] = []
        self.issued: Fact | None = None
        self.posted: Fact | None = None
        self.settled: Fact | None = None
        self.void: Fact | None = None
        self.reversal: Fact | None = None
        self.given_up: list[tuple[Fact, Fact | None]] = []  # the decision, and what ended it
        self.credited: Fact | None = None  # what took it back in full after it was paid
        self.stated: dict[str, Any] = {}  # what the document says in place of, or beside, what a bill says by itself
        self.batch_key: str | None = None  # the case of the batch that books it
        self.reopened: Reopened | None = None

    # what happens

    def tell(
        self, type: str, system: str, ident: str, subject: str, at: datetime, data: dict[str, Any],
        booked_at: datetime | None = None,
    ) -> Fact:  # fmt: skip
        fact = Fact(type, system, ident, subject, at, booked_at or at, self.rng.random(), data)
        self.facts.append(fact)
        return fact

    def issue(self, document_id: str | None = None, after_s: int = 0) -> Fact:
        document_id = document_id or self.document_id
        at = self.at + timedelta(seconds=after_s)
        booked_at = at + self.within((1, 20)) if self.rng.random() < 0.3 else at
        data = invoice_data(self.bill, self.number, document_id) | self.stated
        if self.batch_key is not None:
            data["summary_key"] = self.batch_key
        fact = self.tell("invoice.issued", "billing", f"{document_id}:issued", self.number, at, data, booked_at)
        self.issued = self.issued or fact
        return fact

    def restate(self) -> Fact:
        """The same fact once more with another content, some time after."""
        first = self.invoice
        line = first.data["lines"][0]
        data = first.data | {
            "lines": [line | {"description": f"{line['description']}, renewed"}, *first.data["lines"][1:]]
        }
        ident = f"{self.document_id}:issued"
        fact = self.tell("invoice.issued", "billing", ident, self.number, first.at, data, first.booked_at)
        fact.seen_at = first.seen_at + self.within((5, 50_000))
        return fact

    def post(
        self, at: datetime | None = None, *, total_minor: int | None = None, tax_minor: int | None = None,
        base_minor: int | None = None, suffix: str = "", is_standing: bool = True, **changes: Any,
    ) -> Fact:  # fmt: skip
        at = at or self.start + self.within(self.pace.posting)
        journal = f"JE-{self.serial:09d}{suffix}"
        data = self.posting_data(journal, self.lines(total_minor, tax_minor, base_minor)) | changes
        fact = self.tell("posting.recorded", "erp", f"{journal}:recorded", journal, at, data)
        if is_standing and self.posted is None:
            self.posted = fact
        return fact

    def reverse(self, posting: Fact, at: datetime, document_type: str) -> Fact:
        journal = f"{posting.data['document_id']}R"
        lines = [
            line | {name: -line[name] for name in ("amount_minor", "base_minor") if name in line}
            for line in posting.data["lines"]
        ]
        data = self.posting_data(journal, lines)
        data |= {"document_type": document_type, "reverses": posting.data["document_id"], "accounting_date": at.date()}
        return self.tell("posting.reversed", "erp", f"{journal}:reversed", journal, at, data)

    def posting_data(self, journal: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
        data: dict[str, Any] = {
            "entity": self.entity.name,
            "document_id": journal,
            "number": journal,
            "accounting_date": self.bill.issued_on,
            "customer": {"sold_to": self.bill.customer.erp_id},
            "ledger": "main",
            "document_type": "invoice",
            "posting_kind": "document",
            "direction": "sales",
            "base_currency": self.entity.currency,
            "lines": lines,
        }
        if self.entity.keeps_document_amounts:
            data["currency"] = self.bill.currency
        return data

    def lines(self, total_minor: int | None, tax_minor: int | None, base_minor: int | None) -> list[dict[str, Any]]:
        """Receivable, revenue and tax; the revenue line takes what is left, so the entry balances."""
        total = self.bill.total_minor if total_minor is None else total_minor
        tax = self.bill.tax_minor if tax_minor is None else tax_minor
        base_total = self.bill.base(total) if base_minor is None else base_minor
        base_tax = self.bill.base(tax)
        lines = [self.line("receivable", "1200", total, base_total)]
        lines.append(self.line("deferred", "2400", tax - total, base_tax - base_total))
        if tax or self.bill.tax_minor:
            lines.append(self.line("tax", "2200", -tax, -base_tax))
        return lines

    def line(self, role: str, account: str, amount_minor: int, base_minor: int) -> dict[str, Any]:
        line: dict[str, Any] = {"role": role, "account": account, "base_minor": base_minor}
        if self.entity.keeps_document_amounts:
            line["amount_minor"] = amount_minor
        return line

    def pay(
        self, amount_minor: int | None = None, applied_minor: int | None = None, *, at: datetime | None = None,
        applied_after: tuple[int, int] | None = None, suffix: str = "",
    ) -> Payment:  # fmt: skip
        """A payment and its application; `applied_minor` 0: it is never applied."""
        amount = self.bill.total_minor if amount_minor is None else amount_minor
        applied = amount if applied_minor is None else applied_minor
        at = at or self.paid_at()
        ident = f"pay_{self.serial:09d}{suffix}"
        fact = self.tell(
            "payment.received", self.payment_system, f"{ident}:received", ident, at, self.payment_data(ident, amount),
            at + self.within(self.pace.bank_import) if self.payment_system == "bank" else at,
        )  # fmt: skip
        application = None
        if applied:
            applied_at = fact.booked_at + self.within(applied_after or self.pace.application)
            application = self.apply(applied, applied_at, "payment", suffix, ident)
        payment = Payment(fact, amount, application, applied)
        self.payments.append(payment)
        if self.settled is None and sum(known.amount_minor for known in self.payments) >= self.bill.total_minor:
            self.settled = fact
        return payment

    def payment_data(self, ident: str, amount_minor: int) -> dict[str, Any]:
        return {
            "entity": self.entity.name,
            "document_id": ident,
            "customer": {"payer": self.bill.customer.id},
            "currency": self.bill.currency,
            "amount_minor": amount_minor,
            "direction": "sales",
            "method": self.bill.customer.method,
            "invoice_id": self.document_id,
            "reference": self.number,
        }

    def apply(self, amount_minor: int, at: datetime, from_kind: str, suffix: str, payment_id: str | None) -> Fact:
        ident = f"AP-{self.serial:09d}{suffix}"
        data = {
            "entity": self.entity.name,
            "document_id": ident,
            "from_kind": from_kind,
            "currency": self.bill.currency,
            "amount_minor": amount_minor,
            "invoice_id": self.document_id,
        }
        if payment_id is not None:
            data["payment_id"] = payment_id
        return self.tell("cash.applied", "erp", f"{ident}:applied", ident, at, data)

    def cancel(self, at: datetime) -> Fact:
        data = {"entity": self.entity.name, "document_id": self.document_id, "number": self.number, "version": 1}
        data["reason"] = "issued in error"
        self.void = self.tell("invoice.voided", "billing", f"{self.document_id}:voided", self.number, at, data)
        return self.void

    def fail(self, failure: str, at: datetime, attempt: int) -> Fact:
        customer = self.bill.customer
        reason = FAILURES[failure].format(plan=customer.plan.name, erp_id=customer.erp_id)
        data = self.delivery_data(attempt) | {"failure": failure, "reason": reason}
        ident = f"{self.document_id}:erp:failed-{attempt}"
        return self.tell("delivery.failed", "integration", ident, self.number, at, data)

    def deliver(self, at: datetime, attempt: int) -> Fact:
        ident = f"{self.document_id}:erp:succeeded"
        return self.tell("delivery.succeeded", "integration", ident, self.number, at, self.delivery_data(attempt))

    def delivery_data(self, attempt: int) -> dict[str, Any]:
        return {
            "entity": self.entity.name, "document_id": self.document_id, "number": self.number, "target": "erp",
            "operation": "create_invoice", "attempt": attempt,
        }  # fmt: skip

    # when it happens

    @property
    def invoice(self) -> Fact:
        """The first document; told before any story that asks for it."""
        if self.issued is None:
            raise ValueError(f"{self.number} has not been issued")
        return self.issued

    @property
    def start(self) -> datetime:
        """When billing booked the invoice (or would have)."""
        return self.issued.booked_at if self.issued is not None else self.at

    @property
    def payment_system(self) -> str:
        return "payments" if self.bill.customer.terms_days is None else "bank"

    def within(self, seconds: tuple[int, int]) -> timedelta:
        return timedelta(milliseconds=self.rng.randrange(seconds[0] * 1_000, seconds[1] * 1_000))

    def paid_at(self) -> datetime:
        """A charge follows the invoice at once. A transfer comes around the due date; one in twelve customers is late."""
        terms_days = self.bill.customer.terms_days
        if terms_days is None:
            return self.start + self.within(self.pace.charge)
        if self.pace.transfer is not None:
            return self.start + self.within(self.pace.transfer)
        days = terms_days + self.rng.randint(1, 20) if self.rng.random() < 1 / 12 else self.rng.randint(2, terms_days)
        return datetime.combine(self.bill.issued_on, time(7, tzinfo=UTC)) + _DAY * days + self.within((0, 36_000))

    # what must be found

    def claim(self, name: str, *evidence: Fact, exposure_minor: int, from_at: datetime | None = None) -> None:
        self.claims.append(Claim(name, evidence, exposure_minor, from_at))

    def truth(self, fault: str) -> CaseTruth:
        known = self.facts + self.told
        truth = CaseTruth(
            correlation_id=self.key, kind=self.kind, entity=self.entity.name, document=self.number,
            customer=self.bill.customer.id, currency=self.currency, amount_minor=self.amount_minor, fault=fault,
            known_from=min(fact.seen_at for fact in known if fact.is_delivered),
            breaks=[self.break_of(claim) for claim in self.claims],
            pending=[wait.span() for wait in self.pending],
            failures=[Span(name, first.seen_at, last.seen_at if last else None) for name, first, last in self.failed],
            unsettled=unsettled(known) + [Span("gap", a.seen_at, b.seen_at) for a, b in self.gaps],
        )  # fmt: skip
        if self.issued is not None:
            legs = Legs if self.reopened is None else partial(ReopenedLegs, reopened=self.reopened)
            self.tell_legs(legs(self, self.issued, truth))
        for decision, ended in self.given_up:
            truth.breaks = list(given_up(truth.breaks, decision.seen_at, ended.seen_at if ended else None))
        return truth

    def tell_legs(self, legs: Legs) -> None:
        legs.tell()

    def break_of(self, claim: Claim) -> Span:
        since = max([fact.seen_at for fact in claim.evidence] + ([claim.from_at] if claim.from_at else []))
        return Span(claim.name, since, claim.until.seen_at if claim.until else None, claim.exposure_minor)
