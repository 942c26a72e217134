"""Recovery of an organisation that no owner can act for any more."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy

from byokportal import clock
from tenants.models.organisations import Tenant
from tenants.models.people import Member

OBJECTION_LASTS = timedelta(hours=72)


class OwnerRecoveryQuerySet(models.QuerySet["OwnerRecovery"]):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)

    def open(self) -> Self:
        return self.filter(status__in=[OwnerRecovery.Status.REQUESTED, OwnerRecovery.Status.WAITING])


class OwnerRecovery(models.Model):
    """Two leads let a new owner in, or reset the only owner's second factor,
    unless a member objects within 72 hours."""

    class Kind(models.TextChoices):
        NEW_OWNER = "new_owner", gettext_lazy("Invite a new owner")
        SECOND_FACTOR = "second_factor", gettext_lazy("Reset the only owner's second factor")

    class Status(models.TextChoices):
        REQUESTED = "requested", gettext_lazy("Waits for a second lead")
        WAITING = "waiting", gettext_lazy("Members may object")
        DONE = "done", gettext_lazy("Done")
        OBJECTED = "objected", gettext_lazy("A member objected")
        WITHDRAWN = "withdrawn", gettext_lazy("Withdrawn")

    # Every change of a recovery: from → to. Each is a compare-and-set with a line in the log.
    MOVES: ClassVar = {
        (Status.REQUESTED, Status.WAITING),
        (Status.REQUESTED, Status.WITHDRAWN),
        (Status.WAITING, Status.WITHDRAWN),
        (Status.WAITING, Status.OBJECTED),
        (Status.WAITING, Status.DONE),
    }

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="recoveries")
    kind = models.CharField(max_length=16, choices=Kind)
    status = models.CharField(max_length=16, choices=Status, default=Status.REQUESTED)
    email = models.CharField(max_length=150)  # whom it lets in, lower case
    member = models.ForeignKey(Member, null=True, blank=True, on_delete=models.PROTECT)  # whose second factor
    reason = models.CharField(max_length=200)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(default=clock.now, editable=False)
    due_at = models.DateTimeField(null=True, blank=True)  # 72 hours after the second lead's approval
    ended_at = models.DateTimeField(null=True, blank=True)
    objects = OwnerRecoveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "owner recoveries"
        ordering: ClassVar = ["-created_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant"], condition=Q(status__in=["requested", "waiting"]), name="tenants_one_open_recovery"
            ),
            models.CheckConstraint(
                condition=Q(approved_by=None) | ~Q(approved_by=F("requested_by")), name="tenants_two_leads_recover"
            ),
            models.CheckConstraint(
                condition=Q(status__in=["requested", "withdrawn"]) | Q(approved_by__isnull=False, due_at__isnull=False),
                name="tenants_recovery_needs_approval",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.email}"


class ObjectionLink(models.Model):
    """One mailed link by which a member stops a recovery, known by the digest of its secret."""

    recovery = models.ForeignKey(OwnerRecovery, on_delete=models.CASCADE, related_name="links")
    address = models.CharField(max_length=254)
    digest = models.CharField(max_length=64, unique=True)  # SHA-256, hex
    created_at = models.DateTimeField(default=clock.now, editable=False)

    def __str__(self) -> str:
        return self.address
