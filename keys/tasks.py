"""Entry points for the worker: load by id, one engine call; beat sends messages for what is due."""

from __future__ import annotations

import uuid
from typing import Any

import structlog
from celery import shared_task
from django.db import transaction

from byokportal import clock, database
from keys import (
    activation,
    branchkeys,
    canary_rounds,
    escrow,
    health,
    holds,
    horizon,
    kept_tests,
    log_heads,
    retirement,
    usage,
    use_rollups,
)
from keys.configuration import apply, canary_roles, drift, room
from keys.models import (
    WAKE_AGAIN,
    BranchKey,
    DriftResolution,
    EncryptionTest,
    KeyHealth,
    KeyRegistration,
    RoleConfiguration,
    not_woken_lately,
)
from keys.proof.encryption_test import runner

log = structlog.get_logger(__name__)
CHUNK = 200  # rows a run; the rest is due at the next one
# Of a task that claims rows: it has ended when its claim does (`CLAIM_LASTS`), and another worker takes them.
SOFT, HARD = 40, 44  # seconds


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


# Only the worker of this queue holds rights to change IAM (docs/deploy.md).
@shared_task(queue="configuration", soft_time_limit=SOFT, time_limit=HARD)
def configure_service_role(*, configuration_id: str) -> None:
    test_id = apply.apply(configuration_id)
    if test_id is not None:
        _wake(run_test, test_id=str(test_id))


@shared_task(queue="configuration", soft_time_limit=45, time_limit=60)
def keep_room() -> None:
    room.keep()


@shared_task(queue="configuration", soft_time_limit=SOFT, time_limit=HARD)
def look_for_drift() -> None:
    drift.look()
    for pk in DriftResolution.objects.wake(clock.now(), CHUNK):
        drift.resolve(pk)


@shared_task(queue="configuration", soft_time_limit=SOFT, time_limit=HARD)
def resolve_drift(*, resolution_id: str) -> None:
    drift.resolve(int(resolution_id))


@shared_task(soft_time_limit=SOFT, time_limit=HARD)
def run_test(*, test_id: str) -> None:
    runner.run(test_id)


@shared_task(soft_time_limit=25, time_limit=30)
def attend_due_activations() -> None:
    for registration in KeyRegistration.objects.in_preparation().due_for_activation(clock.now())[:CHUNK]:
        try:
            test_id = activation.attend(registration)
        except Exception as error:
            if database.is_unusable(error):  # it says nothing about the row
                raise
            log.exception("activation_not_attended", registration=str(registration.pk))
            activation.put_off(registration)
            continue
        if test_id is not None:
            _wake(run_test, test_id=str(test_id))


@shared_task(soft_time_limit=SOFT, time_limit=HARD)
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


@shared_task(queue="configuration", soft_time_limit=45, time_limit=60)
def keep_canaries() -> None:
    canary_roles.keep()


@shared_task(soft_time_limit=45, time_limit=60)
def ask_canaries() -> None:
    health.ask_canaries()


@shared_task(soft_time_limit=110, time_limit=120)
def send_canaries() -> None:
    canary_rounds.go()


@shared_task(queue="sweep", soft_time_limit=SOFT, time_limit=HARD)
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
def roll_up_sealed_uses() -> None:
    use_rollups.roll_up()


@shared_task(queue="bulk", soft_time_limit=110, time_limit=120)
def publish_log_head() -> None:
    log_heads.publish_due()


@shared_task(queue="bulk", soft_time_limit=SOFT, time_limit=HARD)
def escrow_branch_keys() -> None:
    escrow.write_due()


@shared_task(queue="bulk", soft_time_limit=SOFT, time_limit=HARD)
def attend_branch_key(*, branch_key_id: str) -> None:
    _enqueue_removal(branchkeys.attend(branch_key_id))


def _enqueue_removal(configuration_id: uuid.UUID | None) -> None:
    if configuration_id is not None:
        _wake(configure_service_role, configuration_id=str(configuration_id))


@shared_task(soft_time_limit=25, time_limit=30)
def enqueue_due_branch_keys() -> None:
    for pk in BranchKey.objects.wake(clock.now(), CHUNK):
        _wake(attend_branch_key, branch_key_id=str(pk))
    for registration in retirement.unneeded():
        try:
            _enqueue_removal(retirement.retire(registration))
        except Exception:  # one that cannot be retired must not keep the others
            log.exception("registration_not_retired", registration=str(registration.pk))


@shared_task(soft_time_limit=25, time_limit=30)
def end_proven_holds() -> None:
    holds.end_proven()


@shared_task(queue="bulk", soft_time_limit=45, time_limit=60)
def clear_tests() -> None:
    kept_tests.clear()


@shared_task(soft_time_limit=25, time_limit=30)
def clear_wrappings() -> None:
    horizon.clear()
