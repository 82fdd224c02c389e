"""The embedded broker: librdkafka's in-process mock cluster, speaking Kafka's protocol on 127.0.0.1.

Rules and limits, each tried with librdkafka 2.16, aiokafka 0.14 and faust-streaming 0.15.3:

- It is for a demo and for tests. Everything is in memory: when this process ends, records, topics and committed
  offsets are gone. Never call it durable.
- A partition keeps its last 5 MB or 100,000 records and drops the oldest without a word; a reader that falls further
  behind than that loses records. Producers wait for nothing.
- It picks its own port (nothing in its API takes one), so whoever starts it must read the address from its first line
  of standard output or from the address file.
- It holds a fetch for the whole of the reader's max wait, also when a record arrives meanwhile (produced to read in
  1.16 s with a wait of 1,500 ms, 0.07 s with 100 ms): readers set `fetch_max_wait_ms` to 100 or less.
- One consumer a group. It declares a group complete when the leader has synced; a follower that syncs a moment later
  is refused (INVALID_REQUEST), which aiokafka takes for fatal. More workers need Apache Kafka.
- A member that died without leaving holds the next one up for the session timeout less one second: short timeouts.
- No CreateTopics, DeleteTopics, DescribeConfigs or AlterConfigs. A topic appears on its first metadata request with 4
  partitions; here the catalogue's topics are made at the start, with the count asked for. Nothing is ever removed.
- Fetched records carry the producer's timestamp; ListOffsets by time answers nothing.

The mock cluster is driven through ctypes on the librdkafka that confluent-kafka ships, because Python's binding gives
no hold of it: without that, partition counts could not be chosen, and every first join would wait three seconds.
"""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import confluent_kafka

from streams.topics import DEFAULT_PARTITIONS, catalogue

_RD_KAFKA_PRODUCER = 0  # rd_kafka_type_t in rdkafka.h
_ERROR_CHARS = 512


class EmbeddedBroker:
    """A running mock broker with the catalogue's topics. `bootstrap` is its host:port. Close it, or use `with`."""

    def __init__(self, partitions: int = DEFAULT_PARTITIONS, sources: Sequence[str] = ()) -> None:
        self._library = _librdkafka()
        self._client = _mock_client(self._library)
        cluster = self._library.rd_kafka_handle_mock_cluster(self._client)
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0)
        for topic in catalogue(sources):
            error = self._library.rd_kafka_mock_topic_create(cluster, topic.encode(), partitions, 1)
            if error:
                raise RuntimeError(f"the embedded broker refused topic {topic}: librdkafka error {error}")
        self.bootstrap: str = self._library.rd_kafka_mock_cluster_bootstraps(cluster).decode()

    def close(self) -> None:
        if self._client:
            self._library.rd_kafka_destroy(self._client)
            self._client = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ):
        self.close()


def serve(
    address_file: Path | None = None,
    partitions: int = DEFAULT_PARTITIONS,
    sources: Sequence[str] = (),
) -> None:
    """Runs a broker until SIGTERM or SIGINT. Its address is the one line on stdout, and all of `address_file`."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with EmbeddedBroker(partitions, sources) as broker:
        print(broker.bootstrap, flush=True)
        if address_file is not None:
            _write_whole(address_file, broker.bootstrap + "\n")
        while not stop.wait(3600):
            pass
    if address_file is not None:
        address_file.unlink(missing_ok=True)


def _write_whole(path: Path, text: str) -> None:
    """A reader sees the whole address or no file."""
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    os.replace(part, path)


def _mock_client(library: ctypes.CDLL) -> ctypes.c_void_p:
    """A librdkafka handle that owns a mock cluster of one broker; destroying it ends the cluster."""
    reason = ctypes.create_string_buffer(_ERROR_CHARS)
    settings = library.rd_kafka_conf_new()
    for name, value in ((b"test.mock.num.brokers", b"1"), (b"log_level", b"3")):
        if library.rd_kafka_conf_set(settings, name, value, reason, _ERROR_CHARS):
            raise RuntimeError(f"librdkafka refused {name.decode()}: {reason.value.decode()}")
    client = library.rd_kafka_new(_RD_KAFKA_PRODUCER, settings, reason, _ERROR_CHARS)
    if not client:
        raise RuntimeError(f"the embedded broker did not start: {reason.value.decode()}")
    return ctypes.c_void_p(client)


def _librdkafka() -> ctypes.CDLL:
    """The librdkafka that confluent_kafka has loaded, with the eight functions used here declared."""
    library = ctypes.CDLL(str(_library_path()))
    handle, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    for name, result, arguments in (
        ("rd_kafka_conf_new", handle, []),
        ("rd_kafka_conf_set", number, [handle, text, text, text, ctypes.c_size_t]),
        ("rd_kafka_new", handle, [number, handle, text, ctypes.c_size_t]),
        ("rd_kafka_destroy", None, [handle]),
        ("rd_kafka_handle_mock_cluster", handle, [handle]),
        ("rd_kafka_mock_cluster_bootstraps", text, [handle]),
        ("rd_kafka_mock_topic_create", number, [handle, text, number, number]),
        (
            "rd_kafka_mock_group_initial_rebalance_delay_ms",
            None,
            [handle, ctypes.c_int32],
        ),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _library_path() -> Path:
    """Wheels carry it in confluent_kafka.libs/ (Linux) or confluent_kafka/.dylibs/ (macOS)."""
    package = Path(confluent_kafka.__file__).parent
    found = [
        *package.with_name("confluent_kafka.libs").glob("librdkafka-*.so*"),
        *(package / ".dylibs").glob("librdkafka*.dylib"),
    ]
    if not found:
        raise RuntimeError(f"no librdkafka beside {package}: install confluent-kafka from its wheel")
    return found[0]


if __name__ == "__main__":
    serve(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
