"""Rows that are jobs: due at a time, claimed by one worker, found again when that worker is killed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Self

from django.db import models
from django.db.models import F, Q

from byokportal import clock

CLAIM_LASTS = timedelta(seconds=90)  # longer than any task may run (its hard time limit is 60 s): older means lost


class JobQuerySet(models.QuerySet[Any]):
    def due(self, now: datetime) -> Self:
        """Rows to ring for: their time has come and no living worker holds them."""
        return self.filter(due_at__lte=now).filter(Q(claimed_at=None) | Q(claimed_at__lt=now - CLAIM_LASTS))

    def claim(self, pk: object, now: datetime) -> bool:
        """Take the row for this worker; False when it is not due or somebody else has it."""
        return bool(self.filter(pk=pk).due(now).update(claimed_at=now, attempts=F("attempts") + 1))


class Job(models.Model):
    """A row that is the job: due at a time, claimed by one worker, found again when that worker is killed."""

    due_at = models.DateTimeField(null=True, default=clock.now)  # null: nothing to do (any more)
    claimed_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True
