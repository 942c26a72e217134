"""`kill -9` of a worker in the middle of a sweep, a judgement, a look at a drill: nothing is lost, nothing is twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from conftest import Customer, acting, health_of
from django.db import connections
from django.utils import timezone

from byokportal import clock
from keys import health, services
from keys.health import asking, judging, sweeping
from keys.models import CacheDrop, KeyHealth, KeyRegistration, RegistrationMove, RevocationDrill, ServingProcess
from tenants import audit
from tenants.models import AuditEvent, Member, Tenant

pytestmark = pytest.mark.django_db(transaction=True)
Status = KeyRegistration.Status


def die(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def killed(patch: Callable[[pytest.MonkeyPatch], None], work: Callable[[], Any]) -> None:
    """Do the work in a process that `patch` kills somewhere in it."""
    connections.close_all()
    child = os.fork()
    if child == 0:
        try:
            patch(pytest.MonkeyPatch())
            work()
        finally:
            os._exit(7)  # it did not die where it should
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the worker lived on"


def due() -> None:
    KeyHealth.objects.update(next_probe_at=timezone.now())


def stale() -> None:
    """Let the time pass after which a claim is taken for lost."""
    KeyHealth.objects.exclude(probe_claimed_at=None).update(probe_claimed_at=timezone.now() - timedelta(seconds=91))


@pytest.mark.parametrize(
    "patch",
    [
        lambda patch: patch.setattr(asking, "ask", die),
        lambda patch: patch.setattr(sweeping, "_write", die),
        lambda patch: patch.setattr(judging, "judge", die),
        lambda patch: patch.setattr(audit, "record", die),  # within the transaction that suspends
        lambda patch: patch.setattr(judging, "_fall_back", die),
    ],
    ids=["asking", "before writing", "before judging", "suspending", "before the step falls back"],
)
def test_a_sweep_that_is_killed_is_done_by_another_worker(
    tenant: Tenant, customer: Customer, active: KeyRegistration, patch: Callable[[pytest.MonkeyPatch], None]
) -> None:
    customer.kms.disable_key(KeyId=customer.key_arn)
    due()
    killed(patch, health.sweep)
    active.refresh_from_db()
    assert (active.status, health_of(active).denied_probes) == (Status.ACTIVE, 0)  # half a judgement is none
    assert health.sweep() == 0  # the claim of the dead stands for a while
    stale()
    assert health.sweep() == 1
    active.refresh_from_db()
    assert (active.status, active.reason, health_of(active).denied_probes) == (Status.SUSPENDED, "kms_key_disabled", 1)
    assert health_of(active).probe_claimed_at is None
    assert RegistrationMove.objects.filter(registration=active, new_status=Status.SUSPENDED).count() == 1
    assert AuditEvent.objects.filter(name="keys.key.suspended").count() == 1
    tenant.refresh_from_db()
    assert tenant.key_generation > 0


def test_a_drill_whose_worker_is_killed_goes_on_where_it_was(
    tenant: Tenant, alice: Member, customer: Customer, active: KeyRegistration
) -> None:
    process = ServingProcess.objects.create(name="web-1:1", started_at=clock.now() - timedelta(minutes=5))
    drill = services.start_drill(tenant, actor=acting(alice))
    customer.kms.disable_key(KeyId=customer.key_arn)
    due()
    health.sweep()
    tenant.refresh_from_db()
    CacheDrop.objects.create(tenant=tenant, process=process, generation=tenant.key_generation, count=1, at=clock.now())
    killed(lambda patch: patch.setattr(RevocationDrill, "save", die), health.follow_drills)
    drill.refresh_from_db()
    assert drill.status == RevocationDrill.Status.WAITING_FOR_REFUSAL
    health.follow_drills()
    drill.refresh_from_db()
    assert drill.status == RevocationDrill.Status.WAITING_FOR_KEY
    customer.kms.enable_key(KeyId=customer.key_arn)
    for _ in range(2):
        due()
        health.sweep()
    killed(lambda patch: patch.setattr(audit, "record", die), health.follow_drills)
    health.follow_drills()
    drill.refresh_from_db()
    assert drill.status == RevocationDrill.Status.DONE
    assert AuditEvent.objects.filter(name="keys.drill.finished").count() == 1
