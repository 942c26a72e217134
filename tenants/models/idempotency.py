"""Stored answers to requests that carried an Idempotency-Key."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from byokportal import clock
from tenants.models.organisations import Tenant


class IdempotentRequest(models.Model):
    """The answer to a POST that carried an Idempotency-Key, for 24 hours; key material stands in it wrapped only."""

    caller = models.CharField(max_length=80)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="idempotent_requests")
    key = models.CharField(max_length=255)
    request_hash = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(null=True)  # null: still running
    answer = models.JSONField(null=True)
    created_at = models.DateTimeField(default=clock.now, db_index=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["caller", "tenant", "key"], name="tenants_one_answer_per_key"),
        ]

    def __str__(self) -> str:
        return self.key
