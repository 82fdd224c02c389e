"""Gains and losses of exchange on one document: realised as it is paid, and none left behind by revaluations.

- What payments and applications book on the control account relieves it at the document's own rate; the difference to
  what the money is worth is the realised gain or loss, on an account of its own.
- An application that states what the money it took is worth in base currency (`from_base_minor`) states the gain as well:
  worth less what the document's part is at its rate (for a purchase the other way round). A gain is positive.
- A revaluation is unrealised: it is no booking of the document, and once the document is settled nothing of it stands by
  the close of that month.

Tolerance everywhere: a minor unit an entry, and what the rate's printed decimals leave open.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from matching.documents import moment
from matching.findings import Answer, failed, major, not_assessed
from matching.ledger import Conversion, Ledger
from matching.rounding import rounded
from matching.view import View

_SETTLES = frozenset(("payment", "application", "refund"))
_WAITING = not_assessed("fx", "paid, and the gain or loss may still be booked")
_UNREALISED = not_assessed("fx", "settled, and its revaluation may still be taken back")


class Moved(NamedTuple):
    """What entries move on the control account, as the document has it; the amount is None where one has another currency."""

    amount_minor: int | None
    base_minor: int


def exchange(view: View) -> Answer | None:
    """What is wrong with gains and losses, or what they wait for; None where nothing is."""
    for application in view.settlement.applications:
        if getattr(application.data, "from_base_minor", None) is not None:
            found = _stated_gain(view, application)
            if found is not None:
                return found
    for ledger in view.ledgers:
        if ledger.base_currency != view.currency:
            found = _booked_gain(view, ledger)
            if found is not None:
                return found
    return None


def _stated_gain(view: View, application: Any) -> Answer | None:
    data = application.data
    base = data.base_currency or view.document.data.base_currency
    if base is None or data.currency != view.currency:
        return None
    if base != view.currency and not view.conversion(base).is_known:
        return None
    at_rate = Decimal(data.amount_minor) if base == view.currency else view.conversion(base).base(data.amount_minor)
    gain = (data.from_base_minor - at_rate) * (1 if view.document.data.direction == "sales" else -1)
    tolerance = _tolerance(view, base, at_rate)
    stated = data.realised_fx_minor or 0
    if abs(gain - stated) <= tolerance:
        return None
    return _misbooked(
        view, base, rounded(gain), stated, "an application states another gain than its money was worth; correct it",
        (application,),
    )  # fmt: skip


def _tolerance(view: View, base: str, amount: Decimal, entries: int = 1) -> Decimal:
    minor = view.policy.tolerance.fx_minor * entries
    return Decimal(minor) if base == view.currency else view.conversion(base).tolerance(amount, minor)


def _booked_gain(view: View, ledger: Ledger) -> Answer | None:
    conversion = view.conversion(ledger.base_currency)
    beside = [p for p in view.postings if p.data.ledger == ledger.name and p.data.base_currency == ledger.base_currency]
    settling = [p for p in beside if p.data.document_type in _SETTLES and p.data.posting_kind != "revaluation"]
    if not settling or not conversion.is_known or ledger.net_minor is None:
        return None
    paid = _moved(ledger, settling, view.currency)
    if paid.amount_minor is None:
        return None
    at_rate = conversion.base(paid.amount_minor)
    if abs(paid.base_minor - at_rate) > _tolerance(view, ledger.base_currency, at_rate, len(settling)):
        if view.clock.before(view.target_passes_at(max(map(moment, settling)))):
            return _WAITING
        return _misbooked(
            view, ledger.base_currency, rounded(at_rate), paid.base_minor,
            f"ledger {ledger.name} does not relieve the account at the document's rate; book the gain or loss", settling,
        )  # fmt: skip
    if paid.amount_minor + ledger.net_minor != 0:
        return None
    return _left_unrealised(
        view, ledger, conversion, settling, [p for p in beside if p.data.posting_kind == "revaluation"]
    )


def _left_unrealised(
    view: View, ledger: Ledger, conversion: Conversion, settling: Sequence[Any], revaluations: Sequence[Any]
) -> Answer | None:
    left_minor = _moved(ledger, revaluations, view.currency).base_minor
    if abs(left_minor) <= view.policy.tolerance.fx_minor * len(revaluations):
        return None
    settled_at = max(map(moment, (*settling, *revaluations)))
    if view.clock.before(view.policy.terms.closes[view.entity].closes_at(settled_at.year, settled_at.month)):
        return _UNREALISED
    return _misbooked(
        view, ledger.base_currency, 0, left_minor,
        f"the document is settled and a revaluation of it still stands in ledger {ledger.name}; take it back", revaluations,
    )  # fmt: skip


def _moved(ledger: Ledger, postings: Iterable[Any], currency: str | None) -> Moved:
    amount_minor: int | None = 0
    base_minor = 0
    for posting in postings:
        for line in posting.data.lines:
            if line.role == ledger.role:
                base_minor += ledger.sign * (line.base_minor or 0)
                is_own = line.amount_minor is not None and posting.data.currency == currency
                amount_minor = (
                    amount_minor + ledger.sign * line.amount_minor if is_own and amount_minor is not None else None
                )
    return Moved(amount_minor, base_minor)


def _misbooked(view: View, base: str, expected: int, actual: int, reason: str, evidence: Sequence[Any]) -> Answer:
    variance = Decimal(actual - expected)
    exposure = variance if base == view.currency else variance / view.conversion(base).base(1)
    return failed(
        view, "fx", "fx", reason, expected=major(expected, base), actual=major(actual, base), currency=base,
        amounts=("exchange", expected, actual), variance_minor=actual - expected, exposure_minor=abs(rounded(exposure)),
        evidence=(view.document, *evidence),
    )  # fmt: skip
