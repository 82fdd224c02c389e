"""Alert rules, their unit tests, Alertmanager's routes: checked by Prometheus' own tools, and against the catalogue."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from matching.verdict import BreakClass
from streams.metrics import CATALOGUE

REPOSITORY = Path(__file__).parents[2]
GRAFANA = REPOSITORY / "grafana"
RULES = yaml.safe_load((GRAFANA / "prometheus/rules.yml").read_text())
RULE_TESTS = [
    test
    for path in sorted((GRAFANA / "prometheus").glob("*_test.yml"))
    for test in yaml.safe_load(path.read_text())["tests"]
]
ALERTMANAGER = GRAFANA / "alertmanager/alertmanager.yml"
ALL_RULES = [rule for group in RULES["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in ALL_RULES if "alert" in rule]
OWNERS = {"finance", "platform", "integration", "crm"}

# What Prometheus and its client add to our own.
FOREIGN = {"up": set(), "ALERTS": {"alertstate", "alertname"}, "process_cpu_seconds_total": set(), "process_resident_memory_bytes": set()}  # fmt: skip


def run(tool: str, *arguments: str, folder: str = "prometheus") -> str:
    program = shutil.which(tool)
    if program is None:
        pytest.skip(f"{tool} is not installed: `make test` installs it; alert rules were NOT checked")
    done = subprocess.run(
        [program, *arguments], cwd=GRAFANA / folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_accepts_its_configuration_and_rules() -> None:
    assert f"{len(ALL_RULES)} rules found" in run("promtool", "check", "config", "prometheus.yml")


def test_every_alert_fires_and_does_not_fire_as_its_stories_say() -> None:
    assert "SUCCESS" in run("promtool", "test", "rules", "rules_test.yml", "rules_day_test.yml")


def test_alertmanager_accepts_its_configuration() -> None:
    assert "SUCCESS" in run("amtool", "check-config", "alertmanager.yml", folder="alertmanager")


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_alert_has_a_story_in_which_it_fires_and_one_in_which_it_does_not(alert: dict[str, Any]) -> None:
    expected = [case["exp_alerts"] for test in RULE_TESTS for case in test["alert_rule_test"] if case["alertname"] == alert["alert"]]  # fmt: skip
    assert any(expected) and not all(expected)


def owners(alert: dict[str, Any]) -> set[str]:
    """The owners that an alert's label, a word or a template of words, can name."""
    return set(re.findall(r"(?:}})?(\w+)(?:{{|$)", re.sub(r"{{.*?}}", "{{}}", alert["labels"]["owner"])))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_alert_says_who_acts_on_what_and_how(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert owners(alert) and owners(alert) <= OWNERS
    notes = alert["annotations"]
    assert notes["summary"]
    assert notes["dashboard"].startswith("{{ $externalLabels.tieout_dashboard }}/")
    assert notes["runbook"] == f"docs/runbooks.md#{alert['alert'].lower()}"


def test_links_of_alerts_lead_to_pages_that_tieout_has() -> None:
    from dashboard.components import PAGES

    for alert in ALERTS:
        path = re.match(r"{{.*?}}/(\w*)", alert["annotations"]["dashboard"])
        assert path and path[1] in PAGES, alert["alert"]


def test_links_of_business_alerts_open_the_breaks_of_that_hop_and_entity() -> None:
    slas = [alert for alert in ALERTS if re.search("(Late|Burn)$", alert["alert"])]
    assert len(slas) == 6
    for alert in slas:
        [hop] = set(re.findall(r'hop="(\w+)"', alert["expr"]))
        link = alert["annotations"]["dashboard"]
        assert f"/breaks?hop={hop}&entity={{{{ $labels.entity | urlquery }}}}&class=sla" in link
        assert set(re.findall(r"class=(\w+)", link)) <= set(get_args(BreakClass))


def test_the_base_of_every_link_is_configured() -> None:
    config = yaml.safe_load((GRAFANA / "prometheus/prometheus.yml").read_text())
    assert re.fullmatch(r"https?://[^/]+", config["global"]["external_labels"]["tieout_dashboard"])


def test_runbooks_have_one_section_an_alert_with_what_it_means_and_what_to_do() -> None:
    sections = re.split(r"^## ", (REPOSITORY / "docs/runbooks.md").read_text(), flags=re.MULTILINE)[1:]
    bodies = {heading: body for heading, _, body in (section.partition("\n") for section in sections)}
    assert sorted(bodies) == sorted(alert["alert"] for alert in ALERTS)
    for heading, body in bodies.items():
        for part in ("**Means.**", "**Who.**", "**Look.**", "**Do.**"):
            assert part in body, f"{heading} lacks {part}"


@pytest.mark.parametrize("severity", ["critical", "warning"])
@pytest.mark.parametrize("owner", sorted(OWNERS))
def test_an_alert_reaches_its_owner(owner: str, severity: str) -> None:
    found = run("amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}", f"owner={owner}", f"severity={severity}")  # fmt: skip
    assert found.strip() == owner


def test_an_alert_without_an_owner_reaches_the_platform() -> None:
    found = run("amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}", "severity=warning")
    assert found.strip() == "platform"


def test_no_placeholder_receiver_sends_anything_out_of_the_machine() -> None:
    receivers = yaml.safe_load(ALERTMANAGER.read_text())["receivers"]
    urls = [hook["url"] for receiver in receivers for hook in receiver["webhook_configs"]]
    assert len(urls) == len(OWNERS)
    assert all(url.startswith("http://127.0.0.1:9/") for url in urls)


def expressions() -> Iterator[tuple[str, str]]:
    """Every PromQL expression that is shipped, with where it stands."""
    for rule in ALL_RULES:
        yield rule.get("alert") or rule["record"], rule["expr"]
    for path in sorted((GRAFANA / "dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        for item in board["annotations"]["list"]:
            yield f"{path.stem}: {item['name']}", item["expr"]
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                if "expr" in target:
                    yield f"{path.stem}: {panel['title']}", target["expr"]


def labels_of_samples() -> dict[str, set[str]]:
    """The names that can be asked for, each with its labels."""
    known = {name: set(labels) for name, labels in FOREIGN.items()}
    for metric in CATALOGUE:
        labels = set(metric.labels)
        if metric.kind == "histogram":
            known |= {
                f"{metric.name}_bucket": labels | {"le"},
                f"{metric.name}_sum": labels,
                f"{metric.name}_count": labels,
            }
        else:
            known[metric.name] = labels
    for rule in ALL_RULES:
        if "record" in rule:
            known[rule["record"]] = {"hop", "entity"}
    return {name: labels | {"job", "instance"} for name, labels in known.items()}


SELECTOR = re.compile(r"((?:tieout|process)[a-z0-9_:]+|\bup\b|\bALERTS\b)(?:\{(.*?)\})?")


@pytest.mark.parametrize(("where", "expression"), list(expressions()), ids=lambda text: text if len(text) < 60 else "")
def test_expression_uses_metrics_and_labels_of_the_catalogue_alone(where: str, expression: str) -> None:
    known = labels_of_samples()
    text = re.sub(r'"tieout-worker"|"Tieout\.\*"', '""', expression)
    used = SELECTOR.findall(text)
    assert used or text.startswith("vector("), where
    labels: set[str] = set()
    for name, selector in used:
        assert name in known, f"{where}: {name} is not in the catalogue"
        assert set(re.findall(r"(\w+)\s*=", selector)) <= known[name], f"{where}: {name}{{{selector}}}"
        labels |= known[name]
    grouped = {label for group in re.findall(r"\b(?:by|on) \((.*?)\)", text) for label in group.split(", ")}
    assert grouped <= labels, f"{where}: {grouped - labels}"


def test_every_metric_of_the_catalogue_is_shown_or_alerted_on() -> None:
    used = " ".join(expression for _, expression in expressions())
    assert [metric.name for metric in CATALOGUE if metric.name not in used] == []


def test_collector_pipelines_name_only_what_is_defined_and_listen_where_workers_send() -> None:
    config = yaml.safe_load((GRAFANA / "otel-collector.yml").read_text())
    for pipeline in config["service"]["pipelines"].values():
        for kind, names in pipeline.items():
            assert set(names) <= set(config[kind]), kind
        assert pipeline["processors"][0] == "memory_limiter" and pipeline["processors"][-1] == "batch"
    assert config["receivers"]["otlp"]["protocols"]["http"]["endpoint"].endswith(":4318")
