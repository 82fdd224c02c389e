"""Files to records: with sources.joined, sources.document_flow and sources.bank_files the only I/O of this package. Streams; memory does not grow with the input.

- A path is a file or a folder (read in order of name, subfolders too; hidden files and files of other types are left
  out). `.gz` is expanded. A path that does not exist, or a source that is not registered, raises SourceError: that is
  the caller's mistake. What is inside a file never raises: what cannot be read becomes a record that maps to a dead
  letter.
- JSON: JSON lines (told by .jsonl, .ndjson, or by lines that are whole values), or one document of up to
  MAX_DOCUMENT_BYTES: an object, an array, Stripe's {"object": "list", "data": [...]} or its fixtures' {"resources":
  {...}}, which are taken apart. A record's bytes are the file's own.
- CSV and table extracts (CSV or JSON lines): a row, or a header row with its lines, becomes one JSON object of texts.
- `line` is the line in a line-based file, otherwise the ordinal in its document; both from 1.
"""

import csv
import gzip
import json
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from canonical.dead_letters import DeadLetter
from canonical.events import Event, Failure
from canonical.money import EXPONENTS
from canonical.records import MAX_RECORD_BYTES
from sources.fields import FALSE, TRUE
from sources.receivables_csv import habits

Splitter = Callable[[bytes], list[bytes]]

MAX_DOCUMENT_BYTES = 512 * 1024 * 1024
_JSON_ENDINGS = (".json", ".jsonl", ".ndjson")
_CSV_ENDINGS = (".csv", ".tsv", ".txt")
_GZIP_MAGIC = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
DAMAGED = (OSError, EOFError, zlib.error)


class SourceError(Exception):
    """A source name or path that is wrong: for the person who gave it."""


class RawRecord(NamedTuple):
    body: bytes
    path: str
    line: int


class Mapped(NamedTuple):
    """One record and the events it gave."""

    events: tuple[Event, ...]
    raw: RawRecord


class Rejected(NamedTuple):
    """One record that gave none. `failure` is the class, `original` the record's bytes as they were read."""

    failure: Failure
    reason: str
    source: str
    path: str
    line: int
    original: bytes


def map_paths(source_name: str, paths: Iterable[str]) -> Iterator[Mapped | Rejected]:
    """Every record under the paths, in order. Raises SourceError at once for a wrong source name or path."""
    from sources.registry import SOURCES  # the registry names this module's readers, so it cannot be imported above

    if source_name not in SOURCES:
        raise SourceError(f"unknown source {source_name!r}; known are {', '.join(SOURCES)}")
    source, given = SOURCES[source_name], list(paths)
    _check_paths(given)
    return (_outcome(source_name, source.map(raw.body, None), raw) for raw in source.read(given))


def _outcome(source: str, mapped: tuple[Event, ...] | DeadLetter, raw: RawRecord) -> Mapped | Rejected:
    if isinstance(mapped, DeadLetter):
        return Rejected(mapped.failure, mapped.reason, source, raw.path, raw.line, raw.body)
    return Mapped(mapped, raw)


def _check_paths(paths: Iterable[str]) -> None:
    for path in paths:
        if not Path(path).exists():
            raise SourceError(f"no such file or folder: {path}")


def files(paths: Iterable[str], endings: tuple[str, ...]) -> Iterator[Path]:
    """The files meant; one that was named itself is read whatever its ending."""
    for path in map(Path, paths):
        if not path.exists():
            raise SourceError(f"no such file or folder: {path}")
        if not path.is_dir():
            yield path
            continue
        found = [file for file in sorted(path.rglob("*")) if file.is_file() and _is_meant(file, path, endings)]
        if not found:
            raise SourceError(f"no file ending in {', '.join(endings)} (or with .gz) in folder {path}")
        yield from found


def _is_meant(file: Path, folder: Path, endings: tuple[str, ...]) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return not hidden and file.name.lower().removesuffix(".gz").endswith(endings)


def open_file(path: Path) -> IO[bytes]:
    try:
        stream = path.open("rb")
    except OSError as error:
        raise SourceError(f"cannot open {path}: {error.strerror}") from None
    if stream.peek(2)[:2] != _GZIP_MAGIC:
        return stream
    return gzip.GzipFile(fileobj=stream)  # type: ignore[return-value]


# --- JSON -----------------------------------------------------------------------------------------------------------


def read_json(paths: Iterable[str]) -> Iterator[RawRecord]:
    for path in files(paths, _JSON_ENDINGS):
        yield from _numbered(path, _json_bodies(path, _parts))


def read_stripe(paths: Iterable[str]) -> Iterator[RawRecord]:
    for path in files(paths, _JSON_ENDINGS):
        yield from _numbered(path, _json_bodies(path, _stripe_parts))


def read_chargebee(paths: Iterable[str]) -> Iterator[RawRecord]:
    for path in files(paths, _JSON_ENDINGS):
        yield from _numbered(path, _json_bodies(path, _chargebee_parts))


def _numbered(path: Path, bodies: Iterable[tuple[int, bytes]]) -> Iterator[RawRecord]:
    for line, body in bodies:
        yield RawRecord(body, str(path), line)


def _json_bodies(path: Path, split: Splitter) -> Iterator[tuple[int, bytes]]:
    with closing(open_file(path)) as stream:
        try:
            start = [stream.readline().removeprefix(_BOM)]
            while start[-1] and sum(1 for line in start if line.strip()) < 2:
                start.append(stream.readline())
            if _is_line_based(path, [line.strip() for line in start if line.strip()]):
                yield from _json_lines(chain(start, stream), split)
            else:
                yield from _json_document(path, b"".join(start), stream, split)
        except DAMAGED:
            yield 1, path.read_bytes()[:MAX_RECORD_BYTES]


def _is_line_based(path: Path, lines: list[bytes]) -> bool:
    """Told by the name, by a first line that is a whole value before others, or by a second one after a damaged first."""
    if path.name.lower().removesuffix(".gz").endswith((".jsonl", ".ndjson")):
        return True
    if len(lines) < 2:
        return False
    return _is_json(lines[0]) or (not lines[0].startswith(b"[") and lines[1].startswith(b"{") and _is_json(lines[1]))


def _json_lines(lines: Iterable[bytes], split: Splitter) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            for part in split(line.strip()):
                yield number, part


def _json_document(path: Path, start: bytes, stream: IO[bytes], split: Splitter) -> Iterator[tuple[int, bytes]]:
    body = start + stream.read(MAX_DOCUMENT_BYTES)
    if len(body) > MAX_DOCUMENT_BYTES:
        raise SourceError(
            f"{path} is one JSON document of more than {MAX_DOCUMENT_BYTES} bytes; write it as JSON lines"
        )
    yield from enumerate(split(body.strip()), 1)


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except (ValueError, RecursionError):
        return False
    return True


_WRAPPERS_SAY = (b'"list"', b'"search_result"', b'"resources"', b"\\u")  # or letters that are written as numbers


class _Wrapper(msgspec.Struct):
    object: str | None = None
    data: list[msgspec.Raw] | None = None
    resources: dict[str, msgspec.Raw] | None = None


_arrays = msgspec.json.Decoder(list[msgspec.Raw])
_wrappers = msgspec.json.Decoder(_Wrapper)
_objects = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


def _parts(body: bytes) -> list[bytes]:
    """The elements of an array; any other document, and one that cannot be read, as it is."""
    if not body.startswith(b"["):
        return [body]
    try:
        return [bytes(part) for part in _arrays.decode(body)] or [body]
    except (ValueError, RecursionError):
        return [body]


def _stripe_parts(body: bytes) -> list[bytes]:
    """As `_parts`, and the documents inside Stripe's two wrappers."""
    if body.startswith(b"["):
        return [inner for part in _parts(body) for inner in ([part] if part == body else _stripe_parts(part))]
    if not any(word in body for word in _WRAPPERS_SAY):
        return [body]
    try:
        wrapper = _wrappers.decode(body)
    except (ValueError, RecursionError):
        return [body]
    if wrapper.object in ("list", "search_result") and wrapper.data:
        return [bytes(part) for part in wrapper.data]
    if wrapper.object is None and wrapper.resources:
        return [bytes(part) for part in wrapper.resources.values()]
    return [body]


class _Page(msgspec.Struct, rename={"entries": "list"}):
    entries: list[msgspec.Raw] | None = None


_pages = msgspec.json.Decoder(_Page)


def _chargebee_parts(body: bytes) -> list[bytes]:
    """As `_parts`, and the entries of a page {"list": [...], "next_offset": ...}."""
    if body.startswith(b"["):
        return _parts(body)
    try:
        page = _pages.decode(body)
    except (ValueError, RecursionError):
        return [body]
    return [bytes(part) for part in page.entries] if page.entries else [body]


# --- CSV ------------------------------------------------------------------------------------------------------------


def read_csv(paths: Iterable[str]) -> Iterator[RawRecord]:
    for path in files(paths, _CSV_ENDINGS):
        for line, row in _rows(path):
            yield RawRecord(row if isinstance(row, bytes) else _encode(row), str(path), line)


def read_receivables(paths: Iterable[str]) -> Iterator[RawRecord]:
    """As read_csv, with what the whole file proves of its dates and decimals beside each row; so it is read twice."""
    for path in files(paths, _CSV_ENDINGS):
        known = habits(row for _, row in _rows(path) if not isinstance(row, bytes))
        for line, row in _rows(path):
            yield RawRecord(row if isinstance(row, bytes) else _encode(row | known), str(path), line)


Row = dict[str, str]


def _rows(path: Path) -> Iterator[tuple[int, "Row | bytes"]]:
    """(line, cells by column), or the bytes of what is no row: text in another encoding, cells that do not fit."""
    with closing(open_file(path)) as stream:
        lines = (line.decode("utf-8", "surrogateescape") for line in _undamaged(stream))
        header = next(lines, "").removeprefix("\ufeff")
        reader = csv.reader(chain([header], lines), delimiter=_delimiter(header))
        columns = [name.strip() for name in next(reader, [])]
        while True:
            try:
                cells = next(reader, None)
            except csv.Error as error:
                yield reader.line_num, f"not CSV: {error}".encode()
                continue
            if cells is None:
                return
            if cells:
                yield reader.line_num, _row(columns, cells)


def _undamaged(stream: IO[bytes]) -> Iterator[bytes]:
    """Lines up to the end, or up to where compressed data breaks off: the rest is one line that is no row."""
    try:
        yield from stream
    except DAMAGED as error:
        yield f"\x00damaged compressed data: {error}\n".encode()


def _delimiter(header: str) -> str:
    return max(",;\t", key=header.count)


def _row(columns: list[str], cells: list[str]) -> "Row | bytes":
    if len(cells) != len(columns):
        return _encode({"columns": len(columns), "cells": len(cells), "row": ",".join(cells)})
    row = dict(zip(columns, cells, strict=True))
    return row if _is_text(cells) else ",".join(cells).encode("utf-8", "surrogateescape")


def _is_text(cells: list[str]) -> bool:
    return not any("\udc80" <= character <= "\udcff" for cell in cells if not cell.isascii() for character in cell)


def _encode(row: Mapping[str, object]) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogateescape")


# --- Xero table extracts ----------------------------------------------------------------------------------------------

_TABLES = {
    "invoices": ("invoices", "invoice"),
    "invoice_lines": ("invoice_lines", "invoice_line_items", "invoice_line_item", "invoice_line"),
    "credit_notes": ("credit_notes", "credit_note"),
    "credit_note_lines": ("credit_note_lines", "credit_note_line_items", "credit_note_line_item", "credit_note_line"),
    "journals": ("journals", "journal"),
    "journal_lines": ("journal_lines", "journal_line"),
    "accounts": ("accounts", "account"),
    "organizations": ("organizations", "organisations", "organization", "organisation"),
}
_HEADERS = {
    "invoices": ("invoice_lines", "invoice_id"),
    "credit_notes": ("credit_note_lines", "credit_note_id"),
    "journals": ("journal_lines", "journal_id"),
}
_LINE_IDS = {"invoice_lines": "line_item_id", "credit_note_lines": "line_item_id", "journal_lines": "journal_line_id"}
_CONTROLS = {"receivable": ("ACCREC", "ACCRECPAYMENT"), "payable": ("ACCPAY", "ACCPAYPAYMENT")}
_CONTROL_TYPES = {"CURRENT", "CURRLIAB", ""}  # of Xero's receivable and payable; unknown where no table says
_SYSTEM_CONTROLS = {"DEBTORS": "receivable", "CREDITORS": "payable"}
_NULLS = {"NULL", "null", "\\N"}  # how databases write an empty cell into a CSV file
_DELIVERY = {"_fivetran_synced", "_fivetran_start", "_fivetran_end"}  # when a row was copied, nothing of what it says
_WITHOUT_RATE = {"DRAFT", "SUBMITTED", "DELETED"}
_SCHEMA = """
    CREATE TABLE headers (kind TEXT, id TEXT, organisation TEXT, source_type TEXT, source_id TEXT);
    CREATE TABLE lines (kind TEXT, header TEXT, line_id TEXT, account TEXT, amount TEXT, body TEXT, at INTEGER);
"""
_INDEXES = """
    CREATE INDEX headers_by_id ON headers (kind, id);
    CREATE INDEX headers_by_source ON headers (source_id);
    CREATE INDEX lines_by_header ON lines (kind, header);
    DELETE FROM lines WHERE line_id <> '' AND rowid NOT IN (SELECT MIN(rowid) FROM lines GROUP BY kind, header, line_id, body);
"""
_ORPHANS = """
    SELECT at, body FROM lines WHERE kind = ? AND NOT EXISTS (
        SELECT 1 FROM headers WHERE headers.kind = ? AND headers.id = lines.header) ORDER BY at
"""
_CONTROL_VOTES = """
    SELECT account, COUNT(DISTINCT header) FROM lines JOIN headers ON headers.kind = 'journals' AND headers.id = header
    WHERE lines.kind = 'journal_lines' AND account <> '' AND organisation = ? AND source_type IN (?, ?)
    GROUP BY account ORDER BY 2 DESC LIMIT 2
"""
_STANDING = """
    SELECT SUM(CASE WHEN CAST(amount AS REAL) > 0 THEN 1 WHEN CAST(amount AS REAL) < 0 THEN -1 ELSE 0 END)
    FROM headers JOIN lines ON lines.kind = 'journal_lines' AND lines.header = headers.id
    WHERE headers.kind = 'journals' AND source_id = ? AND source_type = ? AND account = ?
"""


def read_xero_tables(paths: Iterable[str]) -> Iterator[RawRecord]:
    """One record an invoice or journal, joined with its lines, their accounts and what only the whole folder tells.

    {"table", "organisation", "base_currency"?, "controls"?, "standing"?, "credit_notes"?, "document": {column: cell},
    "lines": [{column: cell}]}; columns in small letters, empty cells left out, and so are lines that were deleted in
    Xero. A folder without tables of its own is a folder of extracts.
    """
    for folder in dict.fromkeys(chain.from_iterable(_extracts(Path(path)) for path in paths)):
        with closing(sqlite3.connect("")) as store:  # a temporary database on disk: memory does not grow
            yield from _Books(folder, store).records()


def _extracts(path: Path) -> list[Path]:
    if not path.exists():
        raise SourceError(f"no such file or folder: {path}")
    folder = path if path.is_dir() else path.parent
    found = [place for place in (folder, *sorted(folder.rglob("*/"))) if _HEADERS.keys() & _tables(place).keys()]
    if not found:
        raise SourceError(
            f"neither invoices.csv nor journals.csv in {folder}; xero_tables reads a folder of table extracts"
        )
    return found[:1] if found[0] == folder else found


def _tables(folder: Path) -> dict[str, Path]:
    by_name = {name: table for table, names in _TABLES.items() for name in names}
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        stem, _, ending = file.name.lower().removesuffix(".gz").rpartition(".")
        table = by_name.get(stem.removeprefix("xero_").removesuffix("_data"))
        if table and f".{ending}" in (".csv", ".tsv", *_JSON_ENDINGS):
            if table in found:
                raise SourceError(f"{found[table]} and {file} both hold {table}; leave one of them in the folder")
            found[table] = file
    return found


class _Rates:
    """What an organisation's documents in one currency say of its rate: the base currency is always at rate 1."""

    def __init__(self) -> None:
        self.differs = False
        self.days_at_one: set[str] = set()  # two are enough: on two days no floating rate is exactly 1

    def take(self, rate: str, day: str) -> None:
        if rate and not _is_one(rate):
            self.differs = True
        elif rate and len(self.days_at_one) < 2:
            self.days_at_one.add(day)

    @property
    def weight(self) -> int:
        """How much speaks for the base currency: nothing, no rate stated, rate 1 on one day, rate 1 on several."""
        return 0 if self.differs else 1 + len(self.days_at_one)


class _Books:
    """One folder's tables and what is read off them as a whole: organisation, base currency, control accounts."""

    def __init__(self, folder: Path, store: sqlite3.Connection) -> None:
        self.tables = _tables(folder)
        self.store = store
        self.rates: dict[str, dict[str, _Rates]] = {}  # organisation -> currency -> what is known of it
        self.organisations = list({_organisation_id(row) or str(filled(row)): row for _, row in self._clean("organizations") if _is_current(row)}.values())  # fmt: skip
        self.relations = {row["source_relation"]: _organisation_id(row) for row in self.organisations if row.get("source_relation")}  # fmt: skip
        self.accounts = {row[name]: row for _, row in self._clean("accounts") for name in ("code", "account_id") if row.get(name)}  # fmt: skip
        self._load()
        self.controls = {name: self._controls(name) for name in self._names()}

    def records(self) -> Iterator[RawRecord]:
        for kind, (lines, ident) in _HEADERS.items():
            for at, row in self._rows(kind):
                body = row if isinstance(row, bytes) else _encode_joined(self._joined(kind, row, lines, ident))
                yield RawRecord(body, str(self.tables[kind]), at)
            for at, row in self._rows(lines):
                if isinstance(row, bytes):
                    yield RawRecord(row, str(self.tables[lines]), at)
            for at, body in self.store.execute(_ORPHANS, (lines, kind)):
                orphan = {"table": lines, "document": json.loads(body), "header": kind}
                yield RawRecord(_encode_joined(orphan), str(self.tables[lines]), at)

    def _joined(self, kind: str, row: Row, lines: str, ident: str) -> dict[str, object]:
        organisation = self._organisation(row)
        record: dict[str, object] = {"table": kind, "organisation": organisation}
        record["base_currency"] = self._base_currency(organisation)
        if kind == "journals":
            record["controls"] = self.controls.get(organisation, {})
            record["standing"] = self._is_standing(row, self.controls.get(organisation, {}))
            record["credit_notes"] = "credit_notes" in self.tables
        record["document"] = filled(row)
        found = self.store.execute("SELECT body FROM lines WHERE kind = ? AND header = ? ORDER BY at", (lines, row.get(ident, "")))  # fmt: skip
        record["lines"] = [self._with_account(json.loads(body)) for (body,) in found]
        return record

    def _with_account(self, line: Row) -> dict[str, object]:
        account = self.accounts.get(line.get("account_id", "")) or self.accounts.get(line.get("account_code", ""))
        return dict(line) if account is None else {**line, "account": filled(account)}

    def _is_standing(self, row: Row, controls: dict[str, str]) -> bool | None:
        """Whether the journals of a payment leave something: one that was taken back has as many reversals."""
        source_type = row.get("source_type", "")
        control = next((controls.get(name) for name, types in _CONTROLS.items() if source_type == types[1]), None)
        if control is None:
            return None
        (net,) = self.store.execute(_STANDING, (row.get("source_id", ""), source_type, control)).fetchone()
        return bool(net)

    def _load(self) -> None:
        self.store.executescript(_SCHEMA)
        for kind, (lines, ident) in _HEADERS.items():
            headers = ((kind, row.get(ident, ""), self._voted(row), row.get("source_type", ""), row.get("source_id", "")) for _, row in self._clean(kind))  # fmt: skip
            self.store.executemany("INSERT INTO headers VALUES (?, ?, ?, ?, ?)", headers)
            rows = (self._line(lines, row, ident, at) for at, row in self._clean(lines) if _is_current(row))
            self.store.executemany("INSERT INTO lines VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        self.store.executescript(_INDEXES)

    def _line(self, kind: str, row: Row, ident: str, at: int) -> tuple[str, str, str, str, str, str, int]:
        account = self._control_candidate(row) if kind == "journal_lines" else ""
        return kind, row.get(ident, ""), row.get(_LINE_IDS[kind], ""), account, row.get("net_amount", ""), json.dumps(filled(row)), at  # fmt: skip

    def _control_candidate(self, line: Row) -> str:
        """The line's account where it may be a control account: an untaxed line on an account of such a type."""
        known = self.accounts.get(line.get("account_id", "")) or self.accounts.get(line.get("account_code", "")) or {}
        account_type = line.get("account_type") or known.get("type", "")
        if line.get("tax_type") or account_type.upper() not in _CONTROL_TYPES:
            return ""
        return line.get("account_id") or known.get("account_id") or line.get("account_code", "")

    def _voted(self, row: Row) -> str:
        """The row's organisation; its currency and rate are noted. A draft has no rate yet."""
        organisation = self._organisation(row)
        currency = row.get("currency_code", "").upper()
        if currency in EXPONENTS and row.get("status", "").upper() not in _WITHOUT_RATE:
            known = self.rates.setdefault(organisation, {}).setdefault(currency, _Rates())
            known.take(row.get("currency_rate", ""), row.get("date", ""))
        return organisation

    def _organisation(self, row: Row) -> str:
        """The only organisation of the folder, else the one the row names, else none ("")."""
        named = _organisation_id(row)
        if named or len(self.organisations) > 1:
            return self.relations.get(named, named)
        return (_organisation_id(self.organisations[0]) if self.organisations else "") or "main"

    def _base_currency(self, organisation: str) -> str | None:
        stated = {row["base_currency"] for row in self.organisations if row.get("base_currency") and (len(self.organisations) == 1 or _organisation_id(row) == organisation)}  # fmt: skip
        weights = {code: rates.weight for code, rates in self.rates.get(organisation, {}).items()}
        candidates = stated or {code for code, weight in weights.items() if weight == max(weights.values()) > 0}
        return next(iter(candidates)) if len(candidates) == 1 else None

    def _names(self) -> list[str]:
        return [
            name for (name,) in self.store.execute("SELECT DISTINCT organisation FROM headers WHERE kind = 'journals'")
        ]

    def _controls(self, organisation: str) -> dict[str, str]:
        """Control accounts: the system accounts where marked, else the one account that runs through the most journals."""
        marked = {_SYSTEM_CONTROLS[row["system_account"]]: row["account_id"] for row in self.accounts.values() if row.get("system_account") in _SYSTEM_CONTROLS and row.get("account_id")}  # fmt: skip
        for role, types in _CONTROLS.items():
            votes = self.store.execute(_CONTROL_VOTES, (organisation, *types)).fetchall()
            if role not in marked and votes and (len(votes) == 1 or votes[0][1] > votes[1][1]):
                marked[role] = votes[0][0]
        return marked

    def _clean(self, table: str) -> Iterator[tuple[int, Row]]:
        return ((at, row) for at, row in self._rows(table) if not isinstance(row, bytes))

    def _rows(self, table: str) -> Iterator[tuple[int, "Row | bytes"]]:
        for at, row in table_rows(self.tables[table]) if table in self.tables else ():
            yield at, row if isinstance(row, bytes) else plain(row)


def table_rows(path: Path) -> Iterator[tuple[int, "Row | bytes"]]:
    return _json_rows(path) if path.name.lower().removesuffix(".gz").endswith(_JSON_ENDINGS) else _rows(path)


def _json_rows(path: Path) -> Iterator[tuple[int, "Row | bytes"]]:
    for at, body in _json_bodies(path, _parts):
        try:
            yield at, {column: _cell(value) for column, value in _objects.decode(body).items()}
        except (ValueError, RecursionError, ArithmeticError):
            yield at, body


def _cell(value: object) -> str:
    """A JSON value as a CSV file would have it."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def plain(row: Row) -> Row:
    """Columns in small letters (Snowflake writes capitals), cells trimmed, a database's word for empty as empty."""
    return {column.lower(): "" if cell in _NULLS else cell.strip() for column, cell in row.items()}


def filled(row: Row) -> Row:
    return {column: cell for column, cell in row.items() if cell and column not in _DELIVERY}


def _is_current(row: Row) -> bool:
    """Neither deleted in Xero nor an earlier version of a row (Fivetran's history mode)."""
    return row.get("_fivetran_deleted", "").lower() not in TRUE and row.get("_fivetran_active", "").lower() not in FALSE


def _is_one(rate: str) -> bool:
    whole, _, fraction = rate.strip().partition(".")
    return whole == "1" and not fraction.strip("0")


def _organisation_id(row: Row) -> str:
    """`source_relation` is what dbt calls the schema of each organisation where it unites several."""
    names = ("organisation_id", "organization_id", "tenant_id", "source_relation")
    return next((row[name] for name in names if row.get(name)), "")


def _encode_joined(record: dict[str, object]) -> bytes:
    return json.dumps({name: value for name, value in record.items() if value is not None}, ensure_ascii=False).encode()
