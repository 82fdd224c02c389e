"""How far a worker has read, and the time it may judge with.

- `next_offsets` says what a flush may commit: everything below has been read and is in that flush.
- While an input lies behind its log's end, what is missing may just not have been read yet. So the time verdicts are
  judged with (`now`) is the append time of the last record read of the input that lags most; caught up, it is the
  clock. It never goes back, so a verdict never un-happens.
- A backlog is read evenly: of the joined topics, those whose last record was appended more than `EVEN_WINDOW` after that
  of the slowest one wait, so that the parts of a case meet in memory and it is judged once, not once a part. What has not
  moved for `PATIENCE` holds nobody up.
- Append times come from the broker, never from events (rule E11); one in the future counts as the clock.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from streams.ports import TopicPartition
from streams.topics import JOINED

EVEN_WINDOW = timedelta(milliseconds=50)
PATIENCE = timedelta(seconds=2)
BEGINNING = datetime(1990, 1, 1, tzinfo=UTC)


class Positions:
    def __init__(
        self, start: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int], clock: datetime = BEGINNING
    ) -> None:
        self.next_offsets = dict(start)
        self._ends = dict(ends)
        self._appended: dict[TopicPartition, datetime] = {}
        self._advanced = dict.fromkeys(start, clock)
        self._latest = BEGINNING
        self.changed = False
        self.resumed = clock  # since when reading is not held up by a flush

    def advance(
        self, tp: TopicPartition, next_offset: int, highwater: int, appended: datetime, clock: datetime
    ) -> None:
        """Records of `tp` below `next_offset` have been read by `clock`; the last one was appended at `appended`."""
        self.next_offsets[tp] = max(self.next_offsets.get(tp, 0), next_offset)
        self._ends[tp] = max(self._ends.get(tp, 0), highwater)
        self._appended[tp] = appended
        self._advanced[tp] = clock
        self.changed = True

    def lag(self, tp: TopicPartition) -> int:
        """Offsets between the last read record and the log's end as last seen (not a count of records)."""
        return max(0, self._ends.get(tp, 0) - self.next_offsets.get(tp, 0))

    def too_early(self, clock: datetime) -> set[TopicPartition]:
        """Partitions of joined topics that have been read so far ahead of another one that they should wait for it."""
        joined = [tp for tp in self.next_offsets if tp[0] in JOINED]
        slowest = min(
            (
                self._appended.get(tp, BEGINNING)
                for tp in joined
                if self.lag(tp) and clock - max(self._advanced[tp], self.resumed) < PATIENCE
            ),
            default=None,
        )
        if slowest is None:
            return set()
        limit = slowest + EVEN_WINDOW
        return {tp for tp in joined if self._appended.get(tp, BEGINNING) > limit}

    def behind(self) -> int:
        """The lag of all inputs together."""
        return sum(self.lag(tp) for tp in self.next_offsets)

    def now(self, clock: datetime) -> datetime:
        """The time to judge with; see the module's rules."""
        behind = [min(self._appended.get(tp, BEGINNING), clock) for tp in self.next_offsets if self.lag(tp)]
        self._latest = max(self._latest, min(behind, default=clock))
        return self._latest
