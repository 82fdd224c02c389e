"""How a control answers: one of its standing results, or a failure with its break.

`expected` and `actual` are for people; the fingerprint is over what the break is about (class, control, documents and
amounts), so it stays when time passes, when policy or a wording changes, and goes when the facts do.
"""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from canonical import money
from canonical.money import MAX_MINOR
from matching.verdict import Break, BreakClass, ControlResult, Owner
from matching.view import View


class Failure(NamedTuple):
    """`exposure_minor` is what the failure puts at risk, in the case's currency."""

    result: ControlResult
    breaks: tuple[Break, ...]
    exposure_minor: int


Answer = ControlResult | Failure
Control = Callable[[View], Answer]

OWNER_OF_FAILURE: dict[str, Owner] = {
    "transient": "platform",
    "mapping": "integration",
    "master_data": "finance",
    "policy": "finance",
}


def passed(name: str, reason: str) -> ControlResult:
    return ControlResult(name, "pass", reason)


def not_applicable(name: str, reason: str) -> ControlResult:
    return ControlResult(name, "not_applicable", reason)


def not_assessed(name: str, reason: str) -> ControlResult:
    return ControlResult(name, "not_assessed", reason)


def failed(
    view: View,
    control: str,
    class_: BreakClass,
    reason: str,
    *,
    expected: str,
    actual: str,
    amounts: Sequence[int | str],
    evidence: Sequence[Any],
    variance_minor: int = 0,
    currency: str | None = None,
    exposure_minor: int | None = None,
    failure: str | None = None,
) -> Failure:
    """One break. `evidence` are the facts that show it, `amounts` what makes it another break when they change."""
    policy = view.policy
    found = Break(
        class_,
        control,
        expected,
        actual,
        bounded(abs(variance_minor)),
        currency or view.currency,
        tuple(event.id for event in evidence),
        reason,
        OWNER_OF_FAILURE[failure] if failure else policy.owners.get(class_, "finance"),
        policy.severity.get(class_, "medium"),
        fingerprint(view.key, class_, control, sorted({event.data.document_id for event in evidence}), amounts),
    )
    exposure = abs(variance_minor) if exposure_minor is None else exposure_minor
    return Failure(ControlResult(control, "fail", reason), (found,), bounded(exposure))


def fingerprint(key: str, class_: str, control: str, documents: Sequence[str], amounts: Sequence[int | str]) -> str:
    said = "\x00".join((key, class_, control, *documents, "", *map(str, amounts)))
    return blake2b(said.encode(), digest_size=8).hexdigest()


def bounded(amount_minor: int) -> int:
    """A sum over facts can leave 64 bits where no single amount may; what is stored stays inside."""
    return min(amount_minor, MAX_MINOR)


def major(amount_minor: int, currency: str | None) -> str:
    """For people: "120.00 USD"."""
    return money.text(amount_minor, currency) if currency else str(amount_minor)
