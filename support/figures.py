"""What the whole system says of itself to Prometheus: read out of database and broker when somebody asks beat.

Each number is one bounded query; none names a tenant. Where the database gives no answer, `byok_figures_readable` is 0
and the numbers are absent: an old one would be worse than none.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta

import structlog
from django.db import connection
from django.db.models import Count, Q
from django.db.models.functions import Coalesce
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from byokportal import clock, database, deadline
from byokportal.postgresql import partitions
from keys import head_signing
from keys.models import (
    BranchKey,
    Canary,
    Incident,
    KeyRegistration,
    RevocationDrill,
    ServingProcess,
)
from support import backlog
from support.models import Notice, OnCallMessage, Ticket
from tenants.models import AuditEvent, LogHead, LogStream, LogTree, Sealer, ServiceRole

log = structlog.get_logger(__name__)
KEPT = 15.0  # seconds that an answer is used again: whoever asks often must not load the database
SECONDS = 5.0  # that the database has for all of it
COUNTED = 10_000  # rows at most; a backlog of more is told as this many


class Figures(Collector):
    """The gauges of the whole system."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: list[Metric] = []
        self._read_at = -KEPT

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            if clock.monotonic() - self._read_at >= KEPT:
                self._kept, self._read_at = [*_of_database(), *_of_broker()], clock.monotonic()
            yield from self._kept

    def describe(self) -> list[Metric]:
        """Return nothing: the registry would read every number to know the names."""
        return []


def _of_database() -> list[Metric]:
    readable = GaugeMetricFamily("byok_figures_readable", "1 when the numbers of the whole system could be read")
    try:
        with deadline.at_most(SECONDS):
            found = [read() for read in READERS]
    except Exception as error:  # noqa: BLE001  whatever is wrong, the numbers are not known
        log.warning("figures_not_read", why=database.why(error))
        readable.add_metric([], 0)
        return [readable]
    finally:
        connection.close()
    readable.add_metric([], 1)
    return [readable, *found]


def _due_rows() -> Metric:
    found, now = (
        GaugeMetricFamily("byok_due_rows", f"Rows that are due, {COUNTED} at most", labels=["kind"]),
        clock.now(),
    )
    for kind, work in backlog.WORK.items():
        found.add_metric([kind], work.due(now)[:COUNTED].count())
    return found


def _lateness() -> Metric:
    found = GaugeMetricFamily("byok_oldest_due_seconds", "How long the oldest row has been due", labels=["kind"])
    for kind, work in backlog.WORK.items():
        oldest = work.oldest().first()
        found.add_metric([kind], max(0.0, (clock.now() - oldest).total_seconds()) if oldest else 0.0)
    return found


def _put_off() -> Metric:
    found = GaugeMetricFamily("byok_failing_rows", "Rows whose last attempt failed", labels=["kind"])
    found.add_metric(["event"], AuditEvent.objects.put_off().order_by()[:COUNTED].count())
    found.add_metric(["mail"], Notice.objects.failing().order_by()[:COUNTED].count())
    return found


def _registrations() -> Metric:
    found = GaugeMetricFamily("byok_registrations", "Registrations by their state", labels=["status"])
    customers = KeyRegistration.objects.filter(tenant__is_canary=False)
    counts = dict(customers.order_by().values_list("status").annotate(Count("pk")))
    for status in KeyRegistration.Status.values:
        found.add_metric([status], counts.get(status, 0))
    return found


def _service_roles() -> Metric:
    found = GaugeMetricFamily("byok_service_roles", "Service roles, by whether they take new tenants", labels=["state"])
    counts = ServiceRole.objects.aggregate(open=Count("pk", filter=Q(is_open=True)), all=Count("pk"))
    found.add_metric(["open"], counts["open"])
    found.add_metric(["closed"], counts["all"] - counts["open"])
    return found


def _seal_age() -> Metric:
    """The row that waits longest for its seal: 0 where all are sealed."""
    found = GaugeMetricFamily("byok_seal_age_seconds", "How long the oldest row of the log has not been sealed")
    oldest = AuditEvent.objects.not_sealed().order_by("pk").values_list("at", flat=True).first()
    found.add_metric([], max(0.0, (clock.now() - oldest).total_seconds()) if oldest else 0.0)
    return found


def _head_age() -> Metric:
    """How old the newest signed head is; before the first one, for how long the log has waited for it.

    0 where no key is set and none was ever signed: an installation without a seal."""
    found = GaugeMetricFamily("byok_log_head_age_seconds", "How old the newest signed head of the logs is")
    since = LogHead.objects.published().order_by("-number").values_list("at", flat=True).first()
    if since is None and head_signing.is_there():
        since = AuditEvent.objects.order_by("pk").values_list("at", flat=True).first()
    found.add_metric([], max(0.0, (clock.now() - since).total_seconds()) if since else 0.0)
    return found


def _log_stream_lag() -> Metric:
    """For how long the receiver that is furthest behind has lacked a line; 0 where all have all."""
    found = GaugeMetricFamily("byok_log_stream_lag_seconds", "How long the stream that is furthest behind lacks a line")
    behind = LogStream.objects.sending().filter(behind_since__isnull=False).order_by("behind_since")
    since = behind.values_list("behind_since", flat=True).first()
    found.add_metric([], max(0.0, (clock.now() - since).total_seconds()) if since else 0.0)
    return found


def _log_stream_missing() -> Metric:
    """The lines that receivers lack, of the streams that lack one."""
    found = GaugeMetricFamily("byok_log_stream_missing_lines", f"Sealed lines not sent, of {COUNTED} streams at most")
    behind = LogStream.objects.sending().filter(behind_since__isnull=False).order_by("behind_since")[:COUNTED]
    reached = dict[uuid.UUID, list[int]]()
    for tenant, number in behind.values_list("tenant_id", "acknowledged"):
        reached.setdefault(tenant, []).append(number)
    open_trees = LogTree.objects.filter(tenant__in=reached, closed_at=None).values_list("tenant_id", "first", "size")
    lacks = sum(max(0, first + size - 1 - had) for tenant, first, size in open_trees for had in reached[tenant])
    found.add_metric([], lacks)
    return found


def _log_streams() -> Metric:
    found = GaugeMetricFamily("byok_log_streams", "Streams of logs, by their state", labels=["state"])
    counts = dict(LogStream.objects.present().order_by().values_list("status").annotate(Count("pk")))
    for state in ("on", "off", "failing"):
        found.add_metric([state], counts.get(state, 0))
    return found


def _escrow_age() -> Metric:
    """For how long the copy of a branch key has been missing that is wrapped since then; 0 where none is wanted."""
    found = GaugeMetricFamily("byok_escrow_age_seconds", "How long the oldest branch key without a copy has waited")
    waiting = BranchKey.objects.filter(escrow_due_at__isnull=False).order_by(Coalesce("wrapped_at", "created_at"))
    row = waiting.values_list("wrapped_at", "created_at").first()
    since = (row[0] or row[1]) if row else None
    found.add_metric([], max(0.0, (clock.now() - since).total_seconds()) if since else 0.0)
    return found


def _partitions() -> Metric:
    """Absent where there are none: SQLite."""
    found = GaugeMetricFamily("byok_partition_seconds_left", "For how long each partitioned table has a partition")
    left = partitions.left()
    if left is not None:
        found.add_metric([], left.total_seconds())
    return found


def _single(name: str, text: str, count: Callable[[], int]) -> Callable[[], Metric]:
    def read() -> Metric:
        found = GaugeMetricFamily(name, text)
        found.add_metric([], count())
        return found

    return read


def _canaries() -> Metric:
    """Our own tenants: those that come through, and those that do not or of which nothing good was heard for long."""
    found = GaugeMetricFamily("byok_canaries", "Canaries, by whether they come through", labels=["state"])
    failing, known = Canary.objects.failing(clock.now()).count(), Canary.objects.count()
    found.add_metric(["failing"], failing)
    found.add_metric(["well"], known - failing)
    return found


def _not_reached() -> int:
    of_incidents = OnCallMessage.objects.exclude(incident=None)
    given_up = Q(status=OnCallMessage.Status.DEAD, last_at__gt=clock.now() - timedelta(days=1))
    late = Q(status=OnCallMessage.Status.PENDING, attempts__gte=3)
    return of_incidents.filter(given_up | late).count()


READERS: tuple[Callable[[], Metric], ...] = (
    _due_rows,
    _lateness,
    _put_off,
    _registrations,
    _service_roles,
    _canaries,
    _seal_age,
    _head_age,
    _log_stream_lag,
    _log_stream_missing,
    _log_streams,
    _escrow_age,
    _partitions,
    _single(
        "byok_log_heads_refused",
        "1 while no head is signed because what was published does not fit",
        lambda: Sealer.objects.exclude(refused_at=None).count(),
    ),
    _single(
        "byok_open_incidents",
        "Incidents of our own side that are open",
        lambda: Incident.objects.filter(closed_at=None).count(),
    ),
    _single(
        "byok_on_call_not_reached",
        "Messages to whoever is on call that were tried three times, or given up within the day",
        _not_reached,
    ),
    _single("byok_open_drills", "Revocation drills that are on", lambda: RevocationDrill.objects.open().count()),
    _single("byok_open_tickets", "Tickets that are open", lambda: Ticket.objects.open().count()),
    _single(
        "byok_serving_processes",
        "Processes that give out data keys and were seen within a minute",
        lambda: ServingProcess.objects.filter(seen_at__gt=clock.now() - timedelta(minutes=1)).count(),
    ),
)


def _of_broker() -> list[Metric]:
    readable = GaugeMetricFamily("byok_broker_readable", "1 when the broker answered")
    depth = GaugeMetricFamily("byok_queue_messages", "Messages that no worker took yet", labels=["queue"])
    try:
        waiting = backlog.messages()
    except Exception as error:  # noqa: BLE001  whatever is wrong, the numbers are not known
        log.warning("broker_not_read", why=type(error).__name__)
        readable.add_metric([], 0)
        return [readable]
    readable.add_metric([], 1)
    for queue, count in waiting.items():
        depth.add_metric([queue], count)
    return [readable, depth]
