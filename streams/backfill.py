"""Historical loads: files of years, through the same adapters and the same door, in bulk into the store.

- A run is named after its source and the records in it, so the same command goes on where it was cut off, and input that
  has changed is another run; facts that two runs or the stream share are one fact all the same (rule E5).
- A fact's place is (`backfill.<run>`, home partition of its case, record's ordinal x PLACES_A_RECORD + event's index), a
  dead letter's the same in partition 0: a chunk that is written again replaces itself.
- Of a chunk facts and dead letters are durable before its row says so; the next start begins behind the last such row.
- Only the owner of a case writes its verdict (rule E12). So when all facts are there, `case.touched` is published for each
  case, once, in pages of which the last that was acknowledged is noted too: a case is not judged on half its history.
- Memory is that of one chunk.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from canonical import records
from canonical.dead_letters import DeadLetter
from canonical.events import Event
from sinks.replays import ChunkRow, LoadRow, ReplayStore
from sinks.rows import DeadLetterRow, FactBatch
from sources.records import RawRecord
from sources.registry import Source
from streams import topics
from streams.dead_letters import MAX_REASON_CHARS
from streams.intake import dated_ahead
from streams.join import TOUCHED
from streams.partitioner import partition_of
from streams.ports import Outbound
from streams.run_names import objection, starter
from streams.topics import JOINED

TOPIC_PREFIX = "backfill."
CHUNK_RECORDS = 10_000
TOUCH_CASES = 4_000
PLACES_A_RECORD = 10_000
MAX_ENTITY_CHARS = 200

Publish = Callable[[Sequence[Outbound]], None]  # returns when the broker has acknowledged all of them
Advance = Callable[[int], None]


class CannotLoad(Exception):
    """It cannot be done as asked; one sentence."""


class Input(NamedTuple):
    """What is to be loaded; `digest` and `count` are of its records."""

    source: Source
    paths: Sequence[str]
    digest: str
    count: int


class Loaded(NamedTuple):
    """A run's figures so far, all its starts together."""

    records: int
    events: int
    letters: int
    cases: int


def examine(source: Source, paths: Sequence[str], advance: Advance = lambda _count: None) -> Input:
    """Reads the input once, for its name and length. Raises SourceError."""
    digest, count = blake2b(source.name.encode(), digest_size=16), 0
    for count, record in enumerate(source.read(paths), 1):
        digest.update(len(record.body).to_bytes(8, "little") + record.body)
        advance(1)
    return Input(source, paths, digest.hexdigest(), count)


def home_partitions(store: ReplayStore, bootstrap: str) -> int:
    """How many partitions cases are spread over, by broker and store alike. Raises CannotLoad, ConnectionError."""
    counts = topics.partition_counts(bootstrap, JOINED)
    if missing := [topic for topic in JOINED if topic not in counts]:
        raise CannotLoad(f"topics are missing: {', '.join(missing)}; create them with: tieout topics")
    if len(set(counts.values())) > 1:
        raise CannotLoad(f"joined topics differ in their number of partitions: {counts}")
    count = next(iter(counts.values()))
    stored = store.meta("partitions")
    if stored is None:
        store.set_meta("partitions", str(count))
    elif int(stored) != count:
        raise CannotLoad(f"topics have {count} partitions, the store was filled with {stored}")
    return count


def begin(store: ReplayStore, given: Input, name: str | None, now: datetime, tell: Callable[[str], None]) -> LoadRow:
    """The run of this input: as stored, or a new one. Raises CannotLoad."""
    run = name or f"{given.source.name}-{given.digest[:12]}"
    if (reason := objection(run)) is not None:
        raise CannotLoad(reason)
    paths = json.dumps([str(Path(path).resolve()) for path in given.paths])
    known = store.load_of(run)
    if known is not None and known.digest != given.digest:
        raise CannotLoad(f"run {run} was of other records: a changed input is another run, give it another name")
    if known is None:
        for other in store.loads_of(given.source.name, paths)[:1]:
            tell(f"these paths held other records in run {other.run}: this is another run; what both hold counts once")
        known = LoadRow(run, "running", given.source.name, given.digest, paths, now, starter())
        store.write_load(known)
    return known


class Load:
    """One run, from where it was cut off to its end."""

    def __init__(self, store: ReplayStore, run: LoadRow, source: Source, partitions: int, future_skew_s: float) -> None:
        self._store, self._run, self._source, self._partitions = store, run, source, partitions
        self._topic = TOPIC_PREFIX + run.run
        self._latest = run.started_at + timedelta(seconds=future_skew_s)  # the same whenever a chunk is done again

    @property
    def is_done(self) -> bool:
        return self._run.state == "done"

    def loaded(self) -> Loaded:
        chunks = [*self._store.chunks_of(self._run.run, "load"), *self._store.chunks_of(self._run.run, "touch")]
        return Loaded(*(sum(getattr(chunk, name) for chunk in chunks) for name in Loaded._fields))

    def write(self, paths: Iterable[str], advance: Advance, chunk_records: int = CHUNK_RECORDS) -> None:
        """Records to facts and dead letters, a chunk at a time."""
        done = self._store.chunks_of(self._run.run, "load")
        start = sum(chunk.records for chunk in done)
        advance(start)
        numbered = islice(enumerate(self._source.read(paths)), start, None)
        chunk = len(done)
        while some := list(islice(numbered, chunk_records)):
            events, letters = self._write(some)
            self._store.write_chunk(ChunkRow(self._run.run, "load", chunk, len(some), events, letters, 0, ""))
            advance(len(some))
            chunk += 1

    def touch(self, publish: Publish, advance: Advance, page_cases: int = TOUCH_CASES) -> None:
        """Has every case of the run judged by its owner."""
        done = self._store.chunks_of(self._run.run, "touch")
        after = done[-1].last_case if done else ""
        chunk = len(done)
        while keys := self._store.touched_by(self._topic, after, page_cases):
            publish([self._touched(key) for key in keys])
            after = keys[-1]
            self._store.write_chunk(ChunkRow(self._run.run, "touch", chunk, 0, 0, 0, len(keys), after))
            advance(len(keys))
            chunk += 1
        self._store.write_load(self._run._replace(state="done"))

    def _write(self, numbered: Sequence[tuple[int, RawRecord]]) -> tuple[int, int]:
        """Returns how many facts and dead letters."""
        offsets: dict[int, list[int]] = defaultdict(list)
        raws: dict[int, list[bytes]] = defaultdict(list)
        letters = []
        for ordinal, raw in numbered:
            mapped = self._mapped(raw)
            if isinstance(mapped, DeadLetter):
                letters.append(self._letter(mapped, raw, ordinal))
                continue
            for place, event in enumerate(mapped, ordinal * PLACES_A_RECORD):
                _, key, value = records.record(event)
                home = partition_of(key, self._partitions)
                offsets[home].append(place)
                raws[home].append(value)
        self._store.write_facts(FactBatch(self._topic, home, offsets[home], raws[home]) for home in sorted(offsets))
        if letters:
            self._store.write_dead_letters(letters)
        return sum(map(len, raws.values())), len(letters)

    def _mapped(self, raw: RawRecord) -> tuple[Event, ...] | DeadLetter:
        mapped = self._source.map(raw.body, None)
        if isinstance(mapped, DeadLetter):
            return mapped
        if len(mapped) > PLACES_A_RECORD:
            return DeadLetter("mapping", f"the record gives {len(mapped)} events, limit {PLACES_A_RECORD}")
        return dated_ahead(mapped, self._latest) or mapped

    def _letter(self, letter: DeadLetter, raw: RawRecord, ordinal: int) -> DeadLetterRow:
        return DeadLetterRow(
            topic=self._topic,
            partition=0,
            offset=ordinal * PLACES_A_RECORD,
            failed_at=self._run.started_at,
            failure_class=letter.failure,
            reason=letter.reason[:MAX_REASON_CHARS],
            stage="intake",
            source=self._source.name,
            correlation_id="",
            key=self._source.key(raw.body),
            headers=json.dumps([["path", raw.path], ["line", str(raw.line)]]),
            original=raw.body,
        )

    def _touched(self, key: str) -> Outbound:
        digest = blake2b(f"{self._run.run}|{key}".encode(), digest_size=16).hexdigest()
        entity = key.split(":")[1][:MAX_ENTITY_CHARS] or "-"  # as in the key: that is printable, whoever made it
        event = records.make(
            TOUCHED, id=f"tieout:backfill:{digest}", source="tieout/backfill", subject=self._topic,
            time=self._run.started_at, correlationid=key,
            data={"entity": entity, "document_id": self._topic, "reason": "facts were loaded in bulk"},
        )  # fmt: skip
        return Outbound(*records.record(event))
