"""Numbers of documents inside free text, as people and banks write them.

- A text is cut into runs of letters and runs of digits; leading zeros and case say nothing: "inv 0017" names INV-17.
- A name is found only whole. What touches another digit through one of . , : / - _ belongs to a longer number (a date, an
  amount, INV-2026-0017): of that a part is no name, so a number is never found inside another number.
- A strong name holds letters, or five digits or more. A weak one (17, or the digits of INV-17 alone) proves nothing without
  the amount.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

_RUN = re.compile(r"[^\W\d_]+|\d+")
_JOINTS = frozenset(".,:/-_")
STRONG_DIGITS = 5
MAX_TEXT_CHARS = 4_000
MAX_RUNS_A_NAME = 8  # longer names are compared as whole references alone

Name = tuple[str, ...]


class Run(NamedTuple):
    """Letters in capitals, or digits without leading zeros; `joins`: it and the next digits are one number."""

    text: str
    is_digits: bool
    joins: bool
    raw_digits: int


@lru_cache(maxsize=200_000)
def runs(text: str) -> tuple[Run, ...]:
    plain = unicodedata.normalize("NFKC", text[:MAX_TEXT_CHARS])
    found = list(_RUN.finditer(plain))
    return tuple(_run(match, found[index + 1] if index + 1 < len(found) else None, plain) for index, match in enumerate(found))  # fmt: skip


def _run(match: re.Match[str], after: re.Match[str] | None, text: str) -> Run:
    said = match[0]
    if not said.isdecimal():
        return Run(said.upper(), False, False, 0)
    between = text[match.end() : after.start()] if after is not None else " "
    joins = after is not None and after[0].isdecimal() and len(between) == 1 and between in _JOINTS
    return Run(_number(said), True, joins, len(said))


def _number(digits: str) -> str:
    return "".join(str(int(digit)) for digit in digits).lstrip("0") or "0"


def name_of(number: str) -> Name:
    """Empty for what holds no digit: a word names no document."""
    found = runs(number)
    return tuple(run.text for run in found) if any(run.is_digits for run in found) else ()


def is_strong(number: str) -> bool:
    found = runs(number)
    return any(not run.is_digits for run in found) or sum(run.raw_digits for run in found) >= STRONG_DIGITS


def digits_of(number: str) -> Name:
    """The number without the letters before it, where it is letters and then one number: the way it is often said."""
    found = runs(number)
    letters = next((index for index, run in enumerate(found) if run.is_digits), len(found))
    rest = found[letters:]
    if not letters or not rest or not all(run.is_digits for run in rest):
        return ()
    return tuple(run.text for run in rest)


def prefix_of(number: str) -> str:
    """The letters that a number begins with, two at least: what marks a word in a text as a document's number."""
    found = runs(number)
    return found[0].text if len(found) > 1 and not found[0].is_digits and len(found[0].text) > 1 else ""


def names_in(text: str, longest: int = MAX_RUNS_A_NAME) -> Iterator[Name]:
    """Every stretch of a text, of up to `longest` runs, that could be a document's name; from the longest."""
    found = runs(text)
    for length in range(min(longest, MAX_RUNS_A_NAME, len(found)), 0, -1):
        for start in range(len(found) - length + 1):
            if _is_whole(found, start, start + length):
                yield tuple(run.text for run in found[start : start + length])


def _is_whole(found: tuple[Run, ...], start: int, end: int) -> bool:
    stretch = found[start:end]
    if not any(run.is_digits for run in stretch):
        return False
    return not stretch[-1].joins and not (start and found[start - 1].joins)


def looks_like(text: str, prefixes: frozenset[str] | set[str]) -> list[Name]:
    """What in a text is written like a document's number of these prefixes: prefix, then a whole number."""
    found = runs(text)
    said = []
    for index, run in enumerate(found[:-1]):
        if run.text in prefixes and found[index + 1].is_digits:
            end = index + 2
            while found[end - 1].joins:
                end += 1
            said.append(tuple(each.text for each in found[index:end]))
    return said
