"""Rows without which a periodic task has nothing to do: `byokportal.beat` asks for them before it sends the task.

A query may find a row for nothing (a worker holds it already); it must find one while there is work. It is compiled
once in a process, so the time in it is the database's own.
"""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet, Subquery, Value
from django.db.models.functions import Coalesce, Now

from keys import horizon
from keys.models import (
    BranchKey,
    Canary,
    DriftResolution,
    EncryptionTest,
    Incident,
    KeyHealth,
    KeyRegistration,
    KeyUse,
    KeyUseCursor,
    RestoreHold,
    RevocationDrill,
    RoleConfiguration,
    ServiceRolePolicy,
)
from tenants.models import ServiceRole

Rows = list[QuerySet[Any]]


def configurations() -> Rows:
    return [RoleConfiguration.objects.filter(due_at__lte=Now())]


def room() -> Rows:
    return [ServiceRole.objects.filter(count_due_at__lte=Now())]


def canaries() -> Rows:
    return [ServiceRole.objects.exclude(canary_role_arn="").filter(canary_due_at__lte=Now())]


def canary_rounds() -> Rows:
    return [Canary.objects.exclude(stage=Canary.Stage.MAKING).filter(due_at__lte=Now())]


def drift() -> Rows:
    return [
        ServiceRolePolicy.objects.filter(look_due_at__lte=Now()),
        DriftResolution.objects.filter(due_at__lte=Now()),
    ]


def tests() -> Rows:
    return [EncryptionTest.objects.filter(due_at__lte=Now())]


def activations() -> Rows:
    return [KeyRegistration.objects.in_preparation().filter(activation_due_at__lte=Now())]


def branch_keys() -> Rows:
    """Also registrations that may not be needed any more."""
    retiring = KeyRegistration.objects.filter(status=KeyRegistration.Status.RETIRING)
    return [BranchKey.objects.filter(due_at__lte=Now()), retiring.filter(horizon.over(Now()))]


def escrow() -> Rows:
    return [BranchKey.objects.filter(escrow_due_at__lte=Now())]


def holds() -> Rows:
    return [RestoreHold.objects.confirmed()]


def awaited_probes() -> Rows:
    return [KeyHealth.objects.awaited().probed().filter(next_probe_at__lte=Now())]


def probes() -> Rows:
    """Also open incidents and drills: the sweep looks at those too."""
    return [
        KeyHealth.objects.probed().filter(next_probe_at__lte=Now()),
        Incident.objects.filter(closed_at=None),
        RevocationDrill.objects.open(),
    ]


def uses() -> Rows:
    through = KeyUseCursor.objects.filter(pk=1).values("through")[:1]
    return [KeyUse.objects.filter(pk__gt=Coalesce(Subquery(through), Value(0)))]
