"""The home page of an organisation: every number on it is counted, and without numbers it says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from conftest import acting, with_health
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from byokportal import clock
from keys import services
from keys.models import (
    BranchKey,
    BranchKeyLoad,
    CheckResult,
    EncryptionTest,
    Incident,
    KeyRegistration,
    KeyUseHour,
    RegistrationMove,
    RevocationDrill,
)
from tenants import services as tenant_services
from tenants.models import AccessToken, Member, Tenant

KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = "arn:aws:iam::111122223333:role/AIforWorkByokAccessRole"
MOST_QUERIES = 8


@pytest.fixture
def serving(tenant: Tenant) -> KeyRegistration:
    registration = KeyRegistration.objects.create(
        tenant=tenant,
        key_arn=KEY,
        role_arn=ROLE,
        status="active",
        activated_at=clock.now() - timedelta(days=40),
        role_claim="111122223333/a",
    )
    return with_health(registration, last_probe_at=clock.now(), next_probe_at=clock.now() + timedelta(minutes=5))


@pytest.fixture
def portal(alice: Member, browser_of: Callable[[Member], Client]) -> Client:
    return browser_of(alice)


def _page(portal: Client, tenant: Tenant) -> str:
    answer = portal.get(f"/tenants/{tenant.pk}/home/")
    assert answer.status_code == 200
    return answer.content.decode()


def _moved(registration: KeyRegistration, old: str, new: str, at: datetime, *, reason: str, actor: str) -> None:
    RegistrationMove.objects.create(
        tenant=registration.tenant,
        registration=registration,
        old_status=old,
        new_status=new,
        reason=reason,
        actor=actor,
        at=at,
    )


def _loads(tenant: Tenant, registration: KeyRegistration, count: int, *, processes: int, days: int) -> None:
    key = BranchKey.objects.create(tenant=tenant, registration=registration, key_arn=KEY, wrapped=b"w")
    ids = [f"00000000-0000-0000-0000-{number:012d}" for number in range(processes)]
    BranchKeyLoad.objects.bulk_create(
        BranchKeyLoad(
            tenant=tenant,
            branch_key=key,
            process=ids[number % processes],
            region="eu-central-1",
            session_name="byok-use-1",
            aws_request_id="r",
            at=clock.now() - timedelta(days=days) * (number + 1) / (count + 1),
        )
        for number in range(count)
    )


def test_without_a_key_it_says_so_and_leads_to_the_steps(portal: Client, tenant: Tenant) -> None:
    page = _page(portal, tenant)
    assert "Your key is not in service yet" in page
    assert "$" not in page
    assert portal.get("/")["Location"] == f"/tenants/{tenant.pk}/"
    assert services.overview(tenant) is None


def test_with_a_key_that_nobody_used_it_shows_no_number(
    portal: Client, tenant: Tenant, active: KeyRegistration
) -> None:
    page = _page(portal, tenant)
    assert "Your key protects your data" in page
    assert "No service has used your key yet" in page
    assert "a month</span>" not in page
    assert portal.get("/")["Location"] == f"/tenants/{tenant.pk}/home/"
    found = services.overview(tenant)
    assert found is not None
    assert found.test is not None
    assert found.test.passed == found.test.total > 10
    assert [day.is_before for day in found.health].count(False) == 1
    assert [one.code for one in found.actions] == ["drill", "second_person"]


def test_each_outage_has_its_cause_and_who_mended_it(portal: Client, tenant: Tenant, serving: KeyRegistration) -> None:
    now = clock.now().replace(hour=12) - timedelta(days=1)
    for days, minutes, old, reason, actor in (
        (30, 9, "suspended", "kms_key_disabled", "system"),
        (20, 14, "suspended", "role_not_assumable", "system"),
        (10, 3, "unreachable", "own_access_broken", "system"),
        (5, 6, "unreachable", "aws_throttled", "system"),
    ):
        begin = now - timedelta(days=days)
        _moved(serving, "active", old, begin, reason=reason, actor=actor)
        _moved(serving, old, "active", begin + timedelta(minutes=minutes), reason="", actor="system")
    begin = now - timedelta(days=2)
    _moved(serving, "active", "suspended", begin, reason="review", actor="member:alice@acme.example")
    resumed = begin + timedelta(hours=3)
    _moved(serving, "suspended", "unreachable", resumed, reason="resumed", actor="member:bob@acme.example")
    _moved(serving, "unreachable", "active", resumed + timedelta(seconds=5), reason="", actor="system")
    found = services.overview(tenant)
    assert found is not None
    assert [(one.whose, one.by, one.resumed_by) for one in found.outages] == [
        ("person", "member:alice@acme.example", "member:bob@acme.example"),
        ("unclear", "", ""),
        ("ours", "", ""),
        ("theirs", "", ""),
        ("theirs", "", ""),
    ]
    assert [round(one.seconds(now) / 60) for one in found.outages] == [180, 6, 3, 14, 9]
    shown = {day.on: day.whose for day in found.health if day.whose}
    assert len(shown) == 5
    assert shown[(now - timedelta(days=10)).astimezone(UTC).date()] == "ours"
    page = _page(portal, tenant)
    for words in ("Your key said no", "Your role said no", "It was us", "Corrected by Kore.ai.", "Resumed by bob@acme"):
        assert words in page


def test_use_is_told_by_service_and_day(
    portal: Client, tenant: Tenant, mallory: Member, serving: KeyRegistration
) -> None:
    now = clock.now().astimezone(UTC)
    hour = now.replace(minute=0, second=0, microsecond=0)
    for of, service, at, keys in (
        (tenant, "service:search", hour, 7),
        (tenant, "service:search", hour - timedelta(days=3), 5),
        (tenant, "service:files", hour - timedelta(days=29), 1000),
        (tenant, "service:files", hour - timedelta(days=40), 9),
        (mallory.tenant, "service:search", hour, 77777),
    ):
        KeyUseHour.objects.create(tenant=of, hour=at, service=service, operation="generate", requests=1, keys=keys)
    found = services.overview(tenant)
    assert found is not None
    assert [(one.service, one.keys) for one in found.use] == [("service:files", 1000), ("service:search", 12)]
    assert found.use[1].days[-1] == 7
    assert found.use[1].days[-4] == 5
    assert found.use[0].days[0] == 1000
    page = _page(portal, tenant)
    assert "1,000" in page
    assert "77,777" not in page


def test_a_month_in_aws_is_told_from_what_was_counted(portal: Client, tenant: Tenant, serving: KeyRegistration) -> None:
    _loads(tenant, serving, 600, processes=2, days=30)
    hour = clock.now().astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    for back in range(30):
        KeyUseHour.objects.create(
            tenant=tenant,
            hour=hour - timedelta(days=back),
            service="service:search",
            operation="decrypt",
            requests=100_000,
            keys=100_000,
        )
    found = services.overview(tenant)
    assert found is not None
    assert found.spending.counted == 600
    assert found.spending.account == "111122223333"
    assert found.spending.is_all
    months = {month.latency: month for month in found.spending.months}
    assert list(months) == [0, 60, 300, 900]
    probes = 30 * 86_400 // 300 * 2
    assert months[300].calls == 600 + probes
    assert months[300].dollars == Decimal("0.05")
    assert months[0].calls == 3_000_000 + probes
    assert months[0].dollars == Decimal("9.05")
    assert months[60].calls > months[300].calls > months[900].calls > probes
    assert "$9.05" in _page(portal, tenant)


def test_the_platforms_own_unwraps_cost_the_customer_nothing(tenant: Tenant, serving: KeyRegistration) -> None:
    _loads(tenant, serving, 3, processes=1, days=3)
    key = BranchKey.objects.get()
    BranchKeyLoad.objects.create(tenant=tenant, branch_key=key, region="eu-central-1", aws_request_id="r")
    found = services.overview(tenant)
    assert found is not None
    assert found.spending.counted == 3


def test_an_incident_of_ours_is_said_to_be_ours(portal: Client, tenant: Tenant, serving: KeyRegistration) -> None:
    assert "Our side works" in _page(portal, tenant)
    KeyRegistration.objects.update(status="unreachable", reason="own_access_broken")
    Incident.objects.create(service_role=tenant.service_role, why="AWS refuses us")
    page = _page(portal, tenant)
    assert "Our side works" not in page
    assert "You need not change anything" in page


def test_the_last_drill_and_what_comes_next(
    portal: Client, tenant: Tenant, alice: Member, serving: KeyRegistration
) -> None:
    now = clock.now()
    RevocationDrill.objects.create(
        tenant=tenant,
        registration=serving,
        status="done",
        started_by="member:alice@acme.example",
        bound_seconds=300,
        started_at=now,
        until=now,
        refused_at=now,
        stopped_at=now + timedelta(seconds=41),
        dropped=2,
        finished_at=now,
    )
    tenant_services.mint_token(alice, name="terraform", actor=acting(alice))
    AccessToken.objects.update(expires_at=now + timedelta(days=9))
    Tenant.objects.update(second_person_since=now)
    tenant.refresh_from_db()
    test = EncryptionTest.objects.create(
        tenant=tenant, registration=serving, requested_by="system", verdict="fail", finished_at=now, status="finished"
    )
    for position, verdict in enumerate(("pass", "pass", "fail")):
        facts = {"position": position, "code": f"key.{position}", "step": 1, "verdict": verdict}
        CheckResult.objects.create(tenant=tenant, test=test, **facts)
    CheckResult.objects.create(tenant=tenant, test=test, position=9, code="hygiene.rotation", step=1, verdict="pass")
    page = _page(portal, tenant)
    assert "41.0 s, within 300 s" in page
    assert "2 of 3 passed" in page
    found = services.overview(tenant)
    assert found is not None
    assert [(one.code, one.name) for one in found.actions] == [("renew_token", "terraform"), ("read_test", "")]


def test_it_makes_few_queries_however_many_rows(portal: Client, tenant: Tenant, serving: KeyRegistration) -> None:
    def count() -> int:
        _page(portal, tenant)
        with CaptureQueriesContext(connection) as queries:
            _page(portal, tenant)
        return len(queries)

    before = count()
    _loads(tenant, serving, 50, processes=3, days=5)
    for back in range(20):
        at = clock.now() - timedelta(days=back)
        _moved(serving, "active", "suspended", at, reason="kms_key_disabled", actor="system")
        _moved(serving, "suspended", "active", at + timedelta(minutes=1), reason="", actor="system")
        facts: dict[str, Any] = {"service": f"service:{back}", "operation": "decrypt", "requests": 1, "keys": 1}
        KeyUseHour.objects.create(tenant=tenant, hour=at, **facts)
    assert count() == before <= MOST_QUERIES


def test_the_api_says_the_same(tenant: Tenant, alice: Member, serving: KeyRegistration) -> None:
    _, raw = tenant_services.mint_token(alice, name="reader", actor=acting(alice))
    headers = {"Authorization": f"Bearer {raw}"}
    answer = Client().get(f"/api/v1/tenants/{tenant.pk}/overview", headers=headers)
    assert answer.status_code == 200, answer.content
    body = json.loads(answer.content)
    assert body["status"] == "active"
    assert body["is_ours"] is False
    assert len(body["health"]) == 90
    assert body["use"] == []
    assert body["spending"]["counted"] == 0
    assert (body["canary_passed_at"], body["canary_fails_since"]) == (None, None)
    assert [one["name"] for one in body["chain"]] == ["ours", "external_id", "role", "key"]
    KeyRegistration.objects.all().update(activated_at=None, status="draft")
    assert Client().get(f"/api/v1/tenants/{tenant.pk}/overview", headers=headers).status_code == 409
