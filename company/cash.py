"""Stories of cash that does not stay, or does not arrive whole: payments taken back, and what a bank keeps for itself.

Each tells an invoice from beginning to end. That a payment came back opens the invoice again (`Reopened`); what the ledger
does about it is the story.
"""

from collections.abc import Callable

from company.customers import Customer
from company.facts import Fact
from company.invoices import Claim, InvoiceLife, Payment, Wait
from company.legs import Reopened
from company.truth import TERMS

APPLICATION = TERMS["payment_to_application"].target
_COMES_BACK = (86_400, 1_200_000)  # a debit can be returned for weeks
_FOLLOWS = (60, 12_000)  # the ledger, well within its target
_CHARGES_MINOR = 1_500


# Taken back.


def returned_payment(life: InvoiceLife) -> None:
    """The bank takes the debit back, and the application stands."""
    payment = _paid(life)
    _stands_applied(life, payment, _taken_back(life, payment, life.bill.total_minor, "payment.returned"))


def bounced_payment(life: InvoiceLife) -> None:
    """The payment fails after all, and the application stands."""
    payment = _paid(life)
    _stands_applied(life, payment, _taken_back(life, payment, life.bill.total_minor, "payment.failed"))


def returned_in_part(life: InvoiceLife) -> None:
    """Some of it goes back, and all of it stands applied."""
    payment = _paid(life)
    back_minor = max(1, life.bill.total_minor * life.rng.randint(10, 80) // 100)
    back = _taken_back(life, payment, back_minor, "payment.returned")
    _stands_applied(life, payment, back)
    life.reopened = Reopened(back, left_minor=life.bill.total_minor - back_minor)


def returned_for_good(life: InvoiceLife) -> None:
    """Taken back and unapplied: the invoice is open again, and nobody pays it."""
    _returned_and_unapplied(life)


def paid_again(life: InvoiceLife) -> None:
    """Taken back, unapplied in time or not, and paid once more."""
    unapplied = _returned_and_unapplied(life)
    again = life.pay(at=unapplied.booked_at + life.within((3_600, 400_000)), suffix="b")
    assert life.reopened is not None
    life.reopened = life.reopened._replace(again=again.fact)


def _paid(life: InvoiceLife) -> Payment:
    life.issue()
    life.post()
    return life.pay()


def _taken_back(life: InvoiceLife, payment: Payment, amount_minor: int, type: str) -> Fact:
    assert payment.applied is not None
    at = payment.applied.booked_at + life.within(_COMES_BACK)
    ident = payment.fact.subject
    data = life.payment_data(ident, amount_minor) | {"reason": "account closed"}
    back = life.tell(type, life.payment_system, f"{ident}:{type}", ident, at, data)
    life.reopened = Reopened(back)
    return back


def _stands_applied(life: InvoiceLife, payment: Payment, back: Fact, unapplied: Fact | None = None) -> None:
    """Until `unapplied`, or for good."""
    assert payment.applied is not None
    from_at = back.booked_at + APPLICATION
    life.pending.append(Wait(back, from_at, unapplied))
    evidence = (life.invoice, payment.fact, payment.applied, back)
    exposure_minor = back.data["amount_minor"]
    if unapplied is None or unapplied.seen_at > from_at:
        life.claims.append(Claim("reversed_after_application", evidence, exposure_minor, from_at, unapplied))


def _returned_and_unapplied(life: InvoiceLife) -> Fact:
    payment = _paid(life)
    back = _taken_back(life, payment, life.bill.total_minor, "payment.returned")
    after = _FOLLOWS if life.rng.random() < 0.7 else (16_000, 300_000)
    unapplied = unapply(life, payment.applied_minor, back, after, payment.fact.subject)
    _stands_applied(life, payment, back, unapplied)
    return unapplied


def unapply(life: InvoiceLife, amount_minor: int, since: Fact, after: tuple[int, int], payment_id: str) -> Fact:
    """What was applied of a payment is taken off the invoice, some time after `since`."""
    ident = f"UA-{life.serial:09d}"
    data = {
        "entity": life.entity.name, "document_id": ident, "from_kind": "payment", "currency": life.bill.currency,
        "amount_minor": amount_minor, "invoice_id": life.document_id, "payment_id": payment_id,
    }  # fmt: skip
    return life.tell("cash.unapplied", "erp", f"{ident}:unapplied", ident, since.booked_at + life.within(after), data)


# Not whole.


def bank_charges(life: InvoiceLife) -> None:
    """A bank on the way keeps its charges, and the ledger books them as a fee: settled."""
    payment = _paid_less_charges(life)
    charges_minor = life.bill.total_minor - payment.amount_minor
    life.settled = life.apply(charges_minor, payment.fact.booked_at + life.within(_FOLLOWS), "fee", "f", None)


def unbooked_charges(life: InvoiceLife) -> None:
    """The same, and nobody books them: the invoice looks short by as much."""
    _paid_less_charges(life)


def _paid_less_charges(life: InvoiceLife) -> Payment:
    life.issue()
    life.post()
    return life.pay(life.bill.total_minor - max(1, min(_CHARGES_MINOR, life.bill.total_minor // 20)))


def _by_name(*stories: Callable[[InvoiceLife], None]) -> dict[str, Callable[[InvoiceLife], None]]:
    return {story.__name__: story for story in stories}


STORIES = _by_name(
    returned_payment, bounced_payment, returned_in_part, returned_for_good, paid_again, bank_charges, unbooked_charges
)


def _transfers(customer: Customer) -> bool:
    return customer.terms_days is not None


FITS: dict[str, Callable[[Customer], bool]] = {"bank_charges": _transfers, "unbooked_charges": _transfers}
