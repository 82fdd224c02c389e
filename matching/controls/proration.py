"""Is a part of a period charged at its part of the price, by the method that the provider declares?

- A line's `proration` has the price of the whole period and the method; where it names none, policy's for the billing system
  holds (`[expect.<system>] proration`). Nobody guesses a method: without one the control is not assessed.
- `daily`: days of the part over days of the whole. `monthly`: each month of the whole costs the same, and a part of a month
  counts by its days. `seconds`: as stated. Both days of a period are included.
- An upgrade is two lines: what is left of the old price is given back (negative), what is left of the new one charged.
- In the order's case a change of price in mid-period (subscription.amended) is held against the bill that prorates the rest of that
  period, from the day of the change on, by policy's method for the system of the bill.
- Providers round each line in their own way: up to one minor unit a line is rounding.
"""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

from matching.billing import bills, days, regular
from matching.findings import Answer, Failure, failed, major, not_applicable, not_assessed, passed
from matching.view import View, split_key

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
    if view.kind == "order":
        return _changes_of_price(view)
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
    return _part(method, (part.start, part.end), (terms.period.start, terms.period.end)) or _NO_PERIOD


def _part(method: str, part: tuple[date, date], whole: tuple[date, date]) -> Fraction | None:
    """By days or by months; None where they are too many to count."""
    if method == "daily":
        return Fraction((part[1] - part[0]).days + 1, (whole[1] - whole[0]).days + 1)
    months = _months(*whole)
    return _months(*part) / months if months else None


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
    currency = view.currency
    expected = _half_up(abs(exact) if line.amount_minor >= 0 else -abs(exact))
    what = line.description or line.product or "a line"
    return failed(
        view, "proration", "proration", f"{what} is not its part of {major(line.proration.price_minor, currency)}; correct it"[:1000],
        expected=major(expected, currency), actual=major(line.amount_minor, currency),
        amounts=(line.proration.price_minor, expected, line.amount_minor), variance_minor=line.amount_minor - expected,
        evidence=_evidence(view),
    )  # fmt: skip


_NO_CHANGE = not_applicable("proration", "no change of price in mid-period was prorated on a bill of its own")


class Change(NamedTuple):
    """From one price of a whole period to another on a day within it, and the bill that prorates what is left."""

    event: Any
    before_minor: int
    after_minor: int
    part: tuple[date, date]
    whole: tuple[date, date]
    bill: Any


def _changes_of_price(view: View) -> Answer:
    answer: Answer = _NO_CHANGE
    for change in _changes(view):
        method = view.policy.terms.expect[split_key(change.bill.data.home)[2]].proration
        share = _part(method, change.part, change.whole) if method in ("daily", "monthly") else None
        if share is None:
            answer = _NO_METHOD
            continue
        exact = (change.after_minor - change.before_minor) * share
        if (
            abs(change.bill.data.proration_minor - exact) >= 2
        ):  # the old price given back and the new one charged: two lines
            return _not_the_change(view, change, exact)
        answer = _PASS if answer is _NO_CHANGE else answer
    return answer


def _changes(view: View) -> Iterator[Change]:
    prices = [event for kind in _PRICED for event in view.of(kind) if event.data.total_minor is not None]
    prices.sort(key=lambda event: (event.time, event.id))
    told = bills(view)
    prorating = [bill for bill in told if bill.data.reason == "proration" and bill.data.period is not None]
    wholes = [days(bill.data.period) for bill in regular(view) if bill.data.period is not None]
    for before, after in pairwise(prices):
        day = after.time.date()
        whole = next((whole for whole in wholes if whole[0] < day <= whole[1]), None)
        if whole is None or before.data.total_minor == after.data.total_minor:
            continue
        for bill in prorating:
            part = days(bill.data.period)
            if part == (day, whole[1]) and bill.data.proration_minor:
                yield Change(after, before.data.total_minor, after.data.total_minor, part, whole, bill)


def _not_the_change(view: View, change: Change, exact: Fraction) -> Failure:
    expected, actual, currency = _half_up(exact), change.bill.data.proration_minor, change.bill.data.currency
    return failed(
        view, "proration", "proration",
        f"{change.bill.subject} does not charge what is left of the period at the new price; correct it",
        expected=f"{major(expected, currency)} before tax", actual=major(actual, currency),
        amounts=(change.before_minor, change.after_minor, actual), variance_minor=actual - expected, currency=currency,
        evidence=(change.event, change.bill),
    )  # fmt: skip


def _half_up(exact: Fraction) -> int:
    half = Fraction(1, 2)
    return int(exact + half) if exact >= 0 else int(exact - half)


_PRICED = ("subscription.activated", "subscription.amended", "subscription.renewed")


def _evidence(view: View) -> Sequence[Any]:
    return (view.document,)
