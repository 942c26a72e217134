"""Makes the rows of the fleet from what the log says has changed; the worker does it every few seconds."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import OuterRef, Subquery

from byokportal import clock
from keys.models import CheckResult, EncryptionTest, KeyHealth, KeyRegistration
from support.fleet.state import Facts, row_of
from support.models import FleetFigures, FleetRow
from tenants.models import AuditEvent, OnboardingStep, Tenant

CHUNK = 500
# Lines of the log that one run reads. A run that fills it goes on in the next one.
LINES = 5_000
# A line may be committed after one with a higher id: no transaction here lasts longer.
LANDS_WITHIN = timedelta(seconds=90)
# Nearly every line lands within this: a row that was made later is made once more, when the line passes the cursor.
MOSTLY_LANDS_WITHIN = timedelta(seconds=10)
# Tenants whose row is made anew a minute whatever the log says, the one longest ago first.
ANEW = 500
FIELDS = [field.attname for field in FleetRow._meta.concrete_fields if field.name not in {"tenant", "looked_at"}]


def follow() -> int:
    """Make the rows of the tenants that the log names since the last run; safe to run twice and by two workers.

    The cursor stays behind what is younger than `LANDS_WITHIN`, so that no line is passed over that was written by a
    transaction which had not ended. A cursor at 0 reads the whole log, which is how the first rows come to be.

    Returns:
        how many rows were written.
    """
    figures, _ = FleetFigures.objects.get_or_create(pk=1)
    lines = list(
        AuditEvent.objects.filter(pk__gt=figures.through).order_by("pk").values_list("pk", "tenant", "at")[:LINES]
    )
    if not lines:
        return 0
    settled = clock.now() - LANDS_WITHIN
    named: dict[uuid.UUID, list[datetime]] = defaultdict(list)
    for _, tenant, at in lines:
        if tenant is not None:
            named[tenant].append(at)
    made = dict(FleetRow.objects.filter(pk__in=named).values_list("pk", "looked_at"))
    written = refresh(
        tenant
        for tenant, times in named.items()
        if tenant not in made or min(times) < settled or max(times) > made[tenant] - MOSTLY_LANDS_WITHIN
    )
    through = max((pk for pk, _, at in lines if at < settled), default=figures.through)
    FleetFigures.objects.filter(pk=1, through__lt=through).update(through=through)
    return written


def refresh_oldest() -> int:
    """Make the rows anew that were made longest ago: whatever a line of the log did not tell is right within hours."""
    return refresh(FleetRow.objects.order_by("looked_at").values_list("tenant", flat=True)[:ANEW])


def refresh(tenants: Iterable[uuid.UUID]) -> int:
    """Make the rows of these tenants; returns how many differed from what was there.

    Canary tenants are ours and have none; those of closed organisations go.
    """
    ids, written = list(tenants), 0
    for start in range(0, len(ids), CHUNK):
        written += _refresh(ids[start : start + CHUNK])
    return written


def _refresh(ids: Sequence[uuid.UUID]) -> int:
    now = clock.now()
    FleetRow.objects.filter(pk__in=ids, tenant__closed_at__isnull=False).delete()
    made = [row_of(facts) for facts in _facts(ids)]
    known = FleetRow.objects.in_bulk(ids)
    changed = [row for row in made if row.pk not in known or _differ(row, known[row.pk])]
    for row in changed:
        row.looked_at = now
    FleetRow.objects.bulk_create(
        changed, update_conflicts=True, unique_fields=["tenant"], update_fields=[*FIELDS, "looked_at"], batch_size=200
    )
    FleetRow.objects.filter(pk__in=[row.pk for row in made]).exclude(looked_at=now).update(looked_at=now)
    return len(changed)


def _differ(one: FleetRow, other: FleetRow) -> bool:
    return any(getattr(one, name) != getattr(other, name) for name in FIELDS)


def _facts(ids: Sequence[uuid.UUID]) -> list[Facts]:
    newest = EncryptionTest.objects.filter(tenant=OuterRef("pk")).order_by("-created_at").values("pk")[:1]
    tenants: list[Any] = list(
        Tenant.objects.filter(pk__in=ids, is_canary=False, closed_at=None).annotate(newest_test=Subquery(newest))
    )
    test_ids = [tenant.newest_test for tenant in tenants if tenant.newest_test]
    tests = EncryptionTest.objects.in_bulk(test_ids)
    failed: dict[Any, CheckResult] = {}
    for check in CheckResult.objects.filter(test__in=test_ids, verdict="fail").order_by("test", "position"):
        failed.setdefault(check.test_id, check)
    steps = _by_tenant(OnboardingStep.objects.filter(tenant__in=ids).order_by("number"))
    present = KeyRegistration.objects.filter(tenant__in=ids).exclude(status=KeyRegistration.Status.RETIRED)
    registrations = _by_tenant(present.order_by("-created_at"))
    serving = KeyHealth.objects.filter(tenant__in=ids, registration__status__in=KeyRegistration.SERVING)
    health = {row.tenant_id: row for row in serving.only("tenant_id", "registration_id", "key_facts")}
    return [
        Facts(
            tenant,
            steps[tenant.pk],
            registrations[tenant.pk],
            tests.get(tenant.newest_test),
            failed.get(tenant.newest_test),
            health.get(tenant.pk),
        )
        for tenant in tenants
    ]


def _by_tenant(rows: Iterable[Any]) -> dict[uuid.UUID, list[Any]]:
    found: dict[uuid.UUID, list[Any]] = defaultdict(list)
    for row in rows:
        found[row.tenant_id].append(row)
    return found
