"""Dead letters: the original bytes and headers of a rejected record, why, and where it came from.

One is written to ClickHouse (`dead_letters`) and to the topic `dead-letters`, with the headers of KIP-1191
(`__dlq.errors.*`) beside its own, before its offset is committed. Its identity is (topic, partition, offset), so a
re-read record is the same dead letter (rule E13).

The table holds every original whole. A message carries what a raw topic may hold; a record larger than that (packed by its
producer it passed the topic's limit) is cut, and a header says so: refused by the broker, it would stop the stream.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from canonical.dead_letters import DeadLetter
from sinks.rows import DeadLetterRow
from streams.ports import Outbound
from streams.topics import DEAD_LETTERS, MAX_RAW_BYTES

Stage = Literal["intake", "join"]
MAX_REASON_CHARS = 2_000
CUT_BYTES = 1_000_000


def row(letter: DeadLetter, record: Any, stage: Stage, source: str, failed_at: datetime) -> DeadLetterRow:
    return DeadLetterRow(
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
        headers=_headers_json(record.headers),
        original=record.value or b"",
    )


def message(row: DeadLetterRow, record: Any) -> Outbound:
    errors = {
        "__dlq.errors.topic": row.topic,
        "__dlq.errors.partition": str(row.partition),
        "__dlq.errors.offset": str(row.offset),
        "__dlq.errors.message": row.reason,
        "__dlq.errors.class": row.failure_class,
        "__dlq.errors.stage": row.stage,
    }
    own = [(name, value or b"") for name, value in record.headers if not name.startswith("__dlq.errors.")]
    key, value = row.key, row.original
    if len(key) + len(value) + sum(len(name.encode()) + len(content) for name, content in own) > MAX_RAW_BYTES:
        errors["__dlq.errors.cut"] = f"{len(value)} bytes, whole in the table dead_letters"
        own, key, value = [], key[:CUT_BYTES], value[:CUT_BYTES]
    headers = own + [(name, text.encode()) for name, text in errors.items()]
    return Outbound(DEAD_LETTERS, key, value, headers)


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="backslashreplace")[:1_000]


def _headers_json(headers: Sequence[tuple[str, bytes | None]]) -> str:
    return msgspec.json.encode([[name, _text(value)] for name, value in headers]).decode()
