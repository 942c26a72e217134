"""Operations of the support app: tickets, and what staff do for a tenant."""

from __future__ import annotations

import uuid
from datetime import timedelta

from byokportal import clock, secret_texts, words
from byokportal.errors import InvalidInput, NotAllowed
from keys import services as key_services
from keys.models import RoleConfiguration
from support.errors import NothingToApprove, TicketClosed
from support.models import Ticket, TicketMessage
from tenants import audit, roles, transactions
from tenants import services as tenant_services
from tenants.audit import Actor
from tenants.models import AuditEvent, Tenant

SUBJECT_LENGTH = 200  # characters
TEXT_LENGTH = 10_000  # characters
VIEWS_LOOKED_AT = 50  # for who looked within that time; a page that polls reads no more of a long log
VIEW_RECORDED_EVERY = timedelta(hours=1)


def _words(text: str, *, field: str, limit: int, lines: bool) -> str:
    """Return what a person wrote, trimmed and bounded; control characters, lone surrogates and secrets are refused."""
    secret_texts.refuse(text, field=field)
    text = text.replace("\r\n", "\n").strip()
    if not lines:
        text = " ".join(text.split())
    if not text:
        raise InvalidInput(errors={field: ["Write something here."]})
    if len(text) > limit:
        raise InvalidInput(errors={field: [f"This has {len(text):,} characters; {limit:,} fit here."]})
    if any((ord(c) < 32 and c not in "\n\t") or ord(c) == 127 or 0xD800 <= ord(c) <= 0xDFFF for c in text):
        raise InvalidInput(
            errors={field: ["There is a character in it that no text has. Copy it without that, or type it."]}
        )
    return text


@transactions.atomic
def open_ticket(
    tenant: Tenant,
    *,
    topic: str,
    subject: str,
    text: str,
    status: str = Ticket.Status.WAITING_FOR_KORE,
    registration_id: uuid.UUID | None = None,
    actor: Actor,
) -> Ticket:
    """Open a ticket with its first message.

    Args:
        topic: one of `Ticket.Topic`; people open questions and tickets about the key, the system opens step 5's.
        status: on whom it waits from the start.
        registration_id: what a ticket of step 5 is about; only the system gives it.

    Raises:
        InvalidInput: a topic that there is not, or words that do not fit.
    """
    roles.require(actor, "support.open_ticket", tenant)
    if topic not in Ticket.Topic.values or (actor.kind != "system" and topic == Ticket.Topic.CONFIGURATION):
        choices = ", ".join(value for value in Ticket.Topic.values if value != Ticket.Topic.CONFIGURATION)
        raise InvalidInput(
            errors={"topic": [f"The topic is one of {choices}. Sharing your ARNs opens the ticket of step 5."]}
        )
    ticket = Ticket.objects.create(
        tenant=tenant,
        topic=topic,
        subject=_words(subject, field="subject", limit=SUBJECT_LENGTH, lines=False),
        status=status,
        registration_id=registration_id,
        opened_by=actor.label,
    )
    _say(ticket, _words(text, field="text", limit=TEXT_LENGTH, lines=True), is_internal=False, actor=actor)
    audit.record("support.ticket.opened", tenant=tenant, actor=actor, target=ticket, subject=ticket.subject)
    return ticket


def _say(ticket: Ticket, text: str, *, is_internal: bool, actor: Actor) -> None:
    text = words.without_external_id(text, ticket.tenant.external_id)
    TicketMessage.objects.create(
        tenant_id=ticket.tenant_id, ticket=ticket, author=actor.label, is_internal=is_internal, text=text
    )


def _set_status(ticket: Ticket, status: str) -> None:
    """Set the status of a ticket that is still open; it keeps its `since` while nothing changes.

    Raises:
        TicketClosed: somebody closed it.
    """
    now = clock.now()
    facts = {"status": status} | ({} if ticket.status == status else {"since": now})
    if status == Ticket.Status.CLOSED:
        facts["closed_at"] = now
    if not Ticket.objects.open().filter(pk=ticket.pk).update(**facts):
        raise TicketClosed
    for name, value in facts.items():
        setattr(ticket, name, value)


@transactions.atomic
def answer_ticket(ticket: Ticket, *, text: str, is_internal: bool = False, status: str = "", actor: Actor) -> None:
    """Add a message to an open ticket; whose turn it is follows from who wrote.

    Args:
        is_internal: for support only; it does not change whose turn it is.
        status: on whom it waits now, where the system knows better than that rule.

    Raises:
        TicketClosed: it takes no more messages.
        NotAllowed: a tenant's member does not write internal messages.
    """
    roles.require(actor, "support.answer_ticket", ticket.tenant)
    if is_internal and actor.is_tenants:
        raise NotAllowed(permission="support.answer_ticket")
    text = _words(text, field="text", limit=TEXT_LENGTH, lines=True)
    if not status:
        answered = Ticket.Status.WAITING_FOR_KORE if actor.is_tenants else Ticket.Status.WAITING_FOR_TENANT
        status = ticket.status if is_internal else answered
    _set_status(ticket, status)
    _say(ticket, text, is_internal=is_internal, actor=actor)
    audit.record("support.ticket.answered", tenant=ticket.tenant, actor=actor, target=ticket, is_internal=is_internal)


@transactions.atomic
def close_ticket(ticket: Ticket, *, reason: str, actor: Actor) -> None:
    """Close a ticket; the reason is its last message.

    Raises:
        TicketClosed: it is closed already.
        ReasonMissing: a closed ticket says why.
    """
    roles.require(actor, "support.close_ticket", ticket.tenant)
    reason = tenant_services.reason_of(reason)
    _set_status(ticket, Ticket.Status.CLOSED)
    _say(ticket, f"Closed: {reason}", is_internal=False, actor=actor)
    audit.record("support.ticket.closed", tenant=ticket.tenant, actor=actor, target=ticket, reason=reason)


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
    if not any(view.actor == actor.label[:200] and view.at > since for view in newest):
        audit.record("tenants.tenant.viewed", tenant=tenant, actor=actor, target=tenant)
