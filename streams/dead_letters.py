"""Dead letters: the original bytes and headers of a rejected record, why, and where it came from.

One is written to ClickHouse (`dead_letters`) and to the topic `dead-letters`, with the headers of KIP-1191
(`__dlq.errors.*`) beside its own, before its offset is committed. Its identity is (topic, partition, offset), so a
re-read record is the same dead letter (rule E13).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from canonical.dead_letters import DeadLetter
from sinks.rows import DeadLetterRow
from streams.ports import Outbound
from streams.topics import DEAD_LETTERS

Stage = Literal["intake", "join"]
MAX_REASON_CHARS = 2_000


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
    headers = own + [(name, value.encode()) for name, value in errors.items()]
    return Outbound(DEAD_LETTERS, record.key or b"", row.original, headers)


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="backslashreplace")[:1_000]


def _headers_json(headers: Sequence[tuple[str, bytes | None]]) -> str:
    return msgspec.json.encode([[name, _text(value)] for name, value in headers]).decode()
