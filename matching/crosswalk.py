"""The crosswalk: which ids of several systems are one customer, as `customer.linked` and `customer.merged` tell it.

- It is told in the customer's own case, `index:<entity>:<system>:<customer>`, and from there sent on to the own case of every
  id that it joins, so that each shows what it is known as. Only the case of the customer it is about sends it on so.
- Where policy says so (`[expect.<system>] crosswalk`), a document's case that names customers of whom none is the other asks
  the own cases of both (an effect of kind `customer`), and what they hold is sent on to it: two steps join any two ids.
- Ids are compared as they are written, whichever system they are of; a system says only whose case is asked.
- What is sent on keeps its own id, so sending again is harmless, and what was asked once is answered from then on.
"""

from collections.abc import Iterator
from functools import partial
from itertools import combinations
from typing import Any

import msgspec

from canonical.events import EVENTS
from canonical.ids import case_key, key_or_none, kind_of, parts
from canonical.records import Record
from matching.case import ALLOCATION, Case

TOLD = ("customer.linked", "customer.merged")
_ASKING = frozenset(("order", "invoice", "credit"))
_own_case = partial(case_key, "index")


def asked(case: Case) -> dict[str, Any]:
    """Own cases of the customers of a document's case, with a fact that names each; none where they share a name."""
    if kind_of(case.key) not in _ASKING:
        return {}
    sides = [(fact, named) for fact in case.facts() if fact.type not in TOLD and (named := sorted(set(_named(fact))))]
    groups = {frozenset(name for _, name in named) for _, named in sides}
    if not any(one.isdisjoint(other) for one, other in combinations(groups, 2)):
        return {}
    found: dict[str, Any] = {}
    for fact, named in sides:
        for system, name in named:
            key = key_or_none(_own_case, fact.data.entity, system, name)
            if key is not None:
                found.setdefault(key, fact)
    return found


def sent_on(case: Case) -> Iterator[Record]:
    """What the case of a customer holds of the crosswalk, as records of the cases that it is for."""
    facts: list[Any] = [fact for fact in case.everything() if fact.type in TOLD or fact.type == ALLOCATION]
    asking = {fact.data.home for fact in facts if fact.type == ALLOCATION and fact.data.kind == "customer"}
    for fact in facts:
        if fact.type != ALLOCATION:
            for key in sorted((asking | _joined(case, fact)) - {case.key}):
                raw = msgspec.json.encode(msgspec.structs.replace(fact, correlationid=key))
                yield Record(EVENTS[fact.type].stream, key.encode(), raw)


def _joined(case: Case, fact: Any) -> set[str]:
    """The own cases of the other ids that a fact of this very customer joins to it."""
    data, system = fact.data, _system(fact)
    if key_or_none(_own_case, data.entity, system, data.document_id) != case.key:
        return set()
    others = [(ref.system, ref.value) for ref in data.refs or () if ref.kind == "customer"]
    keys = [key_or_none(_own_case, data.entity, *other) for other in (*others, (system, data.merged_into))]
    return {key for key in keys if key is not None}


def _named(fact: Any) -> Iterator[tuple[str, str]]:
    """(system, customer) of each role and alias that it names."""
    customer = fact.data.customer
    if customer is not None:
        named = (customer.sold_to, customer.bill_to, customer.payer)
        yield from ((_system(fact), name) for name in named if name is not None)
    yield from ((ref.system, ref.value) for ref in fact.data.refs or () if ref.kind == "customer")


def _system(fact: Any) -> str:
    """Whose ids it uses: its sender's; of what another case told, those of that case."""
    if fact.type != ALLOCATION:
        return str(fact.source.partition("/")[0])
    return parts(fact.data.home)[2] if fact.data.home.count(":") >= 3 else ""
