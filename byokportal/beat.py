"""Celery's beat, which looks into the database before it sends a task: where nothing is due, no message is sent.

A message that finds nothing takes a hundred times the CPU of the question, in beat, the broker and two processes of a
worker, and an idle system would send three a second.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import structlog
from celery.beat import PersistentScheduler
from django.conf import settings
from django.db import connection
from django.utils.module_loading import import_string

from byokportal import deadline

log = structlog.get_logger(__name__)
# Seconds that beat waits for the database before it sends a task unasked: all other tasks wait with it.
WAIT_AT_MOST = 1.0


class Scheduler(PersistentScheduler):  # type: ignore[misc]  # celery's beat has no types
    """Sends a task at its time; one that `BEAT_LOOKS` names rows for, only while there is one of them."""

    def adjust(self, n: Any, drift: float = 0.0) -> Any:
        """Return how long to sleep until a task is due; Celery takes 10 ms off, wakes too early and spins."""
        return super().adjust(n, drift)

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        if entry.name in settings.BEAT_REPORTS:
            report(settings.BEAT_REPORTS[entry.name])
        look = settings.BEAT_LOOKS.get(entry.task)
        if look is None or may_be_due(look):
            super().apply_entry(entry, producer)


def may_be_due(look: str) -> bool:
    """Ask for the rows that a function at a dotted path names.

    A database that gives no answer says nothing about the rows: the task is sent then.
    """
    try:
        with deadline.at_most(WAIT_AT_MOST), connection.cursor() as cursor:
            for statement, parameters in _statements(look):
                cursor.execute(statement, parameters)
                if cursor.fetchone() is not None:
                    return True
            return False
    except Exception as error:  # noqa: BLE001  beat must not end with it, nor keep a connection that is broken
        log.warning("beat_cannot_look", look=look, why=type(error).__name__)
        connection.close()
        return True


def report(how: str) -> None:
    """Say that beat is at work, by a function at a dotted path; a database that gives no answer keeps nothing up."""
    try:
        with deadline.at_most(WAIT_AT_MOST):
            import_string(how)()
    except Exception as error:  # noqa: BLE001  beat must not end with it, nor keep a connection that is broken
        log.warning("beat_cannot_report", how=how, why=type(error).__name__)
        connection.close()


@cache
def _statements(look: str) -> list[tuple[str, tuple[Any, ...]]]:
    """Compile the queries once: that takes ten times as long as the database's answer."""
    return [rows.order_by().values("pk")[:1].query.sql_with_params() for rows in import_string(look)()]
