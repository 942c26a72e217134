"""Recoveries whose time has come: done once every mail that announced them has left."""

from __future__ import annotations

import structlog

from byokportal import clock
from support.models import Notice
from tenants import services
from tenants.models import OwnerRecovery

log = structlog.get_logger(__name__)
BATCH = 50


def complete_due() -> int:
    """Complete what is due; one whose announcement still waits to be mailed waits too: nobody could have objected.

    The second factor of an owner is reset only if that owner's own mail has left. Where it was given up a lead
    withdraws the recovery, and asks again once the address takes mails. A new owner is needed where the owners of
    before may not be reached at all: there the mail to one of the others is enough.

    Returns:
        how many were looked at and completed.
    """
    due = OwnerRecovery.objects.filter(status=OwnerRecovery.Status.WAITING, due_at__lte=clock.now())
    completed = 0
    for recovery in due.select_related("tenant", "member__user").order_by("due_at")[:BATCH]:
        mails = Notice.objects.filter(template="recovery-announced", context__recovery=str(recovery.pk))
        sent = mails.exclude(sent_at=None)
        if recovery.member is not None:
            sent = sent.filter(recipient__in={recovery.email, recovery.member.user.email.lower()})
        if not sent.exists() or mails.filter(sent_at=None, due_at__isnull=False).exists():
            continue
        try:
            services.complete_recovery(recovery)
        except Exception:  # a bug in one must not hold up the others
            log.exception("recovery_not_completed", recovery=str(recovery.pk))
        else:
            completed += 1
    return completed
