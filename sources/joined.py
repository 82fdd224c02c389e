"""Folders of table extracts to records: each row of a header table with the rows of other tables that belong to it.

- I/O like sources.records, and under its promises: streams, memory does not grow with the input (what is joined lies in
  a temporary database on disk), what is inside a file never raises.
- A folder's file is a table by its name: small letters, `.gz`, ending and the extract's own affixes (`raw_`, `_data` ...)
  left out. Several files of one table are read one after the other; a table that no adapter knows is read too: each of
  its rows is a record, of which the adapter says why it makes no event.
- A record is {"table", "document": {column: cell}} with a list (or for `one` an object) under each join's name. Columns
  are in small letters, empty cells are left out. A join whose table is not in the folder is left out, one without rows
  is an empty list: an adapter can tell the two apart.
- Rows that were joined to a header make no record of their own (unless the join is `one`); those whose header is not there do.
"""

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from sources.records import RawRecord, Row, files, filled, plain, table_rows

_ENDINGS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson")
_SCHEMA = """
    CREATE TABLE joined (name TEXT, value TEXT, body TEXT, at INTEGER);
    CREATE TABLE headers (name TEXT, value TEXT);
"""
_INDEXES = """
    CREATE INDEX by_value ON joined (name, value, at);
    CREATE INDEX headers_by_value ON headers (name, value);
"""


class Join(NamedTuple):
    """Rows of `table` whose `theirs` is the header's `own`; `one`: the first of them, which is looked up, not taken."""

    table: str
    theirs: tuple[str, ...]
    own: tuple[str, ...]
    one: bool = False


class Layout(NamedTuple):
    """How an extract is laid out: joins by header table and name, other names of tables, affixes of file names."""

    joins: Mapping[str, Mapping[str, Join]]
    affixes: re.Pattern[str]
    names: Mapping[str, str] = {}
    shared: tuple[str, ...] = ()  # tables of a few rows that each record gets whole, under their names


def read_joined(paths: Iterable[str], layout: Layout) -> Iterator[RawRecord]:
    given = list(files(paths, _ENDINGS))
    for folder in dict.fromkeys(file.parent for file in given):
        tables: dict[str, list[Path]] = {}
        for file in given:
            if file.parent == folder:
                tables.setdefault(_table(file, layout), []).append(file)
        with closing(sqlite3.connect("")) as store:  # a temporary database on disk
            yield from _Folder(tables, layout, store).records()


def _table(file: Path, layout: Layout) -> str:
    stem = file.name.lower().removesuffix(".gz").rpartition(".")[0]
    name = layout.affixes.sub("", stem)
    return layout.names.get(name, name)


def _value(row: Row, columns: tuple[str, ...]) -> str:
    """The first of the columns that the row has: extracts name one thing differently."""
    return next((row[column] for column in columns if row.get(column)), "")


class _Folder:
    def __init__(self, tables: Mapping[str, list[Path]], layout: Layout, store: sqlite3.Connection) -> None:
        self.tables, self.store = tables, store
        self.joins = {header: joins for header, joins in layout.joins.items() if header in tables}
        self.shared = {name: [filled(row) for _, row in self._clean(name)] for name in layout.shared if name in tables}
        self._load()

    def records(self) -> Iterator[RawRecord]:
        for table, paths in self.tables.items():
            taken = [(f"{header} {name}", join) for header, joins in self.joins.items() for name, join in joins.items() if join.table == table and not join.one]  # fmt: skip
            for path in paths:
                for at, row in table_rows(path):
                    if isinstance(row, bytes):
                        yield RawRecord(row, str(path), at)
                    elif not any(self._has_header(name, join, plain(row)) for name, join in taken):
                        yield RawRecord(self._record(table, plain(row)), str(path), at)

    def _record(self, table: str, row: Row) -> bytes:
        document = {column: cell for column, cell in row.items() if cell}
        record: dict[str, object] = {"table": table, "document": document, **self.shared}
        for name, join in self.joins.get(table, {}).items():
            if join.table in self.tables:
                found = self._found(f"{table} {name}", _value(row, join.own))
                record[name] = (found[0] if found else {}) if join.one else found
        return json.dumps(record, ensure_ascii=False).encode()

    def _found(self, name: str, value: str) -> list[object]:
        rows = self.store.execute("SELECT body FROM joined WHERE name = ? AND value = ? AND value <> '' ORDER BY at", (name, value))  # fmt: skip
        return [json.loads(body) for (body,) in rows]

    def _has_header(self, name: str, join: Join, row: Row) -> bool:
        held = self.store.execute("SELECT 1 FROM headers WHERE name = ? AND value = ? LIMIT 1", (name, _value(row, join.theirs)))  # fmt: skip
        return held.fetchone() is not None

    def _load(self) -> None:
        self.store.executescript(_SCHEMA)
        for header, joins in self.joins.items():
            for name, join in joins.items():
                if join.table in self.tables:
                    self._load_join(header, f"{header} {name}", join)
        self.store.executescript(_INDEXES)
        self.store.execute("DELETE FROM joined WHERE rowid NOT IN (SELECT MIN(rowid) FROM joined GROUP BY name, value, body)")  # fmt: skip

    def _load_join(self, header: str, name: str, join: Join) -> None:
        rows = ((name, _value(row, join.theirs), json.dumps(filled(row)), at) for at, row in self._clean(join.table))
        self.store.executemany("INSERT INTO joined VALUES (?, ?, ?, ?)", rows)
        if not join.one:
            values = ((name, _value(row, join.own)) for _, row in self._clean(header) if _value(row, join.own))
            self.store.executemany("INSERT INTO headers VALUES (?, ?)", values)

    def _clean(self, table: str) -> Iterator[tuple[int, Row]]:
        found = (numbered for path in self.tables[table] for numbered in table_rows(path))
        return ((at, plain(row)) for at, (_, row) in enumerate(found) if not isinstance(row, bytes))
