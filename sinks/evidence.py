"""What the store holds, read for a proof of completeness. Reads only, and never the worker's counters.

- A record's identity is its place in the log and the MD5 of its bytes; a fact's is its case, id, type and the MD5 of
  what it says. Both are computed here from `raw` itself, not from a column that was derived when it was written.
- Large answers come ordered and in blocks, so that neither side holds more than a part: the store sorts and groups on
  disk beyond SPILL_BYTES.
- One ordered scan of all facts beats an index by place. Measured on 1,000,000 facts of 450 bytes, two cores: 2.3 s for
  all 28 partitions at once, 0.3 s for each partition alone, as much for each chunk of one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from hashlib import md5
from typing import Any, NamedTuple

from sinks.client import Client, Store
from sinks.rows import FactRow, Stub

SPILL_BYTES = 512 * 1024**2
ALWAYS = {
    "max_execution_time": 0,  # a proof may take longer than a dashboard's query is allowed to
    "max_bytes_before_external_sort": SPILL_BYTES,
    "max_bytes_before_external_group_by": SPILL_BYTES,
    "optimize_aggregation_in_order": 1,
    "do_not_merge_across_partitions_select_final": 1,
}
ANSWER_TIMEOUT_S = 3_600  # the store may sort for long before its first block
LOOKUP_KEYS = 10_000
QUERY_BYTES_A_KEY = 1_024

# What a fact says: from its `data` on. An envelope's trace and time of delivery take no part. In JSON the text "data":
# can stand nowhere before that field, for quotes inside of strings are escaped.
_DATA = """substring(raw, position(raw, '"data":'))"""
_WHAT = f"MD5(concat(case_key, ' ', fact_id, ' ', type, ' ', {_DATA}))"
_CONTENT = f"cityHash64(type, {_DATA})"
_RANGES = "values('topic String, partition UInt32, range_begin UInt64, range_end UInt64', {rows})"


class Range(NamedTuple):
    """Offsets [begin, end) of one partition."""

    topic: str
    partition: int
    begin: int
    end: int


class Run(NamedTuple):
    """The store's contiguous run of reading: every record of [from_offset, next_offset) was made durable."""

    topic_id: str
    from_offset: int
    next_offset: int


class Gap(NamedTuple):
    """Offsets that the log had dropped before they were read."""

    topic: str
    topic_id: str
    partition: int
    from_offset: int
    to_offset: int


class CaseCount(NamedTuple):
    """A case whose verdict does not count its facts the plain way. `counted` is the verdict's, None without one."""

    case_key: str
    rows: int
    contents: int
    counted: int | None


class DayTotal(NamedTuple):
    """Facts of one system, entity, type, day and currency: how many distinct ones, and the sum of their amounts."""

    system: str
    source: str
    entity: str
    type: str
    day: date
    currency: str
    count: int
    total_minor: int


def what_it_says(case_key: str, fact_id: str, event_type: str, raw: bytes) -> bytes:
    """The identity of a fact that `raw` would be: the store's `_WHAT`."""
    data = raw[max(raw.find(b'"data":'), 0) :]
    return md5(f"{case_key} {fact_id} {event_type} ".encode() + data, usedforsecurity=False).digest()


class Evidence:
    """Reads of one store for one proof. Used by one thread; streams may be read beside each other."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._store = Store(client)

    def runs(self) -> dict[tuple[str, int], Run]:
        query = "SELECT topic, partition, topic_id, from_offset, next_offset FROM positions FINAL"
        return {(topic, partition): Run(*run) for topic, partition, *run in self._rows(query)}

    def gaps(self) -> list[Gap]:
        query = "SELECT DISTINCT topic, topic_id, partition, from_offset, to_offset FROM gaps ORDER BY ALL"
        return [Gap(*row) for row in self._rows(query)]

    def facts_in_order(self, ranges: Sequence[Range]) -> Iterator[tuple[str, int, int, bytes]]:
        """(topic, partition, offset, MD5 of its bytes) of every fact in the ranges, in that order; may repeat a row."""
        if not ranges:
            return iter(())
        return self._stream(
            f"SELECT topic, partition, offset, MD5(raw) FROM facts {_within(ranges)} ORDER BY topic, partition, offset"
        )

    def dead_letters(self, within: Range) -> set[tuple[int, bytes]]:
        """(offset, MD5 of the original bytes) of the dead letters in a range; of replays that were refused too, which are
        later failures of letters that lie elsewhere."""
        query = (
            "SELECT offset, MD5(original) FROM dead_letters WHERE topic = {topic:String} "
            "AND partition = {partition:UInt32} AND offset >= {begin:UInt64} AND offset < {end:UInt64} UNION ALL "
            "SELECT record_offset, MD5(body) FROM dead_letter_actions WHERE action = 'failed' AND record_topic = {topic:String} "
            "AND record_partition = {partition:UInt32} AND record_offset >= {begin:UInt64} AND record_offset < {end:UInt64}"
        )
        return set(self._rows(query, within._asdict()))

    def facts_among(self, keys: Sequence[str]) -> set[bytes]:
        """What the facts of these cases say, as `what_it_says` gives it."""
        query = f"SELECT DISTINCT {_WHAT} FROM facts WHERE case_key IN ({{keys}})"
        return {row[0] for row in self._by_key(query, keys)}

    def ids_among(self, keys: Sequence[str]) -> set[tuple[str, str]]:
        """(case, fact id) of the facts of these cases."""
        return set(self._by_key("SELECT DISTINCT case_key, fact_id FROM facts WHERE case_key IN ({keys})", keys))

    def refused_among(self, keys: Sequence[str]) -> set[tuple[str, bytes]]:
        """(case, MD5 of what it says) of canonical records of these cases that the join refused."""
        query = (
            "SELECT DISTINCT correlation_id, MD5(substring(original, position(original, '\"data\":'))) "
            "FROM dead_letters WHERE stage = 'join' AND correlation_id IN ({keys})"
        )
        return set(self._by_key(query, keys))

    def duplicates(self, ranges: Sequence[Range]) -> dict[tuple[str, int], int]:
        """Of each partition's facts in the ranges those that say what another one of them says."""
        if not ranges:
            return {}
        query = (
            "SELECT topic, partition, sum(records - distinct_facts) FROM ("
            "SELECT case_key, topic, partition, uniqExact(offset, cityHash64(raw)) AS records, "
            f"uniqExact(fact_id, {_CONTENT}) AS distinct_facts FROM facts {_within(ranges)} "
            "GROUP BY case_key, topic, partition) GROUP BY topic, partition"
        )
        return {(topic, partition): int(count) for topic, partition, count in self._rows(query)}

    def verdict_count(self) -> int:
        return int(self._rows("SELECT count() FROM verdicts FINAL")[0][0])

    def cases_to_look_at(self, ranges: Sequence[Range] | None) -> Iterator[CaseCount]:
        """Cases whose verdict is not there or does not count just as many facts as their bytes tell apart; also those
        with several contents of one fact, which bytes alone cannot count. `ranges` keeps to cases with a fact in them."""
        if ranges is not None and not ranges:
            return iter(())
        only = "" if ranges is None else f"WHERE case_key IN (SELECT case_key FROM facts {_within(ranges)})"
        rows = self._stream(
            "SELECT case_key, sum(rows), sum(contents), sum(verdicts), sum(counted) FROM ("
            f"SELECT case_key, count() AS rows, uniqExact(fact_id) AS ids, uniqExact(fact_id, {_CONTENT}) AS contents, "
            f"0 AS verdicts, 0 AS counted FROM facts {only} GROUP BY case_key UNION ALL "
            f"SELECT case_key, 0, 0, 0, 1, facts FROM verdicts FINAL {only}) GROUP BY case_key "
            "HAVING sum(verdicts) = 0 OR sum(counted) != sum(contents) OR sum(ids) != sum(contents)"
        )
        return (
            CaseCount(key, n, contents, counted if verdicts else None) for key, n, contents, verdicts, counted in rows
        )

    def verdicts_of(self, keys: Sequence[str]) -> dict[str, tuple[Stub, bytes]]:
        return self._store.verdicts_of(keys)

    def facts_of(self, keys: Sequence[str]) -> dict[str, list[FactRow]]:
        return self._store.facts_of(keys)

    def reported_totals(self, ranges: Sequence[Range] | None) -> list[FactRow]:
        """The `source.total_reported` facts, in the ranges where those are given."""
        if ranges is not None and not ranges:
            return []
        within = "" if ranges is None else _within(ranges)
        query = (
            f"SELECT topic, partition, offset, raw FROM facts {within} {'AND' if within else 'WHERE'} "
            "type = 'source.total_reported' ORDER BY topic, partition, offset LIMIT 1 BY topic, partition, offset, cityHash64(raw)"
        )
        return [FactRow(*row) for row in self._rows(query, column_formats={"raw": "bytes"})]

    def day_totals(self, types: Iterable[str]) -> list[DayTotal]:
        """Distinct facts of these types by day: the accounting date where the fact has one, else its time's, in UTC.

        Of several contents of one fact that of the highest version counts.
        """
        query = (
            "SELECT splitByChar('/', source)[1], source, entity, type, day, currency, count(), sum(toInt128(amount)) "
            "FROM (SELECT tupleElement(held, 1) AS source, tupleElement(held, 2) AS entity, tupleElement(held, 3) AS type, "
            "tupleElement(held, 4) AS day, tupleElement(held, 5) AS currency, tupleElement(held, 6) AS amount FROM ("
            "SELECT argMax((toString(source), toString(entity), toString(type), ifNull(toDate32OrNull("
            "JSONExtractString(raw, 'data', 'accounting_date')), toDate32(time)), toString(currency), amount_minor), "
            "(JSONExtract(raw, 'data', 'version', 'Int64'), cityHash64(raw))) AS held "
            "FROM facts WHERE type IN {types:Array(String)} GROUP BY case_key, fact_id)) GROUP BY ALL"
        )
        return [DayTotal(*row) for row in self._rows(query, {"types": sorted(types)})]

    def _rows(self, query: str, parameters: Mapping[str, Any] | None = None, **options: Any) -> list[tuple[Any, ...]]:
        found = self._client.query(query, parameters=dict(parameters or {}), settings=ALWAYS, **options)
        return [tuple(row) for row in found.result_rows]

    def _by_key(self, query: str, keys: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        settings = ALWAYS | {"max_query_size": LOOKUP_KEYS * QUERY_BYTES_A_KEY}
        for start in range(0, len(keys), LOOKUP_KEYS):
            listed = ",".join(f"'{key}'" for key in map(_escaped, keys[start : start + LOOKUP_KEYS]))
            for row in self._client.query(query.replace("{keys}", listed), settings=settings).result_rows:
                yield tuple(row)

    def _stream(self, query: str) -> Iterator[tuple[Any, ...]]:
        with self._client.query_column_block_stream(query, settings=ALWAYS) as blocks:
            for block in blocks:
                yield from zip(*block, strict=True)


def _within(ranges: Sequence[Range]) -> str:
    """JOIN and WHERE that keep the facts of the ranges; the least and the greatest offset first, which costs nothing."""
    rows = ", ".join(f"('{_escaped(r.topic)}', {r.partition}, {r.begin}, {r.end})" for r in ranges)
    least, most = min(r.begin for r in ranges), max(r.end for r in ranges)
    return (
        f"INNER JOIN (SELECT * FROM {_RANGES.format(rows=rows)}) AS ranges USING (topic, partition) "
        f"WHERE offset >= {least} AND offset < {most} AND offset >= range_begin AND offset < range_end"
    )


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")
