"""The kill switch: pressed by the tenant, by Kore.ai, or thrown in AWS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import Customer, acting, acting_staff
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from byokportal import clock
from byokportal.errors import NotAllowed
from keys import datakeys, errors, services
from keys.models import KeyRegistration
from tenants.errors import ReasonMissing
from tenants.models import Member, Tenant

Status = KeyRegistration.Status
Probe = Callable[[KeyRegistration], KeyRegistration]


def generate(tenant: Tenant) -> list[datakeys.NewDataKey]:
    return datakeys.generate(tenant, [{}], caller="tests", request_id="r-1")


def test_a_pressed_suspend_stops_at_once_and_no_probe_undoes_it(
    tenant: Tenant, alice: Member, active: KeyRegistration, probe_now: Probe
) -> None:
    generate(tenant)
    state = services.suspend(tenant, reason="incident 12", actor=acting(alice))
    assert (state.status, state.suspended_by) == ("suspended", "tenant")
    assert state.generation > 0
    with pytest.raises(errors.KeySuspended):
        generate(tenant)
    for _ in range(5):
        probe_now(active)
    assert active.status == Status.SUSPENDED


def test_resume_serves_again_after_two_good_probes(
    tenant: Tenant, alice: Member, active: KeyRegistration, probe_now: Probe
) -> None:
    services.suspend(tenant, reason="incident 12", actor=acting(alice))
    assert services.resume(tenant, reason="all clear", actor=acting(alice)).status == "unreachable"
    active.refresh_from_db()
    assert probe_now(active).status == Status.UNREACHABLE
    assert probe_now(active).status == Status.ACTIVE
    generate(tenant)


def test_a_tenant_cannot_undo_what_kore_pressed(
    tenant: Tenant, alice: Member, sam: User, active: KeyRegistration
) -> None:
    services.suspend(tenant, reason="abuse", actor=acting_staff(sam))
    with pytest.raises(errors.RegistrationBusy):
        services.resume(tenant, reason="please", actor=acting(alice))
    services.suspend(tenant, reason="mine too", actor=acting(alice))
    active.refresh_from_db()
    assert active.suspended_by == "kore"


def test_each_side_undoes_its_own_button_only(
    tenant: Tenant, alice: Member, sam: User, active: KeyRegistration, probe_now: Probe
) -> None:
    """Whoever presses first: the key serves only when neither button is pressed."""
    kore, tenant_s = acting_staff(sam), acting(alice)
    services.suspend(tenant, reason="ours first", actor=tenant_s)
    services.suspend(tenant, reason="abuse", actor=kore)
    assert services.key_state(tenant).suspended_by == "kore"
    state = services.resume(tenant, reason="cleared", actor=kore)
    assert (state.status, state.suspended_by) == ("suspended", "tenant")
    with pytest.raises(errors.KeySuspended):
        generate(tenant)
    for _ in range(3):
        assert probe_now(active).status == Status.SUSPENDED
    with pytest.raises(errors.RegistrationBusy):
        services.resume(tenant, reason="once more", actor=kore)
    services.suspend(tenant, reason="abuse again", actor=kore)
    assert services.resume(tenant, reason="ours is over", actor=tenant_s).suspended_by == "kore"
    assert services.resume(tenant, reason="cleared", actor=kore).status == "unreachable"
    active.refresh_from_db()
    assert active.tenant_suspended_at is None
    assert probe_now(active).status == Status.UNREACHABLE
    assert probe_now(active).status == Status.ACTIVE


def test_a_button_pressed_on_a_key_that_aws_refuses_stays_pressed_when_aws_lets_us_in_again(
    tenant: Tenant, alice: Member, customer: Customer, active: KeyRegistration, probe_now: Probe
) -> None:
    customer.kms.disable_key(KeyId=customer.key_arn)
    probe_now(active)
    services.suspend(tenant, reason="and we mean it", actor=acting(alice))
    customer.kms.enable_key(KeyId=customer.key_arn)
    for _ in range(3):
        probe_now(active)
    assert (active.status, active.suspended_by) == (Status.SUSPENDED, "tenant")


def test_an_auditor_cannot_suspend_and_a_reason_is_needed(
    tenant: Tenant, alice: Member, bob: Member, active: KeyRegistration
) -> None:
    with pytest.raises(NotAllowed):
        services.suspend(tenant, reason="x", actor=acting(bob))
    with pytest.raises(ReasonMissing):
        services.suspend(tenant, reason="  ", actor=acting(alice))


def test_a_disabled_key_refuses_at_once_and_recovers_by_itself(
    tenant: Tenant, alice: Member, customer: Customer, active: KeyRegistration, probe_now: Probe
) -> None:
    services.set_latency(tenant, seconds=0, actor=acting(alice))
    blob = generate(tenant)[0].wrapped_key
    customer.kms.disable_key(KeyId=customer.key_arn)
    (refused,) = datakeys.open_wrapped(tenant, [(blob, {})], caller="tests", request_id="r-2")
    assert isinstance(refused, errors.KeyDisabled)
    active.refresh_from_db()
    assert (active.status, active.suspended_by, active.reason) == (Status.SUSPENDED, "aws", "kms_key_disabled")
    with pytest.raises(errors.KeyDisabled):
        generate(tenant)
    customer.kms.enable_key(KeyId=customer.key_arn)
    assert probe_now(active).status == Status.SUSPENDED
    assert probe_now(active).status == Status.ACTIVE
    (opened,) = datakeys.open_wrapped(tenant, [(blob, {})], caller="tests", request_id="r-3")
    assert isinstance(opened, datakeys.OpenedDataKey)


def test_a_deleted_role_is_the_tenants_no_when_our_canary_passes(
    tenant: Tenant, customer: Customer, active: KeyRegistration, probe_now: Probe
) -> None:
    customer.set_trust(
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},'
        '"Action":"sts:AssumeRole"}]}'
    )
    probe_now(active)
    assert (active.status, active.suspended_by, active.reason) == (Status.SUSPENDED, "aws", "role_not_assumable")


def test_suspend_is_done_although_the_database_takes_long_to_say_its_time(
    tenant: Tenant,
    alice: Member,
    active: KeyRegistration,
    api_of: Callable[..., Client],
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bound of its own on that question would close the connection of the operation under way:
    503, and nothing is suspended."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite answers in this process")
    slow = f"{clock.QUESTION['postgresql']} FROM pg_sleep(0.6)"
    monkeypatch.setitem(clock.QUESTION, "postgresql", slow)
    settings.CLOCK = "database"
    clock.forget()
    answer = api_of(alice).post(
        f"/api/v1/tenants/{tenant.pk}/key/suspend", {"reason": "now"}, content_type="application/json"
    )
    assert (answer.status_code, answer.json().get("status")) == (200, "suspended")
    clock.forget()
