"""The truth about an invoice's hops: when each leg waits, is late, is missing or has ended, and the breaks of that.

Read off the moments of the facts that the story meant to matter (`posted`, `settled`, `payments`, `void`), not off the
records. A break that a story claims is not told here.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, NamedTuple

from company.facts import Fact
from company.truth import TERMS, CaseTruth, Span, Timeline, leg, spans

if TYPE_CHECKING:
    from company.invoices import InvoiceLife, Payment

_DAY = timedelta(days=1)


class Legs:
    """The hops of an issued invoice, and the breaks that follow from what never came or came late."""

    def __init__(self, life: "InvoiceLife", issued: Fact, truth: CaseTruth) -> None:
        self.life, self.truth = life, truth
        self.known_from = issued.seen_at
        self.total_minor = life.bill.total_minor

    def tell(self) -> None:
        if self.total_minor == 0:
            self.truth.hops = {
                name: [(self.known_from, "not_expected")]
                for name in ("invoice_to_posting", "invoice_to_payment", "payment_to_application")
            }
            return
        self.posting()
        self.payment()
        self.application()

    def posting(self) -> None:
        life, posted = self.life, self.life.posted
        if life.batch_key is not None:
            self.truth.hops["invoice_to_posting"] = [(self.known_from, "not_expected")]
            return
        terms = TERMS["invoice_to_posting"]
        ended = (posted.booked_at, posted.seen_at) if posted is not None else (None, None)
        line = leg(self.known_from, life.start + terms.target, life.start + terms.missing_after, *ended)
        if life.reversal is not None:
            line = _cut(line, life.reversal.seen_at, "not_expected")
        self.truth.hops["invoice_to_posting"] = line
        self.overdue(line, "sla", "late", self.total_minor)
        self.overdue(line, terms.missing_class, "missing", self.total_minor)

    def payment(self) -> None:
        life, terms = self.life, TERMS["invoice_to_payment"]
        line = self.paid_by(life.settled, self.known_from)
        if life.void is not None:
            line = _cut(line, life.void.seen_at, "not_expected")
        self.truth.hops["invoice_to_payment"] = line
        paid_from = min((payment.fact.seen_at for payment in life.payments), default=None)
        self.overdue(line, terms.missing_class, "missing", self.total_minor, until=paid_from)
        if paid_from is not None:
            open_minor = self.total_minor - life.payments[0].amount_minor
            for state in ("late", "missing"):
                self.overdue(line, "short_payment", state, open_minor, since=paid_from)

    def paid_by(self, settled: Fact | None, known_from: datetime) -> Timeline:
        due_on = self.life.bill.due_on
        due_at = datetime.combine(due_on + _DAY, time.min, UTC)
        ended = (settled.at, settled.seen_at, settled.at.date() > due_on) if settled else ()
        return leg(known_from, due_at, due_at + TERMS["invoice_to_payment"].missing_after, *ended)

    def application(self) -> None:
        line: Timeline = [(self.known_from, "not_expected")]
        for payment in sorted(self.life.payments, key=lambda payment: payment.fact.seen_at):
            if payment.applied_minor or len(self.life.payments) == 1:
                line += self.one_application(payment)
        if self.life.credited is not None:
            line = _cut(line, self.life.credited.seen_at, "not_expected")
        self.truth.hops["payment_to_application"] = line

    def one_application(self, payment: "Payment", until: datetime | None = None) -> Timeline:
        """`until`: when the payment was taken away again, and nothing was left to apply."""
        terms = TERMS["payment_to_application"]
        booked_at, applied = payment.fact.booked_at, payment.applied
        due_minor = min(payment.amount_minor, self.total_minor)
        is_whole = applied is not None and payment.applied_minor == due_minor
        ended = (applied.booked_at, applied.seen_at) if applied is not None and is_whole else ()
        known_from = max(self.known_from, payment.fact.seen_at)
        line = leg(known_from, booked_at + terms.target, booked_at + terms.missing_after, *ended)
        if until is not None:
            line = _cut(line, until, "not_expected")
        part_from = applied.seen_at if applied is not None else None
        for state, missing in (("late", "sla"), ("missing", "missing_application")):
            self.overdue(line, missing, state, due_minor, until=part_from)
            if part_from is not None:
                rest = "sla" if state == "late" else "unapplied_cash"
                self.overdue(line, rest, state, due_minor - payment.applied_minor, since=part_from)
        return line

    def overdue(
        self, line: Timeline, name: str, state: str, exposure_minor: int, *, since: datetime | None = None,
        until: datetime | None = None,
    ) -> None:  # fmt: skip
        """A break as long as the leg is in `state`, cut to [since, until)."""
        for begins, ends in spans(line, state):
            first = max(begins, since) if since is not None else begins
            last = min((end for end in (ends, until) if end is not None), default=None)
            if last is None or first < last:
                self.truth.breaks.append(Span(name, first, last, exposure_minor))


class Reopened(NamedTuple):
    """`undone` took away all that was paid but for `left_minor`; `again` settled it once more."""

    undone: Fact
    left_minor: int = 0
    again: Fact | None = None


class ReopenedLegs(Legs):
    """Of an invoice that was paid and then was not: its payment came back, or was another's, or was moved elsewhere."""

    def __init__(self, life: "InvoiceLife", issued: Fact, truth: CaseTruth, reopened: Reopened) -> None:
        super().__init__(life, issued, truth)
        self.reopened = reopened

    def payment(self) -> None:
        undone, left_minor, again = self.reopened
        paid = self.paid_by(self.life.settled, self.known_from)
        line = [(since, name) for since, name in paid if since < undone.seen_at] + self.paid_by(again, undone.seen_at)
        self.truth.hops["invoice_to_payment"] = line
        if not left_minor:
            self.overdue(line, "missing_payment", "missing", self.total_minor)
            return
        for state in ("late", "missing"):
            self.overdue(line, "short_payment", state, self.total_minor - left_minor, since=undone.seen_at)

    def application(self) -> None:
        undone, left_minor, _ = self.reopened
        line: Timeline = [(self.known_from, "not_expected")]
        for payment in self.life.payments:
            is_undone = payment.fact.booked_at < undone.booked_at and not left_minor
            line += self.one_application(payment, undone.seen_at if is_undone else None)
        self.truth.hops["payment_to_application"] = line


def unsettled(facts: Sequence[Fact]) -> list[Span]:
    """From when a fact was delivered ahead of one that was booked before it, until that one came too."""
    windows = []
    latest = None
    for fact in sorted((fact for fact in facts if fact.is_delivered), key=lambda fact: fact.booked_at):
        if latest is not None and fact.seen_at < latest:
            windows.append(Span("overtaken", fact.seen_at, latest))
        latest = fact.seen_at if latest is None else max(latest, fact.seen_at)
    return windows


def given_up(breaks: Sequence[Span], since: datetime, until: datetime | None) -> Iterator[Span]:
    """The breaks without what is not paid between a decision to write it off and the end of that."""
    for span in breaks:
        if span.name not in ("missing_payment", "short_payment"):
            yield span
            continue
        for first, last in ((span.since, since), (until, None)):
            first = max(first, span.since) if first is not None else None
            last = min((end for end in (last, span.until) if end is not None), default=None)
            if first is not None and (last is None or first < last):
                yield Span(span.name, first, last, span.exposure_minor)


def _cut(line: Timeline, at: datetime, state: str) -> Timeline:
    return [(since, name) for since, name in line if since < at] + [(at, state)]
