"""Operations of revocation drills: start one, cancel it (design.md 8)."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings

from byokportal import clock
from byokportal.translation import lazy
from keys import errors, tasks
from keys.health import measuring
from keys.models import KeyHealth, KeyRegistration, RevocationDrill
from tenants import audit, roles, transactions
from tenants.audit import Actor
from tenants.models import Tenant

# seconds: with a latency of 0 nothing is kept, and what a process knows of the key is never older (design.md 8)
SNAPSHOT_AGE = 5


@transactions.atomic
def start_drill(tenant: Tenant, *, actor: Actor) -> RevocationDrill:
    """Start a drill; while one is on, that one is returned.

    Raises:
        KeyNotActive: no registration serves.
        RegistrationBusy: it serves, but AWS does not answer well now, so there is nothing to rehearse.
    """
    roles.require(actor, "keys.drill", tenant)
    registration = KeyRegistration.objects.of(tenant).serving().select_for_update(no_key=True).first()
    if registration is None:
        raise errors.KeyNotActive
    running: RevocationDrill | None = RevocationDrill.objects.of(tenant).open().first()
    if running is not None:
        return running
    if registration.status != KeyRegistration.Status.ACTIVE:
        raise errors.RegistrationBusy(status=registration.status_in_english, wanted="drilled")
    now = clock.now()
    until = now + timedelta(seconds=settings.DRILL_SECONDS)
    drill = RevocationDrill.objects.create(
        tenant=tenant,
        registration=registration,
        started_by=actor.label[:200],
        bound_seconds=max(tenant.revocation_latency, SNAPSHOT_AGE),
        started_at=now,
        until=until,
    )
    # From now on it is asked every few seconds, on the way that every probe goes.
    KeyHealth.objects.filter(registration=registration).update(dense_until=until, next_probe_at=now)
    audit.record("keys.drill.started", tenant=tenant, actor=actor, target=drill, seconds=drill.bound_seconds)
    tasks.enqueue(tasks.probe, registration_id=str(registration.pk))
    return drill


@transactions.atomic
def cancel_drill(drill: RevocationDrill, *, actor: Actor) -> RevocationDrill:
    """End a drill before it is done; the key goes its ordinary way, whatever state it is in. Twice is once."""
    roles.require(actor, "keys.drill", drill.tenant)
    mine = RevocationDrill.objects.select_for_update(no_key=True).get(pk=drill.pk)
    if mine.finished_at is None:
        measuring.end(mine, RevocationDrill.Status.CANCELLED, lazy("cancelled"), actor=actor)
        mine.save()
    return mine
