"""Reading a provider's record field by field, with a reason a person can act on wherever it cannot be read.

- `Fields` is one JSON object with a label that says which document it is. A field that is null or an empty string is
  absent. Numbers with a fraction arrive as Decimal: no float is ever made.
- What cannot be read raises `Refused`, which carries the dead letter; adapters let it through, the registry turns it
  into the value.
- Nothing is repaired: an integer is an integer (a text "10.00" or true is refused), a moment is unix seconds.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NoReturn

import msgspec

from canonical.events import Failure
from canonical.money import EXPONENTS
from canonical.records import MAX_RECORD_BYTES

Record = dict[str, Any]

TRUE, FALSE = {"true", "t", "1", "yes", "y"}, {"false", "f", "0", "no", "n"}  # as tables write them, in small letters

_GZIP_MAGIC = b"\x1f\x8b"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_UNIX_S = 253_402_300_800  # the year 10000, past which a datetime cannot go
_MAX_NOTE_CHARS, _MAX_NAME_CHARS = 4_000, 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_decoder = msgspec.json.Decoder(float_hook=Decimal)


class Refused(Exception):
    """This record cannot become events: whose fault class it is, and why."""

    def __init__(self, failure: Failure, reason: str) -> None:
        super().__init__(reason)
        self.failure: Failure = failure
        self.reason = reason


def parse(body: bytes) -> Record:
    """The record as one JSON object. Refused (mapping) otherwise."""
    if not body.strip():
        raise Refused("mapping", "the record is empty; check what the sender writes")
    if len(body) > MAX_RECORD_BYTES:
        raise Refused("mapping", f"the record has {len(body)} bytes, limit {MAX_RECORD_BYTES}; split or trim it at the sender")  # fmt: skip
    if body.startswith(_GZIP_MAGIC):
        raise Refused("mapping", "the record is compressed data that is damaged or was sent as it is; send it expanded")
    try:
        record = _decoder.decode(body)
    except (ValueError, RecursionError, ArithmeticError) as error:
        if not _is_utf8(body):
            raise Refused("mapping", "the record is not UTF-8 text; have its file written in UTF-8") from None
        raise Refused("mapping", f"the record is not JSON ({error}); it was cut off or is of another source") from None
    if not isinstance(record, dict):
        raise Refused("mapping", f"the record is a JSON {kind_of(record)}, not an object; send one document a record")
    return record


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def kind_of(value: Any) -> str:
    """JSON's word for a value's type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    names = {dict: "object", list: "array", str: "text", int: "integer"}
    return names.get(type(value), "number with a fraction")


def shown(value: Any) -> str:
    """A value as it may stand in a reason: short, on one line."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def known_currency(value: str, label: str) -> str:
    """An ISO 4217 code in capitals. Refused (master data) for a code that the list does not have."""
    code = value.upper()
    if code not in EXPONENTS:
        raise Refused("master_data", f"{label}: currency {shown(value)} is not in ISO 4217; correct it in the source or have the code added")  # fmt: skip
    return code


def note(value: str | None) -> str | None:
    """Text for people only (descriptions, reasons): NUL removed, cut at 4,000 characters; nothing is matched on it."""
    return None if value is None else value.replace("\x00", "")[:_MAX_NOTE_CHARS]


def check_columns(row: "Fields") -> None:
    """Refuses a row of a table that could not be laid under its header (sources.records)."""
    if "cells" in row.values and "columns" in row.values:
        row.refuse(f"the row has {shown(row.values['cells'])} cells for {shown(row.values['columns'])} columns; a separator is missing or unquoted")  # fmt: skip


def label(value: str | None) -> str | None:
    """A name for people only, as it may stand in an event: one line of at most 200 characters."""
    text = _CONTROL.sub(" ", value or "").strip()[:_MAX_NAME_CHARS]
    return text or None


class Fields:
    """One JSON object of a record; `label` names the document in every reason, as in "stripe invoice in_1"."""

    __slots__ = ("label", "values")

    def __init__(self, values: Record, label: str) -> None:
        self.values = values
        self.label = label

    def refuse(self, reason: str, failure: Failure = "mapping") -> NoReturn:
        raise Refused(failure, f"{self.label}: {reason}")

    def has(self, name: str) -> bool:
        value = self.values.get(name)
        return value is not None and value != ""

    def text(self, name: str) -> str:
        value = self.text_or_none(name)
        if value is None:
            self.refuse(f"{name} is missing")
        return value

    def text_or_none(self, name: str) -> str | None:
        text: str | None = self._given(name, str, "text")
        return text

    def whole(self, name: str) -> int:
        value = self.whole_or_none(name)
        if value is None:
            self.refuse(f"{name} is missing")
        return value

    def whole_or_none(self, name: str) -> int | None:
        number: int | None = self._given(name, int, "an integer")
        return number

    def flag(self, name: str) -> bool:
        """False where absent."""
        return self._given(name, bool, "true or false") is True

    def moment(self, name: str) -> datetime:
        value = self.moment_or_none(name)
        if value is None:
            self.refuse(f"{name} is missing")
        return value

    def moment_or_none(self, name: str) -> datetime | None:
        """Unix seconds as a time in UTC."""
        seconds = self.whole_or_none(name)
        if seconds is None:
            return None
        if not 0 <= seconds < _MAX_UNIX_S:
            self.refuse(f"{name} is {seconds}, no time in unix seconds")
        return _EPOCH + timedelta(seconds=seconds)

    def inner(self, name: str) -> "Fields":
        """The object under `name`; an empty one where absent."""
        return Fields(self._given(name, dict, "an object") or {}, self.label)

    def items(self, name: str) -> Iterator["Fields"]:
        """The objects of an array, or of a provider's list object {"data": [...]}; none where absent."""
        value = self.values.get(name)
        rows = value.get("data") if isinstance(value, dict) else value
        if rows is None or rows == "":
            return
        if not isinstance(rows, list):
            self.refuse(f"{name} is {kind_of(rows)}, expected an array")
        for row in rows:
            if not isinstance(row, dict):
                self.refuse(f"{name} holds {kind_of(row)}, expected objects")
            yield Fields(row, self.label)

    def reference(self, name: str) -> str | None:
        """The id of another document: a text, or the object itself where it came expanded."""
        value = self.values.get(name)
        return Fields(value, self.label).text("id") if isinstance(value, dict) and value else self.text_or_none(name)

    def _given(self, name: str, kind: type, expected: str) -> Any:
        """The value; None where it is absent."""
        value = self.values.get(name)
        if value is None or value == "":
            return None
        if type(value) is not kind:
            self.refuse(f"{name} is {shown(value)} ({kind_of(value)}), expected {expected}")
        return value
