"""What can happen to an invoice: one function a fault or turn of business, in the vocabulary of `InvoiceLife`.

Each issues, posts and pays in its own way and claims the breaks that must be found; legs that never end or end late need
no claim. `clean` is the one that all others depart from. Orders have theirs in company.orders.
"""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta

from company.customers import Customer
from company.facts import Fact
from company.invoices import FAILURES, Claim, InvoiceLife
from company.truth import ORPHAN_GRACE, TERMS

_POSTING_TARGET = TERMS["invoice_to_posting"].target

Story = Callable[[InvoiceLife], None]


def clean(life: InvoiceLife) -> None:
    life.issue()
    life.post()
    life.pay()


def missing_posting(life: InvoiceLife) -> None:
    life.issue()
    life.pay()


def late_posting(life: InvoiceLife) -> None:
    """Mostly within the day, sometimes after it was already given up."""
    life.issue()
    delay = (1_000, 72_000) if life.rng.random() < 0.7 else (90_000, 250_000)
    life.post(life.start + life.within(delay))
    life.pay()


def rejected_posting(life: InvoiceLife) -> None:
    """The only record of the posting is damaged: a dead letter, and the posting is missing."""
    life.issue()
    life.post(is_standing=False).is_delivered = False
    life.pay()


def api_failure(life: InvoiceLife) -> None:
    """The ledger refused the invoice for good."""
    life.issue()
    failure = life.rng.choice(tuple(FAILURES))
    failed = life.fail(failure, life.start + life.within((2, 20)), 1)
    life.failed.append((failure, failed, None))
    life.pay()


def api_recovered(life: InvoiceLife) -> None:
    """The ledger was out of reach and took the invoice at a later attempt, in time or not."""
    life.issue()
    first = life.fail("transient", life.start + life.within((2, 10)), 1)
    life.fail("transient", first.booked_at + timedelta(seconds=30), 2)
    delay = (60, 800) if life.rng.random() < 0.5 else (1_200, 36_000)
    delivered = life.deliver(first.booked_at + timedelta(seconds=40) + life.within(delay), 3)
    life.failed.append(("transient", first, delivered))
    life.post(delivered.booked_at + life.within((1, 5)))
    life.pay()


def wrong_amount(life: InvoiceLife) -> None:
    invoice = life.issue()
    total = life.bill.total_minor
    wrong = total + life.rng.choice((-1, 1)) * max(20, total * life.rng.randint(1, 30) // 100)
    posting = life.post(total_minor=wrong)
    if life.bill.ledger_keeps_document_amounts:
        life.claim("amount", invoice, posting, exposure_minor=abs(wrong - total))
    else:
        claim_fx(life, invoice, posting)
    life.pay()


def wrong_tax(life: InvoiceLife) -> None:
    """Another tax rate in the ledger: taken out of revenue, or on top of the receivable."""
    invoice = life.issue()
    off = max(1, life.bill.tax_minor * life.rng.randint(5, 60) // 100) * life.rng.choice((-1, 1))
    total = life.bill.total_minor + (off if life.rng.random() < 0.5 else 0)
    posting = life.post(total_minor=total, tax_minor=life.bill.tax_minor + off)
    life.claim("tax", invoice, posting, exposure_minor=abs(off))
    life.pay()


def wrong_customer(life: InvoiceLife) -> None:
    invoice = life.issue()
    posting = life.post(customer={"sold_to": life.other.erp_id})
    life.claim("customer", invoice, posting, exposure_minor=life.bill.total_minor)
    life.pay()


def wrong_currency(life: InvoiceLife) -> None:
    """The figure is right and stands in another currency."""
    invoice = life.issue()
    other = next(code for code in ("USD", "EUR", "GBP") if code not in (life.bill.currency, life.entity.currency))
    posting = life.post(currency=other)
    life.claim("currency", invoice, posting, exposure_minor=life.bill.total_minor)
    life.pay()


def wrong_fx(life: InvoiceLife) -> None:
    """Booked at a rate from another day."""
    invoice = life.issue()
    base = life.bill.base(life.bill.total_minor)
    off = max(10, base * life.rng.randint(20, 60) // 1_000) * life.rng.choice((-1, 1))
    posting = life.post(base_minor=base + off)
    claim_fx(life, invoice, posting)
    life.pay()


def claim_fx(life: InvoiceLife, invoice: Fact, posting: Fact) -> None:
    rate = life.bill.rate
    assert rate is not None
    off = abs(posting.data["lines"][0]["base_minor"] - life.bill.base(life.bill.total_minor))
    life.claim("fx", invoice, posting, exposure_minor=rate.document(off))


def wrong_entity(life: InvoiceLife) -> None:
    invoice = life.issue()
    posting = life.post(entity=next(e for e in ("acme-us", "acme-de") if e != life.entity.name))
    life.claim("entity", invoice, posting, exposure_minor=life.bill.total_minor)
    life.pay()


def duplicate_invoice(life: InvoiceLife) -> None:
    """One number issued twice under two ids; the second is booked as well, or not. One is paid."""
    invoice = life.issue()
    second = life.issue(f"{life.document_id}b", after_s=life.rng.randint(20, 4_000))
    life.post()
    if life.rng.random() < 0.5:
        life.post(second.booked_at + life.within(life.pace.posting), suffix="b")
    life.claim("duplicate_invoice", invoice, second, exposure_minor=life.bill.total_minor)
    life.pay()


def duplicate_posting(life: InvoiceLife) -> None:
    invoice = life.issue()
    first = life.post()
    second = life.post(first.booked_at + life.within((1, 7_200)), suffix="b")
    life.claim("duplicate_posting", invoice, first, second, exposure_minor=life.bill.total_minor)
    life.pay()


def orphan_posting(life: InvoiceLife) -> None:
    """The ledger books an invoice that billing never issued."""
    posting = life.post()
    if not life.bill.ledger_keeps_document_amounts:
        life.currency, life.amount_minor = life.entity.currency, life.bill.base(life.bill.total_minor)
    until = posting.booked_at + ORPHAN_GRACE
    life.pending.append((posting, until))
    life.claim("orphan_posting", posting, exposure_minor=life.amount_minor, from_at=until)


def orphan_payment(life: InvoiceLife) -> None:
    """Money for an invoice that nobody issued; nobody applies it."""
    payment = life.pay(applied_minor=0).fact
    until = payment.booked_at + ORPHAN_GRACE
    life.pending.append((payment, until))
    life.claim("orphan_payment", payment, exposure_minor=life.bill.total_minor, from_at=until)


def void_not_reversed(life: InvoiceLife) -> None:
    invoice = life.issue()
    posting = life.post()
    void = life.cancel(posting.booked_at + life.within((600, 250_000)))
    until = void.booked_at + _POSTING_TARGET
    life.pending.append((void, until))
    life.claim("missing_reversal", invoice, posting, void, exposure_minor=life.bill.total_minor, from_at=until)


def missing_payment(life: InvoiceLife) -> None:
    life.issue()
    life.post()


def short_payment(life: InvoiceLife) -> None:
    life.issue()
    life.post()
    life.pay(max(1, life.bill.total_minor * life.rng.randint(30, 95) // 100))


def overpayment(life: InvoiceLife) -> None:
    invoice = life.issue()
    life.post()
    extra = max(1, life.bill.total_minor * life.rng.randint(1, 40) // 100)
    payment = life.pay(life.bill.total_minor + extra, life.bill.total_minor)
    life.claim("overpayment", invoice, payment.fact, exposure_minor=extra)


def duplicate_payment(life: InvoiceLife) -> None:
    invoice = life.issue()
    life.post()
    first = life.pay()
    second = life.pay(applied_minor=0, at=first.fact.at + life.within((20, 200_000)), suffix="b")
    life.claim("duplicate_payment", invoice, first.fact, second.fact, exposure_minor=life.bill.total_minor)


def missing_application(life: InvoiceLife) -> None:
    life.issue()
    life.post()
    life.pay(applied_minor=0)


def late_application(life: InvoiceLife) -> None:
    life.issue()
    life.post()
    life.pay(applied_after=(15_000, 150_000) if life.rng.random() < 0.7 else (180_000, 400_000))


def unapplied_remainder(life: InvoiceLife) -> None:
    life.issue()
    life.post()
    life.pay(applied_minor=max(1, life.bill.total_minor * life.rng.randint(40, 90) // 100))


def edited_posting(life: InvoiceLife) -> None:
    """Booked, taken back and booked anew, as ledgers edit; the first one may have been wrong."""
    invoice = life.issue()
    total = life.bill.total_minor
    off = max(20, total // 10) if life.rng.random() < 0.5 else 0
    first = life.post(total_minor=total + off)
    reversal = life.reverse(first, first.booked_at + life.within((600, 400_000)), "invoice")
    again = life.post(reversal.booked_at + life.within((1, 60)), suffix="b")
    life.gaps.append((reversal, again))
    if off:
        name, exposure_minor = "amount", off
        if life.bill.rate is not None and not life.bill.ledger_keeps_document_amounts:
            base_off = life.bill.base(total + off) - life.bill.base(total)
            name, exposure_minor = "fx", life.bill.rate.document(base_off)
        life.claims.append(Claim(name, (invoice, first), exposure_minor, until=reversal))
    life.pay()


def voided(life: InvoiceLife) -> None:
    """Issued in error, voided, and reversed in the ledger."""
    invoice = life.issue()
    posting = life.post()
    void = life.cancel(posting.booked_at + life.within((600, 250_000)))
    life.reversal = life.reverse(posting, void.booked_at + life.within((20, 600)), "void")
    until = void.booked_at + _POSTING_TARGET
    life.pending.append((void, min(until, max(life.reversal.seen_at, void.seen_at))))
    if life.reversal.seen_at > until:
        life.claims.append(
            Claim("missing_reversal", (invoice, posting, void), life.bill.total_minor, until, life.reversal)
        )


def withholding(life: InvoiceLife) -> None:
    """Ninety per cent paid, ten withheld for the tax office: settled."""
    life.issue()
    life.post()
    withheld = life.bill.total_minor // 10
    at = min(life.paid_at(), datetime.combine(life.bill.due_on, time(12, tzinfo=UTC)))
    payment = life.pay(life.bill.total_minor - withheld, at=max(at, life.start + timedelta(seconds=2)))
    life.settled = life.apply(withheld, payment.fact.booked_at + timedelta(minutes=1), "withholding", "w", None)


def instalments(life: InvoiceLife) -> None:
    life.issue()
    life.post()
    first = life.bill.total_minor * life.rng.randint(30, 70) // 100
    payment = life.pay(first)
    at = payment.fact.booked_at + life.within((20_000, 300_000))
    life.pay(life.bill.total_minor - first, at=at, suffix="b")


def declined_first(life: InvoiceLife) -> None:
    life.issue()
    life.post()
    payment = life.pay().fact
    ident = f"pay_{life.serial:09d}x"
    data = life.payment_data(ident, life.bill.total_minor) | {"reason": "insufficient_funds", "attempt": 1}
    at = life.start + (payment.at - life.start) / 2
    life.tell("payment.failed", life.payment_system, f"{ident}:failed", ident, at.replace(microsecond=0), data)


def free(life: InvoiceLife) -> None:
    """A document without an amount: nothing to book, nothing to pay."""
    life.issue()


STORIES: dict[str, Story] = {
    story.__name__: story
    for story in (
        clean, missing_posting, late_posting, rejected_posting, api_failure, api_recovered, wrong_amount, wrong_tax,
        wrong_customer, wrong_currency, wrong_fx, wrong_entity, duplicate_invoice, duplicate_posting, orphan_posting,
        void_not_reversed, missing_payment, short_payment, overpayment, duplicate_payment, orphan_payment,
        missing_application, late_application, unapplied_remainder, edited_posting, voided, withholding, instalments,
        declined_first, free,
    )
}  # fmt: skip

# Faults that only some customers' invoices can have.
FITS: dict[str, Callable[[Customer], bool]] = {
    "wrong_tax": lambda customer: customer.tax.rate > 0,
    "wrong_fx": lambda customer: customer.is_foreign,
    "declined_first": lambda customer: customer.terms_days is None,
}
