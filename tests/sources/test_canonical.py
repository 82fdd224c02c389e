"""The door for systems that speak the contract: events pass untouched, and each refusal has the class that owns it."""

from typing import Any

import msgspec
import pytest

from canonical.dead_letters import DeadLetter
from canonical.records import encode
from sources.registry import SOURCES, map_record

EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "billing:INV-1:issued",
    "source": "billing/acme-us",
    "type": "invoice.issued",
    "subject": "INV-1",
    "time": "2026-01-05T10:00:00Z",
    "dataschema": "urn:tieout:invoice.issued:1",
    "correlationid": "invoice:acme-us:billing:INV-1",
    "data": {
        "entity": "acme-us",
        "document_id": "INV-1",
        "currency": "USD",
        "total_minor": 12000,
        "direction": "sales",
        "their_own_field": {"kept": 1.5},
    },
}


def outcome(change: dict[str, Any], **data: Any) -> Any:
    return map_record("canonical", msgspec.json.encode(EVENT | change | {"data": EVENT["data"] | data}))


def test_an_event_passes_with_its_unknown_fields() -> None:
    (event,) = outcome({})
    assert msgspec.json.decode(encode(event)) == EVENT


def test_a_trace_beside_the_record_is_added_but_never_replaces_one() -> None:
    trace, other = (f"00-{digit * 32}-b7ad6b7169203331-01" for digit in "ab")
    (added,) = map_record("canonical", msgspec.json.encode(EVENT), trace)  # type: ignore[misc]
    (kept,) = map_record("canonical", msgspec.json.encode(EVENT | {"traceparent": other}), trace)  # type: ignore[misc]
    assert (added.traceparent, kept.traceparent) == (trace, other)


@pytest.mark.parametrize(
    ("change", "data", "failure", "named"),
    [
        ({}, {"currency": "XZZ"}, "master_data", "XZZ"),
        ({}, {"entity": ""}, "master_data", "entity"),
        ({"dataschema": "urn:tieout:invoice.issued:7"}, {}, "policy", "version"),
        ({"type": "invoice.painted"}, {}, "mapping", "invoice.painted"),
        ({}, {"total_minor": -1}, "mapping", "total_minor"),
        ({}, {"total_minor": 2**63}, "mapping", "total_minor"),
        ({}, {"total_minor": 120.0}, "mapping", "total_minor"),
        ({}, {"total_minor": None}, "mapping", "total_minor"),
        ({"time": "1970-01-01T00:00:00Z"}, {}, "mapping", "clock"),
        ({"correlationid": ""}, {}, "mapping", "correlationid"),
        ({"correlationid": "invoice:" + "x" * 10_000}, {}, "mapping", "correlationid"),
    ],
)
def test_a_refusal_names_what_is_wrong(change: dict[str, Any], data: dict[str, Any], failure: str, named: str) -> None:
    letter = outcome(change, **data)
    assert isinstance(letter, DeadLetter), letter
    assert letter.failure == failure
    assert named in letter.reason


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"NaN", b'{"a": NaN}', b"\xff\xfe", b"\x00\x00", b"x" * 5_000_000, b"[" * 100_000, b"\x1f\x8b\x08"],
    ids=["empty", "cut", "array", "null", "nan", "nan inside", "utf16", "nul", "5 MB", "deep", "gzip"],
)  # fmt: skip
@pytest.mark.parametrize("source", sorted(SOURCES))
def test_bytes_that_are_no_record_are_a_dead_letter(source: str, body: bytes) -> None:
    letter = map_record(source, body)
    assert isinstance(letter, DeadLetter)
    assert letter.failure == "mapping"
    assert letter.reason
    assert SOURCES[source].key(body) == b""


def _said(event_type: str, key: str = EVENT["correlationid"], **data: Any) -> Any:
    event = {name: said for name, said in EVENT.items() if name not in ("type", "dataschema", "data")}
    common = {"entity": "acme-us", "document_id": "py-1"}
    return map_record("canonical", msgspec.json.encode(event | {
        "type": event_type, "dataschema": f"urn:tieout:{event_type}:1", "correlationid": key, "data": common | data,
    }))  # fmt: skip


RECEIPT = "receipt:acme-us:bank:py-1"
PART = {"target": EVENT["correlationid"], "amount_minor": 12_000}


@pytest.mark.parametrize(
    ("event_type", "data"),
    [
        ("allocation.set", {"home": RECEIPT, "kind": "payment", "currency": "USD", "amount_minor": 12_000, "version": 2**62}),
        ("case.touched", {}),
        ("match.refused", {"rule": "amount", "payment_id": "py-1", "reason": "two fit", "candidates": [], "digest": "d", "policy": "p"}),
        ("match.made", {"actor": "tieout", "rule": "amount", "payment_id": "py-1", "invoice_ids": [], "allocations": [PART]}),
    ],
)  # fmt: skip
def test_nobody_else_says_what_tieout_alone_works_out(event_type: str, data: dict[str, Any]) -> None:
    """Taken from outside, one event would settle an invoice for which no money ever came."""
    letter = _said(event_type, **data)
    assert isinstance(letter, DeadLetter)
    assert letter.failure == "policy"
    assert "tieout" in letter.reason


def test_a_persons_choice_of_what_a_payment_pays_comes_in() -> None:
    (event,) = _said(
        "match.made",
        RECEIPT,
        actor="maria",
        rule="manual",
        payment_id="py-1",
        invoice_ids=["INV-1"],
        allocations=[PART],
    )
    assert event.data.actor == "maria"
