"""What a tenant's directory tells by SCIM: people and groups come, change and go, and memberships follow.

Each function is one request of the directory, in one transaction with what follows from it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import Count

from byokportal import clock
from byokportal.errors import InvalidInput, NotFound
from byokportal.translation import lazy
from byokportal.translation import translate as _
from tenants import audit, fresh, roles, transactions
from tenants.audit import Actor
from tenants.errors import DirectoryFull, NameTaken, NotByDirectory, StaffAddress
from tenants.models import Directory, DirectoryGroup, DirectoryUser, Member, Tenant
from tenants.services import directory_rules, invitations

if TYPE_CHECKING:
    from datetime import datetime

    from django.contrib.auth.models import User

# What the log calls the facts of a person.
CALLED = {
    "user_name": lazy("user name"),
    "external_id": lazy("external id"),
    "email": lazy("email"),
    "is_active": lazy("is active"),
    "resource": lazy("resource"),
}
# Of one directory: people, groups, and people in groups.
USERS, GROUPS, MEMBERSHIPS = 5_000, 500, 50_000


@dataclass(frozen=True, slots=True)
class PersonFacts:
    """A person as the directory describes it.

    Attributes:
        email: the address that counts, in lower case; empty: it names none.
        resource: what else it said, bounded by whoever read it.
    """

    user_name: str
    external_id: str
    email: str
    is_active: bool
    resource: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """A group as the directory describes it; `members` are ids of its people."""

    display_name: str
    external_id: str
    members: Collection[uuid.UUID]


@transactions.atomic
def create_person(directory: Directory, *, facts: PersonFacts, actor: Actor) -> DirectoryUser:
    """Take a person of the directory.

    Raises:
        NameTaken: the directory names another one so.
        DirectoryFull: there are 5,000.
    """
    held = _held(directory, actor)
    if held.users.count() >= USERS:
        raise DirectoryFull(limit=USERS, what="people")
    _require_free(held, facts)
    person = DirectoryUser.objects.create(directory=held, **_columns(facts))
    audit.record(
        "tenants.directory.user_created",
        tenant=held.tenant,
        actor=actor,
        target=person,
        user_name=person.user_name,
        email=person.email,
    )
    directory_rules.settle(person, actor=actor)
    return person


@transactions.atomic
def change_person(
    directory: Directory, pk: uuid.UUID, *, change: Callable[[DirectoryUser], PersonFacts], actor: Actor
) -> DirectoryUser:
    """Change a person of the directory.

    Args:
        change: what it is afterwards, from what it is now.

    Raises:
        NotFound: the directory has no such person.
        NameTaken: the directory names another one so.
    """
    held = _held(directory, actor)
    person = person_of(held, pk)
    facts = change(person)
    _require_free(held, facts, person)
    new = _columns(facts)
    differs = sorted(name for name, value in new.items() if getattr(person, name) != value)
    if differs:
        for name, value in new.items():
            setattr(person, name, value)
        person.changed_at = clock.now()
        person.save(update_fields=[*new, "changed_at"])
        audit.record(
            "tenants.directory.user_changed",
            tenant=held.tenant,
            actor=actor,
            target=person,
            user_name=person.user_name,
            email=person.email,
            what=", ".join(CALLED[name] for name in differs if name in CALLED),
        )
    # Also where nothing is new: what could not follow before may now.
    directory_rules.settle(person, actor=actor)
    return person_of(held, pk)


@transactions.atomic
def delete_person(directory: Directory, pk: uuid.UUID, *, actor: Actor) -> None:
    """Forget a person of the directory; the membership ends.

    Raises:
        NotFound: the directory has no such person.
    """
    held = _held(directory, actor)
    person = person_of(held, pk)
    audit.record(
        "tenants.directory.user_deleted",
        tenant=held.tenant,
        actor=actor,
        target=person,
        user_name=person.user_name,
        email=person.email,
    )
    directory_rules.forget(person, actor=actor)


@transactions.atomic
def create_group(directory: Directory, *, facts: GroupFacts, actor: Actor) -> DirectoryGroup:
    """Take a group of the directory; it gives no role before an owner says so.

    Raises:
        InvalidInput: somebody in it is none of the directory's people.
        DirectoryFull: there are 500 groups, or 50,000 people in groups.
    """
    held = _held(directory, actor)
    if held.groups.count() >= GROUPS:
        raise DirectoryFull(limit=GROUPS, what="groups")
    group = DirectoryGroup.objects.create(
        directory=held, display_name=facts.display_name, external_id=facts.external_id
    )
    audit.record(
        "tenants.directory.group_created", tenant=held.tenant, actor=actor, target=group, group=group.display_name
    )
    _set_members(held, group, facts.members, actor)
    return group


@transactions.atomic
def change_group(
    directory: Directory, pk: uuid.UUID, *, change: Callable[[DirectoryGroup], GroupFacts], actor: Actor
) -> DirectoryGroup:
    """Change a group of the directory, or who is in it; roles follow.

    Raises:
        NotFound: the directory has no such group.
        InvalidInput, DirectoryFull: as for a new one.
    """
    held = _held(directory, actor)
    group = group_of(held, pk)
    facts = change(group)
    is_renamed = (group.display_name, group.external_id) != (facts.display_name, facts.external_id)
    group.display_name, group.external_id = facts.display_name, facts.external_id
    added, removed = _set_members(held, group, facts.members, actor)
    if is_renamed or added or removed:
        group.changed_at = clock.now()
        group.save(update_fields=["display_name", "external_id", "changed_at"])
        audit.record(
            "tenants.directory.group_changed",
            tenant=held.tenant,
            actor=actor,
            target=group,
            group=group.display_name,
            added=added,
            removed=removed,
        )
    return group


@transactions.atomic
def delete_group(directory: Directory, pk: uuid.UUID, *, actor: Actor) -> None:
    """Forget a group of the directory, and the role that it gave.

    Raises:
        NotFound: the directory has no such group.
    """
    held = _held(directory, actor)
    group = group_of(held, pk)
    inside = list(group.users.values_list("pk", flat=True))
    audit.record(
        "tenants.directory.group_deleted", tenant=held.tenant, actor=actor, target=group, group=group.display_name
    )
    group.delete()
    _settle(held, inside, actor)


def person_of(directory: Directory, pk: uuid.UUID) -> DirectoryUser:
    """Return a person of the directory.

    Raises:
        NotFound: it has none with that id.
    """
    mine = DirectoryUser.objects.present().filter(directory=directory, pk=pk)
    found = mine.select_related("directory__tenant", "member__user").first()
    if found is None:
        raise NotFound
    return found


def group_of(directory: Directory, pk: uuid.UUID) -> DirectoryGroup:
    """Return a group of the directory.

    Raises:
        NotFound: it has none with that id.
    """
    found = DirectoryGroup.objects.filter(directory=directory, pk=pk).select_related("directory__tenant").first()
    if found is None:
        raise NotFound
    return found


# --- a person with an account of their own ------------------------------------------------------------------------


def joinable(user: User) -> list[DirectoryUser]:
    """Return where directories name an account by an address that it has proved, and it is not in; 20 at most."""
    if user.is_staff or not user.is_active:
        return []
    mine = invitations.proved_addresses(user)
    rows = DirectoryUser.objects.present().filter(email__in=mine, is_active=True)
    found = rows.select_related("directory__tenant", "member__user").order_by("directory__tenant__name")[:20]
    return [one for one in found if not _why_not_join(one, user)]


@transactions.atomic
def join_by_directory(tenant: Tenant, *, user: User, signed_in_at: datetime | None) -> Member:
    """Make an account that exists a member, by its own fresh sign-in and what the tenant's directory says of it.

    Raises:
        NotFound: the directory names no address that this account has proved.
        FreshSignInNeeded: the sign-in is too old.
        StaffAddress: one of Kore.ai's people.
        NotByDirectory: it gives no role, or the person was shown out.
    """
    fresh.require_at(signed_in_at)
    tenant = Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
    mine = invitations.proved_addresses(user)
    rows = DirectoryUser.objects.present().filter(directory__tenant=tenant, email__in=mine)
    person = rows.select_related("directory__tenant", "member__user").first()
    if person is None:
        raise NotFound
    if user.is_staff:
        raise StaffAddress
    if why := _why_not_join(person, user):
        raise NotByDirectory(why=why)
    role = directory_rules.role_of(person)
    assert role is not None
    return directory_rules.add_member(person, user_id=user.pk, role=role, actor=Actor.of_account(user))


def _why_not_join(person: DirectoryUser, user: User) -> str:
    tenant = person.directory.tenant
    if directory_rules.named(tenant, person.email) is None:
        return _("The address is in no verified domain of the organisation.")
    if Member.objects.of(tenant).filter(user=user).exists() or person.is_in:
        return _("You are in already, or somebody else is known by it.")
    if Member.everybody.filter(directory_rules.shown_out(tenant), user=user).exists():
        return _("Your membership was ended. Ask an owner of your organisation to invite you.")
    if directory_rules.role_of(person) is None:
        return _("Your directory gives you no role here. Ask whoever looks after it to put you into the right group.")
    return ""


# --- the parts of it ----------------------------------------------------------------------------------------------


def _held(directory: Directory, actor: Actor) -> Directory:
    """Return the directory with its tenant's row held, as it stands now.

    Raises:
        NotFound: it was disconnected meanwhile.
    """
    tenant = Tenant.objects.select_for_update(no_key=True).get(pk=directory.tenant_id)
    roles.require(actor, "tenants.provision", tenant)
    held = Directory.objects.filter(pk=directory.pk).select_related("tenant").first()
    if held is None:
        raise NotFound
    return held


def _columns(facts: PersonFacts) -> dict[str, Any]:
    return {
        "user_name": facts.user_name,
        "user_name_key": facts.user_name.lower(),
        "external_id": facts.external_id,
        "email": facts.email,
        "is_active": facts.is_active,
        "resource": dict(facts.resource),
    }


def _require_free(directory: Directory, facts: PersonFacts, person: DirectoryUser | None = None) -> None:
    others = DirectoryUser.objects.present().filter(directory=directory)
    others = others.exclude(pk=person.pk) if person is not None else others
    if others.filter(user_name_key=facts.user_name.lower()).exists():
        raise NameTaken(what="userName")
    if facts.email and others.filter(email=facts.email).exists():
        raise NameTaken(what="mail address")


def _set_members(
    directory: Directory, group: DirectoryGroup, members: Collection[uuid.UUID], actor: Actor
) -> tuple[int, int]:
    """Let these and no others be in the group; returns how many came and went."""
    wanted = set(members)
    before = set(group.users.values_list("pk", flat=True))
    added, removed = wanted - before, before - wanted
    known = DirectoryUser.objects.present().filter(directory=directory, pk__in=added).count()
    if known != len(added):
        raise InvalidInput(errors={"members": [_("Somebody in this list is none of your directory's people here.")]})
    if added and _memberships(directory) + len(added) > MEMBERSHIPS:
        raise DirectoryFull(limit=MEMBERSHIPS, what="people in groups")
    group.users.add(*DirectoryUser.objects.filter(pk__in=added))
    group.users.through.objects.filter(directorygroup=group, directoryuser__in=removed).delete()
    _settle(directory, added | removed, actor)
    return len(added), len(removed)


def _memberships(directory: Directory) -> int:
    counted: dict[str, int] = directory.groups.aggregate(count=Count("users"))
    return counted["count"]


def _settle(directory: Directory, people: Collection[uuid.UUID], actor: Actor) -> None:
    """Let the memberships of these people follow; who is no member yet, and never was, has none."""
    rows = DirectoryUser.objects.filter(directory=directory, pk__in=people, member__isnull=False)
    for person in rows.select_related("directory__tenant", "member__user"):
        directory_rules.settle(person, actor=actor)
