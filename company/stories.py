"""What can happen to an invoice: one function a fault or turn of business, in the vocabulary of `InvoiceLife`.

Each does its part in its own way and claims the breaks that must be found; legs that never end or end late need no
claim. The ledger's part and the money's are independent, so that one invoice can have a fault in each. Orders have
theirs in company.orders.
"""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta

from company import cash, ledger, write_offs
from company.customers import Customer
from company.facts import Fact
from company.invoices import FAILURES, Claim, InvoiceLife, Wait
from company.truth import ORPHAN_GRACE, TERMS

_POSTING_TARGET = TERMS["invoice_to_posting"].target

Story = Callable[[InvoiceLife], None]


# The ledger's part.


def posted(life: InvoiceLife) -> None:
    life.post()


def missing_posting(life: InvoiceLife) -> None:
    """Billing sent it, and the ledger never booked it."""


def late_posting(life: InvoiceLife) -> None:
    """Mostly within the day, sometimes after it was already given up."""
    delay = (1_000, 72_000) if life.rng.random() < 0.7 else (90_000, 250_000)
    life.post(life.start + life.within(delay))


def rejected_posting(life: InvoiceLife) -> None:
    """The only record of the posting is damaged: a dead letter, and the posting is missing."""
    life.post(is_standing=False).is_delivered = False


def api_failure(life: InvoiceLife) -> None:
    """The ledger refused the invoice for good."""
    failure = life.rng.choice(tuple(FAILURES))
    failed = life.fail(failure, life.start + life.within((2, 20)), 1)
    life.failed.append((failure, failed, None))


def api_recovered(life: InvoiceLife) -> None:
    """The ledger was out of reach and took the invoice at a later attempt, in time or not."""
    first = life.fail("transient", life.start + life.within((2, 10)), 1)
    life.fail("transient", first.booked_at + timedelta(seconds=30), 2)
    delay = (60, 800) if life.rng.random() < 0.5 else (1_200, 36_000)
    delivered = life.deliver(first.booked_at + timedelta(seconds=40) + life.within(delay), 3)
    life.failed.append(("transient", first, delivered))
    life.post(delivered.booked_at + life.within((1, 5)))


def wrong_amount(life: InvoiceLife) -> None:
    total = life.bill.total_minor
    wrong = total + life.rng.choice((-1, 1)) * max(20, total * life.rng.randint(1, 30) // 100)
    posting = life.post(total_minor=wrong)
    if life.bill.ledger_keeps_document_amounts:
        life.claim("amount", life.invoice, posting, exposure_minor=abs(wrong - total))
    else:
        claim_fx(life, posting)


def claim_fx(life: InvoiceLife, posting: Fact) -> None:
    rate = life.bill.rate
    assert rate is not None
    off = abs(abs(posting.data["lines"][0]["base_minor"]) - life.bill.base(life.bill.total_minor))
    life.claim("fx", life.invoice, posting, exposure_minor=rate.document(off))


def wrong_tax(life: InvoiceLife) -> None:
    """Another tax rate in the ledger: taken out of revenue, or on top of the receivable."""
    off = max(1, life.bill.tax_minor * life.rng.randint(5, 60) // 100) * life.rng.choice((-1, 1))
    total = life.bill.total_minor + (off if life.rng.random() < 0.5 else 0)
    posting = life.post(total_minor=total, tax_minor=life.bill.tax_minor + off)
    life.claim("tax", life.invoice, posting, exposure_minor=abs(off))


def wrong_customer(life: InvoiceLife) -> None:
    posting = life.post(customer={"sold_to": life.other.erp_id})
    life.claim("customer", life.invoice, posting, exposure_minor=life.bill.total_minor)


def wrong_currency(life: InvoiceLife) -> None:
    """The figure is right and stands in another currency."""
    other = next(code for code in ("USD", "EUR", "GBP") if code not in (life.bill.currency, life.entity.currency))
    posting = life.post(currency=other)
    life.claim("currency", life.invoice, posting, exposure_minor=life.bill.total_minor)


def wrong_fx(life: InvoiceLife) -> None:
    """Booked at a rate from another day."""
    base = life.bill.base(life.bill.total_minor)
    off = max(10, base * life.rng.randint(20, 60) // 1_000) * life.rng.choice((-1, 1))
    posting = life.post(base_minor=base + off)
    claim_fx(life, posting)


def wrong_entity(life: InvoiceLife) -> None:
    posting = life.post(entity=next(e for e in ("acme-us", "acme-de") if e != life.entity.name))
    life.claim("entity", life.invoice, posting, exposure_minor=life.bill.total_minor)


def unbalanced_posting(life: InvoiceLife) -> None:
    """A journal whose lines do not sum to zero: one was cut off or altered on its way out of the ledger."""
    posting = life.post()
    off = max(1, life.bill.base(life.bill.total_minor) * life.rng.randint(1, 20) // 100)
    for line in posting.data["lines"][1:2]:
        line["base_minor"] += off
        if "amount_minor" in line:
            line["amount_minor"] += off
    exposure_minor = off if life.bill.rate is None else life.bill.rate.document(off)
    life.claim("amount", life.invoice, posting, exposure_minor=exposure_minor)


def conflicting_invoice(life: InvoiceLife) -> None:
    """Billing tells one version of the invoice in two ways."""
    again = life.restate()
    life.post()
    life.claim("conflict", life.invoice, again, exposure_minor=life.bill.total_minor)


def duplicate_posting(life: InvoiceLife) -> None:
    first = life.post()
    second = life.post(first.booked_at + life.within((1, 7_200)), suffix="b")
    life.claim("duplicate_posting", life.invoice, first, second, exposure_minor=life.bill.total_minor)


def edited_posting(life: InvoiceLife) -> None:
    """Booked, taken back and booked anew, as ledgers edit; the first one may have been wrong."""
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
        life.claims.append(Claim(name, (life.invoice, first), exposure_minor, until=reversal))


# The money's part.


def paid(life: InvoiceLife) -> None:
    life.pay()


def missing_payment(life: InvoiceLife) -> None:
    """The customer never pays."""


def short_payment(life: InvoiceLife) -> None:
    life.pay(max(1, life.bill.total_minor * life.rng.randint(30, 95) // 100))


def overpayment(life: InvoiceLife) -> None:
    extra = max(1, life.bill.total_minor * life.rng.randint(1, 40) // 100)
    payment = life.pay(life.bill.total_minor + extra, life.bill.total_minor)
    life.claim("overpayment", life.invoice, payment.fact, exposure_minor=extra)


def duplicate_payment(life: InvoiceLife) -> None:
    first = life.pay()
    second = life.pay(applied_minor=0, at=first.fact.at + life.within((20, 200_000)), suffix="b")
    life.claim("duplicate_payment", life.invoice, first.fact, second.fact, exposure_minor=life.bill.total_minor)


def missing_application(life: InvoiceLife) -> None:
    life.pay(applied_minor=0)


def late_application(life: InvoiceLife) -> None:
    life.pay(applied_after=(15_000, 150_000) if life.rng.random() < 0.7 else (180_000, 400_000))


def unapplied_remainder(life: InvoiceLife) -> None:
    life.pay(applied_minor=max(1, life.bill.total_minor * life.rng.randint(40, 90) // 100))


def withholding(life: InvoiceLife) -> None:
    """Ninety per cent paid, ten withheld for the tax office: settled."""
    withheld = life.bill.total_minor // 10
    at = min(life.paid_at(), datetime.combine(life.bill.due_on, time(12, tzinfo=UTC)))
    payment = life.pay(life.bill.total_minor - withheld, at=max(at, life.start + timedelta(seconds=2)))
    life.settled = life.apply(withheld, payment.fact.booked_at + timedelta(minutes=1), "withholding", "w", None)


def instalments(life: InvoiceLife) -> None:
    first = life.bill.total_minor * life.rng.randint(30, 70) // 100
    payment = life.pay(first)
    at = payment.fact.booked_at + life.within((20_000, 300_000))
    life.pay(life.bill.total_minor - first, at=at, suffix="b")


def declined_first(life: InvoiceLife) -> None:
    payment = life.pay().fact
    ident = f"pay_{life.serial:09d}x"
    data = life.payment_data(ident, life.bill.total_minor) | {"reason": "insufficient_funds", "attempt": 1}
    at = life.start + (payment.at - life.start) / 2
    life.tell("payment.failed", life.payment_system, f"{ident}:failed", ident, at.replace(microsecond=0), data)


# Those that are told from beginning to end.


def duplicate_invoice(life: InvoiceLife) -> None:
    """One number issued twice under two ids; the second is booked as well, or not. One is paid."""
    invoice = life.issue()
    second = life.issue(f"{life.document_id}b", after_s=life.rng.randint(20, 4_000))
    life.post()
    if life.rng.random() < 0.5:
        life.post(second.booked_at + life.within(life.pace.posting), suffix="b")
    life.claim("duplicate_invoice", invoice, second, exposure_minor=life.bill.total_minor)
    life.pay()


def orphan_posting(life: InvoiceLife) -> None:
    """The ledger books an invoice that billing never issued."""
    posting = life.post()
    if not life.bill.ledger_keeps_document_amounts:
        life.currency, life.amount_minor = life.entity.currency, life.bill.base(life.bill.total_minor)
    until = posting.booked_at + ORPHAN_GRACE
    life.pending.append(Wait(posting, until))
    life.claim("orphan_posting", posting, exposure_minor=life.amount_minor, from_at=until)


def orphan_payment(life: InvoiceLife) -> None:
    """Money for an invoice that nobody issued; nobody applies it."""
    payment = life.pay(applied_minor=0).fact
    until = payment.booked_at + ORPHAN_GRACE
    life.pending.append(Wait(payment, until))
    life.claim("orphan_payment", payment, exposure_minor=life.bill.total_minor, from_at=until)


def void_not_reversed(life: InvoiceLife) -> None:
    invoice = life.issue()
    posting = life.post()
    void = life.cancel(posting.booked_at + life.within((600, 250_000)))
    until = void.booked_at + _POSTING_TARGET
    life.pending.append(Wait(void, until))
    life.claim("missing_reversal", invoice, posting, void, exposure_minor=life.bill.total_minor, from_at=until)


def voided(life: InvoiceLife) -> None:
    """Issued in error, voided, and reversed in the ledger."""
    invoice = life.issue()
    posting = life.post()
    void = life.cancel(posting.booked_at + life.within((600, 250_000)))
    life.reversal = life.reverse(posting, void.booked_at + life.within((20, 600)), "void")
    until = void.booked_at + _POSTING_TARGET
    life.pending.append(Wait(void, until, life.reversal))
    life.claims.append(Claim("missing_reversal", (invoice, posting, void), life.bill.total_minor, until, life.reversal))


def free(life: InvoiceLife) -> None:
    """A document without an amount: nothing to book, nothing to pay."""
    life.issue()


def _by_name(*stories: Story) -> dict[str, Story]:
    return {story.__name__: story for story in stories}


LEDGER = _by_name(
    missing_posting, late_posting, rejected_posting, api_failure, api_recovered, wrong_amount, wrong_tax,
    wrong_customer, wrong_currency, wrong_fx, wrong_entity, unbalanced_posting, conflicting_invoice, duplicate_posting,
    edited_posting,
)  # fmt: skip
MONEY = _by_name(
    missing_payment, short_payment, overpayment, duplicate_payment, missing_application, late_application,
    unapplied_remainder, withholding, instalments, declined_first,
)  # fmt: skip
WHOLE = (
    _by_name(duplicate_invoice, orphan_posting, orphan_payment, void_not_reversed, voided, free)
    | ledger.STORIES
    | write_offs.STORIES
    | cash.STORIES
)

# What only some customers' invoices can have.
FITS: dict[str, Callable[[Customer], bool]] = (
    {
        "wrong_tax": lambda customer: customer.tax.rate > 0,
        "wrong_fx": lambda customer: customer.is_foreign,
        "declined_first": lambda customer: customer.terms_days is None,
    }
    | ledger.FITS
    | write_offs.FITS
    | cash.FITS
)


def tell(life: InvoiceLife, fault: str, second: str | None = None) -> None:
    """The life with one fault or turn (`clean` for none); `second`, of MONEY, beside one of LEDGER."""
    if fault in WHOLE:
        WHOLE[fault](life)
        return
    life.issue()
    LEDGER.get(fault, posted)(life)
    MONEY.get(second or fault, paid)(life)


def second_faults(fault: str, customer: Customer) -> tuple[str, ...]:
    """What may go wrong beside this fault."""
    if fault not in LEDGER:
        return ()
    return tuple(name for name in MONEY if name not in FITS or FITS[name](customer))
