"""What goes into the store and what comes out of it, one NamedTuple a shape.

- Times are aware datetimes, stored as UTC microseconds. Money is not seen here: verdicts and facts are bytes, the store
  derives every other column from them (rule E8).
- The order of verdict and position rows is (epoch, seq); `revision` packs both into one UInt64.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

SEQ_BITS = 40
EPOCHS_SINCE = datetime(2026, 1, 1, tzinfo=UTC)
EPOCH_LASTS = timedelta(minutes=4)
CLOCK_EPOCHS = 1 << 23  # until the year 2089: half of what fits, so that no clock that is wrong uses them up


def revision(epoch: int, seq: int) -> int:
    """The version ReplacingMergeTree keeps the highest of. Raises OverflowError where a part does not fit."""
    if not (0 <= epoch < 1 << (64 - SEQ_BITS) and 0 <= seq < 1 << SEQ_BITS):
        raise OverflowError(f"epoch {epoch}, seq {seq} do not fit in a revision")
    return (epoch << SEQ_BITS) + seq


def clock_epoch(now: datetime) -> int:
    """How far epochs have counted at least: they go on from there where all that said how far is lost."""
    return min(max(0, (now - EPOCHS_SINCE) // EPOCH_LASTS), CLOCK_EPOCHS)


class FactBatch(NamedTuple):
    """Records of one Kafka partition as they were read: `offsets[i]` is where `raws[i]` lies."""

    topic: str
    partition: int
    offsets: Sequence[int]
    raws: Sequence[bytes]


class FactRow(NamedTuple):
    topic: str
    partition: int
    offset: int
    raw: bytes


class VerdictRow(NamedTuple):
    """A verdict as judged: `raw` its JSON with a digest in place of its controls, `controls` their JSON (few distinct ones,
    and most of the bytes), `digest` a 64-bit checksum of raw, `progress` the JSON it was judged with.

    `first_seen` is decided once for a case and never changes (rule E9: it chooses the row's partition in the store).
    `changed`: raw differs from what was stored for the case before; only such rows enter the history.
    """

    partition: int
    epoch: int
    seq: int
    judged_at: datetime
    first_seen: datetime
    digest: int
    changed: bool
    progress: str
    raw: bytes
    controls: bytes


class Stub(NamedTuple):
    """What a worker's cache must know of a case without its facts. `epoch`: whose verdict it is; `revision`: which."""

    case_key: str
    first_seen: datetime
    next_deadline: datetime | None
    outcome: str
    digest: int
    facts: int
    epoch: int
    revision: int


class Untold(NamedTuple):
    """A case with a verdict beyond the stored positions, and what it was last judged with."""

    case_key: str
    judged_at: datetime
    progress: str


class PositionRow(NamedTuple):
    """Everything of (topic, partition) from `from_offset` up to `next_offset` was read in one run and is in the store.

    `committed_offset`: what Kafka had been told before. `complete_to`: up to when all that the log held had been read;
    `appended_at`: when the last record read was appended. Of the partition's cases: `judged_to`, the time they were judged
    with, and `proven`, the progress of the sources then, as JSON by what it feeds.
    """

    topic: str
    topic_id: str
    partition: int
    next_offset: int
    epoch: int
    seq: int
    flushed_at: datetime
    lag: int
    from_offset: int
    committed_offset: int
    complete_to: datetime
    appended_at: datetime
    judged_to: datetime
    proven: str


class GapRow(NamedTuple):
    """Offsets that the log had dropped before anybody read them."""

    topic: str
    topic_id: str
    partition: int
    from_offset: int
    to_offset: int
    worker: str
    found_at: datetime


class DeadLetterRow(NamedTuple):
    """A refused record: `original` and `key` as they came, `failure_class` one of the four, `headers` as JSON that every
    byte can be had back from (streams.dead_letters)."""

    topic: str
    partition: int
    offset: int
    failed_at: datetime
    failure_class: str
    reason: str
    stage: str
    source: str
    correlation_id: str
    key: bytes
    headers: str
    original: bytes


class LetterActionRow(NamedTuple):
    """Something done about the letter at (topic, partition, offset), or what came of it; see the migration.

    `replay` is the replay it belongs to, 0 before the first. `record_*` is where the record lies that it speaks of ("" and
    zeros: none). `detail` is JSON, with the `class` of a failure and the `cases` of a success. `body` are bytes that are not
    the original's: a mended body that was sent, a replay that was refused. `batch` names one command; "" is the worker's own.
    """

    topic: str
    partition: int
    offset: int
    id: str
    action: str
    at: datetime
    actor: str
    reason: str
    batch: str
    replay: int
    record_topic: str
    record_partition: int
    record_offset: int
    detail: str
    body: bytes


class MatchRow(NamedTuple):
    """A choice of identification before it is told: `raw` is its match.made event; `epoch` and `seq` are its owner's."""

    entity: str
    case_key: str
    payment_id: str
    epoch: int
    seq: int
    raw: bytes
    decided_at: datetime
