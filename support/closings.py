"""Closings of organisations that are due: done one after the other, by the service."""

from __future__ import annotations

import structlog

from byokportal import clock, database
from keys import services
from keys.models import Closing

log = structlog.get_logger(__name__)
BATCH = 5


def attend_due() -> int:
    """Do the next step of the closings that are due; the service puts off a row that breaks.

    Returns:
        how many were looked at.
    """
    due = Closing.objects.due(clock.now()).order_by("due_at")
    found = list(due.values_list("pk", flat=True)[:BATCH])
    for pk in found:
        try:
            services.attend_closing(pk)
        except Exception as error:  # one must not hold up the others
            if database.is_unusable(error):
                raise
            log.exception("closing_not_attended", closing=str(pk))
    return len(found)
