"""Entry points for the worker: load by id, one engine call; beat sends messages for what is due."""

from __future__ import annotations

import uuid
from typing import Any

import structlog
from celery import shared_task
from django.db import transaction

from byokportal import clock
from keys import branchkeys, health, horizon, usage
from keys.configuration import apply
from keys.models import WAKE_AGAIN, BranchKey, EncryptionTest, KeyHealth, RoleConfiguration, not_woken_lately
from keys.proof.encryption_test import runner
from tenants.models import ServiceRole

log = structlog.get_logger(__name__)
CHUNK = 200  # rows a run; the rest is due at the next one


def enqueue(task: Any, **ids: str) -> None:
    """Send the message for a row as soon as it is committed. A broker that does not answer undoes no operation:
    beat looks every few seconds.

    A function is what Django calls and not a partial, because it says by `__qualname__` what failed,
    and trips over what has none.
    """
    transaction.on_commit(lambda: _wake(task, **ids), robust=True)


def _wake(task: Any, **ids: str) -> None:
    """Send a message that ends by itself: beat looks for due rows every few seconds,
    so one that nobody took in time is worth nothing."""
    task.apply_async(kwargs=ids, expires=WAKE_AGAIN.total_seconds())


@shared_task(soft_time_limit=45, time_limit=60)
def configure_service_role(*, configuration_id: str) -> None:
    test_id = apply.apply(configuration_id)
    if test_id is not None:
        _wake(run_test, test_id=str(test_id))


@shared_task(queue="bulk", soft_time_limit=25, time_limit=30)
def close_filled_roles() -> None:
    for role in ServiceRole.objects.filter(is_open=True):
        apply.close_if_filled(role)


@shared_task(soft_time_limit=45, time_limit=60)
def run_test(*, test_id: str) -> None:
    runner.run(test_id)


@shared_task(soft_time_limit=55, time_limit=60)
def probe(*, registration_id: str) -> None:
    health.probe(registration_id)


@shared_task(soft_time_limit=25, time_limit=30)
def enqueue_due_probes() -> None:
    """Send the messages for the probes that somebody waits for: they do not wait for a sweep."""
    now = clock.now()
    due = KeyHealth.objects.awaited().due_for_probe(now).filter(not_woken_lately(now, "next_probe_at"))
    rows = list(due.order_by("next_probe_at").values_list("pk", "registration")[:CHUNK])
    KeyHealth.objects.filter(pk__in=[pk for pk, _ in rows]).update(woken_at=now)
    for _, registration in rows:
        _wake(probe, registration_id=str(registration))


@shared_task(soft_time_limit=25, time_limit=30)
def enqueue_due_configurations() -> None:
    for pk in RoleConfiguration.objects.wake(clock.now(), CHUNK):
        _wake(configure_service_role, configuration_id=str(pk))


@shared_task(soft_time_limit=25, time_limit=30)
def enqueue_due_tests() -> None:
    for pk in EncryptionTest.objects.wake(clock.now(), CHUNK):
        _wake(run_test, test_id=str(pk))


@shared_task(queue="sweep", soft_time_limit=80, time_limit=85)  # less than the 90 s for which a claim lasts
def sweep() -> None:
    """Probe the chunk that is due, then see what that ends and what a drill has measured;
    a full chunk means that more is due."""
    if health.sweep() == health.CHUNK:
        _wake(sweep)
    health.close_incidents()
    health.follow_drills()


@shared_task(queue="bulk", soft_time_limit=45, time_limit=60)
def roll_up_uses() -> None:
    usage.roll_up()


@shared_task(queue="bulk", soft_time_limit=45, time_limit=60)
def attend_branch_key(*, branch_key_id: str) -> None:
    _enqueue_removal(branchkeys.attend(branch_key_id))


def _enqueue_removal(configuration_id: uuid.UUID | None) -> None:
    if configuration_id is not None:
        _wake(configure_service_role, configuration_id=str(configuration_id))


@shared_task(soft_time_limit=25, time_limit=30)
def enqueue_due_branch_keys() -> None:
    for pk in BranchKey.objects.wake(clock.now(), CHUNK):
        _wake(attend_branch_key, branch_key_id=str(pk))
    for registration in branchkeys.unneeded():
        try:
            _enqueue_removal(branchkeys.retire(registration))
        except Exception:  # one that cannot be retired must not keep the others
            log.exception("registration_not_retired", registration=str(registration.pk))


@shared_task(soft_time_limit=25, time_limit=30)
def clear_wrappings() -> None:
    horizon.clear()
