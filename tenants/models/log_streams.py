"""Receivers of a tenant's log: how far each has it, and when it gets the next lines."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import datetime
from typing import ClassVar, Self

from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Coalesce, Now
from django.utils.translation import gettext_lazy

from byokportal import clock
from tenants.models.organisations import Tenant


class LogStreamQuerySet(models.QuerySet["LogStream"]):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)

    def present(self) -> Self:
        return self.exclude(status=LogStream.Status.REMOVED)

    def on(self) -> Self:
        return self.filter(status=LogStream.Status.ON)

    def sending(self) -> Self:
        """Those that are on, but for organisations that wait for an owner after a restore."""
        return self.on().exclude(tenant__in=Tenant.objects.waiting_for_an_owner())

    def due(self, now: datetime | Now) -> Self:
        """Those that get lines now, and those that get a test, whatever their state."""
        lines = LogStream.objects.sending().filter(due_at__lte=now)
        return self.filter(Q(pk__in=lines.values("pk")) | Q(test_due_at__lte=now))

    def wake(self, tenants: Collection[uuid.UUID], now: datetime) -> set[uuid.UUID]:
        """Let the streams of logs that grow look for new lines; in the transaction in which the logs grow.

        Returns:
            tenants with a stream that somebody holds at this moment: it could not be told, so nothing of theirs may be
            sealed in this transaction. Nobody waits for anybody.
        """
        of_these = LogStream.objects.on().filter(tenant__in=tenants)
        if not (streams := dict(of_these.values_list("pk", "tenant_id"))):
            return set()
        held = LogStream.objects.filter(pk__in=streams).select_for_update(no_key=True, skip_locked=True)
        free = set(held.order_by("pk").values_list("pk", flat=True))
        LogStream.objects.filter(pk__in=free).update(
            woken_at=now, due_at=Coalesce(F("due_at"), Value(now)), behind_since=Coalesce(F("behind_since"), Value(now))
        )
        return {tenant for pk, tenant in streams.items() if pk not in free}


class LogStream(models.Model):
    """A receiver that gets the whole log of a tenant, line by line in the order of its numbers.

    Its address and its headers may be secrets, so they are stored sealed (tenants.sealing) and never shown.
    """

    class Format(models.TextChoices):
        WEBHOOK = "webhook", gettext_lazy("Signed batches (Standard Webhooks)")
        OTLP = "otlp", gettext_lazy("OpenTelemetry logs (OTLP over HTTP)")

    class Status(models.TextChoices):
        ON = "on", gettext_lazy("On")
        OFF = "off", gettext_lazy("Switched off")
        FAILING = "failing", gettext_lazy("Switched off by us: its receiver failed for days")
        REMOVED = "removed", gettext_lazy("Removed")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="log_streams")
    format = models.CharField(max_length=16, choices=Format)
    description = models.CharField(max_length=120)
    origin = models.CharField(max_length=300)  # scheme, host and port of the address
    header_names = models.JSONField(default=list)  # of the headers that the tenant gave
    status = models.CharField(max_length=16, choices=Status, default=Status.ON)
    # Sealed; empty once it is removed.
    sealed_address = models.TextField()
    sealed_headers = models.TextField(blank=True)  # OTLP: JSON, name → value
    sealed_secret = models.TextField(blank=True)  # webhook: what signs
    sealed_old_secret = models.TextField(blank=True)  # signs too until then
    old_secret_until = models.DateTimeField(null=True)

    # The number of the last line that the receiver took, and of the last one of the batch that is under way: what is
    # sent again has the same lines.
    acknowledged = models.PositiveBigIntegerField(default=0)
    attempted = models.PositiveBigIntegerField(null=True)
    replays = models.PositiveIntegerField(default=0)  # how often it was set back: a part of the name of each batch
    most_rows = models.PositiveIntegerField(default=500)  # in a batch: fewer once one was too large for the receiver
    # When the log grew last, and when lines are sent; null: there are none.
    woken_at = models.DateTimeField(default=clock.now)
    due_at = models.DateTimeField(null=True, default=clock.now)
    behind_since = models.DateTimeField(null=True, default=clock.now)  # null: it has all
    # Failures in a row since then; the owners were told.
    failures = models.PositiveIntegerField(default=0)
    failing_since = models.DateTimeField(null=True)
    told_at = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)
    rejected = models.PositiveBigIntegerField(default=0)  # lines that an OTLP receiver took and said it rejects
    # What the receiver answered last, bounded, and what we make of it.
    answered_at = models.DateTimeField(null=True)
    answer_status = models.PositiveIntegerField(null=True)
    answer = models.CharField(max_length=500, blank=True)
    why = models.CharField(max_length=200, blank=True)
    # A test is tried once.
    test_due_at = models.DateTimeField(null=True)
    tested_at = models.DateTimeField(null=True)
    test_why = models.CharField(max_length=200, blank=True)  # empty: it was taken
    # One worker at a time serves it; who had its turn longest ago is next.
    claimed_at = models.DateTimeField(null=True)
    turn_at = models.DateTimeField(null=True)
    made_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    objects = LogStreamQuerySet.as_manager()

    AT_MOST = 3  # of one tenant: as many as are served at once

    class Meta:
        ordering: ClassVar = ["created_at", "id"]
        indexes: ClassVar = [
            models.Index(fields=["due_at"], condition=Q(status="on", due_at__isnull=False), name="tenants_stream_due"),
            models.Index(
                fields=["test_due_at"], condition=Q(test_due_at__isnull=False), name="tenants_stream_test_due"
            ),
            models.Index(
                fields=["behind_since"],
                condition=Q(status="on", behind_since__isnull=False),
                name="tenants_stream_behind",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.description} ({self.origin})"

    @property
    def is_on(self) -> bool:
        return self.status == self.Status.ON
