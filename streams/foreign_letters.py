"""Dead letters that other frameworks wrote, adopted under the place where their original record lay.

What they write, as their sources say (all text is UTF-8):

| framework | headers | partition and offset | the original's headers |
|---|---|---|---|
| Kafka Streams 4.2 (KIP-1034, ExceptionHandlerUtils) | `__streams.errors.topic`, `.partition`, `.offset`, `.exception` (class and message, as Java's toString), `.message`, `.stacktrace` | text | not copied |
| Kafka Connect (DeadLetterQueueReporter; with `errors.deadletterqueue.context.headers.enable`) | `__connect.errors.topic`, `.partition`, `.offset`, `.connector.name`, `.task.id`, `.stage`, `.class.name`, `.exception.class.name`, `.exception.message`, `.exception.stacktrace` | text | copied |
| Spring for Apache Kafka (DeadLetterPublishingRecoverer) | `kafka_dlt-original-topic`, `-partition`, `-offset`, `-timestamp`, `-timestamp-type`, `-consumer-group`; `kafka_dlt-exception-fqcn`, `-exception-cause-fqcn`, `-exception-message`, `-exception-stacktrace` | big-endian: 4 and 8 bytes | copied |

- A record that failed several times has several values of a name: the first says where the original lay, the last what went
  wrong last. (Spring appends; Connect keeps the first; Streams starts anew.)
- The framework's headers are not the original's: they go into the audit's `detail`, each cut at MAX_REASON_CHARS.
- Class, by the exception's name (Spring's cause first): what speaks of time-outs, networks, authorization or of trying again
  is `transient`; serialization, conversion and everything else is `mapping`, for that is who can look at a record.
- Where no place is told (no such headers; -1, as Streams writes in a punctuation) the letter's place is the record's own.
- A letter that is known already, or a record that carries `tieout-replay-of`, is a later failure of that letter.
- Reading goes from the topic's beginning, or from behind the last record that the audit says was adopted, to the end it
  had when the command began. So the store alone remembers; cut off and run again it adopts the same letters.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from sinks.client import Client, Store
from sinks.rows import DeadLetterRow, LetterActionRow
from streams.dead_letters import (
    MAX_REASON_CHARS,
    MAX_REPLAYS,
    WORKER,
    Header,
    Place,
    headers_json,
    headers_of,
    place_of_row,
    replay_of,
)
from streams.letters import Chosen, Letter, action, find, new_batch
from streams.times import from_millis
from streams.topics import BREAKS, DEAD_LETTERS, JOINED, RAW_PREFIX

TIMEOUT_S = 20.0
BATCH_RECORDS = 200

_TRANSIENT = re.compile(
    "Time(d)?-?Out|Retr(y|iable|yable)|Network|Disconnect|Unavailable|NotAvailable|NotLeader|NotEnoughReplicas|Throttl"
    r"|Transient|Authori[sz]ation|Authentication|AccessDenied|UnknownHost|java\.net\.(Connect|Socket|NoRoute|PortUnreachable)",
    re.IGNORECASE,
)


class Framework(NamedTuple):
    """How one framework names what it says. `exceptions` in the order in which they are asked; `numbers` are names whose
    values `number` decodes."""

    name: str
    prefix: str
    topic: str
    partition: str
    offset: str
    exceptions: tuple[str, ...]
    message: str
    number: Callable[[bytes], int]
    numbers: tuple[str, ...] = ()


def _text_number(value: bytes) -> int:
    return int(value.decode("ascii"))


def _binary_number(value: bytes) -> int:
    if len(value) not in (4, 8):
        raise ValueError("neither an int nor a long")
    return int.from_bytes(value, "big", signed=True)


FRAMEWORKS = (
    Framework(
        "streams", "__streams.errors.", "topic", "partition", "offset", ("exception",), "message", _text_number,
    ),
    Framework(
        "connect", "__connect.errors.", "topic", "partition", "offset", ("exception.class.name",), "exception.message",
        _text_number,
    ),
    Framework(
        "spring", "kafka_dlt-", "original-topic", "original-partition", "original-offset",
        ("exception-cause-fqcn", "exception-fqcn", "key-exception-fqcn"), "exception-message", _binary_number,
        ("original-partition", "original-offset", "original-timestamp"),
    ),
)  # fmt: skip
UNKNOWN = Framework("foreign", "", "", "", "", (), "", _text_number)


class CannotAdopt(Exception):
    """The topic is not one to be adopted; the message is one sentence."""


class Adopted(NamedTuple):
    """What the records came to."""

    letters: int
    failed_again: int
    without_headers: int


class Read(NamedTuple):
    """A foreign record understood: its letter, where the record itself lies, and what the framework said besides."""

    row: DeadLetterRow
    lies_at: Place
    told: dict[str, str]


def read(record: Any, source: str) -> Read:
    """`record` has topic, partition, offset, key, value, headers and timestamp. Never raises for what it holds."""
    headers: list[Header] = list(record.headers or ())
    framework = next((found for found in FRAMEWORKS if _has(headers, found.prefix)), UNKNOWN)
    told = dict(_told(framework, name, value) for name, value in headers if _is_its(framework, name))
    lies_at = Place(record.topic, record.partition, record.offset)
    place = _origin(headers, framework) or lies_at
    row = DeadLetterRow(
        *place,
        failed_at=from_millis(max(0, record.timestamp)),
        failure_class=_class(told[name] for name in framework.exceptions if name in told),
        reason=_reason(framework, told)[:MAX_REASON_CHARS],
        stage=framework.name,
        source=source or (place.topic.removeprefix(RAW_PREFIX) if place.topic.startswith(RAW_PREFIX) else ""),
        correlation_id="",
        key=record.key or b"",
        headers=headers_json((name, value) for name, value in headers if not _is_its(framework, name)),
        original=record.value or b"",
    )
    return Read(row, lies_at, told)


def adopt(client: Client, bootstrap: str, topic: str, source: str, actor: str, why: str, on_read: Callable[[int], None] = lambda _count: None) -> Adopted:  # fmt: skip
    """Reads what `topic` holds beyond what was adopted already. Raises CannotAdopt, KafkaException."""
    if topic in (*JOINED, DEAD_LETTERS, BREAKS) or topic.startswith(RAW_PREFIX):
        raise CannotAdopt(f"{topic} is a topic of tieout's own: its dead letters are known")
    batch, found = new_batch(), Adopted(0, 0, 0)
    for records in _records(bootstrap, topic, _next_offsets(client, topic)):
        part = _write(
            client, [read(record, source) for record in records], batch, actor, why or f"adopted from {topic}"
        )
        found = Adopted(*map(sum, zip(found, part, strict=True)))
        on_read(len(records))
    return found


def _write(client: Client, items: Sequence[Read], batch: str, actor: str, why: str) -> Adopted:
    """Letters before actions: what was cut off in between is read again."""
    store = Store(client)
    letters: dict[Place, DeadLetterRow] = {}
    actions: list[LetterActionRow] = []
    known = {letter.place: letter for letter in _known(client, items)}
    now = datetime.now(UTC)
    for item in items:
        replay = replay_of(headers_of(item.row.headers))
        is_replay = replay is not None and replay.letter in known
        place = replay.letter if replay is not None and is_replay else place_of_row(item.row)
        if is_replay or place in letters or (place in known and not _is_the_same(known[place], item.row)):
            actions.extend(_failed_again(item, place, known.get(place), batch, actor))
        else:
            letters[place] = item.row
            actions.append(action("adopted", place, now, actor, why, batch, 0, record=item.lies_at, detail={"told": item.told}))  # fmt: skip
    store.write_dead_letters(list(letters.values()))
    store.write_letter_actions(actions)
    return Adopted(len(letters), len(items) - len(letters), sum(item.row.stage == UNKNOWN.name for item in items))


def _is_the_same(letter: Letter, row: DeadLetterRow) -> bool:
    """Whether the letter came of this very record: a command that was cut off had written it."""
    return (letter.stage, letter.first_failed_at) == (row.stage, row.failed_at)


def _failed_again(item: Read, place: Place, letter: Letter | None, batch: str, actor: str) -> Iterator[LetterActionRow]:
    row, count = item.row, letter.replay_count if letter else 0
    detail = {"class": row.failure_class, "told": item.told}
    yield action("failed", place, row.failed_at, actor, row.reason, batch, count, record=item.lies_at, detail=detail, body=row.original)  # fmt: skip
    if count >= MAX_REPLAYS:
        yield action("parked", place, row.failed_at, WORKER, f"{count} replays failed; `MAX_REPLAYS` is {MAX_REPLAYS}", "", count, record=item.lies_at)  # fmt: skip


def _known(client: Client, items: Iterable[Read]) -> list[Letter]:
    places = {place_of_row(item.row) for item in items}
    places |= {replay.letter for item in items if (replay := replay_of(headers_of(item.row.headers)))}
    return find(client, Chosen(places=tuple(places)), len(places)).letters


# What the headers say


def _has(headers: Sequence[Header], prefix: str) -> bool:
    return any(name.startswith(prefix) for name, _ in headers)


def _is_its(framework: Framework, name: str) -> bool:
    return framework is not UNKNOWN and name.startswith(framework.prefix)


def _origin(headers: Sequence[Header], framework: Framework) -> Place | None:
    """Where the original lay: the first values, for later ones are of topics that it was sent through."""
    if framework is UNKNOWN:
        return None
    first = dict(reversed([(name.removeprefix(framework.prefix), value) for name, value in headers]))
    topic = first.get(framework.topic)
    try:
        partition, offset = (framework.number(first[name] or b"") for name in (framework.partition, framework.offset))
    except (KeyError, ValueError):
        return None
    if not topic or not 0 <= partition < 2**31 or not 0 <= offset < 2**63:
        return None
    return Place(_text(topic), partition, offset)


def _told(framework: Framework, name: str, value: bytes | None) -> tuple[str, str]:
    short = name.removeprefix(framework.prefix)
    if short in framework.numbers:
        with suppress(ValueError):
            return short, str(framework.number(value or b""))
    return short, _text(value)


def _class(exceptions: Iterable[str]) -> str:
    names = (exception.partition(": ")[0] for exception in exceptions)
    return "transient" if any(_TRANSIENT.search(name) for name in names) else "mapping"


def _reason(framework: Framework, told: dict[str, str]) -> str:
    if framework is UNKNOWN:
        return "no headers say why (Connect writes them where errors.deadletterqueue.context.headers.enable is true)"
    exception = next((told[name] for name in framework.exceptions if told.get(name)), "no exception told")
    return told.get(framework.message) or exception


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="backslashreplace")[:MAX_REASON_CHARS]


# Reading the topic


class _Record(NamedTuple):
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[Header]
    timestamp: int


def _next_offsets(client: Client, topic: str) -> dict[int, int]:
    """Behind the last record of each partition that was adopted."""
    query = (
        "SELECT record_partition, max(record_offset) + 1 FROM dead_letter_actions "
        "WHERE record_topic = {topic:String} AND action IN ('adopted', 'failed') GROUP BY record_partition"
    )
    return {int(number): int(offset) for number, offset in client.query(query, parameters={"topic": topic}).result_rows}


def _records(bootstrap: str, topic: str, start: dict[int, int]) -> Iterator[list[_Record]]:
    """Committed records, a batch at a time, up to the log's end as it is now. The group is named only because it must be."""
    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": "tieout-adopt", "enable.auto.commit": False, "auto.offset.reset": "earliest",
        "enable.partition.eof": True, "isolation.level": "read_committed", "log_level": 0,
    })  # fmt: skip
    try:
        found = consumer.list_topics(topic, timeout=TIMEOUT_S).topics[topic]
        if found.error is not None or not found.partitions:
            raise CannotAdopt(f"topic {topic} does not exist")
        left = set(found.partitions)
        consumer.assign([TopicPartition(topic, number, _begin(consumer, topic, number, start)) for number in left])
        records: list[_Record] = []
        while left:
            message = consumer.poll(TIMEOUT_S)
            if message is None:
                raise CannotAdopt(f"topic {topic} gave nothing for {TIMEOUT_S:.0f} s")
            if message.error() is None:
                records.append(_record(message))
            elif message.error().code() == KafkaError._PARTITION_EOF:
                left.discard(message.partition())
            else:
                raise KafkaException(message.error())
            if len(records) == BATCH_RECORDS or (records and not left):
                yield records
                records = []
    finally:
        consumer.close()


def _begin(consumer: Consumer, topic: str, number: int, start: dict[int, int]) -> int:
    low, _ = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=TIMEOUT_S)
    return max(low, start.get(number, 0))


def _record(message: Any) -> _Record:
    return _Record(
        message.topic(), message.partition(), message.offset(), message.key(), message.value(), message.headers() or [],
        message.timestamp()[1],
    )  # fmt: skip
