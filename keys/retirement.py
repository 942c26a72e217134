"""The end of a registration: it is retired when neither a branch key nor a backup needs it, and its role leaves our
policy."""

from __future__ import annotations

import uuid

from django.db.models import Exists, OuterRef

from byokportal.translation import lazy
from keys import horizon, lifecycle
from keys.errors import RegistrationBusy
from keys.models import BranchKey, KeyHealth, KeyRegistration, RoleConfiguration
from tenants import audit, transactions
from tenants.audit import Actor

Status = KeyRegistration.Status


@transactions.atomic
def retire(registration: KeyRegistration) -> uuid.UUID | None:
    """Retire a registration that neither a branch key nor a backup needs any more,
    and ask for its role to leave our policy.

    Returns:
        The id of that `RoleConfiguration`; None when it is still needed or somebody else retired it.
    """
    if not _lock_retiring(registration) or not horizon.is_over(registration):
        return None
    return _retire(registration, actor=audit.SYSTEM, reason=lazy("no branch key needs it"))


@transactions.atomic
def end_horizon(registration: KeyRegistration, *, reason: str, actor: Actor) -> uuid.UUID | None:
    """Retire a registration that only backups need, now: its key is compromised.
    It is part of an operation, which asks who may.

    Raises:
        RegistrationBusy: it is not that far, or somebody was faster.
    """
    if not _lock_retiring(registration):
        raise RegistrationBusy(status=registration.status_in_english, wanted="given up")
    return _retire(registration, actor=actor, reason=f"backup horizon ended: {reason}")


def _lock_retiring(registration: KeyRegistration) -> bool:
    KeyRegistration.objects.select_for_update(no_key=True).get(pk=registration.pk)
    registration.refresh_from_db()
    return registration.status == Status.RETIRING and not registration.branch_keys.exists()


def _retire(registration: KeyRegistration, *, actor: Actor, reason: str) -> uuid.UUID | None:
    claim = registration.role_claim
    lifecycle.move(
        registration,
        Status.RETIRED,
        actor=actor,
        reason=reason,
        role_claim=None,
    )
    KeyHealth.objects.filter(registration=registration).update(next_probe_at=None, probe_claimed_at=None)
    horizon.forget(registration)
    # An older one of the same role had handed the claim on (`activation.activate`);
    # it needs the role longer than this one did.
    older = KeyRegistration.objects.filter(
        tenant=registration.tenant_id, status=Status.RETIRING, role_claim__startswith=f"{claim}#"
    ).first()
    if older is not None:
        KeyRegistration.objects.filter(pk=older.pk).update(role_claim=claim)
    return request_removal(registration)


def request_removal(registration: KeyRegistration) -> uuid.UUID | None:
    """Ask for a role that our policy names for this registration to be taken out again;
    None when it never was in it."""
    written = registration.configurations.filter(
        action=RoleConfiguration.Action.ADD,
        role_arn=registration.role_arn,
        attempts__gt=0,  # a worker has begun to write it
    )
    if not registration.role_arn or not written.exists():
        return None
    return RoleConfiguration.objects.create(
        tenant=registration.tenant,
        registration=registration,
        service_role=registration.tenant.service_role,
        action=RoleConfiguration.Action.REMOVE,
        role_arn=registration.role_arn,
        status=RoleConfiguration.Status.QUEUED,
    ).pk


def unneeded() -> list[KeyRegistration]:
    """Return retiring registrations that neither a branch key nor a backup needs:
    their horizon is over, or they never made one."""
    retiring = KeyRegistration.objects.filter(status=Status.RETIRING).filter(horizon.over())
    # asked for each of the few that retire, by index; never a list of all branch keys
    empty = retiring.filter(~Exists(BranchKey.objects.filter(registration=OuterRef("pk"))))
    empty = empty.select_related("tenant__service_role").order_by("?")
    return list(empty[:200])  # in no order: those that cannot be retired must not always be the first 200
