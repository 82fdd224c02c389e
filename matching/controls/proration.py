"""Is a part of a period charged at its part of the price, by the method that the provider declares?

- A line's `proration` has the price of the whole period and the method; where it names none, policy's for the billing system
  holds (`[expect.<system>] proration`). Nobody guesses a method: without one the control is not assessed.
- `daily`: days of the part over days of the whole. `monthly`: each month of the whole costs the same, and a part of a month
  counts by its days. `seconds`: as stated. Both days of a period are included.
- An upgrade is two lines: what is left of the old price is given back (negative), what is left of the new one charged.
- Providers round each line in their own way: up to one minor unit a line is rounding.
"""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

from matching.findings import Answer, Failure, failed, major, not_applicable, not_assessed, passed
from matching.view import View

_PASS = passed("proration", "each part of a period is charged at its part of the price")
_NONE = not_applicable("proration", "nothing in the document is prorated")
_NO_DOCUMENT = not_applicable("proration", "no document in this case yet")
_NO_PRICE = not_assessed("proration", "prorated, and no line says what the whole period costs")
_NO_METHOD = not_assessed("proration", "neither the line nor policy declares the provider's method")
_NO_PERIOD = not_assessed("proration", "a prorated line does not say which part of which period it is")

_DAY = timedelta(days=1)
MAX_MONTHS = 1_200


def proration(view: View) -> Answer:
    """A change in mid-period is charged, or given back, for exactly the part of the period it is for.

    By the method its provider declares: by days, months or seconds. The difference between methods is what customers
    dispute; a failure is a price that nobody agreed to.
    """
    if view.document is None:
        return _NO_DOCUMENT
    data = view.document.data
    lines = [line for line in data.lines or () if line.proration is not None]
    if not lines:
        is_prorated = getattr(data, "reason", None) == "proration" or any(line.reason == "proration" for line in data.lines or ())  # fmt: skip
        return _NO_PRICE if is_prorated else _NONE
    answer: Answer = _PASS
    for line in lines:
        share = _share(view, line)
        if isinstance(share, Fraction):
            exact = line.proration.price_minor * share
            if abs(abs(line.amount_minor) - abs(exact)) >= 1:
                return _not_its_part(view, line, exact)
        else:
            answer = share
    return answer


def _share(view: View, line: Any) -> Fraction | Answer:
    terms, part = line.proration, line.period or getattr(view.document.data, "service_period", None)
    method = terms.method or view.expect.proration
    if method == "undeclared":
        return _NO_METHOD
    if method == "seconds":
        stated = terms.seconds is not None and terms.of_seconds
        return Fraction(terms.seconds, terms.of_seconds) if stated else _NO_PERIOD
    if part is None or terms.period is None or part.end < part.start or terms.period.end < terms.period.start:
        return _NO_PERIOD
    if method == "daily":
        return Fraction((part.end - part.start).days + 1, (terms.period.end - terms.period.start).days + 1)
    whole = _months(terms.period.start, terms.period.end)
    return _months(part.start, part.end) / whole if whole else _NO_PERIOD


def _months(start: date, end: date) -> Fraction:
    """Calendar months from the first day to the last, parts of one by its days; nothing where they are too many."""
    if (end.year - start.year) * 12 + end.month - start.month > MAX_MONTHS:
        return Fraction(0)
    return sum(
        (Fraction((last - first).days + 1, _length(first)) for first, last in _by_month(start, end)), Fraction(0)
    )


def _by_month(start: date, end: date) -> Iterator[tuple[date, date]]:
    while start <= end:
        last = min(end, start.replace(day=_length(start)))
        yield start, last
        if last == end:
            return
        start = last + _DAY


def _length(day: date) -> int:
    """Days of the month."""
    if day.month == 12:
        return 31
    return (date(day.year, day.month + 1, 1) - date(day.year, day.month, 1)).days


def _not_its_part(view: View, line: Any, exact: Fraction) -> Failure:
    currency, sign = view.currency, -1 if line.amount_minor < 0 else 1
    expected = sign * int(abs(exact) + Fraction(1, 2))
    what = line.description or line.product or "a line"
    return failed(
        view, "proration", "proration", f"{what} is not its part of {major(line.proration.price_minor, currency)}; correct it"[:1000],
        expected=major(expected, currency), actual=major(line.amount_minor, currency),
        amounts=(line.proration.price_minor, expected, line.amount_minor), variance_minor=line.amount_minor - expected,
        evidence=_evidence(view),
    )  # fmt: skip


def _evidence(view: View) -> Sequence[Any]:
    return (view.document,)
