"""What the system counts while it works, for Prometheus: one directory a group of processes, one private port.

The processes of a web server or of a worker write their numbers into files of one directory, and one of them answers
for all (prometheus_client, "Multiprocess Mode"). A label's values are few and ours: an operation, a code of
`docs/problems.md`, a route, a queue; never a tenant, a person or an address.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from byokportal import metrics_directory  # isort: skip  # first: prometheus_client reads the environment when imported
from prometheus_client import CollectorRegistry, Counter, Histogram, multiprocess, start_http_server
from prometheus_client.core import Metric
from prometheus_client.registry import REGISTRY, Collector

from byokportal import clock

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)  # seconds
LONG = (0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0)  # seconds

REQUESTS = Counter("byok_http_requests", "Requests that were answered", ["route", "code"])
REQUEST_SECONDS = Histogram("byok_http_request_seconds", "How long an answer took", ["part"], buckets=FAST)
DATA_KEYS = Counter("byok_data_keys", "Data keys that were asked for", ["operation", "outcome"])
DATA_KEY_SECONDS = Histogram(
    "byok_data_key_request_seconds", "How long a request for data keys took", ["operation"], buckets=FAST
)
BRANCH_KEYS = Counter("byok_branch_key_lookups", "Looks for an unwrapped branch key in memory", ["result"])
BRANCH_KEY_AGE = Histogram(
    "byok_branch_key_age_seconds",
    "How long an unwrapped branch key had been in memory when it was dropped",
    buckets=(1, 5, 15, 60, 150, 300, 900, 3600, 86400),
)
COMMIT_ROWS = Histogram("byok_ledger_commit_rows", "Uses in one commit", buckets=(1, 2, 4, 8, 16, 32, 64))
COMMIT_SECONDS = Histogram("byok_ledger_commit_seconds", "How long a commit of uses took", ["outcome"], buckets=FAST)
JOINS = Counter("byok_singleflight_joins", "Calls that took the result of one under way")
BULKHEAD_REFUSALS = Counter(
    "byok_bulkhead_refusals", "Calls to a tenant's AWS that were not made, its share being used"
)
AWS_SECONDS = Histogram("byok_aws_call_seconds", "How long AWS took", ["service", "operation", "outcome"], buckets=FAST)
TESTS = Counter("byok_encryption_tests", "Encryption tests that ended", ["verdict", "cause"])
LOG_STREAM_BATCHES = Counter("byok_log_stream_batches", "Batches of the log that were sent", ["format", "outcome"])
TASKS = Counter("byok_tasks", "Tasks that a worker ended", ["task", "outcome"])
TASK_SECONDS = Histogram("byok_task_seconds", "How long a task took", ["task"], buckets=LONG)


def serve(*collectors: Collector) -> None:
    """Answer `/metrics` at METRICS_ADDRESS (`host:port`) for all processes of this group; nothing where it is not set.

    Args:
        collectors: of numbers that are read when somebody asks.
    """
    address = os.environ.get("METRICS_ADDRESS", "").strip()
    if not address:
        return
    host, _, port = address.rpartition(":")
    start_http_server(int(port), addr=host.strip("[]") or "127.0.0.1", registry=registry(*collectors))


def registry(*collectors: Collector) -> CollectorRegistry:
    """Return what one answer is made of: the numbers of every process of this group, and those of the collectors."""
    found = CollectorRegistry()
    if metrics_directory.VARIABLE in os.environ:
        multiprocess.MultiProcessCollector(found)  # type: ignore[no-untyped-call]
    else:
        found.register(_Own())
    for each in collectors:
        found.register(each)
    return found


class _Own(Collector):
    """The numbers of this process alone."""

    def collect(self) -> Iterable[Metric]:
        return REGISTRY.collect()


@contextmanager
def timed_call(service: str, operation: str, code_of: Callable[[Exception], str]) -> Iterator[None]:
    """Time a call to AWS by its outcome: "ok", or what `code_of` says of its failure."""
    began, outcome = clock.monotonic(), "ok"
    try:
        yield
    except Exception as error:
        outcome = code_of(error)
        raise
    finally:
        AWS_SECONDS.labels(service, operation, outcome).observe(clock.monotonic() - began)


class MetricsMiddleware:
    """Counts each answer by its route, which is a pattern of ours: no address that somebody made up is a label."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        began = clock.monotonic()
        response = self.get_response(request)
        match = request.resolver_match
        route = f"/{match.route}" if match is not None else "none"
        REQUESTS.labels(route, str(response.status_code)).inc()
        part = match.namespaces[0] if match is not None and match.namespaces else "other"
        REQUEST_SECONDS.labels(part).observe(clock.monotonic() - began)
        return response
