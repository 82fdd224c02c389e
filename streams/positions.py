"""How far a worker has read, and the time it may judge with.

- `next_offset` of an input says what a flush may commit: everything below has been read and is in that flush. It follows
  the log: one that was made anew under us takes it back.
- An input is complete up to the time at which the broker last said that there is nothing more in it; while there is more,
  up to the append time of the last record read. Times are the broker's or ours, never an event's (rule E11): one event
  dated 2099 completes nothing. What a broker that does not answer may hold is not known to be nothing.
- The time verdicts are judged with (`now`) is the clock where all inputs are complete, else the least that one of them is
  complete to. It never goes back, so a verdict never un-happens; only what a clock ahead of time had stored is not kept.
- Offsets are places, not counts: transaction markers take some up. Where the consumer has passed them over, so do we.
- A backlog is read evenly: of the joined topics, those whose last record was appended more than `EVEN_WINDOW` after that
  of the slowest one wait, so that the parts of a case meet in memory and it is judged once, not once a part. What has not
  moved for `PATIENCE` holds nobody up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from streams.ports import Contact, TopicPartition
from streams.topics import JOINED

EVEN_WINDOW = timedelta(milliseconds=50)
PATIENCE = timedelta(seconds=2)
SILENCE = timedelta(seconds=5)  # a broker that has not answered for so long may hold more than we know
BEGINNING = datetime(1990, 1, 1, tzinfo=UTC)


class Start(NamedTuple):
    """Where reading begins, and what earlier lives have left: see sinks.rows.PositionRow. They may have read up to
    `read_before` (None: there were none) and told of it, whatever the store still knows.
    """

    offset: int
    from_offset: int = 0
    topic_id: str = ""
    complete_to: datetime = BEGINNING
    appended_at: datetime = BEGINNING
    read_before: int | None = None


@dataclass(slots=True)
class Input:
    """One partition of one topic. `end` is the log's, as last heard."""

    next_offset: int
    from_offset: int
    topic_id: str
    end: int
    complete_to: datetime
    moved_at: datetime
    appended_at: datetime
    committed_offset: int = 0
    read_before: int = 0

    @property
    def lag(self) -> int:
        """Offsets between the last read record and the log's end (not a count of records)."""
        return max(0, self.end - self.next_offset)

    @property
    def not_durable(self) -> int:
        """Offsets between what was last committed and the log's end."""
        return max(0, self.end - self.committed_offset)


class Positions:
    def __init__(
        self,
        starts: Mapping[TopicPartition, Start],
        ends: Mapping[TopicPartition, int],
        clock: datetime = BEGINNING,
        latest: datetime = BEGINNING,
        in_flight: int = 0,
    ) -> None:
        """`latest`: the time judged with before. `in_flight`: records that an earlier life may have read uncommitted."""
        self.inputs = {tp: _input(start, ends.get(tp, 0), clock, in_flight) for tp, start in starts.items()}
        self._joined = {tp: read for tp, read in self.inputs.items() if tp[0] in JOINED}
        self._latest = min(latest, clock)
        self.changed = False
        self.resumed = clock  # since when reading is not held up by a flush

    @property
    def next_offsets(self) -> dict[TopicPartition, int]:
        return {tp: read.next_offset for tp, read in self.inputs.items()}

    def snapshot(self) -> dict[TopicPartition, Input]:
        """What a flush that begins now makes durable."""
        return {tp: replace(read) for tp, read in self.inputs.items()}

    def advance(
        self, tp: TopicPartition, next_offset: int, highwater: int, appended: datetime, clock: datetime
    ) -> None:
        """Records of `tp` below `next_offset` have been read by `clock`; the last one was appended at `appended`."""
        read = self.inputs[tp]
        read.next_offset = next_offset
        read.end = highwater
        read.appended_at = min(appended, clock)
        read.complete_to = max(read.complete_to, read.appended_at)
        read.moved_at = clock
        self.changed = True

    def heard(self, tp: TopicPartition, contact: Contact) -> None:
        """What the broker last said. Nothing follows from it while records are on their way from the consumer to us."""
        read = self.inputs.get(tp)
        if read is None or read.next_offset < contact.delivered:
            return
        read.end = max(read.end, contact.end)
        if contact.position > read.next_offset:
            read.next_offset, self.changed = contact.position, True
        if not read.lag:
            read.complete_to = max(read.complete_to, contact.at)

    def committed(self, offsets: Mapping[TopicPartition, int]) -> None:
        for tp, offset in offsets.items():
            if tp in self.inputs:
                self.inputs[tp].committed_offset = offset

    def reads_again(self, number: int) -> bool:
        """Whether an earlier life may have read what is not yet committed of a partition's joined topics."""
        joined = (read for (topic, partition), read in self.inputs.items() if partition == number and topic in JOINED)
        return any(read.committed_offset < read.read_before for read in joined)

    def lag(self, tp: TopicPartition) -> int:
        return self.inputs[tp].lag if tp in self.inputs else 0

    def behind(self) -> int:
        """The lag of all inputs together."""
        return sum(read.lag for read in self.inputs.values())

    def too_early(self, clock: datetime) -> set[TopicPartition]:
        """Partitions of joined topics that have been read so far ahead of another one that they should wait for it."""
        is_resumed = clock - self.resumed < PATIENCE
        slowest: datetime | None = None
        for read in self._joined.values():  # asked for with every batch
            is_read = read.end > read.next_offset and (is_resumed or clock - read.moved_at < PATIENCE)
            if is_read and (slowest is None or read.appended_at < slowest):
                slowest = read.appended_at
        if slowest is None:
            return set()
        latest = slowest + EVEN_WINDOW
        return {tp for tp, read in self._joined.items() if read.appended_at > latest}

    def now(self, clock: datetime) -> datetime:
        """The time to judge with; see the module's rules."""
        bounds = [read.complete_to for read in self.inputs.values() if read.lag or clock - read.complete_to > SILENCE]
        self._latest = max(self._latest, min([clock, *bounds]))
        return self._latest


def _input(start: Start, end: int, clock: datetime, in_flight: int) -> Input:
    complete_to = start.complete_to if end > start.offset else clock
    committed = start.offset  # an assignment begins with that
    before = 0 if start.read_before is None else min(end, max(start.read_before, start.offset + in_flight))
    return Input(start.offset, start.from_offset, start.topic_id, end, complete_to, clock, start.appended_at, committed, before)  # fmt: skip
