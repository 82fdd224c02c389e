"""Stripe customers: customer.changed in the customer's index case.

A customer's state has no transition or version of its own, so the fact's identity is what it says: the same name and
numbers are the same fact, whether by webhook, retry or poll.
"""

from collections.abc import Iterable
from hashlib import blake2b

import msgspec

from canonical.events import Event
from sources.fields import Fields, note
from sources.stripe.shapes import Delivery


def customer(document: Fields, delivery: Delivery) -> Iterable[Event]:
    ident = document.text("id")
    data = {"name": note(document.text_or_none("name") or document.text_or_none("description"))}
    digest = blake2b(msgspec.json.encode(data), digest_size=8).hexdigest()
    time = delivery.created or document.moment("created")
    case = delivery.origin.case("index", ident)
    yield delivery.origin.tell("customer.changed", "changed", digest, document=ident, case=case, time=time, data=data)
