"""The accounts of platform services: what they may do for whom, their client secrets, and the ways to shut one out."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta

from byokportal import clock
from byokportal.errors import InvalidInput
from tenants import audit, roles, tokens, transactions
from tenants.audit import Actor
from tenants.errors import NothingToRevoke, OrganisationClosed, RotationRunning, ServiceAccountStands
from tenants.models import AccessToken, ClientSecret, ServiceAccount, Tenant
from tenants.services.words import name_of, reason_of

OVERLAP_HOURS = 24  # for which the secret before the present one counts at most


@transactions.atomic
def create_service_account(
    name: str, *, tenants: Sequence[Tenant], scopes: Sequence[str], has_all_tenants: bool = False, actor: Actor
) -> tuple[ServiceAccount, str]:
    """Create a platform service's account; the raw client secret is shown once."""
    roles.require(actor, "tenants.manage_service_accounts")
    account = ServiceAccount.objects.create(name=name_of(name), scopes=_scopes(scopes), has_all_tenants=has_all_tenants)
    account.tenants.set(_some(tenants, has_all_tenants))
    secret = _new_secret(account)
    _record("tenants.service_account.created", account, tenants, actor=actor, scopes=account.scopes)
    return account, secret


@transactions.atomic
def rotate_secret(account: ServiceAccount, *, hours: int = OVERLAP_HOURS, reason: str, actor: Actor) -> str:
    """Give a service account a new client secret and return it, to be shown once.

    Args:
        hours: for which the old secret goes on counting, 0 to 24, so that the service can change over; with 0 it ends
            now, and every token made with an old secret within 5 s.

    Raises:
        RotationRunning: there are two secrets already; with 0 hours there is no such doubt.
    """
    roles.require(actor, "tenants.manage_service_accounts")
    reason = reason_of(reason)
    if not 0 <= hours <= OVERLAP_HOURS:
        raise InvalidInput(errors={"hours": [f"The old secret counts for 0 to {OVERLAP_HOURS} hours."]})
    held, now = _held(account), clock.now()
    if hours:
        old = held.secrets.valid(now).exclude(expires_at=None).first()
        if old is not None and old.expires_at is not None:
            raise RotationRunning(until=f"{old.expires_at:%Y-%m-%d %H:%M} UTC")
        held.secrets.filter(expires_at=None, revoked_at=None).update(expires_at=now + timedelta(hours=hours))
    else:
        _revoke(held, held.secrets.filter(revoked_at=None).values_list("pk", flat=True))
    secret = _new_secret(held)
    _record("tenants.service_account.secret_rotated", held, held.tenants.all(), actor=actor, hours=hours, reason=reason)
    return secret


@transactions.atomic
def revoke_old_secret(account: ServiceAccount, *, reason: str, actor: Actor) -> None:
    """End the secret before the present one now, and within 5 s every token made with it.

    Raises:
        NothingToRevoke: only the present secret counts.
    """
    roles.require(actor, "tenants.manage_service_accounts")
    reason = reason_of(reason)
    held = _held(account)
    old = held.secrets.valid(clock.now()).exclude(expires_at=None)
    if not _revoke(held, old.values_list("pk", flat=True)):
        raise NothingToRevoke
    _record("tenants.service_account.secret_revoked", held, held.tenants.all(), actor=actor, reason=reason)


@transactions.atomic
def disable_service_account(account: ServiceAccount, *, reason: str, actor: Actor) -> None:
    """Shut a service account out: its credentials count for nothing, its tokens end within 5 s.

    Raises:
        ServiceAccountStands: it is disabled already.
    """
    roles.require(actor, "tenants.manage_service_accounts")
    reason = reason_of(reason)
    held, now = _held(account), clock.now()
    if not ServiceAccount.objects.filter(pk=held.pk, disabled_at=None).update(disabled_at=now):
        raise ServiceAccountStands(status="disabled")
    _end_tokens(held)
    _record("tenants.service_account.disabled", held, held.tenants.all(), actor=actor, reason=reason)


@transactions.atomic
def enable_service_account(account: ServiceAccount, *, reason: str, actor: Actor) -> None:
    """Let a disabled service account in again, with the secrets that it has; no token of before comes back.

    Raises:
        ServiceAccountStands: it is not disabled.
    """
    roles.require(actor, "tenants.manage_service_accounts")
    reason = reason_of(reason)
    held = _held(account)
    if not ServiceAccount.objects.filter(pk=held.pk).exclude(disabled_at=None).update(disabled_at=None):
        raise ServiceAccountStands(status="enabled")
    _end_tokens(held)  # one that was issued at the moment of the disabling
    _record("tenants.service_account.enabled", held, held.tenants.all(), actor=actor, reason=reason)


@transactions.atomic
def change_service_account(
    account: ServiceAccount,
    *,
    scopes: Sequence[str],
    tenants: Sequence[Tenant],
    has_all_tenants: bool = False,
    reason: str,
    actor: Actor,
) -> None:
    """Give a service account other permissions or tenants; its tokens lose within 5 s what it loses, and gain nothing.

    Raises:
        InvalidInput: a permission that there is not, or nobody left to act for.
    """
    roles.require(actor, "tenants.manage_service_accounts")
    reason, wanted = reason_of(reason), _scopes(scopes)
    held = _held(account)
    before, after = set(held.tenants.all()), set(_some(tenants, has_all_tenants))
    stays = held.scopes == wanted and held.has_all_tenants == has_all_tenants
    if stays and before == after:
        return
    ServiceAccount.objects.filter(pk=held.pk).update(scopes=wanted, has_all_tenants=has_all_tenants)
    held.tenants.set(after)
    facts = {"scopes": wanted, "has_all_tenants": has_all_tenants, "reason": reason}
    # Who was reached as one of all was in before, and who is reached as one of all stays in.
    let_in = set() if held.has_all_tenants else after - before
    shut_out = set() if has_all_tenants else before - after
    _record(
        "tenants.service_account.changed",
        held,
        () if stays else (before | after) - let_in - shut_out,
        actor=actor,
        **facts,
    )
    for event, touched in (
        ("tenants.service_account.let_in", let_in),
        ("tenants.service_account.shut_out", shut_out),
    ):
        for tenant in touched:
            _write(event, held, tenant, actor=actor, **facts)


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


def _held(account: ServiceAccount) -> ServiceAccount:
    """Return the account as it stands now, its row held:
    of two operations at once the second sees what the first did."""
    return ServiceAccount.objects.select_for_update(no_key=True).get(pk=account.pk)


def _scopes(scopes: Collection[str]) -> list[str]:
    if not scopes or set(scopes) - set(roles.SCOPES):
        raise InvalidInput(errors={"scopes": [f"Choose from {', '.join(roles.SCOPES)}."]})
    return sorted(set(scopes))


def _some(tenants: Sequence[Tenant], has_all_tenants: bool) -> Sequence[Tenant]:
    if not tenants and not has_all_tenants:
        raise InvalidInput(errors={"tenants": ["Name at least one tenant, or all of them."]})
    if any(tenant.closed_at is not None for tenant in tenants):
        raise OrganisationClosed
    return tenants


def _new_secret(account: ServiceAccount) -> str:
    raw = tokens.new_secret("cs")
    ClientSecret.objects.create(service_account=account, digest=tokens.digest(raw))
    return raw


def _revoke(account: ServiceAccount, secrets: Iterable[int]) -> int:
    """End secrets and the tokens made with them, and return how many;
    a token that is issued at this moment is refused by its secret."""
    chosen, now = list(secrets), clock.now()
    account.secrets.filter(pk__in=chosen).update(revoked_at=now)
    AccessToken.objects.filter(secret__in=chosen, revoked_at=None).update(revoked_at=now)
    return len(chosen)


def _end_tokens(account: ServiceAccount) -> None:
    AccessToken.objects.filter(service_account=account, revoked_at=None).update(revoked_at=clock.now())


def _record(event: str, account: ServiceAccount, tenants: Iterable[Tenant], *, actor: Actor, **facts: object) -> None:
    """Write a line into our log and into that of each tenant named; an account for all tenants stands in ours alone."""
    for tenant in (None, *tenants):
        _write(event, account, tenant, actor=actor, **facts)


def _write(event: str, account: ServiceAccount, tenant: Tenant | None, *, actor: Actor, **facts: object) -> None:
    audit.record(event, tenant=tenant, actor=actor, target=account, name=account.name, **facts)
