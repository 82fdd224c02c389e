"""Lines in and lines out, for the commands that work on files.

- Input: files, or `-` for standard input; gzip is told by its first bytes. A line longer than MAX_LINE_BYTES is cut
  there, so that memory stays steady; whoever reads it refuses it for its length.
- Output: a file appears whole or not at all (written beside its place, then renamed); pipes and devices are written as
  they are. A reader of standard output that has seen enough (`| head`) ends the program quietly.
"""

import base64
import gzip
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import msgspec

from canonical.plain import MAX_RECORD_BYTES
from canonical.records import encode
from sources.records import Mapped, Rejected

MAX_LINE_BYTES = MAX_RECORD_BYTES + 1
STANDARD = "-"
_GZIP_MAGIC = b"\x1f\x8b"


class CannotRead(Exception):
    """An input that is not there, or not what it seems; the message is one sentence."""


class Place(NamedTuple):
    """Where a line stands; `line` from 1."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{'standard input' if self.path == STANDARD else self.path}:{self.line}"


class Lines:
    """The lines of several inputs, one after the other, empty ones left out.

    `place` is that of the last one given, `count` how many were; `total_bytes` is None where it cannot be known before.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        for path in paths:
            if path != STANDARD and not Path(path).is_file():
                raise CannotRead(f"no such file: {path}")
        self.paths = paths
        self.place, self.count = Place(STANDARD, 0), 0
        plain = all(path != STANDARD and not path.endswith(".gz") for path in paths)
        self.total_bytes = sum(os.path.getsize(path) for path in paths) if plain else None

    def counted(self, on_bytes: Callable[[int], None]) -> Iterator[bytes]:
        for line in self:
            on_bytes(len(line))
            yield line

    def __iter__(self) -> Iterator[bytes]:
        for path in self.paths:
            try:
                with _open(path) as source:
                    yield from self._lines(path, source)
            except (gzip.BadGzipFile, EOFError) as error:
                raise CannotRead(f"{path} is damaged compressed data: {error}") from None
            except OSError as error:
                if isinstance(error, BrokenPipeError):
                    raise
                raise CannotRead(f"cannot read {path}: {error.strerror or error}") from None

    def _lines(self, path: str, source: IO[bytes]) -> Iterator[bytes]:
        number = 0
        while line := source.readline(MAX_LINE_BYTES):
            number += 1
            self.place = Place(path, number)
            if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                _skip_rest(source)
            if line.strip():
                self.count += 1
                yield line


def _skip_rest(source: IO[bytes]) -> None:
    while rest := source.readline(MAX_LINE_BYTES):
        if rest.endswith(b"\n"):
            return


@contextmanager
def _open(path: str) -> Iterator[IO[bytes]]:
    raw: Any = sys.stdin.buffer if path == STANDARD else open(path, "rb")  # noqa: SIM115 (closed below)
    try:
        packed = raw.peek(2)[:2] == _GZIP_MAGIC
        yield cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if packed else raw
    finally:
        if raw is not sys.stdin.buffer:
            raw.close()


@contextmanager
def output(path: str | None) -> Iterator[IO[bytes]]:
    """Where to write: standard output for None and `-`."""
    if path is None or path == STANDARD:
        with _standard_output() as stream:
            yield stream
    elif os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as stream:
            yield stream
    else:
        with _whole(Path(os.path.realpath(path))) as stream:
            yield stream


@contextmanager
def _standard_output() -> Iterator[IO[bytes]]:
    try:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # Python would complain once more when it flushes at its end; what is left goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None


@contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        stream = part.open("wb")
    except OSError as error:
        raise CannotRead(f"cannot write {path}: {error.strerror}") from None
    try:
        with stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


class Counts(NamedTuple):
    records: int
    events: int
    dead_letters: int


def write_mapped(
    outcomes: Iterable[Mapped | Rejected], events: IO[bytes], rejected: IO[bytes], on_records: Callable[[int], None]
) -> Counts:
    """Events and rejected records to their files, one JSON a line."""
    records = written = dead_letters = 0
    for outcome in outcomes:
        records += 1
        if isinstance(outcome, Rejected):
            dead_letters += 1
            rejected.write(_rejected_line(outcome))
        else:
            written += len(outcome.events)
            events.writelines(encode(event) + b"\n" for event in outcome.events)
        on_records(1)
    return Counts(records, written, dead_letters)


def _rejected_line(letter: Rejected) -> bytes:
    """`original` in base64: it may be any bytes."""
    fields = {
        "class": letter.failure, "reason": letter.reason, "source": letter.source, "path": letter.path,
        "line": letter.line, "original": base64.b64encode(letter.original).decode(),
    }  # fmt: skip
    return msgspec.json.encode(fields) + b"\n"
