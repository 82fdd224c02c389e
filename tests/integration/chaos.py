"""Chaos: real processes are killed, paused and restarted while a company lives, and in the end nothing must be wrong.

    python -m tests.integration.chaos [--cases 260000] [--faults 200] [--seed 1] [--workers 3]

A seeded company sends its records, damaged ones among them, through a real broker to several workers and the embedded
store. Meanwhile faults happen one after the other, chosen by the seed:
- a worker is killed (kill -9), or told to stop; another one starts in its place, at once or a while later
- a worker is paused (SIGSTOP) for longer than its session lasts, so that others take over, and then wakes
- the store is killed and started again; the broker is killed and started again
- one more worker joins, or one leaves: a rebalance while flushes are under way

At the end all is healed and read. Then, against what the company wrote down of itself (company.truth, which knows nothing
of the judge): every case has the verdict it deserves; every record's facts are there, once; the dead letters are the
damaged records and no others; no worker stopped because an invariant broke; `tieout verify` proves it. Only processes started here are touched.
"""

import argparse
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException, Producer

from benchmarks.cluster import cluster
from canonical.dead_letters import DeadLetter
from company.business import Delivery, simulate
from company.compare import compare
from company.faults import FaultRates
from company.truth import Truth
from sinks.client import Client
from sources.registry import SOURCES, map_record
from streams import topics
from streams.app import EXIT_BROKEN
from streams.publisher import producer_config
from tests.fixtures_kafka import Kafka
from tests.fixtures_store import StoreProcess
from tests.fixtures_worker import WorkerProcess, verified

PARTITIONS = 4
SESSION_S = 10.0  # streams.settings.Settings.session_timeout_s
PATIENCE_S = 600.0


@dataclass
class Outcome:
    events: int = 0
    records: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    lost: int = 0
    twice: int = 0
    letters_wrong: int = 0
    differences: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @property
    def is_exact(self) -> bool:
        return not (self.lost or self.twice or self.letters_wrong or self.differences or self.broken)

    def __str__(self) -> str:
        return (
            f"{self.records:,} records, {self.events:,} events, {sum(self.faults.values())} faults {dict(self.faults)} in "
            f"{self.seconds:.0f} s: {self.lost} lost, {self.twice} twice, {self.letters_wrong} dead letters wrong, "
            f"{len(self.differences)} verdicts wrong, {len(self.broken)} workers broken"
        )


class Chaos:
    def __init__(self, folder: Path, kafka: Kafka, store: StoreProcess, seed: int, workers: int) -> None:
        self._folder, self.kafka, self.store = folder, kafka, store
        self._chance = random.Random(seed)
        self._most = workers
        self._started = 0
        self.workers: list[WorkerProcess] = []
        self.outcome = Outcome()
        for _ in range(workers):
            self.start_worker()

    def start_worker(self) -> None:
        self._started += 1
        name = f"worker-{self._started}"
        self.workers.append(WorkerProcess(self._folder, name, self.kafka.bootstrap, self.store.url).start())

    def fault(self) -> None:
        """One fault, and what becomes of it."""
        what = self._chance.choice(self._possible())
        self.outcome.faults[what.__name__.strip("_")] += 1
        what()
        self.replace_the_dead()
        self._wait(self._chance.uniform(0.2, 3.0))

    def replace_the_dead(self) -> None:
        """A worker that has ended is started anew, as its supervisor would; one that broke an invariant is told."""
        for worker in [worker for worker in self.workers if worker.exit_code() is not None]:
            self.workers.remove(worker)
            if worker.exit_code() == EXIT_BROKEN:
                self.outcome.broken.append(f"{worker.name}: {worker.log.read_text()[-1_500:]}")
            self.start_worker()
        while not self.workers:
            self.start_worker()

    def _possible(self) -> list[Callable[[], None]]:
        kinds = [self._kill_worker, self._kill_worker, self._stop_worker, self._pause_worker, self._kill_store]
        kinds.append(self._kill_broker)
        kinds.append(self._join if len(self.workers) < self._most + 1 else self._leave)
        return kinds

    def _any(self) -> WorkerProcess:
        return self._chance.choice(self.workers)

    def _kill_worker(self) -> None:
        self._any().kill()
        self._wait(self._chance.uniform(0.0, 2.0))

    def _stop_worker(self) -> None:
        worker = self._any()
        self._end(worker)

    def _pause_worker(self) -> None:
        worker = self._any()
        worker.pause()
        self._wait(SESSION_S + self._chance.uniform(1.0, 3.0))
        worker.wake()

    def _kill_store(self) -> None:
        self.store.kill()
        self._wait(self._chance.uniform(0.0, 4.0))
        self.store.start()

    def _kill_broker(self) -> None:
        self.kafka.kill()
        self._wait(self._chance.uniform(0.0, 3.0))
        self.kafka.start()

    def _join(self) -> None:
        self.start_worker()

    def _leave(self) -> None:
        self._end(self._any())

    def _end(self, worker: WorkerProcess) -> None:
        code = worker.stop()
        self.workers.remove(worker)
        if code == EXIT_BROKEN:
            self.outcome.broken.append(f"{worker.name}: {worker.log.read_text()[-1_500:]}")

    def _wait(self, seconds: float) -> None:
        """How long a fault lasts is part of it: nothing is waited for here."""
        time.sleep(seconds)

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()


def run(
    folder: Path, kafka: Kafka, store: StoreProcess, *, cases: int, faults: int, seed: int, workers: int
) -> Outcome:
    """`kafka` and `store` are running; the store is migrated."""
    started = time.monotonic()
    topics.create(kafka.bootstrap, partitions=PARTITIONS, replication=1, sources=tuple(SOURCES))
    now, truth = datetime.now(UTC), Truth()
    company = simulate(seed, cases, now - timedelta(days=300), now - timedelta(days=200), FaultRates(), truth)
    chaos = Chaos(folder, kafka, store, seed, workers)
    sender = Sender(kafka.bootstrap, company)
    try:
        sender.start()
        for _ in range(faults):
            chaos.fault()
        sender.join()
        chaos.outcome.records = len(sender.sent)
        _settle(chaos, sender, truth)
        _audit(chaos.outcome, store.client(), sender, truth)
        verified(kafka.bootstrap, store.url)
    finally:
        chaos.close()
    chaos.outcome.seconds = time.monotonic() - started
    return chaos.outcome


class Sender(threading.Thread):
    """Sends the company's records, whatever happens to the broker, and keeps what it sent: (source, body) in order."""

    def __init__(self, bootstrap: str, company: Iterable[Delivery]) -> None:
        super().__init__(daemon=True)
        self._company = company
        self._producer = Producer({
            **producer_config(bootstrap, "company"), "linger.ms": 50, "queue.buffering.max.messages": 20_000,
            "delivery.timeout.ms": 600_000, "log_level": 0,
        })  # fmt: skip
        self.sent: list[tuple[str, bytes]] = []
        self.failures: list[str] = []

    def run(self) -> None:
        for delivery in self._company:
            self._produce(topics.raw_topic(delivery.source), delivery)
            self.sent.append((delivery.source, delivery.body))
        self._producer.flush(600)

    def join(self, timeout: float | None = None) -> None:
        super().join(timeout)
        assert not self.failures, self.failures[:5]

    def _produce(self, topic: str, delivery: Delivery) -> None:
        while True:
            try:
                self._producer.produce(topic, delivery.body, delivery.key, on_delivery=self._told)
                self._producer.poll(0)
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                self.failures.append(str(error))
                return
            else:
                return

    def _told(self, error: Any, _message: Any) -> None:
        if error is not None:
            self.failures.append(str(error))


def _settle(chaos: Chaos, sender: Sender, truth: Truth) -> None:
    """Until every position stands at its log's end, no case waits, and the store has not changed from look to look."""
    deadline, before, looks = time.monotonic() + PATIENCE_S, None, 0
    query = (
        "SELECT (SELECT sum(lag) FROM positions FINAL), (SELECT sum(next_offset) FROM positions FINAL WHERE topic = 'raw.canonical'),"
        " (SELECT count() FROM dead_letters FINAL), (SELECT count() FROM facts), (SELECT count() FROM verdict_history),"
        " (SELECT count() FROM open_cases FINAL WHERE next_deadline <= now64(6) OR notEmpty(awaiting))"
    )
    while looks < 3:
        chaos.replace_the_dead()
        lag, read, letters, facts, rows, waiting = chaos.store.client().query(query).first_row
        is_done = lag == waiting == 0 and read >= len(sender.sent) and letters >= len(truth.dead_letters)
        looks = looks + 1 if is_done and before == (facts, rows) else 0
        before = (facts, rows)
        assert time.monotonic() < deadline, f"lag {lag}, read {read} of {len(sender.sent)}, {letters} letters, {waiting} waiting"  # fmt: skip
        time.sleep(1.5)


def _audit(outcome: Outcome, client: Client, sender: Sender, truth: Truth) -> None:
    """`lost`: facts of sent records that the store lacks; `twice`: verdicts that count another number than there are."""
    sent: dict[str, set[str]] = {}
    for source, body in sender.sent:
        mapped = map_record(source, body)
        if not isinstance(mapped, DeadLetter):
            for event in mapped:
                sent.setdefault(event.correlationid, set()).add(event.id)
                outcome.events += 1
    stored = dict(
        client.query(
            "SELECT case_key, groupUniqArray(fact_id) FROM facts WHERE type != 'allocation.set' GROUP BY case_key"
        ).result_rows
    )
    outcome.lost = sum(len(ids - set(stored.get(key, ()))) for key, ids in sent.items())
    outcome.lost += sum(len(set(ids) - sent.get(key, set())) for key, ids in stored.items())
    rows = client.query("SELECT case_key, facts, raw FROM verdicts FINAL", column_formats={"raw": "bytes"}).result_rows
    # of what another case told only the newest revision counts
    contents = "uniqExact(fact_id, type, if(type = 'allocation.set', '', JSONExtractRaw(raw, 'data')))"
    counted = dict(client.query(f"SELECT case_key, {contents} FROM facts GROUP BY case_key").result_rows)
    outcome.twice = (
        sum(facts != counted.get(key) for key, facts, _ in rows) + len(rows) - len({key for key, _, _ in rows})
    )
    found = compare(truth.cases.values(), (raw for _, _, raw in rows), datetime.now(UTC))
    outcome.differences = found.differences
    letters = Counter(dict(client.query("SELECT class, count() FROM dead_letters FINAL GROUP BY class").result_rows))
    outcome.letters_wrong = sum(
        abs(count) for count in _minus(letters, Counter(each.failure for each in truth.dead_letters))
    )


def _minus(one: Counter[str], other: Counter[str]) -> list[int]:
    return [one[name] - other[name] for name in one | other]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--cases", type=int, default=260_000)
    arguments.add_argument("--faults", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--workers", type=int, default=3)
    given = arguments.parse_args()
    with cluster(PARTITIONS, pinned=False) as found:
        outcome = run(
            found.folder,
            found.kafka,
            found.store,
            cases=given.cases,
            faults=given.faults,
            seed=given.seed,
            workers=given.workers,
        )
    print(outcome)
    print("\n".join(outcome.differences[:10] + outcome.broken[:3]))
    raise SystemExit(0 if outcome.is_exact else 1)


if __name__ == "__main__":
    main()
