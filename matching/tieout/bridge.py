"""The bridge from documents to ledger to what the ledger reports: every difference a line with its documents.

- `Bridge.add` takes one case after the other, in any order; `result` says how each balance moved on both sides and which
  lines lead from one to the other. For each balance: documents + lines = ledger, to the last minor unit, because each
  line is the difference that its documents make; and ledger + lines = reported, or the rest is the residual.
- Both sides meet at an entry's home, what is billed apart from what settles it. An application that names no payment meets
  the payment posting of the same amount, on the same day or else the nearest: that cancels equal amounts in a sum, and
  claims nothing about which payment paid which invoice.
- What a signed close did not know is a post-close line: entries for days up to the period's end, known after it.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import combinations
from typing import Any, Literal, NamedTuple

from canonical import money
from canonical.events import Event
from matching.documents import moment
from matching.policy import Policy
from matching.tieout.basis import ALWAYS_KEPT, SIGNS, Basis, Kind, Position, Side
from matching.tieout.entries import POSTINGS, Books, Entry, base_of, booked, day_of, entries, once, rated, rates

LineClass = Literal[
    "not_posted", "other_period", "no_document", "not_reversed", "amount", "rounding", "duplicate", "applied_not_posted",
    "posted_not_applied", "manual", "revaluation", "other_lines", "booked_after_report", "restated",
]  # fmt: skip
State = Literal["tied_out", "explained", "incomplete"]

BEHIND_LEDGER = frozenset(("other_lines", "booked_after_report"))  # lead from the ledger to what it reports
MOST_PARTS = 3  # of one application in several payments
MOST_COMBINED = 200  # open payments; beyond it no combinations are tried
_NEVER = datetime.max


class Line(NamedTuple):
    """A named difference, in the ledger's currency: what the right side has more than the left."""

    name: LineClass
    position: Position
    currency: str
    amount_minor: int
    documents: tuple[str, ...]
    cases: tuple[str, ...]
    facts: tuple[str, ...]
    day: date
    reason: str


class PostClose(NamedTuple):
    """What came into the period, or into one before it, after its close was signed."""

    position: Position
    currency: str
    ledger_minor: int
    documents_minor: int
    documents: tuple[str, ...]
    case_key: str
    day: date
    known_at: datetime


class Row(NamedTuple):
    """`opening`, a kind of movement, or `closing`. None where one side holds no amounts in that currency."""

    kind: Kind | Literal["opening", "closing"]
    documents_minor: int | None
    ledger_minor: int | None
    documents_base_minor: int
    ledger_base_minor: int


class Section(NamedTuple):
    currency: str
    rows: tuple[Row, ...]


class Account(NamedTuple):
    """Debit-positive, as ledgers report. `reported_minor` None: no balance reported as of the period's end."""

    account: str
    currency: str
    ledger_minor: int
    reported_minor: int | None


class Balance(NamedTuple):
    """One balance: natural sign, base currency but for the sections' own amounts. `is_kept`: the ledger has such an account."""

    position: Position
    is_kept: bool
    state: State
    opening_minor: int
    documents_minor: int
    ledger_minor: int
    reported_minor: int | None
    residual_minor: int
    sections: tuple[Section, ...]
    accounts: tuple[Account, ...]
    lines: tuple[Line, ...]
    post_close: tuple[PostClose, ...]
    missing: tuple[str, ...]


class TieOut(NamedTuple):
    """`not_kept`: balances that no line of this ledger has ever moved; it keeps no such account, and nothing is compared."""

    basis: Basis
    base_currency: str
    state: State
    balances: tuple[Balance, ...]
    not_kept: tuple[Position, ...]
    missing: tuple[str, ...] = ()


class Home(NamedTuple):
    """Where both sides meet."""

    position: Position
    group: str
    key: str


class _Reported(NamedTuple):
    account: str
    currency: str
    balance_minor: int
    at: datetime


class Bridge:
    """`reports`: the balances that the ledger reported, whatever their period; what does not belong is left out."""

    def __init__(self, basis: Basis, base_currency: str, policy: Policy, reports: Sequence[Event] = ()) -> None:
        self.basis, self.base_currency, self._policy = basis, base_currency, policy
        self._books = Books(basis.entity, basis.ledger, base_currency)
        self._reports = _reports(basis, reports)
        self._open: dict[Home, list[Entry]] = defaultdict(list)
        self._balances = {position: _Balance(position, basis, base_currency) for position in SIGNS}
        self._accounts = _Accounts(basis, base_currency, self._reports)
        self._rates: dict[str, Any] = {}  # invoices in other currencies, by case

    def add(self, key: str, facts: Iterable[Event]) -> None:
        """One case, all its facts at once."""
        told = list(
            once([event for event in facts if event.data.entity == self.basis.entity and self._takes_part(event)])
        )
        if not told:
            return
        parts = key.split(":", 3)
        system = parts[2] if len(parts) == 4 else ""
        made = entries(key, told, self._books, not self._policy.terms.expect[system].application)
        self._accounts.add(told)
        invoice = rates(told, self._books)
        if invoice is not None:
            self._rates[key] = invoice
        homes: dict[Home, list[Entry]] = defaultdict(list)
        for entry in made:
            homes[Home(entry.position, entry.group, entry.home)].append(entry)
        for home, found in homes.items():
            if home.key == key and _is_even(found) and home not in self._open:
                self._balances[home.position].take(found)  # agrees at any moment: nothing more to compare
            else:
                self._open[home] += found

    def _takes_part(self, event: Event) -> bool:
        """Not what came later. A later posting may still say since when what it books was known."""
        return event.type in POSTINGS or self.basis.knows(moment(event))

    def result(self, missing: tuple[str, ...] = ()) -> TieOut:
        """`missing`: what is known not to be among the facts."""
        for found in self._met():
            self._balances[found[0].position].take(found)
        balances = tuple(self._balances[position].result(self._accounts) for position in SIGNS)
        kept = tuple(balance for balance in balances if balance.is_kept)
        states = {balance.state for balance in kept} | ({"incomplete"} if missing else set())
        state: State = "incomplete" if "incomplete" in states else "explained" if "explained" in states else "tied_out"
        not_kept = tuple(balance.position for balance in balances if not balance.is_kept)
        return TieOut(self.basis, self.base_currency, state, kept, not_kept, missing)

    def _met(self) -> list[list[Entry]]:
        """What is compared with what, by what was known alone: a past close must not depend on what came later.

        Only an application that does not say when it was recorded learns that from the entry which books it, whenever that came.
        """
        homes = {home: [self._at_its_rate(entry) for entry in kept] for home, kept in self._open.items()}
        known: dict[Home, list[Entry]] = defaultdict(list)
        for entry in (entry for found in _paired(homes) for entry in found):
            if self.basis.knows(entry.known_at):
                known[Home(entry.position, entry.group, entry.home)].append(entry)
        return _paired(known)

    def _at_its_rate(self, entry: Entry) -> Entry:
        invoice = self._rates.get(entry.rate_of) if entry.rate_of else None
        return entry if invoice is None else rated(entry, invoice, self._books)


def _is_even(found: Sequence[Entry]) -> bool:
    """Both sides book the same on the same days, and knew it at the same time, so that no moment tells them apart."""
    rest: dict[tuple[date, datetime], int] = defaultdict(int)
    for entry in found:
        if entry.base_minor is None or entry.group == "other":
            return False
        rest[entry.day, entry.known_at] += entry.base_minor * (1 if entry.side == "ledger" else -1)
    return not any(rest.values())


# --- Where two homes are one ------------------------------------------------------------------------------------------


class _Unit(NamedTuple):
    """A home whose sides do not meet: what it lacks (ledger - documents), over all days."""

    home: Home
    amount_minor: int
    day: date


def _paired(homes: dict[Home, list[Entry]]) -> list[list[Entry]]:
    """The entries by what they are compared with: homes, those of one settlement brought together."""
    told, booked = defaultdict[Position, list[_Unit]](list), defaultdict[Position, list[_Unit]](list)
    for home, found in homes.items():
        lacking = sum((e.base_minor or 0) * (1 if e.side == "ledger" else -1) for e in found)
        if home.group == "settlement" and lacking:
            sides = {entry.side for entry in found}
            unit = _Unit(home, lacking, max(entry.day for entry in found))
            if sides == {"documents"}:
                told[home.position].append(unit)
            elif sides == {"ledger"}:
                booked[home.position].append(unit)
    partner: dict[Home, Home] = {}
    for position, units in told.items():
        for unit, others in _meetings(sorted(units, key=_order), sorted(booked[position], key=_order)):
            partner |= {other.home: unit.home for other in others}
    met: dict[Home, list[Entry]] = defaultdict(list)
    for home in sorted(homes):
        met[partner.get(home, home)] += homes[home]
    return [_known_together(found) for found in met.values()]


def _order(unit: _Unit) -> tuple[date, int, Home]:
    return (unit.day, unit.amount_minor, unit.home)


def _meetings(told: list[_Unit], booked: list[_Unit]) -> list[tuple[_Unit, list[_Unit]]]:
    """Applications with the postings of their amount: of their day, then of the nearest, then several together."""
    met: list[tuple[_Unit, list[_Unit]]] = []
    by_amount: dict[int, list[_Unit]] = defaultdict(list)
    for other in booked:
        by_amount[other.amount_minor].append(other)
    for is_same_day in (True, False):
        for unit in list(told):
            same = by_amount[-unit.amount_minor]
            near = min(same, key=lambda other: (abs(other.day - unit.day), other), default=None)
            if near is not None and (near.day == unit.day or not is_same_day):
                same.remove(near)
                told.remove(unit)
                met.append((unit, [near]))
    return met + _combined(told, [other for same in by_amount.values() for other in same])


def _combined(told: list[_Unit], rest: list[_Unit]) -> list[tuple[_Unit, list[_Unit]]]:
    met = []
    for unit in told:
        earlier = [other for other in rest if other.day <= unit.day and other.amount_minor * unit.amount_minor < 0]
        if len(earlier) > MOST_COMBINED:
            continue
        parts = [
            chosen
            for size in range(2, MOST_PARTS + 1)
            for chosen in combinations(sorted(earlier, key=_order, reverse=True), size)
            if sum(other.amount_minor for other in chosen) == -unit.amount_minor
        ]
        if len(parts) == 1:
            met.append((unit, list(parts[0])))
            rest = [other for other in rest if other not in parts[0]]
    return met


def _known_together(found: list[Entry]) -> list[Entry]:
    """An application that does not say when it was recorded, in the system that books it too: known when it was booked."""
    booked = {
        entry.source: entry.known_at for entry in sorted(_of("ledger", found), key=lambda e: e.known_at, reverse=True)
    }
    return [
        entry._replace(known_at=max(entry.known_at, booked[entry.source]))
        if entry.side == "documents" and not entry.is_stated and entry.source in booked
        else entry
        for entry in found
    ]  # fmt: skip


def _of(side: Side, found: Iterable[Entry]) -> list[Entry]:
    return [entry for entry in found if entry.side == side]


# --- One balance ------------------------------------------------------------------------------------------------------


def _in_order(entry: Entry) -> tuple[Any, ...]:
    return (entry.side, entry.day, entry.document, entry.fact_id, entry.kind, entry.base_minor or 0)


class _Sum:
    """Of one side and kind: before the period and in it, in both currencies."""

    __slots__ = ("amount_minor", "base_minor", "is_known")

    def __init__(self) -> None:
        self.amount_minor = self.base_minor = 0
        self.is_known = True

    def add(self, entry: Entry, amount_minor: int | None) -> None:
        self.base_minor += entry.base_minor or 0
        self.amount_minor += amount_minor or 0
        self.is_known = self.is_known and amount_minor is not None


class _Balance:
    """Sums and lines of one balance, while they are collected."""

    def __init__(self, position: Position, basis: Basis, base_currency: str) -> None:
        self.position, self.basis, self.base_currency = position, basis, base_currency
        self.sums: dict[tuple[str, str, Side], _Sum] = defaultdict(_Sum)  # by currency, kind (opening), side
        self.lines: list[Line] = []
        self.sides: dict[str, set[Side]] = defaultdict(set)  # that ever told anything, by what is compared
        self.alone: dict[tuple[str, str, LineClass], list[Line]] = defaultdict(list)
        self.rounding: dict[str, list[tuple[Entry, int]]] = defaultdict(list)
        self.post_close: list[PostClose] = []
        self.missing: list[str] = []
        self.is_booked = False

    def take(self, found: Sequence[Entry]) -> None:
        known = sorted((entry for entry in found if self.basis.knows(entry.known_at)), key=_in_order)
        if not known:
            return
        currency = next((e.currency for e in known if e.side == "documents" and e.currency), None)
        currency = currency or next((e.currency for e in known if e.currency), None) or self.base_currency
        for entry in known:
            self.is_booked = self.is_booked or entry.side == "ledger"
            self.sides[entry.group].add(entry.side)
            if entry.day <= self.basis.period.end:
                kind = "opening" if entry.day < self.basis.period.start else entry.kind
                own = entry.currency or currency if entry.side == "documents" else currency
                amount_minor = entry.base_minor if own == self.base_currency else entry.amount_minor
                self.sums[own, kind, entry.side].add(entry, amount_minor)
                if entry.base_minor is None:
                    self._not_known(entry)
        self._compare(known, currency)
        self._after_close(known, currency)

    def _not_known(self, entry: Entry) -> None:
        what = "no rate turns" if entry.side == "documents" else "no base amount beside"
        amount = money.text(entry.amount_minor or 0, entry.currency or self.base_currency)
        self.missing.append(f"{entry.document}: {what} {amount} into {self.base_currency}")

    def _compare(self, known: Sequence[Entry], currency: str) -> None:
        in_time = [entry for entry in known if entry.day <= self.basis.period.end]
        lacking = _lacking(in_time)
        if known[0].group == "other":
            for entry in in_time:
                self._name("revaluation" if entry.kind == "fx" else "manual" if entry.kind == "manual" else "no_document", [entry], currency, entry.base_minor or 0)  # fmt: skip
        elif lacking:
            tolerance = sum((abs(e.rate_minor) for e in in_time if e.side == "documents"), Decimal(0))
            if _of("ledger", in_time) and _of("documents", in_time) and abs(lacking) <= tolerance:
                self.rounding[currency].append((in_time[0], lacking))
            else:
                self._name(_cause(known, in_time, lacking), in_time, currency, lacking, known)

    def _name(self, name: LineClass, found: Sequence[Entry], currency: str, amount_minor: int, known: Sequence[Entry] = ()) -> None:  # fmt: skip
        if not amount_minor:
            return
        about = list(known) or list(found)
        line = Line(
            name, self.position, currency, amount_minor, _names(about), _each(e.case_key for e in about),
            _each(e.fact_id for e in about), max(entry.day for entry in found), _reason(name, about, self.basis),
        )  # fmt: skip
        if len({entry.side for entry in about}) == 1 and name in _ONE_SIDED:
            self.alone[about[0].group, currency, name].append(line)
        else:
            self.lines.append(line)

    def _after_close(self, known: Sequence[Entry], currency: str) -> None:
        signed_at = self.basis.signed_at
        late = [e for e in known if signed_at is not None and e.known_at > signed_at and e.day <= self.basis.period.end]
        for case_key in _each(entry.case_key for entry in late):
            of_case = [entry for entry in late if entry.case_key == case_key]
            ledger, documents = (sum(e.base_minor or 0 for e in _of(side, of_case)) for side in ("ledger", "documents"))
            if ledger or documents:
                self.post_close.append(
                    PostClose(self.position, currency, ledger, documents, _names(of_case), case_key,
                              max(e.day for e in of_case), max(e.known_at for e in of_case))
                )  # fmt: skip

    # -- What comes of it

    def result(self, accounts: "_Accounts") -> Balance:
        is_kept = self.is_booked or self.position in ALWAYS_KEPT
        for currency, found in sorted(self.rounding.items()):
            self._round(currency, found)
        for (group, currency, name), lines in sorted(self.alone.items()):
            self.lines += lines if len(self.sides[group]) > 1 or len(lines) == 1 else [_together(name, currency, lines)]
        named = accounts.of(self.position) if self.is_booked else []
        compared = [self._account(account, accounts) for account in named]
        sections = tuple(self._section(currency) for currency in sorted({key[0] for key in self.sums}))
        documents, ledger = self._total("documents"), self._total("ledger")
        reported = [account.reported_minor for account in compared]
        residual = sum(self._residual(account, accounts) for account in compared)
        if residual:
            self.missing.append(
                f"{money.text(residual, self.base_currency)} that the ledger reports and no posting carries"
            )
        state: State = "incomplete" if self.missing else "explained" if self.lines else "tied_out"
        opening = sum(total.base_minor for (_, kind, side), total in self.sums.items() if kind == "opening" and side == "ledger")  # fmt: skip
        sign = SIGNS[self.position]
        return Balance(
            self.position, is_kept, state, opening, documents, ledger,
            None if not reported or None in reported else sign * sum(value or 0 for value in reported),
            residual, sections, tuple(compared), tuple(sorted(self.lines, key=_by_size)),
            tuple(sorted(self.post_close, key=lambda late: (late.day, late.case_key))), tuple(dict.fromkeys(self.missing)),
        )  # fmt: skip

    def _round(self, currency: str, found: list[tuple[Entry, int]]) -> None:
        about = [entry for entry, _ in found]
        total = sum(lacking for _, lacking in found)
        reason = f"{len(found)} documents convert to within one unit and the printed rate of what is booked"
        if any(lacking for _, lacking in found):
            self.lines.append(
                Line("rounding", self.position, currency, total, _names(about), _each(e.case_key for e in about),
                     _each(e.fact_id for e in about), max(e.day for e in about), reason)
            )  # fmt: skip

    def _total(self, side: Side) -> int:
        return sum(total.base_minor for (_, _, of), total in self.sums.items() if of == side)

    def _section(self, currency: str) -> Section:
        kinds = [kind for of, kind, _ in self.sums if of == currency and kind != "opening"]
        ordered = [kind for kind in _KINDS if kind in kinds]
        rows = [self._row(currency, "opening", ["opening"])]
        rows += [self._row(currency, kind, [kind]) for kind in ordered]
        rows.append(self._row(currency, "closing", ["opening", *ordered]))
        return Section(currency, tuple(rows))

    def _row(self, currency: str, name: Any, kinds: Sequence[str]) -> Row:
        both: tuple[Side, ...] = ("documents", "ledger")
        sides = {
            side: [self.sums[key] for kind in kinds if (key := (currency, kind, side)) in self.sums] for side in both
        }
        amounts = {
            side: sum(one.amount_minor for one in sums) if all(one.is_known for one in sums) else None
            for side, sums in sides.items()
        }
        bases = {side: sum(one.base_minor for one in sums) for side, sums in sides.items()}
        return Row(name, amounts["documents"], amounts["ledger"], bases["documents"], bases["ledger"])

    def _account(self, account: str, accounts: "_Accounts") -> Account:
        """One account of this balance, its lines of other kinds and what was booked after its report named."""
        total = accounts.totals[account]
        sign, period = SIGNS[self.position], self.basis.period
        other = accounts.others(account, self.position)
        if other:
            reason = f"lines on account {account} that are no {self.position} by their role"
            self.lines.append(Line("other_lines", self.position, self.base_currency, sign * other, (account,), (), (), period.end, reason))  # fmt: skip
        report = accounts.reports.get(account)
        if report is None:
            of = accounts.elsewhere.get(account)
            told = f"its balance as of {period.end} only in {of}" if of else f"no balance as of {period.end}"
            self.missing.append(f"account {account}: the ledger reported {told}")
            return Account(account, self.base_currency, total, None)
        after = accounts.after[account]
        if after and report.balance_minor + after == total:
            reason = f"booked on account {account} after its balance was reported"
            late = accounts.late[account]
            self.lines.append(
                Line("booked_after_report", self.position, self.base_currency, -sign * after, _each(late.values()),
                     _each(late), (), period.end, reason)
            )  # fmt: skip
        return Account(account, self.base_currency, total, report.balance_minor)

    def _residual(self, account: Account, accounts: "_Accounts") -> int:
        if account.reported_minor is None:
            return 0
        rest = account.reported_minor - account.ledger_minor
        return 0 if rest == -accounts.after[account.account] else SIGNS[self.position] * rest


_KINDS: tuple[Kind, ...] = (
    "invoices", "voids", "credits", "schedules", "received", "settled", "applications", "write_offs", "recognised", "refunds",
    "fees", "payouts", "fx", "manual", "other",
)  # fmt: skip


def _lacking(found: Sequence[Entry]) -> int:
    return sum((entry.base_minor or 0) * (1 if entry.side == "ledger" else -1) for entry in found)


def _cause(known: Sequence[Entry], in_time: Sequence[Entry], lacking: int) -> LineClass:
    """Why both sides differ at the period's end."""
    documents, ledger = _of("documents", in_time), _of("ledger", in_time)
    everything = _lacking(known)
    tolerance = sum((abs(entry.rate_minor) for entry in known if entry.side == "documents"), Decimal(0))
    if len(known) > len(in_time) and abs(everything) <= tolerance:
        return "other_period"
    if known[0].group == "settlement":
        return "applied_not_posted" if documents and not ledger else "posted_not_applied" if not documents else "amount"
    told = sum(entry.base_minor or 0 for entry in documents)
    if not told:
        return "not_reversed" if documents else "no_document"
    if not sum(entry.base_minor or 0 for entry in ledger):
        return "not_posted"
    return "duplicate" if told and lacking % told == 0 and lacking // told >= 1 else "amount"


_ONE_SIDED = frozenset(("not_posted", "no_document", "applied_not_posted", "posted_not_applied"))


def _together(name: LineClass, currency: str, lines: Sequence[Line]) -> Line:
    """Where one side never tells anything of a kind, it does not keep it: one line, not one a document."""
    lacking = (
        "the ledger books none of these"
        if name in ("not_posted", "applied_not_posted")
        else "documents tell none of these"
    )
    return Line(
        name, lines[0].position, currency, sum(line.amount_minor for line in lines), _each(d for line in lines for d in line.documents),
        _each(case for line in lines for case in line.cases), _each(fact for line in lines for fact in line.facts),
        max(line.day for line in lines), f"{len(lines)} that {_REASONS[name].removeprefix('documents of the period that ')}; {lacking}",
    )  # fmt: skip


_REASONS = {
    "not_posted": "documents of the period that the ledger has not booked",
    "no_document": "booked without a document",
    "not_reversed": "no longer stands, and is still booked",
    "amount": "booked with another amount than the document's",
    "duplicate": "booked more than once",
    "applied_not_posted": "applied to the invoice, with no payment of that amount in the ledger",
    "posted_not_applied": "booked as a payment, with no application of that amount",
    "manual": "a manual journal",
    "revaluation": "revaluation at the period's rate; documents keep theirs",
}


def _reason(name: LineClass, about: Sequence[Entry], basis: Basis) -> str:
    if name != "other_period":
        return _REASONS[name]
    end = basis.period.end
    after = sorted({entry.day for entry in about if entry.day > end})
    side = "booked" if any(entry.side == "ledger" and entry.day > end for entry in about) else "dated"
    return f"{side} on {', '.join(day.isoformat() for day in after)}, after the period's end"


def _names(about: Iterable[Entry]) -> tuple[str, ...]:
    return _each(entry.document if entry.side == "documents" else f"posting {entry.document}" for entry in about)


def _each(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def _by_size(line: Line) -> tuple[int, str, tuple[str, ...]]:
    return (-abs(line.amount_minor), line.name, line.documents)


# --- Accounts and what is reported of them ----------------------------------------------------------------------------


def _reports(basis: Basis, reports: Sequence[Event]) -> dict[str, _Reported]:
    """The last balance reported of each account as of the period's end."""
    found: dict[str, _Reported] = {}
    for event in sorted(reports, key=lambda each: (moment(each), each.id)):
        data: Any = event.data
        is_ours = data.entity == basis.entity and data.ledger == basis.ledger and data.as_of == basis.period.end
        if is_ours and basis.knows(moment(event)):
            found[data.account] = _Reported(data.account, data.currency, data.balance_minor, moment(event))
    return found


class _Accounts:
    """Every line of the ledger by account, debit-positive in base currency, up to the period's end."""

    def __init__(self, basis: Basis, base_currency: str, reports: dict[str, _Reported]) -> None:
        self.basis, self.base_currency = basis, base_currency
        self.reports = {name: report for name, report in reports.items() if report.currency == base_currency}
        self.elsewhere = {name: report.currency for name, report in reports.items() if report.currency != base_currency}
        self.totals: dict[str, int] = defaultdict(int)
        self.roles: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self.after: dict[str, int] = defaultdict(int)  # booked after its balance was reported
        self.late: dict[str, dict[str, str]] = defaultdict(dict)

    def add(self, facts: Sequence[Any]) -> None:
        ours = [event for event in facts if event.type in POSTINGS and event.data.ledger == self.basis.ledger]
        for event_type in POSTINGS:
            for posting, because, times in booked([event for event in ours if event.type == event_type]):
                at = moment(because)
                if self.basis.knows(at) and day_of(posting) <= self.basis.period.end:
                    for line in posting.data.lines:
                        self._book(posting, line, at, times)

    def _book(self, posting: Any, line: Any, at: datetime, times: int) -> None:
        account = line.account or line.role
        base = times * (base_of(posting.data, line, self.base_currency) or 0)
        self.totals[account] += base
        self.roles[account][line.role] += base
        report = self.reports.get(account)
        if report is not None and at > report.at:
            self.after[account] += base
            self.late[account][posting.correlationid] = posting.data.number or posting.data.document_id

    def of(self, position: Position) -> list[str]:
        """The accounts of a balance: an account belongs to the one that most of its amount is of."""
        return sorted(
            account for account, roles in self.roles.items() if position in roles and self._main(account) == position
        )

    def _main(self, account: str) -> str:
        kept = {role: total for role, total in self.roles[account].items() if role in SIGNS}
        return min(kept, key=lambda role: (-abs(kept[role]), role))

    def others(self, account: str, position: Position) -> int:
        return self.totals[account] - self.roles[account][position]
