"""What a source makes of one record, for tests that expect events, or a refusal."""

import json
from typing import Any

from canonical.dead_letters import DeadLetter
from sources.registry import map_record


def told(source: str, record: Any) -> tuple[Any, ...]:
    """Its events; fails with the reason where the record was refused."""
    outcome = map_record(source, json.dumps(record).encode())
    assert not isinstance(outcome, DeadLetter), outcome
    return outcome


def refusal(source: str, record: Any) -> DeadLetter:
    outcome = map_record(source, json.dumps(record).encode())
    assert isinstance(outcome, DeadLetter), outcome
    return outcome
