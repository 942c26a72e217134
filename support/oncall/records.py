"""Rows of incidents as we handle them: the response, whom it concerns, and the messages to whoever is on call."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import ClassVar, Self

from django.db import models
from django.db.models import Q

from byokportal import clock
from keys.models import Incident
from tenants.models import Tenant


class IncidentResponse(models.Model):
    """What we do about one incident: who has taken it, the ticket, and what becomes of the mails that are held."""

    class Mails(models.TextChoices):
        HELD = "held", "Held back until it is over"
        RELEASED = "released", "Sent as they come"
        DROPPED = "dropped", "Not sent"

    incident = models.OneToOneField(Incident, primary_key=True, on_delete=models.PROTECT, related_name="response")
    # of our own tenant on that service role; a plain id, as tickets are kept by another part
    ticket_id = models.UUIDField(null=True)
    mails = models.CharField(max_length=16, choices=Mails, default=Mails.HELD)
    taken_by = models.CharField(max_length=200, blank=True)
    taken_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"response to {self.incident_id}"


class AffectedTenant(models.Model):
    """An organisation whose key we could not use because of an incident: since when, until when, when it was told."""

    incident = models.ForeignKey(Incident, on_delete=models.PROTECT, related_name="affected", db_index=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="incidents_met")
    since = models.DateTimeField()
    # null: not yet
    back_at = models.DateTimeField(null=True)
    told_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["incident", "tenant"], name="support_each_affected_once"),
        ]

    def __str__(self) -> str:
        return f"{self.tenant_id} in {self.incident_id}"


class OnCallMessageQuerySet(models.QuerySet["OnCallMessage"]):
    def pending(self) -> Self:
        return self.filter(status=OnCallMessage.Status.PENDING)

    def due(self, now: datetime) -> Self:
        return self.pending().filter(due_at__lte=now)


class OnCallMessage(models.Model):
    """One message to one receiver of ours: the row is the job. Each action of an incident is sent once to each."""

    class Channel(models.TextChoices):
        WEBHOOK = "webhook", "Signed webhook"
        PAGERDUTY = "pagerduty", "PagerDuty (Events API v2)"

    class Action(models.TextChoices):
        TRIGGER = "trigger", "Page"
        ACKNOWLEDGE = "acknowledge", "Taken"
        RESOLVE = "resolve", "Over"

    class Status(models.TextChoices):
        PENDING = "pending", "Waiting"
        DELIVERED = "delivered", "Delivered"
        DEAD = "dead", "Given up"
        NOT_NEEDED = "not_needed", "Not needed any more"

    id = models.BigAutoField(primary_key=True)
    # What the receiver knows it by, the same at each attempt.
    message_id = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    # null: a test
    incident = models.ForeignKey(Incident, null=True, on_delete=models.PROTECT, related_name="on_call_messages")
    channel = models.CharField(max_length=16, choices=Channel)
    action = models.CharField(max_length=16, choices=Action)
    # By it the receiver knows that trigger, acknowledge and resolve are of one page.
    dedup_key = models.CharField(max_length=200)
    status = models.CharField(max_length=16, choices=Status, default=Status.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField(default=clock.now)
    last_at = models.DateTimeField(null=True)
    answer_status = models.PositiveIntegerField(null=True)
    why = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    objects = OnCallMessageQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["dedup_key", "channel", "action"], name="support_each_page_once_a_channel"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["due_at"], condition=Q(status="pending"), name="support_on_call_due"),
        ]

    def __str__(self) -> str:
        return f"msg_{self.message_id.hex}"
