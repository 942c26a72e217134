"""Rows without which a periodic task has nothing to do: `byokportal.beat` asks for them before it sends the task.

See `keys.due`.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce, Now

from keys.models import Closing
from support.models import BulkOperation, FleetFigures, Notice, OnCallMessage, Ticket, WebhookEndpoint
from tenants.models import AuditEvent

Rows = list[QuerySet[Any]]


def events() -> Rows:
    return [AuditEvent.objects.not_followed().filter(Q(next_at=None) | Q(next_at__lte=Now()))]


def notices() -> Rows:
    return [Notice.objects.filter(sent_at=None, due_at__lte=Now())]


def deliveries() -> Rows:
    return [WebhookEndpoint.objects.due(Now())]


def on_call() -> Rows:
    return [OnCallMessage.objects.pending().filter(due_at__lte=Now())]


def reminders() -> Rows:
    return [Ticket.objects.filter(remind_at__lte=Now())]


def fleet() -> Rows:
    through = FleetFigures.objects.filter(pk=1).values("through")[:1]
    return [AuditEvent.objects.filter(pk__gt=Coalesce(Subquery(through), Value(0)))]


def closings() -> Rows:
    return [Closing.objects.filter(due_at__lte=Now())]


def bulk() -> Rows:
    return [BulkOperation.objects.filter(due_at__lte=Now())]
