"""How far two systems may lie apart because one rounds each line and the other the document as a whole.

- Of n amounts that were each rounded, and their sum rounded once, the two differ by n // 2 minor units at the most.
- Where every tax line states its rate (per cent) and base, both ways are worked out and nothing beyond their difference
  is rounding. A base is net of tax; of an inclusive tax it is what contains it where base and tax exceed the total.
"""

from decimal import Decimal, localcontext
from typing import Any

from canonical.money import round_minor


def explains(document: Any, variance_minor: int) -> bool:
    """Whether rounding alone can put the total this far off. `document` is the data of an invoice or credit memo."""
    lines = document.lines or ()
    return 0 < abs(variance_minor) <= len(lines) // 2 + of_tax(document)


def explains_tax(document: Any, variance_minor: int) -> bool:
    return 0 < abs(variance_minor) <= of_tax(document)


def of_tax(document: Any) -> int:
    """In minor units, between tax rounded by line and by document (one sum a rate)."""
    tax_lines = document.tax_lines or ()
    exact = [exact_tax(line, document.total_minor) for line in tax_lines]
    if None in exact:
        return len(tax_lines) // 2
    by_line = sum(rounded(tax) for tax in exact if tax is not None)
    by_rate: dict[tuple[Any, ...], Decimal] = {}
    for line, tax in zip(tax_lines, exact, strict=True):
        rate = (line.code, line.jurisdiction, Decimal(line.rate), line.inclusive)
        by_rate[rate] = by_rate.get(rate, Decimal(0)) + (tax or 0)
    return abs(by_line - sum(map(rounded, by_rate.values())))


def exact_tax(line: Any, total_minor: int) -> Decimal | None:
    """The tax of a line by its rate and base, unrounded; None where it does not state both."""
    if line.rate is None or line.base_minor is None:
        return None
    rate, base = Decimal(line.rate), Decimal(line.base_minor)
    contains_tax = line.inclusive and rate > 0 and line.base_minor + line.amount_minor > total_minor
    return base * rate / (100 + rate) if contains_tax else base * rate / 100


def rounded(value: Decimal) -> int:
    """Half away from zero, also beyond the 28 digits that decimals have by default."""
    with localcontext(prec=100):
        return round_minor(value)
