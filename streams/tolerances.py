"""What tolerances let pass, over all cases of files or of the store (rules: matching.tolerated)."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from canonical.dead_letters import DeadLetter
from canonical.money import text
from canonical.structs import RecordError, decode
from matching.case import Case
from matching.policy import Policy
from matching.tolerated import Line, differences, lines
from sinks.replays import Received, ReplayStore
from streams.batch import cases


def from_lines(
    records: Iterable[bytes], policy: Policy, on_dead_letter: Callable[[int, bytes, DeadLetter], None]
) -> list[Line]:
    found = (each for case, _ in cases(records, policy, on_dead_letter) for each in differences(case, policy))
    return lines(found, policy.tolerance)


def from_store(store: ReplayStore, policy: Policy) -> list[Line]:
    found = (each for case in _stored(store, policy) for each in differences(case, policy))
    return lines(found, policy.tolerance)


def _stored(store: ReplayStore, policy: Policy) -> Iterator[Case]:
    for page in store.pages(Received()):
        held = {key: Case(key, policy.limits.facts_of(key)) for key in page}
        for key, fact in store.facts(page):
            with suppress(RecordError):
                held[key].add(decode(fact.raw))
        yield from held.values()


def as_dict(line: Line) -> dict[str, Any]:
    largest = [{"case": each.case, "kind": each.kind, "variance_minor": each.variance_minor} for each in line.largest]
    name = "tolerance_cap" if line.is_break else None
    return line._asdict() | {"day": line.day.isoformat(), "largest": largest, "break": name}


def words(line: Line) -> str:
    said = (
        f"{line.entity} {line.day} {line.differences} differences let pass, {text(line.let_pass_minor, line.currency)} "
        f"(net {text(line.net_minor, line.currency)}), cap {text(line.cap_minor, line.currency)}"
    )
    if not line.is_break:
        return said
    shown = ", ".join(f"{each.case} {text(each.variance_minor, line.currency)}" for each in line.largest)
    return f"{said}: break tolerance_cap; the largest are {shown}"
