"""What follows from the log: the ticket of step 5, and who is told."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from conftest import health_of, with_health
from django.contrib.auth.models import User
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from keys import branchkeys, health
from keys.configuration import apply
from keys.health import asking, judging
from keys.models import (
    BranchKey,
    CheckResult,
    EncryptionTest,
    KeyHealth,
    KeyRegistration,
    RoleConfiguration,
    pause_after,
)
from keys.proof.encryption_test import runner
from support import follow, reactions
from support.models import Notice, Ticket
from tenants import audit
from tenants import services as tenant_services
from tenants.audit import SYSTEM
from tenants.models import AuditEvent, Member, Tenant

KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = "arn:aws:iam::111122223333:role/AIforWorkByokAccessRole"


@pytest.fixture
def registration(tenant: Tenant) -> KeyRegistration:
    return KeyRegistration.objects.create(
        tenant=tenant, key_arn=KEY, role_arn=ROLE, status=KeyRegistration.Status.CONFIGURING
    )


def _say(name: str, tenant: Tenant, target: object, **data: object) -> AuditEvent:
    return audit.record(name, tenant=tenant, actor=SYSTEM, target=target, **data)


def _submitted(registration: KeyRegistration) -> None:
    _say("keys.registration.submitted", registration.tenant, registration, key_arn=KEY, role_arn=ROLE)
    follow.follow()


def test_sharing_opens_the_ticket_of_step_5_once(registration: KeyRegistration) -> None:
    _submitted(registration)
    assert follow.follow() == 0
    ticket = Ticket.objects.get(registration_id=registration.pk)
    assert (ticket.topic, ticket.status) == (Ticket.Topic.CONFIGURATION, Ticket.Status.IN_PROGRESS)
    assert ROLE in ticket.messages.get().text


def test_with_approval_the_ticket_waits_for_kore(registration: KeyRegistration, settings: object) -> None:
    settings.SERVICE_SIDE_APPROVAL = "support"  # type: ignore[attr-defined]
    _submitted(registration)
    assert Ticket.objects.get().status == Ticket.Status.WAITING_FOR_KORE


def test_the_ticket_closes_itself_when_the_key_is_active(registration: KeyRegistration) -> None:
    _submitted(registration)
    _say("keys.registration.activated", registration.tenant, registration, key_arn=KEY)
    follow.follow()
    assert Ticket.objects.get().status == Ticket.Status.CLOSED
    assert Notice.objects.filter(template="key-active", recipient="alice@acme.example").count() == 1


def test_events_that_land_out_of_order_leave_no_open_ticket(registration: KeyRegistration) -> None:
    KeyRegistration.objects.filter(pk=registration.pk).update(
        status="active", activated_at=timezone.now(), role_claim="1/r"
    )
    _say("keys.registration.activated", registration.tenant, registration, key_arn=KEY)
    follow.follow()
    _submitted(registration)
    assert Ticket.objects.get().status == Ticket.Status.CLOSED


def test_a_rejection_tells_the_tenant_what_to_mend(registration: KeyRegistration) -> None:
    _submitted(registration)
    test = EncryptionTest.objects.create(
        tenant=registration.tenant,
        registration=registration,
        requested_by="system",
        verdict="fail",
        finished_at=timezone.now(),
    )
    CheckResult.objects.create(
        tenant=registration.tenant,
        test=test,
        position=1,
        code="role.external_id",
        step=2,
        verdict="fail",
        remedy="Add the External ID.",
    )
    _say("keys.registration.rejected", registration.tenant, registration, step=2, reason="role.external_id")
    follow.follow()
    ticket = Ticket.objects.get()
    assert ticket.status == Ticket.Status.WAITING_FOR_TENANT
    last = ticket.messages.last()
    assert "Step 2, IAM role: Add the External ID." in last.text
    assert not last.is_internal
    assert Notice.objects.filter(template="registration-rejected").count() == 1


def test_shared_again_the_same_ticket_goes_on(registration: KeyRegistration) -> None:
    _submitted(registration)
    _say("keys.registration.rejected", registration.tenant, registration, step=2, reason="role.external_id")
    follow.follow()
    _submitted(registration)
    assert Ticket.objects.get().status == Ticket.Status.IN_PROGRESS


@pytest.mark.parametrize("name", ["keys.test.waits_for_kore", "keys.configuration.failed"])
def test_our_own_fault_calls_a_person_once_and_does_not_blame_the_tenant(
    registration: KeyRegistration, name: str, settings: object
) -> None:
    _submitted(registration)
    tenant = registration.tenant
    test = EncryptionTest.objects.create(tenant=tenant, registration=registration, requested_by="system")
    configuration = RoleConfiguration.objects.create(
        tenant=tenant,
        registration=registration,
        service_role=tenant.service_role,
        action="add",
        role_arn=ROLE,
        status="failed",
    )
    target, data = (
        (test, {"code": "own_access_broken"})
        if name.startswith("keys.test")
        else (configuration, {"reason": "policy_drift"})
    )
    for _ in range(3):
        _say(name, tenant, target, **data)
        follow.follow()
    ticket = Ticket.objects.get()
    assert ticket.status == Ticket.Status.WAITING_FOR_KORE
    assert ticket.messages.filter(is_internal=True).count() == 1
    assert ticket.messages.filter(is_internal=False).count() == 1
    notice = Notice.objects.get(template="kore-needed")
    assert notice.recipient == settings.SUPPORT_EMAIL  # type: ignore[attr-defined]
    assert not Notice.objects.filter(
        recipient="alice@acme.example", template__in=["registration-rejected", "kore-needed"]
    ).exists()


def test_a_fault_of_ours_is_one_mail_whatever_the_number_of_tenants(
    registration: KeyRegistration, alice: Member
) -> None:
    role = registration.tenant.service_role
    others = [
        tenant_services.create_tenant(f"Bank {number}", owner_email=f"bank{number}@x.example", actor=audit.COMMAND)
        for number in range(3)
    ]
    rows = [registration, *(_other(tenant) for tenant in others)]
    assert {row.tenant.service_role for row in rows} == {role}

    def fault(row: KeyRegistration, code: str) -> None:
        test = EncryptionTest.objects.create(
            tenant=row.tenant, registration=row, requested_by="system", finished_at=timezone.now()
        )
        _say("keys.test.waits_for_kore", row.tenant, test, code=code)
        follow.follow()

    for row in rows:
        fault(row, "ours.canary")
    assert Notice.objects.filter(template="kore-needed").count() == 1
    waiting = Ticket.objects.filter(status=Ticket.Status.WAITING_FOR_KORE)
    assert waiting.count() == len(rows)  # each tenant's ticket says whom it waits for
    fault(rows[1], "ours.policy")  # another fault is another mail
    assert Notice.objects.filter(template="kore-needed").count() == 2
    waiting.update(status=Ticket.Status.CLOSED)  # our side works again …
    fault(rows[2], "ours.canary")  # … and breaks once more
    assert Notice.objects.filter(template="kore-needed").count() == 3


def _other(tenant: Tenant) -> KeyRegistration:
    role_arn = ROLE + str(tenant.pk)[:8]
    return KeyRegistration.objects.create(tenant=tenant, status="testing", key_arn=KEY, role_arn=role_arn)


@pytest.mark.parametrize(
    ("name", "data", "template"),
    [
        ("keys.key.suspended", {"suspended_by": "AWS", "reason": "kms_access_denied"}, "key-suspended"),
        ("keys.key.unreachable", {"reason": "aws_unreachable"}, "key-unreachable"),
        ("keys.key.recovered", {}, "key-recovered"),
        ("keys.key.deletion_scheduled", {"key_arn": KEY, "at": "3 June 2026, 10:00 UTC"}, "key-deletion"),
    ],
)
def test_owners_are_told_what_becomes_of_the_key(
    registration: KeyRegistration, bob: Member, name: str, data: dict[str, str], template: str
) -> None:
    _say(name, registration.tenant, registration, **data)
    follow.follow()
    assert list(Notice.objects.filter(template=template).values_list("recipient", flat=True)) == ["alice@acme.example"]


def test_an_invitation_follows_every_new_member(tenant: Tenant, bob: Member) -> None:
    follow.follow()
    assert set(Notice.objects.filter(template="invitation").values_list("recipient", flat=True)) == {
        "alice@acme.example",
        "bob@acme.example",
    }


def test_a_target_of_another_tenant_or_none_changes_nothing(registration: KeyRegistration, mallory: Member) -> None:
    for target in (registration, uuid.uuid4(), ""):
        _say("keys.registration.activated", mallory.tenant, target, key_arn=KEY)
        _say("keys.registration.submitted", mallory.tenant, target, key_arn=KEY, role_arn=ROLE)
    follow.follow()
    assert not Ticket.objects.exists()


def test_an_event_that_cannot_be_followed_holds_up_no_other(
    registration: KeyRegistration, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bad = _say("tenants.member.invited", registration.tenant, None, email="new@acme.example", role="auditor")

    def broken(event: AuditEvent, tenant: Tenant) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setitem(reactions.REACTIONS, "tenants.member.invited", broken)
    _submitted(registration)
    assert Ticket.objects.count() == 1
    bad.refresh_from_db()
    assert (bad.followed_at, bad.attempts) == (None, 1)
    assert bad.next_at and timedelta(minutes=59) < bad.next_at - timezone.now() <= timedelta(hours=1)
    monkeypatch.undo()
    follow.follow()
    assert not Notice.objects.filter(recipient="new@acme.example").exists(), "its hour is not over"
    AuditEvent.objects.filter(pk=bad.pk).update(next_at=timezone.now())
    follow.follow()
    assert Notice.objects.filter(recipient="new@acme.example").exists()


def test_a_database_that_cannot_be_used_says_nothing_about_the_event(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again in a minute, and does not count against the event."""
    event = _say("tenants.member.invited", tenant, None, email="new@acme.example", role="auditor")

    def unusable(event: AuditEvent, tenant: Tenant) -> None:
        raise OperationalError("the connection is lost")

    monkeypatch.setitem(reactions.REACTIONS, "tenants.member.invited", unusable)
    follow.follow()
    event.refresh_from_db()
    assert (event.followed_at, event.attempts) == (None, 0)
    assert event.next_at is not None and event.next_at - timezone.now() <= timedelta(minutes=1)


def test_what_has_nothing_to_follow_is_marked_all_the_same(tenant: Tenant) -> None:
    follow.follow()
    assert not AuditEvent.objects.not_followed().exists()


def test_five_hundred_events_that_cannot_be_followed_starve_nobody(
    registration: KeyRegistration, monkeypatch: pytest.MonkeyPatch, sam: User, browser_of: Callable[[User], Client]
) -> None:
    def broken(event: AuditEvent, tenant: Tenant) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setitem(reactions.REACTIONS, "keys.key.suspended", broken)
    for _ in range(500):
        _say("keys.key.suspended", registration.tenant, registration, suspended_by="AWS", reason="x")
    _say("keys.registration.submitted", registration.tenant, registration, key_arn=KEY, role_arn=ROLE)
    follow.follow()
    follow.follow()
    assert Ticket.objects.count() == 1
    assert AuditEvent.objects.put_off().count() == 500
    attempts = AuditEvent.objects.put_off().values_list("attempts", flat=True)
    follow.follow()
    assert set(attempts) == {1}, "each waits for its hour"
    page = browser_of(sam).get("/admin/").content.decode()
    assert "Put off after an error of ours" in page
    assert "An event could not be followed: 500" in page


def test_a_test_a_configuration_a_branch_key_and_a_probe_that_break_are_put_off_and_counted(
    active: KeyRegistration, monkeypatch: pytest.MonkeyPatch, sam: User, browser_of: Callable[[User], Client]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    tenant, now = active.tenant, timezone.now()
    test = EncryptionTest.objects.create(tenant=tenant, registration=active, requested_by="tests", due_at=now)
    configuration = RoleConfiguration.objects.create(
        tenant=tenant,
        registration=active,
        service_role=tenant.service_role,
        action="remove",
        role_arn=ROLE,
        status="queued",
    )
    branch_key = BranchKey.objects.create(
        tenant=tenant, registration=active, key_arn=active.key_arn, wrapped=b"x", due_at=now, is_current=False
    )
    KeyHealth.objects.filter(registration=active).update(next_probe_at=now)
    for module, name in ((runner, "_look"), (apply, "_apply"), (branchkeys, "_attend"), (asking, "ask")):
        monkeypatch.setattr(module, name, broken)
    runner.run(str(test.pk))
    apply.apply(str(configuration.pk))
    branchkeys.attend(str(branch_key.pk))
    health.sweep()
    for row in (test, configuration, branch_key):
        row.refresh_from_db()
        assert (row.failures, row.claimed_at) == (1, None)
        assert row.due_at is not None and row.due_at > now + timedelta(seconds=50)
    active.refresh_from_db()
    assert (health_of(active).probe_failures, health_of(active).probe_claimed_at) == (1, None)
    assert health_of(active).next_probe_at is not None and health_of(active).next_probe_at > timezone.now() + timedelta(
        seconds=50
    )
    assert health.sweep() == 0
    page = browser_of(sam).get("/admin/").content.decode()
    for broken_thing in ("A test broke: 1", "A configuration broke: 1", "attended to: 1", "A probe broke: 1"):
        assert broken_thing in page
    monkeypatch.undo()
    KeyHealth.objects.filter(registration=active).update(next_probe_at=timezone.now())
    health.sweep()
    active.refresh_from_db()
    assert health_of(active).probe_failures == 0, "a good probe ends the count"


def test_what_keeps_failing_waits_an_hour_at_most() -> None:
    assert [pause_after(failures) for failures in (0, 1, 2, 3, 4, 1000)] == [
        timedelta(minutes=minutes) for minutes in (1, 4, 16, 60, 60, 60)
    ]


def test_one_registration_that_cannot_be_judged_costs_no_other_its_probe(
    active: KeyRegistration, mallory: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = KeyRegistration.objects.create(
        tenant=mallory.tenant,
        key_arn=active.key_arn,
        role_arn=active.role_arn,
        status="active",
        activated_at=timezone.now(),
        role_claim="x/y",
    )
    with_health(other)
    # each is judged by itself
    KeyHealth.objects.update(next_probe_at=timezone.now(), refused_since=timezone.now())
    judge = judging.judge

    def broken(row: KeyHealth, *args: object, **kwargs: object) -> None:
        if row.registration_id == other.pk:
            raise RuntimeError("a bug")
        judge(row, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(judging, "judge", broken)
    health.sweep()
    other.refresh_from_db()
    active.refresh_from_db()
    assert (health_of(other).probe_failures, health_of(other).probe_claimed_at) == (1, None)
    assert (health_of(active).probe_failures, health_of(active).probe_claimed_at) == (0, None)
    assert health_of(active).next_probe_at is not None and health_of(active).next_probe_at > timezone.now()
