"""Rows of SAP's VBFA to one record a document, under the promises of sources.records.

A record is {"document", "category", "links": rows in which it follows, "followed_at"?: ERDAT and ERZET of the first that
follows it, where it follows nothing itself, "rivals"?: rows of documents made of the same items, for a cancellation}. The
rows lie in a temporary database on disk: memory does not grow with the table. A row that cannot be laid under the header,
or that names no document, is a record of its own.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from sources.records import RawRecord, Row, files, table_rows
from sources.sap_document_flow import CANCELS

_ENDINGS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson")
_COLUMNS = ("vbelv", "posnv", "vbtyp_v", "vbeln", "posnn", "vbtyp_n", "rfwrt", "waers", "erdat", "erzet")
_SCHEMA = f"CREATE TABLE flow ({', '.join(f'{column} TEXT' for column in _COLUMNS)}, at INTEGER)"
_INDEXES = """
    CREATE INDEX following ON flow (vbeln, vbtyp_n);
    CREATE INDEX before ON flow (vbelv, vbtyp_v, posnv);
    CREATE TABLE documents AS
        SELECT ident, category, MIN(at) AS at FROM (
            SELECT vbeln AS ident, vbtyp_n AS category, at FROM flow UNION ALL SELECT vbelv, vbtyp_v, at FROM flow)
        WHERE ident <> '' GROUP BY ident, category;
"""
_DOCUMENTS = "SELECT ident, category, at FROM documents ORDER BY ident, category"
_LINKS = f"SELECT {', '.join(_COLUMNS)} FROM flow WHERE vbeln = ? AND vbtyp_n = ? ORDER BY at"
_FOLLOWED_AT = """
    SELECT MIN(erdat || erzet) FROM flow WHERE vbelv = ? AND vbtyp_v = ? AND erdat NOT IN ('', '0', '00000000')
"""
_RIVALS = f"""
    WITH others AS (
        SELECT DISTINCT other.vbeln AS ident, other.vbtyp_n AS category FROM flow AS own JOIN flow AS other
            ON other.vbelv = own.vbelv AND other.vbtyp_v = own.vbtyp_v AND other.posnv = own.posnv
        WHERE own.vbeln = ?1 AND own.vbtyp_n = ?2 AND own.vbelv <> ''
            AND (other.vbtyp_n IN (SELECT value FROM json_each(?3)) OR other.vbtyp_n = ?2) AND other.vbeln <> ?1)
    SELECT {", ".join(_COLUMNS)} FROM others JOIN flow ON vbeln = ident AND vbtyp_n = category ORDER BY flow.at
"""


def read_document_flow(paths: Iterable[str]) -> Iterator[RawRecord]:
    for path in files(paths, _ENDINGS):
        with closing(sqlite3.connect("")) as store:  # a temporary database on disk
            yield from _records(path, store)


def _records(path: Path, store: sqlite3.Connection) -> Iterator[RawRecord]:
    yield from _load(path, store)
    for ident, category, at in store.execute(_DOCUMENTS).fetchall():
        links = _rows(store, _LINKS, ident, category)
        record: dict[str, object] = {"document": ident, "category": category, "links": links}
        if not links:
            record["followed_at"] = store.execute(_FOLLOWED_AT, (ident, category)).fetchone()[0]
        if category in CANCELS:
            record["rivals"] = _rows(store, _RIVALS, ident, category, json.dumps(CANCELS[category]))
        yield RawRecord(json.dumps(record, ensure_ascii=False).encode(), str(path), at)


def _rows(store: sqlite3.Connection, query: str, *values: str) -> list[Row]:
    return [{column: cell for column, cell in zip(_COLUMNS, row, strict=True) if cell} for row in store.execute(query, values)]  # fmt: skip


def _load(path: Path, store: sqlite3.Connection) -> Iterator[RawRecord]:
    """Records of the rows that cannot be taken, as they come; the others into the store."""
    store.execute(_SCHEMA)
    insert = f"INSERT INTO flow VALUES ({', '.join('?' * (len(_COLUMNS) + 1))})"
    for at, row in table_rows(path):
        if isinstance(row, bytes):
            yield RawRecord(row, str(path), at)
            continue
        cells = {column.lower(): cell.strip() for column, cell in row.items()}
        if cells.get("vbeln"):
            store.execute(insert, (*(cells.get(column, "") for column in _COLUMNS), at))
        else:
            yield RawRecord(json.dumps(row, ensure_ascii=False).encode(), str(path), at)
    store.executescript(_INDEXES)
