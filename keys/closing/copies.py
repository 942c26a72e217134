"""Copies of branch keys in the bucket of an organisation that is closed: deleted where they may be, and counted."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from byokportal import clock
from byokportal.errors import DomainError
from keys import escrow
from keys.aws import escrow_store
from keys.models import Closing

AT_MOST = 10_000  # versions of one run; the next one goes on
ASKED = 100  # versions whose Object Lock is asked for
# Days for which the bucket of deploy/aws keeps a copy (KeepDays); for what is closed again after a restore without
# ESCROW_RETENTION_DAYS. Nothing else is closed without it.
OF_OUR_TEMPLATE = 400


@dataclass(frozen=True, slots=True)
class Copies:
    """What is known of the copies of one organisation.

    Args:
        bucket: "": none is set, and none was written.
        left: versions that are still there; None: it cannot be told.
        until: when the last of them may be deleted, ISO 8601; "" where none is left.
        why: it cannot be told, or they are still there.
    """

    bucket: str
    deleted: int
    left: int | None
    until: str
    why: str

    @property
    def facts(self) -> dict[str, Any]:
        return asdict(self)


def end(closing: Closing) -> Copies:
    """Delete every version of the organisation's copies that may be deleted, and look what is left.

    The bucket's Object Lock refuses a deletion until its retention ends, and a principal that has no right to list or
    delete cannot tell: then the answer is a date, and whoever operates the bucket ends the copies.
    """
    was_copied = bool(closing.facts.get("copied"))
    if not escrow.is_on():
        why = "copies were written to a bucket that is not set any more" if was_copied else ""
        return Copies("", 0, None if was_copied else 0, _later().isoformat() if was_copied else "", why)
    prefix, deleted, refused = f"{settings.ESCROW_PREFIX}{closing.tenant_id}/", 0, ""
    try:
        for number, version in enumerate(escrow_store.versions(prefix)):
            if number >= AT_MOST:
                break
            try:
                escrow_store.delete(version)
                deleted += 1
            except DomainError as error:
                refused = str(error)[:200]
        left = list(escrow_store.versions(prefix))
    except DomainError as error:
        return Copies(settings.ESCROW_BUCKET, deleted, None, _later().isoformat(), str(error)[:200])
    dates = [_kept_until(one) for one in left[:ASKED]]
    if len(left) > ASKED:  # in order of their names, which says nothing of their dates
        dates.append(_later())
    until = max(dates, default=None)
    return Copies(settings.ESCROW_BUCKET, deleted, len(left), until.isoformat() if until else "", refused)


def _kept_until(version: escrow_store.Version) -> datetime:
    try:
        until = escrow_store.kept_until(version)
    except DomainError:
        until = None
    return until or _later()


def _later() -> datetime:
    days = settings.ESCROW_RETENTION_DAYS
    return clock.now() + timedelta(days=OF_OUR_TEMPLATE if days is None else days)
