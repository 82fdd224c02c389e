"""Was anything billed twice, in two cases that know nothing of each other?

- A subscription's bills meet in its case: two of one period, by two documents that both stand, are one too many.
- Invoices without a subscription meet in the index case of what they have in common (`canonical.ids.natural_key`): the
  customer and the number, or without a number the customer, the amount and the period.
- One document in one case is one, however often and by whatever way it was sent. Two in one case are that case's break.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from matching.billing import regular
from matching.case import ALLOCATION
from matching.documents import moment
from matching.findings import Answer, failed, major, not_applicable, passed
from matching.view import View

_PERIOD_PASS = passed("duplicate_period", "no period was billed twice")
_PERIOD_NONE = not_applicable("duplicate_period", "no bill with a period was told to this subscription")


def duplicate_period(view: View) -> Answer:
    """One period of a subscription is billed once: two bills of it that both stand charge the customer twice.

    Usage, proration and one-off bills may stand beside it. Where a bill does not say why it was made, it counts as the same
    only if its amount is the same too.
    """
    told = [bill for bill in regular(view) if bill.data.period is not None]
    if not told:
        return _PERIOD_NONE
    first: dict[tuple[Any, ...], Any] = {}
    for bill in sorted(told, key=lambda bill: (moment(bill), bill.id)):
        data = bill.data
        what = None if data.reason in ("recurring", "rebill") else data.amount_minor
        same = (data.period.start, data.period.end, data.currency, what)
        if first.setdefault(same, bill).data.home != data.home:
            twice = [other for other in told if _same_period(other, bill)]
            return _billed_twice(view, twice, bill)
    return _PERIOD_PASS


def _same_period(one: Any, other: Any) -> bool:
    return bool(one.data.period == other.data.period and one.data.currency == other.data.currency)


def _billed_twice(view: View, twice: Sequence[Any], extra: Any) -> Answer:
    period, currency = extra.data.period, extra.data.currency
    too_much_minor = sum(bill.data.amount_minor for bill in twice) - twice[0].data.amount_minor
    return failed(
        view, "duplicate_period", "duplicate_period",
        f"{period.start} to {period.end} was billed {len(twice)} times: {_names(twice)}; void what is too many",
        expected=f"{major(twice[0].data.amount_minor, currency)} once", actual=f"{len(twice)} bills",
        amounts=[f"{bill.data.home} {bill.data.amount_minor}" for bill in twice], variance_minor=too_much_minor,
        currency=currency, evidence=twice,
    )  # fmt: skip


_SAME_PASS = passed(
    "duplicate_invoice", "one document alone is the customer's of this number, or of this amount and period"
)
_SAME_NONE = not_applicable("duplicate_invoice", "no invoice was told to this case")


def same_invoice(view: View) -> Answer:
    """Of an index case: two cases' documents that are one by what they say."""
    told = [event for event in view.of(ALLOCATION) if event.data.kind == "natural_key"]
    if not told:
        return _SAME_NONE
    replaced = {event.data.replaces for event in told}
    standing = [event for event in told if event.data.amount_minor and event.data.document_id not in replaced]
    if len({event.data.home for event in standing}) < 2:
        return _SAME_PASS
    standing.sort(key=lambda event: (moment(event), event.id))
    first, currency = standing[0], standing[0].data.currency
    too_much_minor = sum(event.data.amount_minor for event in standing[1:] if event.data.currency == currency)
    return failed(
        view, "duplicate_invoice", "duplicate_invoice",
        f"one document was issued {len(standing)} times: {_names(standing)}; void what is too many",
        expected=f"{major(first.data.amount_minor, currency)} once", actual=f"{len(standing)} documents",
        amounts=[f"{event.data.home} {event.data.amount_minor}" for event in standing], variance_minor=too_much_minor,
        currency=currency, evidence=standing,
    )  # fmt: skip


def _names(told: Iterable[Any]) -> str:
    return ", ".join(sorted(event.data.home for event in told))[:800]
