"""What waits for a worker: rows that are due, each kind with its column, and messages in the queues of the broker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from celery import current_app
from django.conf import settings
from django.db.models import QuerySet
from kombu.exceptions import ChannelError

from keys.models import BranchKey, EncryptionTest, KeyHealth, RoleConfiguration
from support.models import BulkOperation, Notice, WebhookDelivery
from tenants.models import AuditEvent, LogStream

# Seconds that whoever asks waits for the broker.
WAIT_AT_MOST = 1


@dataclass(frozen=True, slots=True)
class Work:
    """A kind of work.

    Attributes:
        rows: of it, those that are not due yet among them.
        since: the column that says from when on a row is due; null: it waits for nothing.
        order: what an index has the rows by, the oldest first; "": that column.
    """

    rows: Callable[[], QuerySet[Any]]
    since: str
    order: str = ""

    def oldest(self) -> QuerySet[Any]:
        """Return, as a query of one row, when the row that comes next was or will be due."""
        there = self.rows().filter(**{f"{self.since}__isnull": False})
        return there.order_by(self.order or self.since).values_list(self.since, flat=True)[:1]

    def due(self, now: datetime) -> QuerySet[Any]:
        return self.rows().filter(**{f"{self.since}__lte": now}).order_by()


# A line of the log that is put off has a count of its own (`AuditEvent.objects.put_off`).
WORK = {
    "configuration": Work(RoleConfiguration.objects.all, "due_at"),
    "test": Work(EncryptionTest.objects.all, "due_at"),
    "branch_key": Work(BranchKey.objects.all, "due_at"),
    "probe": Work(KeyHealth.objects.all, "next_probe_at"),
    "event": Work(lambda: AuditEvent.objects.not_followed().filter(next_at=None), "at", order="pk"),
    "mail": Work(lambda: Notice.objects.filter(sent_at=None), "due_at"),
    "bulk_operation": Work(BulkOperation.objects.all, "due_at"),
    "log_stream": Work(LogStream.objects.sending, "due_at"),
    "webhook": Work(WebhookDelivery.objects.awaited, "awaited_since"),
}


def messages() -> dict[str, int]:
    """Return how many messages wait in each queue.

    Raises:
        Exception: of kombu or the broker's client; it gave no answer.
    """
    with current_app.connection_for_read(connect_timeout=WAIT_AT_MOST) as connection:
        connection.ensure_connection(max_retries=1, timeout=WAIT_AT_MOST)
        return {queue: _messages_in(queue, connection.default_channel) for queue in settings.QUEUES}


def _messages_in(queue: str, channel: Any) -> int:
    try:
        return int(channel.queue_declare(queue, passive=True).message_count)
    except ChannelError:
        # Redis knows no empty list.
        return 0
