"""Organisations that wait after a restore, because what they stopped since the backup is not known."""

from __future__ import annotations

import uuid
from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Q

from byokportal import clock
from tenants.models import Tenant


class RestoreHoldQuerySet(models.QuerySet["RestoreHold"]):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)

    def open(self) -> Self:
        """Return those whose organisation gets no data keys."""
        return self.exclude(status=RestoreHold.Status.ENDED)

    def confirmed(self) -> Self:
        """Return those that end with the next good probe."""
        return self.filter(status=RestoreHold.Status.CONFIRMED)


class RestoreHold(models.Model):
    """One organisation gets no data keys since a restore, for no line of its log told what it stopped after the backup.

    An owner confirms what the database knows, and a good probe that is newer than the admission ends it (`keys.holds`);
    or two leads of ours end it, with a reason that is mailed to all owners.
    """

    class Status(models.TextChoices):
        HELD = "held", "Waits for an owner"
        CONFIRMED = "confirmed", "Confirmed, waits for a good probe"
        ENDED = "ended", "Ended"

    class End(models.TextChoices):
        OWNER = "owner", "An owner confirmed, and a probe was good"
        LEADS = "leads", "Two leads decided"
        LOG = "log", "Its log was given after all"

    MOVES: ClassVar = frozenset(
        {
            (Status.HELD, Status.CONFIRMED),
            (Status.CONFIRMED, Status.HELD),  # the database came back once more
            (Status.HELD, Status.ENDED),
            (Status.CONFIRMED, Status.ENDED),
        }
    )

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="restore_holds")
    status = models.CharField(max_length=9, choices=Status, default=Status.HELD)
    # The period of which nothing is known: the newest that the backup has, and when the hold began.
    lost_from = models.DateTimeField(null=True)
    held_at = models.DateTimeField(default=clock.now)
    confirmed_by = models.CharField(max_length=200, blank=True)
    confirmed_at = models.DateTimeField(null=True)
    # a lead asks another one to do without the owners
    requested_by = models.CharField(max_length=200, blank=True)
    asked = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    request_reason = models.CharField(max_length=200, blank=True)
    ended_as = models.CharField(max_length=5, choices=End, blank=True)
    ended_by = models.CharField(max_length=200, blank=True)
    ended_at = models.DateTimeField(null=True)
    objects = RestoreHoldQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-held_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant"], condition=~Q(status="ended"), name="keys_one_open_hold"),
        ]

    def __str__(self) -> str:
        return f"{self.get_status_display()}: {self.tenant}"
