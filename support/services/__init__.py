"""Operations of the support app: what staff do for a tenant; tickets, webhooks and mails in their own modules."""

from __future__ import annotations

from datetime import datetime, timedelta

from byokportal import clock
from keys import services as key_services
from keys.models import RoleConfiguration
from support.errors import NothingToApprove
from support.services.bulk import approve_bulk, begin_bulk, record_end, refuse_bulk, resume_bulk, stop_bulk
from support.services.inbound_mails import Outcome, take_mail
from support.services.incidents import TEXT_LENGTH as INCIDENT_TEXT_LENGTH
from support.services.incidents import decide_held_mails, take_incident, tell_affected, test_on_call
from support.services.mails import choose_mails
from support.services.staff import record_review, record_staff_export
from support.services.suspensions import ALONE, suspend_key
from support.services.tickets import (
    SUBJECT_LENGTH,
    TEXT_LENGTH,
    answer_ticket,
    assign_ticket,
    change_ticket,
    close_ticket,
    current,
    merge_ticket,
    open_ticket,
    people,
    reopen_ticket,
)
from support.services.webhooks import (
    add_webhook,
    change_webhook,
    delivery_of,
    end_webhook,
    remove_webhook,
    replay_delivery,
    replay_failed,
    rotate_webhook_secret,
    switch_webhook,
    test_webhook,
    webhook_of,
    webhooks_of,
)
from tenants import audit, roles, transactions
from tenants.audit import Actor
from tenants.models import AuditEvent, Tenant

__all__ = [
    "ALONE",
    "INCIDENT_TEXT_LENGTH",
    "SUBJECT_LENGTH",
    "TEXT_LENGTH",
    "Outcome",
    "add_webhook",
    "answer_ticket",
    "approve_bulk",
    "approve_configuration",
    "assign_ticket",
    "begin_bulk",
    "change_ticket",
    "change_webhook",
    "choose_mails",
    "close_ticket",
    "current",
    "decide_held_mails",
    "delivery_of",
    "end_webhook",
    "merge_ticket",
    "open_ticket",
    "people",
    "record_end",
    "record_review",
    "record_staff_export",
    "record_view",
    "refuse_bulk",
    "remove_webhook",
    "reopen_ticket",
    "replay_delivery",
    "replay_failed",
    "resume_bulk",
    "rotate_webhook_secret",
    "stop_bulk",
    "suspend_key",
    "switch_webhook",
    "take_incident",
    "take_mail",
    "tell_affected",
    "test_on_call",
    "test_webhook",
    "webhook_of",
    "webhooks_of",
]

VIEWS_LOOKED_AT = 50  # for who looked within that time; a page that polls reads no more of a long log
VIEW_RECORDED_EVERY = timedelta(hours=1)


def is_view_recorded(at: datetime | None) -> bool:
    """Tell whether a look at that time, None for never, still stands for one now."""
    return at is not None and at > clock.now() - VIEW_RECORDED_EVERY


def approve_configuration(tenant: Tenant, *, reason: str, actor: Actor) -> None:
    """Let the worker do the service-side configuration that waits for a person (SERVICE_SIDE_APPROVAL=support).

    Raises:
        NothingToApprove: none waits.
    """
    roles.require(actor, "keys.approve", tenant)
    waiting = RoleConfiguration.objects.of(tenant).filter(status=RoleConfiguration.Status.WAITING_FOR_APPROVAL).first()
    if waiting is None:
        raise NothingToApprove
    key_services.approve_configuration(waiting, reason=reason, actor=actor)


@transactions.atomic
def record_view(tenant: Tenant, *, actor: Actor) -> None:
    """Write into the tenant's log that staff looked at it: once an hour for each person, to keep it readable."""
    since = clock.now() - VIEW_RECORDED_EVERY
    newest = AuditEvent.objects.of(tenant).filter(name="tenants.tenant.viewed").order_by("-id")[:VIEWS_LOOKED_AT]
    if not any(audit.actor_of(view) == actor.label and view.at > since for view in newest):
        audit.record("tenants.tenant.viewed", tenant=tenant, actor=actor, target=tenant)


def record_export(*, filters: str, actor: Actor) -> None:
    """Write into our log that somebody took the fleet, or a part of it, with them.

    Args:
        filters: what was asked for, as the end of an address; "" is all of it.
    """
    audit.record("support.fleet.exported", tenant=None, actor=actor, filters=filters[:500] or "all tenants")
