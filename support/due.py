"""Rows without which a periodic task has nothing to do: `byokportal.beat` asks for them before it sends the task.

See `keys.due`.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from support.models import Notice
from tenants.models import AuditEvent

Rows = list[QuerySet[Any]]


def events() -> Rows:
    return [AuditEvent.objects.not_followed().filter(Q(next_at=None) | Q(next_at__lte=Now()))]


def notices() -> Rows:
    return [Notice.objects.filter(sent_at=None, due_at__lte=Now())]
