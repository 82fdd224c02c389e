"""Credits and rebills: what is taken back of an invoice, what is billed in its place, and the payment that has to move.

- A credit memo is a case of its own that tells the invoice's; so does the document that replaces it. Each has a life.
- A story tells the original's life and gives those that belong to it. What they tell the original is among its `told`,
  so that its truth is asked once it is known when theirs arrive.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from company import stories
from company.bills import Bill, invoice_data
from company.catalogue import tax_minor
from company.customers import Customer
from company.facts import Fact
from company.invoices import SERIALS, Claim, InvoiceLife, Wait
from company.legs import Legs
from company.truth import TERMS

_NOT_OF_CREDITS = ("due_date", "subscription_id", "reason", "service_period")
_POSTING_TARGET = TERMS["invoice_to_posting"].target
_APPLICATION_TARGET = TERMS["payment_to_application"].target


class CreditLife(InvoiceLife):
    """A credit memo of `bill`'s amounts, the `nth` document of its story. `stated`: what it says of what it takes back."""

    kind = "credit"

    def __init__(self, of: InvoiceLife, bill: Bill, at: datetime, nth: int, stated: dict[str, Any]) -> None:
        super().__init__(of.rng, of.pace, bill._replace(issued_on=at.date()), at, of.serial + SERIALS * nth, of.other)
        self.number = f"CN-{at.year}-{self.serial:06d}"
        self.key = f"credit:{self.entity.name}:billing:{self.number}"
        self.document_id = f"cn_{self.serial:09d}"
        data = invoice_data(self.bill, self.number, self.document_id) | stated
        data = {name: value for name, value in data.items() if name not in _NOT_OF_CREDITS and value is not None}
        self.issued = self.tell("credit_memo.issued", "billing", f"{self.document_id}:issued", self.number, at, data)

    def posting_data(self, journal: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
        return super().posting_data(journal, lines) | {"document_type": "credit"}

    def line(self, role: str, account: str, amount_minor: int, base_minor: int) -> dict[str, Any]:
        return super().line(role, account, -amount_minor, -base_minor)

    def tell_legs(self, legs: Legs) -> None:
        legs.posting()


class Correction:
    """What is done about an invoice after it was issued and booked."""

    def __init__(self, original: InvoiceLife) -> None:
        self.original = original
        self.others: list[InvoiceLife] = []

    @property
    def bill(self) -> Bill:
        return self.original.bill

    def part(self, percent: int) -> Bill:
        net_minor = self.bill.net_minor * percent // 100
        return self.bill._replace(
            net_minor=net_minor, discount_minor=0, tax_minor=tax_minor(net_minor, self.bill.customer.tax.rate)
        )

    def credit(self, bill: Bill, at: datetime, *, is_posted: bool = True, **stated: Any) -> CreditLife:
        of = self.original
        stated = {"invoice_id": of.document_id, "invoice_key": of.key, **stated}
        memo = CreditLife(of, bill, at, len(self.others) + 1, stated)
        if is_posted:
            memo.post()
        self.others.append(memo)
        of.told.append(memo.invoice)
        return memo

    def rebill(self, bill: Bill, at: datetime) -> InvoiceLife:
        """Issued and booked; paying it is another matter."""
        of = self.original
        due_on = at.date() + timedelta(days=bill.customer.terms_days or 0)
        bill = bill._replace(issued_on=at.date(), due_on=due_on)
        again = InvoiceLife(of.rng, of.pace, bill, at, of.serial + SERIALS * (len(self.others) + 1), of.other)
        again.stated = {"reason": "rebill", "replaces": of.document_id, "replaces_key": of.key}
        again.issue()
        again.post()
        self.others.append(again)
        of.told.append(again.invoice)
        return again

    def soon_after(self, fact: Fact) -> datetime:
        return fact.booked_at + self.original.within((60, 3_600))

    def later(self) -> datetime:
        """When somebody notices that the invoice is wrong: within three weeks of what is known of it."""
        known = max(fact.booked_at for fact in self.original.facts)
        return known + self.original.within((3_600, 1_700_000))


Story = Callable[[Correction], None]


def _sold(correction: Correction) -> Fact:
    invoice = correction.original.issue()
    correction.original.post()
    return invoice


def _taken_back(correction: Correction, bill: Bill | None = None, **stated: Any) -> CreditLife:
    """The unpaid invoice is credited, in full as a rule."""
    _sold(correction)
    memo = correction.credit(bill or correction.bill, correction.later(), **stated)
    correction.original.settled = memo.invoice
    return memo


def _billed_anew(correction: Correction, memo: CreditLife, percent: int = 90) -> InvoiceLife:
    again = correction.rebill(correction.part(percent), correction.soon_after(memo.invoice))
    again.pay()
    return again


def _pays_the_rest(correction: Correction, memo: CreditLife) -> None:
    original = correction.original
    rest_minor = correction.bill.total_minor - memo.bill.total_minor
    payment = original.pay(rest_minor, at=memo.invoice.booked_at + original.within((4_000, 100_000)))
    original.settled = payment.fact


def credited_in_part(correction: Correction) -> None:
    """A part is given back before the customer pays the rest."""
    _sold(correction)
    memo = correction.credit(correction.part(correction.original.rng.randint(5, 60)), correction.later())
    _pays_the_rest(correction, memo)


def rebilled(correction: Correction) -> None:
    """Billed wrongly: credited in full, billed anew at another price, and that is paid."""
    _billed_anew(correction, _taken_back(correction))


def unposted_credit(correction: Correction) -> None:
    """The same, and the ledger never heard of the credit: it still holds the receivable twice."""
    _billed_anew(correction, _taken_back(correction, is_posted=False))


def wrong_credit(correction: Correction) -> None:
    """The same, and the ledger booked the credit at another amount."""
    memo = _taken_back(correction, is_posted=False)
    stories.wrong_amount(memo)
    _billed_anew(correction, memo)


def over_credited(correction: Correction) -> None:
    """Credited in full, and then in part once more."""
    memo = _taken_back(correction)
    again = correction.credit(correction.part(20), correction.soon_after(memo.invoice))
    original = correction.original
    original.claim(
        "credit_rebill", original.invoice, memo.invoice, again.invoice, exposure_minor=again.bill.total_minor
    )


def rebilled_beside(correction: Correction) -> None:
    """Billed again, and nobody took the first one back; both are paid."""
    _sold(correction)
    original = correction.original
    original.pay()
    again = correction.rebill(correction.part(90), correction.later())
    again.pay()
    _stands_beside(original, again, original.bill.total_minor)


def rebilled_short(correction: Correction) -> None:
    """Billed again while a part of the first one still stands, and is paid."""
    _sold(correction)
    memo = correction.credit(correction.part(60), correction.later())
    _pays_the_rest(correction, memo)
    again = _billed_anew(correction, memo)
    _stands_beside(correction.original, again, correction.bill.total_minor - memo.bill.total_minor)


def credited_untaxed(correction: Correction) -> None:
    """Credited in full as if there had been no tax, which is then charged a second time."""
    bill = correction.bill
    memo = _taken_back(correction, bill._replace(net_minor=bill.total_minor, discount_minor=0, tax_minor=0), tax_lines=None)  # fmt: skip
    again = _billed_anew(correction, memo)
    _stands_beside(correction.original, again, bill.tax_minor)


def _stands_beside(original: InvoiceLife, again: InvoiceLife, exposure_minor: int) -> None:
    until = again.invoice.booked_at + _POSTING_TARGET
    original.pending.append(Wait(again.invoice, until))
    original.claim("credit_rebill", original.invoice, again.invoice, exposure_minor=exposure_minor, from_at=until)


def payment_moved(correction: Correction) -> None:
    """Paid, credited and billed again for the same; the payment follows, in time or not."""
    memo, again = _paid_and_rebilled(correction)
    original, amount_minor = correction.original, correction.bill.total_minor
    at = max(memo.invoice.booked_at, again.invoice.booked_at) + original.within((600, 40_000))
    payment = original.payments[0]
    assert payment.applied is not None
    data = payment.applied.data | {"document_id": f"UN-{original.serial:09d}"}
    undone = original.tell(
        "cash.unapplied", "erp", f"UN-{original.serial:09d}:unapplied", data["document_id"], at, data
    )
    moved_at = at + original.within((1, 60))
    moved = again.apply(amount_minor, moved_at, "payment", "", payment.fact.data["document_id"])
    moved.data["payment_key"] = original.key
    again.settled = moved
    original.told.append(moved)
    original.gaps.append((undone, moved))
    _stands_on_credited(original, memo, undone)


def payment_left(correction: Correction) -> None:
    """The same, and nobody moves the payment: the customer is reminded of what they paid."""
    memo, _ = _paid_and_rebilled(correction)
    _stands_on_credited(correction.original, memo, None)


def _paid_and_rebilled(correction: Correction) -> tuple[CreditLife, InvoiceLife]:
    _sold(correction)
    correction.original.pay()
    memo = correction.credit(correction.bill, correction.later())
    correction.original.credited = memo.invoice
    return memo, correction.rebill(correction.bill, correction.soon_after(memo.invoice))


def _stands_on_credited(original: InvoiceLife, memo: CreditLife, moved: Fact | None) -> None:
    until = memo.invoice.booked_at + _APPLICATION_TARGET
    evidence = (original.invoice, memo.invoice)
    original.pending.append(Wait(memo.invoice, until, moved))
    original.claims.append(Claim("misapplied", evidence, original.bill.total_minor, until, moved))


STORIES: dict[str, Story] = {
    story.__name__: story for story in (
        credited_in_part, rebilled, payment_moved, unposted_credit, wrong_credit, over_credited, rebilled_beside,
        rebilled_short, credited_untaxed, payment_left,
    )
}  # fmt: skip

FITS: dict[str, Callable[[Customer], bool]] = {"credited_untaxed": lambda customer: customer.tax.rate > 0}


def tell(original: InvoiceLife, story: str) -> list[InvoiceLife]:
    """Tells the original's life, and gives those of its credits and of what replaces it."""
    correction = Correction(original)
    STORIES[story](correction)
    return correction.others
