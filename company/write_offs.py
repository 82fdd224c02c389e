"""Write-offs: what somebody gives up of an invoice, by a decision on its break and by the ledger's entry, or by half of that.

- A decision names the break by its fingerprint, as people read it off a verdict (docs/verdicts.md); it is worked out here
  once more. A proposal is no decision, and one that was made on another amount lapses.
- A decision alone leaves the invoice open until the ledger has the entry: `InvoiceLife.given_up`.
"""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from hashlib import blake2b

from company.customers import Customer
from company.facts import Fact
from company.invoices import InvoiceLife, Payment
from company.truth import TERMS

_DAY = timedelta(days=1)
_MISSING_AFTER = TERMS["invoice_to_payment"].missing_after
_ENTRY_FOLLOWS = TERMS["payment_to_application"].target
_CONTROLLER, _CLERK = ("ana", "controller"), ("ben", "collections")


def fingerprint(key: str, break_class: str, documents: list[str], *amounts: int) -> str:
    """Of a break of the control of its own name."""
    said = "\x00".join((key, break_class, break_class, *sorted(documents), "", *map(str, amounts)))
    return blake2b(said.encode(), digest_size=8).hexdigest()


def _decide(life: InvoiceLife, action: str, at: datetime, break_class: str, named: str) -> Fact:
    actor, role = _CONTROLLER if action == "write_off" else _CLERK
    ident = f"D-{life.serial:09d}-{action}"
    data = {
        "entity": life.entity.name, "document_id": ident, "action": action, "break_class": break_class, "fingerprint": named,
        "actor": actor, "role": role, "reason_code": "uncollectible",
    }  # fmt: skip
    return life.tell("decision.made", "tieout", ident, life.number, at, data)


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


def _unpaid(life: InvoiceLife) -> tuple[str, datetime]:
    """Nothing was paid by the day after which nobody hopes for it: the break's fingerprint, and when somebody looks at it."""
    life.issue()
    life.post()
    named = fingerprint(life.key, "missing_payment", [life.document_id], life.bill.total_minor, 0)
    return named, _due(life) + _MISSING_AFTER + life.within((3_600, 400_000))


def _paid_in_part(life: InvoiceLife, rest_minor: int) -> tuple[Payment, str, datetime]:
    """All but a rest was paid and applied: the payment, the break's fingerprint, and when somebody looks at it."""
    life.issue()
    life.post()
    total_minor = life.bill.total_minor
    payment = life.pay(total_minor - rest_minor)
    assert payment.applied is not None
    documents = [life.document_id, payment.fact.data["document_id"], payment.applied.data["document_id"]]
    named = fingerprint(life.key, "short_payment", documents, total_minor, total_minor - rest_minor)
    return payment, named, max(_due(life), payment.applied.booked_at) + life.within((3_600, 400_000))


def _small(life: InvoiceLife) -> int:
    return max(1, life.bill.total_minor * life.rng.randint(1, 3) // 100)


def _given_up(life: InvoiceLife) -> datetime:
    """Proposed by collections, decided by the controller: when the entry can follow."""
    named, at = _unpaid(life)
    _decide(life, "propose_write_off", at, "missing_payment", named)
    decision = _decide(life, "write_off", at + life.within((600, 90_000)), "missing_payment", named)
    life.given_up.append((decision, None))
    return decision.booked_at + life.within((3_600, 200_000))


def written_off(life: InvoiceLife) -> None:
    """Never paid, given up, and booked."""
    life.settled, _ = _book(life, life.bill.total_minor, _given_up(life))


def rest_written_off(life: InvoiceLife) -> None:
    """Paid but for a small rest, which the controller lets go."""
    rest_minor = _small(life)
    _, named, at = _paid_in_part(life, rest_minor)
    decision = _decide(life, "write_off", at, "short_payment", named)
    life.given_up.append((decision, None))
    life.settled, _ = _book(life, rest_minor, at + life.within((3_600, 200_000)))


def write_off_unbooked(life: InvoiceLife) -> None:
    """Given up and never booked: no break any more, and not settled."""
    _given_up(life)


def write_off_proposed(life: InvoiceLife) -> None:
    """Collections would give it up; nobody decided."""
    named, at = _unpaid(life)
    _decide(life, "propose_write_off", at, "missing_payment", named)


def write_off_withdrawn(life: InvoiceLife) -> None:
    """Given up, and a day later it is to be chased after all."""
    named, at = _unpaid(life)
    decision = _decide(life, "write_off", at, "missing_payment", named)
    chased = _decide(life, "chase", at + life.within((80_000, 90_000)), "missing_payment", named)
    life.given_up.append((decision, chased))


def write_off_lapsed(life: InvoiceLife) -> None:
    """Given up; then the customer pays a part, and what is open now nobody has given up."""
    named, at = _unpaid(life)
    decision = _decide(life, "write_off", at, "missing_payment", named)
    payment = life.pay(max(1, life.bill.total_minor * 6 // 10), at=at + life.within((4_000, 200_000)))
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
    payment, named, at = _paid_in_part(life, rest_minor)
    life.given_up.append((_decide(life, "write_off", at, "short_payment", named), None))
    life.settled, _ = _book(life, 3 * rest_minor, at + life.within((3_600, 200_000)))
    life.claim("overpayment", life.invoice, payment.fact, life.settled, exposure_minor=2 * rest_minor)


STORIES: dict[str, Callable[[InvoiceLife], None]] = {
    story.__name__: story for story in (
        written_off, rest_written_off, write_off_unbooked, write_off_proposed, write_off_withdrawn, write_off_lapsed,
        write_off_misbooked, write_off_beyond,
    )
}  # fmt: skip


def _is_booked_in_its_currency(customer: Customer) -> bool:
    return customer.entity.keeps_document_amounts or not customer.is_foreign


FITS: dict[str, Callable[[Customer], bool]] = {"write_off_misbooked": _is_booked_in_its_currency}
