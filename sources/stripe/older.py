"""Objects of older API versions, said in the words of the newer ones: the mappers know one shape.

- Only what is missing is filled in, from what the older version said in its place; what is there is never changed, but for
  words that were renamed.
- charge: `status` was called paid until 2015-02-18 and was no more than `paid` (true or false) before it existed.
- payment intent: requires_source was renamed requires_payment_method in 2019-02-11.
- invoice: `created` was `date` and `finalized_at` stood at the top until 2019-03-14. Before 2018-11-08 the status was told
  by `paid`, `forgiven`, `closed` and `attempted`: one that nobody was asked to pay yet was a draft, and a closed one that
  was never paid was only no longer collected: it stayed open. Until 2012-10-26 its lines stood in one list a kind, and
  only they had a currency.
- subscription: `start_date` was `start`; one plan and its quantity stood where its items are now. It had no id of its own
  while a customer had one at the most; neither had a dispute while a charge had one at the most.
- credit note: `total` was `amount` until it had taxes.
- payout: until 2017-04-06 a transfer to the own bank account. A transfer to another account or to a third party
  (`recipient`) is none, and a transfer of today has no status.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from sources.fields import Record


class Told(NamedTuple):
    """An object and the type of the event that tells it, if one does."""

    values: Record
    event_type: str | None


def modern(values: Record, event_type: str | None) -> Told:
    kind = values.get("object")
    fill = _FILLS.get(kind) if isinstance(kind, str) else None
    if fill is None:
        return Told(values, event_type)
    filled = values | fill(values, event_type)
    if filled["object"] != kind and event_type is not None:
        event_type = f"{filled['object']}.{event_type.partition('.')[2]}"
    return Told(filled, event_type)


def _charge(values: Record, _: str | None) -> Record:
    status, paid = values.get("status"), values.get("paid")
    if status == "paid" or (status is None and paid is True):
        return {"status": "succeeded"}
    return {"status": "failed"} if status is None and paid is False else {}


def _payment_intent(values: Record, _: str | None) -> Record:
    status = values.get("status")
    renamed = {"requires_source": "requires_payment_method", "requires_source_action": "requires_action"}
    return {"status": renamed[status]} if isinstance(status, str) and status in renamed else {}


def _invoice(values: Record, event_type: str | None) -> Record:
    rows = _lines_by_kind(values.get("lines"))
    filled = _absent(values, created=values.get("date"), currency=_currency(rows))
    filled |= {"lines": {"data": rows}} if rows else {}
    finalized_at = values.get("finalized_at")
    if finalized_at is not None:
        filled |= _absent(values, status_transitions={"finalized_at": finalized_at})
    if values.get("status") is None and isinstance(values.get("paid"), bool):
        filled["status"] = _invoice_status(values, event_type)
    return filled


def _invoice_status(values: Record, event_type: str | None) -> str:
    if values["paid"]:
        return "paid"
    if values.get("forgiven") is True:
        return "uncollectible"
    is_demanded = event_type in ("invoice.sent", "invoice.finalized") or values.get("finalized_at") is not None
    is_demanded = is_demanded or values.get("attempted") is True or values.get("closed") is True
    return "open" if is_demanded else "draft"


def _lines_by_kind(lines: Any) -> list[Any]:
    if not isinstance(lines, dict) or "data" in lines:
        return []
    lists = [lines.get(kind) for kind in ("subscriptions", "prorations", "invoiceitems")]
    return [row for rows in lists if isinstance(rows, list) for row in rows]


def _currency(rows: list[Any]) -> Any:
    priced = [priced for row in rows if isinstance(row, dict) for priced in (row, row.get("plan"))]
    return next((value for row in priced if isinstance(row, dict) and (value := row.get("currency"))), None)


def _subscription(values: Record, _: str | None) -> Record:
    filled = _absent(values, start_date=values.get("start"))
    if values.get("items") is None and isinstance(values.get("plan"), dict):
        item = {name: values[name] for name in ("plan", "quantity") if name in values}
        filled |= {"items": {"data": [item]}} | _absent(values, id=_ident(values.get("customer")))
    return filled


def _credit_note(values: Record, _: str | None) -> Record:
    return _absent(values, total=values.get("amount"))


def _dispute(values: Record, _: str | None) -> Record:
    return _absent(values, id=_ident(values.get("charge")))


def _transfer(values: Record, _: str | None) -> Record:
    is_elsewhere = (
        values.get("status") is None
        or values.get("recipient") is not None
        or values.get("type") == "stripe_account"
        or str(values.get("destination")).startswith("acct_")
    )
    moment = values.get("date")
    return {} if is_elsewhere else {"object": "payout"} | _absent(values, arrival_date=moment, created=moment)


def _ident(value: Any) -> Any:
    return value.get("id") if isinstance(value, dict) else value


def _absent(values: Record, **fields: Any) -> Record:
    """Those of the fields that the object does not have and that there is a value for."""
    return {name: value for name, value in fields.items() if values.get(name) is None and value is not None}


_FILLS: dict[str, Callable[[Record, str | None], Record]] = {
    "charge": _charge,
    "payment_intent": _payment_intent,
    "invoice": _invoice,
    "subscription": _subscription,
    "credit_note": _credit_note,
    "dispute": _dispute,
    "transfer": _transfer,
}
