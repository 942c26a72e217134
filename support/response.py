"""What follows from an incident of ours: one ticket, one page, mails held back, and who is back (design.md 8).

People are told what matters once. While an incident is open, mails that say "we cannot ask your key" are held; when it
ends, whoever is back gets one mail that says from when to when it was, and whoever is not gets what was held.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q

from byokportal import clock, words
from byokportal.translation import lazy
from keys.models import Incident, KeyRegistration
from support import services
from support.models import AffectedTenant, IncidentResponse, Notice, OnCallMessage, Ticket
from support.oncall import paging
from tenants import audit
from tenants import services as tenant_services
from tenants.audit import SYSTEM
from tenants.models import AuditEvent, Tenant

Mails, Action = IncidentResponse.Mails, OnCallMessage.Action
OVER = (
    lazy("From {since} to {until} we could not use the key, by a fault of ours."),
    lazy("You did nothing wrong and need not change anything."),
    lazy("The key answers again and is in service."),
)
A_MOMENT = timedelta(minutes=1)
OURS = "own_access_broken"  # the reason of a key that AWS refused while it may be our doing
# What a mail says that an incident holds back, and the state in which it is still true when the incident ends.
STILL_TRUE = {"key-unreachable": KeyRegistration.Status.UNREACHABLE, "key-suspended": KeyRegistration.Status.SUSPENDED}


def opened(event: AuditEvent, incident: Incident) -> None:
    """Open the ticket, call whoever is on call, note whom it concerns, hold mails that wait already."""
    response, _ = IncidentResponse.objects.get_or_create(incident=incident)
    if response.ticket_id is not None:
        return
    ours = tenant_services.create_canary_tenant(incident.service_role, actor=SYSTEM)
    ticket = services.open_ticket(
        ours,
        topic=Ticket.Topic.KEY,
        subject=f"Incident on {incident.service_role.name}"[:200],
        text=f"{audit.sentence(event)} The page of the incident shows who is affected and what to do.",
        status=Ticket.Status.WAITING_FOR_KORE,
        actor=SYSTEM,
    )
    IncidentResponse.objects.filter(pk=response.pk).update(ticket_id=ticket.pk)
    if incident.closed_at is None:
        paging.write(incident, Action.TRIGGER)
    held = KeyRegistration.objects.filter(
        tenant__service_role=incident.service_role, tenant__is_canary=False, status="unreachable", reason=OURS
    )
    rows = [
        AffectedTenant(incident=incident, tenant_id=tenant, since=at)
        for tenant, at in held.values_list("tenant", "moved_at")
    ]
    AffectedTenant.objects.bulk_create(rows, ignore_conflicts=True, batch_size=500)
    waiting = Notice.objects.filter(
        tenant__in=[row.tenant_id for row in rows], template__in=STILL_TRUE, sent_at=None, attempts=0
    )
    waiting.update(held_for=incident, due_at=None)


def closed(event: AuditEvent, incident: Incident) -> None:
    """End the page and the ticket, and let each held mail go that is still true."""
    paging.write(incident, Action.RESOLVE)
    response = IncidentResponse.objects.filter(incident=incident).first()
    if response is None:
        return
    held = Notice.objects.held().filter(held_for=incident)
    for template, status in STILL_TRUE.items():
        now_so = KeyRegistration.objects.filter(status=status).values("tenant")
        held.filter(template=template, tenant__in=now_so).update(due_at=clock.now())
    held.filter(template="key-recovered").update(due_at=clock.now())
    held.update(dropped_at=clock.now())
    ticket = Ticket.objects.open().filter(pk=response.ticket_id).first() if response.ticket_id else None
    if ticket is not None:
        services.close_ticket(ticket, reason=audit.sentence(event)[:200], actor=SYSTEM)


def of(tenant: Tenant, at: datetime) -> Incident | None:
    """Return the incident that was open on the service role of a tenant at that time."""
    there = Incident.objects.filter(service_role=tenant.service_role_id, opened_at__lte=at)
    return there.filter(Q(closed_at=None) | Q(closed_at__gte=at)).order_by("-opened_at").first()


def lost(event: AuditEvent, tenant: Tenant) -> None:
    """Note that we cannot use the key of a tenant for a reason of ours, and hold its mail.

    Without an incident the mail waits for a moment: it may be the first of many, and an incident that opens meanwhile
    holds it.
    """
    if audit.data_of(event).get("reason") != OURS:
        return
    incident = of(tenant, event.at)
    if incident is None:
        waits_until = clock.now() + A_MOMENT
        Notice.objects.filter(event=event, sent_at=None, attempts=0).update(due_at=waits_until)
        return
    affected, is_new = AffectedTenant.objects.get_or_create(
        incident=incident, tenant=tenant, defaults={"since": event.at}
    )
    if not is_new:  # lost once more: the time in which it was back is none of ours
        AffectedTenant.objects.filter(pk=affected.pk, back_at__lte=event.at).update(since=event.at, back_at=None)
    hold(incident, event, tenant)
    # What was blamed on it a moment before is taken back.
    since = event.at - timedelta(seconds=settings.MANY_DENIALS_SECONDS)
    blamed = Notice.objects.filter(tenant=tenant, template="key-suspended", created_at__gte=since)
    blamed.filter(sent_at=None, attempts=0, dropped_at=None).update(held_for=incident, due_at=None)


def hold_what_was_taken_back(event: AuditEvent, tenant: Tenant) -> None:
    """Hold the mail about a suspension that an incident has taken back before the mail was written."""
    incident = of(tenant, clock.now())
    if incident is not None and _is(tenant, KeyRegistration.Status.UNREACHABLE):
        hold(incident, event, tenant)


def _is(tenant: Tenant, status: str) -> bool:
    return KeyRegistration.objects.of(tenant).filter(status=status).exists()


def back(event: AuditEvent, tenant: Tenant) -> AffectedTenant | None:
    """Note that the key of a tenant answers again, or is the tenant's own matter again: what follows is none of ours.

    Called for each event by which a key is not "we cannot tell" any more; one that is missed would let a later recovery
    say that all the time until then was a fault of ours.

    Returns:
        what it met, when that was an incident and ends now; of several the newest.
    """
    met = AffectedTenant.objects.filter(tenant=tenant, back_at=None, since__lte=event.at)
    newest = met.order_by("-since", "-incident").first()
    if newest is None:
        return None
    met.update(back_at=event.at)
    newest.back_at = event.at
    return newest


def hold(incident: Incident, event: AuditEvent, tenant: Tenant) -> None:
    """Hold back the mails of an event, or do with them what was decided about the mails of its incident.

    What was decided is over with the incident: of what happens later the organisation hears.
    """
    response = IncidentResponse.objects.filter(incident=incident).first()
    decided = response.mails if response else Mails.HELD
    mails = Notice.objects.filter(event=event, sent_at=None, attempts=0)
    ended_at = Incident.objects.values_list("closed_at", flat=True).get(pk=incident.pk)
    if decided == Mails.DROPPED and (ended_at is None or event.at <= ended_at):
        mails.update(held_for=incident, due_at=None, dropped_at=clock.now())
        return
    if ended_at is None:
        if decided == Mails.HELD:
            mails.update(held_for=incident, due_at=None)
        return
    # It ended before this line of the log was read: what is not true any more is not sent.
    for template, status in STILL_TRUE.items():
        told = mails.filter(template=template)
        if told.exists() and not _is(tenant, status):
            told.update(held_for=incident, due_at=None, dropped_at=clock.now())


def over(met: AffectedTenant) -> str:
    """Return what a tenant is told once its key answers again: it is the only mail that it gets of the incident."""
    assert met.back_at is not None
    now = clock.now()
    since, until = words.minute(met.since, now=now), words.minute(met.back_at, now=now)
    return " ".join(OVER).format(since=since, until=until)
