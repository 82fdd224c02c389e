"""Stripe subscriptions and quotes.

- subscription.activated once it started (not while incomplete), dated start_date. It holds only what never changes
  (customer, currency), so that every later snapshot says the same.
- What changes is told by its own event, with the event's time as version: subscription.amended (items, plan, quantity or
  discount changed: the terms now), subscription.paused, subscription.resumed. A polled subscription cannot tell when
  those happened, so it does not tell them. Since 2025-03-31 items hold the billing period: a new one is no new term.
- subscription.cancelled of one whose status is canceled.
- quote.approved of an accepted quote, in the order of the subscription that it became. A quote of nothing recurring
  becomes an invoice and no subscription: the invoice tells it.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from canonical.events import Event
from sources.fields import Fields, Record, known_currency, shown
from sources.stripe.shapes import Delivery, currency, customer, minor

_STARTED = {"trialing", "active", "past_due", "unpaid", "paused", "canceled"}
_TERMS = {"items", "plan", "quantity", "discount", "discounts"}


def subscription(document: Fields, delivery: Delivery) -> Iterable[Event]:
    status = document.text("status")
    if status in ("incomplete", "incomplete_expired"):
        document.refuse(f"status is {status}: its first payment did not succeed, so it never started", "policy")
    if status not in _STARTED:
        document.refuse(f"status is {shown(status)}, unknown to this adapter")
    code = _currency(document)
    started = document.moment_or_none("start_date") or document.moment("created")
    data = {"customer": customer(document, "bill_to"), "currency": code}
    yield _told(document, delivery, "activated", started, data)
    yield from _changed(document, delivery, data)
    if status == "canceled":
        ended = document.moment_or_none("ended_at") or document.moment_or_none("canceled_at") or delivery.at("customer.subscription.deleted")  # fmt: skip
        if ended is None:
            document.refuse("status is canceled, but neither ended_at nor canceled_at says since when")
        yield _told(document, delivery, "cancelled", ended, data)


def quote(document: Fields, delivery: Delivery) -> Iterable[Event]:
    ident, status = document.text("id"), document.text("status")
    if status != "accepted":
        document.refuse(f"status is {status}: not accepted", "policy")
    accepted = document.inner("status_transitions").moment_or_none("accepted_at") or delivery.at("quote.accepted")
    if accepted is None:
        document.refuse("status is accepted, but status_transitions.accepted_at does not say since when")
    origin, code, number = delivery.origin, currency(document), document.text_or_none("number")
    subscription_id = document.reference("subscription")
    if subscription_id is None and _is_one_off(document):
        document.refuse("nothing in it recurs, so it becomes no subscription; its invoice tells it", "policy")
    case = origin.case("order", subscription_id or ident)
    details = document.inner("total_details")
    data = {
        "number": number,
        "customer": customer(document, "bill_to"),
        "currency": code,
        "total_minor": minor(document, "amount_total", code),
        "tax_minor": minor(details, "amount_tax", code) if details.has("amount_tax") else None,
        "subscription_id": subscription_id,
    }
    yield origin.tell("quote.approved", document=ident, subject=number, case=case, time=accepted, data=data)
    if subscription_id is not None:
        alias = {"alias": origin.case("order", ident)}
        yield origin.tell(
            "case.linked", "linked", subscription_id, document=ident, case=case, time=accepted, data=alias
        )


def _changed(document: Fields, delivery: Delivery, data: Record) -> Iterable[Event]:
    created, previous = delivery.created, delivery.previous
    if created is None:
        return
    version = {"version": int(created.timestamp())}
    if _has_new_terms(document, previous):
        yield _told(document, delivery, "amended", created, data | version | _terms(document, data["currency"]))
    if "pause_collection" in previous or delivery.event_type in ("customer.subscription.paused", "customer.subscription.resumed"):  # fmt: skip
        is_paused = document.has("pause_collection") or document.text("status") == "paused"
        yield _told(document, delivery, "paused" if is_paused else "resumed", created, data | version)


def _is_one_off(document: Fields) -> bool:
    computed = document.inner("computed").values
    is_scheduled = document.has("subscription_schedule")
    return "recurring" in computed and computed["recurring"] is None and not is_scheduled


def _has_new_terms(document: Fields, previous: Mapping[str, Any]) -> bool:
    changed = _TERMS & previous.keys()
    return bool(changed) if changed != {"items"} else _sold(previous["items"]) != _sold(document.values.get("items"))


def _sold(items: Any) -> Any:
    """What each item is sold for, without what passes by itself; what is no list of items is only itself."""
    rows = items.get("data") if isinstance(items, dict) else items
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return items
    return [(_ident(row.get("price") or row.get("plan")), row.get("quantity"), row.get("discounts")) for row in rows]


def _ident(value: Any) -> Any:
    return value.get("id") if isinstance(value, dict) else value


def _told(document: Fields, delivery: Delivery, change: str, time: datetime, data: Record) -> Event:
    ident = document.text("id")
    transition = (change, str(data["version"])) if "version" in data else (change,)
    case = delivery.origin.case("order", ident)
    return delivery.origin.tell(f"subscription.{change}", *transition, document=ident, case=case, time=time, data=data)


def _terms(document: Fields, code: str | None) -> Record:
    """Plan, quantity and total of a period where there is one item of a fixed price; otherwise they are not one figure."""
    items = list(document.items("items"))
    if len(items) != 1 or code is None:
        return {}
    price = items[0].inner("price") if items[0].has("price") else items[0].inner("plan")
    amount_name = "unit_amount" if price.has("unit_amount") else "amount"
    unit, quantity = price.values.get(amount_name), items[0].values.get("quantity", 1)
    total = minor(price, amount_name, code) * quantity if isinstance(unit, int) and isinstance(quantity, int) else None
    count = format(quantity, "f") if isinstance(quantity, Decimal) else None if quantity is None else str(quantity)
    return {"plan": price.text_or_none("id"), "quantity": count, "total_minor": total}


def _currency(document: Fields) -> str | None:
    """Top level in the newer versions, on its first price before; none where it has no items yet."""
    if document.has("currency"):
        return currency(document)
    for item in document.items("items"):
        for name in ("price", "plan"):
            code = item.inner(name).text_or_none("currency")
            if code is not None:
                return known_currency(code, document.label)
    return None
