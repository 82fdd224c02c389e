"""verify: proves that every record of the log is in the store, by enumerating both and matching identities (rule E15).

What is read is the broker's log and the store's rows; never a counter of the worker's, and offsets are never subtracted.

1. Snapshot: the ends of the raw topics, then how far the store says they were read, then the ends of the joined topics,
   then how far those were read. In that order, because a raw record counts as read only after its events were
   acknowledged: whatever it gave lies below the ends that are taken after it.
2. A canonical record is a fact with the same place and bytes, or a dead letter with the same place and bytes, or
   `case.touched`, which is ignored on purpose. Anything else is missing, or altered where another one lies in its place.
3. A raw record is mapped again as intake does. Each of its events must be a fact of its case, saying the same (from `data`
   on: a trace in the envelope takes no part), or the record must be a dead letter with its bytes. A heartbeat is ignored.
4. What is at or beyond the store's position is unread: not proven, however it may look.
5. What lies below the log's start is proven by the store's run of reading alone; a gap in it is named.
6. Every case's verdict counts all its facts: at least those below the positions, at most those that are there. Verdicts
   are read before facts, and facts are written before verdicts, so a running worker makes no false alarm.
7. `source.total_reported` is compared with the facts: system is the part of a fact's `source` before the slash (or all of
   it, where the total names all of it); both days of the period are included.

Memory: a chunk of the log and a block of the store at a time.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import md5
from typing import Any, NamedTuple, Protocol

import msgspec

from canonical.dead_letters import DeadLetter
from canonical.events import EVENTS, Event
from canonical.records import encode
from canonical.structs import RecordError, decode
from matching.case import Case
from sinks.evidence import CaseCount, DayTotal, Evidence, Gap, Range, Run, what_it_says
from sinks.rows import FactRow, Stub
from streams.intake import intake, is_heartbeat, traceparent
from streams.join import TOUCHED
from streams.log import Bounds, CannotRead
from streams.partitioner import partition_of
from streams.ports import Record, TopicPartition
from streams.proof import PartitionProof, Problem, Proof
from streams.settings import Settings
from streams.topics import JOINED, RAW_PREFIX, raw_topic

CASE_ROWS = 50_000  # facts of the cases that are counted again at once
CASES_AT_ONCE = 2_000
POLL_S = 0.2
NOTHING_READ = Run("", 0, 0)


class Log(Protocol):
    """streams.log.Log, or what a test puts in its place."""

    def topics(self) -> Mapping[str, int]: ...
    def knows_times(self) -> bool: ...
    def topic_ids(self, topics: Iterable[str]) -> Mapping[str, str]: ...
    def bounds(self, places: Iterable[TopicPartition]) -> Mapping[TopicPartition, Bounds]: ...
    def offsets_at(self, places: Iterable[TopicPartition], moment: datetime) -> Mapping[TopicPartition, int | None]: ...
    def records(self, place: TopicPartition, begin: int, end: int) -> Iterator[list[Record]]: ...


class Asked(NamedTuple):
    """What is to be proven: records appended from `begin` on and before `end`; `wait_s` for a worker to read them."""

    begin: datetime | None = None
    end: datetime | None = None
    wait_s: float = 0.0


def verify(
    log: Log,
    evidence: Evidence,
    sources: Sequence[str],
    asked: Asked,
    advance: Callable[[int], None] = lambda _count: None,
) -> Proof:
    """The proof. Raises CannotRead where it could not be made."""
    proof = Proof(datetime.now(UTC), asked.begin, asked.end)
    _Verification(log, evidence, sources, asked, proof, advance).run()
    return proof


class _Verification:
    def __init__(
        self, log: Log, evidence: Evidence, sources: Sequence[str], asked: Asked, proof: Proof,
        advance: Callable[[int], None],
    ) -> None:  # fmt: skip
        self.log, self.evidence, self.asked, self.proof, self.advance = log, evidence, asked, proof, advance
        self.sources = sources
        self.skew = timedelta(seconds=Settings.future_skew_s)
        self.topic_ids: Mapping[str, str] = {}
        self.joined_partitions = 0

    def run(self) -> None:
        self._snapshot()
        joined = [part for part in self.proof.partitions if part.topic in JOINED]
        gaps = self._gaps()
        for part in self.proof.partitions:
            self._below_start(part, gaps)
        self._canonical(joined)
        unread = {(part.topic, part.partition) for part in joined if self._has_unread(part)}
        for part in self.proof.partitions:
            if part.topic not in JOINED:
                self._raw(part, unread)
            self._tell_unread(part)
        self._cases(joined)
        self._totals(joined)

    # 1: the snapshot

    def _snapshot(self) -> None:
        there = self.log.topics()
        lacking = [topic for topic in JOINED if topic not in there]
        if lacking:
            raise CannotRead(f"the broker has no topic {', '.join(lacking)}: run `tieout topics`")
        raw = [topic for topic in map(raw_topic, self.sources) if topic in there]
        self._tell_strangers(there)
        self.topic_ids = self.log.topic_ids([*JOINED, *raw])
        self.joined_partitions = there[JOINED[0]]
        deadline = time.monotonic() + self.asked.wait_s
        for topics in (raw, JOINED):
            places = [(topic, number) for topic in topics for number in range(there[topic])]
            bounds = self.log.bounds(places)
            self._take(bounds, self._runs_once_read(bounds, deadline))
        self.proof.partitions.sort(key=lambda part: (part.topic not in JOINED, part.topic, part.partition))

    def _tell_strangers(self, there: Iterable[str]) -> None:
        for topic in sorted(there):
            if topic.startswith(RAW_PREFIX) and topic.removeprefix(RAW_PREFIX) not in self.sources:
                self.proof.notes.append(f"{topic} is read by nobody: tieout has no source of that name")

    def _take(self, bounds: Mapping[TopicPartition, Bounds], runs: Mapping[TopicPartition, Run]) -> None:
        """Lays the window over the bounds. Its begin may be the log's start: then what lay below may be meant too."""
        begins = self._offsets_at(bounds, self.asked.begin)
        ends = self._offsets_at(bounds, self.asked.end)
        for place, (start, end) in bounds.items():
            run = runs.get(place, NOTHING_READ)
            upper = min(end, found) if (found := ends.get(place)) is not None else end
            lower = start if self.asked.begin is None else max(start, _or(begins.get(place), end))
            self.proof.partitions.append(
                PartitionProof(*place, start, end, min(lower, upper), upper, run.from_offset, run.next_offset)
            )

    def _offsets_at(
        self, bounds: Mapping[TopicPartition, Bounds], moment: datetime | None
    ) -> Mapping[TopicPartition, int | None]:
        if moment is None:
            return {}
        if not self.log.knows_times():
            raise CannotRead("the embedded broker cannot look up records by time: leave out --from and --to")
        return self.log.offsets_at(bounds, moment)

    def _runs_once_read(self, bounds: Mapping[TopicPartition, Bounds], deadline: float) -> Mapping[TopicPartition, Run]:
        """The store's runs, as soon as they reach the last record below each end, or at the deadline."""
        runs = self._runs(tell=True)
        if time.monotonic() >= deadline:
            return runs
        goals = {
            place: self._after_last(place, runs.get(place, NOTHING_READ), end) for place, (_, end) in bounds.items()
        }
        while any(runs.get(place, NOTHING_READ).next_offset < goal for place, goal in goals.items()):
            if time.monotonic() >= deadline:
                break
            time.sleep(POLL_S)
            runs = self._runs()
        return runs

    def _after_last(self, place: TopicPartition, run: Run, end: int) -> int:
        """Behind the last record below `end`: what follows it are transaction markers, which no worker is given."""
        start = self.log.bounds([place])[place].start if run.next_offset < end else 0
        after = run.next_offset
        for chunk in self.log.records(place, max(run.next_offset, start), end):
            after = chunk[-1].offset + 1
        return after

    def _runs(self, *, tell: bool = False) -> Mapping[TopicPartition, Run]:
        """Runs of the topics as they are now; one of a topic that was since made anew proves nothing."""
        runs = dict(self.evidence.runs())
        for place, run in list(runs.items()):
            current = self.topic_ids.get(place[0], "")
            if run.topic_id and current and run.topic_id != current:
                del runs[place]
                if tell and not self._has_told(place):
                    what = f"the topic was made anew (id {current}); the store's position is of {run.topic_id}"
                    self.proof.find(Problem("recreated", what, *place))
        return runs

    def _has_told(self, place: TopicPartition) -> bool:
        return any(
            found.kind == "recreated" and (found.topic, found.partition) == place for found in self.proof.problems
        )

    # 5: below the log's start

    def _below_start(self, part: PartitionProof, known_gaps: Sequence[Gap]) -> None:
        if self.asked.begin is not None and part.begin > part.log_start:
            return
        gaps = [gap for gap in known_gaps if (gap.topic, gap.partition) == (part.topic, part.partition)]
        for gap in gaps:
            what = f"offsets {gap.from_offset} to {gap.to_offset - 1} were dropped by the log before they were read"
            self.proof.find(Problem("gap", what, part.topic, part.partition, gap.from_offset))
        # A gap begins where the run before it ended, so up to its end there was nothing but runs and gaps.
        last = max((gap.to_offset for gap in gaps), default=0)
        known = [(0, last), (part.from_offset, part.next_offset)]
        for begin, end in _uncovered(part.log_start, known):
            what = f"offsets {begin} to {end - 1} are no longer in the log and in no run of reading of the store"
            self.proof.find(Problem("below_start", what, part.topic, part.partition, begin))

    def _gaps(self) -> list[Gap]:
        return [
            gap
            for gap in self.evidence.gaps()
            if not gap.topic_id or gap.topic_id == self.topic_ids.get(gap.topic, gap.topic_id)
        ]

    # 2: canonical records

    def _canonical(self, parts: Sequence[PartitionProof]) -> None:
        ranges = self._read_ranges(parts)
        facts = _Ordered(self.evidence.facts_in_order(ranges))
        for part in sorted(parts, key=lambda part: (part.topic, part.partition)):
            surplus = 0
            for chunk in self.log.records((part.topic, part.partition), part.begin, part.end):
                read = _count_unread(part, chunk)
                stored = facts.upto(part.topic, part.partition, read[-1].offset) if read else set()
                surplus += self._match(part, read, stored)
                self.advance(len(chunk))
            surplus += len(facts.upto(part.topic, part.partition, part.end))
            if surplus:
                self.proof.notes.append(
                    f"{part.topic}/{part.partition}: {surplus:,} facts that no record of the log is"
                )
        for (topic, number), count in self.evidence.duplicates(ranges).items():
            next(part for part in parts if (part.topic, part.partition) == (topic, number)).counts.duplicates = count

    def _match(self, part: PartitionProof, read: Sequence[Record], stored: set[tuple[int, bytes]]) -> int:
        """Counts a chunk; returns how many of the stored facts are of no record of it."""
        identities = [(record.offset, _md5(record.value)) for record in read]
        part.counts.facts += sum(map(stored.__contains__, identities))
        rest = [(record, found) for record, found in zip(read, identities, strict=True) if found not in stored]
        if rest:
            letters = self.evidence.dead_letters(_range_of(part, [record for record, _ in rest]))
            others = {offset for offset, _ in stored} | {offset for offset, _ in letters}
            for record, identity in rest:
                if identity in letters:
                    part.counts.dead_letters += 1
                elif _is_touched(record.value):
                    part.counts.ignored += 1
                else:
                    self._missing(part, record, others)
        return len(stored.difference(identities))

    def _missing(self, part: PartitionProof, record: Record, others: set[int]) -> None:
        part.counts.missing += 1
        place = (part.topic, part.partition, record.offset)
        if record.offset in others:
            self.proof.find(Problem("altered", "the store holds other bytes than the log for this record", *place))
        else:
            self.proof.find(Problem("missing", "neither a fact nor a dead letter" + _says(record), *place))

    # 3: raw records

    def _raw(self, part: PartitionProof, unread: set[TopicPartition]) -> None:
        for chunk in self.log.records((part.topic, part.partition), part.begin, part.end):
            read = _count_unread(part, chunk)
            self._match_raw(part, read, unread)
            self.advance(len(chunk))

    def _match_raw(self, part: PartitionProof, read: Sequence[Record], unread: set[TopicPartition]) -> None:
        mapped = [(record, self._mapped(record)) for record in read if not is_heartbeat(record.headers)]
        part.counts.ignored += len(read) - len(mapped)
        wanted = {record.offset: list(map(_Wanted.of, events)) for record, events in mapped if isinstance(events, list)}
        found = self.evidence.facts_among(_keys(item for items in wanted.values() for item in items))
        rest = []
        for record, events in mapped:
            lacking = [item for item in wanted.get(record.offset, ()) if item.identity not in found]
            if events == []:
                part.counts.ignored += 1
            elif isinstance(events, list) and not lacking:
                part.counts.facts += 1
            else:
                rest.append((record, events, lacking))
        if rest:
            self._without_facts(part, rest, unread)

    def _mapped(self, record: Record) -> "list[Event] | DeadLetter":
        """Its events but those that are ignored on purpose, or why it has none."""
        mapped = intake(record, self.skew, traceparent(record.headers))
        return mapped if isinstance(mapped, DeadLetter) else [event for event in mapped if event.type != TOUCHED]

    def _without_facts(self, part: PartitionProof, rest: "list[tuple[Record, Any, list[_Wanted]]]", unread: set[TopicPartition]) -> None:  # fmt: skip
        """Records that gave no events, or events that are no facts: dead letters, unread further on, or missing."""
        letters = self.evidence.dead_letters(_range_of(part, [record for record, *_ in rest]))
        keys = _keys(item for *_, lacking in rest for item in lacking)
        refused, ids = self.evidence.refused_among(keys), self.evidence.ids_among(keys)
        for record, events, wanted in rest:
            lacking = [item for item in wanted if (item.case_key, item.data) not in refused]
            if (record.offset, _md5(record.value)) in letters or (wanted and not lacking):
                part.counts.dead_letters += 1
            elif lacking and all(self._home(item) in unread for item in lacking):
                part.counts.unread += 1
            else:
                part.counts.missing += 1
                self.proof.find(self._lost(record, events, lacking, ids, {offset for offset, _ in letters}))

    def _lost(self, record: Record, events: Any, lacking: "list[_Wanted]", ids: set[tuple[str, str]], others: set[int]) -> Problem:  # fmt: skip
        place = (record.topic, record.partition, record.offset)
        if record.offset in others:
            return Problem("altered", "its dead letter has other bytes than the log", *place)
        if isinstance(events, DeadLetter):
            return Problem("missing", f"no dead letter is stored, though it maps to none: {events.reason:.200}", *place)
        first = lacking[0]
        told = f"event {first.fact_id} ({len(lacking)} of {len(events)}) "
        if (first.case_key, first.fact_id) in ids:
            return Problem("altered", told + "is a fact that says something else", *place, first.case_key)
        return Problem("missing", told + "is no fact", *place, first.case_key)

    def _home(self, item: "_Wanted") -> TopicPartition:
        return item.topic, partition_of(item.case_key.encode(), self.joined_partitions)

    # 4: unread

    def _has_unread(self, part: PartitionProof) -> bool:
        """Also outside of what was asked for: a raw record's events may lie there."""
        begin = max(part.next_offset, part.log_start)
        return any(self.log.records((part.topic, part.partition), begin, part.log_end))

    def _tell_unread(self, part: PartitionProof) -> None:
        counts = part.counts
        if counts.residual:
            raise AssertionError(f"{part.topic}/{part.partition}: {counts.residual} records are counted as nothing")
        if counts.unread:
            what = f"{counts.unread:,} records are not in the store yet, which has read up to {part.next_offset} of {part.end}"
            offset = max(part.next_offset, part.begin)
            self.proof.find(Problem("unread", what, part.topic, part.partition, offset if offset < part.end else None))

    # 6: verdicts

    def _cases(self, parts: Sequence[PartitionProof]) -> None:
        self.proof.verdicts = self.evidence.verdict_count()
        positions = {(part.topic, part.partition): part.next_offset for part in parts}
        for chunk in _chunks(self.evidence.cases_to_look_at(self._window(parts))):
            self.proof.cases_looked_at += len(chunk)
            verdicts = self.evidence.verdicts_of([case.case_key for case in chunk])  # before the facts: rule 6
            plain = [case.case_key for case in chunk if not _is_over_limit(verdicts.get(case.case_key))]
            facts = self.evidence.facts_of(plain)
            for case in chunk:
                stored = verdicts.get(case.case_key)
                if case.case_key in facts:
                    problem = _count_again(case.case_key, stored and stored[0], facts[case.case_key], positions)
                else:
                    problem = _over_limit(case, verdicts[case.case_key][0])
                if problem is not None:
                    self.proof.find(problem)

    # 7: totals

    def _totals(self, parts: Sequence[PartitionProof]) -> None:
        rows = self.evidence.reported_totals(self._window(parts))
        totals = _newest(rows)
        self.proof.totals = len(totals)
        if not totals:
            return
        days = self.evidence.day_totals({event.data.type for _, event in totals})
        for row, event in totals:
            problem = self._compare(row, event, days)
            if problem is not None:
                self.proof.find(problem)

    def _compare(self, row: FactRow, event: Any, days: Sequence[DayTotal]) -> Problem | None:
        said = event.data
        ours = [day for day in days if _is_meant(said, day)]
        count, total_minor = sum(day.count for day in ours), sum(day.total_minor for day in ours)
        has_sum = said.total_minor is not None and _has_amount(said.type) and len({day.currency for day in ours}) <= 1
        if said.total_minor is not None and not has_sum:
            self.proof.notes.append(f"{event.id}: the sum is not compared, {said.type} has no one amount or currency")
        if said.count == count and (not has_sum or said.total_minor == total_minor):
            return None
        sums = (
            f" of {said.total_minor} {said.currency or ''}".rstrip(),
            f" of {total_minor} {said.currency or ''}".rstrip(),
        )
        period = f"{said.period.start} to {said.period.end}"
        what = (
            f"{said.system} says {said.count} {said.type}{sums[0] if has_sum else ''} for {said.entity}, {period}; "
            f"the store has {count}{sums[1] if has_sum else ''}"
        )
        return Problem("total_differs", what, row.topic, row.partition, row.offset, event.correlationid)

    # Ranges

    def _read_ranges(self, parts: Sequence[PartitionProof]) -> list[Range]:
        """What the store must hold of these partitions."""
        found = [Range(part.topic, part.partition, part.begin, min(part.end, part.next_offset)) for part in parts]
        return [within for within in found if within.begin < within.end]

    def _window(self, parts: Sequence[PartitionProof]) -> list[Range] | None:
        """None: everything that the store holds, also what the log has dropped long ago."""
        return None if self.asked.begin is None and self.asked.end is None else self._read_ranges(parts)


class _Wanted(NamedTuple):
    """A fact that a raw record must have become."""

    topic: str
    case_key: str
    fact_id: str
    identity: bytes
    data: bytes

    @classmethod
    def of(cls, event: Event) -> "_Wanted":
        raw = encode(event)
        key, ident = event.correlationid, event.id
        data = md5(raw[raw.find(b'"data":') :], usedforsecurity=False).digest()
        return cls(event.stream, key, ident, what_it_says(key, ident, event.type, raw), data)


class _Ordered:
    """The store's facts in the order of the log, taken a chunk at a time."""

    def __init__(self, rows: Iterator[tuple[str, int, int, bytes]]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def upto(self, topic: str, partition: int, offset: int) -> set[tuple[int, bytes]]:
        """(offset, digest) of the rows not taken yet, up to and with this place."""
        last, found = (topic, partition, offset), set()
        while self._next is not None and self._next[:3] <= last:
            found.add(self._next[2:])
            self._next = next(self._rows, None)
        return found  # type: ignore[return-value]


def _count_unread(part: PartitionProof, chunk: list[Record]) -> list[Record]:
    """Counts a chunk's records; gives those below the store's position."""
    read = chunk if chunk[-1].offset < part.next_offset else [r for r in chunk if r.offset < part.next_offset]
    part.counts.records += len(chunk)
    part.counts.unread += len(chunk) - len(read)
    return read


def _range_of(part: PartitionProof, records: Sequence[Record]) -> Range:
    return Range(part.topic, part.partition, records[0].offset, records[-1].offset + 1)


def _keys(items: Iterable[_Wanted]) -> list[str]:
    return list(dict.fromkeys(item.case_key for item in items))


def _md5(value: bytes | None) -> bytes:
    return md5(value or b"", usedforsecurity=False).digest()


def _is_touched(value: bytes | None) -> bool:
    try:
        return decode(value or b"").type == TOUCHED
    except RecordError:
        return False


def _says(record: Record) -> str:
    try:
        event = decode(record.value or b"")
    except RecordError as error:
        return f"; it is no event: {error!s:.200}"
    return f"; it is {event.id} of {event.correlationid}"


def _or(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value


def _uncovered(end: int, known: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The parts of [0, end) that none of the known ranges covers."""
    at = 0
    for begin, stop in sorted(known):
        if begin > at and at < end:
            yield at, min(begin, end)
        at = max(at, stop)
    if at < end:
        yield at, end


def _chunks(cases: Iterator[CaseCount]) -> Iterator[list[CaseCount]]:
    """So many cases as have about CASE_ROWS facts."""
    chunk: list[CaseCount] = []
    rows = 0
    for case in cases:
        chunk.append(case)
        rows += case.rows
        if rows >= CASE_ROWS or len(chunk) >= CASES_AT_ONCE:
            yield chunk
            chunk, rows = [], 0
    if chunk:
        yield chunk


def _is_over_limit(stored: tuple[Stub, bytes] | None) -> bool:
    """Such a verdict counts its limit and one; it alone has facts and no time of a first one."""
    if stored is None or not stored[0].facts:
        return False
    return msgspec.json.decode(stored[1])["first_event_at"] is None


def _over_limit(case: CaseCount, stub: Stub) -> Problem | None:
    if case.contents >= stub.facts:
        return None
    return _fewer(case.case_key, stub.facts, case.contents)


def _count_again(key: str, stub: Stub | None, rows: Sequence[FactRow], positions: Mapping[TopicPartition, int]) -> Problem | None:  # fmt: skip
    """Counts a case's facts as matching does. Facts of the joined topics beyond their position need not be counted yet."""
    settled = [row for row in rows if row.offset < positions.get((row.topic, row.partition), row.offset + 1)]
    least, most = _count(key, settled), _count(key, rows)
    if stub is None:
        return Problem("no_verdict", f"{least} facts and no verdict", case_key=key) if least else None
    if stub.facts < least:
        return Problem("stale_verdict", f"the verdict counts {stub.facts} facts of {least}", case_key=key)
    return _fewer(key, stub.facts, most) if stub.facts > most else None


def _fewer(key: str, counted: int, there: int) -> Problem:
    return Problem("history_incomplete", f"the verdict counted {counted} facts, the store holds {there}", case_key=key)


def _count(key: str, rows: Sequence[FactRow]) -> int:
    case = Case(key, limit=len(rows) + 1)
    for row in rows:
        try:
            case.add(decode(row.raw))
        except (RecordError, ValueError):
            continue  # altered in the store: no longer a fact of this case
    return case.count


def _newest(rows: Iterable[FactRow]) -> list[tuple[FactRow, Any]]:
    """The totals that hold: of several for one system, entity, type, period and currency the latest."""
    held: dict[Any, tuple[Any, FactRow, Any]] = {}
    for row in rows:
        event: Any = decode(row.raw)
        said = event.data
        about = (said.system, said.entity, said.type, said.period.start, said.period.end, said.currency)
        rank = (-1 if said.version is None else said.version, event.time, row.offset)
        if about not in held or held[about][0] < rank:
            held[about] = (rank, row, event)
    return [(row, event) for _, row, event in held.values()]


def _is_meant(said: Any, day: DayTotal) -> bool:
    return (
        said.system in (day.system, day.source)
        and said.type == day.type
        and said.entity == day.entity
        and said.period.start <= day.day <= said.period.end
        and said.currency in (None, day.currency)
    )


def _has_amount(event_type: str) -> bool:
    """Whether facts of this type state one amount, which the store keeps as `amount_minor`."""
    model = EVENTS.get(event_type)
    names = model.model_fields["data"].annotation.model_fields if model else {}  # type: ignore[union-attr]
    return model is None or "total_minor" in names or "amount_minor" in names
