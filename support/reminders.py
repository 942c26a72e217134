"""Reminds of clocks of tickets before they run out and when they do; forgets which mails came in after a week."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from byokportal import clock
from support import mailed, notices
from support.models import InboundMail, Ticket
from support.tickets import clocks
from tenants import transactions

log = structlog.get_logger(__name__)
BATCH = 200  # tickets of one run
KEPT, PRUNED = timedelta(days=7), 5_000


def remind_due() -> int:
    """Remind of the tickets whose time has come; a ticket that moved meanwhile has a time of its own.

    Returns:
        how many reminders were written.
    """
    now = clock.now()
    due = Ticket.objects.filter(remind_at__lte=now).select_related("tenant", "assignee").order_by("remind_at")
    written = 0
    for ticket in due[:BATCH]:
        try:
            written += _remind(ticket, now)
        except Exception:  # a bug in one must not hold up the others
            log.exception("ticket_not_reminded_of", ticket=str(ticket.pk))
            Ticket.objects.filter(pk=ticket.pk, remind_at=ticket.remind_at).update(remind_at=now + timedelta(hours=1))
    return written


@transactions.atomic
def _remind(ticket: Ticket, now: datetime) -> bool:
    """Write the mail, and when the next one is due, in one transaction: the update names the time that was read."""
    seen, running = ticket.remind_at, clocks.running(ticket)
    clocks.follow(ticket, now)
    if not Ticket.objects.filter(pk=ticket.pk, remind_at=seen, status=ticket.status).update(remind_at=ticket.remind_at):
        return False
    passed = [one for one in running if one.remind_at <= now]
    if not passed:
        return False
    # Of two clocks that both run out, the one that has gone the further is the one to speak of.
    which = max(passed, key=lambda one: max(at for at in (one.remind_at, one.due_at) if at <= now))
    notices.write_of_ticket(
        ticket,
        "ticket-due",
        mailed.of_ours(ticket),
        {
            "ticket": str(ticket.pk),
            "subject": ticket.subject,
            "what": which.what,
            "due_at": f"{which.due_at:%Y-%m-%d %H:%M}",
            "is_late": "yes" if which.due_at <= now else "",
        },
    )
    return True


def prune_inbound_mails() -> int:
    """Forget which mails came in a week ago; a gateway's signature is worth nothing long before that.

    Returns:
        how many rows went.
    """
    old = InboundMail.objects.filter(at__lt=clock.now() - KEPT).order_by("at").values_list("pk", flat=True)
    gone, _ = InboundMail.objects.filter(pk__in=list(old[:PRUNED])).delete()
    return gone
