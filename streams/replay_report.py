"""What a replay found, summed up: cases by how they compare, breaks by class, money by entity.

- `exposure` is of the cases compared, live before and rebuilt after, by entity and currency: amounts of two currencies are
  never added. A rebuild sums only the cases that differ, a what-if all of them.
- The first SHOWN differences are kept whole; all of them go where the caller writes them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from canonical.events import format_time
from canonical.money import EXPONENTS, text
from matching.compare import Summary, summary
from streams.replay import Basis, Found

SHOWN = 20
_KINDS = ("opened", "closed", "changed")


class Report:
    def __init__(self, basis: Basis) -> None:
        self.basis = basis
        self.states: Counter[str] = Counter()
        self.other_policies: Counter[str] = Counter()
        self.breaks: dict[str, Counter[str]] = {kind: Counter() for kind in _KINDS}
        self.entities: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self.shown: list[dict[str, Any]] = []

    @property
    def cases(self) -> int:
        return self.states.total()

    def add(self, found: Found) -> None:
        self.states[found.state] += 1
        if found.state == "other_policy":
            self.other_policies[found.why] += 1
        if found.state == "different" and len(self.shown) < SHOWN:
            self.shown.append(as_dict(found))
        if found.state == "different" or (self.basis.is_what_if and found.state == "identical"):
            self._add_money(found)

    def as_dict(self) -> dict[str, Any]:
        basis = self.basis
        return {
            "mode": "what_if" if basis.is_what_if else "rebuild",
            "policy": basis.policy.hash,
            "as_of": format_time(basis.as_of) if basis.as_of else None,
            "cases": self.cases,
            "identical": self.states["identical"],
            "different": self.states["different"],
            "moving": self.states["moving"],
            "other_policy": dict(self.other_policies),
            "breaks": {kind: dict(sorted(found.items())) for kind, found in self.breaks.items()},
            "entities": [
                {"entity": entity, "currency": currency, **{name: figures[name] for name in (*_KINDS, *_MONEY)}}
                for (entity, currency), figures in sorted(self.entities.items())
            ],
            "differences": self.shown,
        }

    def lines(self) -> Iterator[str]:
        """For people."""
        for found in self.shown:
            yield _line(found)
        if self.states["different"] > len(self.shown):
            yield f"... and {self.states['different'] - len(self.shown)} more; -o FILE writes all of them"
        for kind in _KINDS:
            for name, count in self.breaks[kind].most_common():
                yield f"breaks {kind:<8} {count:>8}  {name}"
        for (entity, currency), figures in sorted(self.entities.items()):
            before, after = (_amount(figures[name], currency) for name in _MONEY)
            counts = ", ".join(f"{figures[kind]} {kind}" for kind in _KINDS if figures[kind]) or "no break differs"
            yield f"{entity}: exposure {before} before, {after} after ({counts})"
        for policy, count in self.other_policies.most_common():
            yield f"{count} cases not compared: judged under policy {policy}, loaded is {self.basis.policy.hash}"

    def sentence(self) -> str:
        """`{cases} cases: ...`"""
        same, what = ("unchanged", "what-if") if self.basis.is_what_if else ("identical", "rebuilt")
        states = self.states
        other = f", {states['other_policy']} of another policy" if states["other_policy"] else ""
        return (
            f"{what} {self.cases} cases: {states['identical']} {same}, {states['different']} different, "
            f"{states['moving']} moving{other}"
        )

    def _add_money(self, found: Found) -> None:
        after = summary(found.raw)
        figures = self.entities[after.entity, after.currency or ""]
        for kind in _KINDS:
            names = getattr(found.changes, kind)
            self.breaks[kind].update(names)
            figures[kind] += len(names)
        figures["exposure_after_minor"] += after.exposure_minor
        before = _summary(found.live)
        if before is not None:
            self.entities[before.entity, before.currency or ""]["exposure_before_minor"] += before.exposure_minor


_MONEY = ("exposure_before_minor", "exposure_after_minor")


def as_dict(found: Found) -> dict[str, Any]:
    """One difference, for machines."""
    before, after = _summary(found.live), summary(found.raw)
    return {
        "case": found.case, "state": found.state, "why": found.why, "judged_at": format_time(found.judged_at),
        **{kind: list(getattr(found.changes, kind)) for kind in _KINDS}, "fields": list(found.changes.fields),
        "live": _shown(before), "rebuilt": _shown(after),
    }  # fmt: skip


def _summary(raw: bytes | None) -> Summary | None:
    try:
        return None if raw is None else summary(raw)
    except ValueError:
        return None


def _shown(found: Summary | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "outcome": found.outcome, "breaks": [item.class_ for item in found.breaks], "currency": found.currency,
        "exposure_minor": found.exposure_minor, "facts": found.facts, "policy": found.policy,
    }  # fmt: skip


def _line(found: dict[str, Any]) -> str:
    before, after = (_told(found[side]) for side in ("live", "rebuilt"))
    return f"{found['case']}: live {before}, rebuilt {after}" + (f" ({found['why']})" if found["why"] else "")


def _told(shown: dict[str, Any] | None) -> str:
    if shown is None:
        return "none"
    return shown["outcome"] + (f" {'+'.join(shown['breaks'])}" if shown["breaks"] else "")


def _amount(minor: int, currency: str) -> str:
    return text(minor, currency) if currency in EXPONENTS else str(minor)
