"""Bugs that the simulator must find: each is one edit of the shell's own source, made for the length of a `with`.

`PLANTED` maps a name to a context manager. An edit names the text it replaces: where the code has moved on, planting fails
loudly instead of testing nothing. That each is found within `SEEDS` seeds is a test (test_simulator.py).

    python -m tests.simulation.planted        at which seed each is found
"""

import contextlib
import inspect
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any
from unittest.mock import patch

import streams.join
import streams.worker
import tests.simulation.shell
from matching.case import Case
from matching.effects import effects
from streams.memory import Deadlines, Packed, Partition
from streams.positions import Positions
from streams.worker import Worker
from tests.simulation.cluster import Process
from tests.simulation.simulator import _quiet, first_failure

SEEDS = 200

Plant = Callable[[], AbstractContextManager[Any]]


class EditMissed(Exception):
    """The code that a bug was to be planted in is no longer there."""


def edited(owner: Any, name: str, *edits: tuple[str, str]) -> Plant:
    """`owner.name` with pieces of its dedented source replaced: (old, new) each."""
    return lambda: patch.object(owner, name, _recompiled(getattr(owner, name), edits))


def all_of(*plants: Plant) -> Plant:
    @contextlib.contextmanager
    def planted() -> Iterator[None]:
        with ExitStack() as stack:
            for plant in plants:
                stack.enter_context(plant())
            yield

    return planted


def replaced(owner: Any, name: str, value: Any) -> Plant:
    return lambda: patch.object(owner, name, value)


def _recompiled(function: Any, edits: Iterable[tuple[str, str]]) -> Any:
    source = textwrap.dedent(inspect.getsource(function))
    for old, new in edits:
        if source.count(old) != 1:
            raise EditMissed(f"{function.__qualname__} holds this {source.count(old)} times, not once:\n{old}")
        source = source.replace(old, new)
    made: dict[str, Any] = {}
    exec(compile(source, f"<planted in {function.__qualname__}>", "exec"), function.__globals__, made)  # noqa: S102 (our own source, with one line changed)
    return made[function.__name__]


_FACTS = 'await self._finished(facts, "write_facts", pending.facts, generation)\n'
_AWAIT_FACTS = "        if facts is not None:\n            " + _FACTS
_WRITE = "        await self._write(pending, rows, epochs, generation)\n"
_COMMIT = "        await self._commit(flushed)\n"
_HELD = "        await self._check_held(epochs, generation)\n"
_PUBLISH = f"    if pending.messages:\n{_HELD}        await self.broker.publish(pending.messages)\n"
_VERDICTS = '    if rows:\n        await self._patiently("write_verdicts", rows, generation=generation)\n'
_EPOCH_UNSEEN = ("if holders.get(number) != (epoch, self.settings.worker):", "if False:")
_GENERATION_UNSEEN = ("if generation != self.generation:", "if False:")
_DONE = "done = min(offset, row.next_offset)"

_OF_A_FLUSH: dict[str, Plant] = {
    "commit before the flush": edited(Worker, "_flush", (_WRITE, _COMMIT + _WRITE)),
    "positions before facts": edited(
        Worker, "_flush", (_FACTS, 'await self._patiently("write_positions", flushed.positions)\n' + " " * 12 + _FACTS)
    ),
    "facts after verdicts": edited(Worker, "_flush", (_AWAIT_FACTS + _WRITE, _WRITE + _AWAIT_FACTS)),
    "breaks told before their verdicts": edited(Worker, "_write", (_PUBLISH, ""), (_VERDICTS, _PUBLISH + _VERDICTS)),
    "messages after the positions": all_of(
        edited(Worker, "_write", (_PUBLISH, "")),
        edited(Worker, "_flush", (_WRITE, f"{_WRITE}{_COMMIT}        await self.broker.publish(pending.messages)\n")),
    ),
    "the epoch is not looked at before breaks are told": edited(Worker, "_write", (_HELD, "")),
    "dead letters not waited for": edited(
        Worker,
        "_write",
        (
            'await self._patiently("write_dead_letters", letters, generation=generation)',
            'asyncio.ensure_future(self._patiently("write_dead_letters", letters, generation=generation))',
        ),
    ),
    "messages not waited for": edited(
        Worker,
        "_write",
        (
            "await self.broker.publish(pending.messages)",
            "asyncio.ensure_future(self.broker.publish(pending.messages))",
        ),
    ),
    "events of intake not waited for": edited(Worker, "_write", ("await asyncio.gather(*pending.published)", "pass")),
    "a failed store call counts as done": edited(
        Worker, "_patiently", ("metrics.store_retry()", "if method.startswith('write_'):\n                return")
    ),
}
_OF_OWNERSHIP: dict[str, Plant] = {
    "an old flush commits in the new generation": all_of(  # as aiokafka would by itself
        edited(Worker, "_check_held", _EPOCH_UNSEEN, _GENERATION_UNSEEN),
        edited(Process, "commit", ("commit(self, marks, generation)\n", "commit(self, marks, self._generation)\n")),
    ),
    "the epoch is not looked at before the commit": edited(Worker, "_check_held", _EPOCH_UNSEEN),
    "the epoch is not raised on assignment": edited(
        Worker,
        "assigned",
        (
            'await self._patiently("claim", number, self.settings.worker, known)',
            'vars(self).get(f"_{number}") or vars(self).setdefault(f"_{number}", await self._patiently("claim", number, self.settings.worker, known))',
        ),
    ),
    "an epoch passed by a dead claim waits for ever": edited(
        Worker, "_check_not_forgotten", ("if self._passed is None:", "if True:")
    ),
    "epochs begin anew with a store that was put back": all_of(
        replaced(streams.worker, "clock_epoch", lambda now: 0),
        edited(Worker, "assigned", ("default=0)\n        known = max(known, ", "default=0)\n        known = max(0, ")),
    ),
    "reading begins where Kafka says": edited(Worker, "_starts", (_DONE, "done = offset")),
    "reading begins where the store says": edited(Worker, "_starts", (_DONE, "done = row.next_offset")),
    "verdicts are ordered by seq alone": replaced(tests.simulation.shell, "revision", lambda epoch, seq: seq),
    "a batch of an old generation is taken": all_of(
        edited(Worker, "receive", ("if batch.generation != self.generation:", "if False:")),
        edited(
            Worker,
            "_receive_canonical",
            ("if partition is None or batch.generation != self.generation:", "if partition is None:"),
            ("        if batch.generation != self.generation:\n", "        if False:\n"),
        ),
    ),
}
_EFFECTS = 'message for message in pending.messages if message.topic == "controls"'
_OF_EFFECTS: dict[str, Plant] = {
    "effects are not told before the commit": all_of(
        edited(
            Worker,
            "_write",
            ("publish(pending.messages)", f"publish([each for each in pending.messages if each not in [{_EFFECTS}]])"),
        ),
        edited(Worker, "_flush", (_WRITE, f"{_WRITE}{_COMMIT}        await self.broker.publish([{_EFFECTS}])\n")),
    ),
    "effects are not told again after a claim": edited(
        streams.join,
        "_effect_messages",
        (
            "if entry.told.get(identity) != said",
            "if entry.told.get(identity) != said and (entry.told or not entry.digest)",
        ),
    ),
    "effects of a lower revision replace those of a higher one": edited(
        Case, "_revise", ("_revision(event) >= _revision(known)", "False")
    ),
    "a part that is withdrawn is not taken back": replaced(
        streams.join, "effects", lambda case, policy: [each for each in effects(case, policy) if each.amount_minor]
    ),
    "effects do not say which verdict they belong to": edited(
        streams.join, "_effect_messages", ("revision(partition.epoch, partition.seq)", "1")
    ),
}
_OF_MEMORY: dict[str, Plant] = {
    "cases of an earlier assignment are kept": all_of(
        edited(
            Worker,
            "revoked",
            (
                "self.partitions = {}",
                "self._kept = self.partitions or vars(self).get('_kept', {}); self.partitions = {}",
            ),
        ),
        edited(
            Worker,
            "assigned",
            (
                "    self.partitions = claimed\n",
                "    for number in claimed.keys() & self._kept.keys(): claimed[number].cases = self._kept[number].cases\n    self.partitions = claimed\n",
            ),
        ),
    ),
    "a dirty case is evicted": edited(Partition, "evict", ("if not entry.dirty:", "if True:")),
    "a case is evicted while a batch counts on it": edited(
        Worker, "_evict", ("async with self._applying:", "if True:")
    ),
    "an evicted case counts as new": edited(
        Partition, "missing", ("if key not in self.cases and key in self.known", "if False")
    ),
    "a case read again does not know the breaks it had": edited(
        streams.join, "restore", ("open_breaks(verdict) if is_told else None", "frozenset()")
    ),
    "an unpacked case has lost a fact": edited(Packed, "take", ("for raw in lines[1:]", "for raw in lines[2:]")),
    "an unpacked case does not know the breaks it had": edited(
        Packed, "take", ("None if breaks is None else frozenset(breaks)", "frozenset()")
    ),
    "a case read again is first seen anew": edited(
        streams.join, "restore", ("entry.first_seen = stub.first_seen", "pass")
    ),
    "a case in two months stays in both": edited(
        Worker, "tell_late_writes", ("await self._unite(partition)", "partition.is_whole = True")
    ),
    "reading never waits": edited(Worker, "_advance", ("self._room.clear()", "pass")),
    "a record that adds nothing leaves its case clean": edited(
        streams.join,
        "apply",
        (
            "        entry.add(event, record.value)\n        partition.touch",
            "        entry.add(event, record.value) and partition.touch",
        ),
    ),
    "facts written by others are not read": edited(
        streams.join, "parse", ("parsed.touched.append(event.correlationid)", "pass")
    ),
}
_OF_TIME: dict[str, Plant] = {
    "a deadline is dropped": edited(Partition, "schedule", ("next_deadline != entry.next_deadline:", "False:")),
    "a deadline of a case not in memory is lost": edited(
        Partition, "due", ("if entry is None or entry.next", "if entry is not None and entry.next")
    ),
    "deadlines beyond those kept are never asked for": edited(
        Deadlines, "is_spent", ("return self.until", "return False and self.until")
    ),
    "what awaited a source is not judged when it has come": edited(
        Worker, "_overtaken", ("if until <= self.feeds.complete_to[source] and len(keys) < most:", "if False:")
    ),
    "a marker at the end of a log holds the time back": edited(
        Positions, "heard", ("if contact.position > read.next_offset:", "if False:")
    ),
    "a mark of a source is a dead letter": replaced(streams.worker, "is_heartbeat", lambda headers: False),
}
# What only the tests of test_rules.py provoke: chance does not bring it about within so few seeds.
RARE: dict[str, Plant] = {
    "what a dead worker had sent to the store counts as told": edited(
        Worker, "tell_late_writes", ("await self._touch(partition, [each.case_key for each in untold])", "pass")
    ),
    "verdicts that nobody was told of are not told by the next owner": edited(
        Worker, "_learn", ("        partition.touch(key, partition.entry(key))", "        pass")
    ),
    "what a lost worker wrote counts as told": edited(
        streams.join, "restore", ("stub.revision <= partition.told_to or stub.epoch == partition.epoch", "True")
    ),
    "what was read before a store was put back counts as told": edited(
        Worker, "commit", ("self.positions.reads_again(partition.number)", "False")
    ),
    "epochs begin anew where store and offsets are lost": replaced(streams.worker, "clock_epoch", lambda now: 0),
    "what was told before the offsets were lost is not told again": edited(
        Worker, "_lost", ("if any(told.values())", "if False")
    ),
    "how far was read is forgotten when a store is put back twice": edited(
        streams.worker, "_mark", ("max(offset, read.read_before or 0)", "offset")
    ),
}
PLANTED = _OF_A_FLUSH | _OF_OWNERSHIP | _OF_EFFECTS | _OF_MEMORY | _OF_TIME


def found_at(name: str, seeds: int = SEEDS) -> tuple[int | None, str]:
    """(seed, first problem) with which the bug is found; None where it is not."""
    with PLANTED[name]():
        outcome = first_failure(range(seeds))
    return (None, "") if outcome is None else (outcome.seed, outcome.problems[0])


def main() -> int:
    _quiet()
    missed = 0
    for name in sys.argv[1:] or PLANTED:
        begun = time.monotonic()
        seed, problem = found_at(name)
        missed += seed is None
        sys.stdout.write(
            f"{name}: {'NOT FOUND' if seed is None else f'seed {seed}'} {time.monotonic() - begun:.1f} s  {problem[:110]}\n"
        )
        sys.stdout.flush()
    return missed


if __name__ == "__main__":
    sys.exit(main())
