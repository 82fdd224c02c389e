"""The two decoders are one rule: what one accepts the other accepts, with equal values."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canonical import records, structs
from canonical.events import EVENTS
from tests.property import events


def outcome(decode: Any, raw: bytes) -> Any:
    try:
        return decode(raw)
    except structs.RecordError as error:
        assert str(error)
        return None


def assert_equal_values(struct: Any, model: Any) -> None:
    """Every field of the struct is that of the model; the model may carry unknown ones beside them."""
    if isinstance(struct, tuple):
        assert isinstance(model, tuple) and len(struct) == len(model)
        for ours, theirs in zip(struct, model, strict=True):
            assert_equal_values(ours, theirs)
    elif isinstance(struct, msgspec.Struct):
        for name in struct.__struct_fields__:
            assert_equal_values(getattr(struct, name), getattr(model, name))
    else:
        assert struct == model and type(struct) is type(model)
        assert not isinstance(struct, datetime) or (struct.tzinfo is UTC and model.tzinfo is UTC)


def assert_same_outcome(raw: bytes) -> None:
    fast, strict = outcome(structs.decode, raw), outcome(records.decode, raw)
    assert (fast is None) == (strict is None), f"one decoder accepts {raw[:2000]!r}, the other refuses it"
    if fast is not None:
        assert (fast.type, fast.stream) == (strict.type, strict.stream)
        assert_equal_values(fast, strict)


@settings(max_examples=200, deadline=None)
@given(events.records())
def test_every_valid_event_is_accepted_by_both_decoders_with_equal_values(record: dict[str, Any]) -> None:
    raw = events.encoded(record)
    assert outcome(records.decode, raw) is not None
    assert_same_outcome(raw)


@settings(max_examples=1000, deadline=None)
@given(events.spoiled())
def test_a_spoiled_record_is_accepted_or_refused_by_both_decoders_alike(raw: bytes) -> None:
    assert_same_outcome(raw)


RICH_INVOICE: dict[str, Any] = {
    "specversion": "1.0", "id": "b:INV-1:issued", "source": "b/main", "type": "invoice.issued", "subject": "INV-1",
    "time": "2026-01-02T03:04:05Z", "dataschema": "urn:tieout:invoice.issued:1",
    "correlationid": "invoice:acme:b:INV-1", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "x_note": 1,
    "data": {
        "entity": "acme", "document_id": "INV-1", "version": 2, "recorded_at": "2026-01-02T03:04:06Z",
        "accounting_date": "2026-01-02", "customer": {"sold_to": "C-17", "x_note": 1},
        "refs": [{"kind": "number", "system": "erp", "value": "4711"}], "currency": "USD", "total_minor": 12000,
        "rate": "1.25", "rate_direction": "document_per_base", "direction": "sales", "due_date": "2026-02-01",
        "tax_lines": [{"amount_minor": -5, "inclusive": False}], "x_note": 1,
    },
}  # fmt: skip
CLOSE: dict[str, Any] = {
    "specversion": "1.0", "id": "close:2026-01", "source": "people/main", "type": "close.signed", "subject": "2026-01",
    "time": "2026-02-03T03:04:05Z", "dataschema": "urn:tieout:close.signed:1", "correlationid": "index:acme:close:2026-01",
    "data": {
        "entity": "acme", "document_id": "2026-01", "ledger": "main", "actor": "ada",
        "period": {"start": "2026-01-01", "end": "2026-01-31"}, "cutoff": "2026-02-03T00:00:00Z", "policy": "p1",
        "reviewer": "bob", "known_until": "2026-02-03T01:00:00Z", "code": "0.1.0", "state": "explained", "digest": "d1",
        "totals": [
            {"position": "receivable", "currency": "USD", "opening_minor": 1, "documents_minor": 2, "ledger_minor": -3,
             "residual_minor": 0, "lines": 1},
        ],
        "positions": [{"topic": "invoices", "partition": 0, "offset": 17}],
    },
}  # fmt: skip


@pytest.mark.parametrize("record", [RICH_INVOICE, CLOSE], ids=["invoice", "close"])
@pytest.mark.parametrize("plain", [True, False], ids=["known fields only", "with unknown fields"])
def test_every_wrong_value_in_every_place_has_the_same_outcome(record: dict[str, Any], plain: bool) -> None:
    record = json.loads(json.dumps(record))
    for container, key in [place for place in events.places(record) if place[1] == "x_note" and plain]:
        del container[key]
    assert_same_outcome(events.encoded(record))
    for container, key in events.places(record):
        right = container[key]
        for wrong in events.WRONG_VALUES:
            container[key] = wrong
            assert_same_outcome(events.encoded(record))
        container[key] = right
        for raw in events.WRONG_BYTES:
            assert_same_outcome(events.with_bytes(record, container, key, raw))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_refused_by_both_decoders_and_raise_nothing_else(raw: bytes) -> None:
    assert outcome(structs.decode, raw) is None and outcome(records.decode, raw) is None


@pytest.mark.parametrize("event_type", sorted(EVENTS))
@settings(max_examples=8, deadline=None)
@given(st.data())
def test_every_event_type_has_its_fast_twin(event_type: str, data: st.DataObject) -> None:
    raw = events.encoded(data.draw(events.record_of(event_type)))
    assert structs.decode(raw).type == event_type
    assert_same_outcome(raw)


@settings(max_examples=200, deadline=None)
@given(events.records())
def test_an_event_has_one_class_however_it_was_written(record: dict[str, Any]) -> None:
    plain = structs.decode(records.encode(records.decode(events.encoded(record))))
    careful = structs.decode(events.encoded(record | {"x_unknown": "\\"}))
    assert type(plain) is type(careful) and plain == careful
