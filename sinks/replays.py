"""The store as a replay and a historical load see it: all cases in order, page by page; shadow verdicts; what is done.

- Nothing here writes a live verdict, a position or a dead letter of the stream (rule E12).
- A page is read in the order positions, verdicts, facts. The worker writes in the opposite order, so the facts read hold
  every one that the verdict beside them was judged with, and what came since can be told by its time.
- Queries are short (a page of cases each), so that a scan of any length neither holds a lane of the embedded store nor
  meets its time limit, and they ask for no priority: the worker goes first.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sinks import native
from sinks.client import LOOKUP_KEYS, READ_SETTINGS, Store, _quoted

PAGE_CASES = LOOKUP_KEYS
SCAN_SETTINGS = {name: value for name, value in READ_SETTINGS.items() if name != "priority"} | {
    "optimize_read_in_order": 1,
    "optimize_distinct_in_order": 1,
}
SHADOW_ROWS = 10_000  # of one insert


class Live(NamedTuple):
    """A live verdict as stored; `visible_ms` is when the store took it, Unix milliseconds by its clock."""

    raw: bytes
    controls: bytes
    judged_at: datetime
    progress: str
    revision: int
    visible_ms: int


class Stored(NamedTuple):
    """A fact as stored, with its place; `received_ms` as Live's `visible_ms`."""

    topic: str
    partition: int
    offset: int
    raw: bytes
    received_ms: int


class Received(NamedTuple):
    """From when to when the store took a fact; None: without an end."""

    since: datetime | None = None
    until: datetime | None = None

    @property
    def condition(self) -> str:
        bounds = (("received_at >= ", self.since), ("received_at < ", self.until))
        texts = [f"{test}fromUnixTimestamp64Milli({_millis(at)}, 'UTC')" for test, at in bounds if at is not None]
        return " AND ".join(texts)


class ShadowRow(NamedTuple):
    run: str
    judged_at: datetime
    state: str
    raw: bytes
    controls: bytes


class ReplayRow(NamedTuple):
    """A run of a replay; counts are of cases, `span_from` and `span_to` as they were given."""

    run: str
    state: str
    started_at: datetime
    started_by: str
    origin: str
    span_from: str
    span_to: str
    policy: str
    as_of: datetime | None
    cases: int
    identical: int
    different: int
    moving: int


class LoadRow(NamedTuple):
    """A run of a historical load."""

    run: str
    state: str
    source: str
    digest: str
    paths: str
    started_at: datetime
    started_by: str


class ChunkRow(NamedTuple):
    run: str
    stage: str
    chunk: int
    records: int
    events: int
    letters: int
    cases: int
    last_case: str


class ReplayStore(Store):
    """One is used by one thread at a time."""

    # Cases in order

    def pages(self, received: Received, size: int = PAGE_CASES) -> Iterator[list[str]]:
        """Keys of all cases that have a verdict or a fact, in order; of those with a fact taken in that time, if any."""
        after = ""
        while page := self._page(after, received, size):
            yield page
            after = page[-1]

    def touched_by(self, topic: str, after: str, size: int = PAGE_CASES) -> list[str]:
        """The next keys after `after` of cases that have a fact of `topic`."""
        return self._keys("facts", "topic = {topic:String}", after, size, {"topic": topic})

    def live(self, keys: Sequence[str]) -> dict[str, Live]:
        found: dict[str, Live] = {}
        query = (
            "SELECT case_key, raw, controls, toUnixTimestamp64Micro(judged_at), progress, revision, "
            f"toUnixTimestamp64Milli(visible_at) FROM verdicts FINAL WHERE case_key IN ({_listed(keys)})"
        )
        formats = {"raw": "bytes", "controls": "bytes"}
        for key, raw, controls, judged_us, *rest in self._scan(query, formats=formats):
            found[key] = Live(raw, controls, native.from_micros(judged_us), *rest)
        return found

    def facts(self, keys: Sequence[str]) -> Iterator[tuple[str, Stored]]:
        """Facts of these cases in order of (case, place), a block at a time in memory."""
        query = (
            "SELECT case_key, topic, partition, offset, raw, toUnixTimestamp64Milli(received_at) FROM facts "
            f"WHERE case_key IN ({_listed(keys)}) ORDER BY case_key, topic, partition, offset"
        )
        stream = self._try(
            lambda: self.client.query_row_block_stream(query, settings=SCAN_SETTINGS, column_formats={"raw": "bytes"})
        )
        with stream as blocks:
            for block in blocks:
                for key, *fact in block:
                    yield key, Stored(*fact)

    def next_offsets(self, topic_ids: Mapping[str, str]) -> dict[tuple[str, int], int]:
        """Below which every record of a topic is a fact in the store; nothing of a topic that was made anew since."""
        return {
            (row.topic, row.partition): row.next_offset
            for row in self.progress(list(topic_ids))
            if not row.topic_id or not topic_ids[row.topic] or row.topic_id == topic_ids[row.topic]
        }

    def policies(self) -> dict[str, int]:
        """Live verdicts by the policy they were judged with."""
        return dict(self._scan("SELECT policy, count() FROM verdicts FINAL GROUP BY policy ORDER BY 2 DESC"))

    def now_ms(self) -> int:
        """By the clock that facts and verdicts are stamped with."""
        return int(self._scan("SELECT toUnixTimestamp64Milli(now64(3))")[0][0])

    # Shadow verdicts

    def run_exists(self, run: str) -> bool:
        return bool(self._scan("SELECT count() FROM replays WHERE run = {run:String}", {"run": run})[0][0])

    def write_run(self, row: ReplayRow) -> None:
        self._write("replays", _one(row, started_at="DateTime64(6, 'UTC')", as_of="Nullable(DateTime64(6, 'UTC'))"))

    def write_shadow(self, rows: Sequence[ShadowRow]) -> None:
        for start in range(0, len(rows), SHADOW_ROWS):
            run, judged_at, state, raw, controls = zip(*rows[start : start + SHADOW_ROWS], strict=True)
            self._insert("shadow_verdicts", ShadowRow._fields, native.block(len(run), (
                ("run", native.FEW, native.few([name.encode() for name in run])),
                ("judged_at", "DateTime64(6, 'UTC')", native.microseconds(judged_at)),
                ("state", native.FEW, native.few([name.encode() for name in state])),
                ("raw", "String", native.strings(raw)),
                ("controls", native.FEW, native.few(controls)),
            )))  # fmt: skip

    def drop_run(self, run: str) -> None:
        for table in ("shadow_verdicts", "replays"):
            self._try(lambda table=table: self.client.command(f"ALTER TABLE {table} DROP PARTITION {_quoted(run)}"))

    # Historical loads

    def load_of(self, run: str) -> LoadRow | None:
        rows = self._loads("run = {run:String}", {"run": run})
        return rows[0] if rows else None

    def loads_of(self, source: str, paths: str) -> list[LoadRow]:
        """Earlier loads of the same paths, the latest first."""
        return self._loads("source = {source:String} AND paths = {paths:String}", {"source": source, "paths": paths})

    def write_load(self, row: LoadRow) -> None:
        self._write("backfills", _one(row, started_at="DateTime64(6, 'UTC')"))

    def chunks_of(self, run: str, stage: str) -> list[ChunkRow]:
        query = (
            f"SELECT {', '.join(ChunkRow._fields)} FROM backfill_chunks FINAL "
            "WHERE run = {run:String} AND stage = {stage:String} ORDER BY chunk"
        )
        return [ChunkRow(*row) for row in self._scan(query, {"run": run, "stage": stage})]

    def write_chunk(self, row: ChunkRow) -> None:
        self._write("backfill_chunks", _one(row))

    # Inside

    def _page(self, after: str, received: Received, size: int) -> list[str]:
        """The first keys of two ordered lists together are among the first of each."""
        with_facts = self._keys("facts", received.condition, after, size)
        judged = [] if received.condition else self._keys("verdicts", "", after, size)
        return sorted({*with_facts, *judged})[:size]

    def _keys(self, table: str, condition: str, after: str, size: int, values: dict[str, Any] | None = None) -> list[str]:  # fmt: skip
        where = "case_key > {after:String}" + (f" AND {condition}" if condition else "")
        query = f"SELECT DISTINCT case_key FROM {table} WHERE {where} ORDER BY case_key LIMIT {size}"
        return [key for (key,) in self._scan(query, {"after": after, **(values or {})})]

    def _loads(self, condition: str, values: dict[str, Any]) -> list[LoadRow]:
        columns = ", ".join(LoadRow._fields)
        query = f"SELECT {columns} FROM backfills FINAL WHERE {condition} ORDER BY started_at DESC"
        return [LoadRow(*row) for row in self._scan(query, values)]

    def _scan(self, query: str, values: dict[str, Any] | None = None, formats: dict[str, str] | None = None) -> Any:
        return self._try(
            lambda: self.client.query(query, parameters=values, settings=SCAN_SETTINGS, column_formats=formats)
        ).result_rows

    def _write(self, table: str, columns: list[tuple[str, str, native.Pieces]]) -> None:
        self._insert(table, [name for name, _, _ in columns], native.block(1, columns))


def _one(row: Any, **types: str) -> list[tuple[str, str, native.Pieces]]:
    """A single row's columns: numbers, texts, and times of the types named."""
    columns: list[tuple[str, str, native.Pieces]] = []
    for name, value in row._asdict().items():
        if name in types:
            present = b"" if not types[name].startswith("Nullable") else bytes([value is None])
            moment = native.microseconds([value or datetime.fromtimestamp(0, UTC)])
            columns.append((name, types[name], [present, *moment]))
        elif isinstance(value, int):
            columns.append((name, "UInt64", native.uint64([value])))
        else:
            columns.append((name, "String", native.texts([value])))
    return columns


def _listed(keys: Sequence[str]) -> str:
    """In the statement itself: parameters travel in the address, which has a limit."""
    return ",".join(map(_quoted, keys))


def _millis(at: datetime) -> int:
    return int(at.timestamp() * 1000)
