"""What policy's tolerances let pass, and whether it came to more than policy's cap: a cent times a million is money.

- A verdict is about one case; this is over all of them. A day's differences that were let pass, of one entity in one
  currency, are summed without their sign, for those that cancel are let pass too, and held against `tolerance.cap_minor`.
- A difference counts on the day on which it came about in UTC: when the entry was booked, when the money was enough.
- What the decimals of a rate leave open (`fx_minor`) is rounding that nobody chose, and is not counted.
"""

from collections.abc import Iterable, Iterator
from datetime import date
from typing import NamedTuple

from canonical.events import EARLIEST
from matching.case import Case
from matching.clock import COMPLETE, Clock
from matching.policy import Policy, Tolerance
from matching.view import View

SHOWN = 5
_NEVER_MIND_THE_TIME = Clock(EARLIEST, COMPLETE)


class Difference(NamedTuple):
    """`variance_minor` is what came, less what the document says."""

    entity: str
    currency: str
    day: date
    kind: str
    variance_minor: int
    case: str


class Line(NamedTuple):
    """One named line: a day of one entity and currency. `largest` are the cases that differ most."""

    entity: str
    currency: str
    day: date
    differences: int
    let_pass_minor: int
    net_minor: int
    cap_minor: int
    largest: tuple[Difference, ...]

    @property
    def is_break(self) -> bool:
        return self.let_pass_minor > self.cap_minor


def differences(case: Case, policy: Policy) -> Iterator[Difference]:
    """What was let pass in one case."""
    if case.is_over_limit or case.forgotten or not case.key.startswith(("invoice:", "credit:")):
        return
    view = View(case, policy, _NEVER_MIND_THE_TIME)
    if view.document is None or view.void is not None or view.currency is None:
        return
    for ledger in view.ledgers:
        if view.causes[ledger.name] != "agrees" or ledger.net_minor is None or view.is_covered or view.extra_documents:
            continue
        day = ledger.last_booked_at().date()
        tax_minor = view.document.data.tax_minor
        if ledger.net_minor != view.total_minor:
            yield Difference(view.entity, view.currency, day, "amount", ledger.net_minor - view.total_minor, case.key)
        elif None not in (tax_minor, ledger.tax_minor) and 0 < abs(ledger.tax_minor - tax_minor) <= view.policy.tolerance.tax_minor:  # fmt: skip
            yield Difference(view.entity, view.currency, day, "tax", ledger.tax_minor - tax_minor, case.key)
    yield from _of_payment(view)


def _of_payment(view: View) -> Iterator[Difference]:
    most_minor = view.policy.tolerance.payment_minor
    variance_minor = view.settlement.settled_minor - view.total_minor
    settled_at = (
        view.settlement.settled_at(view.total_minor - most_minor) if 0 < abs(variance_minor) <= most_minor else None
    )
    if settled_at is not None and view.currency is not None:
        yield Difference(view.entity, view.currency, settled_at.date(), "payment", variance_minor, view.key)


def lines(found: Iterable[Difference], tolerance: Tolerance) -> list[Line]:
    """By entity, currency and day; memory is that of the lines, however many differences there are."""
    sums: dict[tuple[str, str, date], Line] = {}
    for difference in found:
        key = difference[:3]
        known = sums.get(key) or Line(*key, 0, 0, 0, tolerance.cap_of(*key[:2]), ())
        largest = sorted(
            (*known.largest, difference), key=lambda each: (-abs(each.variance_minor), each.case, each.kind)
        )
        sums[key] = known._replace(
            differences=known.differences + 1,
            let_pass_minor=known.let_pass_minor + abs(difference.variance_minor),
            net_minor=known.net_minor + difference.variance_minor,
            largest=tuple(largest[:SHOWN]),
        )
    return [sums[key] for key in sorted(sums)]
