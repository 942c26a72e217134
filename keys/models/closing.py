"""The closing of an organisation, and the receipts that say where copies of its keys still are."""

from __future__ import annotations

import json
import uuid
from typing import Any, ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from byokportal import clock
from keys.models.jobs import Job, JobQuerySet
from tenants.models import Tenant


class ClosingQuerySet(JobQuerySet):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)

    def open(self) -> Self:
        """Return those that were asked for and have destroyed nothing yet."""
        return self.filter(status__in=[Closing.Status.WAITING, Closing.Status.QUEUED])

    def move(self, pk: object, old: str, new: str, **facts: Any) -> bool:
        """Change the status of one; False where the table does not have this move or somebody was faster."""
        return (old, new) in Closing.MOVES and bool(self.filter(pk=pk, status=old).update(status=new, **facts))


class Closing(Job):
    """One organisation that ends for good: asked for, approved, its keys destroyed, its last copy gone."""

    class Status(models.TextChoices):
        WAITING = "waiting", "Waits for a second lead"
        QUEUED = "queued", "About to be done"
        REFUSED = "refused", "Refused"
        STOPPED = "stopped", "Stopped: nothing was destroyed"
        ERASED = "erased", "Keys destroyed; our policies let go of its roles"
        CLOSED = "closed", "Closed; copies end at the date of the receipt"
        ENDED = "ended", "The last copy is gone"

    # Every change: from → to. Each is a compare-and-set with a line in the log.
    MOVES: ClassVar = {
        (Status.WAITING, Status.QUEUED),
        (Status.WAITING, Status.REFUSED),
        (Status.QUEUED, Status.STOPPED),
        (Status.QUEUED, Status.ERASED),
        (Status.ERASED, Status.CLOSED),
        (Status.CLOSED, Status.ENDED),
    }
    # In these the keys are destroyed.
    DONE: ClassVar = (Status.ERASED, Status.CLOSED, Status.ENDED)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="closings")
    status = models.CharField(max_length=16, choices=Status, default=Status.WAITING)
    reason = models.CharField(max_length=200)
    requested_by = models.CharField(max_length=200)  # as the log names who did it
    asked = models.ForeignKey(  # null: the command line, or a restored database
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    decided_by = models.CharField(max_length=200, blank=True)
    approved = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    decision = models.CharField(max_length=200, blank=True)
    why = models.CharField(max_length=300, blank=True)  # it was stopped, or what it waits for
    folder = models.CharField(max_length=500, blank=True)  # of the export
    erased_at = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)  # of the last copy, as the first receipt says
    # What was destroyed and where copies were, as it was found at that moment (`keys.closing.places`).
    facts = models.JSONField(default=dict)
    addresses = models.JSONField(default=list)  # the owners of that moment, who get both receipts; then emptied
    objects = ClosingQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at"]
        constraints: ClassVar = [
            # One at a time, and of those that destroyed something there is one.
            models.UniqueConstraint(
                fields=["tenant"], condition=~Q(status__in=["refused", "stopped"]), name="keys_one_closing_per_tenant"
            ),
            models.CheckConstraint(condition=Q(approved=None) | ~Q(approved=F("asked")), name="keys_two_leads_close"),
            models.CheckConstraint(
                condition=~Q(status__in=["erased", "closed", "ended"]) | Q(erased_at__isnull=False),
                name="keys_closing_says_when",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["due_at"], name="keys_closing_due")]

    def __str__(self) -> str:
        return f"{self.get_status_display()}: {self.tenant}"


class ClosingReceipt(models.Model):
    """A signed statement about a closing: the first one says where copies still are and until when, the second that
    they are gone. Append-only by a database trigger."""

    closing = models.ForeignKey(Closing, on_delete=models.PROTECT, related_name="receipts", db_index=False)
    number = models.PositiveSmallIntegerField()  # 1 or 2
    body = models.TextField()  # canonical JSON: what is signed
    signature = models.CharField(max_length=200)  # base64
    public_key = models.CharField(max_length=200)  # base64 of the 32 bytes
    signed_at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering: ClassVar = ["number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["closing", "number"], name="keys_each_receipt_once"),
            models.CheckConstraint(condition=Q(number__gte=1, number__lte=2), name="keys_two_receipts"),
        ]

    def __str__(self) -> str:
        return f"Receipt {self.number} of {self.closing_id}"

    @property
    def statement(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found
