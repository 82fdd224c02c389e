"""Write-offs: what somebody gives up of an invoice, by a decision on its break and by the ledger's entry, or by half of that.

- A decision names the break by its fingerprint, as people read it off a verdict (docs/verdicts.md); it is worked out here
  once more. A proposal is no decision, one person does not suffice for much, and what was decided on another amount lapses.
- A decision alone leaves the invoice open until the ledger has the entry: `InvoiceLife.given_up`.
"""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from hashlib import blake2b
from typing import NamedTuple

from company.bills import price_minor
from company.customers import Customer
from company.facts import Fact
from company.invoices import InvoiceLife, Payment
from company.truth import TERMS

_DAY = timedelta(days=1)
_MISSING_AFTER = TERMS["invoice_to_payment"].missing_after
_ENTRY_FOLLOWS = TERMS["payment_to_application"].target
_ALONE_MINOR = 100_000  # more takes two people


def fingerprint(key: str, break_class: str, documents: list[str], *amounts: int) -> str:
    """Of a break of the control of its own name."""
    said = "\x00".join((key, break_class, break_class, *sorted(documents), "", *map(str, amounts)))
    return blake2b(said.encode(), digest_size=8).hexdigest()


class Person(NamedTuple):
    name: str
    role: str


COLLECTOR, CONTROLLER, DIRECTOR = Person("ben", "collections"), Person("ana", "controller"), Person("cleo", "director")


class Open(NamedTuple):
    """A break on which people decide: what is open, its fingerprint, and when somebody looks at it."""

    life: InvoiceLife
    break_class: str
    minor: int
    fingerprint: str
    at: datetime

    def decide(self, action: str, by: Person, at: datetime) -> Fact:
        life = self.life
        ident = f"D-{life.serial:09d}-{sum(fact.type == 'decision.made' for fact in life.facts) + 1}"
        data = {
            "entity": life.entity.name, "document_id": ident, "action": action, "break_class": self.break_class,
            "fingerprint": self.fingerprint, "actor": by.name, "role": by.role, "reason_code": "uncollectible",
        }  # fmt: skip
        return life.tell("decision.made", "tieout", ident, life.number, at, data)

    def give_up(self) -> Fact:
        """Decided by the controller, and by the director where it takes two: the decision from which on it holds."""
        last = self.decide("write_off", CONTROLLER, self.at)
        if self.minor > _ALONE_MINOR:
            last = self.decide("write_off", DIRECTOR, self.at + self.life.within((3_600, 100_000)))
        return last


def _book(life: InvoiceLife, amount_minor: int, at: datetime, too_much_minor: int = 0) -> tuple[Fact, Fact]:
    """The application and its entry, some minutes later, which may be over more."""
    application = life.apply(amount_minor, at, "write_off", "w", None)
    booked_minor = amount_minor + too_much_minor
    base_minor = life.bill.base(booked_minor)
    journal = f"JE-{life.serial:09d}w"
    lines = [
        life.line("write_off", "6900", booked_minor, base_minor),
        life.line("receivable", "1200", -booked_minor, -base_minor),
    ]
    data = life.posting_data(journal, lines) | {"document_type": "application", "accounting_date": at.date()}
    at += life.within((60, 600))
    return application, life.tell("posting.recorded", "erp", f"{journal}:recorded", journal, at, data)


def _due(life: InvoiceLife) -> datetime:
    return datetime.combine(life.bill.due_on + _DAY, time.min, UTC)


def _unpaid(life: InvoiceLife) -> Open:
    """Nothing was paid by the day after which nobody hopes for it."""
    life.issue()
    life.post()
    minor = life.bill.total_minor
    named = fingerprint(life.key, "missing_payment", [life.document_id], minor, 0)
    return Open(life, "missing_payment", minor, named, _due(life) + _MISSING_AFTER + life.within((3_600, 400_000)))


def _paid_in_part(life: InvoiceLife, rest_minor: int) -> tuple[Payment, Open]:
    """All but a rest was paid and applied."""
    life.issue()
    life.post()
    total_minor = life.bill.total_minor
    payment = life.pay(total_minor - rest_minor)
    assert payment.applied is not None
    documents = [life.document_id, payment.fact.data["document_id"], payment.applied.data["document_id"]]
    named = fingerprint(life.key, "short_payment", documents, total_minor, total_minor - rest_minor)
    at = max(_due(life), payment.applied.booked_at) + life.within((3_600, 400_000))
    return payment, Open(life, "short_payment", rest_minor, named, at)


def _small(life: InvoiceLife) -> int:
    return max(1, life.bill.total_minor * life.rng.randint(1, 3) // 100)


def _given_up(life: InvoiceLife) -> datetime:
    """Proposed by collections and decided: when the entry can follow."""
    item = _unpaid(life)
    item.decide("propose_write_off", COLLECTOR, item.at - timedelta(minutes=30))
    return _can_be_booked(life, item.give_up())


def _can_be_booked(life: InvoiceLife, decision: Fact) -> datetime:
    life.given_up.append((decision, None))
    return decision.booked_at + life.within((3_600, 200_000))


def written_off(life: InvoiceLife) -> None:
    """Never paid, given up, and booked."""
    life.settled, _ = _book(life, life.bill.total_minor, _given_up(life))


def rest_written_off(life: InvoiceLife) -> None:
    """Paid but for a small rest, which is let go."""
    rest_minor = _small(life)
    _, item = _paid_in_part(life, rest_minor)
    life.settled, _ = _book(life, rest_minor, _can_be_booked(life, item.give_up()))


def write_off_unbooked(life: InvoiceLife) -> None:
    """Given up and never booked: no break any more, and not settled."""
    _given_up(life)


def write_off_proposed(life: InvoiceLife) -> None:
    """Collections would give it up; nobody decided."""
    item = _unpaid(life)
    item.decide("propose_write_off", COLLECTOR, item.at)


def write_off_alone(life: InvoiceLife) -> None:
    """More than one person may give up, decided twice by the same one."""
    item = _unpaid(life)
    for hours in (0, 5):
        item.decide("write_off", CONTROLLER, item.at + timedelta(hours=hours))


def write_off_withdrawn(life: InvoiceLife) -> None:
    """Given up, and a day later it is to be chased after all."""
    item = _unpaid(life)
    decision = item.give_up()
    chased = item.decide("chase", COLLECTOR, decision.booked_at + life.within((80_000, 90_000)))
    life.given_up.append((decision, chased))


def write_off_lapsed(life: InvoiceLife) -> None:
    """Given up; then the customer pays a part, and what is open now nobody has given up."""
    decision = _unpaid(life).give_up()
    at = decision.booked_at + life.within((4_000, 200_000))
    payment = life.pay(max(1, life.bill.total_minor * 6 // 10), at=at)
    life.given_up.append((decision, payment.fact))


def write_off_misbooked(life: InvoiceLife) -> None:
    """The entry gives up more than was applied."""
    off = max(1, life.bill.total_minor // 20)
    life.settled, entry = _book(life, life.bill.total_minor, _given_up(life), too_much_minor=off)
    from_at = max(life.settled.booked_at, entry.booked_at) + _ENTRY_FOLLOWS
    life.claim("amount", life.invoice, life.settled, entry, exposure_minor=off, from_at=from_at)


def write_off_beyond(life: InvoiceLife) -> None:
    """More is given up than the rest that was open."""
    rest_minor = _small(life)
    payment, item = _paid_in_part(life, rest_minor)
    life.settled, _ = _book(life, 3 * rest_minor, _can_be_booked(life, item.give_up()))
    life.claim("overpayment", life.invoice, payment.fact, life.settled, exposure_minor=2 * rest_minor)


STORIES: dict[str, Callable[[InvoiceLife], None]] = {
    story.__name__: story for story in (
        written_off, rest_written_off, write_off_unbooked, write_off_proposed, write_off_alone, write_off_withdrawn, write_off_lapsed,
        write_off_misbooked, write_off_beyond,
    )
}  # fmt: skip


def _is_booked_in_its_currency(customer: Customer) -> bool:
    return customer.entity.keeps_document_amounts or not customer.is_foreign


def _is_large(customer: Customer) -> bool:
    """Whatever discount it is given."""
    return price_minor(customer) > 2 * _ALONE_MINOR


FITS: dict[str, Callable[[Customer], bool]] = {
    "write_off_misbooked": _is_booked_in_its_currency,
    "write_off_alone": _is_large,
}
