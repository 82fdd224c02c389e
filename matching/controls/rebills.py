"""Are credits true to what they take back, and does a rebill replace its original, or stand beside it?

- A credit is matched to its original before a rebill to its group: what the original was billed and what was credited on it
  come to nothing, only then does the rebill stand in its place. A void does the same.
- A rebill is told to its original (`allocation.set` of kind rebill, rule E6) by the document that `replaces` it.
- A credit may be of a part. All of them together never exceed the document, nor their tax its tax.
- What was paid on the original stays there until somebody moves it: that is class misapplied; its schedule is
  revenue_schedule's. They are judged against the same credits.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from matching.case import ALLOCATION
from matching.documents import moment, voided
from matching.findings import Answer, Failure, failed, major, not_applicable, not_assessed, passed
from matching.view import View

_PASS = passed("credit_rebill", "credits do not exceed the document, and what replaces it stands alone")
_NONE = not_applicable("credit_rebill", "nothing was credited or billed again")
_NO_DOCUMENT = not_applicable("credit_rebill", "no document in this case yet")
_WAITING = not_assessed("credit_rebill", "billed again, and the original may still be credited")


def credit_rebill(view: View) -> Answer:
    """What is billed again was first credited in full, tax with it, and no document is credited by more than it was billed.

    A rebill beside an original that still stands counts revenue, tax and receivable twice; a credit beyond its document
    owes the customer money that they never paid.
    """
    by_type = view.by_type
    if "credit_memo.issued" not in by_type and ALLOCATION not in by_type:
        return _NONE
    told = view.of(ALLOCATION)
    credits = [
        *_own_credits(view),
        *(event for event in told if event.data.kind == "credit" and event.data.reason and event.data.amount_minor),
    ]
    rebills = [event for event in told if event.data.kind == "rebill" and event.data.amount_minor]
    if not credits and not rebills:
        return _NONE
    if view.document is None:
        return _NO_DOCUMENT
    if view.void is not None:
        return _PASS
    credits = [credit for credit in credits if credit.data.currency == view.currency]
    return _too_much(view, credits) or (_beside(view, credits, rebills) if rebills else _PASS)


def _own_credits(view: View) -> list[Any]:
    voids = view.of("credit_memo.voided")
    return [memo for memo in view.standing("credit_memo.issued") if voided(memo, voids) is None]


def _amount(credit: Any) -> int:
    amount_minor: int = credit.data.amount_minor if credit.type == ALLOCATION else credit.data.total_minor
    return amount_minor


def _too_much(view: View, credits: Sequence[Any]) -> Failure | None:
    credited_minor = sum(map(_amount, credits))
    if credited_minor - view.total_minor > view.policy.tolerance.amount_minor:
        return _fails(view, "more was credited than was billed; void the credit that is too many", view.total_minor, credited_minor, "credited at the most", "credited", credits)  # fmt: skip
    taxes = [credit.data.tax_minor for credit in credits]
    tax_minor = view.document.data.tax_minor
    if tax_minor is None or None in taxes or sum(taxes) - tax_minor <= view.policy.tolerance.tax_minor:
        return None
    return _fails(view, "more tax was credited than was billed; correct the credit", tax_minor, sum(taxes), "tax credited at the most", "tax credited", credits)  # fmt: skip


def _beside(view: View, credits: Sequence[Any], rebills: Sequence[Any]) -> Answer:
    """The original stands until it is credited in full, tax with it, within the target of postings."""
    credited_minor = sum(map(_amount, credits))
    taxes, tax_minor = [credit.data.tax_minor for credit in credits], view.document.data.tax_minor
    is_short = view.total_minor - credited_minor > view.policy.tolerance.amount_minor
    is_untaxed = tax_minor is not None and None not in taxes and abs(sum(taxes) - tax_minor) > view.policy.tolerance.tax_minor  # fmt: skip
    if not (is_short or is_untaxed):
        return _PASS
    if _may_still_follow(view, max(map(moment, (view.document, *credits, *rebills)))):
        return _WAITING
    if is_short:
        return _fails(view, f"{rebills[0].subject} bills it again and it was not credited in full; credit the rest", view.total_minor, credited_minor, "credited", "credited", (*credits, *rebills))  # fmt: skip
    return _fails(view, "the original was credited without its tax, and is billed again with it; credit the tax", tax_minor, sum(taxes), "tax credited", "tax credited", (*credits, *rebills))  # fmt: skip


def _may_still_follow(view: View, since: datetime) -> bool:
    ends_at = view.target_passes_at(since)
    return view.clock.before(ends_at) or view.clock.is_behind(view.policy.grace.awaits, ends_at)


def _fails(view: View, reason: str, expected: int, actual: int, wanted: str, found: str, evidence: Sequence[Any]) -> Failure:  # fmt: skip
    return failed(
        view, "credit_rebill", "credit_rebill", reason, expected=f"{major(expected, view.currency)} {wanted}",
        actual=f"{major(actual, view.currency)} {found}", amounts=(wanted, expected, actual), variance_minor=actual - expected,
        evidence=(view.document, *evidence),
    )  # fmt: skip
