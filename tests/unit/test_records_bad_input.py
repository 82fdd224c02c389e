"""Bad records are refused with a reason that names the field; a good one is written as one stable line."""

import json
from datetime import UTC, datetime
from typing import Any

import jsonschema
import pytest

from canonical import records, structs
from canonical.events import EVENTS

GOOD: dict[str, Any] = {
    "specversion": "1.0",
    "id": "billing:INV-1:issued",
    "source": "billing/main",
    "type": "invoice.issued",
    "subject": "INV-1",
    "time": "2026-01-02T03:04:05Z",
    "dataschema": "urn:tieout:invoice.issued:1",
    "correlationid": "invoice:acme:billing:INV-1",
    "data": {
        "entity": "acme",
        "document_id": "INV-1",
        "currency": "USD",
        "total_minor": 12000,
        "direction": "sales",
    },
}


def raw(**changes: Any) -> bytes:
    return json.dumps({k: v for k, v in (GOOD | changes).items() if v is not ...}).encode()


def data(**changes: Any) -> bytes:
    return raw(data={k: v for k, v in (GOOD["data"] | changes).items() if v is not ...})


BAD: dict[str, tuple[bytes, str]] = {
    "truncated": (raw()[:-20], "JSON"),
    "empty": (b"", "JSON"),
    "not an object": (b"[]", "object"),
    "missing field": (data(entity=...), "data.entity"),
    "missing correlation id": (raw(correlationid=...), "correlationid"),
    "10 kB correlation id": (raw(correlationid="invoice:" + "k" * 10_240), "correlationid"),
    "correlation id of no kind": (raw(correlationid="bill:acme:b:1"), "correlationid"),
    "amount as text": (data(total_minor="12000"), "data.total_minor"),
    "amount as a fraction": (data(total_minor=120.5), "data.total_minor"),
    "amount as 12000.0": (data(total_minor=12000.0), "data.total_minor"),
    "amount as true": (data(total_minor=True), "data.total_minor"),
    "negative amount": (data(total_minor=-1), "data.total_minor"),
    "amount of 2^63": (data(total_minor=2**63), "data.total_minor"),
    "amount null": (data(total_minor=None), "data.total_minor"),
    "unknown currency": (data(currency="ZZZ"), "data.currency"),
    "lower-case currency": (data(currency="usd"), "data.currency"),
    "unknown type": (raw(type="invoice.exploded"), "invoice.exploded"),
    "future contract": (raw(dataschema="urn:tieout:invoice.issued:2"), "contract urn:tieout:invoice.issued:2"),
    "contract of another type": (raw(dataschema="urn:tieout:bank.line:1"), "contract"),
    "CloudEvents 0.3": (raw(specversion="0.3"), "specversion"),
    "clock at 1970": (raw(time="1970-01-01T00:00:00Z"), "a clock is wrong"),
    "clock years ahead": (raw(time="2126-01-02T03:04:05Z"), "a clock is wrong"),
    "booked in 1970": (data(recorded_at="1970-01-01T00:00:00Z"), "a clock is wrong"),
    "time before the calendar": (raw(time="0001-01-01T00:00:00+14:00"), "time"),
    "time without a zone": (raw(time="2026-01-02T03:04:05"), "time"),
    "30 February": (raw(time="2026-02-30T03:04:05Z"), "time"),
    "NUL in a number": (raw(subject="INV\0"), "subject"),
    "NUL byte": (raw().replace(b"INV-1", b"INV\0"), "JSON"),
    "NaN": (raw().replace(b"12000", b"NaN"), "total_minor"),
    "NaN in an unknown field": (raw(x=1).replace(b'"x": 1', b'"x": NaN'), "malformed"),
    "Infinity in an unknown field": (raw(x=1).replace(b'"x": 1', b'"x": -Infinity'), "malformed"),
    "number too big for a double": (raw(x=1).replace(b'"x": 1', b'"x": 1e400'), "send it as a string"),
    "number too fine for a double": (
        raw(x=1).replace(b'"x": 1', b'"x": 0.12345678901234567891'),
        "send it as a string",
    ),
    "nested too deep": (raw(x=1).replace(b'"x": 1', b'"x": ' + b"[" * 150 + b"]" * 150), "nested"),
    "invalid UTF-8": (raw().replace(b"INV-1", b"INV\xff"), "invalid unicode"),
    "invalid UTF-8 in an unknown field": (raw(x="y").replace(b'"y"', b'"\xff"'), "invalid unicode"),
    "lone surrogate": (raw(subject="\ud800"), "JSON"),
    "byte order mark": (b"\xef\xbb\xbf" + raw(), "JSON"),
    "two records in one": (raw() + raw(), "JSON"),
    "5 MB": (raw(x="y" * 5_000_000), "limit 1000000"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_record_is_refused_with_the_field_that_is_wrong(case: str) -> None:
    bad, named = BAD[case]
    with pytest.raises(records.RecordError) as refused:
        records.decode(bad)
    assert named.lower() in str(refused.value).lower()
    assert len(str(refused.value)) < 2_000
    with pytest.raises(structs.RecordError):
        structs.decode(bad)


def test_an_event_is_one_line_with_the_envelope_first() -> None:
    written = records.encode(records.decode(raw(x_extra={"a": None, "b": [1.5, "ü"]})))
    assert written.startswith(
        b'{"specversion":"1.0","id":"billing:INV-1:issued","source":"billing/main","type":"invoice'
    )
    assert written.endswith(',"x_extra":{"a":null,"b":[1.5,"ü"]}}'.encode())
    assert b"\n" not in written


def test_a_record_knows_its_topic_and_its_key() -> None:
    assert records.record(records.decode(raw()))[:2] == ("invoices", b"invoice:acme:billing:INV-1")


def test_a_null_means_not_given_for_both_decoders_and_is_kept_as_it_came() -> None:
    given = data(due_date=None, customer={"sold_to": None})
    strict, fast = records.decode(given), structs.decode(given)
    assert strict.data.due_date is None and fast.data.due_date is None  # type: ignore[attr-defined]
    assert strict.data.customer.sold_to is None and fast.data.customer.sold_to is None  # type: ignore[union-attr]
    assert b'"due_date":null' in records.encode(strict)


def test_times_of_any_zone_are_one_instant_in_utc_for_both_decoders() -> None:
    given = raw(time="2026-01-02T08:34:05.250+05:30")
    instant = datetime(2026, 1, 2, 3, 4, 5, 250_000, tzinfo=UTC)
    assert records.decode(given).time == structs.decode(given).time == instant
    assert structs.decode(given).time.tzinfo is UTC
    assert b'"time":"2026-01-02T03:04:05.250000Z"' in records.encode(records.decode(given))


@pytest.mark.parametrize(
    "twice",
    [
        raw().replace(b'"subject"', b'"subject": "INV-2", "subject"'),
        raw().replace(b'"total_minor"', b'"total_minor": 1, "total_minor"'),
        raw().replace(b'"total_minor"', b'"total_min\\u006fr": 1, "total_minor"'),
        raw(x={"a": 1}).replace(b'"a": 1', b'"a": 1, "a" : 2'),
        json.dumps(GOOD, separators=(",", ":")).encode().replace(b'"subject"', b'"subject":"INV-2","subject"'),
    ],
)
def test_a_field_given_twice_is_not_let_in_because_nobody_knows_which_holds(twice: bytes) -> None:
    with pytest.raises(records.RecordError, match="given twice"):
        records.admit(twice)
    with pytest.raises(structs.RecordError, match="given twice"):
        structs.admit(twice)


@pytest.mark.parametrize("text", ['":', 'a":1,"a":2', '\\":', '" :', "x"])
def test_a_text_that_looks_like_a_repeated_field_is_let_in(text: str) -> None:
    let_in = data(reason="other", x_note=text, x_other=text)
    assert records.admit(let_in).subject == structs.admit(let_in).subject == "INV-1"


def test_an_adapters_empty_fields_are_left_out() -> None:
    event = records.make(
        "invoice.issued", id="a", source="b", subject="INV-1", time=datetime(2026, 1, 2, tzinfo=UTC),
        correlationid="invoice:acme:b:1", data=GOOD["data"] | {"due_date": None, "lines": [{"amount_minor": 1, "product": None}]},
    )  # fmt: skip
    assert b"null" not in records.encode(event)


def test_the_exported_schema_is_valid_and_describes_every_type() -> None:
    schema = records.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert set(schema["discriminator"]["mapping"]) == set(EVENTS)
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid(GOOD)
    assert not validator.is_valid(GOOD | {"type": "invoice.exploded"})
    assert not validator.is_valid(json.loads(data(currency="ZZZ")))
