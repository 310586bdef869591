"""OpenTelemetry: one trace per incident across all hops, and figures of every hop, as OTLP or to Azure Monitor.

In: hops as they begin and end. Out: spans whose trace id is the incident's id, and metrics named ``argus.*``.
Source: opentelemetry.io/docs/specs/semconv/messaging, w3.org/TR/trace-context.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import re
import socket
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from shared.config.schema import TelemetrySettings
from shared.model.event import Event, GroupChanged, GroupChangeKind, IncidentRequested
from shared.model.pipeline import DESTINATION, MicroAgent, Queue
from shared.ports import telemetry
from shared.ports.telemetry import Ending

_PARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_FAILED = (Ending.AGAIN, Ending.QUARANTINED)
_ROOT: ContextVar[tuple[int, int] | None] = ContextVar("argus_root_span", default=None)
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class _Ids(RandomIdGenerator):
    """Random ids, but for the first span of an incident: its ids follow from the incident's."""

    def generate_trace_id(self) -> int:
        root = _ROOT.get()
        return root[0] if root else super().generate_trace_id()

    def generate_span_id(self) -> int:
        root = _ROOT.get()
        return root[1] if root else super().generate_span_id()


class OpenTelemetry:
    """Spans and metrics of one process.

    Args:
        processors: what takes finished spans.
        readers: what takes metrics.
        resource: attributes of the process.
    """

    def __init__(
        self, processors: Sequence[SpanProcessor], readers: Sequence[MetricReader], resource: Mapping[str, str]
    ) -> None:
        about = Resource.create(dict(resource))
        self._traces = TracerProvider(resource=about, id_generator=_Ids(), shutdown_on_exit=False)
        for processor in processors:
            self._traces.add_span_processor(processor)
        self._metrics = MeterProvider(list(readers), resource=about, shutdown_on_exit=False)
        self._tracer = self._traces.get_tracer("argus")
        meter = self._metrics.get_meter("argus")
        self._took = meter.create_histogram(
            "argus.hop.duration", "s", "Time one delivery took.", explicit_bucket_boundaries_advisory=SECONDS
        )
        self._waited = meter.create_histogram(
            "argus.hop.wait",
            "s",
            "Time from when an event was due until a hop took it.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self._worked = meter.create_histogram(
            "argus.work.duration", "s", "Time one micro-agent took.", explicit_bucket_boundaries_advisory=SECONDS
        )
        self._hops = meter.create_counter("argus.hops", "1", "Deliveries by how they ended.")
        self._retries = meter.create_counter("argus.retries", "1", "Deliveries that will be tried again.")
        self._signals = meter.create_counter("argus.signals", "1", "Signals taken in, by source.")

    def close(self) -> None:
        """Send what is left, and end."""
        atexit.unregister(self.close)
        self._traces.shutdown()
        self._metrics.shutdown()

    @contextmanager
    def hop(self, queue: Queue, event: Event) -> Iterator[_Delivery]:
        """See `shared.ports.telemetry`."""
        began = time.time()
        due = (event.not_before or event.time).timestamp()
        self._waited.record(max(0.0, began - due), {"queue": str(queue)})
        seen = _Delivery()
        with self._span(f"{queue} process", event, queue) as span, telemetry.inside(_text(span)):
            seen.span = span
            try:
                yield seen
            finally:
                labels = {"queue": str(queue), "ending": str(seen.ending or "failed")}
                self._took.record(time.time() - began, labels)
                self._hops.add(1, labels)
                if seen.ending is Ending.AGAIN:
                    self._retries.add(1, {"queue": str(queue)})

    @contextmanager
    def work(self, micro_agent: MicroAgent, incident_id: str = "") -> Iterator[None]:
        """See `shared.ports.telemetry`."""
        began, failed = time.time(), True
        current = _context(telemetry.traceparent())
        about = {"argus.micro_agent": str(micro_agent)} | ({"argus.incident": incident_id} if incident_id else {})
        with (
            self._tracer.start_as_current_span(
                str(micro_agent), _under(current), attributes=about, record_exception=False
            ) as span,
            telemetry.inside(_text(span)),
        ):
            try:
                yield
                failed = False
            finally:
                labels: dict[str, str | bool] = {"micro_agent": str(micro_agent), "failed": failed}
                self._worked.record(time.time() - began, labels)

    def received(self, source: str, signals: int) -> None:
        """See `shared.ports.telemetry`."""
        self._signals.add(signals, {"source": source})

    @contextmanager
    def _span(self, name: str, event: Event, queue: Queue) -> Iterator[Span]:
        sender, incident = _context(event.traceparent), _trace_id(event.subject)
        parent, links, root = sender, [], None
        if incident and (sender is None or sender.trace_id != incident):
            first = SpanContext(incident, _first_span(incident), True, TraceFlags(TraceFlags.SAMPLED))
            links = [Link(sender)] if sender else []
            if _creates(event):
                parent, root = None, (first.trace_id, first.span_id)
            else:
                parent = first
        about: dict[str, str | int] = {
            "messaging.system": "servicebus",
            "messaging.destination.name": str(queue),
            "messaging.operation.type": "process",
            "messaging.message.id": event.message_id,
            "argus.event": event.type,
            "argus.attempt": event.attempt,
            **({"argus.incident": event.subject} if event.subject else {}),
        }
        token = _ROOT.set(root)
        try:
            span = self._tracer.start_span(
                name, _under(parent), SpanKind.CONSUMER, attributes=about, links=links, record_exception=False
            )
        finally:
            _ROOT.reset(token)
        # An exception may hold what a far side said; its class is enough, and the log has the rest.
        with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            yield span


class _Delivery:
    """One delivery; see `shared.ports.telemetry.Watched`."""

    span: Span = trace.INVALID_SPAN
    ending: Ending | None = None

    def end(self, ending: Ending, why: str = "") -> None:
        self.ending = ending
        self.span.set_attribute("argus.ending", str(ending))
        if why:
            self.span.set_attribute("argus.reason", why)
        if ending in _FAILED:
            self.span.set_status(Status(StatusCode.ERROR, str(ending)))


def _creates(event: Event) -> bool:
    """Whether this is the first delivery of what begins an incident; its span is the first of the trace."""
    data = event.data
    opens = isinstance(data, IncidentRequested) or (
        isinstance(data, GroupChanged) and data.kind is GroupChangeKind.OPEN
    )
    return opens and event.attempt == 0 and DESTINATION[type(data)] is Queue.INCIDENTS


def _trace_id(subject: str) -> int:
    """The trace of an incident is its id, so that whoever knows one knows the other; 0 where there is no incident."""
    try:
        return uuid.UUID(subject).int
    except ValueError:
        return 0


def _first_span(trace_id: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{trace_id:032x}".encode()).digest()[:8], "big") or 1


def _context(traceparent: str) -> SpanContext | None:
    found = _PARENT.fullmatch(traceparent)
    if found is None:
        return None
    context = SpanContext(int(found[1], 16), int(found[2], 16), True, TraceFlags(int(found[3], 16)))
    return context if context.is_valid else None


def _under(parent: SpanContext | None) -> Context:
    return Context() if parent is None else trace.set_span_in_context(trace.NonRecordingSpan(parent), Context())


def _text(span: Span) -> str:
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & TraceFlags.SAMPLED:02x}"


def exporters(settings: TelemetrySettings) -> tuple[list[SpanProcessor], list[MetricReader]]:
    """What takes spans and metrics, for every place the configuration names."""
    processors: list[SpanProcessor] = []
    readers: list[MetricReader] = []
    every_ms = settings.metrics_every_s * 1000
    if settings.otlp.endpoint:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        base = settings.otlp.endpoint.rstrip("/")
        headers = {name: value.get_secret_value() for name, value in settings.otlp.headers.items()}
        processors.append(BatchSpanProcessor(OTLPSpanExporter(f"{base}/v1/traces", headers=headers)))
        metrics = OTLPMetricExporter(f"{base}/v1/metrics", headers=headers)
        readers.append(PeriodicExportingMetricReader(metrics, every_ms))
    if connection := settings.azure_monitor.connection_string.get_secret_value():
        from azure.monitor.opentelemetry.exporter import AzureMonitorMetricExporter, AzureMonitorTraceExporter

        spans = AzureMonitorTraceExporter(connection_string=connection)
        processors.append(BatchSpanProcessor(spans))
        figures = AzureMonitorMetricExporter(connection_string=connection)
        readers.append(PeriodicExportingMetricReader(figures, every_ms))
    return processors, readers


def build(settings: TelemetrySettings, roles: str) -> OpenTelemetry:
    """Telemetry that sends to every place the configuration names, and what is left when the process ends.

    Args:
        roles: app setting ``ARGUS_ROLES``, told with every span.
    """
    about = {
        "service.name": settings.service_name,
        "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
        "argus.roles": roles,
    }
    built = OpenTelemetry(*exporters(settings), about)
    atexit.register(built.close)
    return built
