"""Our own tenants that go the whole path all day: one for each service role and Region in use."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar, Self

from django.db import models

from byokportal import clock
from tenants.models import ServiceRole, Tenant

# A canary that has not come through for so long fails, whatever keeps it.
STALE = timedelta(minutes=15)


class CanaryQuerySet(models.QuerySet["Canary"]):
    def failing(self, now: datetime) -> Self:
        """Those that do not come through, and those of which nothing good was heard for long."""
        return self.filter(models.Q(failing_since__isnull=False) | models.Q(heard_at__lte=now - STALE))


class Canary(models.Model):
    """A tenant of ours whose role and key are in the canary account, and how it fares.

    The configuration worker makes its role and its key; from then on it is a tenant like any other: shared, configured,
    tested, probed, and its data keys are made and opened. None of our people or customers belongs to it.
    """

    class Stage(models.TextChoices):
        MAKING = "making", "Its role and key are being made"
        JOINING = "joining", "On its way through the six steps"
        SERVING = "serving", "In service"

    tenant = models.OneToOneField(Tenant, primary_key=True, on_delete=models.PROTECT, related_name="canary")
    service_role = models.ForeignKey(ServiceRole, on_delete=models.PROTECT, related_name="canaries", db_index=False)
    region = models.CharField(max_length=64)
    stage = models.CharField(max_length=16, choices=Stage, default=Stage.MAKING)
    role_arn = models.CharField(max_length=2048, blank=True)
    key_arn = models.CharField(max_length=2048, blank=True)
    # when it is looked at next
    due_at = models.DateTimeField(default=clock.now)
    # when its whole test was last asked for
    tested_at = models.DateTimeField(null=True)
    # its last data key that was made and opened; before the first one, when it was begun
    passed_at = models.DateTimeField(null=True)
    heard_at = models.DateTimeField(default=clock.now)
    failing_since = models.DateTimeField(null=True)
    # what failed, a code or words; "" while nothing does
    why = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    objects = CanaryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "canaries"
        ordering: ClassVar = ["service_role", "region"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["service_role", "region"], name="keys_one_canary_per_role_and_region"),
        ]
        indexes: ClassVar = [models.Index(fields=["due_at"], name="keys_canary_due")]

    def __str__(self) -> str:
        return f"canary of {self.service_role_id} in {self.region}"
