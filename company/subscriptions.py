"""Orders that are billed by a schedule, month by month, and what becomes of that: bills that never come, come twice or short, a
pause, an upgrade in mid-month, usage.

Each bill is an invoice with a life of its own that names the order. The truth of the order is told here, from what was
meant: which bills the schedule holds and when each of them was delivered.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Any

from company import stories
from company.bills import Bill, draw_bill
from company.catalogue import rate_on, tax_minor
from company.credits import CreditLife
from company.customers import Customer
from company.facts import Fact
from company.invoices import SERIALS, InvoiceLife
from company.orders import OrderLife
from company.pace import Pace
from company.truth import CaseTruth, Span, Timeline, spans

_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
MONTHS = 3
MONTH_DAYS = 30
_HOP = "subscription_to_invoice"
_TARGET, _MISSING_AFTER = _DAY, 2 * _DAY


def clean(life: InvoiceLife) -> None:
    stories.tell(life, "clean")


Moments = Callable[[], Span]  # asked once all is on its way: only then is known when it arrives


class Subscription(OrderLife):
    """`bills` by what they are for: a month's number, or a word."""

    def __init__(self, rng: Random, pace: Pace, customer: Customer, at: datetime, serial: int, other: Customer) -> None:
        super().__init__(rng, pace, customer, at, serial)
        self.other = other
        self.activate(pace.subscription)
        first = at.date() + _DAY
        self.starts = [first + MONTH_DAYS * _DAY * month for month in range(MONTHS)]
        self.price = draw_bill(rng, customer, at, is_free=False)
        self.bills: dict[int | str, InvoiceLife] = {}
        self.credits: list[CreditLife] = []
        self.pause: Fact | None = None
        self.claims: list[Moments] = []
        self.waits: list[Moments] = []
        self.schedule = self.set_schedule([self.price.net_minor] * MONTHS, 1, self.booked(self.activated))

    def set_schedule(self, totals: list[int], version: int, at: datetime) -> Fact:
        document_id = f"BS-{self.serial:09d}"
        planned = [
            {"due_on": start, "total_minor": total, "period": self.month(number)}
            for number, (start, total) in enumerate(zip(self.starts, totals, strict=True))
        ]
        data = self.data(document_id) | {"version": version, "bills": planned}
        del data["plan"]
        ident = f"{document_id}:{version}"
        return self.tell("billing_schedule.set", "billing", ident, at + timedelta(seconds=5), data)

    def change(self, change: str, at: datetime) -> Fact:
        document_id = f"{self.customer.subscription_id}-{self.serial}"
        return self.tell(f"subscription.{change}", "billing", f"{document_id}:{change}", at, self.data(document_id))

    def bill(self, name: int | str, month: int, after: timedelta, *, net_minor: int | None = None, tell: stories.Story = clean, **stated: Any) -> InvoiceLife:  # fmt: skip
        """Issued that long after the month began, booked and paid, where `tell` says nothing else."""
        at = datetime.combine(self.starts[month], time.min, UTC) + after + self.within((0, 3_000))
        bill = self.priced(at.date(), self.price.net_minor if net_minor is None else net_minor)
        life = InvoiceLife(self.rng, self.pace, bill, at, self.serial + SERIALS * (len(self.bills) + 1), self.other)
        life.stated = {"order_key": self.key, "service_period": self.month(month), **stated}
        self.bills[name] = life
        tell(life)
        return life

    def priced(self, day: date, net_minor: int) -> Bill:
        customer = self.customer
        return self.price._replace(
            net_minor=net_minor, discount_minor=0, tax_minor=tax_minor(net_minor, customer.tax.rate), issued_on=day,
            rate=rate_on(day.toordinal(), customer.currency, customer.entity) if customer.is_foreign else None,
            due_on=day + timedelta(days=customer.terms_days or 0),
        )  # fmt: skip

    def use(self, month: int) -> Fact:
        """What was used in the month is rated an hour after its end."""
        at = self.ends(month) + _HOUR
        document_id = f"US-{self.serial:09d}"
        data = self.data(document_id) | {"total_minor": self.price.net_minor // 3 + 100, "period": self.month(month)}
        del data["plan"]
        return self.tell("usage.rated", "billing", f"{document_id}:rated", at, data)

    def month(self, month: int) -> dict[str, date]:
        return {"start": self.starts[month], "end": self.starts[month] + (MONTH_DAYS - 1) * _DAY}

    def ends(self, month: int) -> datetime:
        return datetime.combine(self.starts[month], time.min, UTC) + MONTH_DAYS * _DAY

    def booked(self, fact: Fact | None) -> datetime:
        return fact.booked_at if fact is not None else self.at

    # what must be found

    def truth(self, fault: str) -> CaseTruth:
        truth = super().truth(fault)
        line = self.billing(truth.known_from)
        truth.hops[_HOP] = line
        for name, state in (("sla", "late"), ("missing_invoice", "missing")):
            truth.breaks += [Span(name, since, until, self.price.net_minor) for since, until in spans(line, state)]
        truth.breaks += [claim() for claim in self.claims]
        truth.pending += [wait() for wait in self.waits]
        return truth

    def billing(self, known_from: datetime) -> Timeline:
        """The states of the leg to the invoice, read at every moment at which one of them can change."""
        moments = [self.schedule.seen_at, *(life.invoice.seen_at for life in self.bills.values())]
        moments += [self.due_at(month) + wait for month in range(MONTHS) for wait in (_TARGET, _MISSING_AFTER)]
        moments += [self.pause.seen_at] if self.pause is not None else []
        line: Timeline = [(known_from, "not_expected")]
        for at in sorted(moment for moment in moments if moment >= self.schedule.seen_at):
            state = self.state(at)
            if state != line[-1][1]:
                line.append((at, state))
        return line

    def due_at(self, month: int) -> datetime:
        return datetime.combine(self.starts[month], time.min, UTC)

    def state(self, at: datetime) -> str:
        is_paused = self.pause is not None and self.pause.seen_at <= at
        for month in range(MONTHS - 1 if is_paused else MONTHS):
            life = self.bills.get(month)
            if life is None or life.invoice.seen_at > at:
                waited = at - self.due_at(month)
                return "waiting" if waited < _TARGET else "late" if waited < _MISSING_AFTER else "missing"
        return "met"


def _both(first: InvoiceLife, second: InvoiceLife) -> datetime:
    return max(first.invoice.seen_at, second.invoice.seen_at)


def billed(order: Subscription, *months: int) -> None:
    for month in months:
        order.bill(month, month, order.within((7_000, 36_000)))


def billed_monthly(order: Subscription) -> None:
    """Every month is billed in the morning of its first day."""
    billed(order, 0, 1, 2)


def paused(order: Subscription) -> None:
    """Paused in the second month: the third is not billed, and nobody misses it."""
    billed(order, 0, 1)
    order.pause = order.change("paused", order.due_at(1) + 10 * _DAY)


def upgraded(order: Subscription) -> None:
    """Twice the price from the middle of the second month on: half a month of the difference at once, then the new price."""
    _upgrade(order, wrong_minor=0)


def misprorated(order: Subscription) -> None:
    """The same, charged by another method than the one declared."""
    wrong_minor = max(2, order.price.net_minor // 10)
    life = _upgrade(order, wrong_minor)
    life.claim("proration", life.invoice, exposure_minor=wrong_minor)


def _upgrade(order: Subscription, wrong_minor: int) -> InvoiceLife:
    billed(order, 0, 1)
    net_minor, half = order.price.net_minor, MONTH_DAYS // 2
    changed_at = order.due_at(1) + half * _DAY + _HOUR
    order.change("amended", changed_at)
    order.set_schedule([net_minor, net_minor, 2 * net_minor], 2, changed_at)
    amount_minor = (net_minor * half + half) // MONTH_DAYS + wrong_minor
    rest = {"start": order.starts[1] + half * _DAY, "end": order.month(1)["end"]}
    terms = {"price_minor": net_minor, "method": "daily", "period": order.month(1)}
    line = {"amount_minor": amount_minor, "reason": "proration", "period": rest, "proration": terms}
    life = order.bill("proration", 1, half * _DAY + 2 * _HOUR, net_minor=amount_minor, reason="proration", service_period=rest, lines=[line])  # fmt: skip
    order.bill(2, 2, 3 * _HOUR, net_minor=2 * net_minor)
    return life


def metered(order: Subscription) -> None:
    """What was used in the first month is billed in the second."""
    billed(order, 0, 1, 2)
    rated = order.use(0)
    life = order.bill("usage", 0, MONTH_DAYS * _DAY + 6 * _HOUR, net_minor=rated.data["total_minor"], reason="usage")
    order.waits.append(lambda: Span("waits", rated.seen_at, life.invoice.seen_at))


def usage_differs(order: Subscription) -> None:
    """Billed at less than it was rated at."""
    billed(order, 0, 1, 2)
    rated = order.use(0)
    short_minor = rated.data["total_minor"] // 4
    billed_minor = rated.data["total_minor"] - short_minor
    bill = order.bill("usage", 0, MONTH_DAYS * _DAY + 6 * _HOUR, net_minor=billed_minor, reason="usage").invoice

    def until() -> datetime:
        return max(rated.seen_at, bill.seen_at, max(rated.booked_at, bill.booked_at) + _TARGET)

    order.waits.append(lambda: Span("waits", rated.seen_at, until()))
    order.claims.append(lambda: Span("usage", until(), None, short_minor))


def unbilled_usage(order: Subscription) -> None:
    """Used, rated and forgotten."""
    billed(order, 0, 1, 2)
    rated = order.use(0)

    def until() -> datetime:
        return max(rated.seen_at, rated.booked_at + _MISSING_AFTER)

    order.waits.append(lambda: Span("waits", rated.seen_at, until()))
    order.claims.append(lambda: Span("unbilled_usage", until(), None, rated.data["total_minor"]))


def never_billed(order: Subscription) -> None:
    """The second month is left out."""
    billed(order, 0, 2)


def billed_twice(order: Subscription) -> None:
    """The second month is billed by two invoices, and both are paid."""
    billed(order, 0, 1, 2)
    first, again = order.bills[1], order.bill("again", 1, 11 * _HOUR)
    order.claims.append(lambda: Span("duplicate_period", _both(first, again), None, again.bill.total_minor))


def billed_short(order: Subscription) -> None:
    """The second month is billed at less than was agreed."""
    billed(order, 0, 2)
    short_minor = max(1, order.price.net_minor // 10)
    bill = order.bill(1, 1, 3 * _HOUR, net_minor=order.price.net_minor - short_minor).invoice
    order.claims.append(lambda: Span("quote_mismatch", max(order.schedule.seen_at, bill.seen_at), None, short_minor))


STORIES: dict[str, Callable[[Subscription], None]] = {
    story.__name__: story for story in (
        billed_monthly, paused, upgraded, misprorated, metered, usage_differs, unbilled_usage, never_billed, billed_twice,
        billed_short,
    )
}  # fmt: skip
