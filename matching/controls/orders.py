"""Did what was sold start, and is it billed as it was sold? Orders, their subscriptions and the bills of those."""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

from matching.billing import expected, grouped, regular
from matching.deliveries import failure_beside
from matching.findings import Answer, Failure, failed, major, not_applicable, not_assessed, passed
from matching.view import View

_PASS = passed("missing_subscription", "the subscription is active")
_NONE = not_applicable("missing_subscription", "no approved quote, or none that expects a subscription")
_WAITING = not_assessed("missing_subscription", "no subscription yet, and its time has not passed")
_UNPROVEN = not_assessed("missing_subscription", "no subscription yet, and billing's feed is itself behind")


def missing_subscription(view: View) -> Answer:
    """An approved quote becomes a subscription: until then the customer has what nobody bills."""
    hop = view.hops.get("quote_to_subscription")
    if hop is None or hop.state == "not_expected":
        return _NONE
    if hop.state == "missing":
        return _never_started(view)
    if hop.state == "unproven":
        return _UNPROVEN
    return _WAITING if hop.state in ("waiting", "late") else _PASS


def _never_started(view: View) -> Failure:
    refused = failure_beside(view, "quote_to_subscription")
    reason = "the quote was approved and no subscription was activated; activate it"
    if refused is not None:
        reason = (
            f"delivery to {refused.data.target} failed: {refused.data.reason or refused.data.failure or 'no reason'}"
        )
    return failed(
        view, "missing_subscription", "missing_subscription", reason,
        expected=f"a subscription over {major(view.total_minor, view.currency)}", actual="nothing",
        amounts=(view.total_minor, 0), variance_minor=view.total_minor,
        failure=refused.data.failure if refused is not None else None,
        evidence=(view.document, *([refused] if refused is not None else [])),
    )  # fmt: skip


_QUOTE_PASS = passed("quote_mismatch", "sold, started, scheduled and billed for the same amount, currency and term")
_QUOTE_NONE = not_applicable("quote_mismatch", "no approved quote, and no schedule that was billed")
_QUOTE_ALONE = not_assessed("quote_mismatch", "neither the subscription nor a bill states what could be compared")


def quote_mismatch(view: View) -> Answer:
    """What was sold is what is billed: the subscription's amount, currency and term, each scheduled bill, and the first bill.

    A quote's total is of one billing period or of the whole term (what the schedule comes to, else what it makes a month, a
    quarter or a year), with or without tax; amounts are compared with each. A failure is revenue leaking, or a customer charged what they never signed. Another customer
    than the quote's is class customer.
    """
    comparisons = [*_with_subscription(view), *_with_schedule(view)]
    if view.document is not None and not view.of("billing_schedule.set"):
        comparisons += _with_first_bill(view)
    if not comparisons:
        return _QUOTE_NONE if view.document is None else _QUOTE_ALONE
    return next((wrong for wrong in map(partial(_compared, view), comparisons) if wrong is not None), _QUOTE_PASS)


_DAYS_OF_MONTH = 30.44


class Comparison(NamedTuple):
    """`agreed` are amounts in minor units any of which will do, or the one text that must be the same."""

    what: str
    agreed: tuple[int | str, ...]
    found: tuple[int | str, ...]
    currency: str
    evidence: tuple[Any, ...]


def _compared(view: View, comparison: Comparison) -> Failure | None:
    what, agreed, found, currency, evidence = comparison
    tolerance = view.policy.tolerance.amount_minor
    if any(_agree(one, other, tolerance) for one in agreed for other in found):
        return None
    expected, actual = agreed[0], found[0]
    variance_minor = actual - expected if isinstance(actual, int) and isinstance(expected, int) else 0
    exposed_minor = abs(variance_minor) or (view.document.data.total_minor if view.document is not None else 0)
    return failed(
        view, "quote_mismatch", "quote_mismatch", f"{what} is not what was agreed; correct it, or have the change approved",
        expected=_shown(expected, currency), actual=_shown(actual, currency), amounts=(what, expected, actual),
        variance_minor=variance_minor, currency=currency, exposure_minor=exposed_minor, evidence=evidence,
    )  # fmt: skip


def _agree(one: int | str, other: int | str, tolerance_minor: int) -> bool:
    if isinstance(one, int) and isinstance(other, int):
        return abs(one - other) <= tolerance_minor
    return one == other


def _shown(value: int | str, currency: str) -> str:
    return major(value, currency) if isinstance(value, int) else value


def _with_subscription(view: View) -> Iterator[Comparison]:
    """The subscription as it was activated; changes of it later are approved on their own."""
    if view.document is None:
        return
    quote = view.document
    for started in view.standing("subscription.activated"):
        data, evidence = started.data, (quote, started)
        if data.currency is not None:
            yield Comparison("the subscription's currency", (quote.data.currency,), (data.currency,), quote.data.currency, evidence)  # fmt: skip
        if data.currency in (None, quote.data.currency) and data.total_minor is not None:
            found = (data.total_minor, *_scheduled_totals(view, quote.data.currency))
            agreed = _of_a_period(quote.data, data.period)
            yield Comparison("the subscription's amount", agreed, found, quote.data.currency, evidence)
        if quote.data.period is not None and data.period is not None:
            terms = (f"{each.data.period.start} to {each.data.period.end}" for each in (quote, started))
            yield Comparison("the subscription's term", (next(terms),), (next(terms),), quote.data.currency, evidence)


def _scheduled_totals(view: View, currency: str) -> Iterator[int]:
    """What each schedule comes to: the price of the whole term."""
    for schedule in view.standing("billing_schedule.set"):
        if schedule.data.currency == currency:
            yield sum(bill.total_minor for bill in schedule.data.bills)


def _of_a_period(quote: Any, term: Any) -> tuple[int, ...]:
    """The quote's total, and what it makes a month, a quarter or a year if it is of a longer term; with tax and without."""
    term = quote.period or term
    months = 0 if term is None else max(1, round((term.end - term.start).days / _DAYS_OF_MONTH))
    counts = [months // every for every in (1, 3, 6, 12) if months % every == 0] if months else [12, 24, 36]
    agreed = []
    for total_minor in dict.fromkeys((quote.total_minor, quote.total_minor - (quote.tax_minor or 0))):
        agreed.append(total_minor)
        for count in counts:
            agreed += [total_minor // count, -(-total_minor // count)] if count > 1 else []
    return tuple(agreed)


def _with_first_bill(view: View) -> Iterator[Comparison]:
    """Without a schedule the quote's total is of one period, and so is the first bill."""
    quote, told = view.document, regular(view)
    if not told or view.of("subscription.amended"):
        return
    first = told[0]
    yield Comparison("the first bill's currency", (quote.data.currency,), (first.data.currency,), quote.data.currency, (quote, first))  # fmt: skip
    if first.data.currency == quote.data.currency:
        agreed = _of_a_period(quote.data, None)
        yield Comparison("the first bill's amount", agreed, _billed(first), first.data.currency, (quote, first))


def _billed(bill: Any) -> tuple[int, ...]:
    """What a bill charges for the subscription itself, without tax and with it."""
    data = bill.data
    regular_minor = data.amount_minor - (data.usage_minor or 0) - (data.proration_minor or 0)
    tax_minor = data.tax_minor or 0
    return (regular_minor - tax_minor, regular_minor) if tax_minor else (regular_minor,)


def _with_schedule(view: View) -> Iterator[Comparison]:
    """Each scheduled bill with what covers it, those together that one bill covers; a period billed twice is its own break."""
    for dues, covering in grouped(expected(view)):
        periods = [(bill.data.period.start, bill.data.period.end) for bill in covering if bill.data.period is not None]
        if len(set(periods)) < len(periods):
            continue
        currency = dues[0].currency
        evidence = (*{due.schedule.id: due.schedule for due in dues}.values(), *covering)
        other = next((bill.data.currency for bill in covering if bill.data.currency != currency), None)
        what = f"what was billed for {dues[0].start} to {dues[-1].end}"
        if other is not None:
            yield Comparison(f"the currency of {what}", (currency,), (other,), currency, evidence)
            continue
        found = tuple(sum(amounts) for amounts in zip(*((_billed(bill)[0], _billed(bill)[-1]) for bill in covering), strict=True))  # fmt: skip
        yield Comparison(what, (sum(due.total_minor for due in dues),), found, currency, evidence)
