"""What has to be right for tieout to run here, looked at one by one; nothing is changed.

Each check answers `ok` or `wrong`, with what was found and what to do about it. A check that rests on another one that
failed is left out: one cause, one line.
"""

import logging
import shutil
import socket
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from clickhouse_connect.driver.exceptions import ClickHouseError

from canonical.events import EARLIEST, LATEST
from sinks.client import Client, StoreUnavailable, connect
from sinks.migrate import MigrationError, pending
from streams.topics import JOINED, catalogue, partition_counts, to_create

PYTHON = (3, 11)
REACH_TIMEOUT_S = 3.0
CLOCK_SKEW_LIMIT_S = 2.0
LEAST_FREE_BYTES = 2 * 1024**3


class Unreachable(Exception):
    """Nothing of the kind answers at that address."""


class Finding(NamedTuple):
    check: str
    state: Literal["ok", "wrong"]
    found: str
    remedy: str = ""


def examine(bootstrap: str, store_url: str, folder: Path, sources: Iterable[str]) -> Iterator[Finding]:
    yield python()
    yield disk(folder)
    yield from broker(bootstrap, list(sources))
    yield from store(store_url)


def python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < PYTHON:
        return Finding("python", "wrong", found, "install Python 3.11 or newer")
    return Finding("python", "ok", found)


def disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    return _free("disk", free, f"{free / 1024**3:.1f} GB free for {folder}")


def broker(bootstrap: str, sources: Sequence[str]) -> Iterator[Finding]:
    try:
        reach_broker(bootstrap)
    except Unreachable as error:
        yield Finding("broker", "wrong", str(error), "start Kafka (`docker compose up kafka`, or `tieout demo`), or set TIEOUT_BOOTSTRAP")  # fmt: skip
        return
    wanted = catalogue(sources)
    try:
        counts = partition_counts(bootstrap, wanted)
    except ConnectionError as error:
        yield Finding("broker", "wrong", str(error), "see whether what listens there is Kafka")
        return
    yield Finding("broker", "ok", f"answers at {bootstrap}")
    missing = [topic for topic in wanted if topic not in counts]
    if missing:
        yield Finding("topics", "wrong", f"missing: {', '.join(missing)}", to_create(bootstrap, sources))
    else:
        yield Finding("topics", "ok", f"all {len(wanted)} exist")
    yield _partitions({topic: counts[topic] for topic in JOINED if topic in counts})


def _partitions(counts: dict[str, int]) -> Finding:
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{topic} {count}" for topic, count in counts.items())
        return Finding("partitions", "wrong", told, "stop the workers and raise the smaller ones: joined topics need the same number")  # fmt: skip
    return Finding("partitions", "ok", f"{max(counts.values(), default=0)} in each joined topic")


def store(url: str) -> Iterator[Finding]:
    try:
        client = reach(url)
    except Unreachable as error:
        yield Finding("store", "wrong", str(error), "start ClickHouse (`tieout store`), or set TIEOUT_STORE")
        return
    yield Finding("store", "ok", f"ClickHouse {client.server_version} answers at {url}")
    yield _migrations(client, url)
    yield _clock(client)
    yield _store_disk(client)


def reach_broker(bootstrap: str) -> None:
    """One of the addresses takes connections. Raises Unreachable at once, where Kafka's client would try for long."""
    reasons = [_unreachable(address) for address in bootstrap.split(",")]
    if None not in reasons:
        raise Unreachable(f"no Kafka broker at {bootstrap}: {reasons[0]}")


def reach(url: str) -> Client:
    """A client of a store that is expected to be up. Raises Unreachable with one sentence."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Unreachable(f"a store's address is http://host:port or https://host:port, not {url!r}")
    reason = _unreachable(f"{parts.hostname}:{parts.port or (8443 if parts.scheme == 'https' else 8123)}")
    if reason:
        raise Unreachable(reason)
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)  # it logs what it raises
    try:
        return connect(url, patience_s=REACH_TIMEOUT_S)
    except (StoreUnavailable, ClickHouseError) as error:
        raise Unreachable(f"what answers at {url} is no ClickHouse: {str(error).splitlines()[0][:200]}") from None


def _migrations(client: Client, url: str) -> Finding:
    try:
        lacking = pending(client)
    except MigrationError as error:
        return Finding("migrations", "wrong", str(error), "run the version of tieout that made this store, or newer")
    if lacking:
        return Finding("migrations", "wrong", f"not applied: {', '.join(lacking)}", f"tieout migrate --store {url}")
    return Finding("migrations", "ok", "all applied")


def _clock(client: Client) -> Finding:
    now = datetime.now(UTC)
    theirs = datetime.fromtimestamp(float(str(client.command("SELECT toFloat64(now64(6))", use_database=False))), UTC)
    skew_s = abs((theirs - now).total_seconds())
    if not EARLIEST <= now < LATEST or skew_s > CLOCK_SKEW_LIMIT_S:
        return Finding("clock", "wrong", f"{now:%Y-%m-%d %H:%M:%S} UTC here, {skew_s:.1f} s from the store's", "synchronise the clocks (NTP)")  # fmt: skip
    return Finding("clock", "ok", f"within {CLOCK_SKEW_LIMIT_S:.0f} s of the store's")


def _store_disk(client: Client) -> Finding:
    free = int(str(client.command("SELECT min(free_space) FROM system.disks", use_database=False)))
    return _free("store disk", free, f"{free / 1024**3:.1f} GB free on the store's disk")


def _free(check: str, free: int, found: str) -> Finding:
    if free < LEAST_FREE_BYTES:
        return Finding(check, "wrong", found, f"free at least {LEAST_FREE_BYTES // 1024**3} GB")
    return Finding(check, "ok", found)


def _unreachable(address: str) -> str | None:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH_TIMEOUT_S).close()
    except ValueError:
        return f"{address!r} is not host:port"
    except OSError as error:
        return f"nothing answers at {address} ({error.strerror or error})"
    return None
