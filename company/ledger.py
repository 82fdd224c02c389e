"""Stories of the wider ledger: a day's batch, revenue over its service, gains of exchange. Each claims what must be found.

A batch is a case of its own: the invoices of one company and day that name it, booked by one journal in the evening, or
booked wrong, or not at all. While its members and its journal are on their way its truth is unsettled.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Any

from company.customers import Customer
from company.facts import Fact
from company.invoices import InvoiceLife, Wait
from company.truth import ORPHAN_GRACE, TERMS, CaseTruth, Span

_DAY = timedelta(days=1)
_POSTING = TERMS["invoice_to_posting"]
_CLOSES_AFTER = timedelta(days=10)  # of the end of a month: the policy's grace of cut-off


# Revenue over its service.


def scheduled(life: InvoiceLife) -> None:
    """Spread over the months of its service, and recognised in the days after each."""
    _sold(life)
    schedule = _schedule(life, life.bill.net_minor)
    last = [_recognise(life, *part) for part in _months(life, life.bill.net_minor)][-1]
    life.pending.append(Wait(schedule, _NEVER, last))


def misscheduled(life: InvoiceLife) -> None:
    """Another amount than the invoice's net: with its tax, as a rule."""
    invoice = _sold(life)
    off = life.bill.tax_minor or max(1, life.bill.net_minor // 12)
    schedule = _schedule(life, life.bill.net_minor + off)
    from_at = invoice.booked_at + _POSTING.target
    life.pending.append(Wait(schedule, from_at))
    life.claim("revenue_schedule", invoice, schedule, exposure_minor=off, from_at=from_at)


def unrecognised(life: InvoiceLife) -> None:
    """The first month was never recognised, nor what followed."""
    invoice = _sold(life)
    schedule = _schedule(life, life.bill.net_minor)
    first, amount_minor = _months(life, life.bill.net_minor)[0]
    from_at = datetime.combine(_end_of_month(first) + _DAY, time.min, UTC) + _CLOSES_AFTER
    life.pending.append(Wait(schedule, from_at))
    life.claim("revenue_schedule", invoice, schedule, exposure_minor=amount_minor, from_at=from_at)


_NEVER = datetime(2099, 1, 1, tzinfo=UTC)


def _sold(life: InvoiceLife) -> Fact:
    invoice = life.issue()
    life.post()
    life.pay()
    return invoice


def _end_of_month(day: date) -> date:
    return date(day.year + day.month // 12, day.month % 12 + 1, 1) - _DAY


def _months(life: InvoiceLife, net_minor: int) -> list[tuple[date, int]]:
    """The first day of service in each month, and what is its part by days."""
    first, days = life.bill.issued_on, 30
    in_first = min(days, (_end_of_month(first) - first).days + 1)
    if in_first == days:
        return [(first, net_minor)]
    part = net_minor * in_first // days
    return [(first, part), (_end_of_month(first) + _DAY, net_minor - part)]


def _period(life: InvoiceLife, first: date) -> dict[str, date]:
    return {"start": first, "end": min(_end_of_month(first), life.bill.issued_on + timedelta(days=29))}


def _schedule(life: InvoiceLife, net_minor: int) -> Fact:
    ident = f"RS-{life.serial:09d}"
    bills = [
        {"due_on": _end_of_month(first), "total_minor": part, "period": _period(life, first)}
        for first, part in _months(life, net_minor)
    ]
    data = _revenue_data(life, ident) | {"total_minor": net_minor, "bills": bills}
    return life.tell(
        "revenue_schedule.set", "erp", f"{ident}:set", ident, life.start + life.within(life.pace.posting), data
    )


def _recognise(life: InvoiceLife, first: date, amount_minor: int) -> Fact:
    ident = f"RR-{life.serial:09d}-{first:%Y%m}"
    at = datetime.combine(_end_of_month(first) + _DAY, time(1, tzinfo=UTC)) + life.within((0, 300_000))
    data = _revenue_data(life, ident) | {"amount_minor": amount_minor, "period": _period(life, first)}
    return life.tell("revenue.recognised", "erp", f"{ident}:recognised", ident, at, data)


def _revenue_data(life: InvoiceLife, ident: str) -> dict[str, Any]:
    return {"entity": life.entity.name, "document_id": ident, "ledger": "main", "currency": life.bill.currency}


# Gains of exchange.


def realised_gain(life: InvoiceLife) -> None:
    """Paid at another day's rate; the application says what the money was worth, and the gain."""
    _paid_at_another_rate(life, 0)


def wrong_gain(life: InvoiceLife) -> None:
    """The gain is stated too high or too low."""
    rate = life.bill.rate
    assert rate is not None
    off = max(10, life.bill.base(life.bill.total_minor) * life.rng.randint(1, 20) // 1_000)
    application = _paid_at_another_rate(life, off * life.rng.choice((-1, 1)))
    life.claim("fx", life.invoice, application, exposure_minor=rate.document(off))


def _paid_at_another_rate(life: InvoiceLife, off: int) -> Fact:
    life.issue()
    life.post()
    application = life.pay().applied
    assert application is not None
    base = life.bill.base(life.bill.total_minor)
    gain = base * life.rng.randint(-30, 30) // 1_000
    application.data |= {
        "base_currency": life.entity.currency, "from_base_minor": base + gain, "realised_fx_minor": gain + off,
    }  # fmt: skip
    return application


# Batches.


def batched(life: InvoiceLife) -> None:
    """Its batch books it; it is paid as any other."""
    life.issue()
    life.pay()


class Batch:
    """The invoices of one company that one journal books: a day's, or of less in a life that is watched."""

    def __init__(self, first: InvoiceLife) -> None:
        self.entity, self.day, pace = first.entity, first.bill.issued_on, first.pace
        midnight = datetime.combine(self.day + _DAY, time.min, UTC)
        self.closes_at = midnight if pace.batch is None else first.at + timedelta(seconds=pace.batch)
        self.number = f"B-{self.day:%Y%m%d}" if pace.batch is None else f"B-{self.day:%Y%m%d}-{first.serial}"
        self.key = f"summary:{self.entity.name}:erp:{self.number}"
        self.journal_after = pace.journal
        self.members: list[InvoiceLife] = []
        self.facts: list[Fact] = []
        self._claimed: tuple[str, int, timedelta] | None = None  # class, exposure, time for it to be put right

    def takes(self, invoice: InvoiceLife) -> bool:
        is_of_it = (self.entity, self.day, self.journal_after) == (
            invoice.entity,
            invoice.bill.issued_on,
            invoice.pace.journal,
        )
        return is_of_it and invoice.at < self.closes_at

    def tell(self, rng: Random, fault: str) -> None:
        """The evening's journal, with one fault (`clean` for none)."""
        totals = [(life.bill.total_minor, life.bill.tax_minor) for life in self.members]
        total_minor, tax_minor = map(sum, zip(*totals, strict=True))
        wrong = rng.choice(totals)
        if fault == "unposted_batch":
            self._claimed = ("missing_posting", total_minor, _POSTING.missing_after)
            return
        if fault == "short_batch":
            off = max(1, total_minor // 100)
            total_minor -= off
            self._claimed = ("summary_split", off, _POSTING.target)
        elif fault == "forgotten_member":
            total_minor, tax_minor = total_minor - wrong[0], tax_minor - wrong[1]
            self._claimed = ("summary_split", wrong[0], _POSTING.target)
            if not total_minor:  # a journal over nothing books nobody
                self._claimed = ("missing_posting", wrong[0], _POSTING.missing_after)
        elif fault == "member_twice":
            total_minor, tax_minor = total_minor + wrong[0], tax_minor + wrong[1]
            self._claimed = ("summary_split", wrong[0], ORPHAN_GRACE)
        self.facts.append(self._journal(rng, total_minor, tax_minor))

    def _journal(self, rng: Random, total_minor: int, tax_minor: int) -> Fact:
        at = self.closes_at + timedelta(seconds=rng.randint(*self.journal_after))
        currency = self.entity.currency
        sums = (("receivable", total_minor), ("deferred", tax_minor - total_minor), ("tax", -tax_minor))
        lines = [{"role": role, "amount_minor": minor, "base_minor": minor} for role, minor in sums]
        data = {
            "entity": self.entity.name, "document_id": self.number, "number": self.number, "accounting_date": self.day,
            "ledger": "main", "document_type": "invoice", "posting_kind": "summary", "direction": "sales",
            "currency": currency, "base_currency": currency, "lines": lines,
        }  # fmt: skip
        return Fact(
            "posting.recorded",
            "erp",
            f"{self.entity.name}:{self.number}:recorded",
            self.number,
            at,
            at,
            rng.random(),
            data,
        )

    def truth(self, fault: str) -> CaseTruth:
        seen = [life.invoice.seen_at for life in self.members] + [fact.seen_at for fact in self.facts]
        booked = [life.invoice.booked_at for life in self.members] + [fact.booked_at for fact in self.facts]
        truth = CaseTruth(
            correlation_id=self.key, kind="summary", entity=self.entity.name, document=self.number,
            customer="", currency=self.entity.currency, amount_minor=0, fault=fault, known_from=min(seen),
            unsettled=[Span("gathers", min(seen), max(seen))],
        )  # fmt: skip
        if self._claimed is not None:
            name, exposure_minor, leeway = self._claimed
            since = max(*seen, max(booked) + leeway)
            truth.pending.append(Span("waits", min(seen), since))
            truth.breaks.append(Span(name, since, None, exposure_minor))
        return truth


def _by_name(*stories: Callable[[InvoiceLife], None]) -> dict[str, Callable[[InvoiceLife], None]]:
    return {story.__name__: story for story in stories}


STORIES = _by_name(batched, scheduled, misscheduled, unrecognised, realised_gain, wrong_gain)


def _is_monthly(customer: Customer) -> bool:
    return not customer.pays_yearly


def _is_foreign(customer: Customer) -> bool:
    return customer.is_foreign


FITS: dict[str, Callable[[Customer], bool]] = {
    "batched": lambda customer: not customer.is_foreign,
    "scheduled": _is_monthly,
    "misscheduled": _is_monthly,
    "unrecognised": _is_monthly,
    "realised_gain": _is_foreign,
    "wrong_gain": _is_foreign,
}
