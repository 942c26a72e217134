"""Lets a process trace where the settings want it; it alone imports the libraries for that, and only then."""

from __future__ import annotations

from django.conf import settings

from byokportal import tracing


def start(part: str) -> None:
    """Let this process trace, if OTEL_EXPORTER_OTLP_ENDPOINT is set; in each process, after the last fork.

    Args:
        part: `web` or `worker`: what the traces call this process.
    """
    if settings.OTEL_EXPORTER_OTLP_ENDPOINT:
        from byokportal import tracing_export

        tracing.use(tracing_export.Exporting(f"byok-{part}", tracing_export.to_collector()))


def reaches_collector() -> bool:
    """Send the collector of the settings a batch without spans, and tell whether it took it."""
    from byokportal import tracing_export

    return tracing_export.takes_nothing()
