"""Dead letters as the worker writes them: the original bytes and headers of a rejected record, why, and where it lay.

- A letter's identity is where its original record lies: (topic, partition, offset). A record that is read again is the same
  letter (rule E13), and so is a replay of it that is refused again: that is a later failure of the same letter.
- It is written to ClickHouse (`dead_letters`) and to the topic `dead-letters` before its offset is committed. The topic's
  record has the original's key, value and headers untouched, and behind them the headers of KIP-1191 as Kafka's brokers
  write them (`__dlq.errors.topic`, `.partition`, `.offset`, `.group`, `.delivery.count`, `.message`: all of them text), with
  `tieout-class` and `tieout-stage`, for which the KIP has no name. Of headers with one name Kafka's readers take the last.
- The table holds every original whole. A record of the topic holds what a raw topic may; what is larger (packed by its
  producer it passed the raw topic's limit) is cut there, without its own headers, and `tieout-cut` says so: refused by the
  broker, it would stop the stream.
- In ClickHouse headers are JSON, a list of [name, value] in their order: a value that is UTF-8 as text, any other as
  {"base64": ...}, an absent one as null. `headers_of` gives the very bytes back. (An absent key or value is kept as an empty
  one: neither has bytes.)
- A replay says so in two headers: `tieout-replay-of: topic/partition/offset` and `tieout-replay-count: n`. Mapped, it makes
  the letter `resolved`, with its cases; refused, `failed`, and at `MAX_REPLAYS` `parked`. The rows' ids and times come
  from the replayed record alone, so reading it again writes the same rows. Headers that are not well formed, or that name
  a letter which we do not have, make no replay: the record is then judged as any other, so that nobody can hide one.
"""

from base64 import b64decode, b64encode
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any, Literal, NamedTuple

import msgspec

from canonical.dead_letters import DeadLetter
from canonical.events import Event
from sinks.rows import DeadLetterRow, LetterActionRow
from streams.ports import Outbound
from streams.times import from_millis
from streams.topics import DEAD_LETTERS, MAX_RAW_BYTES

Stage = Literal["intake", "join"]
Header = tuple[str, bytes | None]

MAX_REPLAYS = 3  # replays that were refused; then the letter is parked
MAX_REASON_CHARS = 2_000
CUT_BYTES = 1_000_000
REPLAY_OF, REPLAY_COUNT = "tieout-replay-of", "tieout-replay-count"
WORKER = "tieout"  # who acted where no person did


class Place(NamedTuple):
    """Where a record lies; str() is how people and headers write it."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


class Replay(NamedTuple):
    """What the headers of a replayed record say: which letter it is, and the how manieth time it is sent."""

    letter: Place
    count: int


class Refused(NamedTuple):
    """A record that was refused now: its row under its own place, and the replay that it says it is."""

    row: DeadLetterRow
    record: Any
    replay: Replay | None


def refused(letter: DeadLetter, record: Any, stage: Stage, source: str, failed_at: datetime) -> Refused:
    row = DeadLetterRow(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        failed_at=failed_at,
        failure_class=letter.failure,
        reason=letter.reason[:MAX_REASON_CHARS],
        stage=stage,
        source=source,
        correlation_id=_text(record.key) if stage == "join" else "",
        key=record.key or b"",
        headers=headers_json(record.headers),
        original=record.value or b"",
    )
    return Refused(row, record, replay_of(record.headers) if stage == "intake" else None)


def message(item: Refused, group: str) -> Outbound:
    """For the topic `dead-letters`. `group` is the consumer group that gave up on the record."""
    row, replay = item.row, item.replay
    letter, deliveries = (replay.letter, replay.count + 1) if replay else (place_of_row(row), 1)
    told = {
        "__dlq.errors.topic": letter.topic,
        "__dlq.errors.partition": str(letter.partition),
        "__dlq.errors.offset": str(letter.offset),
        "__dlq.errors.group": group,
        "__dlq.errors.delivery.count": str(deliveries),
        "__dlq.errors.message": row.reason,
        "tieout-class": row.failure_class,
        "tieout-stage": row.stage,
    }
    own, key, value = list(item.record.headers), row.key, row.original
    if len(key) + len(value) + sum(len(name.encode()) + len(content or b"") for name, content in own) > MAX_RAW_BYTES:
        told["tieout-cut"] = f"{len(value)} bytes, whole in the table dead_letters"
        own, key, value = [], key[:CUT_BYTES], value[:CUT_BYTES]
    return Outbound(DEAD_LETTERS, key, value, [*own, *((name, text.encode()) for name, text in told.items())])


# Replays


def place_of(text: str) -> Place | None:
    """A place as `topic/partition/offset`; None where it is none."""
    topic, _, rest = text.partition("/")
    partition, _, offset = rest.partition("/")
    if not topic or not _is_number(partition, 2**31) or not _is_number(offset, 2**63):
        return None
    return Place(topic, int(partition), int(offset))


def replay_of(headers: Iterable[Header]) -> Replay | None:
    """The replay that a record's headers say it is; None where they say none, or nothing that can be understood."""
    found = {name: value for name, value in headers or () if name in (REPLAY_OF, REPLAY_COUNT)}
    if len(found) < 2:
        return None
    letter, count = place_of(_text(found[REPLAY_OF])), _text(found[REPLAY_COUNT])
    if letter is None or not _is_number(count, 2**31) or int(count) == 0:
        return None
    return Replay(letter, int(count))


def replay_headers(original: Sequence[Header], replay: Replay) -> list[Header]:
    """The original's own headers, then what makes its record a replay (of two with one name the last is read)."""
    return [*original, (REPLAY_OF, str(replay.letter).encode()), (REPLAY_COUNT, str(replay.count).encode())]


def resolved(replay: Replay, record: Any, events: Sequence[Event]) -> LetterActionRow:
    cases = sorted({event.correlationid for event in events})
    reason = f"mapped to {len(events)} event{'' if len(events) == 1 else 's'}"
    return _action("resolved", replay, record, reason, {"cases": cases})


def failed(item: Refused, replay: Replay) -> list[LetterActionRow]:
    """The later failure of a letter; with the last that it may have, its parking."""
    row, record = item.row, item.record
    rows = [_action("failed", replay, record, row.reason, {"class": row.failure_class}, row.original)]
    if replay.count >= MAX_REPLAYS:
        reason = f"{replay.count} replays were refused; `MAX_REPLAYS` is {MAX_REPLAYS}"
        rows.append(_action("parked", replay, record, reason, {}))
    return rows


class Sorted(NamedTuple):
    """What a flush's refused records come to: letters of their own, actions of known letters, outbound messages."""

    letters: list[DeadLetterRow]
    actions: list[LetterActionRow]
    messages: list[Outbound]


def sort_out(items: Sequence[Refused], known: Collection[tuple[str, int, int]], group: str) -> Sorted:
    """`known`: which of the letters that replays name are stored. One that is refused in this very flush is known too."""
    here = {place_of_row(item.row) for item in items if item.replay is None}
    found = Sorted([], [], [])
    for item in items:
        replay = item.replay
        if replay is not None and (replay.letter in known or replay.letter in here):
            found.actions.extend(failed(item, replay))
        else:
            item = item._replace(replay=None)
            found.letters.append(item.row)
        found.messages.append(message(item, group))
    return found


def action_id(*told: object) -> str:
    return blake2b("|".join(map(str, told)).encode(), digest_size=16).hexdigest()


def place_of_row(row: DeadLetterRow) -> Place:
    return Place(row.topic, row.partition, row.offset)


def _action(action: str, replay: Replay, record: Any, reason: str, detail: dict[str, Any], body: bytes = b"") -> LetterActionRow:  # fmt: skip
    lies_at = Place(record.topic, record.partition, record.offset)
    return LetterActionRow(
        *replay.letter,
        action_id(action, replay.letter, lies_at),
        action,
        from_millis(record.timestamp),
        WORKER,
        reason,
        "",
        replay.count,
        *lies_at,
        msgspec.json.encode(detail).decode(),
        body,
    )


# Headers


def headers_json(headers: Iterable[Header]) -> str:
    return msgspec.json.encode([[name, _shown(value)] for name, value in headers]).decode()


def headers_of(stored: str) -> list[Header]:
    """What `headers_json` was given."""
    return [(name, _bytes(value)) for name, value in msgspec.json.decode(stored)]


def _shown(value: bytes | None) -> str | dict[str, str] | None:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(value).decode()}


def _bytes(value: str | dict[str, str] | None) -> bytes | None:
    if value is None:
        return None
    return value.encode() if isinstance(value, str) else b64decode(value["base64"])


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="backslashreplace")[:1_000]


def _is_number(text: str, below: int) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 20 and int(text) < below
