"""What opens an organisation's data is destroyed: branch keys, earlier wrappings, registrations, links; and what there
was is kept in facts, for the receipts."""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import timedelta
from typing import Any

from byokportal import clock
from keys import lifecycle, retirement
from keys.errors import PolicyDrift
from keys.models import (
    ArnProposal,
    BranchKey,
    BranchKeyWrapping,
    KeyHealth,
    KeyRegistration,
    RegistrationMove,
    RoleConfiguration,
    ServiceRolePolicy,
    SetupLink,
)
from tenants.audit import Actor
from tenants.models import Tenant

Status = KeyRegistration.Status
REMOVED_AGAIN = timedelta(hours=1)


def found(tenant: Tenant) -> dict[str, Any]:
    """Return what there is to be destroyed, in values that JSON has."""
    keys = list(BranchKey.objects.of(tenant).values_list("pk", "key_arn", "registration", "escrowed_at"))
    wrappings = list(BranchKeyWrapping.objects.filter(tenant=tenant).values_list("key_arn", "registration"))
    mine = Counter((arn, registration is None) for _, arn, registration, _ in keys)
    earlier = Counter((arn, registration is None) for arn, registration in wrappings)
    return {
        "branch_keys": sorted(str(pk) for pk, *_ in keys),
        "wrappings": len(wrappings),
        "under": [
            {"key_arn": arn, "is_ours": is_ours, "branch_keys": mine[arn, is_ours], "wrappings": earlier[arn, is_ours]}
            for arn, is_ours in sorted({*mine, *earlier})
        ],
        "copied": sum(1 for *_, escrowed_at in keys if escrowed_at is not None),
        "latency": tenant.revocation_latency,
    }


def destroy(tenant: Tenant, *, reason: str, actor: Actor) -> list[uuid.UUID]:
    """Destroy branch keys and wrappings, retire what is left of the registrations, and end the links of the set-up.

    It is part of an operation, in the transaction that has closed the organisation: the database lets go of wrappings
    before their time for that reason alone.

    Returns:
        the ids of the `RoleConfiguration` that take its roles out of our policies.
    """
    BranchKeyWrapping.objects.filter(tenant=tenant).delete()
    BranchKey.objects.of(tenant).delete()
    removals = []
    for registration in KeyRegistration.objects.of(tenant).not_retired().order_by("created_at"):
        if registration.status == Status.SUSPENDED:
            lifecycle.move(registration, Status.RETIRING, actor=actor, reason=f"closed: {reason}"[:200])
        if registration.status == Status.RETIRING:
            removals.append(retirement.end_horizon(registration, reason=f"closed: {reason}"[:170], actor=actor))
    now = clock.now()
    KeyHealth.objects.filter(tenant=tenant).update(next_probe_at=None, probe_claimed_at=None)
    SetupLink.objects.filter(tenant=tenant, revoked_at=None).update(revoked_at=now)
    ArnProposal.objects.filter(tenant=tenant, status=ArnProposal.Status.PENDING).update(
        status=ArnProposal.Status.REFUSED, decided_at=now, decided_by=actor.label[:200]
    )
    _tell_services(tenant, actor)
    lifecycle.changed(tenant.pk, drop=True)
    return [one for one in removals if one is not None]


def remove_again(tenant: Tenant, role_arns: list[str]) -> list[uuid.UUID]:
    """Queue anew the removals of these roles that ended in an error, an hour later each time: no person of a closed
    organisation could. Drift is somebody's to resolve first.

    It is part of an operation, in its transaction.

    Returns:
        the ids of the `RoleConfiguration` to enqueue.
    """
    now = clock.now()
    mine = RoleConfiguration.objects.filter(tenant=tenant, action=RoleConfiguration.Action.REMOVE)
    failed = mine.filter(
        status=RoleConfiguration.Status.FAILED, role_arn__in=role_arns, finished_at__lt=now - REMOVED_AGAIN
    )
    failed = failed.exclude(reason=PolicyDrift.code).exclude(
        registration__in=mine.filter(status__in=RoleConfiguration.OPEN).values("registration")
    )
    newest = {one.registration_id: one.pk for one in failed.order_by("created_at")}
    mine.filter(pk__in=newest.values()).update(
        status=RoleConfiguration.Status.QUEUED, due_at=now, claimed_at=None, finished_at=None
    )
    return list(newest.values())


def retire_serving(registration: KeyRegistration, *, actor: Actor) -> None:
    """Let a registration serve no more that a restored database has as serving."""
    lifecycle.move(registration, Status.RETIRING, actor=actor, reason="closed before the restore")


def _tell_services(tenant: Tenant, actor: Actor) -> None:
    """Leave a move that services find among the changes of their tenants' keys, so that they purge what they hold."""
    last = KeyRegistration.objects.of(tenant).order_by("-moved_at", "-created_at").first()
    if last is not None:
        tenant.refresh_from_db(fields=["key_generation"])
        RegistrationMove.objects.create(
            tenant=tenant,
            registration=last,
            old_status=last.status,
            new_status=Status.RETIRED,
            reason="closed",
            actor=actor.label,
            generation=tenant.key_generation,
            at=clock.now(),
        )


def policies_name(tenant: Tenant) -> list[str]:
    """Return the roles of an organisation that our policies have not let go of yet: as the rows say what stands in IAM,
    so that a removal which failed counts too. A role that another organisation has registered since is that one's."""
    mine = KeyRegistration.objects.of(tenant).exclude(role_arn="")
    arns = set(mine.values_list("role_arn", flat=True))
    others = KeyRegistration.objects.exclude(tenant=tenant).not_retired().filter(role_arn__in=arns)
    policies = ServiceRolePolicy.objects.filter(service_role=tenant.service_role_id).values_list("role_arns", flat=True)
    named = {arn for row in policies for arn in row}
    return sorted((arns & named) - set(others.values_list("role_arn", flat=True)))
