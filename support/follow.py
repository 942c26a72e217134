"""Reads the log and does what follows: tickets, mails, webhooks. Each event once, in one transaction with its mark."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import timedelta

import structlog
from django.conf import settings
from django.db.models import F, Q

from byokportal import clock, database
from keys.models import Incident
from support import closed, mails, notices, reactions, response
from support.models import WebhookEndpoint
from support.webhooks import deliveries
from tenants import audit, transactions
from tenants.models import AuditEvent, Tenant

log = structlog.get_logger(__name__)
CHUNK = 100  # events that are read at once
A_MOMENT, AN_HOUR = timedelta(minutes=1), timedelta(hours=1)  # until what could not be followed is tried again


def follow(limit: int = 500) -> int:
    """Follow what was not followed yet; safe to run anywhere, at any time, by several workers at once.

    An event that cannot be followed (a bug) is logged, counted for support to see, and tried again after an hour: it
    holds up no other, however many of them there are.

    Returns:
        how many events had something to follow.
    """
    # An organisation with a webhook may want any of its events there; of the others only these lead to something.
    known = Q(name__in=[*reactions.REACTIONS, *INCIDENTS, *ACCOUNTS]) | Q(
        tenant__in=WebhookEndpoint.objects.on().values("tenant")
    )
    nothing = AuditEvent.objects.not_followed().exclude(known)
    transactions.run(lambda: nothing.update(followed_at=clock.now()))
    followed = tried = after = 0
    held: set[uuid.UUID | None] = set()  # tenants that an operation holds now: their events are for the next run
    while tried < limit:
        due = AuditEvent.objects.due(clock.now()).filter(known, pk__gt=after).exclude(tenant__in=held).order_by("pk")
        events = list(due.values_list("pk", "tenant_id")[:CHUNK])
        if not events:
            break
        for pk, tenant_id in events:
            after = pk
            if tenant_id in held:
                continue
            tried += 1
            outcome = _attempt(pk, tenant_id)
            if outcome is None:
                held.add(tenant_id)
            followed += bool(outcome)
    return followed


def _attempt(pk: int, tenant_id: uuid.UUID | None) -> bool | None:
    """Follow one event, or put it off; None: its tenant is held at this moment."""
    try:
        return _follow_one(pk, tenant_id)
    except Exception as error:
        unusable = database.is_unusable(error)  # that says nothing about the event
        log.exception("event_not_followed", event_id=pk)
        AuditEvent.objects.not_followed().filter(pk=pk).update(
            next_at=clock.now() + (A_MOMENT if unusable else AN_HOUR), attempts=F("attempts") + (0 if unusable else 1)
        )
        return False


@transactions.atomic
def _follow_one(pk: int, tenant_id: uuid.UUID | None) -> bool | None:
    tenant = None
    if tenant_id is not None:
        # One follower a tenant: a later event must see the ticket that an earlier one opens. Events of others do not
        # wait for a tenant that an operation holds: the next run follows what is left here.
        tenant = Tenant.objects.select_for_update(no_key=True, skip_locked=True).filter(pk=tenant_id).first()
        if tenant is None:
            return None
    # The mark and what follows commit together; whoever loses the compare-and-set leaves the event to the winner.
    if not AuditEvent.objects.filter(pk=pk, followed_at=None).update(followed_at=clock.now()):
        return False
    event = AuditEvent.objects.get(pk=pk)
    if tenant is None:
        return _follow_ours(event)
    reaction = reactions.REACTIONS.get(event.name)
    if tenant.is_canary:  # ours: it has no people, and what it meets is an incident or nothing
        return False
    if tenant.closed_at is not None and event.name not in closed.FOLLOWED:
        return False  # nobody is in it, and nothing of it is sent anywhere
    if reaction is not None:
        reaction(event, tenant)
    deliveries.write(event, tenant)
    return True


def _follow_ours(event: AuditEvent) -> bool:
    """What happened to our own side concerns no tenant: the people on call are told."""
    data = audit.data_of(event)
    if event.name in ACCOUNTS:
        template, address = ACCOUNTS[event.name]
        recipient = str(data[address])
    elif event.name in INCIDENTS:
        template, recipient = INCIDENTS[event.name], settings.SUPPORT_EMAIL
    else:
        return False
    target = json.loads(event.payload)["target"]
    if event.name in RESPONSES:
        RESPONSES[event.name](event, Incident.objects.select_related("service_role").get(pk=target))
    known = {"target": target, "incident": target, **notices.change(event)}
    notices.write(event, template, recipient, {name: known[name] for name in mails.MAILS[template].context})
    return True


# Mails about one account: template, and what of the event's data is the address.
ACCOUNTS = {
    "tenants.staff.created": ("staff-invitation", "email"),
    "tenants.staff.regrouped": ("account-changed", "email"),
    "tenants.second_factor.reset": ("account-changed", "email"),
    "tenants.address.change_requested": ("address-change", "email"),
    "tenants.member.address_changed": ("address-changed", "old"),
    "tenants.account.sign_in_changed": ("sign-in-changed", "email"),
}
# What else follows from an incident; its mail is below.
RESPONSES: dict[str, Callable[[AuditEvent, Incident], None]] = {
    "keys.incident.opened": response.opened,
    "keys.incident.closed": response.closed,
    "keys.incident.closed_by_hand": response.closed,
}
INCIDENTS = {
    "keys.incident.opened": "incident-opened",
    "keys.service_roles.short": "service-roles-short",
    "keys.policy.drifted": "policy-drifted",
    "keys.policy.restoration_begun": "policy-drifted",
    "keys.policy.review_overdue": "policy-drifted",
    "keys.policy.not_resolved": "policy-drifted",
    "keys.log_head.refused": "log-head-refused",
    "keys.incident.closed": "incident-closed",
    "keys.incident.closed_by_hand": "incident-closed",
}
