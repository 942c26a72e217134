"""What ends with a membership: the tenant's part of a person's access, and nothing of another tenant's."""

from __future__ import annotations

from allauth.usersessions.models import UserSession

from byokportal import clock
from tenants import audit
from tenants.audit import Actor
from tenants.models import AccessToken, Approval, Member, SignOnSession
from tenants.services import invitations

OPEN = (Approval.Status.WAITING, Approval.Status.APPROVED)


def end_sessions(user_id: int) -> None:
    """Sign a person out everywhere; the next request of each browser is a stranger's."""
    for session in UserSession.objects.filter(user_id=user_id):
        session.end()


def end_access(member: Member, *, reason: str, actor: Actor) -> None:
    """End what a member could still act by: tokens, and the invitations that the member made;
    the caller holds the tenant's row."""
    AccessToken.objects.filter(member=member, revoked_at=None).update(revoked_at=clock.now())
    invitations.withdraw_invitations_by(member, reason=reason, actor=actor)


def end_by_directory(member: Member, *, reason: str, actor: Actor) -> None:
    """End a membership with all that it could be used by in this tenant; the caller holds the tenant's row.

    Links of the set-up end with their maker's membership by themselves. A browser of somebody who is in another tenant
    too stays signed in, and finds this one gone.
    """
    now = clock.now()
    Member.objects.filter(pk=member.pk).update(removed_at=now, is_ended_by_directory=True)
    end_access(member, reason=reason, actor=actor)
    invitations.withdraw_invitations_to(member, reason=reason, actor=actor)
    SignOnSession.objects.filter(identity__member=member, ended_at=None).update(ended_at=now)
    _withdraw_approvals(member, actor=actor)
    if not Member.objects.filter(user=member.user_id).exists():
        end_sessions(member.user_id)


def _withdraw_approvals(member: Member, *, actor: Actor) -> None:
    for approval in Approval.objects.filter(requested_by=member, status__in=OPEN).select_related("tenant"):
        if Approval.objects.filter(pk=approval.pk, status__in=OPEN).update(status=Approval.Status.WITHDRAWN):
            audit.record(
                "tenants.approval.withdrawn",
                tenant=approval.tenant,
                actor=actor,
                target=approval,
                what=approval.sentence,
            )
