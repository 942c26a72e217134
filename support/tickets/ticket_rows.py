"""Rows of tickets: the tickets, their messages and moves, and which mails came in."""

from __future__ import annotations

import uuid
from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy

from byokportal import clock, stored_sentences
from byokportal.translation import lazy
from tenants import roles
from tenants.models import Tenant

SYSTEM = "system"  # the label of `audit.SYSTEM`
# What a message of a person begins with where it closed a ticket, opened it again, or merged one into it.
CLOSED, REOPENED = lazy("Closed: {reason}"), lazy("Opened again: {reason}")
MERGED = lazy("“{subject}” was merged into this ticket: {reason}")


class TicketQuerySet(models.QuerySet["Ticket"]):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)

    def open(self) -> Self:
        return self.exclude(status=Ticket.Status.CLOSED)


class Ticket(models.Model):
    """A tenant's request to support, or the one that the system opens for a cause of its own.

    A cause is (topic, registration_id): what opened a ticket closes it, and opens it again when it returns.
    """

    class Topic(models.TextChoices):
        CONFIGURATION = "configuration", gettext_lazy("Service-side configuration (step 5)")
        SETUP = "setup", gettext_lazy("Set-up in your AWS account")
        KEY = "key", gettext_lazy("The key in service")
        ACCESS = "access", gettext_lazy("People, tokens and sign-on")
        QUESTION = "question", gettext_lazy("Question")

    class Status(models.TextChoices):
        WAITING_FOR_KORE = "waiting_for_kore", gettext_lazy("Waiting for Kore.ai")
        WAITING_FOR_TENANT = "waiting_for_tenant", gettext_lazy("Waiting for you")
        IN_PROGRESS = "in_progress", gettext_lazy("In progress")
        CLOSED = "closed", gettext_lazy("Closed")

    class Priority(models.TextChoices):
        URGENT = "urgent", "Urgent"
        HIGH = "high", "High"
        NORMAL = "normal", "Normal"
        LOW = "low", "Low"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="tickets")
    topic = models.CharField(max_length=16, choices=Topic, default=Topic.QUESTION)
    # of the guide, 1 to 6; None: it is about none of them
    step = models.PositiveSmallIntegerField(null=True)
    priority = models.CharField(max_length=8, choices=Priority, default=Priority.NORMAL, db_default="normal")
    subject = models.CharField(max_length=200)
    # on whom it waits; it changes by `waiting.move` alone
    status = models.CharField(max_length=24, choices=Status, default=Status.WAITING_FOR_KORE)
    # which of Kore.ai's people takes care of it
    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    registration_id = models.UUIDField(null=True)  # what the system opened it about
    merged_into = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="merged")
    opened_by = models.CharField(max_length=200)
    since = models.DateTimeField(default=clock.now)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    closed_at = models.DateTimeField(null=True)
    # The clocks (`support.tickets.clocks`). Somebody of the tenant asked; None: nobody has yet.
    asked_at = models.DateTimeField(null=True)
    first_answer_due_at = models.DateTimeField(null=True)
    first_answered_at = models.DateTimeField(null=True)
    # None while it is paused or over; then this much is left of it.
    resolution_due_at = models.DateTimeField(null=True)
    resolution_left = models.DurationField(null=True)
    # The nearer of the clocks that run, and when somebody is reminded of one.
    due_at = models.DateTimeField(null=True)
    remind_at = models.DateTimeField(null=True)
    reopened = models.PositiveIntegerField(default=0, db_default=0)
    objects = TicketQuerySet.as_manager()

    class Meta:
        app_label = "support"
        ordering: ClassVar = ["-created_at"]
        permissions: ClassVar = [(one.codename, one.label) for one in roles.STAFF_PERMISSIONS]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["registration_id", "topic"], condition=~Q(status="closed"), name="support_one_open_per_cause"
            ),
            models.CheckConstraint(
                condition=Q(merged_into=None) | Q(status="closed"), name="support_merged_ticket_is_closed"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["status", "since", "id"], name="support_ticket_by_status"),
            models.Index(fields=["status", "due_at", "id"], name="support_ticket_by_clock"),
            models.Index(fields=["status", "closed_at", "id"], name="support_ticket_by_end"),
            models.Index(fields=["status", "topic", "due_at", "id"], name="support_ticket_by_topic"),
            models.Index(fields=["status", "priority", "due_at", "id"], name="support_ticket_by_priority"),
            models.Index(fields=["status", "assignee", "due_at", "id"], name="support_ticket_by_assignee"),
            models.Index(fields=["assignee"], name="support_ticket_of_person"),
            models.Index(fields=["remind_at"], condition=Q(remind_at__isnull=False), name="support_ticket_remind"),
            models.Index(fields=["-created_at"], name="support_ticket_newest"),
        ]

    def __str__(self) -> str:
        return self.subject

    @property
    def shown_subject(self) -> str:
        """Return the subject in the language of whoever reads it, where it is ours."""
        return stored_sentences.again(self.subject) if self.opened_by == SYSTEM else self.subject

    @property
    def whose_turn(self) -> str:
        """Return on whom it waits, in the API's word."""
        return TURNS[Ticket.Status(self.status)]

    @property
    def is_open(self) -> bool:
        return self.status != Ticket.Status.CLOSED


TURNS = {
    Ticket.Status.WAITING_FOR_KORE: "kore",
    Ticket.Status.IN_PROGRESS: "kore",
    Ticket.Status.WAITING_FOR_TENANT: "tenant",
    Ticket.Status.CLOSED: "nobody",
}


class TicketMessage(models.Model):
    """One message of a ticket; internal ones are for support only."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="ticket_messages", db_index=False)
    ticket = models.ForeignKey(Ticket, on_delete=models.PROTECT, related_name="messages")
    # the ticket that it was written in, where that was merged into this one
    written_in = models.ForeignKey(Ticket, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    author = models.CharField(max_length=200)
    is_internal = models.BooleanField(default=False)
    text = models.TextField(max_length=10_000)
    # Message-ID of the mail by which it came; an answer to its author names it
    mail_id = models.CharField(max_length=250, blank=True, default="", db_default="")
    at = models.DateTimeField(default=clock.now)

    class Meta:
        app_label = "support"
        ordering: ClassVar = ["at", "id"]
        indexes: ClassVar = [models.Index(fields=["tenant", "at", "id"], name="support_message_by_tenant")]

    def __str__(self) -> str:
        return f"message of {self.ticket_id}"


class TicketMove(models.Model):
    """One change of whom a ticket waits for, with its reason."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+", db_index=False)
    ticket = models.ForeignKey(Ticket, on_delete=models.PROTECT, related_name="moves")
    old_status = models.CharField(max_length=24)
    new_status = models.CharField(max_length=24, choices=Ticket.Status)
    reason = models.CharField(max_length=200, blank=True)
    actor = models.CharField(max_length=200)
    at = models.DateTimeField(default=clock.now)

    class Meta:
        app_label = "support"
        ordering: ClassVar = ["at", "id"]

    def __str__(self) -> str:
        return f"{self.old_status} to {self.new_status}"


class InboundMail(models.Model):
    """That a mail came in, and what became of it: no mail is taken twice. Nothing of its text stands here."""

    # SHA-256 of the id that the gateway gave its delivery
    delivery = models.CharField(max_length=64, unique=True)
    # SHA-256 of (ticket, person, Message-ID); "" of a mail that was not taken
    message = models.CharField(max_length=64, blank=True)
    ticket = models.ForeignKey(Ticket, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    outcome = models.CharField(max_length=24)
    at = models.DateTimeField(default=clock.now)

    class Meta:
        app_label = "support"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["message"], condition=~Q(message=""), name="support_each_mail_once"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["at"], name="support_inbound_by_age"),
            models.Index(fields=["user", "at"], name="support_inbound_by_person"),
        ]

    def __str__(self) -> str:
        return f"{self.outcome} at {self.at}"
