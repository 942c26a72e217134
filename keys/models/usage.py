"""How often keys were used: `KeyUse` added up, so that no page has to."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from keys.models.custody import KeyUse
from keys.models.scopes import DEFAULT_SCOPE
from tenants.models import AuditEvent, Tenant


class KeyUseHour(models.Model):
    """What one service did with one tenant's key in one hour, by operation and data scope; `keys.usage` adds to it."""

    # No constraint in the database: rows of all tenants are written together,
    # and the check would wait for a locked one.
    tenant = models.ForeignKey(
        Tenant, on_delete=models.PROTECT, related_name="key_use_hours", db_constraint=False, db_index=False
    )
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

    tenant = models.ForeignKey(
        Tenant, on_delete=models.PROTECT, related_name="key_use_totals", db_constraint=False, db_index=False
    )
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
    rolled_up_through = models.PositiveBigIntegerField(default=0)  # … and up to which they are sealed (KeyUseRollUp)

    def __str__(self) -> str:
        return f"through {self.through}"


class KeyUseRollUp(models.Model):
    """Uses of one tenant that a line of its log seals together: the line has the root of the tree over them
    (`keys.use_rollups`)."""

    tenant = models.ForeignKey(
        Tenant, on_delete=models.PROTECT, related_name="key_use_roll_ups", db_constraint=False, db_index=False
    )
    first = models.PositiveBigIntegerField()  # ids of the first and the last use …
    last = models.PositiveBigIntegerField()
    count = models.PositiveBigIntegerField()  # … and how many there are: other tenants' lie between them
    salt = models.CharField(max_length=32)
    root = models.CharField(max_length=64)
    # No constraint: PostgreSQL has none to a partitioned table by the id alone (docs/adr/0031).
    event = models.ForeignKey(AuditEvent, on_delete=models.PROTECT, related_name="+", db_constraint=False)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "last"], name="keys_each_use_rolled_up_once"),
        ]

    def __str__(self) -> str:
        return f"{self.count} uses through {self.last}"
