"""What beat and operations send to workers:
every message ends, no row has many, and nobody who waits for a test waits for a sweep."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from celery import current_app
from conftest import with_health
from django.conf import settings
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.utils import timezone

from byokportal import beat, receiver_runs
from keys import escrow, tasks, usage
from keys.models import (
    CLAIM_LASTS,
    WAKE_AGAIN,
    BranchKey,
    Canary,
    Closing,
    EncryptionTest,
    Incident,
    KeyHealth,
    KeyRegistration,
    KeyUse,
    RestoreHold,
    RevocationDrill,
    RoleConfiguration,
)
from support import notices
from support import tasks as support_tasks  # noqa: F401  a worker knows them all
from support.models import (
    BulkOperation,
    FleetFigures,
    Notice,
    OnCallMessage,
    Ticket,
    WebhookDelivery,
    WebhookEndpoint,
)
from tenants import audit, idempotency, log_trees
from tenants import tasks as tenant_tasks  # noqa: F401
from tenants.models import AuditEvent, LogStream, ServiceRole, Tenant

ROOT = Path(__file__).parents[2]
# What changes IAM: the worker of its queue alone holds rights there.
CHANGE_IAM = {"configure_service_role", "keep_room", "keep_canaries", "look_for_drift", "resolve_drift"}
WAITED_FOR = {
    "run_test",
    "probe",
    "enqueue_due_tests",
    "enqueue_due_probes",
    "enqueue_due_configurations",
}
SLOW = {
    "sweep",
    "send_notices",
    "prune_webhooks",
    "prune_inbound_mails",
    "remind_of_tickets",
    "attend_branch_key",
    "clear_expired",
    "clear_tests",
    "clear_notices",
    "complete_recoveries",
    "attend_closings",
    "roll_up_uses",
    "run_bulk",
}


def ours() -> dict[str, Any]:
    return {
        name.rpartition(".")[2]: task
        for name, task in current_app.tasks.items()
        if re.match(r"(keys|support|tenants)\.", name)
    }


@pytest.mark.parametrize("name", sorted(settings.CELERY_BEAT_SCHEDULE))
def test_every_entry_of_beat_expires(name: str) -> None:
    entry = settings.CELERY_BEAT_SCHEDULE[name]
    assert entry["schedule"] <= entry["options"]["expires"] <= max(60, entry["schedule"])
    assert entry["task"] in current_app.tasks


CLAIMING = (
    "configure_service_role",
    "resolve_drift",
    "look_for_drift",
    "run_test",
    "probe",
    "sweep",
    "attend_branch_key",
    "escrow_branch_keys",
)


@pytest.mark.parametrize("name", CLAIMING)
def test_a_task_has_ended_when_what_it_claimed_is_given_to_another(name: str) -> None:
    assert ours()[name].time_limit < CLAIM_LASTS.total_seconds()


def test_what_a_killed_worker_had_in_hand_is_due_again_in_less_than_a_minute() -> None:
    looks_for_it = max(settings.DUE_SECONDS, WAKE_AGAIN.total_seconds() - CLAIM_LASTS.total_seconds())
    for lasts in (CLAIM_LASTS, notices.CLAIM_LASTS, receiver_runs.CLAIM_LASTS, escrow.CLAIM, idempotency.STUCK):
        assert lasts.total_seconds() + looks_for_it <= 50  # which leaves ten seconds to do it


def test_who_waits_for_a_test_waits_for_nothing_slow() -> None:
    queue = {name: getattr(task, "queue", None) or settings.CELERY_TASK_DEFAULT_QUEUE for name, task in ours().items()}
    assert {queue[name] for name in WAITED_FOR} == {"checks"}
    assert {queue[name] for name in SLOW} == {"bulk", "sweep"}
    assert {name for name, its in queue.items() if its == "configuration"} == CHANGE_IAM
    assert [name for name, its in queue.items() if its == "sweep"] == ["sweep"]
    assert [name for name, its in queue.items() if its == "webhooks"] == ["deliver_webhooks"]
    assert [name for name, its in queue.items() if its == "streams"] == ["send_log_streams"]
    workers = re.findall(r'"-Q", "([a-z,]+)"', (ROOT / "docker-compose.yml").read_text())
    embedded = re.findall(
        r'\("\w+", "((?:checks|bulk|sweep|configuration)[a-z,]*)"\)',
        (ROOT / "byokportal/embedded/stack.py").read_text(),
    )
    documented = re.findall(r"worker -Q ([a-z,]+)`", (ROOT / "docs/deploy.md").read_text())
    for found in (workers, embedded, documented):
        assert sorted(",".join(found).split(",")) == sorted(set(queue.values())), "each queue has one kind of worker"
        assert {"checks", "configuration"} <= set(found), "workers of their own"
    assert yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["worker"]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, str], float | None]]:
    """What goes to the broker; the broker is what stands in for itself here."""
    found: list[tuple[str, dict[str, str], float | None]] = []

    def publish(self: Any, name: str, args: Any = None, kwargs: Any = None, **options: Any) -> None:
        found.append((name.rpartition(".")[2], kwargs or {}, options.get("expires")))

    monkeypatch.setattr(type(current_app._get_current_object()), "send_task", publish)
    for task in ours().values():
        monkeypatch.setattr(
            type(task),
            "apply_async",
            lambda self, args=None, kwargs=None, **options: publish(self, self.name, args, kwargs, **options),
        )
    return found


@pytest.fixture
def due(tenant: Tenant) -> KeyRegistration:
    """One row of each kind that is due."""
    now = timezone.now()
    facts = {"tenant": tenant, "key_arn": "k", "role_arn": "r"}
    registration = KeyRegistration.objects.create(**facts, status="active", activated_at=now, role_claim="1/r")
    with_health(registration, next_probe_at=now, is_probe_awaited=True)
    EncryptionTest.objects.create(tenant=tenant, registration=registration, requested_by="tests")
    RoleConfiguration.objects.create(
        tenant=tenant,
        registration=registration,
        service_role=tenant.service_role,
        action="add",
        role_arn="r",
        status="queued",
    )
    BranchKey.objects.create(tenant=tenant, registration=registration, key_arn="k", wrapped=b"x", due_at=now)
    return registration


def wake_all(times: int) -> None:
    for _ in range(times):
        for task in (
            tasks.enqueue_due_tests,
            tasks.enqueue_due_configurations,
            tasks.enqueue_due_branch_keys,
            tasks.enqueue_due_probes,
        ):
            task()


def test_a_row_that_waits_has_one_message_however_often_beat_looks(due: KeyRegistration, sent: list[Any]) -> None:
    wake_all(1_800 // 100)
    assert sorted(name for name, _, _ in sent) == ["attend_branch_key", "configure_service_role", "probe", "run_test"]
    assert all(expires for _, _, expires in sent), json.dumps(sent)


def test_a_message_that_nobody_took_is_sent_again_and_what_is_due_anew_at_once(
    due: KeyRegistration, sent: list[Any]
) -> None:
    wake_all(1)
    sent.clear()
    long_ago = timezone.now() - timedelta(minutes=1)
    for model in (EncryptionTest, RoleConfiguration, BranchKey, KeyHealth):
        model.objects.update(woken_at=long_ago)
    wake_all(1)
    assert len(sent) == 4, "its message has ended"
    sent.clear()
    EncryptionTest.objects.update(due_at=timezone.now())  # a person pressed the button again
    wake_all(1)
    assert [name for name, _, _ in sent] == ["run_test"]


@pytest.mark.django_db(transaction=True)
def test_what_an_operation_sends_expires_too(sent: list[Any]) -> None:
    tasks.enqueue(tasks.run_test, test_id="x")
    assert sent == [("run_test", {"test_id": "x"}, 30.0)]


# --- beat looks before it sends ------------------------------------------------------------------------------


# `backend_cleanup` is Celery's own.
UNASKED = {
    "clear_wrappings",
    "complete_recoveries",
    "clear_expired",
    "clear_tests",
    "clear_notices",
    "prune_webhooks",
    "prune_inbound_mails",
    "publish_log_head",
    "report_in",
    "keep_canaries",
    "advance_canaries",
    "count_fleet",
    "roll_up_sealed_uses",
    "backend_cleanup",
}


@pytest.fixture
def look(sent: list[Any], tmp_path: Path) -> Iterator[Callable[[], set[str]]]:
    """Return a function that lets the time of each task come once, and says which were sent."""
    beat._statements.cache_clear()
    scheduler = beat.Scheduler(app=current_app, schedule_filename=str(tmp_path / "schedule"))

    def once() -> set[str]:
        sent.clear()
        for entry in list(scheduler.schedule.values()):
            scheduler.apply_entry(entry)
        return {name for name, _, _ in sent}

    yield once
    scheduler.close()
    beat._statements.cache_clear()


def _delivery(registration: KeyRegistration) -> None:
    facts = {"description": "d", "origin": "https://a.example", "sealed_address": ""}
    endpoint = WebhookEndpoint.objects.create(tenant=registration.tenant, **facts)
    WebhookDelivery.objects.create(tenant=registration.tenant, endpoint=endpoint)


def _bulk_operation(registration: KeyRegistration) -> None:
    user = User.objects.create_user("sam@kore.example", is_staff=True)
    BulkOperation.objects.create(kind="probe", status="queued", total=1, requested_by=user, reason="r")


@pytest.fixture
def quiet(tenant: Tenant) -> KeyRegistration:
    """A registration in service, with nothing due."""
    AuditEvent.objects.update(followed_at=timezone.now())
    log_trees.seal()
    Notice.objects.all().delete()
    newest = AuditEvent.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    FleetFigures.objects.create(pk=1, through=newest)
    later = timezone.now() + timedelta(hours=1)
    ServiceRole.objects.update(count_due_at=later, canary_due_at=later)
    facts = {"tenant": tenant, "key_arn": "k", "role_arn": "r", "role_claim": "1/r"}
    registration = KeyRegistration.objects.create(**facts, status="active", activated_at=timezone.now())
    return with_health(registration, next_probe_at=timezone.now() + timedelta(hours=1))


def test_while_nothing_is_due_beat_sends_nothing(quiet: KeyRegistration, look: Callable[[], set[str]]) -> None:
    assert look() == UNASKED


@pytest.mark.parametrize(
    ("name", "becomes_due"),
    [
        (
            "enqueue_due_tests",
            lambda r: EncryptionTest.objects.create(tenant=r.tenant, registration=r, requested_by="tests"),
        ),
        (
            "enqueue_due_configurations",
            lambda r: RoleConfiguration.objects.create(
                tenant=r.tenant, registration=r, service_role=r.tenant.service_role, action="add", role_arn="r"
            ),
        ),
        (
            "enqueue_due_branch_keys",
            lambda r: BranchKey.objects.create(
                tenant=r.tenant, registration=r, key_arn="k", wrapped=b"x", due_at=timezone.now()
            ),
        ),
        ("enqueue_due_branch_keys", lambda r: KeyRegistration.objects.filter(pk=r.pk).update(status="retiring")),
        (
            "enqueue_due_probes",
            lambda r: KeyHealth.objects.update(next_probe_at=timezone.now(), is_probe_awaited=True),
        ),
        ("keep_room", lambda r: ServiceRole.objects.update(count_due_at=timezone.now())),
        ("ask_canaries", lambda r: ServiceRole.objects.update(canary_due_at=timezone.now())),
        (
            "send_canaries",
            lambda r: Canary.objects.create(
                tenant=r.tenant, service_role=r.tenant.service_role, region="eu-central-1", stage="serving"
            ),
        ),
        ("sweep", lambda r: KeyHealth.objects.update(next_probe_at=timezone.now())),
        ("sweep", lambda r: Incident.objects.create(service_role=r.tenant.service_role, why="tests")),
        (
            "sweep",
            lambda r: RevocationDrill.objects.create(
                tenant=r.tenant, registration=r, started_by="tests", bound_seconds=1, until=timezone.now()
            ),
        ),
        (
            "roll_up_uses",
            lambda r: KeyUse.objects.create(tenant=r.tenant, operation="generate", count=1, caller="tests"),
        ),
        ("follow_log", lambda r: audit.record("keys.drill.started", tenant=r.tenant, actor=audit.SYSTEM, seconds=1)),
        ("seal_log", lambda r: audit.record("keys.drill.started", tenant=r.tenant, actor=audit.SYSTEM, seconds=1)),
        ("follow_fleet", lambda r: audit.record("keys.drill.started", tenant=r.tenant, actor=audit.SYSTEM, seconds=1)),
        ("run_bulk", lambda r: _bulk_operation(r)),
        (
            "attend_closings",
            lambda r: Closing.objects.create(tenant=r.tenant, reason="r", requested_by="tests", status="queued"),
        ),
        ("end_proven_holds", lambda r: RestoreHold.objects.create(tenant=r.tenant, status="confirmed")),
        ("deliver_webhooks", lambda r: _delivery(r)),
        ("send_log_streams", lambda r: LogStream.objects.create(tenant=r.tenant, sealed_address="")),
        (
            "send_log_streams",
            lambda r: LogStream.objects.create(
                tenant=r.tenant, sealed_address="", status="off", due_at=None, test_due_at=timezone.now()
            ),
        ),
        (
            "call_on_call",
            lambda r: OnCallMessage.objects.create(channel="webhook", action="trigger", dedup_key="tests"),
        ),
        (
            "remind_of_tickets",
            lambda r: Ticket.objects.create(tenant=r.tenant, subject="s", opened_by="tests", remind_at=timezone.now()),
        ),
        (
            "send_notices",
            lambda r: Notice.objects.create(tenant=r.tenant, template="x", recipient="a@b.example", context={}),
        ),
    ],
)
def test_what_is_due_beat_sends(
    quiet: KeyRegistration, look: Callable[[], set[str]], name: str, becomes_due: Callable[[KeyRegistration], Any]
) -> None:
    becomes_due(quiet)
    # SQLite's own time has milliseconds, cut off: a row of this moment is due in the next one.
    time.sleep(0.002)
    assert name in look()


def test_uses_that_are_added_up_are_not_due(quiet: KeyRegistration, look: Callable[[], set[str]]) -> None:
    KeyUse.objects.create(tenant=quiet.tenant, operation="generate", count=1, caller="tests")
    usage.roll_up()
    assert look() == UNASKED


@pytest.mark.django_db(transaction=True)
def test_a_database_that_gives_no_answer_keeps_nothing_from_being_sent(
    quiet: KeyRegistration, look: Callable[[], set[str]]
) -> None:
    def fail(*_: Any) -> None:
        raise OperationalError("gone")

    with connection.execute_wrapper(fail):
        assert look() == UNASKED | {name.rpartition(".")[2] for name in settings.BEAT_LOOKS}
    assert look() == UNASKED


def test_beat_sleeps_until_a_task_is_due(look: Callable[[], set[str]], tmp_path: Path) -> None:
    """Celery's own wakes 10 ms before that, and ticks hundreds of times until it comes."""
    scheduler = beat.Scheduler(app=current_app, schedule_filename=str(tmp_path / "other"), lazy=True)
    scheduler.setup_schedule()
    assert [scheduler.adjust(seconds) for seconds in (0.005, 2.0)] == [0.005, 2.0]


def test_every_look_is_for_a_task_of_the_schedule() -> None:
    scheduled = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert set(settings.BEAT_LOOKS) <= scheduled
    assert {name.rpartition(".")[2] for name in scheduled - set(settings.BEAT_LOOKS)} < UNASKED
