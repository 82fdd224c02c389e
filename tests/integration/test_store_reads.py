"""What each query of a page, a panel and the worker reads, on a store of 30,000 cases: no more than docs/storage.md says.

A look-up by a key that reads a whole table costs nothing in a test and everything in years: so rows read are counted, by the
store itself. The page's table names every query there is.
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dashboard import queries
from dashboard.store import SETTINGS, Question
from sinks.client import Client, Store, connect
from sinks.evidence import Evidence
from sinks.migrate import migrate
from sinks.replays import ReplayStore
from sinks.rows import DeadLetterRow, FactBatch, revision
from tests.conformance import test_grafana_dashboards as grafana
from tests.fixtures_store import StoreProcess
from tests.integration.test_store import NOW, case_key, fact, verdict, verdict_row

PAGE = Path(__file__).parents[2] / "docs" / "storage.md"
CASES, OPEN = 30_000, 1_500
KEY, SOME_KEYS = case_key(17_000), [case_key(number) for number in range(1_000, CASES, 2_900)]

FILTERS = {
    "entities": [], "classes": [], "owners": [], "severities": [], "currencies": [], "hops": ["invoice_to_posting"],
    "older_than_s": 0, "search": "stripe:in_17000:issued",
}  # fmt: skip
OF_PERIOD = {"entity": "acme-us", "ledger": "main", "period": "2026-03"}
GIVEN: dict[str, Any] = (
    FILTERS | OF_PERIOD | {"key": KEY, "most": 50, "skip": 0, "window_s": 0, "minutes": 30, "shown_bytes": 100}
)
PAGES = {name: found for name, found in vars(queries).items() if isinstance(found, Question)} | {
    "breaks_chosen": queries.breaks_chosen("newest")
}
PANELS = {str(query): query for query in grafana.queries("rawSql")}
LOOKUPS: dict[str, Callable[[Client], Any]] = {
    "Store.facts_of": lambda client: Store(client).facts_of(SOME_KEYS),
    "Store.verdicts_of": lambda client: Store(client).verdicts_of(SOME_KEYS),
    "Store.known_letters": lambda client: Store(client).known_letters([("raw.stripe", 0, 700)]),
    "Store.deadlines": lambda client: Store(client).deadlines([1], NOW, 100),
    "Store.awaited": lambda client: Store(client).awaited([1]),
    "Store.awaiting": lambda client: Store(client).awaiting(1, "erp", 100),
    "Store.judged_otherwise": lambda client: Store(client).judged_otherwise(1, "p2", 100),
    "Store.untold": lambda client: Store(client).untold({1: (revision(1, CASES), 2)}),
    "Store.positions": lambda client: Store(client).positions([1]),
    "Store.known": lambda client: Store(client).known([1]),
    "Evidence.facts_among": lambda client: Evidence(client).facts_among(SOME_KEYS),
    "Evidence.ids_among": lambda client: Evidence(client).ids_among(SOME_KEYS),
    "ReplayStore.live": lambda client: ReplayStore(client).live(SOME_KEYS),
    "ReplayStore._keys": lambda client: ReplayStore(client)._keys("facts", "", KEY, 100),
}


def told() -> dict[str, int]:
    """Rows that each query reads at the most, as the page says."""
    rows = re.findall(r"^\| `([^`]+)` \|.*\| ([\d,]+) \|$", PAGE.read_text(), re.MULTILINE)
    return {name: int(most.replace(",", "")) for name, most in rows}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    process = StoreProcess(tmp_path_factory.mktemp("reads") / "store").start()
    client = connect(process.url, patience_s=5)
    migrate(client)
    _fill(Store(client))
    yield client
    client.close()
    process.stop()


def _fill(store: Store) -> None:
    """Every twentieth case is open; each has a fact and a verdict. Merged, as a store is that has stood for a while."""
    seen = datetime.now(UTC) - timedelta(days=2)
    raw, ok, broken = fact(0), verdict(0, "ok", (), next_deadline=None), verdict(0)
    names = [(b"INV-%d" % number, b"in_%d:" % number) for number in range(CASES)]
    raws = [raw.replace(b"INV-0", name).replace(b"in_0:", identity) for name, identity in names]
    store.write_facts([FactBatch("invoices", 1, range(CASES), raws)])
    store.write_verdicts([
        verdict_row(number, (broken if number % (CASES // OPEN) == 0 else ok).replace(b"INV-0", name), seq=number + 1, first_seen=seen)
        for number, (name, _) in enumerate(names)
    ])  # fmt: skip
    store.write_dead_letters([
        DeadLetterRow("raw.stripe", 0, offset, NOW, "mapping", "no", "intake", "stripe", "", b"", "[]", b"{}")
        for offset in range(1_000)
    ])  # fmt: skip
    for table in ("facts", "verdicts", "verdict_history", "open_cases", "dead_letters"):
        store.client.command(f"OPTIMIZE TABLE {table} FINAL")


def read_rows(client: Client, call: Callable[[Client], Any]) -> int:
    """How many rows the store read for all that `call` asked: what it says itself, beside the answer in JSON."""
    counted: list[int] = []
    query, raw_query = client.query, client.raw_query

    def count(text: str, **options: Any) -> None:
        known = {name: value for name, value in options.items() if name in ("parameters", "settings")}
        counted.append(msgspec.json.decode(raw_query(text, fmt="JSON", **known))["statistics"]["rows_read"])

    def counted_query(text: str, **options: Any) -> Any:
        count(text, **options)
        return query(text, **options)

    def counted_raw_query(text: str, fmt: str, **options: Any) -> bytes:
        count(text, **options)
        return raw_query(text, fmt=fmt, **options)

    client.query, client.raw_query = counted_query, counted_raw_query  # type: ignore[method-assign,assignment]
    try:
        call(client)
    finally:
        client.query, client.raw_query = query, raw_query  # type: ignore[method-assign]
    assert counted
    return sum(counted)


def call_of(name: str) -> Callable[[Client], Any]:
    if name in PAGES:
        given = GIVEN | ({"window_s": 900} if name == "HOW_FAST" else {})
        return lambda client: client.query(PAGES[name].sql, parameters=given, settings=SETTINGS)
    if name in PANELS:
        return lambda client: client.query(grafana.as_sent(PANELS[name], ["acme-us"]))
    return LOOKUPS[name]


@pytest.mark.parametrize("name", [*PAGES, *PANELS, *LOOKUPS])
def test_a_query_reads_no_more_than_the_page_says(client: Client, name: str) -> None:
    read = read_rows(client, call_of(name))
    assert read <= told()[name], f"{name} read {read} rows"


def test_the_page_names_every_query_and_no_other() -> None:
    assert set(told()) == {*PAGES, *PANELS, *LOOKUPS}


def test_a_look_up_by_key_reads_a_granule_or_two() -> None:
    most = {"VERDICTS_OF_CASE": 2 * 8_192, "CASE_BY_KEY": 256, "FACTS_OF_CASE": 256}
    assert {name: told()[name] for name in most} == most
    for name in (
        "Store.facts_of",
        "Store.verdicts_of",
        "Evidence.facts_among",
        "Evidence.ids_among",
        "ReplayStore.live",
    ):
        assert told()[name] == 256 * len(SOME_KEYS)


def test_a_scan_in_place_of_a_look_up_is_seen(client: Client) -> None:
    scan = read_rows(
        client, lambda client: client.query(f"SELECT raw FROM verdicts FINAL WHERE concat(case_key, '') = '{KEY}'")
    )
    assert scan > told()["CASE_BY_KEY"]
