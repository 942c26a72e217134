"""Rows that are jobs: due at a time, claimed by one worker, found again when that worker is killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

import structlog
from django.db import models
from django.db.models import F, Q

from byokportal import clock, database

log = structlog.get_logger(__name__)

# Longer than a task that claims rows may run (`HARD` in keys/tasks.py): older means lost. A minute after a worker was
# killed, what it had in hand is done (tests/soak/chaos).
CLAIM_LASTS = timedelta(seconds=45)


# a row that nobody took is woken for again; messages that wake for it end after that time
WAKE_AGAIN = timedelta(seconds=30)
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=1)  # after an error that nobody expects


def pause_after(failures: int) -> timedelta:
    """Return how long a row is put off that failed so often in a row for a reason that nobody expects:
    1, 4, 16, 60 minutes."""
    grown: int = 4 ** min(failures, 5)
    return min(FIRST_PAUSE * grown, LONGEST_PAUSE)


def not_woken_lately(now: datetime, due: str) -> Q:
    """Rows for which no message is on its way: none was sent since they became due, or it has ended."""
    return Q(woken_at=None) | Q(woken_at__lt=F(due)) | Q(woken_at__lt=now - WAKE_AGAIN)


class JobQuerySet(models.QuerySet[Any]):
    def due(self, now: datetime) -> Self:
        """Rows to enqueue: their time has come and no living worker holds them."""
        return self.filter(due_at__lte=now).filter(Q(claimed_at=None) | Q(claimed_at__lt=now - CLAIM_LASTS))

    def wake(self, now: datetime, at_most: int) -> list[Any]:
        """Return the ids of due rows that nobody was woken for lately, longest due first,
        and note that somebody is now.

        Without that, rows that wait for a worker would get a message more at every look,
        and an hour without one would leave hundreds of each.
        """
        pks = list(
            self.due(now)
            .filter(not_woken_lately(now, "due_at"))
            .order_by("due_at")
            .values_list("pk", flat=True)[:at_most]
        )
        self.filter(pk__in=pks).update(woken_at=now)
        return pks

    def put_off(self, pk: object, claim: datetime) -> None:
        """Give a row back whose run ended in an error that nobody expects:
        it comes again later each time, and support sees the count."""
        failures = self.filter(pk=pk, claimed_at=claim).values_list("failures", flat=True).first()
        if failures is not None:
            due_at = clock.now() + pause_after(failures)
            self.filter(pk=pk, claimed_at=claim).update(claimed_at=None, due_at=due_at, failures=F("failures") + 1)

    def failing(self) -> Self:
        """Rows whose last run ended so, and that wait for another."""
        return self.filter(failures__gt=0, due_at__isnull=False)

    def claim(self, pk: object, now: datetime) -> bool:
        """Take the row for this worker; False when it is not due or somebody else has it."""
        return bool(self.filter(pk=pk).due(now).update(claimed_at=now, attempts=F("attempts") + 1))


class ClaimLost(Exception):
    """Another worker has the row, or nobody needs it any more: this one stops at once and writes nothing of it."""


@dataclass
class Claim:
    """The claim of a worker that holds a row for longer than a claim lasts.

    Attributes:
        at: what `claimed_at` is while the row is this worker's.
    """

    rows: JobQuerySet
    pk: object
    at: datetime

    def renew(self, *, ahead: timedelta = timedelta(0)) -> None:
        """Go on holding the row.

        Args:
            ahead: for how long, beyond what a claim lasts, nothing will be renewed.

        Raises:
            ClaimLost: it is not this worker's any more.
        """
        at = clock.now() + ahead
        if not self.rows.filter(pk=self.pk, claimed_at=self.at).update(claimed_at=at):
            raise ClaimLost
        self.at = at


@contextmanager
def put_off_if_it_breaks(rows: JobQuerySet, pk: object, claim: datetime | Claim) -> Iterator[None]:
    """Let an error that nobody expects put the row off,
    so that it neither comes at once nor keeps others from their turn."""
    try:
        yield
    except ClaimLost:
        log.warning("claim_lost", job=rows.model.__name__, pk=str(pk))
    except Exception as error:
        if database.is_unusable(error):  # it says nothing about the row
            raise
        log.exception("job_broke", job=rows.model.__name__, pk=str(pk))
        rows.put_off(pk, claim.at if isinstance(claim, Claim) else claim)


class Job(models.Model):
    """A row that is the job: due at a time, claimed by one worker, found again when that worker is killed."""

    due_at = models.DateTimeField(null=True, default=clock.now)  # null: nothing to do (any more)
    claimed_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    failures = models.PositiveIntegerField(default=0)  # runs in a row that ended in an error nobody expects
    woken_at = models.DateTimeField(null=True)  # when a worker was last sent a message about it
    created_at = models.DateTimeField(default=clock.now, editable=False)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True
