"""Who gets which mails of an organisation: each member chooses for themselves, and some mails cannot be refused."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from django.conf import settings

from support import kinds
from support.models import MailChoice, Ticket
from tenants.models import Member, Role, Tenant

# Without a choice of the member's own.
DEFAULTS: dict[str, frozenset[str]] = {
    Role.OWNER: frozenset(kinds.KINDS),
    Role.ADMIN: frozenset({"key", "setup", "approvals", "tickets"}),
    Role.AUDITOR: frozenset(),
}
# What an organisation always hears of: where no owner wants it, every owner gets it.
KEPT = frozenset({"key", "people", "sign_on", "approvals"})


@dataclass(frozen=True, slots=True)
class Choice:
    """What a member gets of one kind.

    Attributes:
        is_wanted: as they chose, or as their role has it.
        is_kept: they get it all the same, because no owner wants it and somebody has to know.
    """

    kind: str
    is_wanted: bool
    is_kept: bool


def addresses(tenant: Tenant, kind: str, *, roles: Collection[str] = tuple(Role)) -> list[str]:
    """Return the mail addresses of the members who get the mails of a kind.

    Args:
        roles: nobody else gets them.
    """
    members = [one for one in _members(tenant) if one.role in roles]
    wanting = _wanting(members, kind)
    if kind in KEPT and not any(one.role == Role.OWNER for one in wanting):
        wanting += [one for one in members if one.role == Role.OWNER]
    return [one.user.email for one in wanting]


def of_ours(ticket: Ticket) -> str:
    """Return the address of ours that hears of a ticket: who takes care of it, else the desk."""
    user = ticket.assignee
    return user.email if user is not None and user.is_active and user.is_staff else str(settings.SUPPORT_EMAIL)


def choices_of(member: Member) -> list[Choice]:
    """Return what a member gets, kind by kind."""
    everybody = _members(member.tenant)
    found = []
    for kind in kinds.KINDS:
        wanting = _wanting(everybody, kind)
        no_owner = not any(one.role == Role.OWNER for one in wanting)
        is_wanted = member.pk in {one.pk for one in wanting}
        is_kept = not is_wanted and no_owner and kind in KEPT and member.role == Role.OWNER
        found.append(Choice(kind, is_wanted, is_kept))
    return found


def _members(tenant: Tenant) -> list[Member]:
    return list(
        Member.objects.of(tenant).filter(user__is_active=True).select_related("user").prefetch_related("mail_choices")
    )


def _wanting(members: list[Member], kind: str) -> list[Member]:
    return [one for one in members if _wants(one, kind)]


def _wants(member: Member, kind: str) -> bool:
    chosen = [one.is_wanted for one in member.mail_choices.all() if one.kind == kind]
    return chosen[0] if chosen else kind in DEFAULTS[member.role]


def choose(member: Member, wanted: Collection[str]) -> None:
    """Write down which kinds a member wants; all others they do not."""
    rows = [MailChoice(member=member, kind=kind, is_wanted=kind in wanted) for kind in kinds.KINDS]
    MailChoice.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["member", "kind"], update_fields=["is_wanted"]
    )
