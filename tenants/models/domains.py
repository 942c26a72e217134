"""Mail domains that a tenant has shown to be its own."""

from __future__ import annotations

import uuid
from typing import ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy

from byokportal import clock
from tenants.models.organisations import Tenant

RECORD_PREFIX = "_kore-byok"  # of the name at which the TXT record stands
RECORD_VALUE = "kore-byok-domain="  # what it begins with


class MailDomainQuerySet(models.QuerySet["MailDomain"]):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)

    def present(self) -> Self:
        return self.filter(removed_at=None)

    def verified(self) -> Self:
        return self.present().filter(status=MailDomain.Status.VERIFIED)


class MailDomain(models.Model):
    """A mail domain that a tenant says is its own, and what the DNS says about it. The row is the job of looking."""

    class Status(models.TextChoices):
        PENDING = "pending", gettext_lazy("Waits for the DNS record")
        VERIFIED = "verified", gettext_lazy("Verified")
        LAPSED = "lapsed", gettext_lazy("The DNS record is gone")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="mail_domains")
    name = models.CharField(max_length=253)  # lower case, ASCII
    token = models.CharField(max_length=64)  # what the record has to say; not a secret
    status = models.CharField(max_length=16, choices=Status, default=Status.PENDING)
    problem = models.CharField(max_length=16, blank=True)  # of the last look: missing, taken, unknown
    created_at = models.DateTimeField(default=clock.now, editable=False)
    looked_at = models.DateTimeField(null=True, blank=True)
    seen_at = models.DateTimeField(null=True, blank=True)  # when the record was last there
    missing_since = models.DateTimeField(null=True, blank=True)  # the first look that found none after that
    next_look_at = models.DateTimeField(null=True, blank=True, default=clock.now)
    removed_at = models.DateTimeField(null=True, blank=True)
    objects = MailDomainQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant", "name"], condition=Q(removed_at=None), name="tenants_one_row_per_domain"
            ),
            models.UniqueConstraint(
                fields=["name"],
                condition=Q(removed_at=None, status="verified"),
                name="tenants_a_domain_belongs_to_one_tenant",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["next_look_at"], condition=Q(removed_at=None), name="tenants_domains_due")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def record_name(self) -> str:
        """Return the name at which the TXT record stands."""
        return f"{RECORD_PREFIX}.{self.name}"

    @property
    def record_value(self) -> str:
        """Return what the TXT record says."""
        return f"{RECORD_VALUE}{self.token}"
