"""One trace from a provider's record to the verdict it led to, over OTLP.

- On only where OTEL_EXPORTER_OTLP_ENDPOINT (or its TRACES form) is set. Off, `intake` costs 0.2 µs a record and `facts`
  and `verdicts` return at once; nothing of OpenTelemetry is imported.
- The way of a trace: header `traceparent` of the raw record → span `intake` → field `traceparent` of the canonical
  events → span `verdict` of the flush that judged their case, child of the newest of them and linked to the others.
- Which records are traced: those whose sender sampled them, and of the others what OTEL_TRACES_SAMPLER says (its default
  here: one in a hundred, for a span costs about 50 µs and a worker reads 20,000 records a second).
- Nothing here blocks or fails the worker: spans wait in a bounded queue for a thread that sends them, what does not fit
  is dropped, an unreachable collector is logged by OpenTelemetry, a malformed `traceparent` is as good as none.
- Called from the event loop only.
"""

import atexit
import logging
import os
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import SpanContext, Tracer

log = logging.getLogger("tieout.tracing")

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
SAMPLED_OF_ALL = "0.01"
MAX_QUEUED_SPANS = 4_096
MAX_CASES_TRACED = (
    10_000  # cases whose records are traced and whose verdict is not yet written; the oldest is forgotten
)
MAX_LINKS = 32  # records of one case that its verdict's span points to
MAX_SPANS_A_CALL = 512
SEND_EVERY_MS = 1_000
SEND_TIMEOUT_S = 3  # also how long the end of the process may wait for the collector

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Record(NamedTuple):
    """Where a traced fact lies, and its trace."""

    topic: str
    partition: int
    offset: int
    traceparent: str


class Event(Protocol):
    @property
    def correlationid(self) -> str: ...
    @property
    def traceparent(self) -> str | None: ...


class Verdict(Protocol):
    @property
    def correlation_id(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def entity(self) -> str: ...


_provider: "TracerProvider | None" = None
_tracer: "Tracer | None" = None
_records_of: dict[str, list[Record]] = {}
_untraced: AbstractContextManager[str | None] = nullcontext(None)


def configure(service: str = "tieout", instance: str = "") -> None:
    """Turns tracing on where an endpoint is set. Once, at the start of the process. Settings that OpenTelemetry refuses
    are logged and leave tracing off."""
    global _provider, _tracer
    if not any(os.environ.get(name) for name in ENDPOINTS):
        return
    try:
        _provider = _made(service, instance)
    except Exception:
        log.exception("tracing stays off: OpenTelemetry refuses its settings")
        return
    _tracer = _provider.get_tracer("tieout")
    atexit.register(shutdown)


def _made(service: str, instance: str) -> "TracerProvider":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    os.environ.setdefault("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    os.environ.setdefault("OTEL_TRACES_SAMPLER_ARG", SAMPLED_OF_ALL)
    resource = Resource.create({"service.name": service, "service.instance.id": instance})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(timeout=SEND_TIMEOUT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter, MAX_QUEUED_SPANS, SEND_EVERY_MS, MAX_SPANS_A_CALL))
    return provider


def is_on() -> bool:
    return _tracer is not None


def shutdown() -> None:
    """Turns tracing off and sends what is queued, for SEND_TIMEOUT_S at most (OpenTelemetry's own would take 30 s)."""
    global _provider, _tracer
    provider, _provider, _tracer = _provider, None, None
    _records_of.clear()
    if provider is not None:
        sender = threading.Thread(target=provider.shutdown, daemon=True)
        sender.start()
        sender.join(SEND_TIMEOUT_S)


def intake(upstream: str | None, record: Any = None) -> AbstractContextManager[str | None]:
    """Around the mapping of one raw record; gives the `traceparent` for its events, None where it is not traced."""
    if upstream is not None and not _TRACEPARENT.fullmatch(upstream):
        upstream = None
    if _tracer is None:
        return nullcontext(upstream) if upstream else _untraced
    return _intake(_tracer, upstream, record)


@contextmanager
def _intake(tracer: "Tracer", upstream: str | None, record: Any) -> Iterator[str | None]:
    from opentelemetry.trace import SpanKind

    with tracer.start_as_current_span("intake", context=_context(upstream), kind=SpanKind.CONSUMER) as span:
        if record is not None:
            span.set_attributes(_place(record.topic, record.partition, record.offset))
        yield _text(span.get_span_context()) if span.is_recording() else upstream


def facts(topic: str, partition: int, offsets: Sequence[int], events: Sequence[Event]) -> None:
    """Canonical records as they become facts: remembered until their case is judged."""
    if _tracer is None:
        return
    for offset, event in zip(offsets, events, strict=True):
        if event.traceparent is not None and event.traceparent.endswith("1"):
            records = _records_of.setdefault(event.correlationid, [])
            records.append(Record(topic, partition, offset, event.traceparent))
            del records[: -MAX_LINKS - 1]
    while len(_records_of) > MAX_CASES_TRACED:
        del _records_of[next(iter(_records_of))]


def verdicts(judged: Iterable[Verdict]) -> None:
    """One span for each verdict that a traced record led to."""
    if _tracer is None or not _records_of:
        return
    for verdict in judged:
        records = _records_of.pop(verdict.correlation_id, None)
        if records:
            _verdict(_tracer, verdict, records)


def _verdict(tracer: "Tracer", verdict: Verdict, records: list[Record]) -> None:
    from opentelemetry.trace import Link, SpanKind

    *others, newest = records
    links = [
        Link(_span_context(record.traceparent), _place(record.topic, record.partition, record.offset))
        for record in others
    ]
    span = tracer.start_span("verdict", context=_context(newest.traceparent), kind=SpanKind.CONSUMER, links=links)
    span.set_attributes(
        {
            "tieout.case": verdict.correlation_id,
            "tieout.outcome": verdict.outcome,
            "tieout.entity": verdict.entity,
            "tieout.records": len(records),
            **_place(newest.topic, newest.partition, newest.offset),
        }
    )
    span.end()


def _place(topic: str, partition: int, offset: int) -> dict[str, str | int]:
    """OpenTelemetry's names for a Kafka record (semantic conventions, messaging)."""
    return {
        "messaging.system": "kafka",
        "messaging.destination.name": topic,
        "messaging.destination.partition.id": str(partition),
        "messaging.kafka.offset": offset,
    }


def _span_context(traceparent: str) -> "SpanContext":
    from opentelemetry.trace import SpanContext, TraceFlags

    _, trace, span, flags = traceparent.split("-")
    return SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))


def _context(upstream: str | None) -> Any:
    """A context with the sender's span in it; an empty one, so that nothing leaks in, where there is none."""
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context

    if upstream is None:
        return Context()
    return set_span_in_context(NonRecordingSpan(_span_context(upstream)), Context())


def _text(context: "SpanContext") -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 0xFF:02x}"
