"""MOVES and move(): the one way a registration changes status (design.md 3)."""

from __future__ import annotations

import uuid
from typing import Any

from django.db.models import F
from django.db.models.functions import Greatest

from byokportal import clock, visibility
from keys.errors import RegistrationBusy
from keys.models import KeyRegistration, RegistrationMove
from tenants import audit, transactions
from tenants.audit import Actor
from tenants.models import Tenant

S = KeyRegistration.Status

MOVES: dict[str, frozenset[str]] = {
    S.DRAFT: frozenset({S.SUBMITTED, S.RETIRED}),
    S.SUBMITTED: frozenset({S.CONFIGURING, S.DRAFT, S.RETIRED}),
    S.CONFIGURING: frozenset({S.TESTING, S.REJECTED, S.RETIRED}),
    S.TESTING: frozenset({S.ACTIVE, S.REJECTED, S.DRAFT, S.RETIRED}),
    S.REJECTED: frozenset({S.SUBMITTED, S.CONFIGURING, S.TESTING, S.DRAFT, S.RETIRED}),
    S.ACTIVE: frozenset({S.UNREACHABLE, S.SUSPENDED, S.RETIRING}),
    S.UNREACHABLE: frozenset({S.ACTIVE, S.SUSPENDED, S.RETIRING}),
    S.SUSPENDED: frozenset({S.ACTIVE, S.UNREACHABLE, S.RETIRING}),
    S.RETIRING: frozenset({S.RETIRED}),
    S.RETIRED: frozenset(),
}
STOPPING = frozenset({S.SUSPENDED, S.RETIRED})  # caches everywhere must go: the tenant's generation grows


@transactions.atomic
def move(registration: KeyRegistration, to: str, *, actor: Actor, reason: str = "", **facts: Any) -> None:
    """Move the registration; the UPDATE names the status that we expect, so two movers cannot both win.

    Args:
        reason: an error or check code, or the words a person gave.
        facts: fields that the new status implies (`suspended_by`, `activated_at`, …), set in the same UPDATE.

    Raises:
        RegistrationBusy: the table does not have this move, or somebody moved it first.
    """
    old = registration.status
    if to not in MOVES[old]:
        raise RegistrationBusy(status=old, wanted=to)
    now = clock.now()
    facts = {"suspended_by": "", "reason": reason[:200], **facts, "status": to, "moved_at": now}
    if not KeyRegistration.objects.filter(pk=registration.pk, status=old).update(**facts):
        raise RegistrationBusy(status="changing", wanted=to)
    changed(registration.tenant_id, drop=to in STOPPING and old in KeyRegistration.SERVING)
    tenant = Tenant.objects.get(pk=registration.tenant_id)
    RegistrationMove.objects.create(
        tenant=tenant,
        registration=registration,
        old_status=old,
        new_status=to,
        reason=reason[:500],
        actor=actor.label,
        generation=tenant.key_generation,
        at=now,
    )
    audit.record(
        "keys.registration.moved", tenant=tenant, actor=actor, target=registration, old=old, new=to, reason=reason
    )
    for name, value in facts.items():
        setattr(registration, name, value)


def changed(tenant_id: uuid.UUID, *, drop: bool = False) -> None:
    """Tell every process that what it knows of the tenant's key is old (`keys.datakeys.snapshots` looks once a second).

    Whoever changes a serving registration, a branch key or the latency calls this in the same transaction.

    Args:
        drop: the unwrapped branch keys must go too.
    """
    facts: dict[str, Any] = {"key_changed_at": clock.stamp()}
    if drop:
        facts |= stop()
    Tenant.objects.filter(pk=tenant_id).update(**facts)


def stop() -> dict[str, Any]:
    """Return what a stop writes on the tenant's row: the next generation, and by which transaction it becomes visible.

    The generation is the larger of the last one + 1 and the database's clock in milliseconds: a restored database
    holds an old one, and one more than that could be a generation that processes have seen already.
    """
    return {
        "key_generation": Greatest(F("key_generation") + 1, clock.milliseconds()),
        "key_stopped_in": visibility.Mark(),
    }
