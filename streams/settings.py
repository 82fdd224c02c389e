"""What a worker is told at its start. Every limit has a name, a default and a metric (docs/limits.md)."""

import os
import secrets
import socket
from dataclasses import dataclass, field

from streams.topics import JOINED, raw_topic


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`bootstrap` is host:port[,host:port]; `store_url` ClickHouse's HTTP address; times in seconds, sizes in rows."""

    bootstrap: str = field(default_factory=lambda: os.environ.get("TIEOUT_BOOTSTRAP", "127.0.0.1:19092"))
    store_url: str = field(default_factory=lambda: os.environ.get("TIEOUT_STORE", "http://127.0.0.1:8124"))
    database: str = "tieout"
    group: str = "tieout"
    # One life of one process: an epoch belongs to it alone, also where a container gives every life the same pid.
    worker: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}")
    sources: tuple[str, ...] = ("canonical", "stripe", "xero_tables", "receivables_csv")
    policy_path: str | None = None
    dashboard_url: str = field(default_factory=lambda: os.environ.get("TIEOUT_DASHBOARD", "http://127.0.0.1:8501"))
    metrics_host: str = "127.0.0.1"
    metrics_port: int = field(default_factory=lambda: int(os.environ.get("TIEOUT_METRICS_PORT", "9464")))

    flush_interval_s: float = 0.15  # least time between the starts of two flushes: one costs the store ~45 ms of CPU
    backlog_records: int = 10_000  # this far behind its log a worker flushes every `backlog_interval_s`
    backlog_interval_s: float = 5.0
    fetch_wait_s: float = 0.05  # how long the broker may hold a fetch that has nothing to give
    session_timeout_s: float = 10.0  # a killed worker is noticed after it; the others then take over
    unowned_timeout_s: float = 90.0  # of a worker that another claim has passed: longer than any rebalance takes
    stop_timeout_s: float = 20.0  # told to stop, a worker has so long to flush; then it ends without a commit
    fetch_records: int = 700  # handed to an agent at once
    pending_records: int = 100_000  # read and not yet durable; above it reading waits (back-pressure)
    # Clean cases beyond it are packed or, if they have come to their end, dropped; those used longest ago first.
    cached_cases: int = 100_000
    packed_cases: int = 2_000_000  # those packed first are dropped beyond it
    deadlines_per_flush: int = 20_000
    deadlines_kept: int = 200_000  # the next ones, in memory; beyond them the store is asked
    progress_interval_s: float = (
        1.0  # how often a worker commits and says how far it is, and asks how far the others are
    )
    identify_interval_s: float = 2.0  # how often it is asked what money waits to be identified
    open_items: int = 1_000_000  # of an entity with more than this nothing is identified
    future_skew_s: float = 86_400.0  # an event dated further after its record's append time is a dead letter

    @property
    def raw_topics(self) -> tuple[str, ...]:
        return tuple(raw_topic(source) for source in self.sources)

    @property
    def input_topics(self) -> tuple[str, ...]:
        return JOINED + self.raw_topics
