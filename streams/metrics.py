"""What Prometheus sees of a worker: one catalogue, and one tiny function for each thing that happens.

- CATALOGUE is the only place where a metric is named. docs/observability.md lists it (`python -m streams.metrics`
  prints that table), dashboards and alert rules may use nothing else; tests hold all three together.
- Units: seconds, records, rows, minor units of the labelled currency (integers). A counter ends in `_total`.
- Counters belong to the process: they restart at zero, and a flush that is done again is counted again. Gauges of what
  is open (breaks, exposure, cases, late hops) are read from ClickHouse for the partitions the worker owns
  (`open_now`, `show_open`), so they survive restarts and add up over workers; a label set that is gone is removed.
- A label's values are bounded: the first MAX_LABEL_VALUES names of an entity, a source or a topic are kept, further
  ones are counted as `other`.
- Called from the event loop only, except `open_now`, which does I/O and belongs in a thread.
"""

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, Literal, NamedTuple, Protocol, cast

from clickhouse_connect.driver.exceptions import Error
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.utils import floatToGoString

from sinks.client import Client, StoreUnavailable
from streams.hop_counts import RESULTS, HopCounts

MAX_LABEL_VALUES = 500
# A hop that was decided longer ago than this was loaded from history (a backfill, a replay): it says nothing about how
# the flow does now and would page somebody for last year. ClickHouse holds the exact figures of all time.
HISTORY_AFTER = timedelta(days=1)
CASES_REMEMBERED = 100_000

Kind = Literal["counter", "gauge", "histogram"]


class Metric(NamedTuple):
    name: str
    kind: Kind
    labels: tuple[str, ...]
    unit: str
    meaning: str
    buckets: tuple[float, ...] = ()


MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
HOP_BUCKETS = (1, 5, 15, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 4 * HOUR, 12 * HOUR, DAY, 2 * DAY, 5 * DAY, 10 * DAY, 30 * DAY, 45 * DAY, 60 * DAY, 90 * DAY)  # fmt: skip
FLUSH_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
DURABLE_BUCKETS = (
    0.01,
    0.025,
    0.05,
    0.1,
    0.2,
    0.3,
    0.5,
    0.75,
    1,
    2,
    5,
    15,
    MINUTE,
    5 * MINUTE,
    HOUR,
)

CATALOGUE: tuple[Metric, ...] = (
    Metric("tieout_records_total", "counter", ("topic",), "records", "Records read from a topic, duplicates too."),
    Metric("tieout_dead_letters_total", "counter", ("stage", "class", "source"), "records", "Records that could not be used, by where (`intake`, `join`), failure class (`transient`, `mapping`, `master_data`, `policy`) and source."),
    Metric("tieout_verdicts_total", "counter", ("outcome",), "verdicts", "Verdicts written that differ from the one before (`ok`, `pending`, `break`)."),
    Metric("tieout_breaks_open", "gauge", ("class", "entity", "owner"), "breaks", "Breaks open now in the worker's partitions."),
    Metric("tieout_exposure_minor", "gauge", ("entity", "currency", "class"), "minor units", "Money at risk now, each case once, under the class of its first break; never to be added over currencies."),
    Metric("tieout_cases_open", "gauge", ("entity", "currency", "outcome"), "cases", "Cases that are not tied out: `pending` or `break`."),
    Metric("tieout_hop_latency_seconds", "histogram", ("hop", "entity"), "seconds", "How long hops took that were completed within the last day.", HOP_BUCKETS),
    Metric("tieout_hop_results_total", "counter", ("hop", "entity", "state"), "hops", "Hops by what became of them: `met`; `late` once it has passed its target, arrived since or not; then `met_late` or `missing` besides. Attainment is met / (met + late)."),
    Metric("tieout_hop_open_late", "gauge", ("hop", "entity"), "hops", "Hops past their target and still open now (`late` and `missing`)."),
    Metric("tieout_hop_target_seconds", "gauge", ("hop",), "seconds", "The policy's target for a hop."),
    Metric("tieout_lag_records", "gauge", ("topic", "partition"), "records", "Records in the log that are not yet durable in ClickHouse."),
    Metric("tieout_flush_seconds", "histogram", (), "seconds", "How long a flush took: judging, inserts, acknowledgements.", FLUSH_BUCKETS),
    Metric("tieout_flush_rows_total", "counter", ("table",), "rows", "Rows inserted by flushes."),
    Metric("tieout_commits_total", "counter", (), "commits", "Offset commits of what durable flushes have read."),
    Metric("tieout_flush_failures_total", "counter", ("reason",), "flushes", "Flushes and commits that were given up (`store`, `broker`, `not_owner`)."),
    Metric("tieout_record_to_durable_seconds", "histogram", (), "seconds", "From the append of a flush's oldest record until all of it is durable, once a flush: every other record of it took less.", DURABLE_BUCKETS),
    Metric("tieout_cache_cases", "gauge", (), "cases", "Cases held in memory."),
    Metric("tieout_cache_packed_cases", "gauge", (), "cases", "Open cases held in memory packed, beside those."),
    Metric("tieout_cache_evictions_total", "counter", (), "cases", "Clean cases packed, or dropped from memory."),
    Metric("tieout_policy_rejudged_total", "counter", (), "cases", "Open cases judged again because another policy than the worker's had judged them."),
    Metric("tieout_deadlines_fired_total", "counter", (), "cases", "Cases judged again because a deadline passed."),
    Metric("tieout_epoch", "gauge", ("partition",), "epoch", "The epoch under which the worker owns a partition."),
    Metric("tieout_feed_behind_seconds", "gauge", ("feed",), "seconds", "How far what hops await (`billing`, `erp`, `payments`: policy's feeds) is from being complete up to now."),
    Metric("tieout_lost_offsets_total", "counter", ("topic",), "offsets", "Offsets that a log had dropped before anybody read them."),
    Metric("tieout_store_retries_total", "counter", (), "calls", "Calls to ClickHouse that were tried again."),
    Metric("tieout_limit_hits_total", "counter", ("limit",), "times", "A named limit was reached (docs/limits.md)."),
    Metric("tieout_identified_total", "counter", ("rule", "outcome"), "receipts", "What was told of money that names nothing: `matched` or `refused` (a near tie), by rule (docs/identification.md)."),
    Metric("tieout_worker_info", "gauge", ("worker", "version", "policy"), "1", "The worker's name, code version and policy hash; always 1."),
)  # fmt: skip


class Hop(Protocol):
    """What is read of a verdict's hop (matching.Verdict.hops)."""

    @property
    def name(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def latency_s(self) -> float | None: ...
    @property
    def due_at(self) -> datetime | None: ...
    @property
    def ended_at(self) -> datetime | None: ...


class Verdict(Protocol):
    """What is read of a verdict (matching.Verdict)."""

    @property
    def correlation_id(self) -> str: ...
    @property
    def entity(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def hops(self) -> Sequence[Hop]: ...


class HopLatencies:
    """Shows what is counted of hops as a histogram."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterator[HistogramMetricFamily]:
        metric = self._metric
        family = HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
        bounds = [*map(floatToGoString, metric.buckets), "+Inf"]
        for labels, found in list(_hop_counts.latencies.items()):
            within = list(zip(bounds, accumulate(found.counts), strict=True))
            family.add_metric(labels, within, found.sum_s)
        yield family


def _instrument(metric: Metric) -> Any:
    if metric.name == "tieout_hop_latency_seconds":
        REGISTRY.register(HopLatencies(metric))
        return None
    if metric.kind == "histogram":
        return Histogram(
            metric.name,
            metric.meaning,
            metric.labels,
            registry=REGISTRY,
            buckets=metric.buckets,
        )
    made: type[Counter | Gauge] = Counter if metric.kind == "counter" else Gauge
    return made(metric.name, metric.meaning, metric.labels, registry=REGISTRY)


cast(Callable[[], None], disable_created_metrics)()  # a second series for each counter, which nothing here reads
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
LABELS = {metric.name: metric.labels for metric in CATALOGUE}
_of: dict[str, Any] = {metric.name: _instrument(metric) for metric in CATALOGUE}
_names_seen: dict[str, set[str]] = {}
_shown: dict[str, set[tuple[str, ...]]] = {}


_hop_counts = HopCounts(HOP_BUCKETS, CASES_REMEMBERED, lambda entity: bounded("entity", entity))

# A counter's first increase is seen only where it was there before: what is known beforehand starts at zero.
for _reason in ("store", "broker", "not_owner"):
    _of["tieout_flush_failures_total"].labels(_reason)
for _outcome in ("ok", "pending", "break"):
    _of["tieout_verdicts_total"].labels(_outcome)


def bounded(label: str, value: str) -> str:
    """The value, or `other` once the label has MAX_LABEL_VALUES of them: a flood of names must not fill the memory."""
    seen = _names_seen.setdefault(label, set())
    if value in seen:
        return value
    if len(seen) >= MAX_LABEL_VALUES:
        return "other"
    seen.add(value)
    return value


# ── what the worker calls ────────────────────────────────────────────────────────────────────────────────────────────


def worker(name: str, version: str, policy: str, hop_targets_s: Mapping[str, float]) -> None:
    """Once at the start, and again when the policy changes."""
    show("tieout_worker_info", {(name, version, policy): 1})
    show(
        "tieout_hop_target_seconds",
        {(hop,): target_s for hop, target_s in hop_targets_s.items()},
    )


def records(topic: str, count: int) -> None:
    _of["tieout_records_total"].labels(bounded("topic", topic)).inc(count)


def dead_letter(stage: str, failure: str, source: str) -> None:
    _of["tieout_dead_letters_total"].labels(stage, failure, bounded("source", source)).inc()


def judged(verdicts: Iterable[Verdict], now: datetime | None = None) -> None:
    """Verdicts that differ from the ones before them, judged at `now` (the clock where it is not given)."""
    recent = (now or datetime.now(UTC)) - HISTORY_AFTER
    outcomes: Tally[str] = Tally()
    for verdict in verdicts:
        outcomes[verdict.outcome] += 1
        _hop_counts.count(verdict, recent)
    for outcome, count in outcomes.items():
        _of["tieout_verdicts_total"].labels(outcome).inc(count)
    for labels, count in _hop_counts.results.items():
        _of["tieout_hop_results_total"].labels(*labels).inc(count)
    _hop_counts.results.clear()


def owned(epoch_of_partition: Mapping[int, int]) -> None:
    """All partitions the worker owns; the others disappear, with what was open in them."""
    show("tieout_epoch", {(str(number),): epoch for number, epoch in epoch_of_partition.items()})
    if not epoch_of_partition:
        show_open({name: {} for name in OPEN_NOW})


def lags(records_behind: Mapping[tuple[str, int], int]) -> None:
    """All (topic, partition) that the worker reads; those it no longer reads disappear."""
    show("tieout_lag_records", {(topic, str(number)): behind for (topic, number), behind in records_behind.items()})


def feeds(complete_to: Mapping[str, datetime], now: datetime) -> None:
    show(
        "tieout_feed_behind_seconds",
        {(name,): max(0.0, (now - at).total_seconds()) for name, at in complete_to.items()},
    )


def lost(gaps: Iterable[tuple[str, int]]) -> None:
    """(topic, how many offsets) of each gap."""
    for topic, offsets in gaps:
        _of["tieout_lost_offsets_total"].labels(bounded("topic", topic)).inc(offsets)


def flush_timer() -> AbstractContextManager[Any]:
    """Around a flush, whether it is given up or not."""
    return cast(AbstractContextManager[Any], _of["tieout_flush_seconds"].time())


def flushed(**rows_of_table: int) -> None:
    """A flush that is durable: `flushed(facts=120, verdicts=80)`."""
    for table, rows in rows_of_table.items():
        _of["tieout_flush_rows_total"].labels(table).inc(rows)


def committed() -> None:
    _of["tieout_commits_total"].inc()


def flush_failed(reason: str) -> None:
    _of["tieout_flush_failures_total"].labels(reason).inc()


def record_to_durable(latency_s: float) -> None:
    """Once a flush; clocks of broker and worker may differ, so never below zero."""
    _of["tieout_record_to_durable_seconds"].observe(max(0.0, latency_s))


def cache(cases: int, evicted: int = 0, packed: int = 0) -> None:
    _of["tieout_cache_cases"].set(cases)
    _of["tieout_cache_packed_cases"].set(packed)
    _of["tieout_cache_evictions_total"].inc(evicted)


def rejudged(count: int) -> None:
    """By a new policy."""
    _of["tieout_policy_rejudged_total"].inc(count)


def deadlines_fired(count: int) -> None:
    _of["tieout_deadlines_fired_total"].inc(count)


def store_retry() -> None:
    _of["tieout_store_retries_total"].inc()


def identified(outcomes: Iterable[tuple[str, str]]) -> None:
    """(rule, outcome) of each decision told."""
    for rule, outcome in outcomes:
        _of["tieout_identified_total"].labels(rule, outcome).inc()


def limit_hit(limit: str, times: int = 1) -> None:
    _of["tieout_limit_hits_total"].labels(limit).inc(times)


def show(name: str, values: Mapping[tuple[str, ...], float]) -> None:
    """Sets a gauge to exactly these label sets: what it showed before and is not among them is removed."""
    gauge = _of[name]
    for labels, value in values.items():
        gauge.labels(*labels).set(value)
    for gone in _shown.get(name, set()) - values.keys():
        gauge.remove(*gone)
    _shown[name] = set(values)


# ── what is open, read from ClickHouse ───────────────────────────────────────────────────────────────────────────────


OPEN_NOW: dict[str, str] = {
    "tieout_cases_open": """
        SELECT entity, currency, outcome, count() AS value
        FROM open_cases FINAL WHERE partition IN {partitions:Array(UInt32)} GROUP BY entity, currency, outcome""",
    "tieout_exposure_minor": """
        SELECT entity, currency, break_classes[1] AS class, sum(exposure_minor) AS value
        FROM open_cases FINAL WHERE partition IN {partitions:Array(UInt32)} AND outcome = 'break'
        GROUP BY entity, currency, class""",
    "tieout_breaks_open": """
        SELECT class, entity, owner, count() AS value
        FROM open_cases FINAL ARRAY JOIN break_classes AS class, owners AS owner
        WHERE partition IN {partitions:Array(UInt32)} GROUP BY class, entity, owner""",
    # `hops` is kept with the verdicts; the key's index leaves only the granules of open cases to be read.
    "tieout_hop_open_late": """
        SELECT hop_name, entity, countIf(state IN ('late', 'missing')) AS value
        FROM verdicts FINAL ARRAY JOIN hops.name AS hop_name, hops.state AS state
        WHERE partition IN {partitions:Array(UInt32)} AND outcome != 'ok' AND case_key IN (
            SELECT case_key FROM open_cases WHERE partition IN {partitions:Array(UInt32)} AND NOT is_deleted)
        GROUP BY hop_name, entity""",
}

OpenNow = Mapping[str, Mapping[tuple[str, ...], int]]


def open_now(client: Client, partitions: Sequence[int]) -> OpenNow:
    """What is open in these partitions, by metric and labels. Does I/O; raises StoreUnavailable whatever went wrong: what
    is shown stays as it was, and no worker ends for a gauge."""
    settings = {"do_not_merge_across_partitions_select_final": 1}  # rule E9: a case's month of first_seen never changes
    parameters = {"partitions": list(partitions)}
    try:
        return {
            name: _labelled(name, client.query(sql, parameters, settings).result_rows) for name, sql in OPEN_NOW.items()
        }
    except Error as error:
        raise StoreUnavailable(f"what is open could not be read: {error}") from error


def _labelled(name: str, rows: Iterable[Sequence[Any]]) -> Tally[tuple[str, ...]]:
    """Rows of labels and a value; entities beyond the bound are added up as `other`."""
    entity = LABELS[name].index("entity")
    values: Tally[tuple[str, ...]] = Tally()
    for *labels, value in rows:
        labels[entity] = bounded("entity", labels[entity])
        values[tuple(map(str, labels))] += int(value)
    return values


def show_open(now: OpenNow) -> None:
    """Shows what `open_now` found, and starts the counters of its hops at zero so that their first increase is seen."""
    for name, values in now.items():
        show(name, values)
    for hop, entity in now["tieout_hop_open_late"]:
        for state in sorted(RESULTS):
            _of["tieout_hop_results_total"].labels(hop, entity, state)


def refresh_gauges(client: Client, partitions: Sequence[int]) -> None:
    """`open_now` and `show_open` in one, for a caller that is in a thread anyway."""
    show_open(open_now(client, partitions))


# ── the page that Prometheus reads ───────────────────────────────────────────────────────────────────────────────────


class PortInUse(RuntimeError):
    """Somebody else listens on the metrics port; the message says which and what to do."""


def serve(port: int, host: str = "127.0.0.1") -> Callable[[], None]:
    """Serves the metrics over HTTP until the returned function is called. Raises PortInUse."""
    try:
        server, thread = start_http_server(port, addr=host, registry=REGISTRY)
    except OSError as error:
        raise PortInUse(
            f"cannot serve metrics on {host}:{port} ({error.strerror}): stop what listens there, or choose another "
            "with --metrics-port or TIEOUT_METRICS_PORT"
        ) from error

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop


def catalogue_markdown() -> str:
    """The catalogue as the table of docs/observability.md."""
    lines = ["| metric | type | labels | unit | meaning |", "|---|---|---|---|---|"]
    for metric in CATALOGUE:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.unit} | {metric.meaning} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(catalogue_markdown(), end="")
