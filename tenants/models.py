"""Rows of the tenants app: facts, constraints and the words to read them by."""

from __future__ import annotations

import secrets
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def new_external_id() -> str:
    """Return a fresh External ID: 256 random bits in characters that IAM takes (`[\\w+=,.@:/-]*`)."""
    return "byok-" + secrets.token_urlsafe(32)


class ServiceRole(models.Model):
    """One IAM role of ours that tenants name in their trust policy; never deleted, never recreated."""

    name = models.CharField(max_length=64, unique=True)
    arn = models.CharField(max_length=2048, unique=True)
    unique_id = models.CharField(max_length=128, unique=True)  # AROA…: trust policies store it, not the ARN
    canary_role_arn = models.CharField(max_length=2048, blank=True)
    canary_external_id = models.CharField(max_length=64, default=new_external_id, editable=False)
    is_open = models.BooleanField(default=True)  # takes new tenants
    lease_owner = models.CharField(max_length=64, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    lease_number = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering: ClassVar = ["created_at"]

    def __str__(self) -> str:
        return self.name

    @property
    def account_id(self) -> str:
        return self.arn.split(":")[4]


class Tenant(models.Model):
    """A customer. Its External ID and its service role never change (held by a database trigger too)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=120)
    external_id = models.CharField(max_length=64, unique=True, default=new_external_id, editable=False)
    service_role = models.ForeignKey(ServiceRole, on_delete=models.PROTECT, related_name="tenants", editable=False)
    revocation_latency = models.PositiveIntegerField(default=300)  # seconds
    key_generation = models.PositiveBigIntegerField(default=0)  # grows with every stop; caches compare it
    # When anything last changed that decides about data keys: every process reads what is new here once a second.
    key_changed_at = models.DateTimeField(default=timezone.now, db_index=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(revocation_latency__lte=900), name="tenants_latency_at_most_900"),
        ]

    def __str__(self) -> str:
        return self.name


class Role(models.TextChoices):
    """What a member may do; the permissions of each are in `tenants.roles`."""

    OWNER = "owner", "Owner"
    ADMIN = "admin", "Admin"
    AUDITOR = "auditor", "Auditor"


class MemberQuerySet(models.QuerySet["Member"]):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)


class Member(models.Model):
    """A person in a tenant."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="members")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    objects = MemberQuerySet.as_manager()

    if TYPE_CHECKING:
        user: models.ForeignKey[User]  # type: ignore[no-redef]

    class Meta:
        ordering: ClassVar = ["created_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "user"], name="tenants_one_membership_per_person"),
        ]

    def __str__(self) -> str:
        return f"{self.user.email} ({self.get_role_display()})"


class ServiceAccount(models.Model):
    """A platform service that calls the API: its scopes, and the tenants it may act for."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)  # also the OAuth client_id
    name = models.CharField(max_length=120)
    secret_digest = models.CharField(max_length=64)  # SHA-256, hex; the secret itself has 256 random bits
    scopes = models.JSONField(default=list)
    has_all_tenants = models.BooleanField(default=False)
    tenants = models.ManyToManyField(Tenant, related_name="service_accounts", blank=True)
    disabled_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class AccessTokenQuerySet(models.QuerySet["AccessToken"]):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(member__tenant=tenant)

    def valid(self, now: datetime) -> Self:
        return self.filter(revoked_at=None).filter(Q(expires_at=None) | Q(expires_at__gt=now))


class AccessToken(models.Model):
    """A bearer token, known by its digest only: a service account's (minutes) or a member's automation token."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    digest = models.CharField(max_length=64, unique=True)  # SHA-256, hex
    service_account = models.ForeignKey(
        ServiceAccount, null=True, blank=True, on_delete=models.CASCADE, related_name="tokens"
    )
    member = models.ForeignKey(Member, null=True, blank=True, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=120, blank=True)
    scopes = models.JSONField(default=list)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    objects = AccessTokenQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(service_account=None, member__isnull=False) | Q(service_account__isnull=False, member=None),
                name="tenants_token_has_one_holder",
            ),
        ]

    def __str__(self) -> str:
        return self.name or str(self.id)


class OnboardingStep(models.Model):
    """One of the six steps of one tenant: where it stands, since when, and on whom it waits."""

    class Status(models.TextChoices):
        NOT_STARTED = "not_started", "Not started"
        IN_PROGRESS = "in_progress", "In progress"
        WAITING_FOR_TENANT = "waiting_for_tenant", "Waiting for you"
        WAITING_FOR_KORE = "waiting_for_kore", "Waiting for Kore.ai"
        DONE = "done", "Done"
        FAILED = "failed", "Needs a change"
        SKIPPED = "skipped", "Skipped"

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="steps")
    number = models.PositiveSmallIntegerField()
    status = models.CharField(max_length=24, choices=Status, default=Status.NOT_STARTED)
    since = models.DateTimeField(default=timezone.now)
    evidence = models.JSONField(default=dict)  # ids, ARNs and codes; never a secret

    class Meta:
        ordering: ClassVar = ["tenant", "number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "number"], name="tenants_each_step_once"),
            models.CheckConstraint(condition=Q(number__gte=1, number__lte=6), name="tenants_six_steps"),
            models.CheckConstraint(condition=~Q(status="skipped") | Q(number=4), name="tenants_only_step_4_is_skipped"),
        ]

    def __str__(self) -> str:
        return f"step {self.number} of {self.tenant_id}"


class OnboardingMove(models.Model):
    """One change of one step."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="step_moves")
    step = models.ForeignKey(OnboardingStep, on_delete=models.PROTECT, related_name="moves")
    old_status = models.CharField(max_length=24)
    new_status = models.CharField(max_length=24)
    reason = models.CharField(max_length=500, blank=True)
    actor = models.CharField(max_length=200)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["at", "id"]

    def __str__(self) -> str:
        return f"{self.old_status} → {self.new_status}"


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)

    def not_followed(self) -> Self:
        return self.filter(followed_at=None)


class AuditEvent(models.Model):
    """One line of the log. Append-only by a database trigger; only the follow mark and the seal are filled in later."""

    id = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey(Tenant, null=True, on_delete=models.PROTECT, related_name="events")  # null: ours alone
    name = models.CharField(max_length=80)
    actor = models.CharField(max_length=200)
    payload = models.TextField()  # canonical JSON of everything above and the data: what a seal covers
    at = models.DateTimeField()
    request_id = models.CharField(max_length=64, blank=True)
    followed_at = models.DateTimeField(null=True)  # a flag on the row: commits land out of order, the highest id lies
    seal_number = models.PositiveBigIntegerField(null=True)
    previous_seal = models.CharField(max_length=64, default="", blank=True)
    seal = models.CharField(max_length=64, default="", blank=True)
    objects = AuditEventQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "id"], name="tenants_event_by_tenant"),
            models.Index(fields=["id"], condition=Q(followed_at=None), name="tenants_event_not_followed"),
        ]

    def __str__(self) -> str:
        return f"{self.name} #{self.pk}"


class IdempotentRequest(models.Model):
    """The answer to a POST that carried an Idempotency-Key, for 24 hours; key material stands in it wrapped only."""

    caller = models.CharField(max_length=80)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="idempotent_requests")
    key = models.CharField(max_length=255)
    request_hash = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(null=True)  # null: still running
    answer = models.JSONField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["caller", "tenant", "key"], name="tenants_one_answer_per_key"),
        ]

    def __str__(self) -> str:
        return self.key
