"""The store as the stream worker sees it: claims, inserts and look-ups over ClickHouse's HTTP interface.

- One `Store` is used by one thread at a time. Every call is whole when it returns and may be repeated: facts are keyed
  by their place in the log, verdicts and positions by (epoch, seq), so a retry after a lost answer changes nothing.
- Insert settings are pinned, not inherited (rule E3): `async_insert=0` (26.9 defaults to 1), `insert_deduplicate=0`;
  fsync of file and directory is a setting of the tables (migrations). On a replicated server an insert waits for a
  quorum and a read sees every acknowledged insert.
- What is transient (no connection, overload, a quorum that is short) is tried again, pausing longer each time, until
  `patience_s` is over: then StoreUnavailable. Everything else raises at once what ClickHouse said.
- An epoch is held by one worker: `claim` returns a number only after reading back that nobody else had taken it.
- An insert costs the store CPU however small it is, for its many columns: about 15 ms for facts, 30 for verdicts with
  their history and open cases, 10 for positions; then 5 µs a fact and 15 a verdict, and merges later as much again.
  Flush several times a second, not by the record.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from hashlib import md5
from ipaddress import ip_address
from itertools import chain, repeat
from typing import Any, TypeVar
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, Error, OperationalError

from sinks import native
from sinks.rows import (
    DeadLetterRow,
    FactBatch,
    FactRow,
    GapRow,
    LetterActionRow,
    MatchRow,
    PositionRow,
    Stub,
    Untold,
    VerdictRow,
    revision,
)

__all__ = ["Client", "Store", "StoreUnavailable", "connect", "key_hash"]

PATIENCE_S = 30.0
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0
CONNECT_TIMEOUT_S = 5
ANSWER_TIMEOUT_S = 120
INSERT_BYTES = 64 * 1024**2  # of one request; a larger flush takes several
LOOKUP_KEYS = 4_000  # of one query, which may then have 4,000 × 512 characters
CLAIM_ATTEMPTS = 20

# ClickHouse's exception codes that a later attempt may not meet again.
TRANSIENT_CODES = {
    159: "TIMEOUT_EXCEEDED",
    202: "TOO_MANY_SIMULTANEOUS_QUERIES",
    209: "SOCKET_TIMEOUT",
    210: "NETWORK_ERROR",
    225: "NO_ZOOKEEPER",
    241: "MEMORY_LIMIT_EXCEEDED",
    242: "TABLE_IS_READ_ONLY",
    243: "NOT_ENOUGH_SPACE",
    252: "TOO_MANY_PARTS",
    254: "NO_ACTIVE_REPLICAS",
    279: "ALL_CONNECTION_TRIES_FAILED",
    285: "TOO_FEW_LIVE_REPLICAS",
    286: "UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE",
    289: "REPLICA_IS_NOT_IN_QUORUM",
    319: "UNKNOWN_STATUS_OF_INSERT",
    394: "QUERY_WAS_CANCELLED",
    999: "KEEPER_EXCEPTION",
}
# optimize_on_insert=0: repeated keys are left to FINAL and to merges; collapsing them at every insert was two thirds
# of its cost (15 to 18 µs a verdict against 5.6).
INSERT_SETTINGS = {"async_insert": 0, "insert_deduplicate": 0, "optimize_on_insert": 0}
REPLICATED_SETTINGS = {"insert_quorum": "auto", "insert_quorum_parallel": 0, "select_sequential_consistency": 1}
READ_SETTINGS = {
    "priority": 1,  # before dashboards, which have none; the embedded store keeps a lane for it
    "do_not_merge_across_partitions_select_final": 1,
    "max_query_size": LOOKUP_KEYS * 1024,
}

DELETE_SETTINGS = {
    "lightweight_deletes_sync": 1,
    "max_query_size": LOOKUP_KEYS * 1024,
}  # a replica that is away is not waited for

_STUB_COLUMNS = "case_key, toUnixTimestamp64Milli(first_seen), toUnixTimestamp64Micro(next_deadline), outcome, digest, facts, epoch, revision"

Result = TypeVar("Result")


class StoreUnavailable(Exception):
    """ClickHouse could not be reached, or stayed overloaded, for longer than the patience."""


def connect(
    url: str,
    database: str = "tieout",
    *,
    replicated: bool = False,
    patience_s: float = PATIENCE_S,
    answer_timeout_s: int = ANSWER_TIMEOUT_S,
    sleep: Callable[[float], None] = time.sleep,
) -> Client:
    """A client for `http(s)://[user:password@]host[:port]` with pinned settings. Raises StoreUnavailable.

    Packs what it sends only to other machines: on this one it costs more than it saves.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"a store's address is http://host:port or https://host:port, not {url!r}")
    return _patiently(lambda: _client(parts, database, replicated, answer_timeout_s), url, patience_s, sleep)


class Store:
    """Everything a worker asks of ClickHouse."""

    def __init__(self, client: Client, *, patience_s: float = PATIENCE_S, sleep: Callable[[float], None] = time.sleep):
        self.client = client
        self._patience_s, self._sleep = patience_s, sleep

    # Epochs (rule E2)

    def claim(self, partition: int, worker: str, known: int = 0) -> int:
        """A new epoch of `partition`, higher than every stored one and than `known`, and `worker`'s alone.

        `worker` names one life of one process. Two workers may insert the same number; each reads back after its
        insert, so at least the later one sees both and goes higher, by its rank so that they do not meet again. Somebody
        may be higher already: then `holders` says so, and the flush of this claim will not commit.
        """
        epoch = max(self.highest_epochs([partition])[partition], known) + 1
        for _ in range(CLAIM_ATTEMPTS):
            self._insert("epochs", ("partition", "epoch", "worker"), native.block(1, [
                ("partition", "UInt32", native.uint32([partition])),
                ("epoch", "UInt64", native.uint64([epoch])),
                ("worker", "String", native.texts([worker])),
            ]))  # fmt: skip
            claims = self._claims([partition])[partition]
            if [name for number, _, name in claims if number == epoch] == [worker]:
                return epoch
            rivals = sorted({name for number, _, name in claims if number == epoch})
            epoch = claims[-1][0] + 1 + rivals.index(worker)
        raise StoreUnavailable(f"partition {partition} was claimed by others {CLAIM_ATTEMPTS} times in a row")

    def highest_epochs(self, partitions: Sequence[int]) -> dict[int, int]:
        """Highest stored epoch of each partition, 0 where there is none."""
        return {partition: claims[-1][0] if claims else 0 for partition, claims in self._claims(partitions).items()}

    def holders(self, partitions: Sequence[int]) -> dict[int, tuple[int, str]]:
        """(epoch, worker) of each partition's highest epoch; partitions nobody claimed are left out.

        Of several workers that inserted one number the least (claimed_at, worker) is named. That may be one that died
        before it read back: then nobody holds it, and a worker that is not named must claim anew.
        """
        return {
            partition: next((epoch, name) for epoch, _, name in claims if epoch == claims[-1][0])
            for partition, claims in self._claims(partitions).items()
            if claims
        }

    # Writing, in this order in a flush: facts, verdicts (and dead letters with their actions), positions

    def write_facts(self, batches: Iterable[FactBatch]) -> None:
        self._insert_all("facts", ("topic", "partition", "offset", "raw"), map(_facts_block, _gathered(batches)))

    def write_verdicts(self, rows: Sequence[VerdictRow]) -> None:
        self._insert_all("verdicts", _VERDICT_COLUMNS, map(_verdicts_block, _slices(rows)))

    def drop_before(self, keys: Sequence[str], epoch: int) -> None:
        """Removes the verdicts of earlier epochs than this one, which has a verdict of each of these cases.

        From `verdicts` last: cut off before that, `split_cases` names the case again.
        """
        for start in range(0, len(keys), LOOKUP_KEYS):
            listed = ",".join(_quoted(key) for key in keys[start : start + LOOKUP_KEYS])
            self._command(f"DELETE FROM open_cases WHERE case_key IN ({listed}) AND revision < {revision(epoch, 0)}")
            self._command(f"DELETE FROM verdicts WHERE case_key IN ({listed}) AND epoch < {int(epoch)}")

    def write_dead_letters(self, rows: Sequence[DeadLetterRow]) -> None:
        self._insert_all("dead_letters", _DEAD_LETTER_COLUMNS, map(_dead_letters_block, _slices(rows)))

    def write_letter_actions(self, rows: Sequence[LetterActionRow]) -> None:
        self._insert_all("dead_letter_actions", LetterActionRow._fields, map(_block, _slices(rows)))

    def write_positions(self, rows: Sequence[PositionRow]) -> None:
        self._insert_all("positions", PositionRow._fields, map(_positions_block, _slices(rows)))

    def write_gaps(self, rows: Sequence[GapRow]) -> None:
        self._insert_all("gaps", GapRow._fields, map(_gaps_block, _slices(rows)))

    def write_matches(self, rows: Sequence[MatchRow]) -> None:
        self._insert_all("matches", MatchRow._fields, map(_block, _slices(rows)))

    # Reading

    def facts_of(self, keys: Sequence[str]) -> dict[str, list[FactRow]]:
        """Facts of each case in the order of the log, once each; a case without facts has an empty list."""
        found: dict[str, list[FactRow]] = {key: [] for key in keys}
        unique = list(found)
        for start in range(0, len(unique), LOOKUP_KEYS):
            for key, *row in self._facts(unique[start : start + LOOKUP_KEYS]):
                found[key].append(FactRow(*row))
        return found

    def known(self, partitions: Sequence[int]) -> dict[int, bytes]:
        """A hash of every case by partition, in order, as unsigned little-endian integers of 64 bits: `key_hash`."""
        query = (
            "SELECT partition, arraySort(groupUniqArray(halfMD5(case_key))) FROM verdicts "
            f"WHERE partition IN ({_numbers(partitions)}) GROUP BY partition"
        )
        found = dict.fromkeys(partitions, b"")
        answer = self._try(lambda: self.client.raw_query(query, fmt="RowBinary", settings=READ_SETTINGS))
        place = 0
        while place < len(answer):
            partition = int.from_bytes(answer[place : place + 4], "little")
            count, start = native.read_varint(answer, place + 4)
            place = start + 8 * count
            found[partition] = answer[start:place]
        return found

    def deadlines(
        self, partitions: Sequence[int], since: datetime, limit: int
    ) -> dict[int, list[tuple[datetime, str]]]:
        """The next `limit` deadlines of each partition's open cases at or after `since`, in order."""
        query = (
            "SELECT partition, toUnixTimestamp64Micro(assumeNotNull(next_deadline)) AS micros, case_key FROM open_cases FINAL "
            f"WHERE partition IN ({_numbers(partitions)}) AND next_deadline >= fromUnixTimestamp64Micro({native.micros(since)}) "
            f"ORDER BY partition, micros, case_key LIMIT {int(limit)} BY partition"
        )
        found: dict[int, list[tuple[datetime, str]]] = {partition: [] for partition in partitions}
        for partition, micros, key in self._query(query):
            found[partition].append((native.from_micros(micros), key))
        return found

    def awaited(self, partitions: Sequence[int]) -> dict[int, dict[str, datetime]]:
        """From when on open cases of each partition wait for a source, by source."""
        query = (
            "SELECT partition, awaited.source, toUnixTimestamp64Micro(min(awaited.until)) FROM open_cases FINAL "
            f"ARRAY JOIN awaiting AS awaited WHERE partition IN ({_numbers(partitions)}) GROUP BY 1, 2"
        )
        found: dict[int, dict[str, datetime]] = {partition: {} for partition in partitions}
        for partition, source, micros in self._query(query):
            found[partition][source] = native.from_micros(micros)
        return found

    def awaiting(self, partition: int, source: str, limit: int) -> list[tuple[datetime, str]]:
        """Open cases of a partition that wait for `source`, by up to when it must be complete, the earliest first."""
        query = (
            "SELECT toUnixTimestamp64Micro(awaited.until) AS micros, case_key FROM open_cases FINAL "
            f"ARRAY JOIN awaiting AS awaited WHERE partition = {int(partition)} AND awaited.source = {{source:String}} "
            f"ORDER BY micros, case_key LIMIT {int(limit)}"
        )
        return [(native.from_micros(micros), key) for micros, key in self._query(query, {"source": source})]

    def judged_otherwise(self, partition: int, policy: str, limit: int) -> list[str]:
        """Open cases of a partition whose verdict came from another policy than this one."""
        query = (
            f"SELECT case_key FROM open_cases FINAL WHERE partition = {int(partition)} AND policy != {{policy:String}} "
            f"ORDER BY case_key LIMIT {int(limit)}"
        )
        return [key for (key,) in self._query(query, {"policy": policy})]

    def verdicts_of(self, keys: Sequence[str]) -> dict[str, tuple[Stub, bytes]]:
        """Each case's stub and verdict as stored, the newest where it lies in two months; keys without one are left out."""
        found: dict[str, tuple[Stub, bytes]] = {}
        for start in range(0, len(keys), LOOKUP_KEYS):
            listed = ",".join(_quoted(key) for key in keys[start : start + LOOKUP_KEYS])
            query = f"SELECT {_STUB_COLUMNS}, raw FROM verdicts FINAL WHERE case_key IN ({listed}) ORDER BY revision"
            for *stub, raw in self._query(query, column_formats={"raw": "bytes"}):
                found[stub[0]] = _stub(*stub), raw
        return found

    def untold(self, told: Mapping[int, tuple[int, int]]) -> dict[int, list[Untold]]:
        """By partition the cases that have a verdict beyond a revision of an epoch before one: `told` gives both."""
        beyond = " OR ".join(
            f"(partition = {partition:d} AND revision > {revision:d} AND epoch < {epoch:d})"
            for partition, (revision, epoch) in told.items()
        )
        query = (
            "SELECT partition, case_key, max(judged_at), argMax(progress, revision) FROM verdicts "
            f"WHERE {beyond} GROUP BY partition, case_key ORDER BY case_key"
        )
        found: dict[int, list[Untold]] = {partition: [] for partition in told}
        for partition, *untold in self._query(query):
            found[partition].append(Untold(*untold))
        return found

    def split_cases(self, partition: int) -> list[tuple[str, int]]:
        """(case, epoch of its newest verdict) of the partition's cases that lie in more than one month (rule E9)."""
        query = (
            f"SELECT case_key, max(epoch) FROM verdicts WHERE partition = {int(partition)} GROUP BY case_key "
            "HAVING min(toYYYYMM(first_seen)) != max(toYYYYMM(first_seen)) ORDER BY case_key "
            "SETTINGS optimize_aggregation_in_order = 1"
        )
        return [(key, epoch) for key, epoch in self._query(query)]

    def positions(self, partitions: Sequence[int]) -> dict[int, dict[str, PositionRow]]:
        """How far each partition of each topic is stored, by partition and topic."""
        found: dict[int, dict[str, PositionRow]] = {partition: {} for partition in partitions}
        for row in self._positions(f"partition IN ({_numbers(partitions)})"):
            found[row.partition][row.topic] = row
        return found

    def progress(self, topics: Sequence[str]) -> list[PositionRow]:
        """How far all partitions of these topics are stored, whoever owns them."""
        return self._positions("topic IN {topics:Array(String)}", {"topics": list(topics)})

    def _positions(self, where: str, parameters: Mapping[str, Any] | None = None) -> list[PositionRow]:
        columns = (
            f"toUnixTimestamp64Micro({name})" if name in _POSITION_TIMES else name for name in PositionRow._fields
        )
        rows = self._query(f"SELECT {', '.join(columns)} FROM positions FINAL WHERE {where}", parameters)
        found = (dict(zip(PositionRow._fields, row, strict=True)) for row in rows)
        return [PositionRow(**row | {name: native.from_micros(row[name]) for name in _POSITION_TIMES}) for row in found]

    def known_letters(self, places: Sequence[tuple[str, int, int]]) -> set[tuple[str, int, int]]:
        """Those of these (topic, partition, offset) at which a dead letter's original lies."""
        known: set[tuple[str, int, int]] = set()
        for start in range(0, len(places), LOOKUP_KEYS):
            listed = ",".join(f"({_quoted(topic)},{partition:d},{offset:d})" for topic, partition, offset in places[start : start + LOOKUP_KEYS])  # fmt: skip
            query = f"SELECT DISTINCT topic, partition, offset FROM dead_letters WHERE (topic, partition, offset) IN ({listed})"
            known.update((row[0], row[1], row[2]) for row in self._query(query))
        return known

    # Identification (rule E7)

    def unidentified(self, until: datetime) -> list[tuple[str, str, int]]:
        """(entity, case, revision) of every receipt and bank statement that is open and was first seen by then."""
        return [(entity, key, number) for entity, key, number in self._query(
            "SELECT entity, case_key, revision FROM open_cases FINAL WHERE kind IN ('receipt', 'summary') "
            f"AND first_seen <= fromUnixTimestamp64Micro({native.micros(until)}) ORDER BY entity, case_key"
        )]  # fmt: skip

    def open_items(self, entity: str, since: datetime) -> dict[str, int]:
        """Revision of each invoice and payout of the entity that is open, or whose last event is not older than `since`."""
        recent = f"last_event_at >= fromUnixTimestamp64Micro({native.micros(since)})"
        query = (
            "SELECT case_key, revision FROM open_cases FINAL WHERE kind IN ('invoice', 'payout') AND entity = {entity:String} UNION DISTINCT "
            f"SELECT case_key, revision FROM verdicts FINAL WHERE kind IN ('invoice', 'payout') AND entity = {{entity:String}} AND outcome = 'ok' AND {recent}"
        )
        return {key: number for key, number in self._query(query, {"entity": entity})}

    def matches_of(self, entity: str, keys: Sequence[str], since: datetime) -> list[MatchRow]:
        """What was chosen for these receipts, or since then: one row a payment, the one that holds."""
        columns = "entity, case_key, payment_id, epoch, seq, raw, toUnixTimestamp64Micro(decided_at)"
        query = (
            f"SELECT {columns} FROM matches WHERE entity = {{entity:String}} AND (case_key IN {{keys:Array(String)}} "
            f"OR decided_at >= fromUnixTimestamp64Micro({native.micros(since)})) "
            "ORDER BY case_key, payment_id, epoch DESC, seq LIMIT 1 BY case_key, payment_id"
        )
        found = self._query(query, {"entity": entity, "keys": list(keys)}, column_formats={"raw": "bytes"})
        return [MatchRow(*row, native.from_micros(at)) for *row, at in found]

    # Meta

    def meta(self, key: str) -> str | None:
        rows = self._query("SELECT value FROM meta FINAL WHERE key = {key:String}", {"key": key})
        return rows[0][0] if rows else None

    def set_meta(self, key: str, value: str) -> None:
        columns = [("key", "String", native.texts([key])), ("value", "String", native.texts([value]))]
        self._insert("meta", ("key", "value"), native.block(1, columns))

    # Inside

    def _claims(self, partitions: Sequence[int]) -> dict[int, list[tuple[int, datetime, str]]]:
        """(epoch, claimed_at, worker) in order; a repeated insert of one worker counts once."""
        found: dict[int, list[tuple[int, datetime, str]]] = {partition: [] for partition in partitions}
        query = (
            "SELECT partition, epoch, min(claimed_at) AS at, worker FROM epochs "
            "WHERE partition IN {partitions:Array(UInt32)} "
            "GROUP BY partition, epoch, worker ORDER BY partition, epoch, at, worker"
        )
        for partition, epoch, claimed_at, worker in self._query(query, {"partitions": list(partitions)}):
            found[partition].append((epoch, claimed_at, worker))
        return found

    def _facts(self, keys: Sequence[str]) -> Sequence[Sequence[Any]]:
        listed = ",".join(_quoted(key) for key in keys)
        query = (
            f"SELECT case_key, topic, partition, offset, raw FROM facts WHERE case_key IN ({listed}) "
            "ORDER BY case_key, topic, partition, offset LIMIT 1 BY case_key, topic, partition, offset, cityHash64(raw)"
        )
        return self._query(query, column_formats={"raw": "bytes"})

    def _query(
        self, query: str, parameters: Mapping[str, Any] | None = None, **options: Any
    ) -> Sequence[Sequence[Any]]:
        return self._try(
            lambda: self.client.query(query, parameters=dict(parameters or {}), settings=READ_SETTINGS, **options)
        ).result_rows

    def _insert_all(self, table: str, columns: Sequence[str], blocks: Iterable[list[bytes]]) -> None:
        """Blocks gathered to requests of about INSERT_BYTES."""
        pieces: list[bytes] = []
        size = 0
        for block in blocks:
            pieces += block
            size += sum(map(len, block))
            if size >= INSERT_BYTES:
                self._insert(table, columns, pieces)
                pieces, size = [], 0
        if pieces:
            self._insert(table, columns, pieces)

    def _insert(self, table: str, columns: Sequence[str], pieces: list[bytes]) -> None:
        statement = f"INSERT INTO {table} ({', '.join(columns)}) FORMAT Native\n"
        body = b"".join([statement.encode(), *pieces])
        self._try(lambda: self.client.raw_insert(None, insert_block=body))  # type: ignore[arg-type]

    def _command(self, statement: str) -> None:
        self._try(lambda: self.client.command(statement, settings=DELETE_SETTINGS))

    def _try(self, call: Callable[[], Result]) -> Result:
        return _patiently(call, self.client.uri, self._patience_s, self._sleep)


_VERDICT_COLUMNS = VerdictRow._fields
_POSITION_TIMES = ("flushed_at", "complete_to", "appended_at", "judged_to")
_DEAD_LETTER_COLUMNS = tuple("class" if name == "failure_class" else name for name in DeadLetterRow._fields)
_SLICE_ROWS = 50_000


def _client(parts: Any, database: str, replicated: bool, answer_timeout_s: int) -> Client:
    client = clickhouse_connect.get_client(
        interface=parts.scheme,
        host=parts.hostname,
        port=parts.port or (8443 if parts.scheme == "https" else 8123),
        username=parts.username or "default",
        password=parts.password or "",
        compress=False if _is_here(parts.hostname) else "lz4",
        connect_timeout=CONNECT_TIMEOUT_S,
        send_receive_timeout=answer_timeout_s,
        autogenerate_session_id=False,
        settings=INSERT_SETTINGS | (REPLICATED_SETTINGS if replicated else {}),
        tz_mode="aware",
        client_name="tieout",
        dedicated_pool=True,
    )
    client.database = database  # not before: a fresh server does not have it until `migrate`
    return client


def _patiently(call: Callable[[], Result], url: str, patience_s: float, sleep: Callable[[float], None]) -> Result:
    pause_s, waited_s = FIRST_PAUSE_S, 0.0
    while True:
        try:
            return call()
        except Error as error:
            if not _is_transient(error):
                raise
            if waited_s >= patience_s:
                raise StoreUnavailable(
                    f"the store at {url} did not answer for {waited_s:.0f} s: {_reason(error)}"
                ) from error
        sleep(pause_s)
        waited_s += pause_s
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)


def _is_transient(error: Error) -> bool:
    if isinstance(error, DatabaseError) and error.code is not None:
        return error.code in TRANSIENT_CODES
    return isinstance(error, OperationalError)


def _reason(error: Error) -> str:
    return str(error).splitlines()[0][:300]


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _numbers(partitions: Sequence[int]) -> str:
    return ",".join(f"{partition:d}" for partition in partitions)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


@lru_cache(maxsize=20_000)  # a new key is looked for, and soon after kept
def key_hash(case_key: str) -> int:
    """ClickHouse's halfMD5."""
    return int.from_bytes(md5(case_key.encode(), usedforsecurity=False).digest()[:8], "big")


def _stub(case_key: str, first_seen_ms: int, next_deadline_us: int | None, *rest: Any) -> Stub:
    deadline = None if next_deadline_us is None else native.from_micros(next_deadline_us)
    return Stub(case_key, native.from_micros(first_seen_ms * 1000), deadline, *rest)


def _slices(rows: Sequence[Result]) -> Iterator[Sequence[Result]]:
    return (rows[start : start + _SLICE_ROWS] for start in range(0, len(rows), _SLICE_ROWS))


def _gathered(batches: Iterable[FactBatch]) -> Iterator[list[FactBatch]]:
    """Batches that are one block: of 256 partitions a flush has hundreds with a row or two, and each block has its price."""
    found: list[FactBatch] = []
    rows = size = 0
    for batch in batches:
        found.append(batch)
        rows += len(batch.raws)
        size += sum(map(len, batch.raws))
        if rows >= _SLICE_ROWS or size >= INSERT_BYTES:
            yield found
            found, rows, size = [], 0, 0
    if rows:
        yield found


def _facts_block(batches: Sequence[FactBatch]) -> list[bytes]:
    rows = [len(batch.raws) for batch in batches]
    topics = chain.from_iterable(map(repeat, (batch.topic.encode() for batch in batches), rows))
    partitions = chain.from_iterable(map(repeat, (batch.partition for batch in batches), rows))
    return native.block(sum(rows), (
        ("topic", native.FEW, native.few(list(topics))),
        ("partition", "UInt32", native.uint32(partitions)),
        ("offset", "UInt64", native.uint64(chain.from_iterable(batch.offsets for batch in batches))),
        ("raw", "String", native.strings(list(chain.from_iterable(batch.raws for batch in batches)))),
    ))  # fmt: skip


def _verdicts_block(rows: Sequence[VerdictRow]) -> list[bytes]:
    partition, epoch, seq, judged_at, first_seen, digest, changed, progress, raw, controls = zip(*rows, strict=True)
    revision(max(epoch), max(seq))
    return native.block(len(rows), (
        ("partition", "UInt32", native.uint32(partition)),
        ("epoch", "UInt64", native.uint64(epoch)),
        ("seq", "UInt64", native.uint64(seq)),
        ("judged_at", "DateTime64(6, 'UTC')", native.microseconds(judged_at)),
        ("first_seen", "DateTime64(6, 'UTC')", native.microseconds(first_seen)),
        ("digest", "UInt64", native.uint64(digest)),
        ("changed", "UInt8", native.uint8(changed)),
        ("progress", native.FEW, native.few([text.encode() for text in progress])),
        ("raw", "String", native.strings(raw)),
        ("controls", native.FEW, native.few(controls)),
    ))  # fmt: skip


def _dead_letters_block(rows: Sequence[DeadLetterRow]) -> list[bytes]:
    (
        topic,
        partition,
        offset,
        failed_at,
        failure_class,
        reason,
        stage,
        source,
        correlation_id,
        key,
        headers,
        original,
    ) = zip(*rows, strict=True)
    return native.block(len(rows), (
        ("topic", "String", native.texts(topic)),
        ("partition", "UInt32", native.uint32(partition)),
        ("offset", "UInt64", native.uint64(offset)),
        ("failed_at", "DateTime64(6, 'UTC')", native.microseconds(failed_at)),
        ("class", "String", native.texts(failure_class)),
        ("reason", "String", native.texts(reason)),
        ("stage", "String", native.texts(stage)),
        ("source", "String", native.texts(source)),
        ("correlation_id", "String", native.texts(correlation_id)),
        ("key", "String", native.strings(key)),
        ("headers", "String", native.texts(headers)),
        ("original", "String", native.strings(original)),
    ))  # fmt: skip


def _positions_block(rows: Sequence[PositionRow]) -> list[bytes]:
    revision(max(row.epoch for row in rows), max(row.seq for row in rows))
    return _block(rows)


def _gaps_block(rows: Sequence[GapRow]) -> list[bytes]:
    return _block(rows)


def _block(rows: Sequence[Any]) -> list[bytes]:
    """Rows of one NamedTuple of texts, bytes, unsigned numbers and times."""
    columns = zip(rows[0]._fields, zip(*rows, strict=True), strict=True)
    return native.block(len(rows), [(name, *_column(name, values)) for name, values in columns])


def _column(name: str, values: Sequence[Any]) -> tuple[str, native.Pieces]:
    if isinstance(values[0], str):
        return "String", native.texts(values)
    if isinstance(values[0], bytes):
        return "String", native.strings(values)
    if isinstance(values[0], datetime):
        return "DateTime64(6, 'UTC')", native.microseconds(values)
    return ("UInt32", native.uint32(values)) if name == "partition" else ("UInt64", native.uint64(values))
