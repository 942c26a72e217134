"""What follows for a membership from what the tenant's directory says; the caller holds the tenant's row.

The directory gives a membership to nobody by an address: a person comes in by the tenant's sign-on, or by the fresh
sign-in of an account that exists and has proved the address. It ends memberships of people in the tenant's own
verified domains whoever let them in, because that takes away and gives nothing. It ends no user, and nothing of
another tenant.
"""

from __future__ import annotations

from django.db.models import Q

from byokportal import clock
from byokportal.translation import lazy
from tenants import asserted as assertions
from tenants import audit
from tenants.audit import Actor
from tenants.models import (
    Directory,
    DirectoryUser,
    MailDomain,
    Member,
    Role,
    SignOnConnection,
    SignOnIdentity,
    Tenant,
    came_by_sign_on,
)
from tenants.services import endings, invitations

OUT = lazy("the directory says: no longer there")
NO_ROLE = lazy("the directory says: in no group that has a role")


def directory_of(tenant: Tenant) -> Directory | None:
    """Return the directory of a tenant, if it has one."""
    return Directory.objects.of(tenant).select_related("tenant").first()


def named(tenant: Tenant, email: str) -> DirectoryUser | None:
    """Return the person whom the tenant's directory names by an address of one of its verified domains."""
    if not email or not _is_ours(tenant, email):
        return None
    rows = DirectoryUser.objects.present().filter(directory__tenant=tenant, email=email)
    return rows.select_related("directory__tenant", "member__user").first()


def role_of(person: DirectoryUser) -> Role | None:
    """Return the role that a person's groups give; None: no membership."""
    if not person.is_active:
        return None
    directory = person.directory
    given = person.groups.exclude(role="").values_list("role", flat=True).distinct()
    return assertions.role_of(
        given,
        roles={role: role for role in Role.values},
        default=directory.default_role,
        may_make_owners=directory.may_make_owners,
    )


def role_to_join(tenant: Tenant, email: str) -> Role | None:
    """Return the role with which somebody of that address may come in by the sign-on, where there is a directory."""
    person = named(tenant, email)
    return role_of(person) if person is not None else None


def shown_out(tenant: Tenant) -> Q:
    """Return, for a query of everybody who ever was a member, who was shown out by a person and stays out."""
    gone = Q(tenant=tenant, removed_at__isnull=False)
    return gone & Q(is_ended_by_directory=False) if directory_of(tenant) else gone


def arrived(member: Member, email: str) -> None:
    """Note that whom the directory names by this address came in by the sign-on, so the directory gave the role."""
    person = named(member.tenant, email)
    if person is not None and not person.is_in:
        DirectoryUser.objects.filter(member=member).exclude(pk=person.pk).update(member=None, is_given=False)
        DirectoryUser.objects.filter(pk=person.pk).update(member=member, is_given=True)


def come_back(member: Member, *, actor: Actor) -> Member | None:
    """Give a membership that the directory ended once more, if the directory says so now; what was used by it before
    does not come back.

    Returns:
        the new membership; None when the directory does not say so.
    """
    person = DirectoryUser.objects.filter(member=member).select_related("directory__tenant", "member__user").first()
    if person is None and member.is_ended_by_directory:
        person = named(member.tenant, member.user.email.lower())
        if person is not None and person.member_id is not None:
            return None
    role = role_of(person) if person is not None else None
    if person is None or role is None or member.removed_at is None or not _may_return(member):
        return None
    return join(person, member, role=role, actor=actor)


def join(person: DirectoryUser, before: Member, *, role: Role, actor: Actor) -> Member:
    """Make a new membership of the account of an earlier one, which keeps how it is known to the sign-on."""
    member = add_member(person, user_id=before.user_id, role=role, actor=actor)
    SignOnIdentity.objects.filter(member=before, connection__removed_at=None).update(member=member)
    return member


def add_member(person: DirectoryUser, *, user_id: int, role: Role, actor: Actor) -> Member:
    """Make an account a member that the directory gave; whoever calls has seen that the account is that person's."""
    tenant = person.directory.tenant
    member = Member.objects.create(tenant=tenant, user_id=user_id, role=role)
    DirectoryUser.objects.filter(member=member).exclude(pk=person.pk).update(member=None, is_given=False)
    person.member, person.is_given, person.is_kept = member, True, False
    person.save(update_fields=["member", "is_given", "is_kept"])
    for invitation in invitations.open_invitations_to(member):
        invitations.withdraw_by_system(invitation)
    audit.record(
        "tenants.member.joined_by_directory",
        tenant=tenant,
        actor=actor,
        target=member,
        email=member.user.email,
        role=role,
    )
    return member


def settle(person: DirectoryUser, *, actor: Actor) -> None:
    """Let a membership follow what the directory says of a person now.

    Args:
        person: with `directory__tenant` and `member__user` loaded.
    """
    tenant, member = person.directory.tenant, recognised(person)
    if member is None:
        return
    role = role_of(person)
    if member.removed_at is not None:
        if person.is_given and role is not None and _may_return(member):
            join(person, member, role=role, actor=actor)
        return
    if person.is_active and not person.is_given:
        # Whoever was in before has the role that people gave.
        _keep(person, False)
        return
    if role == member.role:
        _keep(person, False)
    elif _is_break_glass(member):
        if not person.is_kept:
            _keep(person, True)
            audit.record(
                "tenants.directory.break_glass_kept", tenant=tenant, actor=actor, target=member, email=member.user.email
            )
    else:
        _keep(person, False)
        if role is None:
            reason = NO_ROLE if person.is_active else OUT
            endings.end_by_directory(member, reason=reason, actor=actor)
            audit.record(
                "tenants.member.ended_by_directory",
                tenant=tenant,
                actor=actor,
                target=member,
                email=member.user.email,
                reason=reason,
            )
        else:
            _change_role(member, role, actor=actor)
        if member.role == Role.OWNER and not Member.objects.of(tenant).owners().exists():
            audit.record("tenants.directory.no_owner_left", tenant=tenant, actor=actor, email=member.user.email)


def settle_kept(tenant: Tenant) -> None:
    """Do what waited for another owner to be the one who gets in without the sign-on."""
    kept = DirectoryUser.objects.filter(directory__tenant=tenant, is_kept=True)
    for person in kept.select_related("directory__tenant", "member__user"):
        settle(person, actor=Actor.of_directory(person.directory))
        if person.deleted_at is not None and not person.is_kept:
            person.delete()


def forget(person: DirectoryUser, *, actor: Actor) -> None:
    """End the membership of a person whom the directory deletes; the row waits where the membership is kept."""
    person.is_active = False
    settle(person, actor=actor)
    if person.is_kept:
        DirectoryUser.objects.filter(pk=person.pk).update(deleted_at=clock.now(), is_active=False)
        person.groups.clear()
    else:
        person.delete()


def recognised(person: DirectoryUser) -> Member | None:
    """Return whom a person of the directory is here, or was last; note it where it is seen for the first time.

    Somebody who was in already is recognised by an address that the account has proved, or came with by the sign-on,
    in a verified domain of the tenant. So is somebody whose membership ended and who was let in again, by whomever: the
    directory's word counts for who is in.
    """
    tenant, known = person.directory.tenant, person.member
    is_ours = bool(person.email) and _is_ours(tenant, person.email)
    if known is not None and (person.is_in or not is_ours):
        return known if person.is_given or is_ours else None
    found = _present(person) if is_ours else None
    if found is None or found.user.is_staff:
        return known
    if DirectoryUser.objects.filter(member=found).exclude(pk=person.pk).exists():
        return known
    # An account that the sign-on made has no other way in, and belongs to this tenant alone.
    person.member = found
    person.is_given = Member.objects.filter(came_by_sign_on(), pk=found.pk).exists()
    DirectoryUser.objects.filter(pk=person.pk).update(member=found, is_given=person.is_given)
    return found


def _present(person: DirectoryUser) -> Member | None:
    """Return who is in with the account that the person was here before, or else with the person's address."""
    tenant = person.directory.tenant
    if person.member is not None:
        same = Member.objects.of(tenant).filter(user=person.member.user_id).select_related("user").first()
        if same is not None:
            return same
    return invitations.member_with(tenant, person.email)


def _is_ours(tenant: Tenant, email: str) -> bool:
    """Tell whether an address lies in a verified domain of the tenant, and is none of Kore.ai's."""
    mine = MailDomain.objects.of(tenant).verified()
    return mine.filter(name=email.rpartition("@")[2]).exists() and not invitations.is_staff_address(email)


def _is_break_glass(member: Member) -> bool:
    return SignOnConnection.objects.required().filter(break_glass=member).exists()


def _may_return(member: Member) -> bool:
    is_alone = not Member.objects.filter(tenant=member.tenant_id, user=member.user_id).exists()
    return member.is_ended_by_directory and member.user.is_active and not member.user.is_staff and is_alone


def _keep(person: DirectoryUser, is_kept: bool) -> None:
    if person.is_kept != is_kept:
        person.is_kept = is_kept
        DirectoryUser.objects.filter(pk=person.pk).update(is_kept=is_kept)


def _change_role(member: Member, role: Role, *, actor: Actor) -> None:
    Member.objects.filter(pk=member.pk).update(role=role, role_since=clock.now(), role_by=None)
    audit.record(
        "tenants.member.role_changed",
        tenant=member.tenant,
        actor=actor,
        target=member,
        email=member.user.email,
        role=role,
        old=member.role,
    )
    if member.role == Role.OWNER:
        invitations.withdraw_invitations_by(member, reason=lazy("the directory says: no owner"), actor=actor)
