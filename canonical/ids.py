"""Case keys and fact ids: strings that need no escape in JSON, SQL, URLs or logs.

- A case key is the correlation ID: `<kind>:<entity>:<system>:<id or number>`. Derived from the document alone, so that
  billing and ERP arrive at the same key without a look-up.
- A fact id says what happened, not how it was delivered: `<system>:<document>:<transition or version>` (rule E5).
- Every part is percent-encoded outside a safe alphabet; equal inputs give equal keys, different ones different keys.
"""

import re
from collections.abc import Callable
from typing import Literal, get_args
from urllib.parse import quote, unquote

CaseKind = Literal["order", "invoice", "credit", "receipt", "payout", "summary", "index"]
CASE_KINDS: tuple[str, ...] = get_args(CaseKind)
MAX_KEY_CHARS = 256

KEY_PATTERN = rf"^({'|'.join(CASE_KINDS)}):[!#-\[\]-~]+$"
ID_PATTERN = r"^[!#-\[\]-~]+$"
_KEY = re.compile(KEY_PATTERN[:-1] + r"\Z")
_SAFE = "@/+,"  # beside letters, digits and "_.-~"
_is_safe = re.compile(rf"[A-Za-z0-9_.~{_SAFE}-]*\Z").match


class CaseKeyError(ValueError):
    """A case key that is malformed or too long."""


def case_key(kind: CaseKind, entity: str, system: str, ident: str) -> str:
    """The correlation ID of a case. Raises CaseKeyError where a part is empty or the key is longer than 256 characters."""
    if not (entity and system and ident):
        raise CaseKeyError(
            f"case key of kind {kind} needs entity, system and id, got {entity!r}, {system!r}, {ident!r}"
        )
    key = f"{kind}:{_part(entity)}:{_part(system)}:{_part(ident)}"
    if len(key) > MAX_KEY_CHARS:
        raise CaseKeyError(f"case key of {len(key)} characters, limit {MAX_KEY_CHARS}")
    return key


def period_key(entity: str, ledger: str, year: int, month: int) -> str:
    """The index case of an accounting period, in which it is closed and reopened. Raises CaseKeyError."""
    return case_key("index", entity, ledger, f"{year:04d}-{month:02d}")


def intercompany_key(entity: str, counterparty: str, number: str) -> str:
    """The index case to which both companies of a group bring one document, whichever asks. Raises CaseKeyError."""
    return case_key("index", "+".join(sorted((entity, counterparty))), "intercompany", number)


def account_key(entity: str, account: str) -> str:
    """The index case of a bank account, in which its statements follow on one another. Raises CaseKeyError."""
    return case_key("index", entity, "bank", account)


def natural_key(entity: str, system: str, *names: str) -> str:
    """The index case to which every invoice of a system comes that says the same in these words. Raises CaseKeyError."""
    return case_key("index", entity, system, "same+" + "+".join(quote(name, safe="") for name in names))


def key_or_none(key: Callable[..., str], *names: str | None) -> str | None:
    """`key(*names)`; None where a name is not known, or too long: nothing can be told to a case that cannot be."""
    try:
        return None if None in names else key(*names)
    except CaseKeyError:
        return None


def fact_id(system: str, document: str, *transition: str) -> str:
    """Identity of a fact: `fact_id("stripe", "in_1", "issued")` is `stripe:in_1:issued`."""
    return ":".join(_part(part) for part in (system, document, *transition))


def is_case_key(key: str) -> bool:
    return len(key) <= MAX_KEY_CHARS and _KEY.match(key) is not None


def kind_of(key: str) -> str:
    return key.partition(":")[0]


def parts(key: str) -> tuple[str, str, str, str]:
    """(kind, entity, system, id) of a case key, decoded."""
    kind, entity, system, ident = key.split(":", 3)
    return kind, unquote(entity), unquote(system), unquote(ident)


def _part(value: str) -> str:
    if _is_safe(value):
        return value
    try:
        return quote(value, safe=_SAFE)
    except UnicodeEncodeError:
        raise CaseKeyError(f"{value!r} is not text: it holds half a character") from None
