"""What nothing needs any more goes after its time: tests, mails, sessions; the newest test of a key stays."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session

from byokportal import clock
from keys import kept_tests
from keys.models import CheckResult, EncryptionTest, KeyRegistration
from support import notices
from support.models import Notice
from tenants import audit, tasks
from tenants import services as tenant_services
from tenants.models import Member, Tenant


def aged(registration: KeyRegistration, days: float) -> EncryptionTest:
    at = clock.now() - timedelta(days=days)
    tenant = registration.tenant
    made = EncryptionTest.objects.create(tenant=tenant, registration=registration, finished_at=at, created_at=at)
    CheckResult.objects.create(tenant=tenant, test=made, position=0, code="x", step=1, verdict="pass")
    return made


def test_old_tests_go_and_the_newest_of_a_registration_stays(tenant: Tenant, active: KeyRegistration) -> None:
    EncryptionTest.objects.update(created_at=clock.now() - timedelta(days=500))
    old, young = aged(active, 450), aged(active, 399)
    assert kept_tests.clear() == 2
    assert list(EncryptionTest.objects.all()) == [young] and not CheckResult.objects.filter(test=old.pk).exists()
    EncryptionTest.objects.update(created_at=clock.now() - timedelta(days=5_000))
    assert kept_tests.clear() == 0


def test_a_test_that_runs_stays_and_a_canarys_go_after_a_month(tenant: Tenant, active: KeyRegistration) -> None:
    running = aged(active, 420)
    EncryptionTest.objects.filter(pk=running.pk).update(finished_at=None)
    ours = tenant_services.create_canary_tenant(tenant.service_role, region="eu-central-1", actor=audit.COMMAND)
    canary = KeyRegistration.objects.create(tenant=ours)
    for registration in (active, canary):
        aged(registration, 31)
        aged(registration, 1)
    assert kept_tests.clear() == 1
    assert EncryptionTest.objects.filter(registration=canary).count() == 1
    assert EncryptionTest.objects.filter(pk=running.pk).exists()


def test_old_mails_go_and_those_that_wait_stay(tenant: Tenant, settings: Any) -> None:
    Notice.objects.all().delete()
    old, now = clock.now() - timedelta(days=401), clock.now()
    facts = {"tenant": tenant, "template": "x", "created_at": old}
    sent = Notice.objects.create(recipient="a@x.example", sent_at=old, due_at=None, **facts)
    waits = Notice.objects.create(recipient="b@x.example", due_at=now, **facts)
    young = Notice.objects.create(recipient="c@x.example", sent_at=now, due_at=None, tenant=tenant, template="x")
    assert notices.clear() == 1
    assert set(Notice.objects.values_list("pk", flat=True)) == {waits.pk, young.pk} and sent.pk


def test_many_mails_that_are_held_keep_none_behind_them(tenant: Tenant, monkeypatch: Any) -> None:
    Notice.objects.all().delete()
    monkeypatch.setattr(notices, "BATCH", 1)
    facts = {"tenant": tenant, "template": "x", "created_at": clock.now() - timedelta(days=401), "recipient": "a@x"}
    Notice.objects.bulk_create(Notice(due_at=clock.now(), **facts) for _ in range(25))
    Notice.objects.create(sent_at=facts["created_at"], due_at=None, **facts)
    assert notices.clear() == 1


def test_sessions_that_have_ended_leave_no_row(alice: Member, settings: Any) -> None:
    now = clock.now()
    for name, at in (("ended", now - timedelta(days=2)), ("lives", now + timedelta(hours=1))):
        Session.objects.create(session_key=name, session_data="", expire_date=at)
    for name, days in (("ended", 60), ("lives", 0)):
        row = UserSession.objects.create(user=alice.user, session_key=name, ip="192.0.2.1", user_agent="x", data={})
        UserSession.objects.filter(pk=row.pk).update(created_at=now - timedelta(days=days))
    tasks.clear_expired()
    assert list(Session.objects.values_list("session_key", flat=True)) == ["lives"]
    assert list(UserSession.objects.values_list("session_key", flat=True)) == ["lives"]
