"""The metrics page as Prometheus would read it, over HTTP."""

import re
import socket
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families

from streams import metrics
from streams.hop_counts import HopCounts

DOCS = Path(__file__).parents[2] / "docs" / "observability.md"
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class Hop(NamedTuple):
    name: str
    state: str
    latency_s: float | None = None
    due_at: datetime | None = NOW
    ended_at: datetime | None = None


class Verdict(NamedTuple):
    correlation_id: str
    entity: str
    outcome: str
    hops: tuple[Hop, ...] = ()


@pytest.fixture(scope="module")
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def page(port: int) -> Iterator[str]:
    stop = metrics.serve(port)
    yield f"http://127.0.0.1:{port}/metrics"
    stop()


def read(page: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = urllib.request.urlopen(page, timeout=5).read().decode()
    families = text_string_to_metric_families(text)
    return {(item.name, frozenset(item.labels.items())): item.value for family in families for item in family.samples}


def value(page: str, name: str, **labels: str) -> float | None:
    return read(page).get((name, frozenset((key.rstrip("_"), text) for key, text in labels.items())))


def test_documentation_lists_exactly_the_catalogue() -> None:
    table = re.search(r"<!-- catalogue -->\n(.*?)<!-- /catalogue -->", DOCS.read_text(), re.DOTALL)
    assert table, "docs/observability.md has no catalogue section"
    assert table[1] == metrics.catalogue_markdown(), "run: python -m streams.metrics, and put its table there"


def test_every_metric_of_the_catalogue_is_on_the_page_with_its_type(page: str) -> None:
    text = urllib.request.urlopen(page, timeout=5).read().decode()
    for metric in metrics.CATALOGUE:
        family = metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name
        assert re.search(rf"^# TYPE {family}(_total)? {metric.kind}$", text, re.MULTILINE), metric.name


def test_names_say_their_unit_and_counters_end_in_total() -> None:
    for metric in metrics.CATALOGUE:
        assert re.fullmatch(r"tieout_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.name.endswith("_seconds") == (metric.unit == "seconds")
        assert (metric.kind == "histogram") == bool(metric.buckets)
        assert list(metric.buckets) == sorted(set(metric.buckets))


def test_what_the_worker_reports_is_what_prometheus_reads(page: str) -> None:
    before = read(page)

    def grown(name: str, **labels: str) -> float:
        key = (name, frozenset((label.rstrip("_"), text) for label, text in labels.items()))
        return read(page)[key] - before.get(key, 0)

    metrics.worker("w1", "0.1.0", "abc", {"invoice_to_posting": 900})
    metrics.records("invoices", 3)
    metrics.dead_letter("intake", "mapping", "stripe")
    metrics.owned({0: 7})
    metrics.lags({("invoices", 0): 5})
    metrics.flushed(facts=3, verdicts=2)
    metrics.flush_failed("not_owner")
    metrics.committed()
    metrics.record_to_durable(-0.5)
    metrics.cache(cases=2, evicted=1)
    metrics.deadlines_fired(4)
    metrics.rejudged(6)
    metrics.store_retry()
    metrics.limit_hit("facts_a_case", 2)
    with metrics.flush_timer():
        pass
    assert value(page, "tieout_worker_info", worker="w1", version="0.1.0", policy="abc") == 1
    assert value(page, "tieout_hop_target_seconds", hop="invoice_to_posting") == 900
    assert grown("tieout_records_total", topic="invoices") == 3
    assert grown("tieout_dead_letters_total", stage="intake", class_="mapping", source="stripe") == 1
    assert value(page, "tieout_epoch", partition="0") == 7
    assert value(page, "tieout_lag_records", topic="invoices", partition="0") == 5
    assert grown("tieout_commits_total") == 1
    assert grown("tieout_flush_rows_total", table="verdicts") == 2
    assert grown("tieout_flush_failures_total", reason="not_owner") == 1
    assert grown("tieout_record_to_durable_seconds_sum") == 0
    assert grown("tieout_record_to_durable_seconds_count") == 1
    assert value(page, "tieout_cache_cases") == 2
    assert grown("tieout_cache_evictions_total") == 1
    assert grown("tieout_deadlines_fired_total") == 4
    assert grown("tieout_policy_rejudged_total") == 6
    assert grown("tieout_store_retries_total") == 1
    assert grown("tieout_limit_hits_total", limit="facts_a_case") == 2
    assert grown("tieout_flush_seconds_count") == 1


def test_a_partition_given_away_leaves_no_lag_and_no_epoch_behind(page: str) -> None:
    metrics.owned({0: 7, 1: 3})
    metrics.lags({("postings", 0): 5, ("postings", 1): 9})
    metrics.owned({1: 4})
    metrics.lags({("postings", 1): 0})
    assert value(page, "tieout_epoch", partition="0") is None
    assert value(page, "tieout_epoch", partition="1") == 4
    assert value(page, "tieout_lag_records", topic="postings", partition="0") is None
    assert value(page, "tieout_lag_records", topic="postings", partition="1") == 0


def states(page: str, entity: str) -> dict[str, float]:
    return {
        dict(labels)["state"]: count
        for (name, labels), count in read(page).items()
        if name == "tieout_hop_results_total" and dict(labels)["entity"] == entity and count
    }


STORIES = [
    ("waits", ["waiting"], {}),
    ("in time", ["waiting", "met", "met"], {"met": 1}),
    ("at once", ["met"], {"met": 1}),
    ("late, then there", ["waiting", "late", "met_late"], {"late": 1, "met_late": 1}),
    ("late without having been seen open", ["met_late"], {"late": 1, "met_late": 1}),
    ("late, missing, there", ["late", "missing", "met_late"], {"late": 1, "missing": 1, "met_late": 1}),
    ("missing without having been seen late", ["missing"], {"late": 1, "missing": 1}),
    ("not to be judged", ["unproven", "not_expected"], {}),
]


@pytest.mark.parametrize(("story", "seen", "counted"), STORIES, ids=[story for story, _, _ in STORIES])
def test_a_hop_counts_once_for_each_thing_that_becomes_of_it(page: str, story: str, seen: list[str], counted: dict[str, float]) -> None:  # fmt: skip
    for state in seen:
        metrics.judged([Verdict(f"case {story}", story, "pending", (Hop("invoice_to_posting", state, 60.0),))], NOW)
    assert states(page, story) == counted


def test_latency_is_observed_once_when_the_hop_completes(page: str) -> None:
    for state in ("late", "met_late", "met_late"):
        hop = Hop("payment_to_application", state, None if state == "late" else 7_200.0, NOW, NOW)
        metrics.judged([Verdict("one", "latency", "ok", (hop,))], NOW)
    labels = {"hop": "payment_to_application", "entity": "latency"}
    assert value(page, "tieout_hop_latency_seconds_count", **labels) == 1
    assert value(page, "tieout_hop_latency_seconds_bucket", le="3600.0", **labels) == 0
    assert value(page, "tieout_hop_latency_seconds_bucket", le="14400.0", **labels) == 1


def test_loading_last_year_pages_nobody(page: str) -> None:
    old = NOW - timedelta(days=400)
    hops = (Hop("invoice_to_posting", "missing", None, old), Hop("invoice_to_payment", "met_late", 9e6, old, old))
    metrics.judged([Verdict("old", "history", "break", hops)], NOW)
    assert states(page, "history") == {}


def test_a_flood_of_entities_is_counted_as_other_and_fills_no_memory(
    page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "MAX_LABEL_VALUES", len(metrics._names_seen.get("entity", ())))
    for number in range(1_000):
        metrics.judged([Verdict(f"f{number}", f"flood-{number}", "ok", (Hop("invoice_to_posting", "met", 1.0),))], NOW)
    assert states(page, "other") == {"met": 1_000}
    assert states(page, "flood-1") == {}


def test_memory_of_hop_states_is_bounded() -> None:
    counts = HopCounts((1.0,), 10, str)
    hop = Hop("invoice_to_posting", "met", 1.0, None, NOW)
    for number in range(100):
        counts.count(Verdict(f"case {number}", "bound", "ok", (hop,)), NOW)
        assert len(counts) <= 22
    counts.count(Verdict("case 99", "bound", "ok", (hop,)), NOW)
    counts.count(Verdict("case 0", "bound", "ok", (hop,)), NOW)
    assert counts.results == {("invoice_to_posting", "bound", "met"): 101}


def test_a_port_in_use_is_a_sentence_that_says_what_to_do(page: str, port: int) -> None:
    with pytest.raises(metrics.PortInUse, match=rf"127.0.0.1:{port} .*TIEOUT_METRICS_PORT"):
        metrics.serve(port)


def test_the_page_is_not_served_to_the_network_unless_asked(page: str, port: int) -> None:
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    addresses = [fields[1] for fields in listening if fields[1].endswith(f":{port:04X}") and fields[3] == "0A"]
    assert addresses == [f"0100007F:{port:04X}"]
