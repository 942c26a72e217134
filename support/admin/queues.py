"""The queues on the first page: what waits for us, what is impaired, what got stuck, and where each set-up stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from typing import Any

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse

from byokportal import clock, words
from keys.models import BranchKey, EncryptionTest, Incident, KeyHealth, KeyRegistration, RoleConfiguration
from support.admin import progress
from support.models import Notice, Ticket
from tenants import roles
from tenants.models import AuditEvent, OnboardingStep, Tenant

SHOWN = 20  # rows of each queue; the list behind it has all
STUCK_AFTER = timedelta(minutes=10)
Registration = KeyRegistration.Status


@dataclass(frozen=True, slots=True)
class Row:
    what: str
    url: str
    why: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Queue:
    title: str
    url: str
    rows: list[Row]
    has_more: bool


def of(request: HttpRequest) -> list[Queue]:
    """Return the queues that this person may see, the most urgent first."""
    found = [
        ("keys.incident", _incidents),
        ("support.ticket", _tickets),
        ("keys.keyregistration", _impaired),
        ("keys.encryptiontest", _stuck),
        ("tenants.auditevent", _put_off),
        ("tenants.tenant", _set_ups),
    ]
    shown = [queue() for model, queue in found if roles.staff_sees(request.user, model)]
    return [queue for queue in shown if queue is not None]


def _change(obj: Model, pk: Any = None) -> str:
    return reverse(f"admin:{obj._meta.app_label}_{obj._meta.model_name}_change", args=[pk or obj.pk])


def _some(rows: QuerySet[Any]) -> tuple[list[Any], bool]:
    found = list(rows[: SHOWN + 1])
    return found[:SHOWN], len(found) > SHOWN


def _incidents() -> Queue:
    rows, more = _some(Incident.objects.filter(closed_at=None).select_related("service_role").order_by("opened_at"))
    listed = [
        Row(str(row.service_role), _change(row), f"{row.why} ({row.refused} refused)", row.opened_at) for row in rows
    ]
    return Queue("Incidents on our own side", reverse("admin:keys_incident_changelist"), listed, more)


def _tickets() -> Queue:
    rows, more = _some(
        Ticket.objects.filter(status=Ticket.Status.WAITING_FOR_KORE).select_related("tenant").order_by("since")
    )
    listed = [Row(str(ticket.tenant), _change(ticket), ticket.subject, ticket.since) for ticket in rows]
    return Queue(
        "Tickets that wait for us",
        reverse("admin:support_ticket_changelist") + "?status__exact=waiting_for_kore",
        listed,
        more,
    )


def _why(registration: KeyRegistration) -> str:
    by = f"by {registration.get_suspended_by_display()}" if registration.suspended_by else ""
    return f"{registration.get_status_display()} {by}".strip() + (
        f": {words.label(registration.reason)}" if registration.reason else ""
    )


def _impaired() -> Queue:
    bad = [Registration.SUSPENDED, Registration.UNREACHABLE, Registration.REJECTED]
    rows, more = _some(KeyRegistration.objects.filter(status__in=bad).select_related("tenant").order_by("moved_at"))
    listed = [Row(str(row.tenant), _change(row), _why(row), row.moved_at) for row in rows]
    return Queue(
        "Keys that are impaired, registrations that need a change",
        reverse("admin:keys_keyregistration_changelist"),
        listed,
        more,
    )


def _stuck() -> Queue:
    late = clock.now() - STUCK_AFTER
    tests, more_tests = _some(
        EncryptionTest.objects.open().filter(created_at__lt=late).select_related("tenant").order_by("created_at")
    )
    stopped = [RoleConfiguration.Status.FAILED, RoleConfiguration.Status.WAITING_FOR_APPROVAL]
    open_late = RoleConfiguration.objects.filter(status__in=["queued", "propagating"], created_at__lt=late)
    either = RoleConfiguration.objects.filter(status__in=stopped) | open_late
    configurations, more = _some(either.select_related("tenant").order_by("created_at"))
    listed = [Row(str(row.tenant), _change(row), f"Test: {row.get_status_display()}", row.created_at) for row in tests]
    for row in configurations:
        why = f"Configuration: {row.get_status_display()} {words.label(row.reason)}"
        listed.append(Row(str(row.tenant), _change(row), why, row.created_at))
    return Queue(
        "Work that got stuck or waits for an approval",
        reverse("admin:keys_roleconfiguration_changelist"),
        listed,
        more or more_tests,
    )


# Rows whose last run ended in an error that nobody expects, or that were given up: what to say of each, and how often.
PUT_OFF: list[tuple[str, Callable[[], QuerySet[Any]], str, str]] = [
    ("An event could not be followed", lambda: AuditEvent.objects.put_off(), "attempts", "at"),
    ("A mail could not be sent", lambda: Notice.objects.failing(), "attempts", "created_at"),
    ("A configuration broke", lambda: RoleConfiguration.objects.failing(), "failures", "created_at"),
    ("A test broke", lambda: EncryptionTest.objects.failing(), "failures", "created_at"),
    ("A branch key could not be attended to", lambda: BranchKey.objects.failing(), "failures", "created_at"),
    ("A probe broke", lambda: KeyHealth.objects.broken(), "probe_failures", "registration__moved_at"),
]


def _put_off() -> Queue | None:
    """What failed for a reason of ours and was put off, so that it holds up nothing else; None: nothing did."""
    rows, count = [], 0
    for what, found, times, since in PUT_OFF:
        there = found().count()
        count += there
        if there:
            for row in found().select_related("tenant").order_by(since)[:SHOWN]:
                sentence = f"{what} ({getattr(row, times)} times)"
                about = row.registration if isinstance(row, BranchKey | KeyHealth) and row.registration else row
                url = _change(row.tenant) if isinstance(about, BranchKey) else _change(about)
                rows.append(Row(str(row.tenant or "Kore.ai"), url, sentence, reduce(getattr, since.split("__"), row)))
    if not count:
        return None
    title = f"Put off after an error of ours ({count}): tell the engineers on call"
    return Queue(title, reverse("admin:tenants_auditevent_changelist"), rows[:SHOWN], count > SHOWN)


def _set_ups() -> Queue:
    unfinished = OnboardingStep.objects.filter(number__in=progress.JOURNEY).exclude(status__in=progress.OVER)
    tenants, more = _some(
        Tenant.objects.filter(pk__in=unfinished.values("tenant")).prefetch_related("steps").order_by("created_at")
    )
    rows = []
    for tenant in tenants:
        step = progress.waits_at(tenant)
        if step is not None:
            rows.append(
                Row(
                    str(tenant),
                    _change(tenant),
                    f"Step {step.number}, {step.name}: {progress.label(step.status, step.label)}",
                    step.since,
                )
            )
    return Queue(
        "Set-ups under way", reverse("admin:tenants_tenant_changelist"), sorted(rows, key=lambda row: row.since), more
    )
