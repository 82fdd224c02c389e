"""What a worker keeps of a partition: that a case exists is never forgotten, and no deadline is lost by keeping few."""

import random
from array import array
from datetime import UTC, datetime, timedelta

import pytest

from sinks.client import key_hash
from streams import memory
from streams.memory import FOREVER, Deadlines, Known

START = datetime(2026, 3, 2, tzinfo=UTC)


def at(minutes: int) -> datetime:
    return START + timedelta(minutes=minutes)


def test_every_key_that_was_stored_or_seen_is_known_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "FRESH_KEYS", 10)
    monkeypatch.setattr(memory, "MOST_RUNS", 3)
    stored = [f"invoice:a:b:{number}" for number in range(1_000)]
    seen = [f"invoice:a:c:{number}" for number in range(1_000)]
    known = Known(array("Q", sorted(map(key_hash, stored))).tobytes())
    for key in seen:
        known.add(key)
    assert all(key in known for key in stored + seen)
    assert not any(f"invoice:a:d:{number}" in known for number in range(1_000))


@pytest.mark.parametrize("seed", range(20))
def test_a_window_of_deadlines_gives_what_all_of_them_would(seed: int) -> None:
    chance = random.Random(seed)
    window = Deadlines(most=5)
    window.refill([])
    stored: set[tuple[datetime, str]] = set()
    fired: list[tuple[datetime, str]] = []
    for minute in range(200):
        for _ in range(chance.randrange(4)):
            entry = (at(minute + chance.randrange(1, 60)), f"k{chance.randrange(10**9)}")
            stored.add(entry)
            window.add(*entry)
        for _ in range(100):
            if window.is_spent(at(minute)):
                left = sorted(entry for entry in stored if entry[0] >= window.until)
                window.refill(left[: window.most])
            found = window.pop(at(minute))
            if found is None:
                break
            if found in stored:
                stored.remove(found)
                fired.append(found)
        assert len(window) <= 2 * window.most + 1
        assert not [entry for entry in stored if entry[0] <= at(minute)]
    assert len(fired) == len(set(fired))


def test_all_deadlines_that_the_store_has_are_kept_where_they_are_few() -> None:
    window = Deadlines(most=3)
    window.refill([(at(1), "a"), (at(2), "b")])
    assert window.until == FOREVER
    assert not window.is_spent(at(0))
    assert [window.pop(at(5)), window.pop(at(5)), window.pop(at(5))] == [(at(1), "a"), (at(2), "b"), None]
