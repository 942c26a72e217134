"""What the key page says beyond the state:
a deletion counted down with what would be lost, trust too wide, who dropped what."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from conftest import Customer, acting, heartbeat
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from keys import datakeys, services
from keys.models import CacheDrop, KeyHealth, KeyRegistration, ServingProcess
from tenants.models import Member, Tenant

Probe = Callable[[KeyRegistration], KeyRegistration]


@pytest.fixture
def live(alice: Member, tenant: Tenant, browser_of: Callable[[Member], Client]) -> Callable[[], str]:
    portal = browser_of(alice)
    return lambda: portal.get(f"/tenants/{tenant.pk}/key/live/").content.decode()


def test_a_deletion_is_counted_down_with_what_would_be_lost_and_the_command_that_cancels_it(
    tenant: Tenant,
    alice: Member,
    customer: Customer,
    active: KeyRegistration,
    probe_now: Probe,
    live: Callable[[], str],
    api_of: Callable[[Member], Client],
) -> None:
    datakeys.generate(tenant, [{}] * 7, caller="tests", request_id="r")
    customer.kms.schedule_key_deletion(KeyId=customer.key_arn, PendingWindowInDays=9)
    probe_now(active)
    state = services.key_state(tenant)
    assert state.deletion_date is not None
    assert timedelta(days=8) < state.deletion_date - timezone.now() <= timedelta(days=9)
    shown = live()
    assert f"On {state.deletion_date.day} {state.deletion_date:%B %Y}" in shown
    assert "1 branch key under it, and with it up to 7 data keys" in shown
    assert f"aws kms cancel-key-deletion --region eu-central-1 --key-id {customer.key_arn}" in shown
    assert "Time left: 1\xa0week, 1\xa0day." in shown
    soon = timezone.now() + timedelta(hours=5, minutes=1)
    KeyHealth.objects.update(key_facts={"state": "PendingDeletion", "deletion_at": soon.isoformat()})
    assert "Time left: 5\xa0hours" in live()
    probe_now(active)
    body = api_of(alice).get(f"/api/v1/tenants/{tenant.pk}/key").json()
    assert body["deletion_date"] == state.deletion_date.isoformat().replace("+00:00", "Z")
    (warning,) = body["warnings"]
    assert (warning["code"], warning["is_urgent"]) == ("kms_key_pending_deletion", True)

    customer.kms.cancel_key_deletion(KeyId=customer.key_arn)
    customer.kms.enable_key(KeyId=customer.key_arn)
    probe_now(active)
    assert probe_now(active).status == "active"
    assert services.key_state(tenant).deletion_date is None
    assert "cancel-key-deletion" not in live()


def test_a_trust_policy_seen_too_wide_once_is_a_warning_already(
    tenant: Tenant, active: KeyRegistration, live: Callable[[], str]
) -> None:
    KeyHealth.objects.update(insecure_since=datetime(2026, 1, 31, tzinfo=UTC))
    assert "without the right External ID" in live()
    assert services.key_state(tenant).warnings[0].code == "insecure_trust"


def test_a_test_that_passes_ends_the_warning_for_customer_and_support_alike(
    tenant: Tenant,
    alice: Member,
    active: KeyRegistration,
    live: Callable[[], str],
    work: Callable[[], None],
    sam: User,
    browser_of: Callable[..., Client],
) -> None:
    support, desk = browser_of(sam), f"/admin/keys/keyregistration/{active.pk}/change/"
    KeyHealth.objects.update(insecure_since=datetime(2021, 1, 31, tzinfo=UTC))
    assert "without the right External ID" in live()
    assert "2021" in support.get(desk).content.decode()
    services.start_test(tenant, actor=acting(alice))
    work()
    assert services.key_state(tenant).warnings == ()
    assert "without the right External ID" not in live()
    assert "2021" not in support.get(desk).content.decode()


def test_our_own_trouble_is_said_to_be_ours(tenant: Tenant, active: KeyRegistration, live: Callable[[], str]) -> None:
    KeyRegistration.objects.update(status="unreachable", reason="own_access_broken")
    KeyHealth.objects.update(refused_since=timezone.now(), refused_code="role_not_assumable")
    shown = live()
    assert "Something on Kore.ai" in shown and "You need not change anything" in shown
    assert "AWS refuses us since" in shown and "AWS did not let us assume your role" in shown
    assert services.key_state(tenant).whose_turn == "kore"


def test_the_page_says_how_many_processes_have_dropped_their_keys(
    tenant: Tenant, alice: Member, active: KeyRegistration, live: Callable[[], str]
) -> None:
    earlier = timezone.now() - timedelta(minutes=1)
    first, second = (ServingProcess.objects.create(name=f"web-{n}", started_at=earlier) for n in range(2))
    services.drop_caches(tenant, reason="a leak", actor=acting(alice))
    assert "0 of 2 processes have stopped; none of them held your key" in live()
    heartbeat(first)
    assert "1 of 2 processes have stopped; none of them held your key" in live()
    assert "waiting for the others" in live()
    heartbeat(second)
    shown = live()
    assert "2 of 2 processes have stopped; none held your key, so nothing was measured" in shown
    assert "waiting for the others" not in shown and "0.0 s" not in shown
    tenant.refresh_from_db()
    CacheDrop.objects.create(tenant=tenant, process=first, generation=tenant.key_generation, count=2)
    assert "2 of 2 processes have stopped; 1 held your key and dropped it, the last after " in live()
