"""Our IAM roles that tenants name in their trust policies."""

from __future__ import annotations

import secrets
from typing import ClassVar

from django.db import models

from byokportal import clock


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
    # How many more: each new tenant takes one, and the configuration worker counts anew (`keys.configuration.room`).
    places = models.PositiveIntegerField(default=100)
    count_due_at = models.DateTimeField(default=clock.now, db_index=True)
    canary_due_at = models.DateTimeField(default=clock.now, db_index=True)  # when its canary is asked next
    lease_owner = models.CharField(max_length=64, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    lease_number = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        ordering: ClassVar = ["created_at"]

    def __str__(self) -> str:
        return self.name

    @property
    def account_id(self) -> str:
        return self.arn.split(":")[4]
