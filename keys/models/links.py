"""The link for a colleague who owns AWS and has no account, and the ARNs that come in by it."""

from __future__ import annotations

import uuid
from typing import ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy

from byokportal import clock
from keys.models.registration import KeyRegistration, RegistrationMove
from tenants.models import Member, Role, Tenant


class SetupLinkQuerySet(models.QuerySet["SetupLink"]):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)

    def open(self) -> Self:
        """Return those that still lead somewhere: neither revoked nor expired, and since they were made no registration
        has become active, or was given up in preparation."""
        return self.filter(self._is_open())

    def with_is_open(self) -> Self:
        """Return each with `is_open`."""
        return self.annotate(is_open=models.Case(models.When(self._is_open(), then=True), default=False))

    @staticmethod
    def _is_open() -> Q:
        done = KeyRegistration.objects.filter(
            tenant=models.OuterRef("tenant"), activated_at__gte=models.OuterRef("created_at")
        )
        given_up = RegistrationMove.objects.filter(
            tenant=models.OuterRef("tenant"),
            old_status__in=KeyRegistration.IN_PREPARATION,
            new_status=KeyRegistration.Status.RETIRED,
            at__gte=models.OuterRef("created_at"),
        )
        may_still = Q(maker=None) | Q(
            maker__removed_at=None, maker__user__is_active=True, maker__role__in=[Role.OWNER, Role.ADMIN]
        )
        return (
            ~Q(models.Exists(done))
            & ~Q(models.Exists(given_up))
            & Q(revoked_at=None, expires_at__gt=clock.now())
            & may_still
        )


class SetupLink(models.Model):
    """A link that opens steps 1 to 4 of one tenant without an account, known by the digest of its secret."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="setup_links")
    name = models.CharField(max_length=120)  # whom it is for
    digest = models.CharField(max_length=64, unique=True)  # SHA-256, hex
    made_by = models.CharField(max_length=200)  # as the log names who did it
    # It ends with the maker's membership; null: it was made before that was kept, or by the command line.
    maker = models.ForeignKey(Member, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=clock.now, editable=False)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)
    opened = models.PositiveIntegerField(default=0)
    last_opened_at = models.DateTimeField(null=True)
    proposed = models.PositiveSmallIntegerField(default=0)  # how often ARNs came in by it
    objects = SetupLinkQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at"]

    def __str__(self) -> str:
        return self.name


class ArnProposal(models.Model):
    """ARNs that came in by a link; they count once an owner or admin confirms them."""

    class Status(models.TextChoices):
        PENDING = "pending", gettext_lazy("Waits for you")
        CONFIRMED = "confirmed", gettext_lazy("Taken over")
        REFUSED = "refused", gettext_lazy("Refused")
        REPLACED = "replaced", gettext_lazy("Replaced by another")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="arn_proposals")
    link = models.ForeignKey(SetupLink, on_delete=models.PROTECT, related_name="proposals")
    key_arn = models.CharField(max_length=2048, blank=True)
    role_arn = models.CharField(max_length=2048, blank=True)
    status = models.CharField(max_length=16, choices=Status, default=Status.PENDING)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    decided_at = models.DateTimeField(null=True)
    decided_by = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering: ClassVar = ["-created_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant"], condition=Q(status="pending"), name="keys_one_pending_proposal_per_tenant"
            ),
            models.CheckConstraint(condition=~Q(key_arn="") | ~Q(role_arn=""), name="keys_a_proposal_has_an_arn"),
        ]

    def __str__(self) -> str:
        return f"{self.tenant_id}: {self.get_status_display()}"
