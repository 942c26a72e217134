"""From an id in an address to an object: the only way in, and not yours is not there."""

from __future__ import annotations

import hashlib
import re
import uuid
from functools import partial
from typing import TYPE_CHECKING

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest

from byokportal.errors import NotAllowed, NotFound
from tenants import authentication, roles, tokens
from tenants.authentication import Caller
from tenants.errors import SignOnNeeded
from tenants.memory import Memory
from tenants.models import Member, ServiceAccount, Tenant, needs_sign_on

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_served: Memory[tuple[Caller, Tenant]] = Memory()


def member_for(request: HttpRequest, tenant_id: uuid.UUID | str) -> Member:
    """Return the membership of a tenant that the person's sign-in reaches.

    Raises:
        NotFound: there is no such tenant, the person is not in it, or signed in by another tenant's connection.
        SignOnNeeded: the tenant is entered by its own sign-on alone.
    """
    member = membership(request.user, tenant_id)
    by_sign_on = getattr(request, "sign_on", None)
    if by_sign_on is None:
        if member.needs_sign_on:  # type: ignore[attr-defined]
            raise SignOnNeeded(tenant=member.tenant_id)
    elif by_sign_on.identity.member_id != member.pk:
        raise NotFound
    return member


def membership(user: AbstractBaseUser | AnonymousUser, tenant_id: uuid.UUID | str) -> Member:
    """Return the person's membership of a tenant, however they signed in; pages ask `member_for`.

    Raises:
        NotFound: there is no such tenant, or the person is not in it.
    """
    others = Member.objects.filter(user_id=OuterRef("user_id")).exclude(pk=OuterRef("pk"))
    member = (
        Member.objects.filter(user_id=user.pk or 0, tenant_id=_uuid(tenant_id))
        .annotate(needs_sign_on=needs_sign_on(), has_others=Exists(others))
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
        if holder.tenant_id != wanted or holder.tenant.closed_at is not None:
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
    return Tenant.objects.filter(Q(Exists(has_all)) | Q(Exists(named)), closed_at=None)


def served(authorization: str, tenant_id: str, *, may_wait: bool = True) -> tuple[Caller, Tenant] | None:
    """Return who sends such a header and the tenant that they may act for, as `authenticated` and `tenant_for` do.

    For the requests for data keys: a yes is remembered for 5 seconds. A token that is revoked, and a service that loses
    a tenant, end within that time; a token that expires ends at once. What stops a tenant's key is not read from here.

    Args:
        may_wait: it may be looked up in the database.

    Returns:
        Caller and tenant; None when they have to be looked up and the request must not wait.

    Raises:
        NotAuthenticated: there is no token, or none that is valid.
        NotFound: there is no such tenant, or it is not the caller's.
    """
    # One tenant can be spelt in many ways, and must not fill the memory with them. The token itself is not kept.
    wanted = tenant_id if CANONICAL.fullmatch(tenant_id) else str(_uuid(tenant_id))
    key = (hashlib.sha256(authorization.encode("latin-1", "replace")).digest(), wanted)
    ask = partial(_looked_up, authorization, wanted)
    found = _served.get(key, ask)
    if found is not None and not tokens.has_expired(found[0].token):
        return found
    if not may_wait:
        authentication.refuse_unseen(authorization)
        return None
    return _served.look_up(key, ask)


def _looked_up(authorization: str, tenant_id: str) -> tuple[Caller, Tenant]:
    caller = authentication.verified(authorization)
    return caller, tenant_for(caller, tenant_id)


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
