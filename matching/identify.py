"""Identification: which open items a receipt pays, where it does not say so by a key (rule E7). Pure.

`Book.identify(receipt) -> Match | Refusal`, by ordered rules, each of which gives exactly one answer, a near tie (refused,
with its candidates) or nothing, and then the next is asked:

| rule | what must agree |
|---|---|
| reference | the reference names one open item, whole; a system said so, or amount or customer agrees too |
| text | numbers of open items inside free text (`matching.references`), whose amounts agree, or their customer |
| application | the ledger says that the item was settled by this amount on this day, and does not say by what |
| split | two receipts of the customer, which together are the open amount of one item alone |
| customer_amount | the customer, and the open amount of one item alone |
| amount_date | no customer is known: the amount, inside the item's window, where chance could hardly have made it |
| combination | the customer, and several items: all, all issued, all due by that day; else the one subset that sums up |

What holds for all of them:
- Entity, direction and currency agree. A receipt in the ledger's currency pays a document in another one only where the
  ledger cleared exactly what it carried the document at: nothing is converted here.
- A payout is paid by a line of a bank alone, inside the days in which it may arrive.
- Known customers never differ. Nothing is taken that is taken: what is left of an item goes down with every match.
- A text that is written like a document's number and names no open item ends the search: the customer meant that one.
- Chance is counted: how many open items (or subsets) there are for each amount as round as this one, in parts per million.

`identify_all` decides a set of receipts in an order that does not depend on how they came: rule by rule, all receipts
against the same state; of receipts that want more of an item than is left none gets it, unless they name it.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import reduce
from hashlib import blake2b
from itertools import combinations
from math import comb, gcd
from typing import NamedTuple

import msgspec

from matching import references
from matching.policy import Identification
from matching.references import Name

MILLION = 1_000_000
MOST_PARTS = 1_000  # of one receipt: a record holds them all
SPLIT_AMONG = 12  # receipts of one customer that are looked at two by two
ROUNDS = 20  # of `identify_all`: two or three are enough but for chains made on purpose


class Item(msgspec.Struct, frozen=True):
    """A document that is open, or settled by a payment that nothing names; or a payout that has not arrived.

    Of a payout `issued_on` and `due_on` are the days between which it may arrive.
    `applied`: (day, amount) of each application without a payment; `base_open_minor` what the ledger carries all of it at.
    """

    key: str
    entity: str
    direction: str
    currency: str
    open_minor: int
    issued_on: date
    due_on: date
    number: str | None = None
    other_names: tuple[str, ...] = ()
    customers: tuple[str, ...] = ()
    applied: tuple[tuple[date, int], ...] = ()
    base_currency: str | None = None
    base_open_minor: int | None = None

    @property
    def is_payout(self) -> bool:
        return self.key.startswith("payout:")


class Receipt(msgspec.Struct, frozen=True):
    """Money that came in (or went out, by direction) for nothing that it names by a key.

    `named`: references of systems; `texts`: what a person or a bank wrote. `cleared_minor`: what the ledger took off the
    control account with it, in `base_currency`.
    """

    home: str
    payment_id: str
    entity: str
    direction: str
    currency: str
    amount_minor: int
    at: datetime
    on: date
    named: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    customers: tuple[str, ...] = ()
    base_currency: str | None = None
    cleared_minor: int | None = None
    is_bank_line: bool = False

    @property
    def ident(self) -> "Ident":
        return (self.home, self.payment_id)


Ident = tuple[str, str]  # (home, payment) of a receipt


class Part(NamedTuple):
    """What of the receipt is for the target, and what that settles there, in the target's currency."""

    target: str
    amount_minor: int
    settled_minor: int
    currency: str


class Match(NamedTuple):
    receipt: Receipt
    rule: str
    parts: tuple[Part, ...]
    compared: str
    digest: str


class Refusal(NamedTuple):
    """`candidates`: several for a near tie, none where nothing fits."""

    receipt: Receipt
    rule: str
    reason: str
    candidates: tuple[str, ...]
    digest: str

    @property
    def is_ambiguous(self) -> bool:
        return bool(self.candidates)


class _Found(NamedTuple):
    """What a rule says: the items it chose, or several among which it cannot choose."""

    items: Sequence[Item]
    compared: str
    is_tie: bool = False


class _Ended(NamedTuple):
    """No further rule is asked."""

    reason: str


Rule = Callable[["Book", Receipt], "_Found | _Ended | None"]


class Book:
    """The open items of one entity, and what has been taken of them."""

    def __init__(self, policy: Identification, items: Iterable[Item] = ()) -> None:
        self.policy = policy
        self._items: dict[str, Item] = {}
        self._taken: dict[str, int] = {}
        self._by_name: dict[Name, set[str]] = defaultdict(set)
        self._by_digits: dict[Name, set[str]] = defaultdict(set)
        self._by_customer: dict[str, set[str]] = defaultdict(set)
        self._by_amount: dict[tuple[str, str, int], set[str]] = defaultdict(set)
        self._by_base: dict[tuple[str, str, int], set[str]] = defaultdict(set)
        self._by_applied: dict[tuple[str, date], set[str]] = defaultdict(set)
        self._amounts: dict[tuple[str, str], list[int]] = {}  # in order; made when asked for
        self._prefixes: set[str] = set()
        self.longest_name = 1  # in runs
        self.halves: dict[Ident, list[Item]] = {}  # of receipts that wait together: what each pays with another one
        for item in items:
            self.put(item)

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: str) -> bool:
        return key in self._items

    def put(self, item: Item) -> None:
        """Adds the item, or what it has become."""
        self.drop(item.key)
        self._items[item.key] = item
        for index, entry in self._entries(item):
            index[entry].add(item.key)
        self._amounts.pop((item.direction, item.currency), None)
        for number in (item.number, *item.other_names):
            self.longest_name = max(self.longest_name, len(references.name_of(number)) if number else 1)
        if item.number and (prefix := references.prefix_of(item.number)):
            self._prefixes.add(prefix)

    def drop(self, key: str) -> None:
        item = self._items.pop(key, None)
        if item is None:
            return
        for index, entry in self._entries(item):
            index[entry].discard(key)
            if not index[entry]:
                del index[entry]
        self._amounts.pop((item.direction, item.currency), None)
        self._taken.pop(key, None)

    def take_anew(self, taken: Mapping[str, int]) -> None:
        """What is taken is this and nothing else; what the book does not hold is passed over."""
        for key in [*self._taken]:
            self.take_from(key, -self._taken[key])
        for key, amount_minor in taken.items():
            if key in self._items:
                self.take_from(key, amount_minor)

    def take(self, match: Match) -> None:
        for part in match.parts:
            self.take_from(part.target, part.settled_minor)

    def take_from(self, key: str, amount_minor: int) -> None:
        item = self._items[key]
        self._by_amount[self._amount_entry(item)].discard(key)
        self._taken[key] = self._taken.get(key, 0) + amount_minor
        if not self._taken[key]:
            del self._taken[key]
        self._by_amount[self._amount_entry(item)].add(key)

    def item(self, key: str) -> Item:
        return self._items[key]

    def left_minor(self, item: Item) -> int:
        return item.open_minor - self._taken.get(item.key, 0)

    def identify(self, receipt: Receipt) -> Match | Refusal:
        """One receipt, as things stand. Takes nothing: whoever keeps the match calls `take`."""
        for rule in self.policy.rules:
            answer = self.ask(rule, receipt)
            if answer is not None:
                return answer
        return _refused(receipt, "none", "no open item fits", ())

    def ask(self, rule: str, receipt: Receipt) -> Match | Refusal | None:
        found = RULES[rule](self, receipt)
        if found is None:
            return None
        if isinstance(found, _Ended):
            return _refused(receipt, rule, found.reason, ())
        if found.is_tie:
            return _refused(receipt, rule, f"{len(found.items)} open items fit alike: {found.compared}", found.items)
        return self._match(receipt, rule, found)

    def _match(self, receipt: Receipt, rule: str, found: _Found) -> Match:
        rest_minor, parts = receipt.amount_minor, []
        for item in sorted(found.items, key=lambda item: (item.due_on, item.key)):
            left_minor = self.left_minor(item)
            if item.currency != receipt.currency:
                parts.append(Part(item.key, rest_minor, left_minor, item.currency))
                break
            took_minor = min(rest_minor, left_minor)
            if took_minor:
                parts.append(Part(item.key, took_minor, took_minor, item.currency))
            rest_minor -= took_minor
        return Match(receipt, rule, tuple(parts), found.compared, _digest(found.items))

    # What the rules look up

    def named(self, name: Name, *, by_digits: bool = False) -> Iterator[Item]:
        return self._of((self._by_digits if by_digits else self._by_name).get(name, ()))

    def of_customer(self, receipt: Receipt) -> list[Item]:
        keys = {key for customer in receipt.customers for key in self._by_customer.get(customer, ())}
        return [item for item in self._of(keys) if self.may_pay(receipt, item)]

    def of_amount(self, receipt: Receipt) -> list[Item]:
        """Items that this amount settles exactly."""
        keys = set(self._by_amount.get((receipt.direction, receipt.currency, receipt.amount_minor), ()))
        if receipt.base_currency is not None and receipt.cleared_minor:
            keys |= self._by_base.get((receipt.direction, receipt.base_currency, receipt.cleared_minor), set())
        return [item for item in self._of(keys) if self.may_pay(receipt, item) and self.settles(receipt, item)]

    def applied_on(self, receipt: Receipt, day: date) -> list[Item]:
        return [item for item in self._of(self._by_applied.get((receipt.direction, day), ())) if self.may_pay(receipt, item)]  # fmt: skip

    def may_pay(self, receipt: Receipt, item: Item) -> bool:
        """Nothing known speaks against it."""
        if receipt.direction != item.direction or receipt.entity != item.entity or self.left_minor(item) <= 0:
            return False
        if receipt.currency != item.currency and receipt.base_currency != item.base_currency:
            return False
        if item.is_payout and not (receipt.is_bank_line and item.issued_on <= receipt.on <= item.due_on):
            return False
        return not (receipt.customers and item.customers) or agrees(receipt, item)

    def settles(self, receipt: Receipt, item: Item) -> bool:
        """The amount is exactly what is left: in the item's currency, else as the ledger carried it."""
        if receipt.currency == item.currency:
            return receipt.amount_minor == self.left_minor(item)
        return (
            receipt.cleared_minor == item.base_open_minor is not None
            and receipt.base_currency == item.base_currency
            and item.key not in self._taken
        )

    def pays(self, receipt: Receipt, amount_minor: int, item: Item) -> bool:
        """An application of `amount_minor` on the item is this receipt's amount."""
        if receipt.currency == item.currency:
            return receipt.amount_minor == amount_minor <= self.left_minor(item)
        return amount_minor == item.open_minor and self.settles(receipt, item)

    def odds(self, receipt: Receipt) -> int:
        """Parts per million: how many open items lie within a tenth of this amount, for each amount as round as it."""
        amounts, amount_minor = self._in_order(receipt.direction, receipt.currency), receipt.amount_minor
        band = max(1, amount_minor // 10)
        near = bisect_right(amounts, amount_minor + band) - bisect_left(amounts, amount_minor - band)
        return near * _roundness(amount_minor) * MILLION // (2 * band)

    def says_another(self, receipt: Receipt) -> bool:
        """Some text is written like a number of this book's documents and names none that is open."""
        said = [name for text in (*receipt.named, *receipt.texts) for name in references.looks_like(text, self._prefixes)]  # fmt: skip
        return any(not any(self.may_pay(receipt, item) for item in self.named(name)) for name in said)

    def _in_order(self, direction: str, currency: str) -> list[int]:
        known = self._amounts.get((direction, currency))
        if known is None:
            open_ = (i.open_minor for i in self._items.values() if (i.direction, i.currency) == (direction, currency))
            known = self._amounts[direction, currency] = sorted(open_)
        return known

    def _amount_entry(self, item: Item) -> tuple[str, str, int]:
        return (item.direction, item.currency, self.left_minor(item))

    def _of(self, keys: Iterable[str]) -> Iterator[Item]:
        return (self._items[key] for key in keys)

    def _entries(self, item: Item) -> Iterator[tuple[dict[object, set[str]], object]]:
        for number in {item.number, *item.other_names} - {None}:
            if name := references.name_of(str(number)):
                yield self._by_name, name  # type: ignore[misc]
        if item.number and (digits := references.digits_of(item.number)):
            yield self._by_digits, digits  # type: ignore[misc]
        for customer in item.customers:
            yield self._by_customer, customer  # type: ignore[misc]
        yield self._by_amount, self._amount_entry(item)  # type: ignore[misc]
        if item.base_currency is not None and item.base_open_minor:
            yield self._by_base, (item.direction, item.base_currency, item.base_open_minor)  # type: ignore[misc]
        for day, _ in item.applied:
            yield self._by_applied, (item.direction, day)  # type: ignore[misc]


def agrees(receipt: Receipt, item: Item) -> bool:
    return not set(receipt.customers).isdisjoint(item.customers)


# --- Rules ------------------------------------------------------------------------------------------------------------


def reference(book: Book, receipt: Receipt) -> _Found | _Ended | None:
    """The whole reference is an open item's number, id or other name."""
    said = [(text, True) for text in receipt.named] + [(text, False) for text in receipt.texts]
    for text, is_of_system in said:
        items = [item for item in book.named(references.name_of(text)) if book.may_pay(receipt, item)]
        proven = [item for item in items if is_of_system or _corroborated(book, receipt, item, text)]
        exact = [item for item in proven if book.settles(receipt, item)] or proven
        if len(exact) == 1 and _may_take_part(receipt, exact[0]):
            meant = [] if is_of_system else _others_meant(book, receipt, exact[0])
            said_beside = _beside(book, receipt, exact[0]) if not meant else "the amount of another one"
            return _Found([*exact, *meant], f"reference {text!r:.80} and {said_beside}", is_tie=bool(meant))
        if len(exact) > 1:
            return _Found(exact, f"reference {text!r:.80}", is_tie=True)
    return None


def text(book: Book, receipt: Receipt) -> _Found | _Ended | None:
    """Numbers of open items inside what was written."""
    found: dict[str, Item] = {}
    names_settled = False
    for said in (*receipt.named, *receipt.texts):
        for name in references.names_in(said, book.longest_name):
            for item in book.named(name):
                if book.may_pay(receipt, item):
                    found[item.key] = item
                names_settled |= item.direction == receipt.direction and book.left_minor(item) <= 0 and _is_strong(item)
            for item in book.named(name, by_digits=True):
                if book.may_pay(receipt, item) and book.settles(receipt, item):
                    found[item.key] = item
    if found:
        return _among_named(book, receipt, list(found.values()))
    if names_settled or book.says_another(receipt):
        return _Ended("the text names a document that is not open")
    return None


def _among_named(book: Book, receipt: Receipt, items: list[Item]) -> _Found | _Ended | None:
    strong = [item for item in items if _is_strong(item)]
    own = [item for item in strong if item.currency == receipt.currency]
    if len(own) > 1 and sum(map(book.left_minor, own)) == receipt.amount_minor and not book.says_another(receipt):
        return _Found(own, f"{len(own)} numbers in the text, and their sum")
    exact = [item for item in items if book.settles(receipt, item)]
    if len(exact) == 1:
        return _Found(exact, f"{exact[0].number} in the text and the amount")
    if len(exact) > 1:
        return _Found(exact, "numbers in the text, each with this amount", is_tie=True)
    known = [item for item in own if agrees(receipt, item)]
    if book.says_another(receipt):
        return _Ended("the text also names a document that is not open")
    if len(known) == 1:
        meant = _others_meant(book, receipt, known[0])
        beside = "the amount of another one" if meant else "the customer"
        return _Found([*known, *meant], f"{known[0].number} in the text and {beside}", is_tie=bool(meant))
    if len(known) > 1 and receipt.amount_minor > sum(map(book.left_minor, known)):
        return _Found(known, f"{len(known)} numbers in the text, and the customer")
    if len(known) > 1:
        return _Found(known, "numbers in the text, and no saying how the amount is split", is_tie=True)
    return _Ended("neither amount nor customer agrees with the number in the text") if strong else None


def application(book: Book, receipt: Receipt) -> _Found | _Ended | None:
    """The ledger settled the item by this amount on this day, by a payment that it does not name."""
    items = [
        item
        for item in book.applied_on(receipt, receipt.on)
        if any(day == receipt.on and book.pays(receipt, minor, item) for day, minor in item.applied)
    ]
    return _one(items, f"settled in the ledger on {receipt.on}, by this amount")


def split(book: Book, receipt: Receipt) -> _Found | _Ended | None:
    """With another receipt it is what one item of the customer has open. An item with its own amount is as good."""
    items = book.halves.get(receipt.ident, [])
    if not items:
        return None
    alike = [item for item in book.of_amount(receipt) if agrees(receipt, item)]
    return _one([*items, *alike], "the customer, and the amount together with another receipt")


def customer_amount(book: Book, receipt: Receipt) -> _Found | _Ended | None:
    if not receipt.customers:
        return None
    items = [item for item in book.of_amount(receipt) if agrees(receipt, item) and _is_in_time(book, receipt, item)]
    return _one(items, "the customer and the amount")


def amount_date(book: Book, receipt: Receipt) -> _Found | _Ended | None:
    """Without a customer. A small or round amount proves nothing, nor does any in a book with very many items."""
    if receipt.customers:
        return None
    items = [
        item
        for item in book.of_amount(receipt)
        if item.issued_on <= receipt.on
        and (receipt.on - item.due_on).days <= book.policy.window_days
        and _is_in_time(book, receipt, item)
    ]
    if len(items) == 1 and book.odds(receipt) > book.policy.chance_per_million:
        return _Ended("one open item has this amount, which is too common to prove anything")
    return _one(items, "the amount, inside the item's window")


def combination(book: Book, receipt: Receipt) -> _Found | _Ended | None:
    """Several items of the customer: those an accountant would take together first, then the one subset that sums up."""
    items = sorted((i for i in book.of_customer(receipt) if i.currency == receipt.currency and _is_in_time(book, receipt, i)), key=lambda i: i.key)  # fmt: skip
    if len(items) < 2 or sum(map(book.left_minor, items)) < receipt.amount_minor:
        return None
    for what, group in _groups(receipt, items):
        if 1 < len(group) <= MOST_PARTS and sum(map(book.left_minor, group)) == receipt.amount_minor:
            alike = _alike(book, group, items)
            return _Found(alike or group, f"the customer, and the sum of {what}", is_tie=bool(alike))
    return _subset(book, receipt, [item for item in items if book.left_minor(item) < receipt.amount_minor])


def _alike(book: Book, group: list[Item], items: list[Item]) -> list[Item]:
    """The group with the items outside it that could stand in for one inside; none where there are no such."""
    inside = {item.key for item in group}
    amounts = {book.left_minor(item) for item in group}
    outside = [item for item in items if item.key not in inside and book.left_minor(item) in amounts]
    return [*group, *outside] if outside else []


def _groups(receipt: Receipt, items: list[Item]) -> Iterator[tuple[str, list[Item]]]:
    yield "all that is open", items
    yield "all that was issued by then", [item for item in items if item.issued_on <= receipt.on]
    yield "all that was due by then", [item for item in items if item.due_on <= receipt.on]


def _subset(book: Book, receipt: Receipt, items: list[Item]) -> _Found | _Ended | None:
    policy = book.policy
    if not 2 <= len(items) <= policy.combination_items:
        return None
    amounts = [book.left_minor(item) for item in items]
    size = min(policy.combination_size, len(items))
    tried = sum(comb(len(items), count) for count in range(2, size + 1))
    spread = sum(sorted(amounts)[-size:]) // reduce(gcd, amounts)
    solutions = subsets(amounts, receipt.amount_minor, size, policy.combination_steps)
    if solutions is None:
        return _Ended(f"too many combinations to rule out another one (limit {policy.combination_steps} steps)")
    if len(solutions) > 1:
        both = sorted({index for solution in solutions for index in solution})
        return _Found([items[index] for index in both], "the customer, and more than one sum of items", is_tie=True)
    if solutions and tried * MILLION > spread * policy.chance_per_million:
        return _Ended(f"one of {tried} combinations has this sum, which may be chance")
    return _Found([items[i] for i in solutions[0]], f"the customer, and one sum of {tried}") if solutions else None


def subsets(amounts: Sequence[int], total: int, size: int, steps: int) -> list[tuple[int, ...]] | None:
    """Up to two subsets of two to `size` positive amounts that sum to `total`; None where `steps` did not suffice."""
    order = sorted(range(len(amounts)), key=lambda index: -amounts[index])
    rest = [0] * (len(order) + 1)
    for place in range(len(order) - 1, -1, -1):
        rest[place] = rest[place + 1] + amounts[order[place]]
    found: list[tuple[int, ...]] = []
    stack: list[tuple[int, int, tuple[int, ...]]] = [(0, total, ())]
    while stack and len(found) < 2:
        steps -= 1
        if steps < 0:
            return None
        place, missing, chosen = stack.pop()
        if missing == 0 and len(chosen) > 1:
            found.append(chosen)
        if missing <= 0 or place == len(order) or len(chosen) == size or rest[place] < missing:
            continue
        index = order[place]
        stack.append((place + 1, missing, chosen))
        if amounts[index] <= missing:
            stack.append((place + 1, missing - amounts[index], (*chosen, index)))
    return found


RULES: dict[str, Rule] = {
    rule.__name__: rule for rule in (reference, text, application, split, customer_amount, amount_date, combination)
}


def _one(items: Sequence[Item], compared: str) -> _Found | None:
    return _Found(items, compared, is_tie=len(items) > 1) if items else None


def _is_strong(item: Item) -> bool:
    return any(references.is_strong(number) for number in (item.number, *item.other_names) if number)


def _corroborated(book: Book, receipt: Receipt, item: Item, said: str) -> bool:
    """What a person wrote may be mistyped into another number: amount or customer must agree too."""
    return book.settles(receipt, item) or (references.is_strong(said) and agrees(receipt, item))


def _others_meant(book: Book, receipt: Receipt, item: Item) -> list[Item]:
    """Items of the customer that the amount settles, where it does not settle the one that is named: one of them is a slip."""
    if book.settles(receipt, item):
        return []
    return [other for other in book.of_amount(receipt) if other.key != item.key and agrees(receipt, other)]


def _may_take_part(receipt: Receipt, item: Item) -> bool:
    """A part of a document in another currency cannot be told without converting."""
    return receipt.currency == item.currency or receipt.cleared_minor == item.base_open_minor is not None


def _beside(book: Book, receipt: Receipt, item: Item) -> str:
    if book.settles(receipt, item):
        return "the amount"
    return "the customer" if agrees(receipt, item) else "the word of the system that named it"


def _is_in_time(book: Book, receipt: Receipt, item: Item) -> bool:
    """Where the ledger says when the item was settled, that is about when the money came."""
    if not item.applied:
        return True
    days = timedelta(days=book.policy.application_days)
    return any(abs(day - receipt.on) <= days and book.pays(receipt, minor, item) for day, minor in item.applied)


def _roundness(amount_minor: int) -> int:
    """The largest power of ten that divides the amount: how few amounts are as round as it."""
    power = 1
    while amount_minor and amount_minor % (power * 10) == 0:
        power *= 10
    return power


def _refused(receipt: Receipt, rule: str, reason: str, items: Sequence[Item]) -> Refusal:
    return Refusal(receipt, rule, reason, tuple(sorted(item.key for item in items)), _digest(items))


def _digest(items: Sequence[Item]) -> str:
    """Of everything that was to choose from, as it was."""
    said = msgspec.json.encode(sorted(items, key=lambda item: item.key))
    return blake2b(said, digest_size=16).hexdigest()


# --- Many at once -----------------------------------------------------------------------------------------------------


def identify_all(book: Book, receipts: Iterable[Receipt]) -> list[Match | Refusal]:
    """A decision for each, in order of (home, payment). Bank lines last: they may be the same money as a receipt."""
    waiting = {receipt.ident: receipt for receipt in receipts}
    decided: list[Match | Refusal] = []
    for is_bank_line in (False, True):
        decided += _settle(book, [r for _, r in sorted(waiting.items()) if r.is_bank_line == is_bank_line])
    return sorted(decided, key=lambda each: each.receipt.ident)


def _settle(book: Book, waiting: list[Receipt]) -> list[Match | Refusal]:
    """Round by round, until one matches nothing: what a receipt takes can make another's choice a clear one."""
    matches: list[Match | Refusal] = []
    refused: list[Match | Refusal] = []
    for _ in range(ROUNDS):
        book.halves = _halves(book, waiting)
        made, refused = _round(book, waiting)
        matches += made
        if not made:
            break
        waiting = [refusal.receipt for refusal in refused]
    return matches + refused


def _halves(book: Book, waiting: list[Receipt]) -> dict[Ident, list[Item]]:
    """Items that two receipts of one customer pay together; of customers with few receipts, to keep it short."""
    by_customer: dict[tuple[str, ...], list[Receipt]] = defaultdict(list)
    for receipt in waiting:
        by_customer[receipt.direction, receipt.currency, *receipt.customers].append(receipt)
    halves: dict[Ident, list[Item]] = defaultdict(list)
    for (_, _, *customers), receipts in by_customer.items():
        if customers and 1 < len(receipts) <= SPLIT_AMONG:
            for one, other in combinations(receipts, 2):
                for item in _paid_by_both(book, one, other):
                    halves[one.ident].append(item)
                    halves[other.ident].append(item)
    return halves


def _paid_by_both(book: Book, one: Receipt, other: Receipt) -> list[Item]:
    both = msgspec.structs.replace(one, amount_minor=one.amount_minor + other.amount_minor, cleared_minor=None)
    return [item for item in book.of_amount(both) if agrees(one, item) and not item.applied]


def _round(book: Book, waiting: list[Receipt]) -> tuple[list[Match], list[Match | Refusal]]:
    """Each rule over all that wait; one that a rule refused is asked again in the next round only."""
    made: dict[int, Match] = {}
    refused: dict[int, Match | Refusal] = {}
    for rule in book.policy.rules:
        wanted: list[tuple[int, Match]] = []
        for index, receipt in enumerate(waiting):
            answer = None if index in made or index in refused else book.ask(rule, receipt)
            if isinstance(answer, Match):
                wanted.append((index, answer))
            elif answer is not None:
                refused[index] = answer
        _share(book, wanted, made, refused)
    nothing = (_refused(receipt, "none", "no open item fits", ()) for receipt in waiting)
    return list(made.values()), [refused.get(i, none) for i, none in enumerate(nothing) if i not in made]


def _share(book: Book, wanted: list[tuple[int, Match]], made: dict[int, Match], refused: dict[int, Match | Refusal]) -> None:  # fmt: skip
    """A receipt gets what it wants where nobody else wants it too, or where it names it and is the first to do so."""
    left = {part.target: book.left_minor(book.item(part.target)) for _, match in wanted for part in match.parts}
    claims: dict[str, int] = defaultdict(int)
    for _, match in wanted:
        for part in match.parts:
            claims[part.target] += part.settled_minor
    for index, match in sorted(wanted, key=lambda pair: (pair[1].receipt.at, pair[1].receipt.home, pair[0])):
        is_named = match.rule in NAMING
        if all((part.settled_minor if is_named else claims[part.target]) <= left[part.target] for part in match.parts):
            made[index] = match
            book.take(match)
            for part in match.parts:
                left[part.target] -= part.settled_minor if is_named else 0
        elif is_named:
            refused[index] = _refused(match.receipt, match.rule, "what it names was paid by a receipt before it", ())
        else:
            keys = tuple(sorted(part.target for part in match.parts))
            refused[index] = Refusal(match.receipt, match.rule, "another receipt fits the same item alike", keys, match.digest)  # fmt: skip


NAMING = frozenset(("reference", "text"))
