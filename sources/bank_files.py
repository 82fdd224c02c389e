"""Files of bank statements to records, under the promises of sources.records.

- camt: a file is one record, unless it is larger than a record may be: then each statement is cut into parts that hold
  its head and balances, as many entries as fit, and a processing instruction with the number of the first of them. The
  file is held in memory while it is cut (limit MAX_DOCUMENT_BYTES).
- MT940: a record is one message, from its :20: up to the next; what stands around messages (envelopes, separators) is none.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

from canonical.records import MAX_RECORD_BYTES
from sources.bank.xml import XmlError, local, parser_of
from sources.records import DAMAGED, MAX_DOCUMENT_BYTES, RawRecord, files, open_file

_CAMT_ENDINGS = (".xml", ".camt", ".camt052", ".camt053", ".camt054")
_MT_ENDINGS = (".sta", ".txt", ".mt940", ".mt942", ".940", ".942", ".swi", ".fin")
_STATEMENTS = {"Stmt", "Rpt", "Ntfctn"}
_PART_BYTES = MAX_RECORD_BYTES - 1_000  # room for the processing instruction


def read_camt(paths: Iterable[str]) -> Iterator[RawRecord]:
    for path in files(paths, _CAMT_ENDINGS):
        body = _whole(path)
        parts = [body] if len(body) <= MAX_RECORD_BYTES else _parts(body)
        for number, part in enumerate(parts, 1):
            yield RawRecord(part, str(path), number)


def read_mt940(paths: Iterable[str]) -> Iterator[RawRecord]:
    for path in files(paths, _MT_ENDINGS):
        yield from (RawRecord(body, str(path), line) for line, body in _messages(path))


def _whole(path: Path) -> bytes:
    try:
        with closing(open_file(path)) as stream:
            return stream.read(MAX_DOCUMENT_BYTES)
    except DAMAGED:
        return path.read_bytes()[:MAX_RECORD_BYTES]


def _messages(path: Path) -> Iterator[tuple[int, bytes]]:
    """(line of its :20:, bytes); a file without any :20: is one record, which maps to a dead letter."""
    start, message, before = 1, bytearray(), bytearray()
    found = False
    try:
        with closing(open_file(path)) as stream:
            for number, line in enumerate(stream, 1):
                if line.lstrip(b" \x01").startswith(b":20:"):
                    if found:
                        yield start, bytes(message)
                    found, start, message = True, number, bytearray()
                (message if found else before).extend(line[: MAX_RECORD_BYTES + 1])
                if len(before) > MAX_RECORD_BYTES:
                    break
    except DAMAGED:
        found, message = True, bytearray(path.read_bytes()[:MAX_RECORD_BYTES])
    if found or before.strip():
        yield start, bytes(message if found else before)


class _Span(NamedTuple):
    start: int
    end: int


class _Cuts:
    """Where statements and their entries begin and end, in bytes."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.statements: list[_Span] = []
        self.entries: list[list[_Span]] = []
        self._starts: list[int] = []
        self._parser = parser_of(self)
        self._parser.Parse(body, True)

    def start(self, name: str, _: dict[str, str]) -> None:
        if local(name) in _STATEMENTS:
            self.entries.append([])
        self._starts.append(self._parser.CurrentByteIndex)

    def end(self, name: str) -> None:
        start = self._starts.pop()
        if local(name) in _STATEMENTS or local(name) == "Ntry":
            span = _Span(start, self.body.index(b">", self._parser.CurrentByteIndex) + 1)
            if local(name) in _STATEMENTS:
                self.statements.append(span)
            elif self.entries:
                self.entries[-1].append(span)


def _parts(body: bytes) -> Iterator[bytes]:
    try:
        cuts = _Cuts(body)
    except (XmlError, expat.ExpatError, ValueError, LookupError):
        yield body[: MAX_RECORD_BYTES + 1]
        return
    if not cuts.statements:
        yield body[: MAX_RECORD_BYTES + 1]
        return
    head, tail = body[: cuts.statements[0].start], body[cuts.statements[-1].end :]
    for statement, entries in zip(cuts.statements, cuts.entries, strict=True):
        before = body[statement.start : entries[0].start if entries else statement.end]
        after = body[entries[-1].end : statement.end] if entries else b""
        room = _PART_BYTES - len(head) - len(before) - len(after) - len(tail)
        for first, group in _groups(entries, room):
            middle = b"".join(body[entry.start : entry.end] for entry in group)
            yield head + before + f"<?tieout {first}?>".encode() + middle + after + tail


def _groups(entries: list[_Span], room: int) -> Iterator[tuple[int, list[_Span]]]:
    """(number of the first, as many entries as fit), at least one group: a statement without entries is told too."""
    group: list[_Span] = []
    first, size = 1, 0
    for number, entry in enumerate(entries, 1):
        length = entry.end - entry.start
        if group and size + length > room:
            yield first, group
            group, first, size = [], number, 0
        group.append(entry)
        size += length
    yield first, group
