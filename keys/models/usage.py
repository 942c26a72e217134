"""How often keys were used: `KeyUse` added up, so that no page has to."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from keys.models.custody import KeyUse
from keys.models.scopes import DEFAULT_SCOPE
from tenants.models import Tenant


class KeyUseHour(models.Model):
    """What one service did with one tenant's key in one hour, by operation and data scope; `keys.usage` adds to it."""

    # No constraint in the database: rows of all tenants are written together,
    # and the check would wait for a locked one.
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="key_use_hours", db_constraint=False)
    hour = models.DateTimeField()  # its beginning
    service = models.CharField(max_length=200)  # `KeyUse.caller`
    operation = models.CharField(max_length=8, choices=KeyUse.Operation)
    data_scope = models.CharField(max_length=64, default=DEFAULT_SCOPE)
    requests = models.PositiveBigIntegerField()
    keys = models.PositiveBigIntegerField()  # data keys in those requests

    class Meta:
        ordering: ClassVar = ["tenant", "hour"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant", "hour", "service", "operation", "data_scope"], name="keys_each_hour_of_use_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.service}: {self.operation} {self.keys} at {self.hour:%Y-%m-%dT%H}"


class KeyUseTotal(models.Model):
    """The same since the beginning: the sum of a tenant's hours, by operation and data scope."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="key_use_totals", db_constraint=False)
    operation = models.CharField(max_length=8, choices=KeyUse.Operation)
    data_scope = models.CharField(max_length=64, default=DEFAULT_SCOPE)
    requests = models.PositiveBigIntegerField()
    keys = models.PositiveBigIntegerField()

    class Meta:
        ordering: ClassVar = ["tenant", "operation"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "operation", "data_scope"], name="keys_each_total_of_use_once"),
        ]

    def __str__(self) -> str:
        return f"{self.operation} {self.keys}"


class KeyUseCursor(models.Model):
    """Up to which row of `KeyUse` the hours and totals are added up; there is one."""

    through = models.PositiveBigIntegerField(default=0)  # its id

    def __str__(self) -> str:
        return f"through {self.through}"
