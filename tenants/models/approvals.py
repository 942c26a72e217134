"""What one member asks for and another one has to approve."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext, gettext_lazy

from byokportal import clock, words
from byokportal.translation import lazy
from tenants.models.credentials import AccessToken
from tenants.models.organisations import Tenant
from tenants.models.people import Member

APPROVAL_LASTS = timedelta(hours=24)
NO_REASON = lazy("No reason was given.")


class ApprovalQuerySet(models.QuerySet["Approval"]):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)

    def waiting(self, now: datetime) -> Self:
        """Return those that somebody may still approve or refuse."""
        return self.filter(status=Approval.Status.WAITING, expires_at__gt=now)

    def usable(self, now: datetime) -> Self:
        """Return those that were approved and not done yet."""
        return self.filter(status=Approval.Status.APPROVED, expires_at__gt=now)


class Approval(models.Model):
    """An operation that a member asked for; it is done once another owner or admin has approved it."""

    class Status(models.TextChoices):
        WAITING = "waiting", gettext_lazy("Waits for a second person")
        APPROVED = "approved", gettext_lazy("Approved")
        DONE = "done", gettext_lazy("Approved and done")
        REFUSED = "refused", gettext_lazy("Refused")
        WITHDRAWN = "withdrawn", gettext_lazy("Withdrawn")

    # Every change of an approval: from → to. Each is a compare-and-set; what a person decides has a line in the log, as
    # has the operation that is done. One that has expired is withdrawn without one when the same is asked for again.
    MOVES: ClassVar = {
        (Status.WAITING, Status.APPROVED),
        (Status.WAITING, Status.REFUSED),
        (Status.WAITING, Status.WITHDRAWN),
        (Status.APPROVED, Status.DONE),
        (Status.APPROVED, Status.WITHDRAWN),
    }

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="approvals", db_index=False)
    # Its row in `tenants.roles.OPERATIONS`.
    operation = models.CharField(max_length=64)
    # What it is to be done with: JSON, keys sorted. It holds no secret.
    arguments = models.TextField()
    # What the person who approves reads.
    sentence = models.TextField()
    status = models.CharField(max_length=16, choices=Status, default=Status.WAITING)
    reason = models.CharField(max_length=200)
    requested_by = models.ForeignKey(Member, on_delete=models.PROTECT, related_name="approvals_requested")
    # The automation token that asked for the member; it has to be valid still when it is done.
    token = models.ForeignKey(AccessToken, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    is_by_token = models.BooleanField(default=False)
    via = models.CharField(max_length=16)
    decided_by = models.ForeignKey(
        Member, null=True, blank=True, on_delete=models.PROTECT, related_name="approvals_decided"
    )
    decision_reason = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    expires_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True, blank=True)
    objects = ApprovalQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at"]
        indexes: ClassVar = [models.Index(fields=["tenant", "-created_at"], name="tenants_approvals_by_time")]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["requested_by", "operation", "arguments"],
                condition=Q(status__in=["waiting", "approved"]),
                name="tenants_one_open_approval",
            ),
            models.CheckConstraint(
                condition=Q(decided_by=None) | ~Q(decided_by=F("requested_by")), name="tenants_two_members_approve"
            ),
            models.CheckConstraint(
                condition=~Q(status__in=["approved", "done", "refused"]) | Q(decided_by__isnull=False),
                name="tenants_approval_has_a_second_person",
            ),
        ]

    def __str__(self) -> str:
        return self.sentence

    @property
    def shown_reason(self) -> str:
        """Return the reason: the person's own words, or ours where none was given."""
        return words.reason(self.reason)

    @property
    def is_open(self) -> bool:
        """Tell whether it can still be approved, refused or done."""
        return self.status in {self.Status.WAITING, self.Status.APPROVED} and self.expires_at > clock.now()

    @property
    def is_expired(self) -> bool:
        """Tell whether nobody decided, or nobody did it, in time."""
        return self.status in {self.Status.WAITING, self.Status.APPROVED} and not self.is_open

    @property
    def label(self) -> str:
        """Return what people read of it."""
        return gettext("Expired") if self.is_expired else str(self.get_status_display())

    def given(self) -> dict[str, Any]:
        """Return what it is to be done with."""
        given: dict[str, Any] = json.loads(self.arguments)
        return given
