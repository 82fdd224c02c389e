"""How far a worker has read, and the time it may judge with.

- `next_offsets` says what a flush may commit: everything below has been read and is in that flush.
- While an input lies behind its log's end, what is missing may just not have been read yet. So the time verdicts are
  judged with (`now`) is the append time of the last record read of the input that lags most; caught up, it is the
  clock. It never goes back, so a verdict never un-happens.
- Append times come from the broker, never from events (rule E11); one in the future counts as the clock.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from streams.ports import TopicPartition

BEGINNING = datetime(1990, 1, 1, tzinfo=UTC)


class Positions:
    def __init__(self, start: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> None:
        self.next_offsets = dict(start)
        self._ends = dict(ends)
        self._appended: dict[TopicPartition, datetime] = {}
        self._latest = BEGINNING
        self.changed = False

    def advance(self, tp: TopicPartition, next_offset: int, highwater: int, appended: datetime) -> None:
        """Records of `tp` below `next_offset` have been read; the last one was appended at `appended`."""
        self.next_offsets[tp] = max(self.next_offsets.get(tp, 0), next_offset)
        self._ends[tp] = max(self._ends.get(tp, 0), highwater)
        self._appended[tp] = appended
        self.changed = True

    def lag(self, tp: TopicPartition) -> int:
        """Offsets between the last read record and the log's end as last seen (not a count of records)."""
        return max(0, self._ends.get(tp, 0) - self.next_offsets.get(tp, 0))

    def now(self, clock: datetime) -> datetime:
        """The time to judge with; see the module's rules."""
        behind = [min(self._appended.get(tp, BEGINNING), clock) for tp in self.next_offsets if self.lag(tp)]
        self._latest = max(self._latest, min(behind, default=clock))
        return self._latest
