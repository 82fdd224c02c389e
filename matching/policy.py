"""Policy: what is expected, by when, how exactly, and who owns a break. A value, read from TOML.

- Every default stands in default_policy.toml beside this file and nowhere else; a policy text is laid over it, so it
  need only say what differs.
- Strict: an unknown key, a wrong type or an unknown control is an error naming the key and its line.
- `hash` is 16 hex over the whole policy after defaults: equal policies have equal hashes, whatever their layout.
- `[[version]]` sections change it from a moment on (rule E16): each is laid over the version before it, the first over
  the rest of the file. A case is judged by the version that holds where it starts: see `matching.view`. What is decided
  for all cases alike (FOR_ALL_TIME) cannot change so. A verdict carries the hash of the whole, versions and all.
"""

import hashlib
import json
import tomllib
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from importlib import resources
from itertools import pairwise
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AwareDatetime, Field, ValidationError

from canonical.events import EVENTS, AccountRole, Event
from canonical.ids import CaseKind
from matching.policy_lines import line_of, lines_of
from matching.terms import (
    ELAPSED,
    MAX_ENTITIES,
    CalendarTerms,
    Cutoff,
    DayCount,
    EntityCloses,
    EntityTerms,
    Hops,
    Seconds,
    Section,
    stated,
)
from matching.verdict import Break, BreakClass, ControlResult, Owner, Severity

CapMinor = Annotated[int, Field(ge=0, le=1_000_000_000_000)]
ToleranceMinor = Annotated[int, Field(ge=0, le=1_000_000)]
ControlName = Literal[
    "amount", "balance", "tax", "currency", "fx", "customer", "entity", "missing_posting", "missing_reversal",
    "orphan_posting", "orphan_payment", "duplicate_invoice", "duplicate_posting", "missing_payment", "short_payment",
    "overpayment", "duplicate_payment", "missing_application", "unapplied_cash", "missing_subscription", "payout",
    "conflict", "cutoff", "sla", "summary_split", "rounding", "account", "orphan_application",
    "revenue_schedule", "closed_period", "intercompany", "open_item", "system_of_record", "contract",
    "misapplied", "reversed_after_application", "refund_unmatched", "chargeback", "fee", "bank",
    "ambiguous_match", "quote_mismatch", "duplicate_period",
    "missing_invoice", "usage", "unbilled_usage", "credit_rebill", "proration",
]  # fmt: skip


# What cannot change with a version: it is read before a case is known, or for many cases at once.
FOR_ALL_TIME = frozenset(("feeds", "limits", "identification", "identity", "door", "version"))


class PolicyError(ValueError):
    """A policy that cannot be used. Each of `problems` names the key, the line where it stands, and what is wrong."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Expectation(Section):
    """Which legs a billing system's documents have."""

    posting: bool
    posting_mode: Literal["document", "summary"]
    payment: bool
    application: bool
    subscription: bool
    recognition: bool
    payout: bool
    bank: bool
    receipt_posting: bool
    counterpart: bool
    on_account: bool
    orders: Literal["stated", "subscription"]
    crosswalk: bool
    proration: Literal["undeclared", "daily", "monthly", "seconds"]


class Tolerance(Section):
    amount_minor: ToleranceMinor
    tax_minor: ToleranceMinor
    payment_minor: ToleranceMinor
    fx_minor: ToleranceMinor
    cap_minor: CapMinor
    caps: dict[str, dict[str, CapMinor]] = Field({})

    def cap_of(self, entity: str, currency: str) -> int:
        """How much may be let pass of an entity in a currency and a day."""
        return self.caps.get(entity, {}).get(currency, self.cap_minor)


class WriteOff(Section):
    alone_minor: CapMinor


class Grace(Section):
    orphan_s: Seconds
    awaits: str

    @cached_property
    def duration(self) -> timedelta:
        return timedelta(seconds=self.orphan_s)


class Feed(Section):
    """What brings what a hop awaits: raw sources by name, all of them where none is named."""

    sources: tuple[str, ...]
    heartbeat_s: Seconds


class OtherName(Section):
    """Another system keys its records of a document by the document's id, its number, or what a ref to that system says."""

    system: str
    by: Literal["id", "number", "ref"]


class EntityIdentity(Section):
    order: tuple[OtherName, ...] = ()
    invoice: tuple[OtherName, ...] = ()
    credit: tuple[OtherName, ...] = ()


BookedIn = Literal["document", "summary", "none"]


class LedgerTerms(Section):
    """Whose books a ledger keeps (nobody named: everybody's), and how it books a document: by itself, in a batch, not at all."""

    entities: tuple[str, ...] = ()
    invoice: BookedIn = "document"
    credit: BookedIn = "document"


class Cutover(Section):
    """When a new ledger may replace an old one that ran in parallel: see `matching.parallel`.

    `most`: entries that may differ, by kind of difference; none of a kind that is not named. `accounts`: new by old.
    """

    least_documents: Annotated[int, Field(ge=0)]
    grace_s: Seconds
    rounding_minor: ToleranceMinor
    most: dict[str, Annotated[int, Field(ge=0)]]
    accounts: dict[str, str]


class Accounts(Section):
    """Which accounts, by role, the lines of an entry may be on; one that is not named may be on any."""

    invoice: tuple[AccountRole, ...] | None = None
    credit: tuple[AccountRole, ...] | None = None
    void: tuple[AccountRole, ...] | None = None
    payment: tuple[AccountRole, ...] | None = None
    refund: tuple[AccountRole, ...] | None = None
    application: tuple[AccountRole, ...] | None = None
    fee: tuple[AccountRole, ...] | None = None
    payout: tuple[AccountRole, ...] | None = None
    other: tuple[AccountRole, ...] | None = None
    revaluation: tuple[AccountRole, ...] | None = None


RuleName = Literal["reference", "text", "application", "split", "customer_amount", "amount_date", "combination"]


class Identification(Section):
    """Which open items a receipt pays that names none: see `matching.identify`."""

    rules: tuple[RuleName, ...]
    window_days: DayCount
    application_days: DayCount
    combination_items: Annotated[int, Field(ge=2, le=60)]
    combination_size: Annotated[int, Field(ge=2, le=20)]
    combination_steps: Annotated[int, Field(ge=1, le=10_000_000)]
    chance_per_million: Annotated[int, Field(ge=0, le=1_000_000)]
    wait_s: Seconds


class Door(Section):
    """What is done with a record before it is in a case: see `matching.door`."""

    contracts: Literal["break", "refuse"]


class FeeRate(Section):
    """What a processor keeps of a charge."""

    percent: Annotated[str, Field(pattern=r"^[0-9]{1,3}(\.[0-9]{1,6})?$")]
    fixed_minor: dict[str, Annotated[int, Field(ge=0, le=1_000_000)]] = Field({})


FactsPerCase = Annotated[int, Field(ge=1, le=1_000_000)]


class Limits(Section):
    facts_per_case: FactsPerCase
    facts_by_kind: dict[CaseKind, FactsPerCase]

    def facts_of(self, key: str) -> int:
        """How many facts the case may have."""
        by_kind: dict[str, int] = self.facts_by_kind  # type: ignore[assignment]
        return by_kind.get(key.partition(":")[0], self.facts_per_case)


class Policy(Section):
    hops: Hops
    calendars: dict[str, CalendarTerms]
    feeds: dict[str, Feed]
    expect: dict[str, Expectation]
    tolerance: Tolerance
    write_off: WriteOff
    mandatory: dict[CaseKind, tuple[ControlName, ...]]
    grace: Grace
    cutoff: Cutoff
    ledgers: dict[str, LedgerTerms]
    identity: dict[str, EntityIdentity]
    cutover: Cutover
    accounts: Accounts
    systems_of_record: dict[str, tuple[str, ...]]
    contracts: dict[str, tuple[Annotated[int, Field(ge=0, le=9_999)], ...]]
    door: Door
    fees: dict[str, FeeRate]
    identification: Identification
    limits: Limits
    owners: dict[BreakClass, Owner]
    severity: dict[BreakClass, Severity]
    version: tuple["Version", ...] = ()

    @cached_property
    def hash(self) -> str:
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @cached_property
    def terms(self) -> "Terms":
        return Terms(self)


class Version(Section):
    """The whole policy as it holds from a moment on."""

    valid_from: AwareDatetime
    policy: Policy


class Assessment(NamedTuple):
    """What all controls say of a case. `is_settled`: none that policy wants assessed was left open or failed."""

    controls: tuple[ControlResult, ...]
    breaks: tuple[Break, ...]
    exposure_minor: int
    is_settled: bool


class Expectations(dict[str, Expectation]):
    """By billing system; [expect.default] for one that policy does not name."""

    def __missing__(self, system: str) -> Expectation:
        if len(self) < MAX_ENTITIES:
            self[system] = self["default"]
        return self["default"]


class Bookings(dict[str, Mapping[str, Mapping[str, BookedIn]]]):
    """By entity and kind of document: the ledgers that policy names for them, and how each books one."""

    def __init__(self, ledgers: Mapping[str, LedgerTerms]) -> None:
        self._ledgers = ledgers

    def __missing__(self, entity: str) -> Mapping[str, Mapping[str, BookedIn]]:
        own = {name: terms for name, terms in sorted(self._ledgers.items()) if entity in (terms.entities or (entity,))}
        found: Mapping[str, Mapping[str, BookedIn]] = {
            "invoice": {name: terms.invoice for name, terms in own.items()},
            "credit": {name: terms.credit for name, terms in own.items()},
        }
        if len(self) < MAX_ENTITIES:
            self[entity] = found
        return found


class Terms:
    """Policy resolved for one entity or system, each worked out once."""

    def __init__(self, policy: Policy) -> None:
        self.hops = EntityTerms(policy.hops, policy.calendars)
        self.expect = Expectations(policy.expect)
        self.crosswalks = any(expected.crosswalk for expected in policy.expect.values())
        self.expects_payouts = any(expected.payout for expected in policy.expect.values())
        self.closes = EntityCloses(policy.cutoff, self.hops.calendars)
        self.bookings = Bookings(policy.ledgers) if policy.ledgers else None
        self.accounts: dict[str, frozenset[str]] = {
            kind: frozenset(roles) for kind, roles in policy.accounts if roles is not None
        }
        self.assessments: dict[Hashable, Assessment] = {}  # by situation: see matching.assessment
        self.mandatory: dict[str, frozenset[str]] = {kind: frozenset(names) for kind, names in policy.mandatory.items()}
        self.versions = [(version.valid_from, version.policy) for version in reversed(policy.version)]

    def version_at(self, start: datetime) -> Policy | None:
        """The version that holds at a moment; None before the first."""
        return next((policy for valid_from, policy in self.versions if valid_from <= start), None)


def _is_of(event_type: str, event: type[Event], document: str, field: str) -> bool:
    known = event.model_fields["data"].annotation.model_fields  # type: ignore[union-attr]
    return event_type.partition(".")[0] == document and (not field or field in known)


def load(text: str | None = None) -> Policy:
    """The default policy, with `text` (TOML) laid over it. Raises PolicyError."""
    if text is None:
        return _default_policy
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"policy is not TOML: {error}") from None
    merged = _with_expectations(_laid_over(DEFAULTS, given))
    merged["version"] = _in_turn(merged, given.get("version", []))
    try:
        policy = Policy.model_validate_json(
            json.dumps(merged, default=str)
        )  # JSON: lists are tuples there, still strict
    except ValidationError as error:
        said = [(_path(item["loc"]), str(item["msg"])) for item in error.errors(include_url=False)]
        base = {path for path, _ in said}  # a version repeats what is wrong below it
        raise PolicyError(*_told((item for item in said if item[0][2:] not in base), text)) from None
    if contradictions := list(_contradictions(policy, given)):
        raise PolicyError(*_told(contradictions, text))
    return policy


def _in_turn(base: dict[str, Any], versions: Any) -> Any:
    """Every version with the whole policy as it then is."""
    if not isinstance(versions, list) or not all(isinstance(version, dict) for version in versions):
        return versions
    below = {key: value for key, value in base.items() if key != "version"}
    whole: list[dict[str, Any]] = []
    for version in versions:
        stated = {key: value for key, value in version.items() if key != "valid_from"}
        below = _with_expectations(_laid_over(below, stated))
        begins = {"valid_from": _midnight(version["valid_from"])} if "valid_from" in version else {}
        whole.append({"policy": below, **begins})
    return whole


def _midnight(stated: Any) -> Any:
    """A date is its beginning in UTC."""
    is_date = isinstance(stated, date) and not isinstance(stated, datetime)
    return datetime.combine(stated, time.min, UTC).isoformat() if is_date else stated


Said = tuple[tuple[str, ...], str]


def _contradictions(policy: Policy, given: Mapping[str, Any]) -> Iterator[Said]:
    """What is well written and still cannot be meant, by the path of its key."""
    yield from _names_nothing(policy)
    for number, (before, after) in enumerate(pairwise(policy.version), 1):
        if before.valid_from >= after.valid_from:
            yield ("version", str(number), "valid_from"), "must be later than that of the version before it"
    for number, (version, stated_keys) in enumerate(zip(policy.version, given.get("version", ()), strict=True)):
        at = ("version", str(number))
        yield from (
            ((*at, key), "holds for all time: state it outside of versions")
            for key in FOR_ALL_TIME & stated_keys.keys()
        )
        yield from (((*at, *path), said) for path, said in _names_nothing(version.policy) if path[0] in stated_keys)


def _names_nothing(policy: Policy) -> Iterator[Said]:
    """A feed that nobody describes would count as complete, and what it brings late as missing; a type of event or a field
    that does not exist would never be looked at, and seem to be in order.
    """
    awaiting = [(("hops", *path), terms) for path, terms in stated(policy.hops)]
    for path, awaits in [(("grace",), policy.grace.awaits), *((path, terms.awaits) for path, terms in awaiting)]:
        if awaits is not None and awaits not in policy.feeds:
            yield (*path, "awaits"), f"there is no [feeds.{awaits}]"
    closes: list[tuple[tuple[str, ...], str | None]] = [(("cutoff",), policy.cutoff.calendar)]
    closes += [(("cutoff", "entities", entity), own.calendar) for entity, own in policy.cutoff.entities.items()]
    for path, calendar in [*closes, *((path, terms.calendar) for path, terms in awaiting)]:
        if calendar not in (None, ELAPSED) and calendar not in policy.calendars:
            yield (*path, "calendar"), f"there is no [calendars.{calendar}]"
    for event_type in policy.contracts:
        if event_type not in EVENTS:
            yield ("contracts", event_type), "there is no such type of event"
    for name in policy.systems_of_record:
        document, _, field = name.partition(".")
        if not any(_is_of(kind, event, document, field) for kind, event in EVENTS.items()):
            yield ("systems_of_record", name), "there is no such document or field"


def _laid_over(base: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Tables merge key by key; any other value replaces."""
    merged = dict(base)
    for key, value in given.items():
        below = merged.get(key)
        merged[key] = _laid_over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _with_expectations(whole: dict[str, Any]) -> dict[str, Any]:
    """Each system says only what differs from [expect.default]."""
    expect = whole.get("expect")
    default = expect.get("default") if isinstance(expect, dict) else None
    if not isinstance(expect, dict) or not isinstance(default, dict):
        return whole
    merged = {system: default | stated if isinstance(stated, dict) else stated for system, stated in expect.items()}
    return whole | {"expect": merged}


def _path(loc: Sequence[Any]) -> tuple[str, ...]:
    """As it is written in the file: a version's policy is the version's table itself, a calendar has no kind in its path."""
    path = tuple(str(part) for part in loc if part != "[key]")
    if path[:1] == ("version",) and path[2:3] == ("policy",):
        return (*path[:2], *_path(path[3:]))
    return (*path[:2], *path[3:]) if path[:1] == ("calendars",) and path[2:3] in (("business",), ("batch",)) else path


def _told(said: Iterable[Said], text: str) -> Iterator[str]:
    lines = lines_of(text)
    for path, what in dict.fromkeys(said):
        line = line_of(path, lines)
        where = f" (line {line})" if line else ""
        yield f"{'.'.join(path)}{where}: {what}" if path else what


def _read_defaults() -> dict[str, Any]:
    """Part of the code, not input: the file is installed beside this module."""
    return tomllib.loads(resources.files(__package__).joinpath("default_policy.toml").read_text(encoding="utf-8"))


DEFAULTS = _read_defaults()
_default_policy = load("")
