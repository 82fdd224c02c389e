"""shop_tables: the tables of a shop that is paid at checkout (orders, payments, customers), as jaffle_shop has them.

Columns are known in any spelling of their words (user_id, USERID); amounts are whole minor units.
- orders: id, order_date (or ordered_at); status, user_id (or customer_id), order_total, tax_paid, currency where there are
- payments: id, order_id, payment_method, amount; status, created (or created_at, payment_date), currency where there are
- customers: id, name, or first_name and last_name

What is told, in the home case `invoice:main:shop:<order id>`:
- an order -> invoice.issued on its date. Its total is order_total; where the table states no price it is what was
  tendered for it, as the shop's own books have it, and its line says so: such an order cannot be short, but it can lack
  a payment, have the wrong customer, or have money left after a return. An order with neither price nor payment is a
  dead letter: nobody knows what it comes to.
- status returned -> credit_memo.issued of what was paid for it in money or by gift card: that is owed to the customer
  until a refund is told. The table does not say when, so it is dated like the order, the earliest it can have been.
  return_pending: nothing is undone yet. cancelled -> invoice.voided, dated likewise.
- a payment -> payment.received (a gift card is one too: it pays as money does); a coupon -> cash.applied from a credit: it
  reduces what is left to pay and is not paid back. Where it has no date of its own it was made with the order. Status fail -> payment.failed.
  Payments are told in their order's record; one whose order is not in the folder lies in that order's case alone, and
  has to have a date.
- a customer -> customer.changed in `index:main:shop:<id>`

Set by this adapter because the tables do not say: the currency is USD where they have no column for it.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime

from canonical.dead_letters import DeadLetter
from canonical.events import Event
from canonical.money import MAX_MINOR
from sources.fields import Fields, Record, check_columns, known_currency, label, note, parse, shown
from sources.joined import Join, Layout
from sources.origin import Origin

SYSTEM, ENTITY, DEFAULT_CURRENCY = "shop", "main", "USD"
LAYOUT = Layout(
    joins={"orders": {"payments": Join("payments", ("order_id", "orderid"), ("id", "order_id"))}},
    affixes=re.compile(r"^(raw|stg|src|shop|stripe)_|_data$"),
    names={"order": "orders", "payment": "payments", "customer": "customers"},
)

_NAMES = {
    "userid": "customer", "customerid": "customer", "customer": "customer", "orderdate": "date", "orderedat": "date",
    "orderid": "order", "paymentmethod": "method", "created": "date", "createdat": "date", "paymentdate": "date",
    "ordertotal": "total", "taxpaid": "tax", "firstname": "first", "lastname": "last",
}  # fmt: skip
_DAY = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[ T][0-9:.]{4,18} ?(?:UTC|Z|[+-][0-9:]{2,6})?)?\Z")
_MINOR = re.compile(r"-?[0-9]{1,18}\Z")
_STANDS = {"placed", "shipped", "completed", "delivered", "return_pending", "returned", "cancelled", "canceled"}
_RECEIVED, _FAILED = {"success", "succeeded", "paid", ""}, {"fail", "failed"}


def map_record(body: bytes, traceparent: str | None) -> tuple[Event, ...] | DeadLetter:
    whole = Fields(parse(body), "shop_tables")
    check_columns(whole)
    table, origin = whole.text_or_none("table"), Origin(SYSTEM, ENTITY, traceparent)
    row = _named(whole.inner("document"), f"shop {shown(table)} row")
    row.label = f"shop {str(table).removesuffix('s')} {shown(row.values.get('id'))}"
    if table == "orders":
        payments = [_named(payment, row.label) for payment in whole.items("payments")]
        return tuple(_order(row, payments, origin))
    if table == "payments":
        return (_payment(row, None, origin),)
    if table == "customers":
        return (_customer(row, origin),)
    row.refuse(f"table {shown(table)} is none of orders, payments and customers", "policy")


def key(body: bytes) -> bytes:
    record = parse(body)
    row = _named(Fields(record["document"], ""), "").values
    ident = row.get("order") if record["table"] == "payments" else row.get("id")
    return ident.encode() if isinstance(ident, str) else b""


def _named(row: Fields, label: str) -> Fields:
    """By this adapter's names for columns. The first spelling of a name holds."""
    named: Record = {}
    for column, value in row.values.items():
        plain = column.replace("_", "").lower()
        named.setdefault(_NAMES.get(plain, column), value)
    return Fields(named, label)


def _order(row: Fields, payments: list[Fields], origin: Origin) -> Iterator[Event]:
    ident, day, status = row.text("id"), _day(row), _status(row)
    if status not in _STANDS:
        row.refuse(f"status is {shown(status)}, unknown to this adapter")
    tendered = [payment for payment in payments if _is_received(payment)]
    if not tendered and not row.has("total"):
        row.refuse("no payment names it and the table states no price: what it comes to is unknown")
    told = [_payment(payment, row, origin) for payment in payments]
    case, paid_minor = origin.case("invoice", ident), sum(_minor(payment, "amount") for payment in tendered if not _is_coupon(payment))  # fmt: skip
    yield _issued(row, tendered, origin, case, day)
    yield from told
    if status == "returned" and paid_minor:
        data = {"currency": _currency(row, tendered), "total_minor": paid_minor, "direction": "sales", "invoice_id": ident}  # fmt: skip
        yield origin.tell("credit_memo.issued", document=f"{ident}/return", case=case, time=_midnight(day), data=data)
    if status in ("cancelled", "canceled"):
        yield origin.tell("invoice.voided", document=ident, case=case, time=_midnight(day), data={"reason": f"status {status}"})  # fmt: skip


def _status(row: Fields) -> str:
    """A table without the column knows of nothing that was undone."""
    return (row.text_or_none("status") or "completed").lower().replace(" ", "_")


def _issued(row: Fields, tendered: list[Fields], origin: Origin, case: str, day: date) -> Event:
    total_minor = _minor(row, "total") if row.has("total") else sum(_minor(payment, "amount") for payment in tendered)
    words = "order" if row.has("total") else "order, at what was tendered for it: the table states no price"
    customer = label(row.text_or_none("customer"))
    data = {
        "number": row.text("id"),
        "accounting_date": day,
        "customer": None if customer is None else {"bill_to": customer},
        "direction": "sales",
        "currency": _currency(row, tendered),
        "total_minor": total_minor,
        "tax_minor": _minor(row, "tax") if row.has("tax") else None,
        "due_date": day,
        "lines": [
            {
                "amount_minor": total_minor,
                "description": f"{words}; status {row.text_or_none('status') or 'not stated'}",
            }
        ],
    }
    return origin.tell("invoice.issued", document=row.text("id"), case=case, time=_midnight(day), data=data)


def _payment(row: Fields, order: Fields | None, origin: Origin) -> Event:
    """`order`: its order, where the folder has that."""
    row.label = f"shop payment {shown(row.values.get('id'))}"
    ident, order_ident = row.text("id"), row.text("order") if order is None else order.text("id")
    currency, amount_minor = _currency(order or row, [row]), _minor(row, "amount")
    time = _midnight(_day(row if row.has("date") or order is None else order))
    case, data = origin.case("invoice", order_ident), {"currency": currency, "amount_minor": amount_minor}
    if not _is_received(row):
        told = data | {"method": label(row.text_or_none("method")), "invoice_id": order_ident, "reason": f"status {row.text('status')}"}  # fmt: skip
        return origin.tell("payment.failed", document=ident, case=case, time=time, data=told)
    if _is_coupon(row):
        applied = data | {"from_kind": "credit", "invoice_id": order_ident}
        return origin.tell("cash.applied", "applied", document=ident, case=case, time=time, data=applied)
    received = data | {"direction": "sales", "method": label(row.text_or_none("method")), "invoice_id": order_ident}
    return origin.tell("payment.received", document=ident, case=case, time=time, data=received)


def _customer(row: Fields, origin: Origin) -> Event:
    """Without a date in the table: what it says is its identity, and it is told as of the first day there is."""
    names: Iterable[str] = filter(None, (row.text_or_none("first"), row.text_or_none("last")))
    data = {"name": note(row.text_or_none("name") or " ".join(names) or None)}
    ident = row.text("id")
    time = _midnight(_day(row) if row.has("date") else date(1990, 1, 1))
    return origin.customer(ident, data, time)


def _is_coupon(payment: Fields) -> bool:
    return (payment.text_or_none("method") or "").lower() == "coupon"


def _is_received(payment: Fields) -> bool:
    status = (payment.text_or_none("status") or "").lower()
    if status not in _RECEIVED | _FAILED:
        payment.refuse(f"status of payment {shown(payment.values.get('id'))} is {shown(status)}, unknown to this adapter")  # fmt: skip
    return status in _RECEIVED


def _currency(row: Fields, payments: list[Fields]) -> str:
    stated = {known_currency(found.text("currency"), row.label) for found in (row, *payments) if found.has("currency")}
    if len(stated) > 1:
        row.refuse(f"it and its payments are in {' and '.join(sorted(stated))}; nothing says at which rate")
    return stated.pop() if stated else DEFAULT_CURRENCY


def _minor(row: Fields, name: str) -> int:
    text = row.text(name)
    if not _MINOR.match(text) or abs(int(text)) > MAX_MINOR:
        row.refuse(f"{name} is {shown(text)}, expected whole minor units")
    if text.startswith("-"):
        row.refuse(f"{name} is {shown(text)}: what was paid back is no payment, and the table does not say what it is")
    return int(text)


def _day(row: Fields) -> date:
    match = _DAY.match(row.text("date"))
    try:
        return date.fromisoformat(match[1] if match else "")
    except ValueError:
        row.refuse(f"date is {shown(row.text('date'))}, no date YYYY-MM-DD")


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
