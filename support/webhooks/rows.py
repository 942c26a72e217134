"""Rows of webhooks: the endpoints of an organisation, and what is delivered to each."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import ClassVar, Self

from django.db import models
from django.db.models import Case, Exists, F, OuterRef, Q, When
from django.db.models.functions import Coalesce, Greatest, Now
from django.utils.translation import gettext_lazy

from byokportal import clock
from tenants.models import AuditEvent, Tenant


class WebhookEndpointQuerySet(models.QuerySet["WebhookEndpoint"]):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)

    def present(self) -> Self:
        return self.exclude(status=WebhookEndpoint.Status.REMOVED)

    def on(self) -> Self:
        return self.filter(status=WebhookEndpoint.Status.ON)

    def due(self, now: datetime | Now) -> Self:
        """Those with something to deliver now; a test is delivered to one that is paused or switched off, too."""
        waiting = WebhookDelivery.objects.due(now).filter(endpoint=OuterRef("pk"))
        works = Q(status=WebhookEndpoint.Status.ON) & (Q(next_at=None) | Q(next_at__lte=now))
        works &= ~Q(tenant__in=Tenant.objects.waiting_for_an_owner())
        return self.present().filter((works & Q(Exists(waiting))) | Q(Exists(waiting.filter(event=None))))


class WebhookEndpoint(models.Model):
    """An address of an organisation that gets its events.

    The address may be a secret itself (Slack's are), so it is stored sealed, and its origin alone is shown.
    """

    class Format(models.TextChoices):
        STANDARD = "standard", gettext_lazy("Standard Webhooks (signed JSON)")
        SLACK = "slack", gettext_lazy("Slack (incoming webhook)")
        PAGERDUTY = "pagerduty", gettext_lazy("PagerDuty (Events API v2)")

    class Status(models.TextChoices):
        ON = "on", gettext_lazy("On")
        OFF = "off", gettext_lazy("Switched off")
        FAILING = "failing", gettext_lazy("Switched off by us: its receiver failed for days")
        REMOVED = "removed", gettext_lazy("Removed")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="webhooks")
    format = models.CharField(max_length=16, choices=Format, default=Format.STANDARD)
    description = models.CharField(max_length=120)
    origin = models.CharField(max_length=300)  # scheme, host and port of the address
    kinds = models.JSONField(default=list)  # of support.kinds
    status = models.CharField(max_length=16, choices=Status, default=Status.ON)
    # Sealed by tenants.sealing; empty once it is removed.
    sealed_address = models.TextField()
    sealed_secret = models.TextField(blank=True)  # standard: what signs
    sealed_old_secret = models.TextField(blank=True)  # signs too until then
    old_secret_until = models.DateTimeField(null=True)
    sealed_routing_key = models.TextField(blank=True)  # PagerDuty's
    # Failures in a row since then, and until when nothing is tried; the owners were told that something was given up.
    failures = models.PositiveIntegerField(default=0)
    failing_since = models.DateTimeField(null=True)
    next_at = models.DateTimeField(null=True)
    told_at = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)
    # One worker at a time delivers to it; who had its turn longest ago is next.
    claimed_at = models.DateTimeField(null=True)
    turn_at = models.DateTimeField(null=True)
    made_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    objects = WebhookEndpointQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["created_at", "id"]

    def __str__(self) -> str:
        return f"{self.description} ({self.origin})"


class WebhookDeliveryQuerySet(models.QuerySet["WebhookDelivery"]):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)

    def due(self, now: datetime | Now) -> Self:
        return self.filter(status=WebhookDelivery.Status.PENDING, due_at__lte=now)

    def awaited(self) -> Self:
        """What a worker is to send, and in `awaited_since` from when: nothing while its receiver is paused."""
        of_receiver = Greatest("due_at", Coalesce("endpoint__next_at", "due_at"))
        since = Case(When(event=None, then=F("due_at")), default=of_receiver)
        works = Q(endpoint__status=WebhookEndpoint.Status.ON)
        works &= ~Q(tenant__in=Tenant.objects.waiting_for_an_owner())
        return self.filter(works | Q(event=None), status=WebhookDelivery.Status.PENDING).annotate(awaited_since=since)


class WebhookDelivery(models.Model):
    """One event for one endpoint: the row is the job. Without an event it is a test."""

    class Status(models.TextChoices):
        PENDING = "pending", gettext_lazy("Waiting")
        DELIVERED = "delivered", gettext_lazy("Delivered")
        DEAD = "dead", gettext_lazy("Given up")

    id = models.BigAutoField(primary_key=True)
    # What the receiver knows it by, the same at each attempt and replay.
    message_id = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="webhook_deliveries")
    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.PROTECT, related_name="deliveries", db_index=False)
    # No constraint: PostgreSQL has none to a partitioned table by the id alone (docs/adr/0031).
    event = models.ForeignKey(
        AuditEvent,
        null=True,
        on_delete=models.PROTECT,
        related_name="webhook_deliveries",
        db_index=False,
        db_constraint=False,
    )
    status = models.CharField(max_length=16, choices=Status, default=Status.PENDING)
    attempts = models.PositiveIntegerField(default=0)  # since it was written, or asked for again
    due_at = models.DateTimeField(default=clock.now)
    queued_at = models.DateTimeField(default=clock.now)  # when it was written, or asked for again
    last_at = models.DateTimeField(null=True)
    # What the receiver answered last, bounded, and what we make of it.
    answer_status = models.PositiveIntegerField(null=True)
    answer = models.CharField(max_length=500, blank=True)
    why = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    objects = WebhookDeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "webhook deliveries"
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["event", "endpoint"], name="support_each_event_once_an_endpoint"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["endpoint", "id"], name="support_delivery_by_endpoint"),
            models.Index(fields=["endpoint", "due_at"], condition=Q(status="pending"), name="support_delivery_due"),
            models.Index(fields=["created_at"], name="support_delivery_by_age"),
        ]

    def __str__(self) -> str:
        return f"msg_{self.message_id.hex}"
