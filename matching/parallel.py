"""Two ledgers in parallel, as while an ERP is replaced: the same documents in both, and how they differ, field by field.

- Compared are the entries of one case by document type. What was taken back within a ledger (a reversal, an entry of opposite
  lines) is netted out first: the one may book once what the other books, takes back and books again.
- Equal entries meet first, then those most alike; what is left in one ledger is a duplicate where it equals an entry that has
  met, else it is missing in the other: no difference at all while policy's grace lasts.
- A pair differs once for each root cause: another currency is not also another amount, a wrong tax not also a wrong total,
  an amount not also a base amount, a role not also an account. Amounts are by account role, debit-positive; what differs
  by policy's `rounding_minor` at the most is rounding. Accounts are compared through policy's map of the old to the new.
- Proof: for each role, what the new ledger has more than the old is the sum of what the differences say, to a residual of zero.
- Policy says whether the cut-over may go ahead ([cutover]): how many documents must have been compared, and how many may
  differ by each kind.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Literal, NamedTuple, get_args

from canonical.events import Event
from canonical.money import to_major
from matching.documents import moment
from matching.policy import Cutover, Policy
from matching.tieout.basis import Span
from matching.tieout.entries import POSTINGS, day_of, once

Difference = Literal[
    "missing_in_new", "missing_in_old", "duplicate_in_new", "duplicate_in_old", "currency", "amount", "tax", "base_amount",
    "rounding", "role", "account", "tax_code", "period", "date", "customer",
]  # fmt: skip
DIFFERENCES: tuple[Difference, ...] = get_args(Difference)
EXAMPLES = 3  # of a kind, in text
MOST_COMPARED = 200  # entries of a case and type that are compared with each other; beyond it in order of their days

_CONTROL = ("receivable", "payable")


class Scope(NamedTuple):
    """`period` None: all of them. `entity` None: all of them."""

    old: str
    new: str
    entity: str | None = None
    period: Span | None = None


class Found(NamedTuple):
    """One difference. `amount_minor`: what the new ledger has more than the old, in base currency on the field's role."""

    kind: Difference
    case_key: str
    entity: str
    document: str
    document_type: str
    currency: str
    amount_minor: int
    old: str
    new: str
    facts: tuple[str, ...]


class Role(NamedTuple):
    """Of an account role, in base currency: both ledgers, what the differences explain of it, and what is left."""

    role: str
    currency: str
    old_minor: int
    new_minor: int
    explained_minor: int

    @property
    def residual_minor(self) -> int:
        return self.new_minor - self.old_minor - self.explained_minor


class Outcome(NamedTuple):
    """`reasons` why not; empty where the cut-over may go ahead. `waiting`: entries whose grace is not over."""

    documents: int
    agreeing: int
    waiting: int
    counts: dict[Difference, int]
    roles: tuple[Role, ...]
    reasons: tuple[str, ...]

    @property
    def is_ready(self) -> bool:
        return not self.reasons


class _Entry(NamedTuple):
    """A journal entry as it is compared: sums by account role, in the document's currency (None where a line has none there)
    and in the ledger's; accounts and tax codes by role."""

    fact_id: str
    document: str
    day: date
    at: datetime
    entity: str
    currency: str | None
    base_currency: str
    customer: str | None
    amounts: dict[str, int] | None
    bases: dict[str, int]
    accounts: dict[str, frozenset[str]]
    tax_codes: frozenset[str]
    undoes: str | None

    @property
    def sums(self) -> tuple[tuple[str, int], ...]:
        return tuple(sorted(self.bases.items()))

    @property
    def shape(self) -> tuple[Any, ...]:
        amounts = tuple(sorted(self.amounts.items())) if self.amounts is not None else None
        accounts = tuple((role, tuple(sorted(kept))) for role, kept in sorted(self.accounts.items()))
        return (self.sums, amounts, self.day, self.currency, self.customer, accounts, tuple(sorted(self.tax_codes)))


class Parallel:
    """Takes one case after the other; `found` gives what a case's entries differ by, `outcome` what comes of all."""

    def __init__(self, scope: Scope, policy: Policy, now: datetime) -> None:
        self.scope, self.terms = scope, policy.cutover
        self._grace_ends = now - timedelta(seconds=self.terms.grace_s)
        self._counts: Counter[Difference] = Counter()
        self._documents = self._agreeing = self._waiting = 0
        self._roles: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])

    def found(self, key: str, facts: Iterable[Event]) -> list[Found]:
        differences: list[Found] = []
        for document_type, (old, new) in self._by_type(facts).items():
            met: tuple[set[Any], set[Any]] = (set(), set())  # what each ledger holds that is no duplicate
            for one, other in _pairs(old, new, self.terms.accounts):
                kind = _alone(one, other, met)
                if not self._is_in_scope(one, other):
                    continue
                if kind is not None and kind.startswith("missing") and (one or other).at > self._grace_ends:  # type: ignore[union-attr]
                    self._waiting += 1
                    continue
                told = list(self._told(key, document_type, one, other, kind))
                self._sum_up(one, other, is_told=bool(told))
                self._counts.update(difference.kind for difference in told)
                differences += told
        return differences

    def _told(self, key: str, document_type: str, one: _Entry | None, other: _Entry | None, kind: Difference | None) -> Iterator[Found]:  # fmt: skip
        told = [(kind, "", "")] if kind is not None else _differences(one, other, self.terms)  # type: ignore[arg-type]
        about = other or one
        assert about is not None
        moved = _control(other) - _control(one)
        facts = tuple(entry.fact_id for entry in (one, other) if entry is not None)
        for name, old, new in told:
            yield Found(
                name, key, about.entity, (one or about).document, document_type, about.base_currency, moved,
                old or _shown(one), new or _shown(other), facts,
            )  # fmt: skip

    def _by_type(self, facts: Iterable[Event]) -> dict[str, tuple[list[_Entry], list[_Entry]]]:
        by_type: dict[str, tuple[list[_Entry], list[_Entry]]] = defaultdict(lambda: ([], []))
        for posting in _holding(facts):
            data = posting.data
            if data.ledger in (self.scope.old, self.scope.new) and self.scope.entity in (None, data.entity):
                by_type[data.document_type][data.ledger == self.scope.new].append(_entry(posting))
        return {
            document_type: (_standing(old), _standing(new)) for document_type, (old, new) in sorted(by_type.items())
        }

    def _is_in_scope(self, *entries: _Entry | None) -> bool:
        period = self.scope.period
        return period is None or any(entry and period.start <= entry.day <= period.end for entry in entries)

    def _sum_up(self, one: _Entry | None, other: _Entry | None, *, is_told: bool) -> None:
        """What both ledgers hold by role, and how much of the difference lies in entries that are said to differ."""
        self._documents += 1
        self._agreeing += not is_told
        for side, entry in enumerate((one, other)):
            for role, base_minor in (entry.bases if entry else {}).items():
                sums = self._roles[role, entry.base_currency if entry else ""]
                sums[side] += base_minor
                if is_told:
                    sums[2] += base_minor if side else -base_minor

    def outcome(self) -> Outcome:
        roles = tuple(Role(role, currency, *sums) for (role, currency), sums in sorted(self._roles.items()))
        counts = {kind: self._counts[kind] for kind in DIFFERENCES if self._counts[kind]}
        return Outcome(
            self._documents, self._agreeing, self._waiting, counts, roles, tuple(self._reasons(counts, roles))
        )

    def _reasons(self, counts: dict[Difference, int], roles: Sequence[Role]) -> Iterator[str]:
        if self._documents < self.terms.least_documents:
            yield f"{self._documents} entries compared, policy wants {self.terms.least_documents}"
        for kind, count in counts.items():
            most = self.terms.most.get(kind, 0)
            if count > most:
                yield f"{kind}: {count}, policy allows {most}"
        for role in roles:
            if role.residual_minor:
                yield f"{role.role}: {role.residual_minor} {role.currency} in minor units that no difference explains"


# --- Entries ----------------------------------------------------------------------------------------------------------


def _holding(facts: Iterable[Event]) -> list[Any]:
    """Of each posting the version that holds."""
    held: dict[tuple[str, str, str], Any] = {}
    for event in sorted(once(list(facts)), key=lambda each: (each.time, each.id)):
        posting: Any = event
        if posting.type in POSTINGS:
            name = (posting.data.ledger, posting.type, posting.data.document_id)
            known = held.get(name)
            if known is None or (posting.data.version or 0) >= (known.data.version or 0):
                held[name] = posting
    return list(held.values())


def _entry(posting: Any) -> _Entry:
    data = posting.data
    amounts, bases = Counter[str](), Counter[str]()
    accounts: dict[str, set[str]] = defaultdict(set)
    in_base = data.currency in (None, data.base_currency)
    for line in data.lines:
        base = line.amount_minor if line.base_minor is None and in_base else line.base_minor
        bases[line.role] += base or 0
        amounts[line.role] += line.amount_minor or 0
        if line.account is not None:
            accounts[line.role].add(line.account)
    customer = data.customer
    return _Entry(
        posting.id, data.number or data.document_id, day_of(posting), moment(posting), data.entity, data.currency,
        data.base_currency, customer and (customer.sold_to or customer.bill_to or customer.payer),
        dict(amounts) if all(line.amount_minor is not None for line in data.lines) else None, dict(bases),
        {role: frozenset(kept) for role, kept in accounts.items()},
        frozenset(line.tax_code for line in data.lines if line.tax_code is not None), data.reverses,
    )  # fmt: skip


def _standing(entries: Sequence[_Entry]) -> list[_Entry]:
    """Without those that cancel each other: one names the other, or both have opposite lines. In order of their days."""
    left = sorted(entries, key=_order)
    for entry in list(left):
        opposite = tuple(sorted((role, -base) for role, base in entry.bases.items()))
        undone = [other for other in left if other is not entry and entry in left and other.sums == opposite]
        named = [other for other in undone if entry.undoes == other.document] or undone
        if named and any(entry.bases.values()):
            left.remove(entry)
            left.remove(named[0])
    return left


def _order(entry: _Entry) -> tuple[date, datetime, str]:
    return (entry.day, entry.at, entry.fact_id)


def _pairs(
    old: list[_Entry], new: list[_Entry], accounts: dict[str, str]
) -> Iterator[tuple[_Entry | None, _Entry | None]]:
    """Equal ones first, then the most alike, then what is alone."""
    left, others = list(old), list(new)
    for one in old:
        equal = next((other for other in others if other.shape == _translated(one, accounts).shape), None)
        if equal is not None:
            left.remove(one)
            others.remove(equal)
            yield one, equal
    for one, other in (
        _alike(left, others) if max(len(left), len(others)) <= MOST_COMPARED else zip(left, others, strict=False)
    ):
        left = [entry for entry in left if entry is not one]
        others = [entry for entry in others if entry is not other]
        yield one, other
    yield from ((one, None) for one in left)
    yield from ((None, other) for other in others)


def _alike(old: Sequence[_Entry], new: Sequence[_Entry]) -> Iterator[tuple[_Entry, _Entry]]:
    ranked = sorted(
        ((-_likeness(one, other), abs(other.day - one.day), at, beside) for at, one in enumerate(old) for beside, other in enumerate(new)),
    )  # fmt: skip
    taken: tuple[set[int], set[int]] = (set(), set())
    for _, _, at, beside in ranked:
        if at not in taken[0] and beside not in taken[1]:
            taken[0].add(at)
            taken[1].add(beside)
            yield old[at], new[beside]


def _likeness(one: _Entry, other: _Entry) -> int:
    same = (
        one.bases == other.bases, one.amounts == other.amounts, one.day == other.day, one.document == other.document,
        one.customer == other.customer,
    )  # fmt: skip
    return sum(same)


def _translated(entry: _Entry, accounts: dict[str, str]) -> _Entry:
    """With the accounts that the new ledger has for the old one's."""
    kept = {role: frozenset(accounts.get(name, name) for name in names) for role, names in entry.accounts.items()}
    return entry._replace(accounts=kept)


def _alone(one: _Entry | None, other: _Entry | None, met: tuple[set[Any], set[Any]]) -> Difference | None:
    """Why an entry has none in the other ledger; None for a pair. `met` is kept up."""
    if one is not None and other is not None:
        met[0].add(one.sums)
        met[1].add(other.sums)
        return None
    entry, own = (one, met[0]) if one is not None else (other, met[1])
    assert entry is not None
    if entry.sums in own:
        return "duplicate_in_old" if one is not None else "duplicate_in_new"
    own.add(entry.sums)
    return "missing_in_new" if one is not None else "missing_in_old"


# --- Differences ------------------------------------------------------------------------------------------------------


Told = tuple[Difference, str, str]


def _differences(one: _Entry, other: _Entry, terms: Cutover) -> Iterator[Told]:
    """Of a pair: (kind, old, new), each root cause once."""
    of_money = _of_money(one, other, terms.rounding_minor)
    if of_money is not None:
        yield of_money
    if of_money is None or of_money[0] not in ("role", "tax"):
        yield from _of_accounts(_translated(one, terms.accounts), other)
    if one.tax_codes and other.tax_codes and one.tax_codes != other.tax_codes:
        yield "tax_code", ", ".join(sorted(one.tax_codes)), ", ".join(sorted(other.tax_codes))
    if one.day != other.day:
        is_same_month = (one.day.year, one.day.month) == (other.day.year, other.day.month)
        yield "date" if is_same_month else "period", one.day.isoformat(), other.day.isoformat()
    if one.customer is not None and other.customer is not None and one.customer != other.customer:
        yield "customer", one.customer, other.customer


def _of_money(one: _Entry, other: _Entry, rounding_minor: int) -> Told | None:
    """The one reason why amounts differ, where they do."""
    if one.base_currency != other.base_currency or (one.currency and other.currency and one.currency != other.currency):
        return "currency", one.currency or one.base_currency, other.currency or other.base_currency
    if one.amounts is not None and other.amounts is not None:
        differing = _differing(one.amounts, other.amounts)
        if differing:
            return _of_amounts(differing, one, other, rounding_minor)
    differing = _differing(one.bases, other.bases)
    if not differing:
        return None
    if one.amounts is None or other.amounts is None:
        return _of_amounts(differing, one, other, rounding_minor)
    is_rounding = max(map(abs, differing.values())) <= rounding_minor
    return "rounding" if is_rounding else "base_amount", _shown(one), _shown(other)


def _differing(old: dict[str, int], new: dict[str, int]) -> dict[str, int]:
    by_role = {role: new.get(role, 0) - old.get(role, 0) for role in sorted({*old, *new})}
    return {role: moved for role, moved in by_role.items() if moved}


def _of_amounts(differing: dict[str, int], one: _Entry, other: _Entry, rounding_minor: int) -> Told:
    sides = _shown(one), _shown(other)
    if max(map(abs, differing.values())) <= rounding_minor:
        return "rounding", *sides
    total, tax = _total(other) - _total(one), differing.get("tax", 0)
    if abs(tax) > rounding_minor and sum(differing.get(role, 0) for role in _CONTROL) in (0, -tax):
        return "tax", *sides
    is_moved = not total or sorted(_sums(one).values()) == sorted(_sums(other).values())
    return "role" if is_moved else "amount", *sides


def _sums(entry: _Entry) -> dict[str, int]:
    return entry.bases if entry.amounts is None else entry.amounts


def _total(entry: _Entry) -> int:
    """The total on the control account, else what is debited."""
    sums = _sums(entry)
    on_control = [sums[role] for role in _CONTROL if role in sums]
    return sum(on_control) if on_control else sum(amount for amount in sums.values() if amount > 0)


def _of_accounts(one: _Entry, other: _Entry) -> Iterator[Told]:
    for role in sorted(one.accounts.keys() & other.accounts.keys()):
        if one.accounts[role] != other.accounts[role]:
            yield "account", ", ".join(sorted(one.accounts[role])), ", ".join(sorted(other.accounts[role]))


def _control(entry: _Entry | None) -> int:
    """The total in base currency."""
    return 0 if entry is None else _total(entry._replace(amounts=None))


def _shown(entry: _Entry | None) -> str:
    if entry is None:
        return ""
    amounts, currency = (entry.bases, entry.base_currency) if entry.amounts is None else (entry.amounts, entry.currency)
    told = ", ".join(
        f"{role} {to_major(amount, currency or entry.base_currency):,}" for role, amount in sorted(amounts.items())
    )
    base = (
        ""
        if entry.amounts is None or currency in (None, entry.base_currency)
        else f" = {to_major(_control(entry), entry.base_currency):,} {entry.base_currency}"
    )
    return f"{entry.day}: {told} {currency or entry.base_currency}{base}"


# --- Text -------------------------------------------------------------------------------------------------------------


def text_lines(scope: Scope, outcome: Outcome, examples: dict[Difference, list[Found]]) -> Iterator[str]:
    """For people: the verdict, the differences by kind with examples, and the roles of both ledgers."""
    verdict = "READY for the cut-over" if outcome.is_ready else "NOT READY for the cut-over"
    yield f"{scope.old} and {scope.new}: {verdict}"
    for reason in outcome.reasons:
        yield f"  {reason}"
    waiting = f", {outcome.waiting} waited for" if outcome.waiting else ""
    yield f"{outcome.documents} entries compared, {outcome.agreeing} agree{waiting}"
    for kind, count in outcome.counts.items():
        yield f"{kind.replace('_', ' ')}: {count}"
        for found in examples.get(kind, ()):
            yield f"  {found.document} ({found.document_type}, {found.case_key}): {found.old or 'nothing'} -> {found.new or 'nothing'}"
    for role in outcome.roles:
        amounts = (role.old_minor, role.new_minor, role.explained_minor, role.residual_minor)
        old, new, explained, residual = (f"{to_major(amount, role.currency):,}" for amount in amounts)
        yield f"{role.role}: {scope.old} {old}, {scope.new} {new} {role.currency}; differences explain {explained}, residual {residual}"


def as_record(scope: Scope, outcome: Outcome) -> dict[str, Any]:
    period = scope.period.name if scope.period else None
    roles = [role._asdict() | {"residual_minor": role.residual_minor} for role in outcome.roles]
    asked = {"old": scope.old, "new": scope.new, "entity": scope.entity, "period": period}
    return asked | {"ready": outcome.is_ready} | outcome._asdict() | {"roles": roles}
