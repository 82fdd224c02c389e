"""Up to when what hops await is complete (rule E11).

- A feed (policy) is one or several raw topics. It is complete up to the least that one of their partitions is, whoever
  reads it: every worker stores how far its own are, with each flush and at least every `progress_interval_s`.
- A partition nobody has stored anything of holds its feed back, and so does one that nobody owns any more.
- A source that marks its partitions (`heartbeat_s`) is complete up to its last record or mark alone: read to its end, a
  log without marks proves that nothing was appended, not that there was nothing to send.
- What the raw topics say becomes a worker's own progress only once it has read the joined topics up to where they ended
  after it had asked: then whatever came of those raw records is in its cases.
- Progress never goes back. What an earlier owner's last verdicts were judged with (beside them, and as `proven` beside the
  positions) is the least that the next one judges the same partition with; his own begins at the least of his partitions.
- Deadlines fire up to the `horizon`: what the feeds are complete to, so that an ordinary second of delay shows nothing as
  unproven. A feed that has fallen back further than `STALLED` (or three of its marks) holds up no clock: what waits for
  it is judged, and is unproven.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from matching.clock import Progress
from matching.policy import Feed
from sinks.rows import PositionRow
from streams.ports import TopicPartition
from streams.positions import BEGINNING
from streams.stored_progress import encode
from streams.topics import raw_topic

STALLED = timedelta(seconds=60)
MARKS_MISSED = 3


class Feeds:
    """`sources` are all that the worker's group reads, `before` what each of its partitions had come to."""

    def __init__(
        self, feeds: Mapping[str, Feed], sources: Sequence[str], before: Sequence[Mapping[str, datetime]] = ()
    ) -> None:
        self._feeds = feeds
        self._topics = {name: [raw_topic(source) for source in feed.sources or sources] for name, feed in feeds.items()}
        self.complete_to = {
            name: min((each.get(name, BEGINNING) for each in before), default=BEGINNING) for name in feeds
        }
        self._found: dict[str, datetime] | None = None
        self._ends: Mapping[TopicPartition, int] = {}

    @property
    def topics(self) -> list[str]:
        return sorted({topic for topics in self._topics.values() for topic in topics})

    @property
    def is_waiting(self) -> bool:
        """Whether what was last heard has not become ours yet."""
        return self._found is not None

    def hear(self, rows: Iterable[PositionRow], counts: Mapping[str, int], ends: Mapping[TopicPartition, int]) -> None:
        """`rows` as stored of all raw partitions, `counts` partitions a topic, `ends` of our joined topics, asked after."""
        by_topic: dict[str, list[PositionRow]] = {}
        for row in rows:
            by_topic.setdefault(row.topic, []).append(row)
        self._found = {name: self._least(name, by_topic, counts) for name in self._feeds}
        self._ends = ends

    def adopt(self, next_offsets: Mapping[TopicPartition, int]) -> bool:
        """Makes what was heard ours, once we have read as far as the joined topics went then."""
        found = self._found
        if found is None or any(next_offsets.get(tp, end) < end for tp, end in self._ends.items()):
            return False
        self.complete_to = {name: max(self.complete_to[name], found[name]) for name in found}
        self._found = None
        return True

    def horizon(self, now: datetime) -> datetime:
        """Up to when deadlines may fire."""
        return min([now, *(at for name, at in self.complete_to.items() if now - at <= self._patience(name))])

    def progress(self) -> Progress:
        return Progress(dict(self.complete_to))

    def proven(self) -> str:
        """As stored beside verdicts and positions: times by feed."""
        return encode(self.progress())

    def _least(self, name: str, by_topic: Mapping[str, Sequence[PositionRow]], counts: Mapping[str, int]) -> datetime:
        is_marked = bool(self._feeds[name].heartbeat_s)
        times = []
        for topic in self._topics[name]:
            rows = by_topic.get(topic, ())
            if len({row.partition for row in rows}) < counts.get(topic, 0):
                return BEGINNING
            times += [min(row.complete_to, row.appended_at) if is_marked else row.complete_to for row in rows]
        return min(times, default=datetime.max.replace(tzinfo=UTC))

    def _patience(self, name: str) -> timedelta:
        return max(STALLED, MARKS_MISSED * timedelta(seconds=self._feeds[name].heartbeat_s))
