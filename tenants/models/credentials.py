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
    scopes = models.JSONField(default=list)
    has_all_tenants = models.BooleanField(default=False)
    tenants = models.ManyToManyField(Tenant, related_name="service_accounts", blank=True)
    disabled_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class ClientSecretQuerySet(models.QuerySet["ClientSecret"]):
    def valid(self, now: datetime) -> Self:
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None)


class ClientSecret(models.Model):
    """A secret of a service account, known by its digest only:
    the present one, and for at most a day the one before it."""

    service_account = models.ForeignKey(ServiceAccount, on_delete=models.CASCADE, related_name="secrets")
    digest = models.CharField(max_length=64, unique=True)  # SHA-256, hex; the secret itself has 256 random bits
    expires_at = models.DateTimeField(null=True, blank=True)  # of one that another has taken over from
    revoked_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    objects = ClientSecretQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["service_account"],
                condition=Q(expires_at=None, revoked_at=None),
                name="tenants_one_present_secret_per_account",
            ),
        ]

    def __str__(self) -> str:
        return f"secret of {self.service_account_id}"

    def counts(self, now: datetime) -> bool:
        """Tell whether the secret, and what was made with it, may still be used."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)


class AccessTokenQuerySet(models.QuerySet["AccessToken"]):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(Q(member__tenant=tenant) | Q(invitation__tenant=tenant))

    def valid(self, now: datetime) -> Self:
        in_time = Q(invitation=None) | Q(invitation__expires_at__gt=now)
        return self.filter(in_time, revoked_at=None, expires_at__gt=now)

    def ended(self, now: datetime) -> Self:
        return self.filter(Q(revoked_at__isnull=False) | Q(expires_at__lte=now) | Q(invitation__expires_at__lte=now))


class AccessToken(models.Model):
    """A bearer token, known by its digest only: a service account's (minutes) or an automation token (days)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    digest = models.CharField(max_length=64, unique=True)  # SHA-256, hex
    service_account = models.ForeignKey(
        ServiceAccount, null=True, blank=True, on_delete=models.CASCADE, related_name="tokens"
    )
    # which made a service account's token: it ends with that
    secret = models.ForeignKey(ClientSecret, null=True, blank=True, on_delete=models.CASCADE, related_name="tokens")
    member = models.ForeignKey(Member, null=True, blank=True, on_delete=models.CASCADE, related_name="tokens")
    # Made with an organisation for its automation, before its owner came; it acts as the member once there is one.
    invitation = models.ForeignKey(Invitation, null=True, blank=True, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=120, blank=True)
    scopes = models.JSONField(default=list)  # a service account's
    made_by = models.CharField(max_length=200, blank=True)  # an automation token's, as the log names who did it
    permissions = models.JSONField(default=list)  # an automation token's: tenants.roles.TOKEN_PERMISSIONS
    may_change_serving_key = models.BooleanField(default=False)  # its owner's mark: replace, leave, resume
    last_used_at = models.DateTimeField(null=True, blank=True)  # to the minute or so
    expires_at = models.DateTimeField(db_index=True)
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
            models.CheckConstraint(
                condition=Q(service_account=None, secret=None) | Q(service_account__isnull=False, secret__isnull=False),
                name="tenants_token_knows_its_secret",
            ),
        ]

    def __str__(self) -> str:
        return self.name or str(self.id)

    @property
    def state(self) -> str:
        """Return `valid`, `revoked` or `expired`."""
        return "revoked" if self.revoked_at else "expired" if self.ends_at <= clock.now() else "valid"

    @property
    def ends_at(self) -> datetime:
        """Return when it ends by itself: one of an invitation ends with that, if nobody comes."""
        return min(self.expires_at, self.invitation.expires_at) if self.invitation else self.expires_at
