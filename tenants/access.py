"""From an id in an address to an object: the only way in, and not yours is not there."""

from __future__ import annotations

import uuid
from functools import partial
from typing import TYPE_CHECKING

from django.db.models import Exists, OuterRef, Q, QuerySet

from byokportal.errors import NotAllowed, NotFound
from tenants import roles
from tenants.authentication import Caller
from tenants.memory import Memory
from tenants.models import Member, ServiceAccount, Tenant

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

_served: Memory[Tenant] = Memory()


def member_for(user: AbstractBaseUser | AnonymousUser, tenant_id: uuid.UUID | str) -> Member:
    """Return the person's membership of a tenant.

    Raises:
        NotFound: there is no such tenant, or the person is not in it.
    """
    member = (
        Member.objects.filter(user_id=user.pk or 0, tenant_id=_uuid(tenant_id))
        .select_related("tenant__service_role", "user")
        .first()
    )
    if member is None:
        raise NotFound
    return member


def tenant_for(caller: Caller, tenant_id: uuid.UUID | str) -> Tenant:
    """Return the tenant that a caller of the API may act for.

    Raises:
        NotFound: there is no such tenant, or it is not the caller's.
    """
    wanted = _uuid(tenant_id)
    holder = caller.member or caller.token.invitation
    if holder is not None:
        if holder.tenant_id != wanted:
            raise NotFound
        return holder.tenant
    account = caller.service_account
    assert account is not None
    tenant = tenants_of(account).filter(pk=wanted).select_related("service_role").first()
    if tenant is None:
        raise NotFound
    return tenant


def tenants_of(account: ServiceAccount) -> QuerySet[Tenant]:
    """Return the tenants that a service account may act for now, as the database says:
    the row in hand may be some seconds old."""
    has_all = ServiceAccount.objects.filter(pk=account.pk, has_all_tenants=True)
    named = ServiceAccount.tenants.through.objects.filter(serviceaccount=account.pk, tenant=OuterRef("pk"))
    return Tenant.objects.filter(Q(Exists(has_all)) | Q(Exists(named)))


def tenant_served_by(caller: Caller, tenant_id: str, *, may_wait: bool = True) -> Tenant | None:
    """Return the tenant that a caller may act for, as `tenant_for` does; a yes is remembered for 5 seconds.

    For the requests for data keys. A service that loses a tenant loses it within that time; what stops a tenant's key
    is not read from this row.

    Args:
        may_wait: it may be looked up in the database.

    Returns:
        The tenant; None when it has to be looked up and the request must not wait.
    """
    # One tenant can be spelt in many ways.
    wanted = _uuid(tenant_id)
    key, ask = (caller.token.pk, wanted), partial(tenant_for, caller, wanted)
    tenant = _served.get(key, ask)
    return _served.look_up(key, ask) if tenant is None and may_wait else tenant


def require_member(caller: Caller) -> None:
    """Raise unless the token is an automation token, which acts as a member.

    Raises:
        NotAllowed: a service account has no business with set-up, log or tickets.
    """
    if caller.actor.tenant_id is None:
        raise NotAllowed(permission="membership of the organisation")


def require_scope(caller: Caller, operation: str) -> None:
    """Raise unless the token is a service account's with the scope that the operation needs,
    and the account still has it.

    A token loses what the account lost.

    Args:
        operation: a row of `tenants.roles.OPERATIONS`.

    Raises:
        NotAllowed: it is not.
    """
    account, scope = caller.service_account, roles.OPERATIONS[operation].scope
    if account is None or scope not in caller.token.scopes or scope not in account.scopes:
        raise NotAllowed(permission=scope)


def forget_all() -> None:
    """Forget every remembered tenant (tests start anew)."""
    _served.clear()


def _uuid(value: uuid.UUID | str) -> uuid.UUID:
    try:
        return value if isinstance(value, uuid.UUID) else uuid.UUID(value)
    except ValueError:
        raise NotFound from None
