"""A span of the canonical topics, as a replay reads it: from one bound to another, and which places held a record.

- A bound is an offset of each partition, or a time: the first record appended at or after it. `until` is exclusive;
  without it a span ends where the log ended when reading began. What the log no longer has is not in the span.
- `holds` knows every place read: offsets that hold no record (markers of transactions) are told apart.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import datetime

from streams.log import CannotRead, Log
from streams.ports import Record, TopicPartition

Bound = int | datetime


class _Runs:
    """Offsets read of one partition, as ranges that follow each other."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []

    def add(self, offset: int) -> None:
        if self.ends and self.ends[-1] == offset:
            self.ends[-1] = offset + 1
        elif not self.ends or offset > self.ends[-1]:
            self.starts.append(offset)
            self.ends.append(offset + 1)

    def __contains__(self, offset: int) -> bool:
        index = bisect_right(self.starts, offset) - 1
        return index >= 0 and offset < self.ends[index]


class LogSpan:
    """Raises CannotRead where the broker refuses or a topic is missing. Reading it once fills `holds`."""

    def __init__(self, log: Log, topics: Sequence[str], since: Bound | None, until: Bound | None) -> None:
        self._log = log
        counts = log.topics()
        if missing := [topic for topic in topics if topic not in counts]:
            raise CannotRead(f"topics are missing: {', '.join(missing)}; create them with: tieout topics")
        self.topic_ids = dict.fromkeys(topics, "") | log.topic_ids(topics)  # none on the embedded broker
        whole = log.bounds((topic, number) for topic in topics for number in range(counts[topic]))
        ends = {tp: found.end for tp, found in whole.items()}
        since_of = self._offsets({tp: found.start for tp, found in whole.items()}, ends, since)
        until_of = self._offsets(ends, ends, until)
        self.bounds = {
            tp: (start := min(max(since_of[tp], found.start), found.end), max(start, min(until_of[tp], found.end)))
            for tp, found in whole.items()
        }
        self._runs = {tp: _Runs() for tp in whole}

    def __len__(self) -> int:
        """Offsets in the span: at least as many as records."""
        return sum(end - start for start, end in self.bounds.values())

    def covers(self, place: tuple[str, int, int]) -> bool:
        topic, partition, offset = place
        start, end = self.bounds.get((topic, partition), (0, 0))
        return start <= offset < end

    def holds(self, place: tuple[str, int, int]) -> bool:
        topic, partition, offset = place
        return (topic, partition) in self._runs and offset in self._runs[topic, partition]

    def records(self) -> Iterator[Record]:
        """Every record of the span, each partition in its order."""
        for tp, (start, end) in self.bounds.items():
            for chunk in self._log.records(tp, start, end):
                for record in chunk:
                    self._runs[tp].add(record.offset)
                yield from chunk

    def _offsets(self, given: dict[TopicPartition, int], ends: dict[TopicPartition, int], bound: Bound | None) -> dict[TopicPartition, int]:  # fmt: skip
        if bound is None:
            return given
        if isinstance(bound, int):
            return dict.fromkeys(given, bound)
        return {tp: ends[tp] if at is None else at for tp, at in self._log.offsets_at(given, bound).items()}
