"""When a key goes: incidents of ours that stop all moves, and drills of the kill switch."""

from __future__ import annotations

import uuid
from typing import ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy

from byokportal import clock
from keys.models.registration import KeyRegistration
from tenants.models import ServiceRole, Tenant


class Incident(models.Model):
    """Refusals on one service role that are ours until a person has looked or they are over:
    no tenant is blamed meanwhile."""

    service_role = models.ForeignKey(ServiceRole, on_delete=models.PROTECT, related_name="incidents")
    why = models.CharField(max_length=200)
    refused = models.PositiveIntegerField(default=0)  # registrations that AWS refused, at the most
    opened_at = models.DateTimeField(default=clock.now)
    seen_at = models.DateTimeField(default=clock.now)  # the last evidence that it is ours
    closed_at = models.DateTimeField(null=True)
    # the person; "" while it is open, or when it ended by itself
    closed_by = models.CharField(max_length=200, blank=True)
    closing_reason = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering: ClassVar = ["-opened_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["service_role"], condition=Q(closed_at=None), name="keys_one_open_incident_per_service_role"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.service_role}: {self.why}"


class RevocationDrillQuerySet(models.QuerySet["RevocationDrill"]):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)

    def open(self) -> Self:
        return self.filter(finished_at=None)


class RevocationDrill(models.Model):
    """A rehearsal of revocation: the tenant takes its key back in AWS, we measure,
    it gives the key again, we measure."""

    class Status(models.TextChoices):
        WAITING_FOR_REFUSAL = "waiting_for_refusal", gettext_lazy("Waiting for you to disable the key")
        STOPPING = "stopping", gettext_lazy("AWS refuses us: our processes stop")
        WAITING_FOR_KEY = "waiting_for_key", gettext_lazy("Stopped: waiting for you to enable the key")
        RECOVERING = "recovering", gettext_lazy("AWS lets us in again: service comes back")
        DONE = "done", gettext_lazy("Done")
        CANCELLED = "cancelled", gettext_lazy("Cancelled")
        EXPIRED = "expired", gettext_lazy("Ran out of time")
        INCONCLUSIVE = "inconclusive", gettext_lazy("Without a result: no process held a key")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="drills")
    registration = models.ForeignKey(KeyRegistration, on_delete=models.PROTECT, related_name="drills")
    status = models.CharField(max_length=24, choices=Status, default=Status.WAITING_FOR_REFUSAL)
    reason = models.CharField(max_length=200, blank=True)  # why it ended before it was done
    started_by = models.CharField(max_length=200)
    bound_seconds = models.PositiveIntegerField()  # it must stop within this, from AWS's first refusal on
    started_at = models.DateTimeField(default=clock.now)
    until = models.DateTimeField()  # it ends by itself then
    allowed_at = models.DateTimeField(null=True)  # AWS's last yes before its first no
    refused_at = models.DateTimeField(null=True)  # AWS's first no
    refused_code = models.CharField(max_length=64, blank=True)
    suspended_at = models.DateTimeField(null=True)  # we had judged it and told every process
    generation = models.PositiveBigIntegerField(null=True)  # of that stop: what the processes acknowledge
    # process → when it had dropped its keys, null while it has not; ISO 8601
    processes = models.JSONField(default=dict)
    # Branch keys that the processes held and dropped; null: not counted yet.
    # 0: there was nothing to stop, and nothing was measured.
    dropped = models.PositiveIntegerField(null=True)
    stopped_at = models.DateTimeField(null=True)  # the last process had dropped its keys
    answered_at = models.DateTimeField(null=True)  # AWS's first yes after it
    served_at = models.DateTimeField(null=True)  # the registration was active again
    finished_at = models.DateTimeField(null=True)
    objects = RevocationDrillQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-started_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant"], condition=Q(finished_at=None), name="keys_one_open_drill_per_tenant"
            ),
        ]

    def __str__(self) -> str:
        return f"Drill of {self.tenant}, {self.started_at:%Y-%m-%d %H:%M} UTC"

    @property
    def held_nothing(self) -> bool:
        """Whether no process held a key when AWS refused: how fast they stop cannot be seen then."""
        return self.dropped == 0

    @property
    def stopped_after(self) -> float | None:
        """Seconds from AWS's first refusal until the last process of ours had stopped;
        None also where none held anything."""
        if self.refused_at is None or self.stopped_at is None or self.held_nothing:
            return None
        return round((self.stopped_at - self.refused_at).total_seconds(), 1)

    @property
    def is_within_bound(self) -> bool | None:
        return None if self.stopped_after is None else self.stopped_after <= self.bound_seconds

    @property
    def served_after(self) -> float | None:
        """Seconds from AWS's first yes until the key was in service again."""
        if self.answered_at is None or self.served_at is None:
            return None
        return round((self.served_at - self.answered_at).total_seconds(), 1)
