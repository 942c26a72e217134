"""Traces: which request led to which task, and to which calls of AWS. Off unless OTEL_EXPORTER_OTLP_ENDPOINT is set.

While it is off, no library of OpenTelemetry is imported, and every span is one object that does nothing. What leaves,
and what cannot, is `byokportal.tracing_export`. A caller's `traceparent` is not taken: a stranger would decide what we
record; the request id leads from a caller's trace to ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, Protocol

from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed

if TYPE_CHECKING:
    from types import TracebackType

    from django.http import HttpRequest, HttpResponse

Kind = Literal["server", "consumer", "client"]
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Span:
    """Something that takes time; this one, for everything while traces are off, does nothing.

    Used in `with`, or ended by `end` where its end is met in another function.
    """

    __slots__ = ()

    def set(self, **attributes: str | int) -> None:
        """Note attributes, `__` for each dot of a name; one that is empty, or not in the list of what may leave, is
        dropped."""

    def rename(self, name: str) -> None:
        """Give it the name that is known only now."""

    def fail(self, why: str) -> None:
        """Mark it as failed; `why` is a code or the name of a class."""

    def end(self) -> None:
        """End it."""

    def __enter__(self) -> Span:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.fail(kind.__name__)
        self.end()


class Tracer(Protocol):
    """What makes spans while traces are on."""

    def begin(self, name: str, kind: Kind, came_with: Mapping[str, str]) -> Span:
        """Begin a span."""

    def headers(self) -> dict[str, str]:
        """Return what a message carries, so that its task is in the same trace."""

    def stop(self) -> None:
        """Send what is left, and nothing more."""


NOTHING = Span()
_tracer: Tracer | None = None


def use(tracer: Tracer | None) -> None:
    """Make spans by this from now on; None: none."""
    global _tracer
    _tracer = tracer


def stop() -> None:
    """Send what is left: a worker's process ends without the end of a Python program."""
    if _tracer is not None:
        _tracer.stop()
    use(None)


def begin(name: str, kind: Kind, *, came_with: Mapping[str, str] | None = None) -> Span:
    """Begin a span, below the one that is current.

    Args:
        name: words of ours: a route, a task, an operation of AWS.
        kind: a request ("server") and a task ("consumer") are current until they end; a call of ours ("client") has
            nothing below it.
        came_with: of a message, what `headers` gave it.
    """
    return NOTHING if _tracer is None else _tracer.begin(name, kind, came_with or {})


def headers() -> dict[str, str]:
    """Return what a message has to carry, so that its task is in the same trace; nothing while traces are off."""
    return {} if _tracer is None else _tracer.headers()


class TracingMiddleware:
    """A span for each request that Django answers, by its route: no address is in it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        if not settings.OTEL_EXPORTER_OTLP_ENDPOINT:
            raise MiddlewareNotUsed
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        method = request.method if request.method in METHODS else "_OTHER"
        with begin(method, "server") as span:
            response = self.get_response(request)
            route = f"/{request.resolver_match.route}" if request.resolver_match is not None else "none"
            span.rename(f"{method} {route}")
            span.set(http__request__method=method, http__route=route, http__response__status_code=response.status_code)
            if response.status_code >= 500:
                span.fail(str(response.status_code))
            return response
