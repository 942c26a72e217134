"""Step 5: changes to our service roles' permissions, and what we last wrote into IAM."""

from __future__ import annotations

import uuid
from typing import ClassVar, Self

from django.db import models
from django.db.models import Q

from keys.models.jobs import Job, JobQuerySet
from keys.models.registration import KeyRegistration
from tenants.models import ServiceRole, Tenant


class RoleConfigurationQuerySet(JobQuerySet):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)


class RoleConfiguration(Job):
    """One change to a service role's permissions (guide step 5), and the proof that it took."""

    class Action(models.TextChoices):
        ADD = "add", "Add"
        REMOVE = "remove", "Remove"

    class Status(models.TextChoices):
        WAITING_FOR_APPROVAL = "waiting_for_approval", "Waiting for approval"
        QUEUED = "queued", "Queued"
        PROPAGATING = "propagating", "Propagating"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    OPEN = ("waiting_for_approval", "queued", "propagating")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="role_configurations")
    registration = models.ForeignKey(KeyRegistration, on_delete=models.PROTECT, related_name="configurations")
    service_role = models.ForeignKey(ServiceRole, on_delete=models.PROTECT, related_name="configurations")
    action = models.CharField(max_length=8, choices=Action)
    role_arn = models.CharField(max_length=2048)
    status = models.CharField(max_length=24, choices=Status)
    reason = models.CharField(max_length=200, blank=True)  # error code of the last attempt
    approved_by = models.CharField(max_length=200, blank=True)
    evidence = models.JSONField(default=dict)  # policy ARN, version, hash, request id
    objects = RoleConfigurationQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["registration", "action"],
                condition=Q(status__in=("waiting_for_approval", "queued", "propagating")),
                name="keys_one_open_configuration_per_registration",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["due_at"], name="keys_configuration_due"),
            models.Index(fields=["registration", "-created_at"], name="keys_configuration_newest"),
            models.Index(fields=["tenant", "status"], name="keys_configuration_by_status"),
        ]

    def __str__(self) -> str:
        return f"{self.get_action_display()} {self.role_arn}"


class ServiceRolePolicy(models.Model):
    """One managed policy of a service role: the role ARNs in it and the hash of what we last wrote to IAM."""

    service_role = models.ForeignKey(ServiceRole, on_delete=models.PROTECT, related_name="policies")
    slot = models.PositiveSmallIntegerField()  # 0 to 9: IAM attaches ten
    policy_arn = models.CharField(max_length=2048, blank=True)
    role_arns = models.JSONField(default=list)
    written_hash = models.CharField(max_length=64, blank=True)  # SHA-256, hex, of the canonical document
    written_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["service_role", "slot"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["service_role", "slot"], name="keys_each_slot_once"),
            models.CheckConstraint(condition=Q(slot__lte=9), name="keys_ten_policies_a_role"),
        ]

    def __str__(self) -> str:
        return f"{self.service_role} policy {self.slot}"
