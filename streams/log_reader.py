"""A span of the canonical topics, read without a group: whoever works on them does not notice.

- A bound is an offset of each partition, or a time: the first record appended at or after it. `until` is exclusive;
  without it a span ends where the log ended when reading began. What the log no longer has is not in the span.
- `read_committed`. Offsets that hold no record (markers of transactions) are told apart: `holds` knows every place read.
"""

import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

from streams.ports import TopicPartition as Place
from streams.topics import ids

TIMEOUT_S = 20.0
AT_ONCE, PATIENCE_S = 2_000, 0.1

Bound = int | datetime


class LogError(Exception):
    """The log could not be read; one sentence."""


class LogRecord(NamedTuple):
    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes


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
    """From one bound to another of all partitions of some topics. Reading it once fills `holds`."""

    def __init__(self, bootstrap: str, topics: Sequence[str], since: Bound | None, until: Bound | None) -> None:
        """Raises LogError where the broker refuses or a topic is missing."""
        self._consumer = Consumer({
            "bootstrap.servers": bootstrap, "group.id": "tieout-replay", "enable.auto.commit": False,
            "isolation.level": "read_committed", "enable.partition.eof": True, "auto.offset.reset": "error",
            "log_level": 0,
        })  # fmt: skip
        self._runs: dict[Place, _Runs] = {}
        try:
            self.topic_ids = dict.fromkeys(topics, "") | ids(bootstrap, topics)  # none on the embedded broker
            self.bounds = {tp: self._span(tp, since, until) for tp in self._partitions(topics)}
        except KafkaException as error:
            self._consumer.close()
            raise LogError(f"the log cannot be read: {error.args[0].str()}") from None

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

    def records(self) -> Iterator[LogRecord]:
        """Every record of the span, each partition in its order. Raises LogError where the log ends before the span."""
        left = {tp: end for tp, (start, end) in self.bounds.items() if start < end}
        self._runs = {tp: _Runs() for tp in left}
        self._consumer.assign([TopicPartition(*tp, self.bounds[tp][0]) for tp in left])
        heard_s = time.monotonic()
        while left:
            messages = self._consumer.consume(AT_ONCE, PATIENCE_S)  # waits that long for the last of so many
            if messages:
                heard_s = time.monotonic()
            elif time.monotonic() - heard_s > TIMEOUT_S:
                raise LogError(f"the broker gave nothing for {TIMEOUT_S:.0f} s")
            for message in messages:
                yield from self._taken(message, left)

    def close(self) -> None:
        self._consumer.close()

    def _taken(self, message: Any, left: dict[Place, int]) -> Iterator[LogRecord]:
        tp, offset, error = (message.topic(), message.partition()), message.offset(), message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            raise LogError(f"the log cannot be read: {error.str()}")
        if tp not in left:
            return
        if error is None and offset < left[tp]:
            self._runs[tp].add(offset)
            yield LogRecord(*tp, offset, message.key() or b"", message.value() or b"")
        if error is not None or offset + 1 >= left[tp]:
            del left[tp]
            self._consumer.incremental_unassign([TopicPartition(*tp)])

    def _partitions(self, topics: Sequence[str]) -> list[Place]:
        found = self._consumer.list_topics(timeout=TIMEOUT_S).topics
        missing = [topic for topic in topics if topic not in found]
        if missing:
            raise LogError(f"topics are missing: {', '.join(missing)}; create them with: tieout topics")
        return [(topic, number) for topic in topics for number in sorted(found[topic].partitions)]

    def _span(self, tp: Place, since: Bound | None, until: Bound | None) -> tuple[int, int]:
        first, end = self._consumer.get_watermark_offsets(TopicPartition(*tp), timeout=TIMEOUT_S)
        start = first if since is None else min(max(self._offset(tp, since, end), first), end)
        stop = end if until is None else min(self._offset(tp, until, end), end)
        return start, max(start, stop)

    def _offset(self, tp: Place, bound: Bound, end: int) -> int:
        if isinstance(bound, int):
            return bound
        asked = TopicPartition(*tp, int(bound.timestamp() * 1000))
        (found,) = self._consumer.offsets_for_times([asked], timeout=TIMEOUT_S)
        return end if found.offset in (OFFSET_END, -1) else int(found.offset)
