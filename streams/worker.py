"""The shell's logic: assignment, reading, flushing, deadlines, commit. Kafka, ClickHouse and the clock are ports.

In order, and nothing else:
1. `assigned`: claim an epoch for each partition, confirm it by an offset commit in that generation (rule E2), drop what
   was in memory, learn which cases exist, start reading at the lower of Kafka's and the store's position (E3). What the
   log has dropped before anybody read it is a gap, stored and told.
2. `receive`: a batch's records become facts of cases (or dead letters, or canonical events); their cases are dirty.
3. `flush`: facts, verdicts, dead letters and what came of replays; then - if the epochs still are ours - outbound messages,
   acknowledged. One flush at a time; reading goes on.
4. `commit`, every `progress_interval_s` and beside the next flush: the positions of what has been flushed; then - if the
   epochs still are ours, and the generation has not changed - its offsets. What was not committed is read again by the next
   owner, and verdicts beyond the stored positions are told again.
5. Deadlines make a case dirty when their time has come, nothing read lies before it, and what the case awaits is complete
   up to then; so does the progress of a source that was behind (E11), and another policy than a case was judged by (E16).
6. `refresh_progress`: how far the sources are, from what all workers have stored; ours once we have read what came of it.

Whatever a flush took and could not make durable is never committed: after a rebalance it is read again. The store away:
the flush is repeated with back-off (its writes are idempotent) while reading stops at `pending_records`. Anything
unexpected is raised to the caller, which ends the process without a commit.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from canonical.dead_letters import DeadLetter
from matching.clock import Progress
from matching.policy import Policy
from sinks.client import StoreUnavailable
from sinks.rows import (
    DeadLetterRow,
    FactBatch,
    GapRow,
    LetterActionRow,
    PositionRow,
    Untold,
    VerdictRow,
    clock_epoch,
    revision,
)
from streams import dead_letters, join, metrics, tracing
from streams.feeds import Feeds
from streams.identification import Identification
from streams.intake import intake, is_heartbeat, outbound, traceparent
from streams.memory import Known, Partition, Reached
from streams.ports import Broker, Clock, Contact, InvariantBroken, Mark, NotOwner, Outbound, StoreCalls, TopicPartition
from streams.positions import BEGINNING, Input, Positions, Start
from streams.settings import Settings
from streams.stored_progress import encode, parse
from streams.times import from_millis
from streams.topics import BREAKS, JOINED, RAW_PREFIX
from streams.transport import Batch

log = logging.getLogger("tieout.worker")

RETRY_FIRST_S, RETRY_MOST_S = 0.1, 5.0
LATE_WRITES_S = 300.0  # how long what a dead worker had sent may be on its way: more than the store's timeouts together
LATE_LOOK_S = 10.0  # how often is looked for them: it goes through all verdicts
A_MOMENT_S = 0.001  # less is not waited for


class Flushed(NamedTuple):
    """What a flush has made durable, and what may therefore be committed."""

    generation: int
    epochs: dict[int, int]
    read: Mapping[TopicPartition, Input]
    positions: list[PositionRow]


@dataclass
class Pending:
    """What has been read since the last flush took its share."""

    facts: list[FactBatch]
    refused: list[dead_letters.Refused]
    actions: list[LetterActionRow]
    messages: list[Outbound]
    published: list["asyncio.Future[None]"]
    records: int = 0
    oldest: datetime | None = None


class Worker:
    """All methods run on one event loop; `receive` may be called by several agents at once."""

    def __init__(self, settings: Settings, policy: Policy, broker: Broker, store: StoreCalls, clock: Clock) -> None:
        self.settings = settings
        self.policy = policy
        self.broker = broker
        self.store = store
        self.clock = clock
        self.generation: int | None = None
        self._assignments = 0  # taken or taken back so far
        self._passed: tuple[datetime, str] | None = None  # when and how another claim came before ours
        self.partitions: dict[int, Partition] = {}
        self.partition_count = 0
        self.positions = Positions({}, {})
        self.feeds = Feeds(policy.feeds, settings.sources)
        self._identification = Identification(policy, settings.open_items, self._ask, self.broker.publish)
        self.start_offsets: dict[TopicPartition, int] = {}
        self._raw_counts: Mapping[str, int] = {}
        self._pending = _nothing()
        self._in_flight = 0
        self._applying = asyncio.Lock()
        self._flushing = asyncio.Lock()
        self._committing = asyncio.Lock()
        self._flushed: Flushed | None = None  # and not yet committed
        self._looked_s = 0.0  # when late writes were looked for, by the loop's time
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._full = asyncio.Event()

    # Assignment

    async def revoked(self) -> None:
        """The group takes everything back. What was not committed will be read again, by whoever owns it then."""
        self._assignments += 1
        self._passed = None
        self.generation = None
        self.partitions = {}
        self._pending = _nothing()
        self._flushed = None
        self.positions = Positions({}, {})
        self.start_offsets = {}
        self._room.set()

    async def assigned(self, tps: set[TopicPartition], generation: int) -> None:
        """Claims and loads; may be overtaken by another assignment, which then claims anew."""
        await self.revoked()
        this = self._assignments
        check_joined(tps)
        claimed: dict[int, Partition] = {}
        numbers = sorted({number for _, number in tps})
        marks = await self.broker.committed(tps)
        for number in numbers:
            known = max((mark.epoch for tp, mark in marks.items() if mark and tp[1] == number), default=0)
            known = max(known, clock_epoch(self.clock()))
            claimed[number] = Partition(
                number,
                await self._patiently("claim", number, self.settings.worker, known),
                self.policy.limits.facts_of,
                self._deadlines_each(len(numbers)),
                self.settings.packed_cases // len(numbers),
            )
            claimed[number].claimed_at_s = asyncio.get_running_loop().time()
        stored: Mapping[int, Mapping[str, PositionRow]] = await self._patiently("positions", numbers) if numbers else {}
        starts = await self._starts(tps, stored)
        for number, partition in claimed.items():
            partition.tells_all = any(start.read_before is not None for tp, start in starts.items() if tp[1] == number)
        try:
            if starts:  # more workers than partitions: nothing to confirm
                epochs = {number: partition.epoch for number, partition in claimed.items()}
                await self.broker.commit({tp: _mark(epochs, tp, start) for tp, start in starts.items()}, generation)
        except NotOwner as reason:
            log.warning("claimed in generation %s, which is over: waiting for the next assignment", generation)
            self._passed = self.clock(), str(reason)
            return
        self.partition_count = await self._partition_count()
        self._raw_counts = await self.broker.partition_counts(self.feeds.topics)
        if claimed:
            await self._learn(claimed, stored)
        ends = await self.broker.end_offsets(tps)
        if this != self._assignments:
            log.info("the assignment of generation %s was overtaken while it loaded", generation)
            return
        reached = [partition.reached for partition in claimed.values() if partition.reached]
        latest = min((before.judged_to for before in reached), default=BEGINNING)
        self.positions = Positions(starts, ends, self.clock(), latest, self.settings.pending_records)
        self.feeds = Feeds(self.policy.feeds, self.settings.sources, [before.complete_to for before in reached])
        self.start_offsets = {tp: start.offset for tp, start in starts.items()}
        self.partitions = claimed
        self.generation = generation
        metrics.owned({number: partition.epoch for number, partition in claimed.items()})
        log.info("own partitions %s in generation %s", sorted(claimed), generation)

    async def _starts(
        self, tps: set[TopicPartition], stored: Mapping[int, Mapping[str, PositionRow]]
    ) -> dict[TopicPartition, Start]:
        """The lower of what Kafka and the store say has been done; the log's beginning where either says nothing.

        A topic that was made anew begins anew, whatever is stored of the one before.
        """
        committed = await self.broker.committed(tps)  # after the claim: what an earlier owner still committed counts
        begins = await self.broker.start_offsets(tps)
        ids = await self.broker.topic_ids({topic for topic, _ in tps})
        lost = await self._lost({tp for tp in tps if committed.get(tp) is None})
        starts: dict[TopicPartition, Start] = {}
        gaps: list[GapRow] = []
        for tp in tps:
            topic, number = tp
            mark = committed.get(tp)
            offset, read_before = (mark.offset, max(mark.offset, mark.read_before)) if mark else (0, lost.get(tp))
            row, topic_id, begin = stored[number].get(topic), ids.get(topic, ""), begins.get(tp, 0)
            if row is None or (row.topic_id and topic_id and row.topic_id != topic_id):
                starts[tp] = Start(begin, begin, topic_id, read_before=read_before)
                continue
            done = min(offset, row.next_offset)
            is_gap = row.next_offset < begin
            if is_gap:
                gaps.append(GapRow(topic, topic_id, number, row.next_offset, begin, self.settings.worker, self.clock()))
            complete_to = row.complete_to if done == row.next_offset else BEGINNING
            from_offset = begin if is_gap else row.from_offset
            starts[tp] = Start(max(done, begin), from_offset, topic_id, complete_to, row.appended_at, read_before)
        if gaps:
            log.error("the log dropped records before they were read: %s", [gap[:5] for gap in gaps])
            metrics.lost((gap.topic, gap.to_offset - gap.from_offset) for gap in gaps)
            await self._patiently("write_gaps", gaps)
        return starts

    async def _lost(self, unmarked: set[TopicPartition]) -> Mapping[TopicPartition, int]:
        """The ends of what may have been read before, though the group does not know it: something has been told."""
        count = (await self.broker.partition_counts([BREAKS]))[BREAKS] if unmarked else 0
        told = await self.broker.end_offsets({(BREAKS, number) for number in range(count)}) if count else {}
        return await self.broker.end_offsets(unmarked) if any(told.values()) else {}

    async def _partition_count(self) -> int:
        """The number of partitions of every joined topic, which must be what the store's cases were made with."""
        counts = await self.broker.partition_counts(JOINED)
        if len(set(counts.values())) != 1:
            raise InvariantBroken(f"joined topics differ in their number of partitions: {dict(counts)}")
        count = next(iter(counts.values()))
        stored = await self._patiently("meta", "partitions")
        if stored is None:
            await self._patiently("set_meta", "partitions", str(count))
        elif int(stored) != count:
            raise InvariantBroken(f"topics have {count} partitions, the store was filled with {stored}")
        return count

    async def _learn(self, claimed: Mapping[int, Partition], stored: Mapping[int, Mapping[str, PositionRow]]) -> None:
        """Which cases exist, what is due, how far they were judged, and whose breaks an earlier owner perhaps did not tell.

        Each table is gone through once for all partitions: at millions of cases that is what a start takes.
        """
        numbers = list(claimed)
        known = await self._patiently("known", numbers)
        deadlines = await self._patiently("deadlines", numbers, BEGINNING, self._deadlines_each(len(numbers)))
        awaited = await self._patiently("awaited", numbers)
        for number, partition in claimed.items():
            rows = stored[number].values()
            partition.told_to = max((revision(row.epoch, row.seq) for row in rows), default=0)
            partition.known = Known(known[number])
            partition.deadlines.refill(deadlines[number])
            partition.awaited.update(
                (source, at) for source, at in awaited[number].items() if source in self.policy.feeds
            )
        for partition, untold in await self._untold(claimed.values()):
            keys = [each.case_key for each in untold]
            await self._load(partition, keys)
            for key in keys:
                partition.touch(key, partition.entry(key))
            partition.reached = self._reached(untold, stored[partition.number])

    def _reached(self, untold: list[Untold], stored: Mapping[str, PositionRow]) -> Reached | None:
        """What a partition's cases were last judged with; verdicts beyond the stored positions were judged with more."""
        judged = [(each.judged_at, each.progress) for each in untold]
        judged = judged or [(row.judged_to, row.proven) for topic, row in stored.items() if topic in JOINED]
        if not judged:
            return None
        judged_to = min(max(at for at, _ in judged), self.clock())  # what a clock ahead of time had stored is not kept
        complete_to: dict[str, datetime] = {}
        for proven in {progress for _, progress in judged}:
            for feed, at in parse(proven).complete_to.items():
                complete_to[feed] = max(at, complete_to.get(feed, at))
        return Reached(judged_to, complete_to)

    def _deadlines_each(self, partitions: int) -> int:
        return max(1, self.settings.deadlines_kept // max(1, partitions))

    async def _untold(self, partitions: Collection[Partition]) -> list[tuple[Partition, list[Untold]]]:
        """Cases that an earlier owner judged, and perhaps did not tell; each once."""
        if not partitions:
            return []
        told = {partition.number: (partition.told_to, partition.epoch) for partition in partitions}
        found = await self._patiently("untold", told)
        untold = []
        for partition in partitions:
            new = [each for each in found[partition.number] if each.case_key not in partition.retold]
            for each in new:
                partition.known.add(each.case_key)  # it may have been written since what is known was asked for
            partition.retold.update(each.case_key for each in new)
            untold.append((partition, new))
        return untold

    async def _refill(self, partition: Partition, since: datetime) -> None:
        deadlines = partition.deadlines
        stored = await self._patiently("deadlines", [partition.number], since, deadlines.most)
        deadlines.refill(stored[partition.number])

    # Reading

    async def receive(self, batch: Batch) -> None:
        """Takes a batch in; returns once its records are in memory (canonical) or handed to the broker (raw)."""
        await self._room.wait()
        if batch.generation != self.generation:
            return
        if batch.topic.startswith(RAW_PREFIX):
            self._receive_raw(batch)
        else:
            await self._receive_canonical(batch)

    async def _receive_canonical(self, batch: Batch) -> None:
        parsed = join.parse(batch.records)
        async with self._applying:
            partition = self.partitions.get(batch.partition)
            if partition is None or batch.generation != self.generation:
                return
            await self._load(partition, [event.correlationid for event in parsed.events])
            written = await self._written_by_others(partition, parsed.touched)
            if batch.generation != self.generation:
                return
            join.apply(parsed, partition, self.partition_count)
            for key, raws in written.items():
                join.refresh(partition, key, raws, from_millis(batch.records[-1].timestamp))
            offsets = [record.offset for record in parsed.records]
            tracing.facts(batch.topic, batch.partition, offsets, parsed.events)
            if offsets:
                raws = [record.value for record in parsed.records]
                self._pending.facts.append(FactBatch(batch.topic, batch.partition, offsets, raws))
            for record, letter in parsed.refused:
                self._refuse(letter, record, "join", batch.topic)
            self._advance(batch)

    async def _written_by_others(self, partition: Partition, keys: list[str]) -> dict[str, list[bytes]]:
        """Facts of cases that somebody says he has written, by case (rule E12)."""
        if not keys:
            return {}
        unique = list(dict.fromkeys(keys))
        for key in unique:
            join.check_home(key, partition.number, self.partition_count)
        await self._load(partition, unique)
        found = await self._patiently("facts_of", unique)
        return {key: [fact.raw for fact in facts] for key, facts in found.items()}

    def _receive_raw(self, batch: Batch) -> None:
        """No await: the events are handed to the broker, and their acknowledgement is awaited by the flush."""
        messages: list[Outbound] = []
        skew = timedelta(seconds=self.settings.future_skew_s)
        for record in batch.records:
            if is_heartbeat(record.headers):
                continue
            with tracing.intake(traceparent(record.headers), record) as trace:
                mapped = intake(record, skew, trace, self.policy)
            if isinstance(mapped, DeadLetter):
                self._refuse(mapped, record, "intake", batch.topic.removeprefix(RAW_PREFIX))
            else:
                messages.extend(outbound(mapped))
                if replay := dead_letters.replay_of(record.headers):
                    self._pending.actions.append(dead_letters.resolved(replay, record, mapped))
        if messages:
            self._pending.published.append(asyncio.ensure_future(self.broker.publish(messages)))
        self._advance(batch)

    def _refuse(self, letter: DeadLetter, record: Any, stage: dead_letters.Stage, source: str) -> None:
        self._pending.refused.append(dead_letters.refused(letter, record, stage, source, self.clock()))
        metrics.dead_letter(stage, letter.failure, source)

    def _advance(self, batch: Batch) -> None:
        last = batch.records[-1]
        tp = (batch.topic, batch.partition)
        self.positions.advance(tp, last.offset + 1, batch.highwater, from_millis(last.timestamp), self.clock())
        pending = self._pending
        pending.records += len(batch.records)
        pending.oldest = pending.oldest or from_millis(batch.records[0].timestamp)
        if pending.records >= self.settings.pending_records // 2:  # one half is read while the other is written
            self._full.set()
        if pending.records + self._in_flight >= self.settings.pending_records:
            self._room.clear()
            metrics.limit_hit("pending_records")
        self._work.set()
        metrics.records(batch.topic, len(batch.records))

    async def _load(self, partition: Partition, keys: list[str]) -> None:
        missing = partition.missing(keys)
        if not missing:
            return
        stored = await self._patiently("verdicts_of", missing)
        facts = await self._patiently("facts_of", list(stored))
        for key, (stub, verdict) in stored.items():
            join.restore(partition, stub, verdict, [fact.raw for fact in facts[key]])

    # Deadlines

    async def fire_deadlines(self) -> int:
        """Makes the cases dirty that time, progress or policy has overtaken; returns how many."""
        self.feeds.adopt(self.positions.next_offsets)
        horizon = self.feeds.horizon(self.positions.now(self.clock()))
        fired = 0
        async with self._flushing:  # what the store is asked then knows of everything judged
            owned = list(self.partitions.values())
            for partition in owned:
                keys = await self._overtaken(
                    partition, horizon, max(1, self.settings.deadlines_per_flush // len(owned))
                )
                fired += await self._touch(partition, keys) if keys else 0
        metrics.deadlines_fired(fired)
        return fired

    async def _overtaken(self, partition: Partition, horizon: datetime, most: int) -> list[str]:
        if partition.deadlines.is_spent(horizon):
            await self._refill(partition, partition.deadlines.until)
        keys = list(partition.due(horizon, most))
        for source, until in list(partition.awaited.items()):
            if until <= self.feeds.complete_to[source] and len(keys) < most:
                keys += await self._proven(partition, source, most - len(keys))
        if not keys and not partition.is_of_policy and self.positions.behind() <= self.settings.backlog_records:
            keys = await self._patiently("judged_otherwise", partition.number, self.policy.hash, most)
            partition.is_of_policy = not keys
            metrics.rejudged(len(keys))
            if keys:
                log.info(
                    "partition %s: %s open cases are judged again by policy %s",
                    partition.number,
                    len(keys),
                    self.policy.hash,
                )
        return keys

    async def _proven(self, partition: Partition, source: str, most: int) -> list[str]:
        """Cases that waited for what `source` has now come to; notes from when on the next ones do."""
        complete_to = self.feeds.complete_to[source]
        waiting = await self._patiently("awaiting", partition.number, source, most + 1)
        del partition.awaited[source]
        later = [until for until, _ in waiting[most:]] or [until for until, _ in waiting if until > complete_to]
        if later:
            partition.awaited[source] = later[0]
        return [key for until, key in waiting[:most] if until <= complete_to]

    async def _touch(self, partition: Partition, keys: list[str]) -> int:
        async with self._applying:
            if self.partitions.get(partition.number) is not partition:
                return 0
            await self._load(partition, keys)
            found = [(key, partition.cases[key]) for key in dict.fromkeys(keys) if key in partition.cases]
            for key, entry in found:
                partition.touch(key, entry)
            return len(found)

    # Progress

    def heard(self, contacts: Mapping[TopicPartition, Contact], generation: int) -> None:
        """What the broker last said of the inputs."""
        if generation == self.generation:
            for tp, contact in contacts.items():
                self.positions.heard(tp, contact)

    # Choices between cases

    async def identify_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self.settings.identify_interval_s)
            await self.identify()

    async def identify(self) -> int:
        """Decides what money pays that names nothing, for the entities that are ours (rule E7); returns how often."""
        if self.generation is None or self.positions.behind() > self.settings.backlog_records:
            return 0
        now = self.clock()
        horizon = self.feeds.horizon(self.positions.now(now))
        try:
            return await self._identification.decide(
                dict(self.partitions), self.partition_count, self.settings.worker, now, horizon
            )
        except NotOwner as reason:
            log.warning("nothing identified: %s", reason)
            return 0

    async def _ask(self, method: str, *args: Any) -> Any:
        return await self._patiently(method, *args, generation=self.generation)

    async def refresh_progress(self) -> None:
        """Asks how far all raw partitions are, unless the last answer still waits for us to read what came of it."""
        generation = self.generation
        if generation is None or self.feeds.is_waiting:
            return
        feeds = self.feeds
        rows = await self._patiently("progress", feeds.topics)
        ends = await self.broker.end_offsets({tp for tp in self.positions.inputs if tp[0] in JOINED})
        feeds.hear(rows, self._raw_counts, ends)
        feeds.adopt(self.positions.next_offsets)
        metrics.feeds(feeds.complete_to, self.clock())

    async def tell_late_writes(self) -> None:
        """What an earlier owner had sent to the store may arrive after our claim: nobody else will tell of it.

        Nor see that it lies in another month than ours of the same case (rule E9), once all of it has come.
        """
        young_since = asyncio.get_running_loop().time() - LATE_WRITES_S
        owned = list(self.partitions.values())
        for partition, untold in await self._untold([each for each in owned if each.claimed_at_s > young_since]):
            await self._touch(partition, [each.case_key for each in untold])
        for partition in owned:
            if partition.claimed_at_s <= young_since and not partition.is_whole:
                await self._unite(partition)

    async def _unite(self, partition: Partition) -> None:
        """A case that lies in two months stays in that of our verdict alone; where we have none, it is judged first."""
        split = await self._patiently("split_cases", partition.number)
        if ours := [key for key, epoch in split if epoch == partition.epoch]:
            log.warning("partition %s: %s cases were stored in two months", partition.number, len(ours))
            await self._patiently("drop_before", ours, partition.epoch)
        await self._touch(partition, [key for key, epoch in split if epoch != partition.epoch])
        partition.is_whole = not split

    # Flushing

    async def run(self, stop: asyncio.Event) -> None:
        """Flushes whenever there is something to flush, at most once in `flush_interval_s`.

        Told to stop it ends the flush under way, takes a last one and returns: cut off in between, what it took would
        be neither durable nor taken again.
        """
        loop = asyncio.get_running_loop()
        told_s, telling = 0.0, asyncio.ensure_future(asyncio.sleep(0))
        try:
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._work.wait(), self.settings.flush_interval_s)
                self._check_not_forgotten()
                started = loop.time()
                await self.fire_deadlines()
                is_due = telling.done() and started - told_s >= self.settings.progress_interval_s
                self.positions.changed |= is_due  # also where nothing was read: others wait for how far we are
                await self.flush(commits=False)
                if is_due:
                    telling.result()
                    told_s, telling = started, asyncio.ensure_future(self._tell_how_far())
                await self._pause(started)
            await telling
            await self.flush(commits=False)
            await self.commit()
        finally:
            telling.cancel()

    async def _tell_how_far(self) -> None:
        """Beside the next flush, which does not wait for it."""
        await self.commit()
        await self.refresh_progress()
        if (now_s := asyncio.get_running_loop().time()) - self._looked_s >= LATE_LOOK_S:
            self._looked_s = now_s
            await self.tell_late_writes()

    def _check_not_forgotten(self) -> None:
        """Passed by another claim, only a new assignment makes a worker an owner again, and the group gives one when it
        has changed. The other may have died of the same pause: then nobody would read on. Raises InvariantBroken.
        """
        if self._passed is None:
            return
        since, reason = self._passed
        if (self.clock() - since).total_seconds() > self.settings.unowned_timeout_s:
            raise InvariantBroken(f"no new assignment for {self.settings.unowned_timeout_s:.0f} s after: {reason}")

    async def _pause(self, since_s: float) -> None:
        """Until the next flush may begin: sooner where enough has been read, or the backlog is gone."""
        loop = asyncio.get_running_loop()
        while not self._full.is_set() and (left_s := since_s + self._interval_s() - loop.time()) > A_MOMENT_S:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), min(left_s, self.settings.flush_interval_s))

    def _interval_s(self) -> float:
        """Behind its log a worker flushes less often: parts of a case meet in memory and are judged once, not thrice."""
        behind = self.positions.behind() > self.settings.backlog_records
        return self.settings.backlog_interval_s if behind else self.settings.flush_interval_s

    async def flush(self, *, commits: bool = True) -> bool:
        """Makes what was read so far durable and `commits` it. False where there was nothing, or it is no longer ours."""
        return await self._flush_once() and (not commits or await self.commit())

    async def _flush_once(self) -> bool:
        async with self._flushing:
            generation = self.generation
            self._work.clear()
            self._full.clear()
            is_changed = self.positions.changed or any(p.dirty for p in self.partitions.values())
            if generation is None or not self.positions.inputs or not is_changed:
                return False
            with metrics.flush_timer():
                return await self._flush(generation)

    async def _flush(self, generation: int) -> bool:
        pending, self._pending = self._pending, _nothing()
        self._in_flight = pending.records
        self.positions.changed = False
        read = self.positions.snapshot()
        terms = self._terms()
        epochs = {number: partition.epoch for number, partition in self.partitions.items()}
        facts = self.store("write_facts", pending.facts) if pending.facts else None  # on its way while cases are judged
        rows = self._judge(pending, terms)
        flushed = Flushed(generation, epochs, read, self._position_rows(read, terms))
        try:
            if facts is not None:
                await self._finished(facts, "write_facts", pending.facts, generation)
            await self._write(pending, rows, epochs, generation)
        except NotOwner as reason:
            await self._passed_by(reason, generation)
            return False
        finally:
            self._in_flight = 0
            self._room.set()
            self.positions.resumed = self.clock()
        self._flushed = flushed
        self._told(pending, rows)
        await self._evict()
        return True

    def _terms(self) -> dict[int, join.Terms]:
        """By partition: neither time nor progress is less than its cases were judged with before (rule E11)."""
        now = self.positions.now(self.clock())
        ours = join.Terms(self.policy, now, self.feeds.progress(), self.feeds.proven(), self.settings.dashboard_url)
        return {number: _no_less(ours, partition) for number, partition in self.partitions.items()}

    def _judge(self, pending: Pending, terms: Mapping[int, join.Terms]) -> list[VerdictRow]:
        rows: list[VerdictRow] = []
        for partition in self.partitions.values():
            dirty = partition.take_dirty()
            judged = join.judge_dirty(partition, dirty, terms[partition.number])
            if crowded := sum(entry.case.is_over_limit for entry in dirty.values()):
                metrics.limit_hit("facts_per_case", crowded)
            rows.extend(judged.rows)
            pending.messages.extend(judged.messages)
            metrics.judged(judged.verdicts)
            tracing.verdicts(judged.verdicts)
        return rows

    async def _write(
        self, pending: Pending, rows: list[VerdictRow], epochs: Mapping[int, int], generation: int
    ) -> None:
        """The order is the contract: facts (before this), verdicts, dead letters, messages acknowledged, positions (after).

        Messages say what is durable, and nobody else had claimed it before then: who has lost a case tells nothing of it
        that its next owner does not know.
        """
        letters = await self._sort_out(pending, generation)
        if rows:
            await self._patiently("write_verdicts", rows, generation=generation)
        if letters:
            await self._patiently("write_dead_letters", letters, generation=generation)
        if pending.actions:
            await self._patiently("write_letter_actions", pending.actions, generation=generation)
        if pending.messages:
            await self._check_held(epochs, generation)
            await self.broker.publish(pending.messages)
        await asyncio.gather(*pending.published)

    async def _sort_out(self, pending: Pending, generation: int) -> list[DeadLetterRow]:
        """What was refused: letters of their own, or later failures of letters that the store has."""
        named = sorted({item.replay.letter for item in pending.refused if item.replay})
        known = await self._patiently("known_letters", named, generation=generation) if named else set()
        found = dead_letters.sort_out(pending.refused, known, self.settings.group)
        pending.actions.extend(found.actions)
        pending.messages.extend(found.messages)
        if parked := sum(row.action == "parked" for row in found.actions):
            metrics.limit_hit("max_replays", parked)
        return found.letters

    async def commit(self) -> bool:
        """Stores and commits how far the last flush has come. False where there was none, or it is no longer ours."""
        async with self._committing:
            flushed, self._flushed = self._flushed, None
            if flushed is None or flushed.generation != self.generation:
                return False
            try:
                await self._commit(flushed)
            except NotOwner as reason:
                await self._passed_by(reason, flushed.generation)
                return False
            if flushed.generation != self.generation:
                return False
            metrics.committed()
            self.positions.committed({tp: each.next_offset for tp, each in flushed.read.items()})
            for partition in self.partitions.values():
                partition.tells_all = self.positions.reads_again(partition.number)
            return True

    async def _commit(self, flushed: Flushed) -> None:
        """Rule E2: never commits for an epoch that somebody has claimed since."""
        generation, epochs, read, positions = flushed
        await self._patiently("write_positions", positions, generation=generation)
        await self._check_held(epochs, generation)
        await self.broker.commit({tp: _mark(epochs, tp, each) for tp, each in read.items()}, generation)

    async def _passed_by(self, reason: NotOwner, generation: int) -> None:
        """Somebody else owns what we held; only a new assignment makes us an owner again."""
        metrics.flush_failed("not_owner")
        log.warning("given up, nothing committed: %s", reason)
        if generation == self.generation:
            await self.revoked()
            metrics.owned({})
            self._passed = self.clock(), str(reason)

    async def _check_held(self, epochs: Mapping[int, int], generation: int) -> None:
        holders = await self._patiently("holders", sorted(epochs), generation=generation)
        for number, epoch in epochs.items():
            if holders.get(number) != (epoch, self.settings.worker):
                raise NotOwner(f"partition {number} is held by {holders.get(number)}, not by our epoch {epoch}")
        if generation != self.generation:
            raise NotOwner(f"generation {generation} is over")

    def _told(self, pending: Pending, rows: list[VerdictRow]) -> None:
        metrics.flushed(
            facts=sum(len(batch.offsets) for batch in pending.facts),
            verdicts=len(rows),
            dead_letters=len(pending.refused),
        )
        if pending.oldest is not None:
            metrics.record_to_durable((self.clock() - pending.oldest).total_seconds())

    def lags(self) -> dict[TopicPartition, int]:
        """Of each input; asked for from time to time, because a flush that stands still tells nothing."""
        return {tp: read.not_durable for tp, read in self.positions.inputs.items()}

    async def _evict(self) -> None:
        """Not while a batch or a deadline waits for cases to be loaded: it counts on those that it found in memory."""
        async with self._applying:
            allowed = self.settings.cached_cases // max(1, len(self.partitions))
            owned = self.partitions.values()
            cases = sum(len(partition.cases) for partition in owned)
            evicted = sum(partition.evict(allowed) for partition in owned)
            metrics.cache(cases, evicted, packed=sum(len(partition.packed) for partition in owned))

    def _position_rows(
        self, read: Mapping[TopicPartition, Input], terms: Mapping[int, join.Terms]
    ) -> list[PositionRow]:
        flushed_at = self.clock()
        return [
            PositionRow(
                topic=topic,
                topic_id=each.topic_id,
                partition=number,
                next_offset=each.next_offset,
                epoch=self.partitions[number].epoch,
                seq=self.partitions[number].next_seq(),
                flushed_at=flushed_at,
                lag=each.lag,
                from_offset=each.from_offset,
                committed_offset=each.committed_offset,
                complete_to=each.complete_to,
                appended_at=each.appended_at,
                judged_to=terms[number].now,
                proven=terms[number].proven,
            )
            for (topic, number), each in read.items()
            if number in self.partitions
        ]

    async def _finished(self, begun: Awaitable[Any], method: str, argument: Any, generation: int) -> None:
        """Awaits a store call that was begun earlier; where the store was away, makes it again."""
        try:
            await begun
        except StoreUnavailable as error:
            log.warning("store unavailable, %s is repeated: %s", method, error)
            metrics.store_retry()
            await self._patiently(method, argument, generation=generation)

    async def _patiently(self, method: str, *args: Any, generation: int | None = None) -> Any:
        """A store call, repeated while the store is away; given up (NotOwner) where the partition is lost meanwhile."""
        wait_s = RETRY_FIRST_S
        while True:
            try:
                return await self.store(method, *args)
            except StoreUnavailable as error:
                metrics.store_retry()
                log.warning("store unavailable, retry of %s in %.1f s: %s", method, wait_s, error)
            if generation is not None and generation != self.generation:
                raise NotOwner(f"generation {generation} is over")
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, RETRY_MOST_S)


def _mark(epochs: Mapping[int, int], tp: TopicPartition, read: Start | Input) -> Mark:
    """What is committed of an input that has been read so far."""
    offset = read.offset if isinstance(read, Start) else read.next_offset
    return Mark(offset, epochs[tp[1]], max(offset, read.read_before or 0))


def _no_less(ours: join.Terms, partition: Partition) -> join.Terms:
    """Our terms, or what the partition's cases were judged with before; forgotten once we have come as far."""
    reached = partition.reached
    if reached is None:
        return ours
    mine = ours.progress.complete_to
    complete_to = {feed: max(at, reached.complete_to.get(feed, at)) for feed, at in mine.items()}
    if ours.now >= reached.judged_to and complete_to == mine:
        partition.reached = None
        return ours
    progress = Progress(complete_to)
    return ours._replace(now=max(ours.now, reached.judged_to), progress=progress, proven=encode(progress))


def _nothing() -> Pending:
    return Pending([], [], [], [], [])


def check_joined(tps: set[TopicPartition]) -> None:
    """Every joined topic must give the same partitions (rule E4). Raises InvariantBroken."""
    by_topic = {topic: frozenset(number for name, number in tps if name == topic) for topic in JOINED}
    if len(set(by_topic.values())) > 1:
        shown = {topic: sorted(numbers) for topic, numbers in by_topic.items()}
        raise InvariantBroken(f"joined topics were assigned different partitions: {shown}")
