"""A real Apache Kafka broker for tests and benchmarks: KRaft, one process, no container.

Rules:
- `start_kafka(folder)` gives a broker that is ready: it has registered, and every partition it holds answers a client.
  All of it (data, settings, log) is under `folder`; it listens on 127.0.0.1 only.
- `.stop()` ends it in order, `.kill()` is kill -9, `.start()` brings it back on the same data and the same address.
  Each waits until it is so. Only the process that this object started is ever touched; it ends with ours.
- Topics are never made by accident (auto.create.topics.enable=false): use streams.topics.create.
- Records of up to 10 MB are taken, groups start at once, sessions may be as short as one second.
- Needs a JRE of 17 or newer and the jars that `make kafka` puts into .tieout/kafka: without them it fails and says so.
"""

import atexit
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

JARS = Path(__file__).parent.parent / ".tieout" / "kafka"
# Any 16 bytes in URL-safe base64 will do: a cluster never meets another one here.
CLUSTER_ID = "dGllb3V0LXRlc3RzLW9ubA"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0

SETTINGS = """\
process.roles=broker,controller
node.id={node}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
controller.quorum.voters={voters}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor={copies}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr=1
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=2000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
message.max.bytes=10485760
replica.fetch.max.bytes=10485760
"""


class Kafka:
    """One broker process over one folder. `bootstrap` stays the same over restarts; `pid` is the live process's."""

    def __init__(self, folder: Path, port: int | None = None, node: int = 1, controllers: Sequence[int] = ()) -> None:
        """`node` of a cluster whose controllers listen on these ports, node 1's first; alone it is its own."""
        self.folder = folder
        self.port = port or free_port()
        self.node, self.controllers = node, controllers or (free_port(),)
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.log = folder / "kafka.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._settings = folder / "server.properties"
        self._format()
        atexit.register(self.kill)

    @property
    def pid(self) -> int:
        assert self._process is not None, "the broker is not running"
        return self._process.pid

    def start(self) -> None:
        self.launch()
        try:
            self.wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def launch(self) -> None:
        assert self._process is None, "the broker is running already"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(_java("kafka.Kafka", self._settings), stdout=log, stderr=log)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _format(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        data = self.folder / "data"
        voters = ",".join(f"{node}@127.0.0.1:{port}" for node, port in enumerate(self.controllers, 1))
        own = self.controllers[self.node - 1]
        self._settings.write_text(
            SETTINGS.format(
                node=self.node,
                port=self.port,
                controller_port=own,
                voters=voters,
                data=data,
                copies=len(self.controllers),
            )
        )
        told = subprocess.run(
            [*_java("kafka.tools.StorageTool"), "format", "-t", CLUSTER_ID, "-c", str(self._settings)],
            check=False,
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT_S,
        )
        if told.returncode:
            raise RuntimeError(f"Kafka's storage could not be formatted: {told.stdout}{told.stderr}")

    def wait_until_ready(self) -> None:
        client = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 100})
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _answers(client):
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Kafka did not start; the end of its log:\n{self._log_tail()}")

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _log_tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])


def start_kafka(folder: Path, port: int | None = None) -> Kafka:
    """A new broker, ready, with its data in `folder`; on a free port unless one is named."""
    broker = Kafka(folder, port)
    broker.start()
    return broker


def start_cluster(folder: Path, nodes: int = 3) -> list[Kafka]:
    """Brokers of one cluster, all ready: each of them is broker and controller."""
    controllers = [free_port() for _ in range(nodes)]
    brokers = [Kafka(folder / f"node-{n}", node=n, controllers=controllers) for n in range(1, nodes + 1)]
    for broker in brokers:
        broker.launch()
    for broker in brokers:
        broker.wait_until_ready()
    return brokers


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(client: AdminClient) -> bool:
    """Before it has registered its metadata names no broker; after a restart its partitions come back one by one."""
    try:
        metadata = client.list_topics(timeout=1.0)
        partitions = [
            TopicPartition(name, number) for name, topic in metadata.topics.items() for number in topic.partitions
        ]
        ends = client.list_offsets({partition: OffsetSpec.latest() for partition in partitions}) if partitions else {}
        for end in ends.values():
            end.result(2.0)
    except (KafkaException, TimeoutError):
        return False
    return bool(metadata.brokers)


def _java(main: str, *arguments: Path) -> list[str]:
    java = shutil.which("java")
    if java is None or not any(JARS.glob("kafka_2.13-*.jar")):
        pytest.fail(
            "tests with a real broker need a JRE of 17 or newer and Kafka's jars: run `make kafka`", pytrace=False
        )
    return [
        java,
        "-Xms512m",
        "-Xmx1g",
        "-XX:TieredStopAtLevel=1",  # a short life: a third less CPU to start, and no slower at 100,000 records/s
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-cp",
        os.path.join(JARS, "*"),
        main,
        *map(str, arguments),
    ]


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """One broker for all tests of a run: name your own topics and groups, and leave it running."""
    broker = start_kafka(tmp_path_factory.mktemp("kafka"))
    yield broker
    broker.stop()


@pytest.fixture
def private_kafka(tmp_path: Path) -> Iterator[Kafka]:
    """A broker of the test's own, to be stopped, killed and started again."""
    broker = start_kafka(tmp_path / "kafka")
    yield broker
    broker.kill()
