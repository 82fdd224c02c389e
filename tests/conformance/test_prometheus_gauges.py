"""Gauges of what is open: read from a real store, equal to what it holds, gone when it is gone."""

from collections import Counter
from datetime import UTC, datetime

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from sinks.client import Client, StoreUnavailable
from streams import metrics
from tests.dashboard.cases import Case, fill
from tests.fixtures_store import StoreProcess

ALL = range(4)


def shown(name: str) -> Counter[tuple[str, ...]]:
    families = text_string_to_metric_families(generate_latest(metrics.REGISTRY).decode())
    found = [sample for family in families if family.name == name for sample in family.samples]
    return Counter({tuple(item.labels[label] for label in metrics.LABELS[name]): int(item.value) for item in found})


@pytest.fixture
def client(store_process: StoreProcess) -> Client:
    return store_process.client()


@pytest.fixture
def cases(client: Client) -> list[Case]:
    return fill(client, datetime.now(UTC))


def test_gauges_equal_the_cases_in_the_store(client: Client, cases: list[Case]) -> None:
    metrics.refresh_gauges(client, ALL)
    verdicts = [case.verdict for case in cases]
    broken = [verdict for verdict in verdicts if verdict["outcome"] == "break"]
    assert shown("tieout_cases_open") == Counter(
        (item["entity"], str(item["currency"]), item["outcome"]) for item in verdicts if item["outcome"] != "ok"
    )
    assert shown("tieout_breaks_open") == Counter(
        (found["class"], item["entity"], found["owner"])
        for item in verdicts
        for found in item["breaks"]
        if item["outcome"] != "ok"
    )
    exposure: Counter[tuple[str, ...]] = Counter()
    for item in broken:
        exposure[item["entity"], str(item["currency"]), item["breaks"][0]["class"]] += item["exposure_minor"]
    assert shown("tieout_exposure_minor") == exposure
    late = Counter(
        (hop["name"], item["entity"])
        for item in verdicts
        for hop in item["hops"]
        if item["outcome"] != "ok" and hop["state"] in {"late", "missing"}
    )
    assert late and +shown("tieout_hop_open_late") == late


def test_each_partition_is_counted_by_its_owner_alone(client: Client, cases: list[Case]) -> None:
    totals: Counter[tuple[str, ...]] = Counter()
    for partition in ALL:
        metrics.refresh_gauges(client, [partition])
        totals += shown("tieout_cases_open")
    metrics.refresh_gauges(client, ALL)
    assert totals == shown("tieout_cases_open")


def test_what_is_mended_or_given_away_disappears(client: Client, cases: list[Case]) -> None:
    metrics.refresh_gauges(client, ALL)
    assert shown("tieout_breaks_open")
    metrics.refresh_gauges(client, [])
    for name in metrics.OPEN_NOW:
        assert not shown(name), name


def test_with_the_store_away_the_last_figures_stay_and_the_caller_is_told(store_process: StoreProcess, client: Client, cases: list[Case]) -> None:  # fmt: skip
    metrics.refresh_gauges(client, ALL)
    before = shown("tieout_cases_open")
    store_process.kill()
    with pytest.raises(StoreUnavailable, match="what is open could not be read"):
        metrics.refresh_gauges(client, ALL)
    assert before and shown("tieout_cases_open") == before


def test_a_hop_of_a_known_entity_starts_its_counters_at_zero(client: Client, cases: list[Case]) -> None:
    metrics.refresh_gauges(client, ALL)
    page = generate_latest(metrics.REGISTRY).decode()
    for hop, entity in shown("tieout_hop_open_late"):
        assert f'tieout_hop_results_total{{entity="{entity}",hop="{hop}",state="met"}}' in page


def test_real_verdicts_are_counted(cases: list[Case]) -> None:
    """The very type that the judge returns, decoded from rows as the worker writes them."""
    import msgspec

    from matching.verdict import Verdict

    before = shown_total("tieout_verdicts_total")
    metrics.judged([msgspec.convert(case.verdict, Verdict) for case in cases])
    assert shown_total("tieout_verdicts_total") - before == len(cases)


def shown_total(name: str) -> float:
    families = text_string_to_metric_families(generate_latest(metrics.REGISTRY).decode())
    return sum(sample.value for family in families for sample in family.samples if sample.name == name)
