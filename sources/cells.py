"""Cells of table extracts: decimal amounts, days and times as databases and connectors write them.

- Decimal texts, also with an exponent (1E3) or with a comma between thousands where decimals follow. Less than a millionth
  beside a whole minor unit is what a floating-point column leaves, and is dropped; any other fraction of a minor unit
  is refused.
- Days are taken as they are written, whatever time and zone follow; times are converted to UTC, which they are in where
  they name no zone.
- A row that is marked as deleted, or as an earlier version of itself (history mode), tells nothing.
"""

import re
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Context, Decimal

from canonical.money import MoneyError, exponent, to_minor
from sources.fields import FALSE, TRUE, Fields, shown

NUMBER = r"(?:[0-9]{1,15}(?:\.[0-9]{1,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,2})?"
_AMOUNT = re.compile(rf"-?{NUMBER}\Z")
_GROUPED = re.compile(r"-?[0-9]{1,3}(?:,[0-9]{3})+\.[0-9]{1,30}\Z")
_RATE = re.compile(rf"{NUMBER}\Z")
_MAX_RATE_DECIMALS, _MAX_RATE = 12, Decimal(10) ** 12
_FLOAT_NOISE = Decimal("0.000001")
_EXACT = Context(prec=200)  # wide enough for any number that matches
_STAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[ T]([0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?) ?(UTC|Z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?\Z"
)


def check_current(row: Fields, system: str) -> None:
    """Refuses (policy) a row that no longer stands."""
    if (row.text_or_none("_fivetran_deleted") or "").lower() in TRUE or (
        row.text_or_none("is_deleted") or ""
    ).lower() in TRUE:
        row.refuse(f"the row is marked as deleted in {system}", "policy")
    if (row.text_or_none("_fivetran_active") or "").lower() in FALSE:
        row.refuse("an earlier version of the row; the one that is active holds", "policy")


def amount_of(row: Fields, name: str, currency: str, *, is_rounded: bool = False) -> int:
    """`is_rounded` for what is shown and compared with nothing: a line may be quantity x price to the last place."""
    text = row.text(name)
    if not _AMOUNT.match(text) and not _GROUPED.match(text):
        row.refuse(f"{name} is {shown(text)}, expected a decimal amount")
    try:
        return to_minor(_whole(Decimal(text.replace(",", "")), currency, is_rounded), currency)
    except MoneyError as error:
        row.refuse(f"{name}: {error}")


def major_of(row: Fields, name: str, currency: str, *, is_rounded: bool = False) -> int:
    """A JSON number (or decimal text) of major units. A fraction of a minor unit is refused unless `is_rounded`."""
    value = row.values.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        return amount_of(row, name, currency, is_rounded=is_rounded)
    try:
        return to_minor(_whole(Decimal(value), currency, is_rounded) if is_sane(value) else value, currency)
    except MoneyError as error:
        row.refuse(f"{name}: {error}")


def rate_of(row: Fields, name: str) -> str:
    """A positive exchange rate, a JSON number or decimal text, in the decimals it is written with (twelve at the most)."""
    value = row.values.get(name)
    text = f"{value:f}" if isinstance(value, Decimal) and is_sane(value) else str(value)
    rate = Decimal(text) if _RATE.match(text) else Decimal(0)
    if not 0 < rate < _MAX_RATE:
        row.refuse(f"{name} is {shown(value)}, expected a positive number")
    return f"{round(rate, min(_MAX_RATE_DECIMALS, max(0, -int(rate.as_tuple().exponent)))):f}"


def is_sane(value: int | Decimal) -> bool:
    """Within what quantizing can hold; any other number leaves 64 bits anyway."""
    number = Decimal(value)
    return number.is_finite() and abs(number.adjusted()) < 100


def _whole(amount: Decimal, currency: str, is_rounded: bool) -> Decimal:
    whole = amount.quantize(Decimal(1).scaleb(-exponent(currency)), ROUND_HALF_UP, _EXACT)
    return whole if is_rounded or abs(amount - whole) < _FLOAT_NOISE else amount


def day_of(row: Fields, name: str) -> date:
    """As it is written: a zone beside it says how the table was written, not on which day the document is dated."""
    text = row.text(name)
    match = _STAMP.match(text)
    try:
        return date.fromisoformat(match[1] if match else text)
    except ValueError:
        row.refuse(f"{name} is {shown(text)}, no date YYYY-MM-DD")


def stamp_of(row: Fields, name: str) -> datetime:
    """ "2020-03-09 21:02:47.970 UTC"; in UTC also where the zone is left out."""
    text = row.text(name)
    day, time, zone = match.groups() if (match := _STAMP.match(text)) else (text, None, None)
    time = None if time is None else time.rjust(len(time) + (time.index(":") == 1), "0")  # a spreadsheet's 3:15:52
    zone = "+00:00" if zone in (None, "UTC", "Z") else zone
    try:
        return datetime.fromisoformat(f"{day}T{time or '00:00'}{zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        row.refuse(f"{name} is {shown(text)}, no time like 2020-03-09 21:02:47.970 UTC")


def milliseconds(moment: datetime) -> int:
    """Exact: no float between."""
    elapsed = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return max(0, (elapsed.days * 86_400 + elapsed.seconds) * 1_000 + elapsed.microseconds // 1_000)


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
