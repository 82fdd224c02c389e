"""Why a leg is missing: the last failed delivery beside it.

- A failure counts until a later delivery of the same to the same target succeeds.
- It explains the open leg that awaits its target, if that leg is about what was being delivered: by its operation
  ("create_invoice", "apply_payment"), else by its document (the invoice's own id, a payment's). A delivery that says
  neither may be about any leg.
- One whose target no leg awaits explains the leg that its delivery is about, or the first leg still open.
"""

import re
from typing import Any

from matching.hops import NAMES, OPEN_STATES, awaited_source
from matching.view import View

# The legs that wait for a delivery of such a document; first the one that waits for it whatever the target.
_OF_PAYMENT = ("payment_to_application", "invoice_to_payment")
_OF_INVOICE = ("invoice_to_posting", "invoice_to_payment", "subscription_to_invoice")
_OF_ORDER = ("quote_to_subscription",)
# Words of an operation, the telling ones first: "apply_payment_to_invoice" delivers a payment.
_LEGS_BY_WORD: tuple[tuple[frozenset[str], tuple[str, ...]], ...] = (
    (frozenset(("payment", "payments", "application", "applications", "apply", "cash", "receipt")), _OF_PAYMENT),
    (frozenset(("invoice", "invoices", "posting", "postings", "journal", "bill", "credit", "memo")), _OF_INVOICE),
    (frozenset(("subscription", "subscriptions", "order", "orders", "quote")), _OF_ORDER),
)


def failure_beside(view: View, hop_name: str) -> Any | None:
    """The `delivery.failed` that explains an open leg, or None."""
    if "delivery.failed" not in view.by_type:
        return None
    beside = [
        failed
        for failed in view.of("delivery.failed")
        if _explains(view, failed, hop_name) and not _was_delivered_later(view, failed)
    ]
    return beside[-1] if beside else None


def _explains(view: View, failed: Any, hop_name: str) -> bool:
    legs = _legs_of(view, failed)
    if failed.data.target == awaited_source(view, hop_name):
        return legs is None or hop_name in legs
    if failed.data.target in {awaited_source(view, name) for name in NAMES.get(view.kind, ())}:
        return False
    return hop_name == (_first_open(view) if legs is None else legs[0])


def _legs_of(view: View, delivery: Any) -> tuple[str, ...] | None:
    """The legs that the delivery can be about; None where it does not say."""
    words = frozenset(re.split("[^a-z]+", delivery.data.operation.lower()))
    for telling, legs in _LEGS_BY_WORD:
        if not telling.isdisjoint(words):
            return legs
    document = delivery.data.document_id
    if view.document is not None and document == view.document.data.document_id:
        return _OF_ORDER if view.kind == "order" else _OF_INVOICE
    moved = (*view.settlement.payments, *view.settlement.foreign, *view.of("cash.applied"))
    return _OF_PAYMENT if any(event.data.document_id == document for event in moved) else None


def _was_delivered_later(view: View, failed: Any) -> bool:
    legs = _legs_of(view, failed)
    for event in view.of("delivery.succeeded"):
        if event.data.target == failed.data.target and event.time >= failed.time:
            delivered = _legs_of(view, event)
            if legs is None or delivered is None or delivered == legs:
                return True
    return False


def _first_open(view: View) -> str | None:
    return next((name for name, hop in view.hops.items() if hop.state in OPEN_STATES), None)
