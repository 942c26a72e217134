"""Automation tokens: made, shown once, revoked."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet

from byokportal import clock
from byokportal.errors import InvalidInput, NotFound
from byokportal.translation import lazy
from byokportal.translation import translate as _
from tenants import approvals, audit, roles, tokens, transactions
from tenants.approvals import HELD, Held
from tenants.audit import Actor
from tenants.models import AccessToken, Invitation, Member, Role, Tenant
from tenants.services import guards
from tenants.services.words import name_of

AUTOMATION_TOKENS = 20  # a member's valid tokens at most
DAYS, LONGEST_DAYS, LONGEST_DAYS_WITH_PEOPLE = 90, 365, 30


@transactions.atomic
def mint_token(
    member: Member,
    *,
    name: str,
    permissions: Collection[str] = (roles.READ,),
    days: int = DAYS,
    may_change_serving_key: bool = False,
    actor: Actor,
) -> tuple[AccessToken, str]:
    """Make an automation token that acts as the member, only for its tenant; the raw token is shown once.

    Args:
        permissions: of `roles.TOKEN_PERMISSIONS`; `people` only for owners.
        days: until it ends; at most 365, with `people` at most 30.
        may_change_serving_key: it may replace, leave and resume too.

    Raises:
        InvalidInput: with the reason under its field.
    """
    tenant = member.tenant
    actor = guards.as_now(actor)
    roles.require(actor, "tenants.mint_token", tenant)
    if actor.member is not None and actor.member.pk != member.pk:
        raise NotFound  # nobody makes tokens that act as somebody else
    _check(member.role, permissions, days)
    if {roles.OPERATE, roles.PEOPLE} & set(permissions):
        may: dict[str, Any] = {"permissions": sorted(set(permissions)), "days": days, "mark": may_change_serving_key}
        # In words, for who approves it.
        may["may"] = ", ".join(may["permissions"]) + (
            ", and replace, resume and leave a key in service" if may_change_serving_key else ""
        )
        approvals.require(actor, "tenants.mint_token", tenant, name=name_of(name), **may)
    if AccessToken.objects.filter(member=member).valid(clock.now()).count() >= AUTOMATION_TOKENS:
        raise InvalidInput(
            errors={
                "name": [
                    _(
                        "You have %(automation_tokens)s valid tokens. Revoke one first.",
                        automation_tokens=AUTOMATION_TOKENS,
                    )
                ]
            }
        )
    return _mint(
        tenant,
        {"member": member},
        name=name,
        permissions=permissions,
        days=days,
        may_change_serving_key=may_change_serving_key,
        actor=actor,
    )


@transactions.atomic
def mint_token_of_invitation(
    invitation: Invitation, *, name: str, permissions: Collection[str], may_change_serving_key: bool, actor: Actor
) -> tuple[AccessToken, str]:
    """Make the automation token that `create_tenant` prints;
    it ends when the invitation is withdrawn or expires unused."""
    roles.require(actor, "tenants.create")
    return _mint(
        invitation.tenant,
        {"invitation": invitation},
        name=name,
        permissions=permissions,
        days=DAYS,
        may_change_serving_key=may_change_serving_key,
        actor=actor,
    )


def _check(role: str, permissions: Collection[str], days: int) -> None:
    unknown = set(permissions) - set(roles.TOKEN_PERMISSIONS)
    if unknown or not permissions:
        raise InvalidInput(
            errors={"permissions": [_("Choose from %(names)s.", names=", ".join(roles.TOKEN_PERMISSIONS))]}
        )
    if roles.PEOPLE in permissions and role != Role.OWNER:
        raise InvalidInput(errors={"permissions": [_("Only an owner's token may manage people.")]})
    longest = LONGEST_DAYS_WITH_PEOPLE if roles.PEOPLE in permissions else LONGEST_DAYS
    if not 1 <= days <= longest:
        raise InvalidInput(
            errors={"days": [_("A token with these permissions lasts 1 to %(longest)s days.", longest=longest)]}
        )


def _mint(
    tenant: Tenant,
    holder: dict[str, Any],
    *,
    name: str,
    permissions: Collection[str],
    days: int,
    may_change_serving_key: bool,
    actor: Actor,
) -> tuple[AccessToken, str]:
    raw = tokens.new_secret("at")
    token = AccessToken.objects.create(
        **holder,
        digest=tokens.digest(raw),
        name=name_of(name),
        made_by=actor.label[:200],
        permissions=sorted(set(permissions)),
        may_change_serving_key=may_change_serving_key,
        expires_at=clock.now() + timedelta(days=days),
    )
    audit.record(
        "tenants.token.minted",
        tenant=tenant,
        actor=actor,
        target=token,
        name=token.name,
        permissions=token.permissions,
        days=days,
    )
    return token, raw


@transactions.atomic
def revoke_token(token: AccessToken, *, actor: Actor) -> None:
    """Revoke an automation token: one's own, or as an owner any of the tenant;
    every process has noticed after at most 5 s.

    A token may end itself, whatever its permissions, and no other.
    """
    holder = token.member or token.invitation
    if holder is None:
        raise NotFound
    is_own = actor.member is not None and actor.member.pk == token.member_id
    if actor.token is None or actor.token.pk != token.pk:
        roles.require(actor, "tenants.revoke_token" if is_own else "tenants.revoke_any_token", holder.tenant)
    if AccessToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=clock.now()):
        audit.record("tenants.token.revoked", tenant=holder.tenant, actor=actor, target=token, name=token.name)


def tokens_seen_by(actor: Actor, tenant: Tenant) -> QuerySet[AccessToken]:
    """Return the automation tokens that the actor may see: as an owner all of the tenant, else one's own.
    Ended ones stay for some days."""
    mine = AccessToken.objects.of(tenant).select_related("member__user", "member__tenant", "invitation__tenant")
    if actor.role in roles.OPERATIONS["tenants.revoke_any_token"].members:
        return mine
    return mine.filter(member=actor.member) if actor.member else mine.filter(invitation=actor.invitation)


def holder_of(token: AccessToken) -> str:
    """Return the mail address of whom a token acts as."""
    return token.member.user.email if token.member else token.invitation.email if token.invitation else ""


# The secret is shown to whoever makes it, so that person makes it, once it is approved.
HELD["tenants.mint_token"] = Held(lazy("Make the automation token {name} that may {may}, for {days} days"))
