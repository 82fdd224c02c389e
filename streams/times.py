"""Kafka's milliseconds to datetimes."""

from datetime import UTC, datetime
from functools import lru_cache

_LIMIT_MS = 4_102_444_800_000  # 2100; brokers store whatever a foreign producer claims


@lru_cache(maxsize=10_000)  # records are appended many a millisecond
def from_millis(timestamp_ms: int | None) -> datetime:
    """Aware UTC time; a missing, negative or absurd timestamp becomes the nearest one that can be told."""
    return datetime.fromtimestamp(min(max(timestamp_ms or 0, 0), _LIMIT_MS) / 1000, UTC)
