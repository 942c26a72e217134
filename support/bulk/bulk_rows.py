"""Rows of bulk operations: one operation of our staff on many tenants, and each tenant's own line of it."""

from __future__ import annotations

import uuid
from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Count, Q

from byokportal import clock
from keys.models import Job, JobQuerySet
from tenants.models import Tenant


class BulkOperationQuerySet(JobQuerySet):
    def move(self, pk: object, status: str, **facts: object) -> bool:
        """Give an operation another status; False where it has one by now from which no move leads there."""
        before = [one for one, after in MOVES.items() if status in after]
        return bool(self.filter(pk=pk, status__in=before).update(status=status, **facts))

    def running(self) -> Self:
        return self.filter(status=BulkOperation.Status.QUEUED)


class BulkOperation(Job):
    """One operation on many tenants; the row is the job, and its items are what is to be done."""

    class Kind(models.TextChoices):
        TEST = "test", "Test these tenants"
        ASK = "ask", "Ask these customers"
        WINDOW = "window", "Move the end of their tests"
        PROBE = "probe", "Ask AWS about these keys now"
        SUSPEND = "suspend", "Suspend these keys"
        RESUME = "resume", "Resume the keys of one bulk operation"

    class Status(models.TextChoices):
        WAITING = "waiting", "Waits for a second lead"
        QUEUED = "queued", "Under way"
        FINISHED = "finished", "Finished"
        STOPPED = "stopped", "Stopped"
        REFUSED = "refused", "Refused by a second lead"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=8, choices=Kind)
    status = models.CharField(max_length=8, choices=Status)
    # what its form asked for: subject and text of a ticket, the end of a test
    facts = models.JSONField(default=dict)
    reason = models.CharField(max_length=200)
    # what the tenants were chosen by, as the end of an address of the fleet; "": by hand
    filters = models.CharField(max_length=500, blank=True)
    total = models.PositiveIntegerField()
    # the suspension that a resumption undoes
    undoes = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="undone_by")
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    # of the second lead, or of who stopped it
    decision = models.CharField(max_length=200, blank=True)
    objects = BulkOperationQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at"]
        constraints: ClassVar = [
            # One that was refused or stopped may be asked for again: what is left of the batch is resumed then.
            models.UniqueConstraint(
                fields=["undoes"],
                condition=Q(status__in=["waiting", "queued"]),
                name="support_one_open_resumption_of_a_bulk_operation",
            ),
            models.CheckConstraint(
                condition=Q(kind="resume", undoes__isnull=False) | (~Q(kind="resume") & Q(undoes=None)),
                name="support_a_resumption_undoes_a_bulk_operation",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="support_bulk_due"),
            models.Index(fields=["-created_at"], name="support_bulk_newest"),
            models.Index(fields=["requested_by", "kind", "created_at"], name="support_bulk_by_person"),
            models.Index(fields=["status", "created_at"], name="support_bulk_by_status"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.total:,}"


MOVES = {
    BulkOperation.Status.WAITING: {
        BulkOperation.Status.QUEUED,
        BulkOperation.Status.REFUSED,
        BulkOperation.Status.STOPPED,
    },
    BulkOperation.Status.QUEUED: {BulkOperation.Status.FINISHED, BulkOperation.Status.STOPPED},
}


class BulkItemQuerySet(models.QuerySet["BulkItem"]):
    def of(self, operation: BulkOperation) -> Self:
        return self.filter(operation=operation)

    def counts(self) -> dict[str, int]:
        """Return how many there are of each status; a status of which there is none is 0."""
        found = dict(self.order_by().values_list("status").annotate(count=Count("pk")))
        return {status: found.get(status, 0) for status in BulkItem.Status.values}


class BulkItem(models.Model):
    """One tenant of a bulk operation, and what became of it."""

    class Status(models.TextChoices):
        PENDING = "pending", "Left"
        DONE = "done", "Done"
        REFUSED = "refused", "Refused"
        BROKEN = "broken", "Broke on our side"

    operation = models.ForeignKey(BulkOperation, on_delete=models.PROTECT, related_name="items", db_index=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="bulk_items")
    position = models.PositiveIntegerField()
    status = models.CharField(max_length=8, choices=Status, default=Status.PENDING)
    # why it was refused, in words
    why = models.CharField(max_length=500, blank=True)
    # of a suspension: the line of the log that says so; a later one of its kind means that somebody touched it since
    event_id = models.PositiveBigIntegerField(null=True)
    ended_at = models.DateTimeField(null=True)
    objects = BulkItemQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["position"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["operation", "tenant"], name="support_each_tenant_once_in_a_bulk_operation")
        ]
        indexes: ClassVar = [
            models.Index(fields=["operation", "position"], name="support_bulk_item_by_place"),
            models.Index(fields=["operation", "status", "position"], name="support_bulk_item_by_status"),
        ]

    def __str__(self) -> str:
        return f"{self.tenant_id} in {self.operation_id}"

    def end(self, status: str, *, why: str = "") -> bool:
        """Write down what became of it; False where that is known already, or the operation runs no more."""
        mine = BulkItem.objects.filter(
            pk=self.pk, status=self.Status.PENDING, operation__status=BulkOperation.Status.QUEUED
        )
        return bool(mine.update(status=status, why=why[:500], ended_at=clock.now()))
