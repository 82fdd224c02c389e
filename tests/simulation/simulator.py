"""A seeded life of the streams shell: workers, broker, store and clock that fail at every step, in virtual time.

    python -m tests.simulation.simulator --seed 42 --trace      one run, told step by step
    python -m tests.simulation.simulator --seeds 0-10000        many, on all cores

One seed decides everything: the world (tests/simulation/world.py), the numbers of partitions and workers, their settings,
how long each step takes, and the faults (chaos.py). When the world has been sent, the faults end and the cluster heals:
whoever is frozen goes on, whoever died is started anew, 120 days pass. Nobody is helped beyond that: no rebalance is
forced. Then everything must be read, flushed and committed, and every case must be what the auditor's SQL says.
"""

import argparse
import asyncio
import logging
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import lru_cache
from random import Random
from typing import Any, NamedTuple

from matching.policy import Policy, load
from streams.ports import InvariantBroken
from streams.settings import Settings
from tests.simulation import world
from tests.simulation.auditor import Auditor, Broken
from tests.simulation.chaos import Chaos
from tests.simulation.cluster import RESTART_S, Clock, Injected, Kafka, Process, Store
from tests.simulation.virtual_time import Stuck, run

SETTLED_ROUNDS, SETTLED_S = 3, 30.0  # of flushes in which nothing changed
HEALS_WITHIN_S = 7_200.0
MOST_STEPS_TRACED = 100_000


class Outcome(NamedTuple):
    """`struck`: how often each fault did."""

    seed: int
    problems: list[str]
    struck: Counter[str]
    trace: list[str]


class Simulation:
    def __init__(self, seed: int, is_traced: bool = False) -> None:
        self.rng = Random(seed)
        self.lines: list[str] = []
        self.is_traced = is_traced
        self.problems: list[str] = []
        rng = self.rng
        self.partitions = rng.randint(1, 3)
        self.lasts_s = rng.choice((30.0, 120.0, 400.0))
        self.world = world.make(rng, self.partitions, self.lasts_s)
        self.policy = _policy(self.world.policy)
        self.chaos = Chaos(rng, self.trace)
        self.settings = _settings(rng)
        self.clock = Clock()
        self.auditor = Auditor(self.world.rubbish, self.world.facts_per_case)
        self.kafka = Kafka(self.partitions, self.clock, self.chaos, self.auditor)
        self.store = self.auditor.store = Store(self.clock, self.auditor)
        self.auditor.held = lambda tp: self.kafka.logs[tp].offsets
        self.processes: list[Process] = []
        self.started = 0
        self.backup = self.store.backup()  # of nothing: the whole store may be lost
        self.bulk: list[world.Record] = []

    def trace(self, line: str) -> None:
        if self.is_traced and len(self.lines) < MOST_STEPS_TRACED:
            self.lines.append(f"{asyncio.get_running_loop().time():9.3f}  {self.clock():%m-%d %H:%M:%S}  {line}")

    async def live(self) -> list[str]:
        """The whole run; returns what went wrong."""
        try:
            for _ in range(self.rng.randint(1, 3)):
                self.start_process()
            marking = asyncio.ensure_future(self._mark())
            await asyncio.gather(self._send(), self._disturb())
            self._heal()
            if await self._settled():
                self.problems += self.auditor.differences(record.value for record in self.world.records)
                self.problems += self._what_is_held()
            marking.cancel()
        except Broken:
            pass
        return self.auditor.broken + self.problems

    # The cluster

    def start_process(self) -> None:
        self.started += 1
        name = f"w{self.started}"
        settings = Settings(worker=name, **self.settings)
        process = Process(name, settings, self.policy, self.kafka, self.store, self.chaos)
        process.ended = self._ended
        self.processes.append(process)
        self.trace(f"{name} starts")
        process.start()

    def _ended(self, process: Process, error: Exception | None) -> None:
        if error is not None:
            is_passed = isinstance(error, InvariantBroken) and "no new assignment" in str(error)
            if not isinstance(error, Injected | Broken) and not is_passed:
                self.problems.append(f"{process.name} ended with {error!r}")
            return
        self.processes.remove(process)
        if not process.stop.is_set():  # its supervisor starts it anew
            asyncio.get_running_loop().call_later(RESTART_S, self.start_process)

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        for record in self.world.records:
            await asyncio.sleep(max(0.0, record.at_s - loop.time()))
            if record.topic == world.BULK:
                self._write_in_bulk(record)
            else:
                self.kafka.append(record.topic, record.key, record.value, record.partition)

    def _write_in_bulk(self, record: world.Record) -> None:
        """Into the store, then the word that it is there (rule E12)."""
        self.bulk.append(record)
        key = record.key.decode()
        self.store.facts[key, world.BULK, 0, len(self.bulk)] = record.value
        self.auditor.said(record.value)
        self.trace(f"bulk writer: a fact of {key}")
        self.kafka.append("controls", record.key, world.touched(record.key, len(self.bulk)))

    async def _mark(self) -> None:
        """A source that says on every partition: up to here you have everything."""
        while self.world.is_marked:
            for number in range(self.partitions):
                self.kafka.append(world.RAW, b"", b"", number, headers=[("tieout-heartbeat", b"")])
            await asyncio.sleep(world.HEARTBEAT_S / 2)

    async def _disturb(self) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() < self.lasts_s:
            await asyncio.sleep(self.rng.expovariate(1 / self.chaos.actions_every_s))
            action = self.chaos.action()
            if self.chaos.drawn["restore"] and self.rng.random() < 0.4:
                self._backup()
            if action is not None:
                self.trace(f"-- {action}")
                getattr(self, f"_{action}")()

    def _heal(self) -> None:
        self.trace("-- the world heals")
        self.chaos.is_on = False
        self.store.is_away = False
        self.clock.passed += world.END - self.clock()
        for process in list(self.processes):
            process.skew = timedelta()
            process.wake()
        if not self._staying():
            self.start_process()

    def _staying(self) -> int:
        return sum(not process.stop.is_set() for process in self.processes)

    async def _settled(self) -> bool:
        """Waits until nothing changes any more. Notes it as a problem where that does not come."""
        interval_s = self.settings["flush_interval_s"] + 1.0
        settled_s = (
            SETTLED_S
            + 3 * (self.settings["progress_interval_s"] + 2 * interval_s)
            + 2 * world.HEARTBEAT_S * self.world.is_marked
        )
        quiet, before = 0, -1
        for _ in range(int(HEALS_WITHIN_S / interval_s)):
            await asyncio.sleep(interval_s)
            if self.auditor.broken or self.problems:
                return False
            still_open = self._still_open()
            quiet = quiet + 1 if len(self.store.rows) == before and not still_open else 0
            before = len(self.store.rows)
            if quiet >= SETTLED_ROUNDS and quiet * interval_s >= settled_s:
                return True
        self.problems.append(f"it never settled: {self._still_open() or 'verdicts are written without end'}")
        return False

    def _still_open(self) -> str:
        """What has not been read, flushed or committed."""
        unread = {tp: log for tp, log in self.kafka.logs.items() if tp[0] in self.kafka.inputs and log.end}
        owned = {tp for process in self.processes for tp in process.worker.positions.next_offsets}
        for tp, log in unread.items():
            if tp not in owned:
                return f"nobody reads {tp}"
            if self.kafka.offset(tp) <= log.last_said:
                return f"{tp} is committed to {self.kafka.offset(tp)}, its last record is {log.last_said}"
        dirty = [key for process in self.processes for p in process.worker.partitions.values() for key in p.dirty]
        if dirty:
            return f"{len(dirty)} cases are dirty"
        held = [partition for process in self.processes for partition in process.worker.partitions.values()]
        return "" if all(partition.is_whole for partition in held) else "late writes are still waited for"

    def _what_is_held(self) -> list[str]:
        """At rest the caches are within their limit."""
        found = []
        for process in self.processes:
            partitions = process.worker.partitions.values()
            held = sum(len(partition.cases) for partition in partitions)
            if held > process.settings.cached_cases:
                found.append(f"{process.name} holds {held} cases, more than {process.settings.cached_cases}")
            packed = sum(len(partition.packed) for partition in partitions)
            if packed > process.settings.packed_cases:
                found.append(f"{process.name} has packed {packed} cases, more than {process.settings.packed_cases}")
        return found

    # What may happen at any time

    def _some_process(self) -> Process | None:
        return self.rng.choice(self.processes) if self.processes else None

    def _kill(self) -> None:
        if process := self._some_process():
            process.kill("killed")

    def _freeze(self) -> None:
        if process := self._some_process():
            process.freeze(self.rng.choice((5.0, 30.0, 120.0)))

    def _join(self) -> None:
        if len(self.processes) < 3:
            self.start_process()

    def _leave(self) -> None:
        process = self._some_process()
        if process and not process.stop.is_set() and self._staying() > 1:
            self._leaving = asyncio.get_running_loop().create_task(process.leave())

    def _time_passes(self) -> None:
        self.clock.passed += timedelta(minutes=self.rng.choice((5, 20, 300, 1_500, 4_000)))

    def _clock_is_wrong(self) -> None:
        if process := self._some_process():
            process.skew = timedelta(minutes=self.rng.choice((-3_000, -20, 0, 20, 3_000)))

    def _store_away(self) -> None:
        self.store.is_away = True
        asyncio.get_running_loop().call_later(self.rng.choice((3.0, 40.0, 100.0)), self._store_back)

    def _store_back(self) -> None:
        self.store.is_away = False

    def _backup(self) -> None:
        self.backup = self.store.backup()

    def _restore(self) -> None:
        if self.store.epochs.keys() - {number for _, number in self.kafka.committed}:
            self._epochs_are_lost()
        for process in list(self.processes):
            process.kill("for a restore")
        self.store.restore(self.backup)
        self.backup = self.store.backup()
        self.auditor.forget()
        written, self.bulk = self.bulk, []  # what others wrote is not in the log: they write it again
        for record in written:
            self._write_in_bulk(record)

    def _retention(self) -> None:
        """The log drops what is durable, whatever may yet be restored."""
        stored = self.backup["position_rows"]
        for tp, log in self.kafka.logs.items():
            row = stored.get(tp)
            log.drop_before(min(row.next_offset if row else 0, self.kafka.offset(tp)))

    def _offsets_lost(self) -> None:
        highest = {number: max(epoch for epoch, _ in claims) for number, claims in self.store.epochs.items() if claims}
        marks = self.kafka.committed.items()
        if any(mark.epoch > highest.get(number, 0) for (_, number), mark in marks):
            self._epochs_are_lost()
        self.kafka.committed.clear()

    def _epochs_are_lost(self) -> None:
        """Nobody knows how far they had counted: the clock has to pass what clocks ahead and many claims made of it."""
        self.clock.passed += timedelta(days=8)

    def _offsets_rewound(self) -> None:
        for tp, mark in self.kafka.committed.items():
            self.kafka.committed[tp] = mark._replace(offset=self.rng.randint(0, mark.offset))

    def _stale_claim(self) -> None:
        self.store.claim(self.rng.randrange(self.partitions), f"late{self.rng.random()}")


def _settings(rng: Random) -> dict[str, Any]:
    return {
        "bootstrap": "", "store_url": "", "sources": ("canonical",),
        "flush_interval_s": rng.choice((2.0, 5.0, 20.0)), "backlog_interval_s": 30.0,
        "backlog_records": rng.choice((5, 10_000)), "fetch_records": rng.choice((1, 3, 20)),
        "pending_records": rng.choice((4, 20, 1_000)), "cached_cases": rng.choice((0, 2, 1_000)),
        "packed_cases": rng.choice((0, 8, 1_000)),
        "deadlines_per_flush": rng.choice((1, 2, 1_000)), "deadlines_kept": rng.choice((1, 3, 1_000)),
        "progress_interval_s": rng.choice((0.0, 5.0, 20.0)),
    }  # fmt: skip


@lru_cache
def _policy(text: str) -> Policy:
    return load(text)


def simulate(seed: int, is_traced: bool = False) -> Outcome:
    simulation = Simulation(seed, is_traced)
    try:
        problems = run(simulation.live())
    except Stuck:
        problems = ["every task waits for another one"]
    return Outcome(seed, problems, simulation.chaos.struck, simulation.lines)


def first_failure(seeds: Iterable[int], check: Callable[[int], Outcome] = simulate) -> Outcome | None:
    return next((outcome for outcome in map(check, seeds) if outcome.problems), None)


def many(seeds: Iterable[int], processes: int) -> Iterable[Outcome]:
    """Outcomes as they come, on several cores."""
    with multiprocessing.get_context("spawn").Pool(processes, _quiet) as pool:
        yield from pool.imap_unordered(simulate, seeds, chunksize=20)


def _quiet() -> None:
    logging.disable(logging.CRITICAL)


def told(outcome: Outcome) -> str:
    problems = "\n".join(f"  {problem}" for problem in outcome.problems[:8])
    return (
        f"seed {outcome.seed} fails:\n{problems}\n"
        f"  again, step by step: python -m tests.simulation.simulator --seed {outcome.seed} --trace"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, help="run this one")
    parser.add_argument("--trace", action="store_true", help="tell its steps")
    parser.add_argument("--seeds", default="0-500", metavar="FROM-TO", help="run these, TO not included")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    _quiet()
    if options.seed is not None:
        outcome = simulate(options.seed, options.trace)
        sys.stdout.write("\n".join(outcome.trace) + "\n" * bool(outcome.trace))
        sys.stdout.write(f"faults: {dict(outcome.struck)}\n{told(outcome) if outcome.problems else 'ok'}\n")
        return bool(outcome.problems)
    return _run_many(range(*map(int, options.seeds.split("-"))), options.processes)


def _run_many(seeds: range, processes: int) -> int:
    begun, failures, struck = time.monotonic(), 0, Counter[str]()
    for outcome in many(seeds, processes):
        struck += outcome.struck
        if outcome.problems:
            failures += 1
            sys.stdout.write(told(outcome) + "\n")
            sys.stdout.flush()
    took_s = time.monotonic() - begun
    sys.stdout.write(f"{len(seeds)} seeds in {took_s:.0f} s ({len(seeds) / took_s:.0f}/s), {failures} failed\n")
    sys.stdout.write(f"faults injected: {dict(sorted(struck.items()))}\n")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
