"""Stripe payouts and balance transactions.

- payout.paid, payout.failed; while it is pending, in transit or canceled no money arrived. A negative payout takes
  money from the bank account: direction purchase. The bank's date is accounting_date.
- settlement.line of every balance transaction: gross, fee and net are signed and must agree. Its rate is for people: it
  is rounded to twelve decimals, which no amount depends on.
- The one of a payout itself is what left the balance for it, not a part that it is the sum of: it names its payout and
  does not come into its case. Payouts from before 2017-04-06 have a transfer's id.
"""

from collections.abc import Iterable
from decimal import Decimal

from canonical.events import Event
from sources.fields import Fields, note
from sources.stripe.shapes import Delivery, currency, signed_minor

_PAYOUT_KINDS = {"payout", "payout_cancel", "payout_failure"}
_RECEIPT_SOURCES = ("ch_", "py_", "re_", "pyr_", "dp_", "du_")
_RATE_PLACE = Decimal("0.000000000001")


def payout(document: Fields, delivery: Delivery) -> Iterable[Event]:
    ident, status = document.text("id"), document.text("status")
    if status not in ("paid", "failed"):
        document.refuse(f"status is {status}: no money has arrived", "policy")
    code = currency(document)
    amount = signed_minor(document, "amount", code)
    arrival = document.moment_or_none("arrival_date")
    data = {
        "accounting_date": None if arrival is None else arrival.date(),
        "currency": code,
        "amount_minor": abs(amount),
        "direction": "sales" if amount >= 0 else "purchase",
        "method": document.text_or_none("type"),
        "reason": note(document.text_or_none("failure_code")) if status == "failed" else None,
    }
    time = delivery.at(f"payout.{status}") or arrival or document.moment("created")
    yield delivery.origin.tell(f"payout.{status}", document=ident, case=delivery.origin.case("payout", ident), time=time, data=data)  # fmt: skip


def balance_transaction(document: Fields, delivery: Delivery) -> Iterable[Event]:
    ident, code = document.text("id"), currency(document)
    gross, fee, net = (signed_minor(document, name, code) for name in ("amount", "fee", "net"))
    if gross - fee != net:
        document.refuse(f"net is {net}, but amount {gross} less fee {fee} is {gross - fee}")
    source, kind = document.reference("source"), document.text("type")
    data = {
        "payout_id": source if (source or "").startswith("po_") or kind in _PAYOUT_KINDS else None,
        "payment_id": source if (source or "").startswith(("ch_", "py_")) else None,
        "kind": kind,
        "currency": code,
        "gross_minor": gross,
        "fee_minor": fee,
        "net_minor": net,
        "rate": _rate(document),
    }
    case = _home(delivery, ident, source)
    yield delivery.origin.tell("settlement.line", "settled", document=ident, case=case, time=document.moment("created"), data=data)  # fmt: skip


def _home(delivery: Delivery, ident: str, source: str | None) -> str:
    if source is not None and source.startswith(_RECEIPT_SOURCES):
        return delivery.origin.case("receipt", source)
    return delivery.origin.case("summary", ident)


def _rate(document: Fields) -> str | None:
    value = document.values.get("exchange_rate")
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)) or value <= 0:
        document.refuse(f"exchange_rate is {value}, expected a positive number")
    if isinstance(value, int):
        return str(value)
    return format(min(value, value.quantize(_RATE_PLACE), key=_places), "f")


def _places(value: Decimal) -> int:
    return -int(value.as_tuple().exponent)
