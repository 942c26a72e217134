"""Operations on tickets: open, answer, close, open again, hand out, change, merge."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser, User
from django.db.models import Q

from byokportal import clock, secret_texts, words
from byokportal.errors import InvalidInput, NotAllowed
from byokportal.translation import translate as _
from support.errors import TicketClosed, TicketsNotMerged
from support.models import Ticket, TicketMessage
from support.services.texts import bounded_text
from support.tickets import clocks, waiting
from support.tickets.ticket_rows import CLOSED, MERGED, REOPENED
from tenants import audit, roles, transactions
from tenants import services as tenant_services
from tenants.audit import Actor
from tenants.models import Tenant

SUBJECT_LENGTH = 200  # characters
TEXT_LENGTH = 10_000  # characters
# Our people that a ticket can be handed to, as a form offers them.
PEOPLE = 200
# Of what somebody opens: a key in service holds up customers' data.
PRIORITIES = {Ticket.Topic.KEY: Ticket.Priority.HIGH}


@transactions.atomic
def open_ticket(
    tenant: Tenant,
    *,
    topic: str,
    subject: str,
    text: str,
    step: int | None = None,
    status: str = "",
    registration_id: uuid.UUID | None = None,
    actor: Actor,
) -> Ticket:
    """Open a ticket with its first message; whose turn it is follows from who wrote.

    Args:
        topic: one of `Ticket.Topic`; people open all but step 5's, which the system opens.
        step: of the guide, 1 to 6; None: it is about none of them.
        status: on whom it waits from the start, where the system knows better than that rule.
        registration_id: what the system opens it about; with the topic, the cause that closes it again.

    Raises:
        InvalidInput: a topic or step that there is not, or words that do not fit.
        SecretPasted: they hold a secret, also one of which each of the two has a part.
    """
    roles.require(actor, "support.open_ticket", tenant)
    secret_texts.refuse_in([("subject", subject), ("text", text)])
    subject = words.without_external_id(subject, tenant.external_id)
    if topic not in Ticket.Topic.values or (actor.kind != "system" and topic == Ticket.Topic.CONFIGURATION):
        choices = ", ".join(value for value in Ticket.Topic.values if value != Ticket.Topic.CONFIGURATION)
        raise InvalidInput(
            errors={
                "topic": [
                    _("The topic is one of %(choices)s. Sharing your ARNs opens the ticket of step 5.", choices=choices)
                ]
            }
        )
    if step is not None and step not in range(1, 7):
        raise InvalidInput(errors={"step": ["The step is a number from 1 to 6, or left out."]})
    waits = Ticket.Status.WAITING_FOR_TENANT if actor.kind == "staff" else Ticket.Status.WAITING_FOR_KORE
    ticket = Ticket(
        tenant=tenant,
        topic=topic,
        step=step,
        priority=PRIORITIES.get(Ticket.Topic(topic), Ticket.Priority.NORMAL),
        subject=bounded_text(subject, field="subject", limit=SUBJECT_LENGTH, lines=False),
        status=status or waits,
        registration_id=registration_id,
        opened_by=actor.label,
    )
    text = bounded_text(text, field="text", limit=TEXT_LENGTH, lines=True)
    waiting.begin(ticket, is_asked=actor.is_tenants, actor=actor)
    message = _add_message(ticket, text, is_internal=False, actor=actor)
    audit.record(
        "support.ticket.opened",
        tenant=tenant,
        actor=actor,
        target=ticket,
        subject=ticket.subject,
        message=message.pk,
    )
    return ticket


def _add_message(
    ticket: Ticket, text: str, *, is_internal: bool, mail_id: str = "", actor: Actor, at: datetime | None = None
) -> TicketMessage:
    text = words.without_external_id(text, ticket.tenant.external_id)
    return TicketMessage.objects.create(
        tenant_id=ticket.tenant_id,
        ticket=ticket,
        author=actor.label,
        is_internal=is_internal,
        text=text,
        mail_id=mail_id,
        at=at or clock.now(),
    )


def _reason_of(reason: str, ticket: Ticket) -> str:
    """Return the reason that a person gave, as the row, the log and the ticket may have it."""
    return tenant_services.reason_of(words.without_external_id(reason, ticket.tenant.external_id))


def current(ticket: Ticket) -> Ticket:
    """Return the ticket in which the conversation goes on: itself, or the one that it was merged into."""
    return ticket.merged_into or ticket


@transactions.atomic
def answer_ticket(
    ticket: Ticket, *, text: str, is_internal: bool = False, status: str = "", mail_id: str = "", actor: Actor
) -> None:
    """Add a message to an open ticket; whose turn it is follows from who wrote. A merged one goes on in the other.

    Args:
        is_internal: for support only; it does not change whose turn it is.
        status: on whom it waits now, where the system knows better than that rule.
        mail_id: Message-ID of the mail by which it came.

    Raises:
        TicketClosed: it takes no more messages.
        NotAllowed: a tenant's member does not write internal messages.
    """
    roles.require(actor, "support.answer_ticket", ticket.tenant)
    if is_internal and actor.is_tenants:
        raise NotAllowed(permission="support.answer_ticket")
    text = bounded_text(text, field="text", limit=TEXT_LENGTH, lines=True)
    ticket.refresh_from_db(fields=["status", "merged_into"])
    ticket = current(ticket)
    if not ticket.is_open:
        raise TicketClosed
    if not status:
        answered = Ticket.Status.WAITING_FOR_KORE if actor.is_tenants else Ticket.Status.WAITING_FOR_TENANT
        status = ticket.status if is_internal else answered
    is_answer = not is_internal and actor.kind == "staff"
    waiting.move(ticket, status, actor=actor, is_asked=actor.is_tenants, is_answered=is_answer)
    message = _add_message(ticket, text, is_internal=is_internal, mail_id=mail_id, actor=actor)
    audit.record(
        "support.ticket.answered",
        tenant=ticket.tenant,
        actor=actor,
        target=ticket,
        is_internal=is_internal,
        message=message.pk,
    )


@transactions.atomic
def close_ticket(ticket: Ticket, *, reason: str, actor: Actor) -> None:
    """Close a ticket; the reason is its last message.

    Raises:
        TicketClosed: it is closed already.
        ReasonMissing: a closed ticket says why.
    """
    roles.require(actor, "support.close_ticket", ticket.tenant)
    reason = _reason_of(reason, ticket)
    ticket.refresh_from_db(fields=["status"])
    if not ticket.is_open:
        raise TicketClosed
    waiting.move(ticket, Ticket.Status.CLOSED, reason=reason, actor=actor)
    message = _add_message(ticket, CLOSED.format(reason=reason), is_internal=False, actor=actor)
    audit.record(
        "support.ticket.closed", tenant=ticket.tenant, actor=actor, target=ticket, reason=reason, message=message.pk
    )


@transactions.atomic
def reopen_ticket(ticket: Ticket, *, reason: str, status: str = "", actor: Actor) -> None:
    """Open a closed ticket again; the reason is its next message.

    The clock to settle it begins anew, and the one of the first answer where nobody of ours has answered.

    Args:
        status: on whom it waits; "": on us.

    Raises:
        InvalidInput: it is open.
        TicketClosed: it was merged, and goes on in the other one.
        ReasonMissing: a ticket that is opened again says why.
    """
    roles.require(actor, "support.close_ticket", ticket.tenant)
    reason = _reason_of(reason, ticket)
    ticket.refresh_from_db(fields=["status"])
    if ticket.is_open:
        raise InvalidInput(errors={"reason": ["The ticket is open. Answer it instead."]})
    waiting.move(ticket, status or Ticket.Status.WAITING_FOR_KORE, reason=reason, actor=actor)
    message = _add_message(ticket, REOPENED.format(reason=reason), is_internal=False, actor=actor)
    audit.record(
        "support.ticket.reopened", tenant=ticket.tenant, actor=actor, target=ticket, reason=reason, message=message.pk
    )


def people() -> list[User]:
    """Return our people whom a ticket can be handed to: those who may answer one."""
    permission = roles.OPERATIONS["support.answer_ticket"].staff
    assert permission is not None
    holds = Q(groups__name__in=permission.groups) | Q(is_superuser=True)
    found = get_user_model().objects.filter(holds, is_active=True, is_staff=True).distinct()
    return list(found.order_by("email")[:PEOPLE])


@transactions.atomic
def assign_ticket(ticket: Ticket, *, to: AbstractBaseUser | None, actor: Actor) -> None:
    """Say which of our people takes care of a ticket; None: nobody does any more.

    Raises:
        InvalidInput: not one of ours, or one who may not answer.
    """
    roles.require(actor, "support.manage_ticket", ticket.tenant)
    user: Any = to
    if user is not None and not (user.is_active and user.is_staff and roles.staff_may(user, "support.answer_ticket")):
        raise InvalidInput(errors={"assignee": ["This person may not answer tickets."]})
    _require_open(ticket)
    Ticket.objects.filter(pk=ticket.pk).update(assignee=user)
    ticket.assignee = user
    audit.record(
        "support.ticket.assigned",
        tenant=ticket.tenant,
        actor=actor,
        target=ticket,
        subject=ticket.subject,
        assignee=user.email if user else "nobody",
    )


@transactions.atomic
def change_ticket(ticket: Ticket, *, topic: str, step: int | None, priority: str, actor: Actor) -> None:
    """Change what a ticket is about and how urgent it is; its clocks follow the priority.

    Raises:
        InvalidInput: a topic, step or priority that there is not; the topic of what the system opened stays.
        TicketClosed: it is closed.
    """
    roles.require(actor, "support.manage_ticket", ticket.tenant)
    _require_open(ticket)
    is_ours = ticket.registration_id is not None
    if (is_ours and topic != ticket.topic) or topic not in Ticket.Topic.values:
        raise InvalidInput(errors={"topic": ["The system opened it about this; that stays."]})
    if topic == Ticket.Topic.CONFIGURATION and not is_ours:
        raise InvalidInput(errors={"topic": ["The system opens tickets of step 5."]})
    if priority not in Ticket.Priority.values:
        raise InvalidInput(errors={"priority": [f"The priority is one of {', '.join(Ticket.Priority.values)}."]})
    if step is not None and step not in range(1, 7):
        raise InvalidInput(errors={"step": ["The step is a number from 1 to 6, or left out."]})
    ticket.refresh_from_db(fields=["status", *clocks.FIELDS])
    clocks.change_priority(ticket, priority, clock.now())
    ticket.topic, ticket.step = topic, step
    Ticket.objects.filter(pk=ticket.pk).update(topic=topic, step=step, **clocks.facts(ticket))
    audit.record(
        "support.ticket.changed",
        tenant=ticket.tenant,
        actor=actor,
        target=ticket,
        subject=ticket.subject,
        topic=Ticket.Topic(topic).label,
        step=step or "none",
        priority=Ticket.Priority(priority).label,
    )


def _require_open(ticket: Ticket) -> None:
    ticket.refresh_from_db(fields=["status"])
    if not ticket.is_open:
        raise TicketClosed


@transactions.atomic
def merge_ticket(ticket: Ticket, *, into: Ticket, reason: str, actor: Actor) -> None:
    """Merge a ticket into another one of the same tenant: its messages go there in the order of their times, and it is
    closed and points there.

    Raises:
        TicketsNotMerged: the same one, another tenant's, one of them is closed, or the system still works on this one.
        ReasonMissing: the tenant reads why.
    """
    roles.require(actor, "support.manage_ticket", ticket.tenant)
    reason = _reason_of(reason, ticket)
    if into.tenant_id != ticket.tenant_id or into.pk == ticket.pk:
        raise TicketsNotMerged(why="Choose another open ticket of the same organisation.")
    ticket.refresh_from_db(fields=["status"])
    into.refresh_from_db(fields=["status", "asked_at"])
    if not ticket.is_open or not into.is_open:
        raise TicketsNotMerged(why="Both of them have to be open.")
    if ticket.registration_id is not None:
        raise TicketsNotMerged(why="The system closes this one by itself. Merge the other one into it.")
    status = Ticket.Status.WAITING_FOR_KORE if ticket.whose_turn == "kore" else into.status
    waiting.move(ticket, Ticket.Status.CLOSED, reason=reason, actor=actor)
    Ticket.objects.filter(Q(pk=ticket.pk) | Q(merged_into=ticket)).update(merged_into=into)
    ticket.merged_into = into
    messages = TicketMessage.objects.filter(ticket=ticket)
    messages.filter(written_in=None).update(written_in=ticket)
    messages.update(ticket=into)
    waiting.move(into, status, reason=reason, actor=actor, is_asked=ticket.asked_at is not None)
    _add_message(into, MERGED.format(subject=ticket.subject, reason=reason), is_internal=False, actor=actor)
    audit.record(
        "support.ticket.merged",
        tenant=ticket.tenant,
        actor=actor,
        target=ticket,
        subject=ticket.subject,
        into=into.subject,
        reason=reason,
    )
