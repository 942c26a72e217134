"""What waits for a second person in an organisation that wants that, and who that person may be; pure but for its rows.

A service that does such an operation calls `require` beside `roles.require`. Where a second person is needed it raises,
and nothing is done; the entry point then lets `services.ask_second_person` write down what was asked for. Whoever
approves it does it in the same transaction, as the person who asked for it. What shows a secret once, a new token, is
not done then: the person who asked for it does it again, and finds the approval.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from byokportal import clock, stored_sentences
from byokportal.translation import translate as _
from tenants.audit import Actor
from tenants.errors import SecondPersonNeeded
from tenants.models import Approval, Member, Role, Tenant

if TYPE_CHECKING:
    from tenants.models import MemberQuerySet

# Before a member may approve what another one asks for.
BELONGS_FOR = timedelta(hours=72)
APPROVERS = (Role.OWNER, Role.ADMIN)


@dataclass(frozen=True, slots=True)
class Held:
    """An operation that waits for a second person.

    Attributes:
        sentence: what is asked for, in the imperative; braces are filled from the arguments.
        do: does it: tenant, arguments, reason, actor. None: the person who asked for it does it again.
    """

    sentence: str
    do: Callable[[Tenant, dict[str, Any], str, Actor], object] | None = None


# By their row in `tenants.roles.OPERATIONS`; each app adds its own (`tenants.services`, `keys.services`).
HELD: dict[str, Held] = {}


def require(actor: Actor, operation: str, tenant: Tenant, *, reason: str = "", **arguments: Any) -> None:
    """Raise unless the actor may do this alone, or a second person approved just this; the tenant's row is held.

    What is ours to do (staff, the command line) has four eyes of its own.

    Args:
        reason: why the person wants it.
        arguments: JSON; what it is done with. An approval counts for these alone, once.

    Raises:
        SecondPersonNeeded: nothing is done; the error holds what was asked for.
    """
    if not actor.is_tenants:
        return
    since = Tenant.objects.values_list("second_person_since", flat=True).get(pk=tenant.pk)
    if since is None:
        return
    text = as_text(arguments)
    mine = Approval.objects.usable(clock.now()).filter(
        tenant=tenant, requested_by=actor.member, operation=operation, arguments=text
    )
    if actor.approval is not None:
        mine = mine.filter(pk=actor.approval.pk)
    if actor.member is None or not mine.update(status=Approval.Status.DONE):
        raise SecondPersonNeeded(actor=actor, tenant=tenant, operation=operation, arguments=text, reason=reason)


def as_text(arguments: dict[str, Any]) -> str:
    """Return the one way to write such arguments."""
    return json.dumps(arguments, sort_keys=True, ensure_ascii=False)


def sentence_of(approval: Approval) -> str:
    """Return what is asked for in the language of whoever reads it; the row keeps it in English."""
    return stored_sentences.again(approval.sentence)


def approvers(tenant: Tenant) -> MemberQuerySet:
    """Return the members who can act as owner or admin."""
    return Member.objects.of(tenant).filter(role__in=APPROVERS, user__is_active=True)


def why_not(member: Member, approval: Approval, tenant: Tenant) -> str:
    """Return why this member may not decide about an approval, as a sentence; empty when it may.

    Args:
        member: as it stands now, with `invitation` loaded.
    """
    if member.pk == approval.requested_by_id:
        return _("You asked for it. Another owner or admin has to decide.")
    why = _why_not_old_enough(member, approval)
    if not why and _is_made_by(member, approval.requested_by_id, tenant) and _has_others(member, approval, tenant):
        return _("The person who asked for it let you in or gave you your role. Somebody else has to decide.")
    return why


def _why_not_old_enough(member: Member, approval: Approval) -> str:
    if member.role not in APPROVERS or not member.user.is_active:
        return _("Only owners and admins decide about this.")
    if member.created_at > approval.created_at - BELONGS_FOR:
        return _("You joined less than 72 hours before it was asked for. Somebody else has to decide.")
    if member.role_since > approval.created_at:
        return _("You became owner or admin after it was asked for. Somebody else has to decide.")
    return ""


def _is_made_by(member: Member, requester: int, tenant: Tenant) -> bool:
    """Tell whether the requester let the member in, or gave the role, since a second person is needed."""
    since = tenant.second_person_since
    invitation = getattr(member, "invitation", None)
    # When the person came in counts, and not when the mail was written.
    is_invited = invitation is not None and invitation.inviter_id == requester and member.created_at
    is_promoted = member.role_by_id == requester and member.role_since
    return since is not None and any(at and at >= since for at in (is_invited, is_promoted))


def independent_of(member: Member, others: Iterable[Member], tenant: Tenant) -> list[Member]:
    """Return those who could approve what a member asks for now: in for 72 hours, and not let in by that member."""
    joined = clock.now() - BELONGS_FOR
    return [
        one
        for one in others
        if one.pk != member.pk and one.created_at <= joined and not _is_made_by(one, member.pk, tenant)
    ]


def _has_others(member: Member, approval: Approval, tenant: Tenant) -> bool:
    """Tell whether anybody could decide whom the requester did not let in: else nobody ever could."""
    others = approvers(tenant).exclude(pk__in=[member.pk, approval.requested_by_id]).select_related("user")
    return any(
        not _why_not_old_enough(one, approval) and not _is_made_by(one, approval.requested_by_id, tenant)
        for one in others.select_related("invitation")
    )
