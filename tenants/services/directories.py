"""A tenant's directory as its owners keep it: connected, told what it may do, given tokens, disconnected."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from byokportal import clock
from byokportal.errors import InvalidInput, NotFound
from byokportal.translation import lazy
from byokportal.translation import translate as _
from tenants import approvals, audit, roles, tokens, transactions
from tenants.approvals import HELD, Held
from tenants.audit import Actor
from tenants.errors import LastOwner
from tenants.models import Directory, DirectoryGroup, DirectoryToken, DirectoryUser, Member, Role, Tenant
from tenants.services import directory_rules, guards
from tenants.services.approvals import require_approvers
from tenants.services.words import reason_of

TOKENS = 2  # that work at a time: the present one, and the next one while the directory is given it
LONGEST_DAYS = 3_650
NOBODY, OF_NOBODY = lazy("nobody"), lazy("of nobody")
# What a second person approves.
LET_IT_TELL = lazy(
    "let the directory tell by SCIM who is in; in no group that has a role: {default_role}; owners: {may_make_owners}"
)
GIVE_ROLE = lazy("give the role {role} to the directory’s group {group}")
DISCONNECT = lazy("disconnect the directory; its people stay as they are ({count})")


def scim_directory_of(tenant: Tenant) -> Directory:
    """Return the directory of a tenant.

    Raises:
        NotFound: it has none.
    """
    found = directory_rules.directory_of(tenant)
    if found is None:
        raise NotFound
    return found


@transactions.atomic
def set_directory(tenant: Tenant, *, default_role: str = "", may_make_owners: bool = False, actor: Actor) -> Directory:
    """Connect a directory, or change what it may do.

    Args:
        default_role: of whoever is in no group that has a role; empty gives them no membership.
        may_make_owners: without it a group that has the role of owners gives nothing.

    Raises:
        InvalidInput: the role is another one than admin or auditor.
        LastOwner, TooFewApprovers: nobody would be left who could act, or approve.
    """
    tenant, actor = _held(tenant, actor)
    if default_role not in {"", Role.ADMIN, Role.AUDITOR}:
        raise InvalidInput(errors={"default_role": [_("Choose admin, auditor, or nobody.")]})
    facts: dict[str, Any] = {"default_role": default_role, "may_make_owners": may_make_owners}
    approvals.require(
        actor,
        "tenants.change_sign_on",
        tenant,
        what=(
            LET_IT_TELL.format(
                default_role=default_role or NOBODY, may_make_owners=lazy("yes") if may_make_owners else lazy("no")
            )
        ),
        **facts,
    )
    directory, is_new = Directory.objects.get_or_create(tenant=tenant, defaults=facts)
    if not is_new:
        Directory.objects.filter(pk=directory.pk).update(**facts)
        directory.refresh_from_db()
    audit.record(
        "tenants.directory.set_up" if is_new else "tenants.directory.changed",
        tenant=tenant,
        actor=actor,
        target=directory,
        default_role=default_role or NOBODY,
        may_make_owners=may_make_owners,
    )
    _follow(directory, directory.users.all(), actor)
    return directory


@transactions.atomic
def make_directory_token(directory: Directory, *, days: int | None = None, actor: Actor) -> tuple[DirectoryToken, str]:
    """Make a token for the directory; the raw token is shown once.

    Args:
        days: until it ends; None: when somebody revokes it.

    Raises:
        InvalidInput: two work already, or another number of days than 1 to 3650.
    """
    tenant = Tenant.objects.select_for_update(no_key=True).get(pk=directory.tenant_id)
    actor = guards.as_now(actor)
    roles.require(actor, "tenants.make_directory_token", tenant)
    present = _present(directory)
    if days is not None and not 1 <= days <= LONGEST_DAYS:
        raise InvalidInput(
            errors={
                "days": [
                    _("A token lasts 1 to %(longest_days)s days, or until it is revoked.", longest_days=LONGEST_DAYS)
                ]
            }
        )
    now = clock.now()
    if present.tokens.valid(now).count() >= TOKENS:  # type: ignore[attr-defined]
        raise InvalidInput(
            errors={"days": [_("%(tokens)s tokens work already. Revoke the one that is used no more.", tokens=TOKENS)]}
        )
    ends = lazy("when somebody revokes it") if days is None else lazy("in {days} days").format(days=days)
    approvals.require(actor, "tenants.make_directory_token", tenant, days=days, ends=ends)
    raw = tokens.new_secret("dt")
    token = DirectoryToken.objects.create(
        directory=present,
        digest=tokens.digest(raw),
        made_by=actor.label[:200],
        created_at=now,
        expires_at=None if days is None else now + timedelta(days=days),
    )
    audit.record("tenants.directory.token_made", tenant=tenant, actor=actor, target=token, ends=ends)
    return token, raw


@transactions.atomic
def revoke_directory_token(token: DirectoryToken, *, actor: Actor) -> None:
    """End a token of the directory now; twice is once. It takes nobody's access away, so it waits for nobody."""
    tenant = token.directory.tenant
    actor = guards.as_now(actor)
    roles.require(actor, "tenants.change_sign_on", tenant)
    if DirectoryToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=clock.now()):
        audit.record("tenants.directory.token_revoked", tenant=tenant, actor=actor, target=token)


@transactions.atomic
def set_group_role(group: DirectoryGroup, *, role: str, actor: Actor) -> DirectoryGroup:
    """Say which role the people of a group get.

    Args:
        role: empty: none by this group.

    Raises:
        InvalidInput: there is no such role, or the directory may make no owners.
        LastOwner, TooFewApprovers: nobody would be left who could act, or approve.
    """
    tenant, actor = _held(group.directory.tenant, actor)
    directory = _present(group.directory)
    held = directory.groups.filter(pk=group.pk).first()
    if held is None:
        raise NotFound
    if role not in {"", *Role.values}:
        raise InvalidInput(errors={"role": [_("A role is one of %(names)s, or none.", names=", ".join(Role.values))]})
    if role == Role.OWNER and not directory.may_make_owners:
        raise InvalidInput(errors={"role": [_("This directory may make no owners. Allow that first.")]})
    if held.role == role:
        return held
    approvals.require(
        actor,
        "tenants.change_sign_on",
        tenant,
        what=GIVE_ROLE.format(role=role or OF_NOBODY, group=held.display_name),
        group=str(held.pk),
        role=role,
    )
    old, held.role = held.role, role
    DirectoryGroup.objects.filter(pk=held.pk).update(role=role)
    audit.record(
        "tenants.directory.group_role_changed",
        tenant=tenant,
        actor=actor,
        target=held,
        group=held.display_name,
        role=role or NOBODY,
        old=old or NOBODY,
    )
    _follow(directory, held.users.all(), actor)
    return held


@transactions.atomic
def remove_directory(directory: Directory, *, reason: str, actor: Actor) -> None:
    """Disconnect the directory: its tokens end, what it said is deleted, and its people stay as they are."""
    tenant, actor = _held(directory.tenant, actor)
    reason, present = reason_of(reason), _present(directory)
    count = Member.objects.of(tenant).filter(directory_user__is_given=True).count()
    what = DISCONNECT.format(count=count)
    approvals.require(actor, "tenants.change_sign_on", tenant, reason=reason, what=what, directory=str(present.pk))
    audit.record("tenants.directory.removed", tenant=tenant, actor=actor, target=present, count=count, reason=reason)
    present.delete()


def directory_group_of(tenant: Tenant, pk: uuid.UUID) -> DirectoryGroup:
    """Return a group of the tenant's directory.

    Raises:
        NotFound: it has none with that id.
    """
    found = DirectoryGroup.objects.filter(directory__tenant=tenant, pk=pk).select_related("directory__tenant").first()
    if found is None:
        raise NotFound
    return found


def directory_token_of(tenant: Tenant, pk: uuid.UUID) -> DirectoryToken:
    """Return a token of the tenant's directory.

    Raises:
        NotFound: it has none with that id.
    """
    found = DirectoryToken.objects.filter(directory__tenant=tenant, pk=pk).select_related("directory__tenant").first()
    if found is None:
        raise NotFound
    return found


def _held(tenant: Tenant, actor: Actor) -> tuple[Tenant, Actor]:
    held = Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
    actor = guards.as_now(actor)
    roles.require(actor, "tenants.change_sign_on", held)
    if held.is_canary:
        raise NotFound
    return held, actor


def _present(directory: Directory) -> Directory:
    found = Directory.objects.filter(pk=directory.pk).select_related("tenant").first()
    if found is None:
        raise NotFound
    return found


def _follow(directory: Directory, people: Iterable[DirectoryUser], actor: Actor) -> None:
    """Let memberships follow what an owner changed; a person does not take away the last owner by it.

    Raises:
        LastOwner, TooFewApprovers: nobody would be left who could act, or approve.
    """
    tenant = directory.tenant
    before = list(approvals.approvers(tenant).select_related("user"))
    rows = directory.users.filter(pk__in=[one.pk for one in people], member__isnull=False)
    for person in rows.select_related("directory__tenant", "member__user"):
        directory_rules.settle(person, actor=actor)
    left = set(approvals.approvers(tenant).values_list("pk", flat=True))
    had_owner = any(one.role == Role.OWNER for one in before)
    if had_owner and not Member.objects.of(tenant).owners().exists():
        raise LastOwner
    require_approvers(tenant, *(one for one in before if one.pk not in left), actor=actor)


HELD["tenants.make_directory_token"] = Held(lazy("Make a token for the directory, which ends {ends}"))
