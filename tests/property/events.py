"""Hypothesis strategies for canonical events, derived from the models: what a model allows, these draw.

`records()` gives an event of any type as the JSON object that stands for it; `spoiled()` gives bytes that are one step
away from a valid record, in every way that a broken sender has been seen to go wrong.
"""

import json
import types
from datetime import UTC, date, datetime, timedelta, timezone
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from canonical.events import EARLIEST, EVENTS, LATEST, NAME_PATTERN, TEXT_PATTERN, Event
from canonical.ids import CASE_KINDS, ID_PATTERN, KEY_PATTERN

_ID_CHARS = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"\\')
_PRINTABLE = st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])
_ids = st.text(_ID_CHARS, min_size=1, max_size=30)
_TEXTS = {
    NAME_PATTERN: st.text(_PRINTABLE, min_size=1, max_size=20) | st.just("ü" * 200),
    TEXT_PATTERN: st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
    ID_PATTERN: _ids,
    KEY_PATTERN: st.builds("{}:{}".format, st.sampled_from(CASE_KINDS), _ids),
}
_zones = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(
    EARLIEST.replace(tzinfo=None) + timedelta(days=2), LATEST.replace(tzinfo=None) - timedelta(days=2), timezones=_zones
).map(datetime.isoformat) | st.datetimes(
    EARLIEST.replace(tzinfo=None), LATEST.replace(tzinfo=None) - timedelta(seconds=1), timezones=st.just(UTC)
).map(lambda at: at.replace(tzinfo=None).isoformat() + "Z")


def records() -> st.SearchStrategy[dict[str, Any]]:
    """A valid event of any type, as a JSON object; sometimes with fields that no model knows."""
    return st.sampled_from(sorted(EVENTS)).flatmap(record_of)


@st.composite
def record_of(draw: st.DrawFn, event_type: str) -> dict[str, Any]:
    record: dict[str, Any] = draw(_object(EVENTS[event_type]))
    record["dataschema"] = f"urn:tieout:{event_type}:1"
    if draw(st.integers(0, 3)) == 0:
        record[draw(_unknown_names)] = draw(_unknown_values)
        record["data"][draw(_unknown_names)] = draw(_unknown_values)
    return record


_unknown_names = st.text(max_size=8).map("x_{}".format) | st.just("class")
_unknown_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(allow_nan=False, allow_infinity=False),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=4), children, max_size=3),
    max_leaves=5,
)


@cache
def _object(model: type[BaseModel]) -> st.SearchStrategy[dict[str, Any]]:
    required = {name: _value(f.annotation, f.metadata) for name, f in model.model_fields.items() if f.is_required()}
    optional = {name: _value(f.annotation, f.metadata) for name, f in model.model_fields.items() if not f.is_required()}
    if issubclass(model, Event):
        required["dataschema"] = st.just("set by the caller")
    return st.fixed_dictionaries(required, optional=optional)


def _value(annotation: Any, metadata: Any = ()) -> st.SearchStrategy[Any]:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _value(args[0], [*args[1:], *metadata])
    if origin in (Union, types.UnionType):
        return st.one_of([_value(arg) for arg in args])
    if origin is Literal:
        return st.sampled_from(args)
    if origin is tuple:
        return st.lists(_value(args[0]), max_size=3)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return st.deferred(lambda: _object(annotation))
    return _scalar(annotation, _limits(metadata))


def _scalar(annotation: Any, limits: dict[str, Any]) -> st.SearchStrategy[Any]:
    if annotation is str:
        pattern = limits["pattern"]
        return _TEXTS[pattern] if pattern in _TEXTS else st.from_regex(pattern.replace("$", r"\Z"))
    if annotation is int:
        return st.integers(limits["ge"], limits["le"]) | st.integers(0, 100_000)
    return {
        bool: st.booleans(),
        datetime: moments,
        date: st.dates(date(1, 1, 1)).map(date.isoformat),
        type(None): st.none(),
    }[annotation]


def _limits(metadata: Any) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    for item in metadata:
        if isinstance(item, FieldInfo):
            limits |= _limits(item.metadata)
        elif isinstance(item, annotated_types.Ge):
            limits["ge"] = item.ge
        elif isinstance(item, annotated_types.Le):
            limits["le"] = item.le
        elif pattern := getattr(item, "pattern", None):
            limits["pattern"] = pattern
    return limits


def encoded(record: Any) -> bytes:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


_TIMES = (
    "2026-01-02t03:04:05z", "2026-01-02 03:04:05Z", "2026-01-02T03:04:60Z", "2026-12-31T23:59:60Z",
    "2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.9999999Z", "2026-01-02T03:04:05+05:30",
    "2026-01-02T03:04:05-00:00", "2026-01-02T03:04:05+0530", "2026-01-02T03:04:05+24:00", "2026-01-02T24:00:00Z",
    "2026-01-02T03:04:05", "2026-01-02T03:04Z", "2026-01-02", "1767322800", "2026-02-30T00:00:00Z",
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1989-12-31T23:59:59.999999Z",
    "1990-01-01T00:30:00+01:00", "1989-12-31T23:30:00-01:00", "2099-12-31T23:59:59.9999999Z", "2100-01-01T00:00:00Z",
    "2099-12-31T23:30:00-01:00", "5026-01-02T03:04:05Z", " 2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z\n", "",
)  # fmt: skip
WRONG_VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 1.0, 1.5, -0.0, 2**63 - 1, 2**63, 2**64, 10**30, -(2**63) + 1, -(2**63), "", " ", "1",
    "12.50", "1e3", "-0", "USD", "usd", "XXX", "ZZZ", "a b", "ä", "\0", "\n", "x\n", "\x7f", "a\"b", "a\\b", "\ud800",
    "\U0001f600", "order:", "order: a", "order:\x7f", "invoice:a:b:c", "Invoice:a:b:c", "a" * 200, "a" * 201, "a" * 256,
    "a" * 257, "invoice:" + "k" * 10_240, "x" * 4001, [], {}, [1], {"a": 1}, [None], *_TIMES,
    "invoice.issued", "posting.recorded", "invoice.exploded", "urn:tieout:invoice.issued:2", "urn:tieout:bank.line:01",
    "1.0", "0.3", "00-" + "0" * 32 + "-" + "0" * 16 + "-01",
]  # fmt: skip
WRONG_BYTES: list[bytes] = [
    b"NaN", b"Infinity", b"-Infinity", b"1.0", b"1e3", b"12e2", b"1E400", b"-1e400", b"1e-400", b"1e99999999999999999999",
    b"0.1234567890123456789", b"01", b"+1", b".5", b"1.", b"-", b"- 1", b"0x1", b"1_000", b"9" * 400, b"9" * 5000,
    b"\"\\ud800\"", b"\"\\udc00\\ud800\"", b"\"\\ud83d\\ude00\"", b"\"\xff\"", b"\"\xed\xa0\x80\"", b"\"\xc0\x80\"",
    b"\"\\u0000\"", b"\"\x00\"", b"\"\x1f\"", b"\"\\x\"", b"\"\x7f\"", b"'a'", b"tru", b"undefined", b"",
    b"[" * 99 + b"]" * 99, b"[" * 150 + b"]" * 150, b"[" * 900 + b"]" * 900, b'{"a":' * 99 + b"1" + b"}" * 99,
    b'{"a":' * 250 + b"1" + b"}" * 250, b"[" * 20_000 + b"]" * 20_000, b'{"a":1,"a":2}', b'{"\xff":1}', b'{"\\ud800":1}',
    b'{"":1}', b"{1:1}", b"[1,]", b'"\\u005c"', b"{}",
]  # fmt: skip
_wrong_values, _wrong_bytes = st.sampled_from(WRONG_VALUES), st.sampled_from(WRONG_BYTES)
_MARK = "\x01replace me\x01"


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """Bytes that were a valid record before something happened to them."""
    record = draw(records())
    how = draw(st.sampled_from([_drop, _replace, _replace_raw, _repeat, _rename, _wrap, _cut, _flip]))
    return how(draw, record)


def _place(draw: st.DrawFn, record: Any) -> tuple[Any, Any]:
    """Some container in the record and a key in it; the envelope and its data are likely."""
    container = record
    while True:
        key = draw(st.sampled_from(list(container) if isinstance(container, dict) else range(len(container))))
        inner = container[key]
        if not isinstance(inner, (dict, list)) or not inner or draw(st.integers(0, 4)) == 0:
            return container, key
        container = inner


def places(record: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a record, the fields that no model knows among them."""
    found = []
    for key in list(record) if isinstance(record, dict) else range(len(record)):
        found.append((record, key))
        if isinstance(record[key], (dict, list)):
            found += places(record[key])
    return found


def with_bytes(record: Any, container: Any, key: Any, raw: bytes) -> bytes:
    """The record with these bytes in a field's place."""
    kept = container.get(key) if isinstance(container, dict) else container[key]
    container[key] = _MARK
    spoiled_record = encoded(record).replace(json.dumps(_MARK).encode(), raw, 1)
    container[key] = kept
    return spoiled_record


def _drop(draw: st.DrawFn, record: Any) -> bytes:
    container, key = _place(draw, record)
    del container[key]
    return encoded(record)


def _replace(draw: st.DrawFn, record: Any) -> bytes:
    container, key = _place(draw, record)
    container[key] = draw(_wrong_values)
    return encoded(record)


def _replace_raw(draw: st.DrawFn, record: Any) -> bytes:
    if draw(st.booleans()):
        container, key = _place(draw, record)
    else:
        container, key = draw(st.sampled_from([record, record["data"]])), "x_unknown"
    return with_bytes(record, container, key, draw(_wrong_bytes))


def _repeat(draw: st.DrawFn, record: Any) -> bytes:
    container = draw(st.sampled_from([record, record["data"]]))
    name = draw(st.sampled_from(list(container)))
    again = encoded(name) + b":" + encoded(draw(st.just(container[name]) | _wrong_values))
    raw, whole = encoded(record), encoded(container)
    if draw(st.booleans()):
        return raw.replace(whole, b"{" + again + b"," + whole[1:], 1)
    return raw.replace(whole, whole[:-1] + b"," + again + b"}", 1)


def _rename(draw: st.DrawFn, record: Any) -> bytes:
    container = draw(st.sampled_from([record, record["data"]]))
    name = draw(st.sampled_from(list(container)))
    container[draw(st.sampled_from([name.upper(), name + " ", "", "type", "stream", "__class__", "data"]))] = (
        container.pop(name)
    )
    return encoded(record)


def _wrap(draw: st.DrawFn, record: Any) -> bytes:
    raw = encoded(record)
    spaced = json.dumps(record, indent=draw(st.sampled_from([None, 1]))).encode()
    return draw(
        st.sampled_from([
            b"\xef\xbb\xbf" + raw, raw + b"x", raw + b"\n", raw + b"\0", b"\0" + raw, b" \t\r\n" + raw, b"\x0c" + raw,
            b"[" + raw + b"]", raw + raw, raw + b"\n" + raw, b'"' + raw + b'"', spaced, raw.decode().encode("utf-16"),
            raw + b" " * 1_000_000,
        ])
    )  # fmt: skip


def _cut(draw: st.DrawFn, record: Any) -> bytes:
    raw = encoded(record)
    return raw[: draw(st.integers(0, len(raw)))]


def _flip(draw: st.DrawFn, record: Any) -> bytes:
    raw = bytearray(encoded(record))
    raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
    return bytes(raw)
