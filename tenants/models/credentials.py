"""What programs prove themselves with: service accounts and bearer tokens."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import ClassVar, Self

from django.db import models
from django.db.models import Q

from byokportal import clock
from tenants.models.organisations import Tenant
from tenants.models.people import Invitation, Member


class ServiceAccount(models.Model):
    """A platform service that calls the API: its scopes, and the tenants it may act for."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)  # also the OAuth client_id
    name = models.CharField(max_length=120)
    secret_digest = models.CharField(max_length=64)  # SHA-256, hex; the secret itself has 256 random bits
    scopes = models.JSONField(default=list)
    has_all_tenants = models.BooleanField(default=False)
    tenants = models.ManyToManyField(Tenant, related_name="service_accounts", blank=True)
    disabled_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class AccessTokenQuerySet(models.QuerySet["AccessToken"]):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(Q(member__tenant=tenant) | Q(invitation__tenant=tenant))

    def valid(self, now: datetime) -> Self:
        return self.filter(revoked_at=None, expires_at__gt=now)


class AccessToken(models.Model):
    """A bearer token, known by its digest only: a service account's (minutes) or an automation token (days)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    digest = models.CharField(max_length=64, unique=True)  # SHA-256, hex
    service_account = models.ForeignKey(
        ServiceAccount, null=True, blank=True, on_delete=models.CASCADE, related_name="tokens"
    )
    member = models.ForeignKey(Member, null=True, blank=True, on_delete=models.CASCADE, related_name="tokens")
    # Made with an organisation for its automation, before its owner came; it acts as the member once there is one.
    invitation = models.ForeignKey(Invitation, null=True, blank=True, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=120, blank=True)
    scopes = models.JSONField(default=list)  # a service account's
    permissions = models.JSONField(default=list)  # an automation token's: tenants.roles.TOKEN_PERMISSIONS
    may_change_serving_key = models.BooleanField(default=False)  # its owner's mark: replace, leave, resume
    last_used_at = models.DateTimeField(null=True, blank=True)  # to the minute or so
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    objects = AccessTokenQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(service_account=None, member__isnull=False, invitation=None)
                | Q(service_account__isnull=False, member=None, invitation=None)
                | Q(service_account=None, member=None, invitation__isnull=False),
                name="tenants_token_has_one_holder",
            ),
        ]

    def __str__(self) -> str:
        return self.name or str(self.id)
