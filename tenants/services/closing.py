"""What ends with an organisation that is closed: everybody's way in, and what it could be reached by."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Q

from byokportal import clock
from tenants import roles, transactions
from tenants.audit import Actor
from tenants.errors import OrganisationClosed
from tenants.models import (
    AccessToken,
    Approval,
    Directory,
    HeadMailing,
    HeadRecipient,
    Invitation,
    MailDomain,
    Member,
    OwnerRecovery,
    ServiceAccount,
    SignOnConnection,
    SignOnSession,
    Tenant,
)
from tenants.services import endings, invitations, log_streams

Recovery = OwnerRecovery.Status


@transactions.atomic
def end_organisation(tenant: Tenant, *, reason: str, actor: Actor) -> datetime:
    """Close the organisation's row for good, and end whatever leads to it; it is part of an operation, which says so in
    the log.

    Members and their tokens, invitations, the directory's connection and tokens, mail domains (another organisation may
    show them to be its own from now on), approvals, recoveries, who gets heads of the log or its stream, and service
    accounts that act for no other organisation. Rows that the log speaks of stay, as they do when a member is removed.

    Returns:
        since when it is closed.

    Raises:
        OrganisationClosed: it was closed before.
    """
    roles.require(actor, "tenants.end_organisation", tenant)
    now = clock.now()
    _end_members(tenant, now, reason=reason, actor=actor)
    for invitation in Invitation.objects.of(tenant).open().select_related("tenant"):
        invitations.withdraw_with_organisation(invitation, reason=reason, actor=actor)
    AccessToken.objects.filter(Q(member__tenant=tenant) | Q(invitation__tenant=tenant), revoked_at=None).update(
        revoked_at=now
    )
    SignOnSession.objects.filter(identity__connection__tenant=tenant, ended_at=None).update(ended_at=now)
    SignOnConnection.objects.filter(tenant=tenant, removed_at=None).update(
        removed_at=now, mode=SignOnConnection.Mode.DRAFT, break_glass=None
    )
    Directory.objects.filter(tenant=tenant).delete()
    MailDomain.objects.filter(tenant=tenant, removed_at=None).update(removed_at=now)
    Approval.objects.filter(tenant=tenant, status__in=endings.OPEN).update(status=Approval.Status.WITHDRAWN)
    OwnerRecovery.objects.filter(tenant=tenant, status__in=[Recovery.REQUESTED, Recovery.WAITING]).update(
        status=Recovery.WITHDRAWN, ended_at=now
    )
    HeadRecipient.objects.filter(tenant=tenant).delete()
    HeadMailing.objects.filter(tenant=tenant).delete()
    log_streams.end_log_streams(tenant)
    _end_service_accounts(tenant, now)
    if not Tenant.objects.filter(pk=tenant.pk, closed_at=None).update(closed_at=now):
        raise OrganisationClosed
    tenant.closed_at = now
    return now


def _end_members(tenant: Tenant, now: datetime, *, reason: str, actor: Actor) -> None:
    for member in Member.objects.of(tenant).select_related("user", "tenant"):
        Member.objects.filter(pk=member.pk).update(removed_at=now)
        endings.end_access(member, reason=reason, actor=actor)
        if not Member.objects.filter(user=member.user_id).exists():
            endings.end_sessions(member.user_id)


def _end_service_accounts(tenant: Tenant, now: datetime) -> None:
    """Disable those that act for closed organisations alone; others lose this one by its being closed."""
    for account in ServiceAccount.objects.filter(tenants=tenant, has_all_tenants=False, disabled_at=None):
        if not account.tenants.exclude(pk=tenant.pk).filter(closed_at=None).exists():
            ServiceAccount.objects.filter(pk=account.pk, disabled_at=None).update(disabled_at=now)
            AccessToken.objects.filter(service_account=account, revoked_at=None).update(revoked_at=now)
