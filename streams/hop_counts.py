"""What has newly become of the hops of cases, counted. Compiled (setup.py), because every verdict that differs passes here.

- The hop states last seen of `remembered` to twice as many cases are kept, so that a hop that was counted is not counted
  again. A restart, or more changing cases than this, may count a hop twice.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

RESULTS = frozenset({"met", "met_late", "late", "missing"})
_ENDED = frozenset({"met", "met_late"})
_OVERDUE = frozenset({"met_late", "missing"})

States = tuple[str, ...]
NONE: States = ()


class Latencies:
    """How many hops took no longer than each bound and longer than the one before, the last beyond all; and their sum."""

    def __init__(self, bounds: int) -> None:
        self.counts: list[int] = [0] * (bounds + 1)
        self.sum_s = 0.0


class HopCounts:
    """`results` by (hop, entity, result), `latencies` by (hop, entity); both only grow. `entity` names an entity's label."""

    def __init__(self, bounds: Sequence[float], remembered: int, entity: Callable[[str], str]) -> None:
        self.bounds = bounds
        self.results: dict[tuple[str, str, str], int] = {}
        self.latencies: dict[tuple[str, str], Latencies] = {}
        self._entity = entity
        self._remembered = remembered
        self._lately: dict[str, States] = {}
        self._earlier: dict[str, States] = {}
        self._same: dict[States, States] = {}  # a few dozen distinct ones, each kept once
        self._labels: dict[str, str] = {}  # of entities

    def __len__(self) -> int:
        """Cases whose states are known."""
        return len(self._lately) + len(self._earlier)

    def count(self, verdict: Any, recent: datetime) -> None:
        """What has newly become of the verdict's hops; what ended, or was due, before `recent` is history and not counted."""
        key: str = verdict.correlation_id
        hops: Sequence[Any] = verdict.hops
        states: States = tuple([f"{hop.name}:{hop.state}" for hop in hops])
        before = self._replace(key, states)
        if before == states:
            return
        for state, hop in zip(states, hops, strict=True):
            if state not in before and hop.state in RESULTS:
                moment = hop.ended_at or hop.due_at
                if moment is None or moment >= recent:
                    self._take(hop, verdict.entity, before)

    def _replace(self, key: str, states: States) -> States:
        states = self._same.setdefault(states, states)
        before = self._lately.get(key) or self._earlier.pop(key, NONE)
        self._lately[key] = states
        if len(self._lately) > self._remembered:
            self._earlier, self._lately = self._lately, {}
        return before

    def _take(self, hop: Any, of_entity: str, before: States) -> None:
        name: str = hop.name
        state: str = hop.state
        entity = self._labels.get(of_entity)
        if entity is None:
            entity = self._entity(of_entity)
            if entity == of_entity:
                self._labels[of_entity] = entity
        self._add((name, entity, state))
        if state in _OVERDUE and f"{name}:late" not in before and f"{name}:missing" not in before:
            self._add((name, entity, "late"))
        latency_s: float | None = hop.latency_s
        if latency_s is not None and state in _ENDED:
            found = self.latencies.get((name, entity))
            if found is None:
                found = self.latencies[name, entity] = Latencies(len(self.bounds))
            found.counts[bisect_left(self.bounds, latency_s)] += 1
            found.sum_s += latency_s

    def _add(self, labels: tuple[str, str, str]) -> None:
        self.results[labels] = self.results.get(labels, 0) + 1
