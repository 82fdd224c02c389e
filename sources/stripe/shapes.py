"""What Stripe's objects have in common: currency units, how an object was delivered, and where API versions differ.

Minor units: Stripe counts MGA in whole ariary (ISO 4217: two decimals), ISK and UGX in hundredths although ISO 4217
gives them none; all other currencies as ISO 4217 does. An amount that has no exact ISO form is refused, never rounded.
Source: Stripe's documentation, "Supported currencies", zero-decimal currencies and special cases.
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

from canonical.events import Event
from canonical.money import MAX_MINOR, exponent
from sources.fields import Fields, known_currency, shown
from sources.origin import Origin

_DECIMALS = {"MGA": 0, "ISK": 2, "UGX": 2}

# An event of this type is only ever about an object in one of these states.
_STATES: dict[str, tuple[str, ...]] = {
    "invoice.paid": ("paid",),
    "invoice.payment_succeeded": ("paid",),
    "invoice.voided": ("void",),
    "invoice.marked_uncollectible": ("uncollectible",),
    "invoice_payment.paid": ("paid",),
    "charge.succeeded": ("succeeded",),
    "charge.captured": ("succeeded",),
    "charge.refunded": ("succeeded",),
    "charge.failed": ("failed",),
    "charge.pending": ("pending",),
    "charge.dispute.closed": ("won", "lost", "warning_closed", "charge_refunded", "prevented"),
    "payment_intent.succeeded": ("succeeded",),
    "payment_intent.processing": ("processing",),
    "payment_intent.canceled": ("canceled",),
    "refund.failed": ("failed",),
    "charge.refund.failed": ("failed",),
    "credit_note.voided": ("void",),
    "payout.paid": ("paid",),
    "payout.failed": ("failed",),
    "quote.accepted": ("accepted",),
    "customer.subscription.deleted": ("canceled", "incomplete_expired"),
}


class Delivery(NamedTuple):
    """How an object arrived: in an event of a type, created when, with which attributes it had before; or polled."""

    origin: Origin
    event_type: str | None = None
    created: datetime | None = None
    previous: Mapping[str, Any] = MappingProxyType({})

    def at(self, *event_types: str) -> datetime | None:
        """When it happened, if this very event tells it."""
        return self.created if self.event_type in event_types else None


def check_consistent(document: Fields, delivery: Delivery) -> None:
    states = _STATES.get(delivery.event_type or "")
    status = document.text_or_none("status")
    if states is not None and status not in states:
        document.refuse(f"the event {delivery.event_type} is about an object whose status is {shown(status)}; look at it in Stripe and replay the right one")  # fmt: skip


def currency(document: Fields) -> str:
    if not document.has("currency"):
        document.refuse("currency is missing", "master_data")
    return known_currency(document.text("currency"), document.label)


def signed_minor(document: Fields, name: str, code: str) -> int:
    """An amount in ISO 4217 minor units."""
    amount: int = document.whole(name)
    decimals = exponent(code)
    shift = decimals - _DECIMALS.get(code, decimals)
    if shift < 0:
        amount, remainder = divmod(amount, 100)
        if remainder:
            document.refuse(f"{name} is {document.whole(name)}: Stripe counts {code} in hundredths, but ISO 4217 has no fraction of it")  # fmt: skip
    for _ in range(shift):
        amount *= 10
    if abs(amount) > MAX_MINOR:
        document.refuse(f"{name} is {document.whole(name)}, outside 64 bits")
    return amount


def minor(document: Fields, name: str, code: str) -> int:
    amount = signed_minor(document, name, code)
    if amount < 0:
        document.refuse(f"{name} is {amount}, expected no negative amount")
    return amount


def minor_or_zero(document: Fields, name: str, code: str) -> int:
    return minor(document, name, code) if document.has(name) else 0


def tax_lines(document: Fields, code: str) -> list[dict[str, Any]]:
    """`total_taxes` (newest), `total_tax_amounts` (older), `tax_amounts` (credit notes): one shape."""
    name = next(
        (name for name in ("total_taxes", "total_tax_amounts", "tax_amounts") if document.has(name)), "total_taxes"
    )
    return [
        {
            "amount_minor": signed_minor(row, "amount", code),
            "code": row.inner("tax_rate_details").reference("tax_rate") or row.reference("tax_rate"),
            "base_minor": signed_minor(row, "taxable_amount", code) if row.has("taxable_amount") else None,
            "inclusive": row.text_or_none("tax_behavior") == "inclusive" or row.flag("inclusive"),
        }
        for row in document.items(name)
    ]


def tax_total(document: Fields, lines: list[dict[str, Any]], code: str) -> int | None:
    """Sum of the tax lines; none stated (older API: `tax` without lines) is not a tax of zero."""
    stated = signed_minor(document, "tax", code) if document.has("tax") else None
    if not lines:
        return stated or None
    total: int = sum(line["amount_minor"] for line in lines)
    if stated is not None and stated != total:
        document.refuse(f"tax is {stated}, but its tax amounts sum to {total}")
    return total


def period(document: Fields) -> dict[str, date] | None:
    """Stripe's period ends when the next begins; ours includes both days."""
    inner = document.inner("period")
    start, end = inner.moment_or_none("start"), inner.moment_or_none("end")
    if start is None or end is None:
        return None
    return {"start": start.date(), "end": max(start, end - timedelta(seconds=1)).date()}


def customer(document: Fields, role: str) -> dict[str, str] | None:
    """Who is charged: a customer, or since 2025-12-15 an account in its place."""
    ident = document.reference("customer") or document.text_or_none("customer_account")
    return None if ident is None else {role: ident}


def payment_id(document: Fields) -> str | None:
    """What a payment is known by everywhere: its payment intent, or its charge where it has none.

    A payment_record is money that was paid outside Stripe and is only recorded there.
    """
    return next(
        (ident for name in ("payment_intent", "charge", "payment_record") if (ident := document.reference(name))), None
    )


def invoice_of(document: Fields) -> str | None:
    """The invoice a payment names: top level until 2025-03-31, since then at most as its order reference."""
    reference = document.inner("payment_details").text_or_none("order_reference") or ""
    return document.reference("invoice") or (reference if reference.startswith("in_") else None)


def linked(origin: Origin, ident: str, case: str, time: datetime) -> Event:
    """Says that what comes in under the receipt case of `ident` belongs to `case`."""
    target = case.rpartition(":")[2]
    return origin.tell("case.linked", "linked", target, document=ident, case=case, time=time, data={"alias": origin.case("receipt", ident)})  # fmt: skip
