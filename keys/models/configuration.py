"""Step 5: changes to our service roles' permissions, and what we last wrote into IAM."""

from __future__ import annotations

import uuid
from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.fields.json import KeyTextTransform
from django.utils.translation import gettext_lazy

from byokportal import clock
from keys.models.jobs import Job, JobQuerySet
from keys.models.registration import KeyRegistration
from tenants.models import ServiceRole, Tenant


class RoleConfigurationQuerySet(JobQuerySet):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)


class RoleConfiguration(Job):
    """One change to a service role's permissions (guide step 5), and the proof that it took."""

    class Action(models.TextChoices):
        ADD = "add", gettext_lazy("Add")
        REMOVE = "remove", gettext_lazy("Remove")

    class Status(models.TextChoices):
        WAITING_FOR_APPROVAL = "waiting_for_approval", gettext_lazy("Waiting for approval")
        QUEUED = "queued", gettext_lazy("Queued")
        PROPAGATING = "propagating", gettext_lazy("Propagating")
        DONE = "done", gettext_lazy("Done")
        FAILED = "failed", gettext_lazy("Failed")
        CANCELLED = "cancelled", gettext_lazy("Cancelled")

    OPEN = ("waiting_for_approval", "queued", "propagating")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="role_configurations", db_index=False)
    registration = models.ForeignKey(
        KeyRegistration, on_delete=models.PROTECT, related_name="configurations", db_index=False
    )
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
            models.Index(fields=["status", "created_at"], name="keys_configuration_waiting"),
            models.Index(fields=["-created_at"], name="keys_configuration_newest_all"),
            models.Index(KeyTextTransform("request_id", "evidence"), name="keys_configuration_by_request"),
        ]

    def __str__(self) -> str:
        return f"{self.get_action_display()} {self.role_arn}"


class ServiceRolePolicy(models.Model):
    """One managed policy of a service role: the role ARNs in it and the hash of what we last wrote to IAM."""

    service_role = models.ForeignKey(ServiceRole, on_delete=models.PROTECT, related_name="policies", db_index=False)
    slot = models.PositiveSmallIntegerField()  # 0 to 9: IAM attaches ten
    policy_arn = models.CharField(max_length=2048, blank=True)
    role_arns = models.JSONField(default=list)
    written_hash = models.CharField(max_length=64, blank=True)  # SHA-256, hex, of the canonical document
    written_at = models.DateTimeField(null=True)
    version = models.CharField(max_length=16, blank=True)  # the default one, as IAM named it when it was last read
    # when IAM is next looked at, and what was found there that is not ours ("": nothing)
    look_due_at = models.DateTimeField(default=clock.now, db_index=True)
    looked_at = models.DateTimeField(null=True)
    found = models.CharField(max_length=40, blank=True)  # not there, not attached, another document
    found_document = models.JSONField(null=True)
    found_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["service_role", "slot"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["service_role", "slot"], name="keys_each_slot_once"),
            models.CheckConstraint(condition=Q(slot__lte=9), name="keys_ten_policies_a_role"),
        ]

    def __str__(self) -> str:
        return f"{self.service_role} policy {self.slot}"


class DriftResolution(Job):
    """What people of ours decided to do about a policy that somebody else changed; the row is the job."""

    class Choice(models.TextChoices):
        TAKE_OURS = "take_ours", "Write what we last wrote again"
        TAKE_THEIRS = "take_theirs", "Take what stands in IAM into our row"
        RESTORE = "restore", "Restore the last good version at once"

    class Status(models.TextChoices):
        WAITING = "waiting", "Waiting for a second lead"
        QUEUED = "queued", "Queued"
        DONE = "done", "Done"
        REFUSED = "refused", "Refused by a second lead"
        FAILED = "failed", "Failed"

    OPEN = ("waiting", "queued")

    policy = models.ForeignKey(ServiceRolePolicy, on_delete=models.PROTECT, related_name="resolutions")
    choice = models.CharField(max_length=16, choices=Choice)
    status = models.CharField(max_length=16, choices=Status)
    # what was found when it was asked for: another finding since then is not what was approved
    found_digest = models.CharField(max_length=64)
    difference = models.JSONField(default=list)
    reason = models.CharField(max_length=500)
    requested_by = models.CharField(max_length=200)
    asked = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    decided_by = models.CharField(max_length=200, blank=True)
    outcome = models.CharField(max_length=200, blank=True)  # error code of the last attempt
    # of a restoration: until when somebody else has to have looked at it
    review_due_at = models.DateTimeField(null=True)
    reviewed_by = models.CharField(max_length=200, blank=True)
    objects = JobQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["policy"], condition=Q(status__in=("waiting", "queued")), name="keys_one_open_resolution"
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["due_at"], name="keys_resolution_due")]

    def __str__(self) -> str:
        return f"{self.get_choice_display()}: {self.policy}"


class AccountQuotas(models.Model):
    """What IAM lets our account have, as GetAccountSummary said last; one row."""

    # characters of a managed policy, white space not counted
    policy_size = models.PositiveIntegerField()
    # managed policies on a role
    attached = models.PositiveIntegerField()
    roles = models.PositiveIntegerField()
    roles_quota = models.PositiveIntegerField()
    policies = models.PositiveIntegerField()
    policies_quota = models.PositiveIntegerField()
    read_at = models.DateTimeField()
    # what is too little stands in the log since then; null: nothing is
    short_since = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(condition=Q(pk=1), name="keys_one_row_of_quotas")]
        verbose_name_plural = "account quotas"

    def __str__(self) -> str:
        return f"{self.roles} of {self.roles_quota} roles, {self.policies} of {self.policies_quota} policies"
