"""The accounts of platform services and their client secrets."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from byokportal import clock
from byokportal.errors import InvalidInput
from tenants import audit, roles, tokens, transactions
from tenants.audit import Actor
from tenants.models import AccessToken, ServiceAccount, Tenant
from tenants.services.words import name_of, reason_of


@transactions.atomic
def create_service_account(
    name: str, *, tenants: Sequence[Tenant], scopes: Sequence[str], has_all_tenants: bool = False, actor: Actor
) -> tuple[ServiceAccount, str]:
    """Create a platform service's account; the raw client secret is shown once."""
    roles.require(actor, "tenants.manage_service_accounts")
    unknown = sorted(set(scopes) - set(tokens.SCOPES))
    if unknown or not scopes:
        raise InvalidInput(errors={"scopes": [f"Choose from {', '.join(tokens.SCOPES)}."]})
    if not tenants and not has_all_tenants:
        raise InvalidInput(errors={"tenants": ["Name at least one tenant, or all of them."]})
    secret = tokens.new_secret("cs")
    account = ServiceAccount.objects.create(
        name=name_of(name),
        scopes=sorted(set(scopes)),
        has_all_tenants=has_all_tenants,
        secret_digest=tokens.digest(secret),
    )
    account.tenants.set(tenants)
    audit.record(
        "tenants.service_account.created",
        tenant=None,
        actor=actor,
        target=account,
        name=account.name,
        scopes=account.scopes,
    )
    for tenant in tenants:
        audit.record(
            "tenants.service_account.created",
            tenant=tenant,
            actor=actor,
            target=account,
            name=account.name,
            scopes=account.scopes,
        )
    return account, secret


@transactions.atomic
def rotate_secret(account: ServiceAccount, *, reason: str, actor: Actor) -> str:
    """Give a service account a new client secret; the old one and every token end now."""
    roles.require(actor, "tenants.manage_service_accounts")
    reason = reason_of(reason)
    secret = tokens.new_secret("cs")
    ServiceAccount.objects.filter(pk=account.pk).update(secret_digest=tokens.digest(secret))
    AccessToken.objects.filter(service_account=account, revoked_at=None).update(revoked_at=clock.now())
    audit.record(
        "tenants.service_account.secret_rotated",
        tenant=None,
        actor=actor,
        target=account,
        name=account.name,
        reason=reason,
    )
    return secret


@transactions.atomic
def note_refused_client(client_id: str, *, address: str, count: int) -> None:
    """Write down that client credentials were refused; an id that is none of ours is not repeated.

    Args:
        count: how often that was so from this address within the hour.
    """
    try:
        account = ServiceAccount.objects.filter(pk=uuid.UUID(client_id)).first()
    except ValueError:
        account = None
    name = f"the service account {account.name}" if account else "an unknown service account"
    audit.record(
        "tenants.client.refused",
        tenant=None,
        actor=audit.SYSTEM,
        target=account,
        client=name,
        address=address,
        count=count,
    )
