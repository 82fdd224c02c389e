"""Policy: what is expected, by when, how exactly, and who owns a break. A value, read from TOML.

- Every default stands in default_policy.toml beside this file and nowhere else; a policy text is laid over it, so it
  need only say what differs.
- Strict: an unknown key, a wrong type or an unknown control is an error naming the key and its line.
- `hash` is 16 hex over the whole policy after defaults: equal policies have equal hashes, whatever their layout.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Hashable
from datetime import timedelta
from functools import cached_property
from importlib import resources
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, ValidationError, model_validator

from canonical.events import EVENTS, AccountRole, Event
from canonical.ids import CaseKind
from matching.terms import ELAPSED, CalendarTerms, DayCount, EntityTerms, Hops, Seconds, Section, stated
from matching.verdict import Break, BreakClass, ControlResult, Owner, Severity

ToleranceMinor = Annotated[int, Field(ge=0, le=1_000_000)]
ControlName = Literal[
    "amount", "balance", "tax", "currency", "fx", "customer", "entity", "missing_posting", "missing_reversal",
    "orphan_posting", "orphan_payment", "duplicate_invoice", "duplicate_posting", "missing_payment", "short_payment",
    "overpayment", "duplicate_payment", "missing_application", "unapplied_cash", "missing_subscription", "payout",
    "conflict", "cutoff", "sla", "summary_split", "rounding", "account", "orphan_application",
    "revenue_schedule", "closed_period", "intercompany", "open_item", "system_of_record", "contract",
    "misapplied", "reversed_after_application", "refund_unmatched", "chargeback", "fee", "bank",
    "ambiguous_match",
]  # fmt: skip


class PolicyError(ValueError):
    """A policy that cannot be used; the message names the key, the line where it stands, and what is wrong."""


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


class Tolerance(Section):
    amount_minor: ToleranceMinor
    tax_minor: ToleranceMinor
    payment_minor: ToleranceMinor
    fx_minor: ToleranceMinor


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


class Cutoff(Section):
    grace_days: DayCount
    is_break: bool


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
    mandatory: dict[CaseKind, tuple[ControlName, ...]]
    grace: Grace
    cutoff: Cutoff
    accounts: Accounts
    systems_of_record: dict[str, tuple[str, ...]]
    contracts: dict[str, tuple[Annotated[int, Field(ge=0, le=9_999)], ...]]
    fees: dict[str, FeeRate]
    identification: Identification
    limits: Limits
    owners: dict[BreakClass, Owner]
    severity: dict[BreakClass, Severity]

    @model_validator(mode="after")
    def _names_what_is_described(self) -> "Policy":
        """A feed that nobody describes would count as complete, and what it brings late as missing."""
        if self.grace.awaits not in self.feeds:
            raise ValueError(f"grace.awaits: there is no [feeds.{self.grace.awaits}]")
        for path, terms in stated(self.hops):
            where = ".".join(("hops", *path))
            if terms.awaits is not None and terms.awaits not in self.feeds:
                raise ValueError(f"{where}.awaits: there is no [feeds.{terms.awaits}]")
            if terms.calendar not in (None, ELAPSED) and terms.calendar not in self.calendars:
                raise ValueError(f"{where}.calendar: there is no [calendars.{terms.calendar}]")
        return self

    @model_validator(mode="after")
    def _names_what_there_is(self) -> "Policy":
        """A record type or field that does not exist would never be looked at, and seem to be in order."""
        for event_type in self.contracts:
            if event_type not in EVENTS:
                raise ValueError(f"contracts.{event_type}: there is no such type of event")
        for name in self.systems_of_record:
            document, _, field = name.partition(".")
            if not any(_is_of(kind, event, document, field) for kind, event in EVENTS.items()):
                raise ValueError(f"systems_of_record.{name}: there is no such document or field")
        return self

    @cached_property
    def hash(self) -> str:
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @cached_property
    def terms(self) -> "Terms":
        return Terms(self)


class Assessment(NamedTuple):
    """What all controls say of a case. `is_settled`: none that policy wants assessed was left open or failed."""

    controls: tuple[ControlResult, ...]
    breaks: tuple[Break, ...]
    exposure_minor: int
    is_settled: bool


class Expectations(dict[str, Expectation]):
    """By billing system; [expect.default] for one that policy does not name."""

    def __missing__(self, system: str) -> Expectation:
        return self["default"]


class Terms:
    """Policy resolved for one entity or system, each worked out once."""

    def __init__(self, policy: Policy) -> None:
        self.hops = EntityTerms(policy.hops, policy.calendars)
        self.expect = Expectations(policy.expect)
        self.accounts: dict[str, frozenset[str]] = {
            kind: frozenset(roles) for kind, roles in policy.accounts if roles is not None
        }
        self.assessments: dict[Hashable, Assessment] = {}  # by situation: see matching.assessment
        self.mandatory: dict[str, frozenset[str]] = {kind: frozenset(names) for kind, names in policy.mandatory.items()}


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
    merged = _laid_over(_defaults, given)
    if isinstance(merged.get("expect"), dict):
        merged["expect"] = _expectations(merged["expect"])
    try:
        return Policy.model_validate_json(json.dumps(merged, default=str))  # JSON: lists are tuples there, still strict
    except ValidationError as error:
        raise PolicyError("; ".join(_explain(item, text) for item in error.errors(include_url=False))) from None


def _laid_over(base: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Tables merge key by key; any other value replaces."""
    merged = dict(base)
    for key, value in given.items():
        below = merged.get(key)
        merged[key] = _laid_over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _expectations(expect: dict[str, Any]) -> dict[str, Any]:
    """Each system says only what differs from [expect.default]."""
    default = expect.get("default")
    if not isinstance(default, dict):
        return expect
    return {system: default | stated if isinstance(stated, dict) else stated for system, stated in expect.items()}


def _explain(item: Any, text: str) -> str:
    path = [str(part) for part in item["loc"] if part != "[key]"]
    line = _line_of(path, text)
    where = f" (line {line})" if line else ""
    return f"{'.'.join(path)}{where}: {item['msg']}" if path else str(item["msg"])


def _line_of(path: list[str], text: str) -> int | None:
    """The line on which the key, or else the innermost table around it, is written."""
    table: list[str] = []
    found = None
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[\s*([^\]]+?)\s*\]", line)
        key = re.match(r"\s*([^=#\s]+)\s*=", line)
        if header:
            table = [part.strip(" \"'") for part in header[1].split(".")]
        elif key and path[: len(table) + 1] == [*table, key[1].strip("\"'")]:
            return number
        if header and table == path[: len(table)]:
            found = number
    return found


def _read_defaults() -> dict[str, Any]:
    """Part of the code, not input: the file is installed beside this module."""
    return tomllib.loads(resources.files(__package__).joinpath("default_policy.toml").read_text(encoding="utf-8"))


_defaults = _read_defaults()
_default_policy = load("")
