"""Faults of what a worker stands on, on a real broker and a real store: a full disk, an old backup, a topic that goes, a
leader that dies. docs/faults.md says what happens in each; here it does."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from benchmarks import load
from sinks.migrate import migrate
from sources.registry import SOURCES
from streams import topics
from tests.fixtures_kafka import Kafka, start_cluster
from tests.fixtures_store import StoreProcess
from tests.fixtures_worker import WorkerProcess
from tests.integration.test_stream import (
    LONG_AGO,
    distinct_facts,
    end_state,
    facts_in,
    judged,
    settled,
    undisturbed,
    wait_for,
)

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

StartWorker = Callable[..., WorkerProcess]
StartStore = Callable[..., StoreProcess]


@pytest.fixture
def kafka(private_kafka: Kafka) -> Kafka:
    topics.create(private_kafka.bootstrap, partitions=4, replication=1, sources=tuple(SOURCES))
    return private_kafka


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 160 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a disk of 160 MB takes the right to mount one, which this run does not have")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_store_without_disk_loses_nothing_and_goes_on_once_there_is_room(
    kafka: Kafka, start_store: StartStore, start_worker: StartWorker, small_disk: Path
) -> None:
    store = start_store(small_disk / "store")
    migrate(store.client())
    worker = start_worker("patient", kafka.bootstrap, store.url)
    wait_for(lambda: "own partitions" in worker.log.read_text(), "an assignment")
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(b"x" * 65_536)
    records = load.produce(kafka.bootstrap, load.messages(1_000, at=LONG_AGO))
    wait_for(
        lambda: "store unavailable" in worker.log.read_text() or worker.exit_code() is not None, "the worker noticing"
    )
    assert worker.exit_code() is None, worker.log.read_text()[-3_000:]
    ballast.unlink()
    settled(store.client(), records, 1_000, [worker])
    assert end_state(store.client()) == undisturbed(1_000)


def test_store_put_back_from_an_older_backup_is_caught_up(
    kafka: Kafka, start_store: StartStore, start_worker: StartWorker, tmp_path: Path
) -> None:
    store = start_store()
    migrate(store.client())
    worker = start_worker("first", kafka.bootstrap, store.url)
    first = load.produce(kafka.bootstrap, load.messages(500, at=LONG_AGO))
    settled(store.client(), first, 500, [worker])
    assert worker.stop() == 0
    assert store.stop() == 0
    shutil.copytree(store.directory, tmp_path / "backup", symlinks=True)
    store.start()
    worker = start_worker("second", kafka.bootstrap, store.url)
    more = load.produce(kafka.bootstrap, load.messages(500, prefix="C", at=LONG_AGO))
    wait_for(lambda: facts_in(store.client()) == first + more, "the second half")
    assert worker.stop() == 0
    store.kill()
    shutil.rmtree(store.directory)
    shutil.copytree(tmp_path / "backup", store.directory, symlinks=True)
    store.start()
    assert facts_in(store.client()) == first
    worker = start_worker("third", kafka.bootstrap, store.url)
    wait_for(lambda: facts_in(store.client()) == first + more, "what the backup lacked")
    assert worker.stop() == 0


def test_topic_that_is_deleted_stops_the_worker_and_made_anew_is_read_from_its_beginning(
    kafka: Kafka, store_process: StoreProcess, start_worker: StartWorker
) -> None:
    client = store_process.client()
    worker = start_worker("first", kafka.bootstrap, store_process.url)
    first = load.produce(kafka.bootstrap, load.messages(300, at=LONG_AGO))
    settled(client, first, 300, [worker])
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.delete_topics(["payments"])["payments"].result(20)
    wait_for(lambda: worker.exit_code() is not None, "the worker saying that a topic is gone", 150)
    assert worker.exit_code() in (2, 70)
    topics.create(kafka.bootstrap, partitions=4, replication=1, sources=tuple(SOURCES))
    more = load.produce(kafka.bootstrap, load.messages(200, prefix="C", at=LONG_AGO))
    again = start_worker("second", kafka.bootstrap, store_process.url)
    wait_for(lambda: facts_in(client) >= first + more - 200, "the records of the new topic")
    wait_for(lambda: client.query("SELECT count() FROM verdicts FINAL WHERE case_key LIKE '%:C-%' AND facts >= 2").first_row[0] >= 195, "their cases")  # fmt: skip
    assert again.stop() == 0


@pytest.fixture
def three_brokers(tmp_path: Path) -> Iterator[list[Kafka]]:
    brokers = start_cluster(tmp_path / "cluster")
    yield brokers
    for broker in brokers:
        broker.kill()


def test_leader_that_dies_hands_over_and_nothing_is_lost_or_judged_wrong(
    three_brokers: list[Kafka], store_process: StoreProcess, start_worker: StartWorker
) -> None:
    bootstrap = ",".join(broker.bootstrap for broker in three_brokers)
    topics.create(bootstrap, partitions=4, replication=3, sources=tuple(SOURCES))
    worker = start_worker("patient", bootstrap, store_process.url)
    wait_for(lambda: "own partitions" in worker.log.read_text(), "an assignment")
    records = load.produce(bootstrap, load.messages(500, at=LONG_AGO))
    leaders = {partition.leader for partition in _partitions(bootstrap, "invoices")}
    victim = next(broker for broker in three_brokers if broker.node in leaders)
    victim.kill()
    records += load.produce(bootstrap, load.messages(500, prefix="C", at=LONG_AGO))
    wait_for(
        lambda: facts_in(store_process.client()) == records or worker.exit_code() is not None, "every record a fact"
    )
    assert worker.exit_code() is None, worker.log.read_text()[-3_000:]
    assert victim.node not in {partition.leader for partition in _partitions(bootstrap, "invoices")}
    victim.start()
    client = store_process.client()
    wait_for(lambda: judged(client) == (2 * distinct_facts(500), 0), "settled")
    own = {key: verdict for key, verdict in end_state(client).items() if ":B-" in key}
    assert own == undisturbed(500)


def _partitions(bootstrap: str, topic: str) -> list[Any]:
    return list(
        AdminClient({"bootstrap.servers": bootstrap}).list_topics(topic, timeout=20).topics[topic].partitions.values()
    )
