"""Spans by OpenTelemetry's SDK, and what of them leaves this process: the names of a list, and nothing else.

The libraries that instrument Django, botocore and Celery by themselves are not used. Django's records addresses, in
which secrets of mailed links and answers of directories stand; botocore's does not see our own calls of STS and KMS
(`keys.aws.hot`) and adds headers to requests at AWS; Celery's leaves a span open for ever where the broker takes no
message. Only `byokportal.telemetry` imports this module, and only while traces are on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog
from django.conf import settings
from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.re import parse_env_headers

from byokportal import logs, tracing

SECONDS = 3.0  # that a collector has to take a batch
LONGEST = 200  # characters of a value
# The names of OpenTelemetry where it has one. None of them names a tenant, a person, an address, a key or a context.
ALLOWED = frozenset(
    {
        "http.request.method",
        "http.route",
        "http.response.status_code",
        "messaging.destination.name",
        "messaging.message.id",
        "rpc.system",
        "rpc.service",
        "rpc.method",
        "cloud.region",
        "aws.request_id",
        "error.type",
        "byok.operation",
        "byok.outcome",
        "byok.request_id",
    }
)
KINDS = {"server": trace.SpanKind.SERVER, "consumer": trace.SpanKind.CONSUMER, "client": trace.SpanKind.CLIENT}
MESSAGE = TraceContextTextMapPropagator()


class Allowed(SpanExporter):
    """Hands on spans with the attributes of the list alone: no event, link, description, or trace of an exception."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([allowed(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def allowed(span: ReadableSpan) -> ReadableSpan:
    """Return what of a span may leave."""
    return ReadableSpan(
        name=logs.redact(span.name)[:LONGEST],
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes={
            name: logs.redact(value)[:LONGEST] if isinstance(value, str) else value
            for name, value in (span.attributes or {}).items()
            if name in ALLOWED and isinstance(value, str | int)
        },
        kind=span.kind,
        status=trace.Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def to_collector() -> SpanProcessor:
    """Return what sends spans to the collector of the settings, in a thread; what it cannot send in time is dropped."""
    return BatchSpanProcessor(Allowed(_collector()))


def takes_nothing() -> bool:
    """Tell whether the collector takes a batch without spans."""
    return _collector().export([]) is SpanExportResult.SUCCESS


def _collector() -> OTLPSpanExporter:
    return OTLPSpanExporter(
        endpoint=settings.OTEL_EXPORTER_OTLP_ENDPOINT.rstrip("/") + "/v1/traces",
        headers=parse_env_headers(settings.OTEL_EXPORTER_OTLP_HEADERS, liberal=True),
        timeout=SECONDS,
    )


class Exporting:
    """Makes spans, a share of all traces (`OTEL_TRACES_SAMPLER_ARG`): all of one trace, or none.

    Args:
        service: what the traces call this process.
        processor: where spans go.
    """

    def __init__(self, service: str, processor: SpanProcessor) -> None:
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(settings.OTEL_TRACES_SAMPLER_ARG)),
            resource=Resource.create({"service.name": service}),
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("byokportal")

    def begin(self, name: str, kind: tracing.Kind, came_with: Mapping[str, str]) -> tracing.Span:
        above = MESSAGE.extract(came_with) if came_with else None
        span = self._tracer.start_span(name, context=above, kind=KINDS[kind], record_exception=False)
        begun = _Begun(span, is_current=kind != "client")
        begun.set(byok__request_id=str(structlog.contextvars.get_contextvars().get("request_id", "")))
        return begun

    def headers(self) -> dict[str, str]:
        carried: dict[str, str] = {}
        MESSAGE.inject(carried)
        return carried

    def stop(self) -> None:
        self._provider.shutdown()


class _Begun(tracing.Span):
    """A span that is on its way."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: trace.Span, *, is_current: bool) -> None:
        self._span = span
        self._token = context.attach(trace.set_span_in_context(span)) if is_current else None

    def set(self, **attributes: str | int) -> None:
        for name, value in attributes.items():
            if value != "":
                self._span.set_attribute(name.replace("__", "."), value)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def fail(self, why: str) -> None:
        self._span.set_status(trace.StatusCode.ERROR)
        self._span.set_attribute("error.type", why)

    def end(self) -> None:
        if self._token is not None:
            context.detach(self._token)
            self._token = None
        self._span.end()
