"""Traces as a collector receives them: a real OTLP/HTTP receiver on this machine, protobuf and all."""

import gzip
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from streams import tracing

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SENT = f"00-{TRACE}-00f067aa0ba902b7-01"
OTHER = "00-11111111111111111111111111111111-2222222222222222-01"


class Raw(NamedTuple):
    topic: str
    partition: int
    offset: int


class Event(NamedTuple):
    correlationid: str
    traceparent: str | None


class Verdict(NamedTuple):
    correlation_id: str
    outcome: str = "ok"
    entity: str = "acme-us"


class Collector(ThreadingHTTPServer):
    """Keeps every span it is sent; answers none while `hang` is set."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.resources: list[Any] = []
        self.hang = threading.Event()
        super().__init__(("127.0.0.1", 0), Receiver)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if self.server.hang.is_set():
            time.sleep(30)
        assert self.path == "/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.server.resources.append(resource.resource)
            for scope in resource.scope_spans:
                self.server.spans.extend(scope.spans)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.shutdown()


@pytest.fixture
def on(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    tracing.configure("tieout-worker", "w1")
    assert tracing.is_on()
    yield collector
    tracing.shutdown()


def attributes(span: Any) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in span.attributes}


def through(raw: Raw, upstream: str | None, key: str = "invoice:acme-us:billing:INV-1") -> str | None:
    """A record's way: intake, the canonical topic, the join. Gives the traceparent of its canonical event."""
    with tracing.intake(upstream, raw) as traceparent:
        event = Event(key, traceparent)
    tracing.facts("invoices", 3, [raw.offset + 100], [event])
    return traceparent


def test_the_trace_of_the_provider_leads_to_the_verdict(on: Collector) -> None:
    carried = through(Raw("raw.stripe", 1, 42), SENT)
    tracing.verdicts([Verdict("invoice:acme-us:billing:INV-1", "break")])
    tracing.shutdown()
    intake, verdict = on.spans
    assert (intake.name, verdict.name) == ("intake", "verdict")
    assert intake.trace_id.hex() == verdict.trace_id.hex() == TRACE
    assert intake.parent_span_id.hex() == "00f067aa0ba902b7"
    assert verdict.parent_span_id == intake.span_id
    assert carried == f"00-{TRACE}-{intake.span_id.hex()}-01"
    assert attributes(intake) == {
        "messaging.system": "kafka",
        "messaging.destination.name": "raw.stripe",
        "messaging.destination.partition.id": "1",
        "messaging.kafka.offset": 42,
    }
    assert attributes(verdict) == {
        "tieout.case": "invoice:acme-us:billing:INV-1",
        "tieout.outcome": "break",
        "tieout.entity": "acme-us",
        "tieout.records": 1,
        "messaging.system": "kafka",
        "messaging.destination.name": "invoices",
        "messaging.destination.partition.id": "3",
        "messaging.kafka.offset": 142,
    }
    resource = {item.key: item.value.string_value for item in on.resources[0].attributes}
    assert (resource["service.name"], resource["service.instance.id"]) == ("tieout-worker", "w1")


def test_a_verdict_links_to_every_other_record_that_made_it(on: Collector) -> None:
    first = through(Raw("raw.stripe", 0, 1), OTHER)
    through(Raw("raw.xero_tables", 0, 2), SENT)
    tracing.verdicts([Verdict("invoice:acme-us:billing:INV-1")])
    tracing.shutdown()
    [verdict] = [span for span in on.spans if span.name == "verdict"]
    [link] = verdict.links
    assert verdict.trace_id.hex() == TRACE
    assert f"00-{link.trace_id.hex()}-{link.span_id.hex()}-01" == first
    assert attributes(link)["messaging.kafka.offset"] == 101


def test_a_case_with_a_thousand_traced_records_has_a_bounded_span(on: Collector) -> None:
    for offset in range(1_000):
        through(Raw("raw.stripe", 0, offset), SENT)
    tracing.verdicts([Verdict("invoice:acme-us:billing:INV-1")])
    tracing.shutdown()
    [verdict] = [span for span in on.spans if span.name == "verdict"]
    assert len(verdict.links) == tracing.MAX_LINKS


def test_what_the_sender_did_not_sample_is_carried_on_but_not_sent(on: Collector) -> None:
    unsampled = SENT[:-1] + "0"
    assert through(Raw("raw.stripe", 0, 1), unsampled) == unsampled
    assert through(Raw("raw.stripe", 0, 2), None) is None
    tracing.verdicts([Verdict("invoice:acme-us:billing:INV-1")])
    tracing.shutdown()
    assert on.spans == []


def test_a_verdict_is_traced_once(on: Collector) -> None:
    through(Raw("raw.stripe", 0, 1), SENT)
    for _ in range(3):
        tracing.verdicts([Verdict("invoice:acme-us:billing:INV-1")])
    tracing.shutdown()
    assert [span.name for span in on.spans].count("verdict") == 1


def test_cases_that_never_get_a_verdict_fill_no_memory(on: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "MAX_CASES_TRACED", 5)
    for number in range(50):
        tracing.facts("invoices", 0, [number], [Event(f"case {number}", SENT)])
    assert list(tracing._records_of) == [f"case {number}" for number in range(45, 50)]


MALFORMED = [
    "", "nonsense", SENT + "\n", SENT.upper(), SENT[:-3], "ff" + SENT[2:], f"00-{'0' * 32}-00f067aa0ba902b7-01",
    f"00-{TRACE}-{'0' * 16}-01", SENT + "-extra", "\x00" * 55,
]  # fmt: skip


@pytest.mark.parametrize("upstream", MALFORMED)
def test_a_malformed_traceparent_is_as_good_as_none(on: Collector, upstream: str) -> None:
    assert through(Raw("raw.stripe", 0, 1), upstream) is None
    tracing.shutdown()
    with tracing.intake(upstream) as traceparent:
        assert traceparent is None


def test_without_an_endpoint_nothing_is_traced_and_the_senders_context_passes_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in tracing.ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    tracing.configure()
    assert not tracing.is_on()
    assert through(Raw("raw.stripe", 0, 1), SENT) == SENT
    assert through(Raw("raw.stripe", 0, 1), None) is None
    tracing.verdicts([Verdict("invoice:acme-us:billing:INV-1")])
    assert tracing._records_of == {}


def test_without_an_endpoint_opentelemetry_is_not_even_imported() -> None:
    code = "import sys; from streams import tracing; tracing.configure(); print([m for m in sys.modules if 'telemetry' in m])"
    done = subprocess.run([sys.executable, "-c", code], env={}, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_settings_that_opentelemetry_refuses_leave_the_worker_running(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:  # fmt: skip
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "a few")
    tracing.configure()
    assert not tracing.is_on()
    assert "tracing stays off" in caplog.text


@pytest.mark.parametrize("state", ["down", "hanging"])
def test_a_collector_that_is_down_or_hangs_neither_blocks_nor_fails(collector: Collector, monkeypatch: pytest.MonkeyPatch, state: str) -> None:  # fmt: skip
    if state == "hanging":
        collector.hang.set()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url if state == "hanging" else "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_on")
    monkeypatch.setattr(tracing, "SEND_TIMEOUT_S", 1)
    monkeypatch.setattr(tracing, "MAX_QUEUED_SPANS", 512)
    tracing.configure()
    slowest_s = 0.0
    for number in range(5_000):  # ten times what the queue holds
        slowest_s = max(
            slowest_s, timed(lambda number=number: through(Raw("raw.stripe", 0, number), SENT, f"c{number}"))
        )
    tracing.verdicts([Verdict("c4999")])
    assert slowest_s < 0.9, "a record waited for the collector"
    assert timed(tracing.shutdown) < 3


def timed(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
