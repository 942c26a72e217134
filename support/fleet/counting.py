"""Counts the fleet: states, causes, the funnel, how long steps take, how full service roles are; the worker does it
once a minute, so that no page counts all tenants."""

from __future__ import annotations

import statistics
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Count, Min, OuterRef, Q, Subquery

from byokportal import clock
from keys.models import KeyRegistration, RegistrationMove, RevocationDrill
from support.fleet.state import JOURNEY
from support.models import BulkOperation, FleetFigures, FleetRow, StaffReview, Ticket
from tenants.models import OnboardingMove, OnboardingStep, ServiceRole

WITHIN = timedelta(days=90)
STUCK_AFTER = timedelta(days=1)
# Of how many steps that were done lately the median is taken, all six together.
SAMPLE = 3_000
# Causes and service roles that a page shows.
CAUSES, ROLES, REGIONS = 20, 8, 60
# Characters that a pinned tenant without an ARN keeps of its service role.
RESERVED = 128


def count() -> dict[str, Any]:
    """Count the fleet and keep the figures; returns them."""
    now = clock.now()
    figures = {
        **_by_state(now),
        "funnel": _funnel(now),
        "roles": _roles(),
        "today": _today(now),
        "bulk": _bulk(),
        "reviewed": _reviewed(),
    }
    FleetFigures.objects.get_or_create(pk=1)
    FleetFigures.objects.filter(pk=1).update(figures=figures, counted_at=now)
    return figures


def _by_state(now: datetime) -> dict[str, Any]:
    groups = FleetRow.objects.order_by().values("state", "cause").annotate(count=Count("pk"))
    states: dict[str, int] = defaultdict(int)
    causes: dict[str, int] = defaultdict(int)
    for group in groups:
        states[group["state"]] += group["count"]
        if group["cause"]:
            causes[group["cause"]] += group["count"]
    most = sorted(causes.items(), key=lambda one: -one[1])[:CAUSES]
    stuck = FleetRow.objects.exclude(state=FleetRow.State.ACTIVE).filter(since__lt=now - STUCK_AFTER).count()
    regions = FleetRow.objects.order_by("region").exclude(region="").values_list("region", flat=True).distinct()
    return {
        "all": sum(states.values()),
        "states": dict(states),
        "causes": most,
        "stuck": stuck,
        "regions": list(regions[:REGIONS]),
    }


def _funnel(now: datetime) -> dict[str, Any]:
    """Of the tenants that began lately: how many reached each step, stand there now, and are stuck there."""
    began = FleetRow.objects.filter(created_at__gte=now - WITHIN).order_by()
    at_rest = Q(state=FleetRow.State.NEEDS_CHANGE) | Q(state=FleetRow.State.WAITS_FOR_KORE)
    groups = began.values("step").annotate(
        here=Count("pk"), stuck=Count("pk", filter=at_rest & Q(since__lt=now - STUCK_AFTER))
    )
    here, stuck = defaultdict(int), defaultdict(int)
    for group in groups:
        here[group["step"]], stuck[group["step"]] = group["here"], group["stuck"]
    optional = OnboardingStep.objects.filter(
        number=4, tenant__created_at__gte=now - WITHIN, status=OnboardingStep.Status.DONE
    ).count()
    medians, reached, steps = _medians(), sum(here.values()), []
    begun = reached
    for number in JOURNEY:
        steps.append(
            {"number": number, "reached": reached, "here": here[number], "stuck": stuck[number]}
            | {"median": medians.get(number)}
        )
        reached -= here[number]
    validated = {"number": 4, "reached": optional, "here": 0, "stuck": 0, "median": medians.get(4)}
    return {"begun": begun, "steps": [*steps[:3], validated, *steps[3:]]}


def _medians() -> dict[int, float]:
    """Return the median seconds from the first status that asks for something to done, by step."""
    begin = {OnboardingStep.Status.NOT_STARTED, OnboardingStep.Status.DONE, OnboardingStep.Status.SKIPPED}
    began = (
        OnboardingMove.objects.filter(step=OuterRef("step"))
        .exclude(new_status__in=begin)
        .order_by()
        .values("step")
        .annotate(first=Min("at"))
        .values("first")
    )
    done = (
        OnboardingMove.objects.filter(new_status=OnboardingStep.Status.DONE)
        .order_by("-at")
        .values_list("step__number", "at", Subquery(began))[:SAMPLE]
    )
    lasted: dict[int, list[float]] = defaultdict(list)
    for number, at, first in done:
        if first is not None and first <= at:
            lasted[number].append((at - first).total_seconds())
    return {number: statistics.median(seconds) for number, seconds in lasted.items()}


def _roles() -> list[dict[str, Any]]:
    """Return the fullest service roles that take tenants, then the fullest of all, in per cent of the tenants that they
    have room for: the configuration worker counts the places (`keys.configuration.room`), nobody else does."""
    tenants = dict(FleetRow.objects.order_by().values_list("service_role").annotate(count=Count("pk")))
    found: list[dict[str, Any]] = []
    for role in ServiceRole.objects.all():
        taken = tenants.get(role.pk, 0)
        percent = round(100 * taken / (taken + role.places)) if taken + role.places else 100
        found.append({"id": role.pk, "name": role.name, "is_open": role.is_open, "percent": percent})
    return sorted(found, key=lambda one: (not one["is_open"], -one["percent"]))[:ROLES]


def _today(now: datetime) -> dict[str, int]:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    active = RegistrationMove.objects.filter(at__gte=midnight, new_status=KeyRegistration.Status.ACTIVE)
    return {
        "new": FleetRow.objects.filter(created_at__gte=midnight).count(),
        "active": active.filter(old_status=KeyRegistration.Status.TESTING).count(),
        "drills": RevocationDrill.objects.filter(started_at__gte=midnight).count(),
        "closed": Ticket.objects.filter(status=Ticket.Status.CLOSED, since__gte=midnight).count(),
    }


def _bulk() -> list[dict[str, str]]:
    """Return the bulk operations that wait for a second lead, the oldest first."""
    waiting = BulkOperation.objects.filter(status=BulkOperation.Status.WAITING).order_by("created_at")[:ROLES]
    return [{"id": str(one.pk), "what": str(one), "since": one.created_at.isoformat()} for one in waiting]


def _reviewed() -> str:
    """Return since when nobody has looked at who of us may do what; "" while there is nobody of ours."""
    newest = StaffReview.objects.values_list("at", flat=True).first()
    first = newest or User.objects.filter(is_staff=True).aggregate(first=Min("date_joined"))["first"]
    return first.isoformat() if first else ""
