"""Rows without which a periodic task has nothing to do: `byokportal.beat` asks for them before it sends the task.

See `keys.due`.
"""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.db.models.functions import Now

from tenants.models import AuditEvent, HeadMailing, LogStream, MailDomain, SignOnConnection

Rows = list[QuerySet[Any]]


def domains() -> Rows:
    return [MailDomain.objects.present().filter(next_look_at__lte=Now())]


def connections() -> Rows:
    return [SignOnConnection.objects.present().filter(next_look_at__lte=Now())]


def unsealed() -> Rows:
    return [AuditEvent.objects.not_sealed()]


def head_mailings() -> Rows:
    return [HeadMailing.objects.due(Now())]


def log_streams() -> Rows:
    return [LogStream.objects.sending().filter(due_at__lte=Now()), LogStream.objects.filter(test_due_at__lte=Now())]
