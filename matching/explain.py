"""Which rule of policy a verdict came from, in words: the table and key, its value, and the line that says so or that it is
the default.

- A key is looked for where policy looks for it: the nearest override first (entity and ledger, entity, ledger, the hop; a
  system, `expect.default`), each in the last version that holds, the versions before it, the file, the defaults.
- Nothing is judged here: times, states and owners are the verdict's own.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from canonical.events import Event
from matching.findings import OWNER_OF_FAILURE
from matching.policy import DEFAULTS, Policy
from matching.policy_lines import Lines, line_of, lines_of
from matching.terms import EntityHops, Leg
from matching.verdict import Break, Hop, Verdict
from matching.view import split_key, starts_at

Path = tuple[str, ...]

# What policy lets two sides differ by, or wait for, by class of break.
TOLERATED: dict[str, tuple[Path, ...]] = {
    "amount": (("tolerance", "amount_minor"),),
    "rounding": (("tolerance", "amount_minor"), ("tolerance", "tax_minor")),
    "tax": (("tolerance", "tax_minor"),),
    "fx": (("tolerance", "fx_minor"),),
    "short_payment": (("tolerance", "payment_minor"),),
    "overpayment": (("tolerance", "payment_minor"),),
    "orphan_posting": (("grace", "orphan_s"),),
    "orphan_payment": (("grace", "orphan_s"),),
    "orphan_application": (("grace", "orphan_s"),),
    "cutoff": (("cutoff", "grace_days"), ("cutoff", "is_break")),
}
_CLASS_OF_LEG = {"missing_" + name.rpartition("_to_")[2]: name for name in EntityHops.__struct_fields__[:-1]}
_EXPECTED = {
    "quote_to_subscription": "subscription",
    "invoice_to_posting": "posting",
    "invoice_to_payment": "payment",
    "payment_to_application": "application",
    "payment_to_payout": "payout",
    "payout_to_bank": "bank",
}


class Rule(NamedTuple):
    """`about` is what it decided; `line` is in the file, None where the default holds."""

    about: str
    table: str
    key: str
    value: Any
    line: int | None

    @property
    def words(self) -> str:
        where = "default" if self.line is None else f"line {self.line}"
        shown = str(self.value).lower() if isinstance(self.value, bool) else self.value
        return f"{self.about}: [{self.table}] {self.key} = {shown} ({where})"


class Origins:
    """Where a policy says what: the file (None: the defaults alone), up to a version of it."""

    def __init__(self, text: str | None, version: int | None = None) -> None:
        self._lines: Lines = lines_of(text or "")
        given = tomllib.loads(text or "")
        layers: list[tuple[Path, Mapping[str, Any]]] = [((), given)]
        for number in range(0 if version is None else version + 1):
            layers.insert(0, (("version", str(number)), given["version"][number]))
        self._layers = layers
        self._defaults = DEFAULTS

    def rule(self, about: str, *candidates: Path) -> Rule:
        """The first of the paths that is stated anywhere, and where."""
        for path in candidates:
            for prefix, layer in self._layers:
                value = _at(layer, path)
                if value is not None:
                    return Rule(about, ".".join(path[:-1]), path[-1], value, line_of((*prefix, *path), self._lines))
            value = _at(self._defaults, path)
            if value is not None:
                return Rule(about, ".".join(path[:-1]), path[-1], value, None)
        return Rule(about, ".".join(candidates[-1][:-1]), candidates[-1][-1], "not stated", None)

    def version_line(self, version: int) -> int | None:
        return line_of(("version", str(version)), self._lines)


def _at(layer: Mapping[str, Any], path: Path) -> Any:
    value: Any = layer
    for part in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def version_of(policy: Policy, facts: Sequence[Event], key: str) -> int | None:
    """Which of the policy's versions judges the case; None: what the file says outside of versions."""
    start = starts_at(split_key(key)[0], facts)
    held = [number for number, version in enumerate(policy.version) if version.valid_from <= start]
    return held[-1] if held else None


def verdict_in_words(verdict: Verdict, policy: Policy, origins: Origins) -> Iterator[str]:
    """`policy` is the version that judged it."""
    terms = policy.terms.hops[verdict.entity]
    for hop in verdict.hops:
        yield f"{hop.name} is {hop.state}{_when(hop)}"
        yield from _said(hop_rules(hop.name, verdict.entity, _ledger(terms, hop), origins, hop.state))
        if hop.state == "not_expected":
            system = split_key(verdict.correlation_id)[2]
            yield from _said([_expected(hop.name, system, origins)] if hop.name in _EXPECTED else [])
        elif (missing_at := _missing_at(terms, hop)) is not None:
            yield f"  missing from {missing_at:%Y-%m-%d %H:%M:%S} UTC"
    for found in verdict.breaks:
        yield f"break {found.class_}: {found.reason}"
        yield from _said(_of_break(found, verdict, origins))
    yield from _unassessed(verdict, policy, origins)


def hop_rules(name: str, entity: str, ledger: str | None, origins: Origins, state: str = "late") -> list[Rule]:
    """What holds for a leg of one entity and ledger."""
    if state == "not_expected":
        return []
    own = (("entities", entity, "ledgers", ledger or ""), ("entities", entity), ("ledgers", ledger or ""), ())
    places = [("hops", name, *place) for place in own if ledger is not None or "ledgers" not in place]

    def rule(about: str, key: str) -> Rule:
        return origins.rule(about, *((*place, key) for place in places))

    target = ("due", "terms_days") if name == "invoice_to_payment" else ("due", "target_s")
    rules = [rule(*target), rule("time runs", "calendar"), rule("missing", "missing_after_s"), rule("awaits", "awaits")]
    if rules[1].value != "elapsed":
        rules.insert(2, origins.rule("calendar", ("calendars", str(rules[1].value), "zone")))
    return [*rules, rule("late is a break", "late_is_break")]


def _of_break(found: Break, verdict: Verdict, origins: Origins) -> Iterator[Rule]:
    owner = origins.rule(f"owner {found.owner}", ("owners", found.class_))
    if owner.value == found.owner:
        yield owner
    yield origins.rule(f"severity {found.severity}", ("severity", found.class_))
    for table, key in TOLERATED.get(found.class_, ()):
        yield origins.rule("tolerated", (table, "entities", verdict.entity, key), (table, key))
    if found.class_ in _CLASS_OF_LEG and _CLASS_OF_LEG[found.class_] in _EXPECTED:
        yield _expected(_CLASS_OF_LEG[found.class_], split_key(verdict.correlation_id)[2], origins)
    if owner.value != found.owner:
        failures = sorted(failure for failure, owns in OWNER_OF_FAILURE.items() if owns == found.owner)
        yield owner._replace(
            about=f"owner {found.owner}, for a delivery failed ({' or '.join(failures)}), not as stated"
        )


def _expected(name: str, system: str, origins: Origins) -> Rule:
    key = _EXPECTED[name]
    return origins.rule("expected", ("expect", system, key), ("expect", "default", key))


def _unassessed(verdict: Verdict, policy: Policy, origins: Origins) -> Iterator[str]:
    mandatory = policy.terms.mandatory.get(verdict.kind, frozenset())
    for control in verdict.controls:
        if control.result == "not_assessed" and control.name in mandatory:
            yield f"{control.name} is not assessed, and must be before the case is ok: {control.reason}"
            rule = origins.rule("mandatory", ("mandatory", verdict.kind))
            yield from _said([rule._replace(value="[... " + control.name + " ...]")])


def _said(rules: Sequence[Rule] | Iterator[Rule]) -> Iterator[str]:
    return (f"  {rule.words}" for rule in rules)


def _when(hop: Hop) -> str:
    if hop.due_at is None:
        return ""
    ended = f", ended {hop.ended_at:%Y-%m-%d %H:%M:%S}" if hop.ended_at is not None else ""
    return f": started {hop.started_at:%Y-%m-%d %H:%M:%S}{ended}, due {hop.due_at:%Y-%m-%d %H:%M:%S} UTC"


def _ledger(terms: EntityHops, hop: Hop) -> str | None:
    """The ledger by whose terms the leg is due; None for those of the entity."""
    if hop.name != "invoice_to_posting" or hop.started_at is None or _is_of(terms.invoice_to_posting, hop):
        return None
    return next((name for name, own in terms.ledgers.items() if _is_of(own.invoice_to_posting, hop)), None)


def _is_of(leg: Leg, hop: Hop) -> bool:
    return hop.started_at is not None and leg.due_at(hop.started_at) == hop.due_at


def _missing_at(terms: EntityHops, hop: Hop) -> datetime | None:
    """None where it has ended, or where the leg could begin at another moment than it was started."""
    if hop.ended_at is not None or hop.due_at is None or hop.started_at is None:
        return None
    ledger = _ledger(terms, hop)
    leg: Leg = getattr(terms if ledger is None else terms.of_ledger(ledger), hop.name)
    if hop.name == "invoice_to_payment":
        return leg.missing_at(hop.due_at)
    begun_at = hop.started_at if leg.calendar is not None else hop.due_at - timedelta(seconds=leg.target_s)
    return leg.missing_at(begun_at) if leg.due_at(begun_at) == hop.due_at else None
