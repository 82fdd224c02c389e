"""Aliases: a case that came in under another key than its own (`case.linked`).

- The case that is linked to tells the alias so, as an effect of kind `alias` (rule E6). From then on the alias is a stub that
  is judged no more: its facts are sent on to the case they belong to, each with its own id, so sending again is harmless.
- Only a case of the same kind is an alias. A link never merges the cases of two documents: a case with a document of its own,
  other than the one the link is about, stays where it is; so does one that two cases claim. Of two cases that are linked to
  each other, and hold no document, the first by its key is the case.
- Policy may say by which of its names another system knows a document ([identity]): its case claims those keys as if it
  were linked to them, for as long as there is one.
- What a stub meant for others is taken back: the case it is sent on to tells it.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec

from canonical.events import EVENTS
from canonical.ids import case_key, key_or_none, kind_of
from canonical.records import Record
from matching import crosswalk
from matching.case import ALLOCATION, Case
from matching.policy import OtherName, Policy

LINKED = "case.linked"

_DOCUMENTS = {
    "order": frozenset(("quote.approved",)),  # the subscription that it became is of the same case
    "invoice": frozenset(("invoice.issued", "invoice.amended")),
    "credit": frozenset(("credit_memo.issued",)),
    "receipt": frozenset(("payment.received", "refund.issued")),
    "payout": frozenset(("payout.paid",)),
}


def alias_of(fact: Any) -> str | None:
    """The key that this case's fact says is an alias of it."""
    alias: str = fact.data.alias
    return alias if kind_of(alias) == kind_of(fact.correlationid) else None


def other_names(fact: Any, policy: Policy) -> Iterator[str]:
    """Keys under which other systems know the document that this fact tells of, as policy says ([identity])."""
    kind: Any = kind_of(fact.correlationid)
    if fact.type not in _DOCUMENTS.get(kind, ()):
        return
    data = fact.data
    identity = policy.identity.get(data.entity) or policy.identity.get("default")
    for other in getattr(identity, kind, ()):
        for ident in _named_by(other, data):
            key = key_or_none(partial(case_key, kind), data.entity, other.system, ident)
            if key is not None:
                yield key


def _named_by(other: OtherName, data: Any) -> Iterator[str]:
    if other.by == "id":
        yield data.document_id
    elif other.by == "number" and data.number is not None:
        yield data.number
    elif other.by == "ref":
        yield from (ref.value for ref in data.refs or () if ref.system == other.system)


def home_of(case: Case) -> str | None:
    """The case that this one is an alias of; None for a case of its own."""
    if not case.is_claimed:
        return None
    facts: list[Any] = case.facts()
    claims = [
        fact.data for fact in facts if fact.type == ALLOCATION and fact.data.kind == "alias" and fact.data.amount_minor
    ]
    homes = {claim.home for claim in claims}
    if len(homes) != 1 or _has_documents_besides(facts, case.key, {claim.document_id for claim in claims}):
        return None
    (home,) = homes
    claims_back = any(fact.type == LINKED and fact.data.alias == home for fact in facts)
    return None if claims_back and case.key < home else home


def sent_on(case: Case) -> Iterator[Record]:
    """Every content of every fact of an alias' own, as a record of the case it belongs to; of a customer's case what it
    holds of the crosswalk; nothing of any other case."""
    home = home_of(case)
    fact: Any
    if home is None:
        yield from crosswalk.sent_on(case) if kind_of(case.key) == "index" else ()
        return
    for fact in case.everything():
        if fact.type != ALLOCATION:
            raw = msgspec.json.encode(msgspec.structs.replace(fact, correlationid=home))
            yield Record(EVENTS[fact.type].stream, home.encode(), raw)


def _has_documents_besides(facts: list[Any], key: str, linked: set[str]) -> bool:
    documents = _DOCUMENTS.get(kind_of(key), frozenset())
    return any(fact.type in documents and fact.data.document_id not in linked for fact in facts)
