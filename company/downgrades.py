"""Downgrades in mid-month: half the price from then on, and what is left of the month at the old price is given back.

It is given back by a credit memo, which the next bill uses up, or on the next bill itself; by the method that the provider
declares (`METHODS`). Where a line names none nobody can say what is right.
"""

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

from company.catalogue import round_half_up
from company.credits import CreditLife
from company.facts import Fact
from company.invoices import InvoiceLife
from company.subscriptions import MONTH_DAYS, Subscription, billed
from company.truth import Span

_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_HALF = MONTH_DAYS // 2
METHODS = ("daily", "monthly", "seconds", None)
_PART_S, _WHOLE_S = _HALF * 86_400 - 3_600, MONTH_DAYS * 86_400  # the change comes an hour into its day
_NTH_CREDIT = 20  # beyond the bills of an order


def _months(start: date, end: date) -> Fraction:
    """Calendar months from the first day to the last, a part of one by its days."""
    return sum((Fraction(1, _days_of_month(day)) for day in _days(start, end)), Fraction(0))


def _days(start: date, end: date) -> Iterator[date]:
    return (start + number * _DAY for number in range((end - start).days + 1))


def _days_of_month(day: date) -> int:
    return (date(day.year + day.month // 12, day.month % 12 + 1, 1) - day.replace(day=1)).days


class Downgrade:
    """From the middle of the second month on."""

    def __init__(self, order: Subscription) -> None:
        billed(order, 0, 1)
        self.order, self.old_minor = order, order.price.net_minor
        self.new_minor = self.old_minor // 2
        self.method = order.rng.choice(METHODS)
        self.rest = {"start": order.starts[1] + _HALF * _DAY, "end": order.month(1)["end"]}
        self.changed_at = order.due_at(1) + _HALF * _DAY + _HOUR
        order.change("amended", self.changed_at)
        self.schedule: Fact = order.set_schedule([self.old_minor, self.old_minor, self.new_minor], 2, self.changed_at)

    def part(self, price_minor: int) -> int:
        whole = self.order.month(1)
        share = Fraction(_HALF, MONTH_DAYS)
        if self.method == "monthly":
            share = _months(**self.rest) / _months(**whole)
        elif self.method == "seconds":
            share = Fraction(_PART_S, _WHOLE_S)
        return round_half_up(price_minor * share.numerator, share.denominator)

    def line(self, price_minor: int, amount_minor: int) -> dict[str, Any]:
        terms: dict[str, Any] = {"price_minor": price_minor, "period": self.order.month(1)}
        if self.method is not None:
            terms["method"] = self.method
        if self.method == "seconds":
            terms |= {"seconds": _PART_S, "of_seconds": _WHOLE_S}
        return {"amount_minor": amount_minor, "reason": "proration", "period": self.rest, "proration": terms}

    def give_back(self, wrong_minor: int = 0) -> CreditLife:
        """A credit memo on the customer's balance, which names the bill that was paid."""
        order, of = self.order, self.order.bills[1]
        price_minor = self.old_minor - self.new_minor
        amount_minor = self.part(price_minor) + wrong_minor
        at = self.changed_at + order.within((600, 7_000))
        stated = {"invoice_id": of.document_id, "order_key": order.key, "lines": [self.line(price_minor, amount_minor)]}
        memo = CreditLife(of, order.priced(at.date(), amount_minor), at, _NTH_CREDIT, stated)
        memo.post()
        order.credits.append(memo)
        order.bill(2, 2, 3 * _HOUR, net_minor=self.new_minor, tell=_using(memo))
        return memo


def _using(memo: CreditLife) -> Callable[[InvoiceLife], None]:
    """A bill on which the credit is used up before the customer pays the rest."""

    def tell(life: InvoiceLife) -> None:
        life.issue()
        life.post()
        credit_minor = memo.bill.total_minor
        used = life.apply(credit_minor, life.start + life.within((60, 600)), "credit", "c", None)
        at = max(life.paid_at(), used.booked_at + life.within((60, 4_000)))
        life.settled = life.pay(life.bill.total_minor - credit_minor, at=at).fact

    return tell


def downgraded(order: Subscription) -> None:
    """Given back by a credit memo."""
    Downgrade(order).give_back()


def downgraded_on_next_bill(order: Subscription) -> None:
    """The old price of what is left of the month is given back on the next bill, and the new one charged."""
    change = Downgrade(order)
    back_minor, charged_minor = change.part(change.old_minor), change.part(change.new_minor)
    lines = [
        {"amount_minor": change.new_minor, "period": order.month(2)},
        change.line(change.old_minor, -back_minor),
        change.line(change.new_minor, charged_minor),
    ]
    net_minor = change.new_minor - back_minor + charged_minor
    order.bill(2, 2, 3 * _HOUR, net_minor=net_minor, lines=lines)


def misprorated_credit(order: Subscription) -> None:
    """Less is given back than the declared method says."""
    change = Downgrade(order)
    change.method = change.method or "daily"
    wrong_minor = max(2, change.part(change.old_minor - change.new_minor) // 10)
    memo = change.give_back(-wrong_minor)
    memo.claim("proration", memo.invoice, exposure_minor=wrong_minor)


def downgrade_ignored(order: Subscription) -> None:
    """The change reached the schedule and not the bills."""
    change = Downgrade(order)
    bill = order.bill(2, 2, 3 * _HOUR).invoice
    too_much_minor = change.old_minor - change.new_minor
    order.claims.append(lambda: Span("quote_mismatch", max(change.schedule.seen_at, bill.seen_at), None, too_much_minor))  # fmt: skip


STORIES: dict[str, Callable[[Subscription], None]] = {
    story.__name__: story for story in (downgraded, downgraded_on_next_bill, misprorated_credit, downgrade_ignored)
}
