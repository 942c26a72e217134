"""What is done twice at the same moment happens once, and a constraint that refuses a row is a 409, never a 500."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from keys.models import EncryptionTest, KeyRegistration
from tenants import audit
from tenants.models import AuditEvent, Member, Tenant

JSON = "application/json"


@pytest.fixture
def refusing(tenant: Tenant, active: KeyRegistration) -> Iterator[int]:
    """A database that refuses the row which every operation writes, by a constraint that no service looks for;
    yields the number of rows."""
    event = audit.record("tenants.tenant.viewed", tenant=tenant, actor=audit.COMMAND, target=tenant)
    connection.check_constraints()
    with connection.cursor() as cursor:
        table = "tenants_auditevent"
        if connection.vendor == "postgresql":  # an index over all months would need the time in it
            cursor.execute("SELECT tableoid::regclass::text FROM tenants_auditevent WHERE id = %s", [event.pk])
            [(table,)] = cursor.fetchall()
        cursor.execute(f"CREATE UNIQUE INDEX one_event_more ON {table} (tenant_id) WHERE id >= {event.pk}")
    yield AuditEvent.objects.count()
    connection.check_constraints()
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX one_event_more")


BY_API = {
    "key/suspend": {"reason": "x"},
    "key/drop-caches": {"reason": "x"},
    "key/drills": {},
    "tests": {},
    "tickets": {"topic": "question", "subject": "Help", "text": "It does not work"},
}
BY_PORTAL = {
    "key/suspend/": {"reason": "x"},
    "key/drop-caches/": {"reason": "x"},
    "key/drills/": {},
    "tests/": {},
    "tickets/": {"topic": "question", "subject": "Help", "text": "It does not work"},
    "automation/": {"name": "terraform", "permissions": ["read"], "days": "90"},
}


@pytest.mark.parametrize("path", BY_API)
def test_the_api_answers_409(
    path: str, tenant: Tenant, alice: Member, api_of: Callable[[Member], Client], request: pytest.FixtureRequest
) -> None:
    api = api_of(alice)
    rows = request.getfixturevalue("refusing")
    for headers in ({}, {"Idempotency-Key": "one"}, {"Idempotency-Key": "one"}):
        answer = api.post(f"/api/v1/tenants/{tenant.pk}/{path}", BY_API[path], content_type=JSON, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict"), answer.content
        assert (answer.json()["retryable"], answer["Retry-After"]) == (True, "1")
    assert AuditEvent.objects.count() == rows


@pytest.mark.parametrize("path", BY_PORTAL)
def test_a_page_says_so(
    path: str, tenant: Tenant, alice: Member, refusing: int, browser_of: Callable[[Member], Client]
) -> None:
    portal = browser_of(alice)
    there = f"/tenants/{tenant.pk}/"
    answer = portal.post(there + path, BY_PORTAL[path], headers={"referer": f"http://testserver{there}"}, follow=True)
    assert answer.status_code == 200
    assert "at the same moment" in answer.content.decode()
    assert AuditEvent.objects.count() == refusing


def test_the_back_office_says_so(
    tenant: Tenant, sam: User, refusing: int, browser_of: Callable[[User], Client]
) -> None:
    desk = browser_of(sam)
    page = desk.post(f"/admin/tenants/tenant/{tenant.pk}/operations/run-test/", {"reason": "x"})
    assert page.status_code == 200
    assert "at the same moment" in page.content.decode()
    assert EncryptionTest.objects.filter(finished_at=None).count() == 0


# --- for real ---------------------------------------------------------------------------------------------------------


def _at_once(calls: list[Callable[[], Any]]) -> list[int]:
    """Make the calls at the same moment, each in a thread; return the statuses."""
    start, statuses = threading.Barrier(len(calls)), []

    def run(call: Callable[[], Any]) -> None:
        start.wait()
        try:
            statuses.append(call().status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[call]) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(statuses)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", [*BY_API, "registration"])
def test_an_operation_done_four_times_at_once_is_never_a_500(
    path: str, tenant: Tenant, active: KeyRegistration, alice: Member, api_of: Callable[[Member], Client]
) -> None:
    callers, url = [api_of(alice) for _ in range(4)], f"/api/v1/tenants/{tenant.pk}/{path}"
    if path == "registration":  # each begins a replacement: there is one in preparation
        body = {"key_arn": active.key_arn.replace(active.key_arn[-4:], "0000")}
        calls = [lambda api=api: api.put(url, body, content_type=JSON) for api in callers]
    else:
        calls = [lambda api=api: api.post(url, BY_API[path], content_type=JSON) for api in callers]
    statuses = _at_once(calls)
    assert statuses[0] < 300
    assert {status for status in statuses if status >= 300} <= {409, 503}


@pytest.mark.django_db(transaction=True)
def test_one_person_invited_four_times_at_once_is_a_member_once(
    tenant: Tenant, alice: Member, mallory: Member, browser_of: Callable[[Member], Client]
) -> None:
    def invite(who: Member) -> Callable[[], Any]:
        browser, path = browser_of(who), f"/tenants/{who.tenant_id}/people/"
        return lambda: browser.post(path, {"email": "carol@new.example", "role": "admin"})

    statuses = _at_once([invite(alice), invite(mallory), invite(alice), invite(mallory)])
    assert set(statuses) <= {200, 302}
    assert User.objects.filter(email="carol@new.example").count() <= 1
