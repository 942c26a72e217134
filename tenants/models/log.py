"""The lines of the log."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Self

from django.db import models
from django.db.models import Q

from tenants.models.names import Name
from tenants.models.organisations import Tenant


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    def _fetch_all(self) -> None:
        """Let lines that are read together know each other: their people are looked up together (tenants.persons)."""
        super()._fetch_all()  # type: ignore[misc]
        read: list[Any] = self._result_cache or []  # type: ignore[attr-defined]
        if read and isinstance(read[0], AuditEvent) and read[0].batch is None:
            for one in read:
                one.batch = read

    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)

    def not_followed(self) -> Self:
        return self.filter(followed_at=None)

    def due(self, now: datetime) -> Self:
        """What is to be followed now: new, or put off until a time that has come."""
        return self.not_followed().filter(Q(next_at=None) | Q(next_at__lte=now))

    def not_sealed(self) -> Self:
        return self.filter(seal="")

    def put_off(self) -> Self:
        """What could not be followed and is tried again."""
        return self.not_followed().filter(attempts__gt=0)


class AuditEvent(models.Model):
    """One line of the log. Append-only by a database trigger;
    only the follow mark, its attempts and the seal are filled in later."""

    id = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey(
        Tenant, null=True, on_delete=models.PROTECT, related_name="events", db_index=False
    )  # null: ours alone
    name = models.CharField(max_length=80)
    actor = models.CharField(max_length=200)  # of a person with a reference in place of the name (tenants.persons)
    payload = models.TextField()  # canonical JSON of everything above and the data: what a seal covers
    at = models.DateTimeField()
    request_id = models.CharField(max_length=64, blank=True)
    # What follows from it could not be done: how often, and when it is tried again (support.follow).
    attempts = models.PositiveIntegerField(default=0)
    next_at = models.DateTimeField(null=True)
    followed_at = models.DateTimeField(null=True)  # a flag on the row: commits land out of order, the highest id lies
    # Its leaf in the tree of its log (tenants.log_trees): number, hash, and the salt of its fields (byokportal.leaves).
    seal_number = models.PositiveBigIntegerField(null=True)
    previous_seal = models.CharField(max_length=64, default="", blank=True)  # of an earlier plan; always empty
    seal = models.CharField(max_length=64, default="", blank=True)
    seal_salt = models.TextField(null=True)  # noqa: DJ001  null: SQLite adds no other column without making a table anew
    objects = AuditEventQuerySet.as_manager()
    # What was read with it, and the people of whom all of that speaks, once somebody has asked (tenants.persons).
    batch: list[AuditEvent] | None = None
    names: dict[str, Name] | None = None

    class Meta:
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "id"], name="tenants_event_by_tenant"),
            models.Index(fields=["tenant", "name", "id"], name="tenants_event_by_name"),
            # What people filter by, each with the order in which it is shown (tenants.log).
            models.Index(fields=["tenant", "at", "id"], name="tenants_event_by_time"),
            models.Index(fields=["tenant", "actor", "at", "id"], name="tenants_event_by_actor"),
            models.Index(fields=["tenant", "name", "at", "id"], name="tenants_event_by_name_time"),
            models.Index(fields=["tenant", "request_id", "at", "id"], name="tenants_event_by_request"),
            models.Index(fields=["id"], condition=Q(followed_at=None), name="tenants_event_not_followed"),
            models.Index(fields=["request_id"], condition=~Q(request_id=""), name="tenants_event_by_request_id"),
            models.Index(fields=["id"], condition=Q(seal=""), name="tenants_event_not_sealed"),
            # What one of our people looked at, over all tenants (support.staff).
            models.Index(fields=["actor", "at"], condition=Q(name="tenants.tenant.viewed"), name="tenants_event_looks"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant", "seal_number"], condition=~Q(seal=""), name="tenants_each_number_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} #{self.pk}"
