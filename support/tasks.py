"""Entry points for the worker: follow the log, send mails and webhooks, keep what the back office reads."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from support import bulk_runs, canary_steps, closings, follow, notices, recoveries, reminders
from support.fleet import counting, heartbeats, projection
from support.oncall import paging
from support.webhooks import deliveries


@shared_task(soft_time_limit=45, time_limit=60)
def follow_log() -> None:
    follow.follow()


@shared_task(soft_time_limit=45, time_limit=60)
def advance_canaries() -> None:
    canary_steps.advance()


@shared_task(queue="bulk", soft_time_limit=45, time_limit=60)
def send_notices() -> None:
    notices.send_due()


@shared_task(queue="bulk", soft_time_limit=45, time_limit=60)
def complete_recoveries() -> None:
    recoveries.complete_due()


# An export may be long: its row is held anew after each part.
@shared_task(queue="bulk", soft_time_limit=540, time_limit=600)
def attend_closings() -> None:
    closings.attend_due()


@shared_task(queue="bulk", soft_time_limit=45, time_limit=60)
def run_bulk() -> None:
    bulk_runs.run_due()


@shared_task(queue="webhooks", soft_time_limit=45, time_limit=60)
def deliver_webhooks() -> None:
    deliveries.deliver_due()


# Not with the webhooks of organisations: whoever is on call waits for none of their receivers.
@shared_task(soft_time_limit=45, time_limit=50)
def call_on_call() -> None:
    paging.send_due()


@shared_task(queue="bulk", soft_time_limit=45, time_limit=60)
def prune_webhooks() -> None:
    deliveries.prune()


@shared_task(queue="bulk", soft_time_limit=45, time_limit=60)
def remind_of_tickets() -> None:
    reminders.remind_due()


@shared_task(queue="bulk", soft_time_limit=45, time_limit=60)
def clear_notices() -> None:
    notices.clear()


@shared_task(queue="bulk", soft_time_limit=45, time_limit=60)
def prune_inbound_mails() -> None:
    reminders.prune_inbound_mails()


@shared_task(queue="bulk", soft_time_limit=45, time_limit=60)
def follow_fleet() -> None:
    projection.follow()


@shared_task(queue="bulk", soft_time_limit=45, time_limit=60)
def count_fleet() -> None:
    projection.refresh_oldest()
    counting.count()
    heartbeats.clear()


@shared_task(bind=True, soft_time_limit=25, time_limit=30)
def report_in(self: Any) -> None:
    """Say that a worker of the queue by which this message came is at work."""
    heartbeats.beat(str(self.request.delivery_info["routing_key"]), str(self.request.hostname))
