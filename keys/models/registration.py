"""The registration: one Role ARN and one CMK ARN of a tenant, and each change of its status."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Q

from byokportal import clock, visibility
from keys.access import Access
from keys.policies.documents import Beside
from tenants.models import Tenant


class KeyRegistrationQuerySet(models.QuerySet["KeyRegistration"]):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)

    def serving(self) -> Self:
        return self.filter(status__in=KeyRegistration.SERVING)

    def in_preparation(self) -> Self:
        return self.filter(status__in=KeyRegistration.IN_PREPARATION)

    def replacement(self) -> KeyRegistration | None:
        """The one in preparation that is to take over from one that serves."""
        return self.in_preparation().exclude(replaces=None).select_related("replaces").first()

    def beside(self, registration: KeyRegistration) -> Beside:
        """What its documents have to name too:
        keys and roles of others that still open, and that share its role or its key."""
        others = self.probed().filter(tenant=registration.tenant_id).exclude(pk=registration.pk).order_by("created_at")
        arns = list(others.values_list("key_arn", "role_arn"))
        return Beside(
            keys=tuple(key for key, role in arns if role == registration.role_arn and key != registration.key_arn),
            roles=tuple(role for key, role in arns if key == registration.key_arn and role != registration.role_arn),
        )

    def keys_of_role(self, registration: KeyRegistration) -> tuple[str, ...]:
        """Return the keys that still open and that the role of a registration reaches, its own among them."""
        with_role = self.probed().filter(tenant=registration.tenant_id, role_arn=registration.role_arn)
        return tuple(
            dict.fromkeys(with_role.exclude(role_arn="").order_by("created_at").values_list("key_arn", flat=True))
        )

    def probed(self) -> Self:
        """What health looks at: everything that serves or still opens old data."""
        return self.filter(status__in=KeyRegistration.PROBED)


class KeyRegistration(models.Model):
    """One Role ARN and one CMK ARN that a tenant offers; its moves are in `keys.lifecycle`."""

    class Status(models.TextChoices):
        DRAFT = "draft", "Draft"
        SUBMITTED = "submitted", "Shared"
        CONFIGURING = "configuring", "Being configured"
        TESTING = "testing", "Being tested"
        REJECTED = "rejected", "Needs a change"
        ACTIVE = "active", "Active"
        UNREACHABLE = "unreachable", "Unreachable"
        SUSPENDED = "suspended", "Suspended"
        RETIRING = "retiring", "Retiring"
        RETIRED = "retired", "Retired"

    class SuspendedBy(models.TextChoices):
        AWS = "aws", "AWS"
        TENANT = "tenant", "your organisation"
        KORE = "kore", "Kore.ai"

    SERVING = ("active", "unreachable", "suspended")
    PROBED = (*SERVING, "retiring")
    IN_PREPARATION = ("draft", "submitted", "configuring", "testing", "rejected")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="registrations")
    key_arn = models.CharField(max_length=2048, blank=True)
    role_arn = models.CharField(max_length=2048, blank=True)
    status = models.CharField(max_length=16, choices=Status, default=Status.DRAFT)
    reason = models.CharField(max_length=200, blank=True)  # an error or check code, "" while all is well
    suspended_by = models.CharField(max_length=8, choices=SuspendedBy, blank=True)
    moved_at = models.DateTimeField(default=clock.now)  # "since"
    changed_at = models.DateTimeField(default=clock.now)  # on the tenant's or our side: IAM needs time after it
    # "account/lower-cased role name", from the first passed test on; unique where it is set, so "" will not do.
    role_claim = models.CharField(max_length=200, null=True, unique=True)  # noqa: DJ001
    replaces = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="replaced_by")
    submitted_at = models.DateTimeField(null=True)
    activated_at = models.DateTimeField(null=True)
    last_moved_at = models.DateTimeField(null=True)  # when the last branch key moved away from it; null: none ever did
    created_at = models.DateTimeField(default=clock.now, editable=False)
    # The tenant's own Suspend, also while Kore.ai's stands above it: only the tenant's Resume takes it back.
    tenant_suspended_at = models.DateTimeField(null=True)
    warnings = models.JSONField(default=list)
    objects = KeyRegistrationQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant"],
                condition=Q(status__in=("active", "unreachable", "suspended")),
                name="keys_one_serving_registration_per_tenant",
            ),
            models.UniqueConstraint(
                fields=["tenant"],
                condition=Q(status__in=("draft", "submitted", "configuring", "testing", "rejected")),
                name="keys_one_registration_in_preparation_per_tenant",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=("active", "unreachable", "suspended", "retiring"))
                | Q(activated_at__isnull=False, role_claim__isnull=False),
                name="keys_serving_means_proven_and_claimed",
            ),
            models.CheckConstraint(
                condition=Q(status="suspended") ^ Q(suspended_by=""), name="keys_suspended_says_by_whom"
            ),
            models.CheckConstraint(
                condition=Q(status__in=("draft", "retired")) | (~Q(key_arn="") & ~Q(role_arn="")),
                name="keys_shared_means_both_arns",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "status"], name="keys_registration_by_status"),
        ]

    def __str__(self) -> str:
        return f"{self.tenant_id}: {self.get_status_display()}"

    def access(self, tenant: Tenant) -> Access:
        """Return how our service role reaches the key.

        Args:
            tenant: its own, which the caller has loaded.

        Raises:
            ArnRefused: the row holds what is no ARN.
        """
        return Access.of_texts(
            tenant=str(tenant.pk),
            service_role_arn=tenant.service_role.arn,
            external_id=tenant.external_id,
            role_arn=self.role_arn,
            key_arn=self.key_arn,
        )

    @property
    def is_stopped_by_a_person(self) -> bool:
        """Whether a button is pressed, the organisation's or Kore.ai's."""
        return self.suspended_by in {self.SuspendedBy.TENANT, self.SuspendedBy.KORE}

    @property
    def needed_until(self) -> datetime | None:
        """Until when old role and old key have to stay, because a backup from before the move opens only with both;
        None: nobody can say, or no more."""
        if self.status != self.Status.RETIRING or self.last_moved_at is None:
            return None
        return self.last_moved_at + timedelta(days=settings.BACKUP_RETENTION_DAYS)


class RegistrationMove(models.Model):
    """One change of status of one registration."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="registration_moves")
    registration = models.ForeignKey(KeyRegistration, on_delete=models.PROTECT, related_name="moves")
    old_status = models.CharField(max_length=16)
    new_status = models.CharField(max_length=16)
    reason = models.CharField(max_length=500, blank=True)
    actor = models.CharField(max_length=200)
    generation = models.PositiveBigIntegerField(default=0)
    # what services are told is told by it
    transaction = models.BigIntegerField(db_default=visibility.CurrentTransaction())
    at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [
            models.Index(fields=["at"], name="keys_move_by_time"),
            models.Index(fields=["transaction", "id"], name="keys_move_by_transaction"),
        ]

    def __str__(self) -> str:
        return f"{self.old_status} → {self.new_status}"
