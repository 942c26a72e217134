"""Traces and reports of errors as they would leave, kept in memory: made by our own settings, sent to nobody."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sentry_sdk
import structlog
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from byokportal import tracing, tracing_export
from byokportal.error_reports import Reports


class InMemory(Transport):
    """Keeps envelopes as the bytes that they would be sent as."""

    def __init__(self, kept: list[bytes]) -> None:
        super().__init__()
        self._kept = kept

    def capture_envelope(self, envelope: Envelope) -> None:
        self._kept.append(envelope.serialize())


@contextmanager
def collected() -> Iterator[list[bytes]]:
    """Report every ERROR of the log, as with SENTRY_DSN."""
    structlog.contextvars.clear_contextvars()
    kept: list[bytes] = []
    handler = Reports(transport=InMemory(kept))
    logging.getLogger().addHandler(handler)
    try:
        yield kept
    finally:
        logging.getLogger().removeHandler(handler)
        sentry_sdk.get_client().close()
        sentry_sdk.get_global_scope().set_client(None)


@contextmanager
def traced(settings: Any) -> Iterator[InMemorySpanExporter]:
    """Trace everything, as with OTEL_EXPORTER_OTLP_ENDPOINT."""
    settings.OTEL_EXPORTER_OTLP_ENDPOINT, settings.OTEL_TRACES_SAMPLER_ARG = "http://127.0.0.1:9", 1.0
    structlog.contextvars.clear_contextvars()
    exporter = InMemorySpanExporter()
    tracing.use(tracing_export.Exporting("byok-tests", SimpleSpanProcessor(tracing_export.Allowed(exporter))))
    try:
        yield exporter
    finally:
        tracing.stop()
