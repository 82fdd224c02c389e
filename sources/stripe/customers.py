"""Stripe customers: customer.changed in the customer's index case (sources.origin)."""

from collections.abc import Iterable

from canonical.events import Event
from sources.fields import Fields, note
from sources.stripe.shapes import Delivery


def customer(document: Fields, delivery: Delivery) -> Iterable[Event]:
    ident = document.text("id")
    data = {"name": note(document.text_or_none("name") or document.text_or_none("description"))}
    time = delivery.created or document.moment("created")
    yield delivery.origin.customer(ident, data, time)
