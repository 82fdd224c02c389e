"""canonical: the door for systems that speak tieout's own contract. The body is one canonical event.

Nothing is mapped: the event is validated and passed on with its unknown fields. A `traceparent` beside the record is
added only where the event has none.

Dead letters, by what is wrong:
- an unknown currency, or no entity: master_data (a code or entity that finance has to know first)
- a contract version that is not accepted: policy (the record is well formed; which versions are accepted is a decision)
- what tieout alone says (a part told to another case, a bulk writer's word, a choice by tieout itself): policy. It is worked out
  from what systems and people send; taken from outside, anybody could settle an invoice without money.
- all else (not JSON, missing or ill-typed field, unknown type, a clock outside 1990 to 2100): mapping
"""

from canonical.contracts import dataschema, is_accepted
from canonical.dead_letters import DeadLetter
from canonical.events import EVENTS, Event, MatchMade
from canonical.money import EXPONENTS
from canonical.records import admit
from canonical.structs import RecordError
from sources.fields import Record, Refused, parse, shown

_OURS = frozenset(("allocation.set", "case.touched", "match.refused"))
_OUR_ACTOR = "tieout"
_CURRENCIES = ("currency", "base_currency", "from_currency")


def map_record(body: bytes, traceparent: str | None) -> tuple[Event, ...] | DeadLetter:
    try:
        event = admit(body)  # refuses a field given twice too
    except RecordError as error:
        record = parse(body)  # refuses what is no JSON object, in its own words
        raise _refusal(record, str(error)) from None
    if event.type in _OURS or (isinstance(event, MatchMade) and event.data.actor == _OUR_ACTOR):
        raise Refused("policy", _said_by_us(event))
    if traceparent is not None and event.traceparent is None:
        event = event.model_copy(update={"traceparent": traceparent})
    return (event,)


def _said_by_us(event: Event) -> str:
    if isinstance(event, MatchMade):
        return f"actor {_OUR_ACTOR} is tieout itself: a choice from outside names the person who made it"
    return f"{event.type} is tieout's own word and is taken from nobody else: send the document that it follows from"


def key(body: bytes) -> bytes:
    value = parse(body).get("correlationid")
    return value.encode() if isinstance(value, str) else b""


def _refusal(record: Record, problem: str) -> Refused:
    data = record.get("data")
    values = data if isinstance(data, dict) else {}
    for name in _CURRENCIES:
        code = values.get(name)
        if isinstance(code, str) and code not in EXPONENTS:
            return Refused(
                "master_data", f"data.{name} {shown(code)} is not an ISO 4217 code; correct it at the sender"
            )
    kind, schema = record.get("type"), record.get("dataschema")
    if not isinstance(kind, str) or kind not in EVENTS:
        return Refused("mapping", f"type {shown(kind)} is no canonical event; `tieout schema` lists the types")
    if isinstance(schema, str) and _is_other_version(schema, kind):
        return Refused("policy", f"dataschema {shown(schema)}: this contract version is not accepted, {dataschema(kind)} is; send that or have the version accepted")  # fmt: skip
    if isinstance(data, dict) and not data.get("entity"):
        return Refused("master_data", "data.entity is missing: say which legal entity the document belongs to")
    return Refused("mapping", f"no valid {kind}: {problem}")


def _is_other_version(schema: str, kind: str) -> bool:
    prefix, _, version = schema.rpartition(":")
    return prefix == f"urn:tieout:{kind}" and version.isdigit() and not is_accepted(schema, kind)
