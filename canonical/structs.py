"""Typed structs derived from the pydantic models: the same records, decoded about ten times faster.

`decode(raw)` accepts and refuses exactly what `records.decode` does (tests/property/test_structs.py), and gives an
object with the same attributes as the pydantic event, so callers are typed against `canonical.events`; times are in
UTC. Unknown fields are not carried: the raw record keeps them.

Three families of structs, one rule:
- The full structs carry every constraint and skip unknown fields. They decide.
- The lean structs are what callers get. They know no unknown fields, accept only contracts of accepted versions and
  leave out the patterns that a record without a backslash or DEL byte meets anyway (JSON has no other way to write a
  control character) or that `is_plain` sees faster. What passes there, the full ones accept; the rest they decide.
- The written structs give an event's bytes: fields in the models' order, those that were not given left out.

Limits: MAX_RECORD_BYTES (canonical.plain) a record, refused before it is parsed; MAX_DEPTH levels of nesting in unknown fields. A number
in an unknown field that a double cannot hold exactly is refused, because writing the event again would change it.
"""

import json
import re
import types
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, Union, cast, get_args, get_origin

import annotated_types
import msgspec
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from canonical.contracts import ACCEPTED_VERSIONS, dataschema, is_accepted
from canonical.events import EVENTS, NAME_PATTERN, TEXT_PATTERN, Event, check_clock
from canonical.ids import MAX_KEY_CHARS
from canonical.plain import MAX_RECORD_BYTES, FirstSight, is_unsure

MAX_DEPTH = 100

_TIMES = ("recorded_at", "cutoff", "known_until")  # that data may hold


class RecordError(ValueError):
    """A record that is no canonical event; the message says what is wrong and where."""


def decode(raw: bytes) -> Event:
    """One record to an event. Raises RecordError."""
    return plain(raw) or _decode_with_care(raw)


def encode(event: Event) -> bytes:
    """A struct's record, as `records.encode` writes the model's; a null and a field that was not given are one."""
    return msgspec.json.encode(msgspec.convert(event, _written[event.type], from_attributes=True))


def admit(raw: bytes) -> Event:
    """`decode` for bytes that others wrote: as `records.admit`. Raises RecordError."""
    event = plain(raw)
    if event is not None and not is_unsure(raw) and raw.count(b'":') == _encode(event).count(b'":'):
        return event  # of known fields only, and as many names as there are fields
    event = event or _decode_with_care(raw)
    check_names(raw)
    return event


def check_names(raw: bytes) -> None:
    """Raises RecordError where an object of valid JSON gives a name twice: parsers disagree about which one holds.

    Counts the names before and after parsing, and looks closely only where text could look like a name.
    """
    if is_unsure(raw):
        unique = _has_unique_names(raw)
    else:
        unique = raw.count(b'":') == msgspec.json.encode(msgspec.json.decode(raw)).count(b'":')
    if not unique:
        raise RecordError("a field is given twice in one object")


def _has_unique_names(raw: bytes) -> bool:
    try:
        json.loads(raw, object_pairs_hook=_refuse_repeated)
    except ValueError:
        return False
    return True


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError


def moments(event: Event) -> tuple[datetime, ...]:
    """Every time in an event, as given."""
    given = (event.time, *(getattr(event.data, name, None) for name in _TIMES))
    return tuple(moment for moment in given if moment is not None)


def _decode_with_care(raw: bytes) -> Event:
    if len(raw) > MAX_RECORD_BYTES:
        raise RecordError(f"record of {len(raw)} bytes, limit {MAX_RECORD_BYTES}")
    try:
        check_unknown_fields(raw)
        full = cast(Event, _full.decode(raw))
        for moment in moments(full):
            check_clock(moment)
    except (ValueError, RecursionError) as error:
        raise RecordError(str(error)) from None
    if not is_accepted(full.dataschema, full.type):
        raise RecordError(f"contract {full.dataschema} is not one that policy accepts for {full.type}")
    event: Event = _decode_lean(msgspec.json.encode(full))
    return event if all(moment.tzinfo is UTC for moment in moments(event)) else _in_utc(event)


def _in_utc(event: Event) -> Event:
    def utc(struct: Any) -> Any:
        times = {name: getattr(struct, name, None) for name in ("time", *_TIMES)}
        return msgspec.structs.replace(struct, **{name: at.astimezone(UTC) for name, at in times.items() if at})

    return cast(Event, msgspec.structs.replace(utc(event), data=utc(event.data)))


def check_unknown_fields(raw: bytes) -> None:
    """Refuses what typed decoding skips unseen. Raises ValueError for what is no JSON or could not be written again."""
    tree = _untyped.decode(raw)
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _depth(tree) > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")


def _exact_float(text: str) -> float:
    value = float(text)
    try:
        exact = Decimal(repr(value)) == Decimal(text)
    except ArithmeticError:  # an exponent beyond even Decimal's
        exact = False
    if not exact:
        raise ValueError(f"number {text[:40]} does not fit a double exactly: send it as a string")
    return value


def _depth(tree: Any) -> int:
    """Levels of nesting, level by level: the stack must not decide what a record may hold."""
    levels, level = 0, [tree]
    while level := [item for item in level if isinstance(item, (dict, list))]:
        levels += 1
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    return levels


_untyped = msgspec.json.Decoder(float_hook=_exact_float)


class _Family:
    """Structs of one family by model. Raises TypeError for an annotation that has no struct type."""

    def __init__(self, *, lean: bool) -> None:
        self.lean = lean
        self.implied = {NAME_PATTERN: {"min_length": 1}, TEXT_PATTERN: {}} if lean else {}
        self.structs: dict[type[BaseModel], type[msgspec.Struct]] = {}

    def decoder(self) -> msgspec.json.Decoder[Any]:
        return msgspec.json.Decoder(Union[tuple(self.struct(model) for model in EVENTS.values())])  # noqa: UP007

    def struct(self, model: type[BaseModel]) -> type[msgspec.Struct]:
        if model not in self.structs:
            fields = {name: self.field(name, field) for name, field in model.model_fields.items()}
            options = self.options(model, fields)
            self.structs[model] = msgspec.defstruct(
                model.__name__, fields.values(), frozen=True, kw_only=True, gc=False, **options
            )
        return self.structs[model]

    def options(self, model: type[BaseModel], fields: dict[str, Any]) -> dict[str, Any]:
        envelope = self.envelope(model, fields) if issubclass(model, Event) else {}
        return {"forbid_unknown_fields": self.lean, "omit_defaults": self.lean} | envelope

    def envelope(self, model: type[Event], fields: dict[str, Any]) -> dict[str, Any]:
        """The type becomes the union's tag; a lean struct knows only the contracts that are accepted."""
        tag = get_args(model.model_fields["type"].annotation)[0]
        del fields["type"]
        if self.lean:
            contracts = tuple(dataschema(tag, version) for version in ACCEPTED_VERSIONS)
            fields["dataschema"] = ("dataschema", Literal[contracts])
            key = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_KEY_CHARS)]  # the rest is in canonical.plain
            fields |= {name: (name, key) for name in ("id", "source", "correlationid")}
        constants = {"type": tag, "stream": model.stream}
        namespace = constants | {"__annotations__": dict.fromkeys(constants, ClassVar[str])}
        return {"tag_field": "type", "tag": tag, "namespace": namespace}

    def field(self, name: str, field: FieldInfo) -> tuple[str, Any] | tuple[str, Any, Any]:
        kind = self.constrained(self.translate(field.annotation), field.metadata)
        return (name, kind) if field.is_required() else (name, kind, field.default)

    def translate(self, annotation: Any) -> Any:
        origin, args = get_origin(annotation), get_args(annotation)
        if origin is Annotated:
            return self.constrained(self.translate(args[0]), args[1:])
        if origin in (Union, types.UnionType):
            return Union[tuple(self.translate(arg) for arg in args)]  # noqa: UP007 (built at run time)
        if origin is tuple:
            return types.GenericAlias(tuple, (self.translate(args[0]), ...))
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return self.struct(annotation)
        if annotation is datetime:
            return Annotated[datetime, msgspec.Meta(tz=True)]
        if annotation in (str, int, bool, date, type(None)) or origin is Literal:
            return annotation
        raise TypeError(f"no struct type for {annotation!r}")

    def constrained(self, kind: Any, metadata: Any) -> Any:
        """Carries pydantic's constraints over."""
        limits: dict[str, Any] = {}
        for item in metadata:
            if isinstance(item, FieldInfo):
                kind = self.constrained(kind, item.metadata)
            elif isinstance(item, annotated_types.Ge):
                limits["ge"] = item.ge
            elif isinstance(item, annotated_types.Le):
                limits["le"] = item.le
            elif isinstance(item, annotated_types.MaxLen):
                limits["max_length"] = item.max_length
            elif pattern := getattr(item, "pattern", None):
                limits |= self.implied[pattern] if pattern in self.implied else {"pattern": _anchored(pattern)}
        return Annotated[kind, msgspec.Meta(**limits)] if limits else kind


class _Written(_Family):
    """Structs to write with: the type is a field in its place, and what has passed is not checked again."""

    def options(self, model: type[BaseModel], fields: dict[str, Any]) -> dict[str, Any]:
        return {"omit_defaults": True}

    def constrained(self, kind: Any, metadata: Any) -> Any:
        return kind


def _anchored(pattern: str) -> str:
    """`$` becomes `\\Z`, because Python's `$` also matches before a line feed at the end."""
    return re.sub(r"\$$", r"\\Z", pattern)


_full = _Family(lean=False).decoder()
_encode = msgspec.json.Encoder().encode
_decode_lean = _Family(lean=True).decoder().decode
plain: Callable[[bytes], Event | None] = FirstSight(_decode_lean)
_writing = _Written(lean=False)
_written = {event_type: _writing.struct(model) for event_type, model in EVENTS.items()}
