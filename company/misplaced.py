"""Stories of cash applied to an invoice that it does not pay: of the same customer, or of somebody else's.

Two invoices, each with a life and a truth of its own: the one that was paid (`life`), and the one on which its money was
put. Some ledgers name the payment's case in the application, so that the paid invoice is told that its money went
elsewhere; others do not, and it only looks unapplied.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from company.cash import APPLICATION, unapply
from company.facts import Fact
from company.invoices import SERIALS, Claim, InvoiceLife, Wait
from company.legs import Reopened


def wrong_invoice(life: InvoiceLife) -> InvoiceLife:
    """Put on another invoice of the customer, which was paid already."""
    other, put = _put_on_paid(life)
    _beyond_what_is_open(other, life, put, None)
    return other


def wrong_customer_paid(life: InvoiceLife) -> InvoiceLife:
    """Put on an invoice of another customer, who then looks as if they had paid."""
    other, put = _put_on_anothers(life)
    other.claim("misapplied", other.invoice, put, exposure_minor=life.bill.total_minor)
    return other


def moved_to_its_invoice(life: InvoiceLife) -> InvoiceLife:
    """Put on another invoice of the customer, noticed, and moved to where it belongs."""
    other, put = _put_on_paid(life)
    back = _moved(life, other, put)
    _beyond_what_is_open(other, life, put, back)
    return other


def moved_to_its_customer(life: InvoiceLife) -> InvoiceLife:
    """Put on another customer's invoice, noticed, and moved; the other customer then pays for themselves."""
    other, put = _put_on_anothers(life)
    back = _moved(life, other, put)
    other.claims.append(Claim("misapplied", (other.invoice, put), life.bill.total_minor, until=back))
    own = other.pay(at=max(other.paid_at(), back.booked_at + life.within((60, 90_000))), suffix="b")
    other.reopened = Reopened(back, again=own.fact)
    return other


def _put_on_paid(life: InvoiceLife) -> tuple[InvoiceLife, Fact]:
    other = both_billed(life, is_anothers=False)
    own = other.pay(suffix="b").applied
    assert own is not None
    return other, _put(life, other, own.booked_at)


def _put_on_anothers(life: InvoiceLife) -> tuple[InvoiceLife, Fact]:
    other = both_billed(life, is_anothers=True)
    put = _put(life, other, other.invoice.booked_at)
    put.data["customer"] = {"payer": life.bill.customer.id}
    other.settled = put
    return other, put


def both_billed(life: InvoiceLife, is_anothers: bool) -> InvoiceLife:
    """The invoice and a second one like it, of the same customer or of another: both issued and booked."""
    bill, at = life.bill, life.at + timedelta(seconds=life.rng.randint(5, 600))
    if is_anothers:
        names = {"id": life.other.id, "erp_id": life.other.erp_id, "subscription_id": life.other.subscription_id}
        bill = bill._replace(customer=bill.customer._replace(**names))
    other = InvoiceLife(life.rng, life.pace, bill, at, life.serial + SERIALS, life.other)
    for each in (life, other):
        each.issue()
        each.post()
    return other


def _put(life: InvoiceLife, other: InvoiceLife, not_before: datetime) -> Fact:
    """The customer pays `life`, and the money is applied to `other`."""
    payment = life.pay(applied_minor=0).fact
    at = max(payment.booked_at, not_before) + life.within(life.pace.application)
    put = other.apply(life.bill.total_minor, at, "payment", "x", payment.subject)
    if life.rng.random() < 0.5:
        put.data["payment_key"] = life.key
        life.told.append(put)
        life.reopened = Reopened(put)
    return put


def _moved(life: InvoiceLife, other: InvoiceLife, put: Fact) -> Fact:
    """Taken off `other` again, in time or not, and applied to `life`."""
    payment = life.payments.pop()
    after = (60, 12_000) if life.rng.random() < 0.5 else (16_000, 300_000)
    back = unapply(other, life.bill.total_minor, put, after, payment.fact.subject)
    says = ("payment_key", "customer") if life.rng.random() < 0.5 else ("payment_key",)
    back.data |= {name: put.data[name] for name in says if name in put.data}
    at = back.booked_at + life.within((20, 600))
    applied = life.apply(life.bill.total_minor, at, "payment", "", payment.fact.subject)
    paid = payment._replace(applied=applied, applied_minor=life.bill.total_minor)
    if life.reopened is None:
        life.payments.append(paid)
        return back
    life.told.append(back)
    life.payments += [payment, paid._replace(fact=back)]
    life.reopened = life.reopened._replace(again=back)
    return back


def _beyond_what_is_open(other: InvoiceLife, life: InvoiceLife, put: Fact, back: Fact | None) -> None:
    from_at = put.booked_at + APPLICATION
    other.pending.append(Wait(put, from_at, back))
    if back is None or back.seen_at > from_at:
        evidence = (other.invoice, other.payments[0].fact, put)
        other.claims.append(Claim("misapplied", evidence, life.bill.total_minor, from_at, back))


def _by_name(
    *stories: Callable[[InvoiceLife], InvoiceLife],
) -> dict[str, Callable[[InvoiceLife], InvoiceLife]]:
    return {story.__name__: story for story in stories}


STORIES = _by_name(wrong_invoice, wrong_customer_paid, moved_to_its_invoice, moved_to_its_customer)
