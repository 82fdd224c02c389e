"""The Faust app: one agent a stream over the batch transport, the worker's ports onto Kafka and ClickHouse, its life.

A worker ends in one of three ways: asked to (SIGTERM, SIGINT: it flushes, commits, leaves the group), because something
that must hold does not (exit code 70, nothing committed), or killed. All three leave a log and a store from which the
next worker goes on.
"""

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import faust
from faust.types import TP
from yarl import URL

from matching.policy import load
from sinks.client import Store, StoreUnavailable, connect
from streams import metrics, tracing
from streams.ports import Contact, Mark, Outbound, TopicPartition
from streams.publisher import Publisher
from streams.settings import Settings
from streams.topics import ids, to_create
from streams.transport import Batch, BatchTopic, NoTables, Transport
from streams.worker import Worker

log = logging.getLogger("tieout.app")

EXIT_BROKEN = 70  # EX_SOFTWARE: an invariant broke or something unexpected happened; nothing was committed
EXIT_USAGE = 2
STORE_PATIENCE_S = 2.0  # of one call; the worker itself repeats it, and looks whether it still owns what it writes
LEAVE_TIMEOUT_S = 5.0
GAUGES_EVERY_S = 5.0
READS = frozenset(
    ("open_now", "holders", "untold", "split_cases", "facts_of", "verdicts_of", "known", "deadlines", "awaited", "awaiting", "judged_otherwise", "positions", "progress",
     "known_letters", "unidentified", "open_items", "matches_of")
)  # fmt: skip


class KafkaBroker:
    """The worker's broker port: consumer side through Faust's aiokafka thread, producer side through librdkafka."""

    def __init__(self, app: faust.App, publisher: Publisher, bootstrap: str) -> None:
        self._app = app
        self._publisher = publisher
        self._bootstrap = bootstrap

    async def committed(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, Mark | None]:
        found = await self._app.consumer.marks([TP(*tp) for tp in partitions])
        return {(tp.topic, tp.partition): mark for tp, mark in found.items()}

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        found = await self._app.consumer.end_offsets([TP(*tp) for tp in partitions])
        return {(tp.topic, tp.partition): offset for tp, offset in found.items()}

    async def start_offsets(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        found = await self._app.consumer.begin_offsets([TP(*tp) for tp in partitions])
        return {(tp.topic, tp.partition): offset for tp, offset in found.items()}

    async def topic_ids(self, topics: Iterable[str]) -> Mapping[str, str]:
        return await asyncio.to_thread(ids, self._bootstrap, list(topics))

    async def partition_counts(self, topics: Iterable[str]) -> Mapping[str, int]:
        return await asyncio.to_thread(self._publisher.partition_counts, list(topics))

    async def commit(self, marks: Mapping[TopicPartition, Mark], generation: int) -> None:
        await self._app.consumer.commit_in_generation({TP(*tp): mark for tp, mark in marks.items()}, generation)

    async def publish(self, messages: Sequence[Outbound]) -> None:
        await self._publisher.publish(messages)


class StoreThreads:
    """The worker's store port: one thread that writes, one that reads, each with its own connection."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._threads = {name: ThreadPoolExecutor(1, f"store-{name}") for name in ("read", "write")}
        self._stores: dict[str, Store] = {}

    def __call__(self, method: str, *args: Any) -> Awaitable[Any]:
        name = "read" if method in READS else "write"
        return asyncio.get_running_loop().run_in_executor(self._threads[name], self._call, name, method, args)

    def _call(self, name: str, method: str, args: tuple[Any, ...]) -> Any:
        store = self._stores.get(name)
        if store is None:
            client = connect(self._settings.store_url, self._settings.database, patience_s=STORE_PATIENCE_S)
            store = self._stores[name] = Store(client, patience_s=STORE_PATIENCE_S)
        if method == "open_now":
            return metrics.open_now(store.client, *args)
        return getattr(store, method)(*args)


class WorkerHooks:
    """The transport's hooks; what they raise ends the process."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def revoked(self) -> None:
        await self._worker.revoked()

    async def assigned(self, partitions: set[TP], generation: int) -> None:
        try:
            await self._worker.assigned({(tp.topic, tp.partition) for tp in partitions}, generation)
        except Exception as error:  # noqa: BLE001 (whatever it is, it ends the process)
            die("assignment", error)

    def too_early(self) -> set[TP]:
        worker = self._worker
        return {TP(*tp) for tp in worker.positions.too_early(worker.clock())}

    def start_offsets(self) -> Mapping[TP, int]:
        return {TP(*tp): offset for tp, offset in self._worker.start_offsets.items()}

    def heard(self, contacts: Mapping[TP, Contact], generation: int) -> None:
        self._worker.heard({(tp.topic, tp.partition): contact for tp, contact in contacts.items()}, generation)


def build(settings: Settings) -> tuple[faust.App, Worker, Publisher]:
    """The app with its agents, not started."""
    app = faust.App(
        settings.group,
        broker=[URL(f"kafka://{address}") for address in settings.bootstrap.split(",")],
        datadir=str(Path(os.environ.get("TMPDIR", "/tmp")) / f"tieout-{os.getpid()}"),
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        stream_buffer_maxsize=1,  # batches, not events: what waits in a buffer is not read evenly
        stream_recovery_delay=0.0,
        broker_session_timeout=settings.session_timeout_s,
        Topic=BatchTopic,
        TableManager=NoTables,
        autodiscover=False,
    )
    app.tieout = settings
    app.transport = Transport(app.conf.broker_consumer, app)
    publisher = Publisher(settings.bootstrap, settings.worker)
    policy = load(Path(settings.policy_path).read_text() if settings.policy_path else None)
    worker = Worker(
        settings,
        policy,
        KafkaBroker(app, publisher, settings.bootstrap),
        StoreThreads(settings),
        lambda: datetime.now(UTC),
    )
    app.tieout_hooks = WorkerHooks(worker)
    for topic in settings.input_topics:
        _agent(app, topic, worker)
    return app, worker, publisher


def _agent(app: faust.App, topic: str, worker: Worker) -> None:
    async def agent(batches: Any) -> None:
        async for event in batches.noack().events():
            try:
                await worker.receive(_batch(event))
            except Exception as error:  # noqa: BLE001 (whatever it is, it ends the process)
                die(f"agent {topic}", error)

    app.agent(app.topic(topic, acks=False), name=f"tieout.{topic}")(agent)


def _batch(event: Any) -> Batch:
    batch: Batch = event.value
    return batch


def run(settings: Settings) -> int:
    """Runs a worker until it is told to stop. Returns the process's exit code."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for noisy in ("faust", "aiokafka", "mode"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    tracing.configure("tieout-worker", settings.worker)
    metrics.serve(settings.metrics_port, settings.metrics_host)
    return asyncio.run(_live(settings))


async def _live(settings: Settings) -> int:
    app, worker, publisher = build(settings)
    counts = await asyncio.to_thread(publisher.partition_counts, list(settings.input_topics))
    missing = sorted(topic for topic, count in counts.items() if not count)
    if missing:
        command = to_create(settings.bootstrap, settings.sources)
        log.error("topics are missing: %s. Create them with: %s", missing, command)
        return EXIT_USAGE
    if unread := sorted({name for feed in worker.policy.feeds.values() for name in feed.sources} - {*settings.sources}):
        log.error("policy's feeds name sources that this worker does not read: %s", unread)
        return EXIT_USAGE
    _introduce(settings, worker)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    gc.set_threshold(100_000, 50, 1_000)  # cases are many and hold no cycles: full collections would only walk them
    app.finalize()
    await app.start()
    flushing = _watched(worker.run(stop), "flush")
    identifying = _watched(worker.identify_until(stop), "identification")
    gauges = _watched(_refresh_gauges(settings, worker), "gauges")
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait([stopping, asyncio.ensure_future(app.wait_until_stopped())], return_when=asyncio.FIRST_COMPLETED)
    if not stop.is_set():
        die("Faust stopped by itself")
    app.consumer.stop_flow()
    try:
        await asyncio.wait_for(flushing, settings.stop_timeout_s)
    except TimeoutError:
        die(f"could not flush within {settings.stop_timeout_s} s of being told to stop")
    gauges.cancel()
    identifying.cancel()
    log.info("everything read is flushed and committed, leaving the group")
    await _leave(app)
    publisher.close()
    tracing.shutdown()
    logging.shutdown()
    os._exit(0)  # nothing is left to lose, and a thread of Faust's that hangs must not hold the process


async def _leave(app: faust.App) -> None:
    """Tells the group at once. Faust's own stop can hang where a rebalance is under way (its fetcher is unsupervised)."""
    try:
        await asyncio.wait_for(app.stop(), LEAVE_TIMEOUT_S)
    except TimeoutError:
        log.warning("did not leave the group within %s s: it will notice by the session timeout", LEAVE_TIMEOUT_S)


def _introduce(settings: Settings, worker: Worker) -> None:
    hops = worker.policy.hops
    targets = {name: float(hop.target_s) for name, hop in hops if getattr(hop, "target_s", None) is not None}
    metrics.worker(settings.worker, version("tieout"), worker.policy.hash, targets)


async def _refresh_gauges(settings: Settings, worker: Worker) -> None:
    """Lag; open breaks, exposure and late hops of the partitions owned, read from the store, left as they are while it is
    away."""
    store = StoreThreads(settings)
    while True:
        await asyncio.sleep(GAUGES_EVERY_S)
        metrics.lags(worker.lags())
        if worker.partitions:
            try:
                metrics.show_open(await store("open_now", sorted(worker.partitions)))
            except StoreUnavailable as error:
                log.warning("gauges not refreshed: %s", error)


def _watched(work: Any, name: str) -> "asyncio.Task[None]":
    async def watch() -> None:
        try:
            await work
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 (whatever it is, it ends the process)
            die(name, error)

    return asyncio.ensure_future(watch())


def die(where: str, error: Exception | None = None) -> NoReturn:
    """Ends the process at once, without a commit: Faust's own way of crashing would commit on its way out."""
    log.critical("stopping, nothing is committed: %s failed", where, exc_info=error)
    logging.shutdown()
    os._exit(EXIT_BROKEN)
