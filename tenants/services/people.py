"""Who is in an organisation: the roles, and the ways out."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AbstractBaseUser

from byokportal import clock
from byokportal.errors import NotFound
from byokportal.translation import lazy
from tenants import approvals, audit, roles, transactions
from tenants.approvals import HELD, Held
from tenants.audit import Actor
from tenants.errors import LastOwner
from tenants.models import Member, Role, Tenant
from tenants.services import connections, endings, guards, invitations
from tenants.services.approvals import require_approvers
from tenants.services.words import reason_of

NO_OWNER = lazy("{email} is no owner any more")


@transactions.atomic
def change_role(member: Member, *, role: str, actor: Actor) -> None:
    """Give a member another role.

    Raises:
        LastOwner: an organisation keeps at least one owner.
        BreakGlassOwner: the organisation's sign-on is required, and this is the owner who gets in without it.
    """
    tenant, held = _held(member)
    actor = guards.as_now(actor)
    roles.require(actor, "tenants.change_role", tenant)
    role = invitations.role_of(role)
    if role != Role.OWNER:
        require_another_owner(tenant, held)
        connections.require_not_break_glass(held)
    if role not in approvals.APPROVERS:
        require_approvers(tenant, held, actor=actor)
    if held.role == role:
        return
    if Role.OWNER in {role, held.role}:
        facts: dict[str, Any] = {"member": held.pk, "email": held.user.email, "role": str(role)}
        approvals.require(actor, "tenants.change_role", tenant, **facts)
    by = {"role_since": clock.now(), "role_by": actor.member}
    Member.objects.filter(pk=held.pk).update(role=role, **by)
    member.role = role
    audit.record(
        "tenants.member.role_changed",
        tenant=tenant,
        actor=actor,
        target=held,
        email=held.user.email,
        role=role,
        old=held.role,
    )
    if held.role == Role.OWNER:
        invitations.withdraw_invitations_by(held, reason=NO_OWNER.format(email=held.user.email), actor=actor)


@transactions.atomic
def remove_member(member: Member, *, reason: str, actor: Actor) -> None:
    """Show a member out: sessions, tokens and open invitations end with the membership, everywhere within 5 s.

    Raises:
        LastOwner: an organisation keeps at least one owner.
        BreakGlassOwner: the organisation's sign-on is required, and this is the owner who gets in without it.
    """
    tenant, held = _held(member)
    actor = guards.as_now(actor)
    roles.require(actor, "tenants.remove_member", tenant)
    reason = reason_of(reason)
    _require_may_go(tenant, held, actor)
    if held.role == Role.OWNER:
        facts: dict[str, Any] = {"member": held.pk, "email": held.user.email}
        approvals.require(actor, "tenants.remove_member", tenant, reason=reason, **facts)
    _remove(tenant, held, reason=reason, actor=actor)
    audit.record(
        "tenants.member.removed", tenant=tenant, actor=actor, target=held, email=held.user.email, reason=reason
    )


@transactions.atomic
def remove_as_logged(member: Member, *, reason: str, actor: Actor) -> None:
    """Show a member out again whom the log has as removed, in a database that has forgotten it; also a last owner."""
    tenant, held = _held(member)
    roles.require(actor, "tenants.restore", tenant)
    _remove(tenant, held, reason=reason, actor=actor)
    audit.record(
        "tenants.member.removed", tenant=tenant, actor=actor, target=held, email=held.user.email, reason=reason
    )


@transactions.atomic
def leave_organisation(member: Member, *, actor: Actor) -> None:
    """End one's own membership.

    Raises:
        LastOwner: an organisation keeps at least one owner.
        BreakGlassOwner: the organisation's sign-on is required, and this is the owner who gets in without it.
    """
    tenant, held = _held(member)
    actor = guards.as_now(actor)
    roles.require(actor, "tenants.leave", tenant)
    if actor.member is None or actor.member.pk != held.pk:
        raise NotFound
    _require_may_go(tenant, held, actor)
    _remove(tenant, held, reason=lazy("left the organisation"), actor=actor)
    audit.record("tenants.member.left", tenant=tenant, actor=actor, target=held, email=held.user.email)


def require_another_owner(tenant: Tenant, member: Member) -> None:
    """Raise if the member is the only owner who can act; the caller holds the tenant's row. Every way out asks this.

    Raises:
        LastOwner: nobody else could act as owner.
    """
    if member.role == Role.OWNER and not has_another_owner(tenant, member):
        raise LastOwner


def has_another_owner(tenant: Tenant, member: Member) -> bool:
    """Tell whether somebody else could act as an owner."""
    return Member.objects.of(tenant).owners().exclude(pk=member.pk).exists()


def members_logs(user: AbstractBaseUser) -> list[Tenant | None]:
    """Return whose logs get a row of what happens to an account:
    of each organisation that it is in, else ours (None)."""
    return [one.tenant for one in Member.objects.filter(user_id=user.pk).select_related("tenant")] or [None]


def _held(member: Member) -> tuple[Tenant, Member]:
    """Return the tenant, its row held, and the member as it stands now.

    Raises:
        NotFound: the member was removed meanwhile.
    """
    tenant = Tenant.objects.select_for_update(no_key=True).get(pk=member.tenant_id)
    held = Member.objects.of(tenant).filter(pk=member.pk).select_related("user").first()
    if held is None:
        raise NotFound
    return tenant, held


def _require_may_go(tenant: Tenant, member: Member, actor: Actor) -> None:
    """Raise unless the organisation can do without the member; asked before a second person is."""
    require_another_owner(tenant, member)
    require_approvers(tenant, member, actor=actor)
    connections.require_not_break_glass(member)


def _remove(tenant: Tenant, member: Member, *, reason: str, actor: Actor) -> None:
    Member.objects.filter(pk=member.pk).update(removed_at=clock.now())
    endings.end_access(member, reason=reason, actor=actor)
    invitations.withdraw_invitations_to(member, reason=reason, actor=actor)
    endings.end_sessions(member.user_id)


def _member(tenant: Tenant, number: int) -> Member:
    found = Member.objects.of(tenant).filter(pk=number).select_related("user", "tenant").first()
    if found is None:
        raise NotFound
    return found


HELD["tenants.change_role"] = Held(
    lazy("Make {email} {role}"),
    lambda tenant, given, reason, actor: change_role(_member(tenant, given["member"]), role=given["role"], actor=actor),
)
HELD["tenants.remove_member"] = Held(
    lazy("Remove the owner {email}"),
    lambda tenant, given, reason, actor: remove_member(_member(tenant, given["member"]), reason=reason, actor=actor),
)
