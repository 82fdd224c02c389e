"""How much money finds what it pays, how much of that wrongly, and how fast: `python -m benchmarks.identify [--items 100000]`.

A generated book of open items, a fifth of them alike (one customer's equal monthly bills), and receipts for them of many
kinds, each with its truth: references whole, inside text, written otherwise, mistyped, missing; combined, split, short, over,
paid twice, and money that is for nothing here. A match is false where any part of it goes to an item that the receipt was
not for. Who mistypes a number into another open one of his own has said which one he pays, and that is then the truth. Ends with 1 where a target (docs/benchmarks.md) is missed.
"""

import random
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from time import process_time
from typing import Any

from benchmarks.report import publish, settings
from matching.identify import Book, Item, Match, Receipt, identify_all
from matching.policy import load

START = date(2026, 1, 1)
POLICY = load().identification
AUTOMATIC, FALSE, RATE_S = 0.80, 0, 10_000  # targets
WORDS = (
    "payment",
    "thank you",
    "remittance",
    "wire",
    "Rechnung vom 03.02.2026",
    "ref 4471-22/9",
    "tel. 030 123456",
    "order 7",
)


@dataclass
class Company:
    """The open items, and what is paid of them; `truth` by payment."""

    rng: random.Random
    items: list[Item] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    truth: dict[str, set[str]] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)

    def sell(self, count: int) -> dict[str, list[Item]]:
        by_customer: dict[str, list[Item]] = {}
        while len(self.items) < count:
            customer, monthly = f"C-{len(by_customer)}", self.amount()
            is_monthly = self.rng.random() < 0.2
            own = by_customer[customer] = [self.item(customer, monthly if is_monthly else self.amount()) for _ in range(self.rng.randint(1, 9))]  # fmt: skip
            self.items += own
        return by_customer

    def amount(self) -> int:
        amount = int(self.rng.lognormvariate(10.5, 1.2)) + 500
        return amount - amount % self.rng.choice((1, 1, 1, 100, 1000))

    def item(self, customer: str, amount_minor: int) -> Item:
        issued_on = START + timedelta(days=self.rng.randrange(60))
        self._numbers = getattr(self, "_numbers", 10_000) + 1
        number = f"INV-{self._numbers:06d}"
        return Item(f"invoice:acme:billing:{number}", "acme", "sales", "USD", amount_minor, issued_on, issued_on + timedelta(days=30), number, (f"in_{self._numbers:x}z",), (customer,))  # fmt: skip

    def named(self, number: str, own: list[Item]) -> list[Item]:
        """What the payer said he pays: his own open item of that number, else what he meant."""
        return [item for item in own if item.number == number] or own[:1]

    def pay(self, kind: str, targets: list[Item], amount_minor: int, text: str | None, customer: str | None) -> None:
        ident = f"py-{len(self.receipts)}"
        on = max((target.issued_on for target in targets), default=START) + timedelta(days=self.rng.randrange(1, 45))
        at = datetime(on.year, on.month, on.day, tzinfo=UTC)
        self.receipts.append(Receipt(f"receipt:acme:bank:{ident}", ident, "acme", "sales", "USD", amount_minor, at, on, (), () if text is None else (text,), () if customer is None else (customer,)))  # fmt: skip
        self.truth[ident], self.kinds[ident] = {target.key for target in targets}, kind


def whole(company: Company, own: list[Item]) -> None:
    company.pay("reference", own[:1], own[0].open_minor, own[0].number, own[0].customers[0])


def inside_text(company: Company, own: list[Item]) -> None:
    text = f"{company.rng.choice(WORDS)} {own[0].number} {company.rng.choice(WORDS)}"
    company.pay("reference inside text", own[:1], own[0].open_minor, text, None)


def otherwise(company: Company, own: list[Item]) -> None:
    digits = str(own[0].number)[4:]
    said = company.rng.choice(
        (f"inv{digits.lstrip('0')}", f"INV {digits}", f"invoice no. {digits.lstrip('0')}", f"Inv.#{digits}")
    )
    company.pay("written otherwise", own[:1], own[0].open_minor, said, company.rng.choice((None, own[0].customers[0])))


def mistyped(company: Company, own: list[Item]) -> None:
    number = list(str(own[0].number))
    number[company.rng.randrange(4, len(number))] = company.rng.choice("0123456789")
    said = company.named("".join(number), own)
    company.pay("mistyped", said, own[0].open_minor, "".join(number), company.rng.choice((None, own[0].customers[0])))


def mistyped_short(company: Company, own: list[Item]) -> None:
    number = list(str(own[0].number))
    number[company.rng.randrange(4, len(number))] = company.rng.choice("0123456789")
    said = company.named("".join(number), own)
    company.pay("mistyped, and short", said, own[0].open_minor * 9 // 10, "".join(number), own[0].customers[0])


def customer_only(company: Company, own: list[Item]) -> None:
    text = company.rng.choice((None, *WORDS))
    company.pay("no reference, customer known", own[:1], own[0].open_minor, text, own[0].customers[0])


def amount_only(company: Company, own: list[Item]) -> None:
    company.pay("nothing but the amount", own[:1], own[0].open_minor, None, None)


def combined(company: Company, own: list[Item]) -> None:
    both = own[:3]
    text = " ".join(str(item.number) for item in both)
    company.pay("combined, with references", both, sum(item.open_minor for item in both), text, None)


def combined_silently(company: Company, own: list[Item]) -> None:
    both = own[: company.rng.randint(2, 3)]
    company.pay("combined, no reference", both, sum(item.open_minor for item in both), None, own[0].customers[0])


def account(company: Company, own: list[Item]) -> None:
    company.pay("the whole account", own, sum(item.open_minor for item in own), None, own[0].customers[0])


def split(company: Company, own: list[Item]) -> None:
    first = own[0].open_minor * company.rng.randint(2, 8) // 10
    for part in (first, own[0].open_minor - first):
        company.pay("split, with reference", own[:1], part, own[0].number, own[0].customers[0])


def split_silently(company: Company, own: list[Item]) -> None:
    first = own[0].open_minor * company.rng.randint(2, 8) // 10
    for part in (first, own[0].open_minor - first):
        company.pay("split, no reference", own[:1], part, None, own[0].customers[0])


def short(company: Company, own: list[Item]) -> None:
    company.pay("short, no reference", own[:1], own[0].open_minor * company.rng.randint(50, 99) // 100, None, company.rng.choice((None, own[0].customers[0])))  # fmt: skip


def over(company: Company, own: list[Item]) -> None:
    company.pay("over, with reference", own[:1], own[0].open_minor + company.rng.randint(1, 5_000), own[0].number, own[0].customers[0])  # fmt: skip


def twice(company: Company, own: list[Item]) -> None:
    for _ in range(2):
        company.pay("paid twice", own[:1], own[0].open_minor, own[0].number, own[0].customers[0])


def unrelated(company: Company, own: list[Item]) -> None:
    customer = company.rng.choice((None, own[0].customers[0]))
    company.pay("for nothing here", [], company.amount(), company.rng.choice((None, *WORDS)), customer)


KINDS: list[tuple[int, Callable[[Company, list[Item]], None]]] = [
    (300, whole), (180, inside_text), (60, otherwise), (30, mistyped), (10, mistyped_short), (180, customer_only), (20, amount_only),
    (50, combined), (40, combined_silently), (30, account), (30, split), (10, split_silently), (20, short), (15, over),
    (15, twice), (10, unrelated),
]  # fmt: skip


def company_of(items: int, seed: int) -> Company:
    company = Company(random.Random(seed))
    weights = [weight for weight, _ in KINDS]
    for own in company.sell(items).values():
        company.rng.shuffle(own)
        ((_, kind),) = company.rng.choices(KINDS, weights)
        kind(company, own)
    company.rng.shuffle(company.receipts)
    return company


def main() -> int:
    given = settings(__doc__, items=100_000, seed=1)
    company = company_of(given.items, given.seed)
    started = process_time()
    book = Book(POLICY, company.items)
    laid_s = process_time() - started
    started = process_time()
    for receipt in company.receipts:
        book.identify(receipt)
    alone_s = process_time() - started
    started = process_time()
    decided = identify_all(book, company.receipts)
    all_s = process_time() - started
    count = len(company.receipts)
    found, asked, wrong = Counter[str](), Counter(company.kinds.values()), Counter[str]()
    for match in (each for each in decided if isinstance(each, Match)):
        kind = company.kinds[match.receipt.payment_id]
        found[kind] += 1
        wrong[kind] += not {part.target for part in match.parts} <= company.truth[match.receipt.payment_id]
    rows = [_row(kind, number, found[kind], wrong[kind]) for kind, number in asked.most_common()]
    automatic, false = found.total() / count, wrong.total()
    rows.append(_row("all", count, found.total(), false) | {
        "near_ties": sum(getattr(each, "is_ambiguous", False) for each in decided), "items": len(company.items),
        "laid_out_s": round(laid_s, 2), "alone_per_s": round(count / alone_s), "together_per_s": round(count / all_s),
    })  # fmt: skip
    publish("identify", given, rows)
    return int(automatic < AUTOMATIC or false > FALSE or count / alone_s < RATE_S)


def _row(kind: str, receipts: int, matched: int, false: int) -> dict[str, Any]:
    return {"kind": kind, "receipts": receipts, "matched": matched, "matched_percent": round(100 * matched / receipts, 1), "false": false}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
