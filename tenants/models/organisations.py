"""A customer, and what never changes about it."""

from __future__ import annotations

import uuid
from typing import ClassVar, Self

from django.db import models
from django.db.models import Q

from byokportal import clock
from tenants.models.service_roles import ServiceRole, new_external_id


class TenantQuerySet(models.QuerySet["Tenant"]):
    def waiting_for_an_owner(self) -> Self:
        """Return those on hold after a restore that no owner has confirmed (`keys.models.RestoreHold`): what they had
        removed may be back, so nothing of theirs is sent to a receiver."""
        return self.filter(restore_holds__status="held")


class Tenant(models.Model):
    """A customer. Its External ID and its service role never change (held by a database trigger too)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=120)
    external_id = models.CharField(max_length=64, unique=True, default=new_external_id, editable=False)
    service_role = models.ForeignKey(ServiceRole, on_delete=models.PROTECT, related_name="tenants", editable=False)
    # Ours, in the canary account: nobody joins it. It never changes (held by a trigger).
    is_canary = models.BooleanField(default=False, editable=False)
    revocation_latency = models.PositiveIntegerField(default=300)  # seconds
    key_generation = models.PositiveBigIntegerField(default=0)  # grows with every stop; caches compare it
    key_stopped_in = models.BigIntegerField(null=True)  # the transaction of the last stop: `byokportal.visibility.Mark`
    # When anything last changed that decides about data keys: every process reads what is new here once a second.
    key_changed_at = models.DateTimeField(default=clock.now, db_index=True)
    # Since when certain operations wait for a second person (`tenants.approvals`); null: they do not.
    second_person_since = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    # Since when it is over for good; the row stays, so that its External ID is never given out again. Once set it stays
    # as it is (held by a trigger).
    closed_at = models.DateTimeField(null=True, blank=True, editable=False)
    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(revocation_latency__lte=900), name="tenants_latency_at_most_900"),
        ]
        # Every process asks for the highest twice a second (keys.datakeys.admission).
        indexes: ClassVar = [models.Index(fields=["key_generation"], name="tenants_by_generation")]

    def __str__(self) -> str:
        return self.name
