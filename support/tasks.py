"""Entry points for the worker: follow the log, send the mails that are due."""

from __future__ import annotations

from celery import shared_task

from support import follow, notices, recoveries


@shared_task(soft_time_limit=45, time_limit=60)
def follow_log() -> None:
    follow.follow()


@shared_task(queue="bulk", soft_time_limit=45, time_limit=60)
def send_notices() -> None:
    notices.send_due()


@shared_task(queue="bulk", soft_time_limit=45, time_limit=60)
def complete_recoveries() -> None:
    recoveries.complete_due()
