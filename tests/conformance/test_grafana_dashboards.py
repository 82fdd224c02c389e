"""Grafana's dashboards, one a role: every panel's SQL runs on a real store, every PromQL on a real Prometheus."""

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from canonical.money import EXPONENTS
from sinks.client import Client
from sinks.migrate import migrate
from streams import metrics
from tests.dashboard.cases import fill
from tests.fixtures_store import StoreProcess

GRAFANA = Path(__file__).parents[2] / "grafana"
BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((GRAFANA / "dashboards").glob("*.json"))}
NOW = datetime.now(UTC)


class Query(NamedTuple):
    board: str
    panel: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.board}: {self.panel}"


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries(field: str) -> list[Query]:
    return [
        Query(name, panel["title"], panel["type"], target[field])
        for name, board in BOARDS.items()
        for panel in panels(board)
        for target in panel["targets"]
        if field in target
    ]


def constants(board: str) -> dict[str, str]:
    return {item["name"]: item["query"] for item in BOARDS[board]["templating"]["list"] if item["type"] == "constant"}


def as_sent(query: Query, entities: list[str]) -> str:
    """SQL as the data source sends it, its variables and macros replaced."""
    start, end = (f"toDateTime({int(at.timestamp())})" for at in (NOW - timedelta(days=7), NOW + timedelta(hours=1)))
    text = query.text
    for name, value in constants(query.board).items():
        text = text.replace(f"${{{name}:raw}}", value)
    text = text.replace("${entity:singlequote}", ", ".join(f"'{entity}'" for entity in entities) or "''")
    text = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 >= {start} AND \1 <= {end}", text)
    text = re.sub(r"\$__timeInterval\((\w+)\)", r"toStartOfInterval(toDateTime(\1), INTERVAL 60 second)", text)
    text = text.replace("$__fromTime", start).replace("$__toTime", end)
    assert "$" not in text, f"not replaced: {text}"
    return text


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    process = StoreProcess(tmp_path_factory.mktemp("grafana") / "store").start()
    client = process.client()
    migrate(client)
    yield client
    client.close()
    process.stop()


@pytest.fixture(scope="module")
def company(client: Client) -> list[str]:
    """A living company in the store; its entities, as the dashboards' variable finds them."""
    fill(client, NOW)
    [variable] = [item for item in BOARDS["finance"]["templating"]["list"] if item["name"] == "entity"]
    entities = [row[0] for row in client.query(variable["query"]).result_rows]
    assert entities
    return entities


def test_there_is_one_dashboard_a_role() -> None:
    assert set(BOARDS) == {"finance", "integration", "oncall", "platform"}
    assert len({board["uid"] for board in BOARDS.values()}) == len(BOARDS)


def test_an_empty_store_gives_empty_panels_and_no_error(client: Client) -> None:
    for query in queries("rawSql"):
        client.query(as_sent(query, []))


@pytest.mark.parametrize("query", queries("rawSql"), ids=str)
def test_panel_shows_the_company(client: Client, company: list[str], query: Query) -> None:
    answer = client.query(as_sent(query, company))
    assert answer.result_rows, "the panel is empty for a company that has everything"
    assert len(set(answer.column_names)) == len(answer.column_names)
    if query.kind == "stat":
        assert len(answer.result_rows) == len(answer.column_names) == 1


def test_choosing_one_entity_leaves_the_others_out(client: Client, company: list[str]) -> None:
    for query in queries("rawSql"):
        answer = client.query(as_sent(query, company[:1]))
        if "entity" in answer.column_names and "entity:" in query.text:
            place = answer.column_names.index("entity")
            assert {row[place] for row in answer.result_rows} <= {company[0]}, query


def test_money_is_shown_with_its_currencys_decimals_and_never_added_over_currencies(client: Client) -> None:
    unit = constants("finance")["minor_units"]
    shown = (
        "SELECT currency, toDecimal128(12345, 4) / "
        + unit
        + " FROM (SELECT arrayJoin({codes:Array(String)}) AS currency)"
    )
    amounts = dict(client.query(shown, {"codes": list(EXPONENTS)}).result_rows)
    assert {code: int(amount * 10_000) for code, amount in amounts.items()} == {
        code: 12345 * 10_000 // 10**exponent for code, exponent in EXPONENTS.items()
    }
    for query in queries("rawSql") + queries("expr"):
        if re.search(r"sum\((exposure|amount|variance)_minor|tieout_exposure_minor", query.text):
            assert re.search(r"(GROUP BY|by \().*currency", query.text), f"{query} adds currencies up"


def test_every_panel_says_what_it_is_and_in_which_unit() -> None:
    provisioned = yaml.safe_load((GRAFANA / "provisioning/datasources/tieout.yml").read_text())["datasources"]
    known = {source["uid"]: source["type"] for source in provisioned}
    for board in BOARDS.values():
        ids = [panel["id"] for panel in board["panels"]]
        assert len(ids) == len(set(ids))
        for panel in panels(board):
            assert panel["title"] and panel["description"], panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
            for source in [panel["datasource"], *(target["datasource"] for target in panel["targets"])]:
                assert known[source["uid"]] == source["type"], panel["title"]


def test_panels_do_not_overlap_and_fit_the_screen() -> None:
    for name, board in BOARDS.items():
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert at["x"] + at["w"] <= 24 and not cells & taken, f"{name}: {panel['title']}"
            taken |= cells


def test_links_lead_to_pages_that_tieout_has() -> None:
    from dashboard.components import PAGES

    links = [
        link["url"]
        for board in BOARDS.values()
        for panel in panels(board)
        for override in panel["fieldConfig"]["overrides"]
        for rule in override["properties"]
        if rule["id"] == "links"
        for link in rule["value"]
    ]
    assert links
    for link in links:
        path = re.fullmatch(r"\$\{tieout\}/(\w+)\?.+", link)
        assert path and path[1] in PAGES, link


def test_fields_that_a_panel_formats_or_links_are_in_its_answer(client: Client, company: list[str]) -> None:
    for name, board in BOARDS.items():
        for panel in panels(board):
            [target, *_] = panel["targets"]
            if "rawSql" in target:
                columns = set(
                    client.query(as_sent(Query(name, panel["title"], "", target["rawSql"]), company)).column_names
                )
                used = {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]}
                used |= set(re.findall(r"__data\.fields\.(\w+)", json.dumps(panel)))
                assert used <= columns, f"{panel['title']}: {used - columns}"


# PromQL


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prometheus with our rules, reading a worker's page."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed: `make test` installs it; PromQL of the dashboards was NOT checked")
    home = tmp_path_factory.mktemp("prometheus")
    page, port = _free_port(), _free_port()
    config = yaml.safe_load((GRAFANA / "prometheus/prometheus.yml").read_text())
    config["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(GRAFANA / "prometheus/rules.yml")]
    config["scrape_configs"] = [{"job_name": "tieout-worker", "static_configs": [{"targets": [f"127.0.0.1:{page}"]}]}]
    del config["alerting"]
    (home / "prometheus.yml").write_text(yaml.safe_dump(config))
    stop_page = metrics.serve(page)
    arguments = [f"--config.file={home}/prometheus.yml", f"--storage.tsdb.path={home}/data"]
    with (home / "log").open("w") as log:
        child = subprocess.Popen(
            [program, *arguments, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=subprocess.STDOUT
        )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(lambda: ask(address, "up == 1"), f"Prometheus scrapes nothing: {home / 'log'}")
        yield address
    finally:
        child.terminate()
        child.wait(20)
        stop_page()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_for(condition: Any, otherwise: str, within_s: float = 30) -> None:
    deadline = time.monotonic() + within_s
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.1)


def ask(address: str, expression: str) -> list[dict[str, Any]]:
    url = f"{address}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
    answer = json.loads(urllib.request.urlopen(url, timeout=10).read())
    assert answer["status"] == "success", answer
    return list(answer["data"]["result"])


def as_asked(query: Query) -> str:
    text = query.text.replace("$__rate_interval", "20s").replace("$__range", "6h").replace("$entity", "acme-us|acme-de")
    assert "$" not in text
    return text


@pytest.mark.parametrize("query", queries("expr"), ids=str)
def test_panels_promql_is_answered(prometheus: str, query: Query) -> None:
    ask(prometheus, as_asked(query))


def test_a_late_hop_is_seen_by_prometheus_with_its_labels(prometheus: str) -> None:
    metrics.show("tieout_hop_open_late", {("invoice_to_posting", "acme-us"): 3})
    [panel] = [query for query in queries("expr") if query.panel == "Invoice → posting: late now"]
    _wait_for(
        lambda: [found["value"][1] for found in ask(prometheus, as_asked(panel))] == ["3"], "the late hop is not seen"
    )
    pending = 'ALERTS{alertname="TieoutInvoiceToPostingLate", entity="acme-us", alertstate="pending"}'
    _wait_for(lambda: ask(prometheus, pending), "the alert is not pending")
