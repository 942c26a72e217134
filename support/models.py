"""Rows of the support app: tickets, their messages, and notices to be sent."""

from __future__ import annotations

import uuid
from typing import ClassVar, Self

from django.db import models
from django.db.models import Q

from byokportal import clock
from tenants import roles
from tenants.models import AuditEvent, Tenant


class TicketQuerySet(models.QuerySet["Ticket"]):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)

    def open(self) -> Self:
        return self.exclude(status=Ticket.Status.CLOSED)


class Ticket(models.Model):
    """A tenant's request to support, or the one that the system opens for a step of its own."""

    class Topic(models.TextChoices):
        CONFIGURATION = "configuration", "Service-side configuration (step 5)"
        KEY = "key", "The key in service"
        QUESTION = "question", "Question"

    class Status(models.TextChoices):
        WAITING_FOR_KORE = "waiting_for_kore", "Waiting for Kore.ai"
        WAITING_FOR_TENANT = "waiting_for_tenant", "Waiting for you"
        IN_PROGRESS = "in_progress", "In progress"
        CLOSED = "closed", "Closed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="tickets")
    topic = models.CharField(max_length=16, choices=Topic, default=Topic.QUESTION)
    subject = models.CharField(max_length=200)
    status = models.CharField(max_length=24, choices=Status, default=Status.WAITING_FOR_KORE)
    registration_id = models.UUIDField(null=True)  # what a ticket of step 5 is about
    opened_by = models.CharField(max_length=200)
    since = models.DateTimeField(default=clock.now)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    closed_at = models.DateTimeField(null=True)
    objects = TicketQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at"]
        permissions: ClassVar = [(one.codename, one.label) for one in roles.STAFF_PERMISSIONS]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["registration_id"],
                condition=Q(topic="configuration") & ~Q(status="closed"),
                name="support_one_open_ticket_per_configuration",
            ),
        ]

    def __str__(self) -> str:
        return self.subject


class TicketMessage(models.Model):
    """One message of a ticket; internal ones are for support only."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="ticket_messages")
    ticket = models.ForeignKey(Ticket, on_delete=models.PROTECT, related_name="messages")
    author = models.CharField(max_length=200)
    is_internal = models.BooleanField(default=False)
    text = models.TextField(max_length=10_000)
    at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering: ClassVar = ["at", "id"]
        indexes: ClassVar = [models.Index(fields=["tenant", "at", "id"], name="support_message_by_tenant")]

    def __str__(self) -> str:
        return f"message of {self.ticket_id}"


class NoticeQuerySet(models.QuerySet["Notice"]):
    def failing(self) -> Self:
        """Mails that could not be sent so far, or that were given up."""
        return self.filter(sent_at=None, attempts__gt=0, claimed_at=None)


class Notice(models.Model):
    """A mail to be sent because of an event: the row is the job."""

    event = models.ForeignKey(AuditEvent, null=True, on_delete=models.PROTECT, related_name="notices")
    tenant = models.ForeignKey(Tenant, null=True, on_delete=models.PROTECT, related_name="notices")
    template = models.CharField(max_length=40)  # emails/<template>.subject.txt and .txt
    recipient = models.EmailField()
    context = models.JSONField(default=dict)  # words and ids; never a secret
    due_at = models.DateTimeField(null=True, default=clock.now)
    claimed_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    sent_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    objects = NoticeQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["event", "template", "recipient"], name="support_each_notice_once"),
        ]

    def __str__(self) -> str:
        return f"{self.template} to {self.recipient}"
