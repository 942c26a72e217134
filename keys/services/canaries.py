"""Operations of canaries: our own tenants share their ARNs and are tested again by the same operations as customers."""

from __future__ import annotations

from keys.arns import KeyArn, RoleArn
from keys.errors import NoRegistration
from keys.models import Canary, KeyRegistration
from keys.services.proof import start_test
from keys.services.registration import save_draft, submit_registration
from tenants import roles, transactions
from tenants.audit import Actor
from tenants.models import Tenant

Status = KeyRegistration.Status


@transactions.atomic
def advance_canary(tenant: Tenant, *, actor: Actor) -> None:
    """Let a canary whose role and key were made share them; one that was rejected is tested again.

    Raises:
        NoRegistration: it is no canary, or nothing of it was made yet.
        DomainError: as `save_draft`, `submit_registration` and `start_test` do.
    """
    roles.require(actor, "keys.advance_canary")
    canary = Canary.objects.filter(tenant=tenant).exclude(stage=Canary.Stage.MAKING).first()
    if canary is None:
        raise NoRegistration
    present = KeyRegistration.objects.of(tenant).not_retired().order_by("-created_at").first()
    if present is None or present.status == Status.DRAFT:
        key, role = KeyArn.parse(canary.key_arn), RoleArn.parse(canary.role_arn)
        save_draft(tenant, key_arn=key, role_arn=role, actor=actor)
        submit_registration(tenant, actor=actor)
    elif present.status == Status.REJECTED:
        start_test(tenant, actor=actor, reason="the canary is tried again")
