"""Records as broken senders write them: each must become a dead letter and never a fact.

Each way takes an event (the envelope as a dict, which it leaves as it is) and gives bytes. `FAILURE` says whose fault class the
dead letter must carry.
"""

from collections.abc import Callable
from hashlib import blake2b
from random import Random
from typing import Any

import msgspec

Envelope = dict[str, Any]


def truncated_json(event: Envelope) -> bytes:
    body = _encode(event)
    return body[: len(body) * 2 // 3]


def wrong_type(event: Envelope) -> bytes:
    return _with_data(event, document_id=17)


def amount_as_text(event: Envelope) -> bytes:
    return _with_amount(event, b'"12.50"')


def amount_with_decimals(event: Envelope) -> bytes:
    return _with_amount(event, b"1250.5")


def unknown_type(event: Envelope) -> bytes:
    return _encode(event | {"type": "invoice.printed", "dataschema": "urn:tieout:invoice.printed:1"})


def future_contract(event: Envelope) -> bytes:
    return _encode(event | {"dataschema": f"urn:tieout:{event['type']}:7"})


def unknown_currency(event: Envelope) -> bytes:
    return _with_data(event, currency="ZZZ")


def negative_amount(event: Envelope) -> bytes:
    return _with_amount(event, b"-1250")


def amount_beyond_64_bits(event: Envelope) -> bytes:
    return _with_amount(event, b"9223372036854775808")


def amount_nan(event: Envelope) -> bytes:
    return _with_amount(event, b"NaN")


def missing_correlation_id(event: Envelope) -> bytes:
    return _encode({name: value for name, value in event.items() if name != "correlationid"})


def long_correlation_id(event: Envelope) -> bytes:
    return _encode(event | {"correlationid": event["correlationid"] + "9" * 10_000})


def invalid_utf8(event: Envelope) -> bytes:
    return _encode(event | {"subject": "@"}).replace(b'"@"', b'"M\xfcller"')


def nul_byte(event: Envelope) -> bytes:
    return _with_data(event, document_id=f"{event['data']['document_id']}\x00")


def nul_bytes_for_record(event: Envelope) -> bytes:
    """A disk block that was never written: its length is all that is left of the record."""
    return b"\x00" * (600 + sum(map(ord, event["id"])) % 400)


def clock_before_computers(event: Envelope) -> bytes:
    return _encode(event | {"time": "1904-01-01T00:00:00Z"})


def clock_after_2100(event: Envelope) -> bytes:
    return _encode(event | {"time": "2147-03-02T09:00:00Z"})


def clock_years_ahead(event: Envelope) -> bytes:
    """Only who knows when the record arrived can tell: intake does, a file does not. Not among WAYS for that reason."""
    return _encode(event | {"time": event["time"].replace(year=event["time"].year + 40, day=1)})


def missing_entity(event: Envelope) -> bytes:
    return _encode(event | {"data": {name: value for name, value in event["data"].items() if name != "entity"}})


def not_an_object(event: Envelope) -> bytes:
    return b"[" + _encode(event) + b"]"


WAYS: dict[str, Callable[[Envelope], bytes]] = {
    way.__name__: way
    for way in (
        truncated_json, wrong_type, amount_as_text, amount_with_decimals, unknown_type, future_contract,
        unknown_currency, negative_amount, amount_beyond_64_bits, amount_nan, missing_correlation_id,
        long_correlation_id, invalid_utf8, nul_byte, nul_bytes_for_record, clock_before_computers, clock_after_2100,
        missing_entity, not_an_object,
    )
}  # fmt: skip
FAILURE = {name: "mapping" for name in (*WAYS, "clock_years_ahead")} | {
    "future_contract": "policy", "unknown_currency": "master_data", "missing_entity": "master_data",
}  # fmt: skip


_NAMES = tuple(WAYS)


def ahead(_rng: Random, event: Envelope) -> tuple[str, bytes]:
    return "clock_years_ahead", clock_years_ahead(event)


def spoil(rng: Random, event: Envelope) -> tuple[str, bytes]:
    """(way, bytes) for an event; which way is drawn."""
    way = rng.choice(_NAMES)
    if way == "unknown_currency" and "currency" not in event["data"]:
        way = "truncated_json"  # such an event has no currency to get wrong
    return way, WAYS[way](event)


def digest(body: bytes) -> str:
    return blake2b(body, digest_size=16).hexdigest()


def _encode(event: Envelope) -> bytes:
    return msgspec.json.encode(event)


def _with_data(event: Envelope, **changes: Any) -> bytes:
    return _encode(event | {"data": event["data"] | changes})


def _with_amount(event: Envelope, literal: bytes) -> bytes:
    """Every kind of event has an amount that JSON can spell wrongly; where this one has none it is given an attempt."""
    data = event["data"]
    name = next((name for name in ("total_minor", "amount_minor", "attempt") if name in data), "version")
    return _with_data(event, **{name: "@"}).replace(f'"{name}":"@"'.encode(), f'"{name}":'.encode() + literal)
