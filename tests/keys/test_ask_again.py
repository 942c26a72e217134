"""Ask again now: AWS is asked at once, and two good answers bring a key back that AWS refused;
a pressed button stays pressed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from conftest import Customer, acting, acting_staff, health_of
from django.contrib.auth.models import User
from django.db.models import F
from django.test import Client

from byokportal import clock
from byokportal.errors import NotAllowed
from byokportal.localaws.testing import LocalAws
from keys import datakeys, errors, health, services
from keys.models import EncryptionTest, KeyHealth, KeyRegistration
from support import follow
from support.models import Notice
from tenants.errors import ReasonMissing
from tenants.models import AuditEvent, Member, ServiceAccount, Tenant

Status = KeyRegistration.Status
Probe = Callable[[KeyRegistration], KeyRegistration]
JSON = "application/json"
TIMES = ("good_since", "denied_since", "probe_asked_at", "probe_claimed_at", "next_probe_at")


@pytest.fixture(autouse=True)
def _times(settings: Any) -> None:
    """The times of production."""
    settings.GOOD_ANSWERS_APART, settings.GOOD_ANSWERS_SPAN, settings.PROPAGATION_WINDOW = 2, 15, 300
    settings.PROBE_SECONDS, settings.DENIED_PROBE_SECONDS = 300, [60, 120, 300]


@pytest.fixture
def press(tenant: Tenant, alice: Member, api_of: Callable[..., Client]) -> Callable[[], Any]:
    """Press *Ask again now*, by the API."""
    api = api_of(alice)
    return lambda: api.post(f"/api/v1/tenants/{tenant.pk}/key/probe", {}, content_type=JSON)


def later(registration: KeyRegistration, seconds: float) -> None:
    """Let time pass: all that the row remembers is that much longer ago."""
    shifts = {name: F(name) - timedelta(seconds=seconds) for name in TIMES}
    KeyHealth.objects.filter(registration=registration).update(**shifts)


def due_in(registration: KeyRegistration) -> float:
    registration.refresh_from_db()
    assert health_of(registration).next_probe_at is not None
    return (health_of(registration).next_probe_at - clock.now()).total_seconds()


def worker(registration: KeyRegistration) -> KeyRegistration:
    """Probe it if that is due, as the worker does."""
    health.probe(registration.pk)
    registration.refresh_from_db()
    return registration


def lock_out(customer: Customer) -> None:
    """Take our role out of the key policy."""
    admin = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{customer.account}:root"},
        "Action": "kms:PutKeyPolicy",
        "Resource": "*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [admin]})
    customer.kms.put_key_policy(KeyId=customer.key_arn, PolicyName="default", Policy=policy)


def let_in(customer: Customer) -> None:
    everybody = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{customer.account}:root"},
        "Action": "kms:*",
        "Resource": "*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everybody]})
    customer.kms.put_key_policy(KeyId=customer.key_arn, PolicyName="default", Policy=policy)


# --- the way back ---------------------------------------------------------------------------------------------------


def test_a_key_that_was_disabled_is_back_after_two_good_answers_two_seconds_apart(
    tenant: Tenant, customer: Customer, active: KeyRegistration, probe_now: Probe, press: Callable[[], Any]
) -> None:
    customer.kms.disable_key(KeyId=customer.key_arn)
    probe_now(active)
    assert due_in(active) > 50
    customer.kms.enable_key(KeyId=customer.key_arn)
    answer = press()
    assert answer.status_code == 202
    assert answer["Location"].endswith(f"/api/v1/tenants/{tenant.pk}/key")
    assert (answer.json()["is_asked"], answer.json()["way_back"]["needed_seconds"]) == (True, 2)
    assert due_in(active) <= 0
    assert worker(active).status == Status.SUSPENDED
    assert 0 < due_in(active) <= 2
    state = services.key_state(tenant)
    assert state.way_back is not None and state.way_back.good_answers == 1 and not state.is_asked
    assert state.way_back.expected_at is not None and state.way_back.expected_at <= clock.now() + timedelta(seconds=2)
    later(active, 1)
    KeyHealth.objects.update(next_probe_at=clock.now())
    assert worker(active).status == Status.SUSPENDED  # too early to count
    later(active, 1.5)
    assert worker(active).status == Status.ACTIVE
    assert (health_of(active).good_since, services.key_state(tenant).way_back) == (None, None)


def test_after_a_policy_refused_good_answers_have_to_span_fifteen_seconds(
    tenant: Tenant, customer: Customer, active: KeyRegistration, probe_now: Probe, press: Callable[[], Any]
) -> None:
    lock_out(customer)
    probe_now(active)
    assert health_of(active).denied_since == health_of(active).refused_since
    let_in(customer)
    press()
    assert worker(active).status == Status.SUSPENDED
    for _ in range(2):
        assert 2 < due_in(active) <= 5  # asked every few seconds, so that a refusal between is seen
        later(active, 5)
        assert worker(active).status == Status.SUSPENDED
    state = services.key_state(tenant)
    assert state.way_back is not None
    assert (state.way_back.good_answers, state.way_back.needed) == (3, 15)
    later(active, 5)
    assert worker(active).status == Status.ACTIVE


def test_stale_good_answers_after_a_revocation_do_not_bring_it_back(
    customer: Customer, active: KeyRegistration, probe_now: Probe, press: Callable[[], Any]
) -> None:
    """AWS tells of the new policy here and of the old one there: yes and no alternate."""
    lock_out(customer)
    probe_now(active)
    for _ in range(3):
        let_in(customer)  # the node that answers now does not know of the new policy yet
        later(active, 5)
        press()
        worker(active)
        later(active, 5)
        worker(active)
        assert active.status == Status.SUSPENDED
        lock_out(customer)
        later(active, 5)
        press()
        assert health_of(worker(active)).good_since is None
    assert active.status == Status.SUSPENDED


def test_a_refusal_that_a_request_meets_between_begins_the_count_again(
    customer: Customer, active: KeyRegistration, probe_now: Probe
) -> None:
    lock_out(customer)
    probe_now(active)
    let_in(customer)
    probe_now(active)
    assert health_of(active).good_since is not None
    health.denied(active, errors.KeyAccessDenied(aws_code="AccessDeniedException", action="kms:Decrypt"))
    active.refresh_from_db()
    assert (health_of(active).good_since, health_of(active).good_probes) == (None, 0)
    later(active, 20)
    assert probe_now(active).status == Status.SUSPENDED


def test_long_after_the_refusal_nothing_is_stale(customer: Customer, active: KeyRegistration, probe_now: Probe) -> None:
    lock_out(customer)
    probe_now(active)
    later(active, 301)
    let_in(customer)
    probe_now(active)
    later(active, 2)
    assert probe_now(active).status == Status.ACTIVE


def test_a_policy_that_refused_after_the_key_was_disabled_is_counted_from_its_own_first_refusal(
    customer: Customer, active: KeyRegistration, probe_now: Probe
) -> None:
    customer.kms.disable_key(KeyId=customer.key_arn)
    probe_now(active)
    assert health_of(active).denied_since is None
    later(active, 301)
    lock_out(customer)
    probe_now(active)
    assert health_of(active).denied_since is not None and health_of(active).denied_since > clock.now() - timedelta(
        seconds=60
    )


# --- what is seen at once -------------------------------------------------------------------------------------------


def test_the_date_of_a_deletion_is_there_at_once(
    tenant: Tenant, customer: Customer, active: KeyRegistration, press: Callable[[], Any]
) -> None:
    customer.kms.schedule_key_deletion(KeyId=customer.key_arn, PendingWindowInDays=9)
    press()
    worker(active)
    assert services.key_state(tenant).deletion_date is not None


def test_a_pressed_button_stays_but_the_date_of_a_deletion_is_seen_and_the_key_is_not_used(
    tenant: Tenant, alice: Member, customer: Customer, active: KeyRegistration, aws: LocalAws, press: Callable[[], Any]
) -> None:
    assert services.suspend(tenant, reason="ours", actor=acting(alice)).next_probe_at is None
    aws.calls.clear()
    for _ in range(5):
        assert press().status_code == 202
        later(active, 3)
        worker(active)
    assert {operation for service, operation, _ in aws.calls if service == "kms"} == {"DescribeKey"}
    customer.kms.schedule_key_deletion(KeyId=customer.key_arn, PendingWindowInDays=9)
    press()
    worker(active)
    assert (active.status, active.suspended_by, active.reason) == (Status.SUSPENDED, "tenant", "ours")
    assert services.key_state(tenant).deletion_date is not None


@pytest.mark.parametrize("by", ["tenant", "kore"])
def test_a_key_whose_button_is_pressed_is_looked_at_by_itself_and_never_used(
    by: str, tenant: Tenant, alice: Member, sam: User, customer: Customer, active: KeyRegistration, aws: LocalAws
) -> None:
    """Nobody asks for it, and still the date after which nothing opens any more is on the page and in a mail."""
    services.suspend(tenant, reason="ours", actor=acting(alice) if by == "tenant" else acting_staff(sam))
    customer.kms.schedule_key_deletion(KeyId=customer.key_arn, PendingWindowInDays=9)
    aws.calls.clear()
    for _ in range(3):
        later(active, 4_000)
        worker(active)
        assert 3_000 < due_in(active) < 4_000
    assert {operation for service, operation, _ in aws.calls if service == "kms"} == {"DescribeKey"}
    assert (active.status, active.suspended_by, active.reason) == (Status.SUSPENDED, by, "ours")
    state = services.key_state(tenant)
    assert state.deletion_date is not None and state.next_probe_at is None
    assert AuditEvent.objects.filter(name="keys.key.deletion_scheduled").count() == 1
    follow.follow()
    assert {notice.template for notice in Notice.objects.filter(template="key-deletion")} == {"key-deletion"}
    customer.kms.cancel_key_deletion(KeyId=customer.key_arn)
    customer.kms.schedule_key_deletion(KeyId=customer.key_arn, PendingWindowInDays=7)
    later(active, 4_000)
    worker(active)  # another date is news again
    assert AuditEvent.objects.filter(name="keys.key.deletion_scheduled").count() == 2


def test_a_key_that_aws_stopped_before_is_told_of_too(
    tenant: Tenant, customer: Customer, active: KeyRegistration, probe_now: Probe
) -> None:
    customer.kms.disable_key(KeyId=customer.key_arn)
    assert probe_now(active).status == Status.SUSPENDED
    customer.kms.schedule_key_deletion(KeyId=customer.key_arn, PendingWindowInDays=9)
    probe_now(active)
    probe_now(active)
    assert AuditEvent.objects.filter(name="keys.key.deletion_scheduled").count() == 1


def test_what_was_asked_of_a_suspended_key_does_not_count_after_resume(
    tenant: Tenant, alice: Member, active: KeyRegistration, press: Callable[[], Any]
) -> None:
    services.suspend(tenant, reason="ours", actor=acting(alice))
    press()
    worker(active)
    later(active, 10)
    state = services.resume(tenant, reason="over", actor=acting(alice))
    assert state.way_back is not None and (state.way_back.good_answers, state.way_back.needed) == (0, 2)
    assert state.way_back.expected_at is not None and state.way_back.expected_at <= clock.now() + timedelta(seconds=3)
    assert due_in(active) <= 0
    assert worker(active).status == Status.UNREACHABLE
    later(active, 2)
    assert worker(active).status == Status.ACTIVE


# --- how often ------------------------------------------------------------------------------------------------------


def test_who_presses_often_asks_once_and_none_is_lost(
    tenant: Tenant, active: KeyRegistration, probe_now: Probe, press: Callable[[], Any]
) -> None:
    probe_now(active)
    assert [press().status_code for _ in range(5)] == [202] * 5
    assert AuditEvent.objects.filter(name="keys.key.asked_again").count() == 1
    worker(active)
    press()  # a moment after the last answer
    assert 0 < due_in(active) <= 2
    later(active, 2.5)
    assert health_of(worker(active)).is_probe_awaited is False
    assert due_in(active) > 200


@pytest.mark.parametrize("is_as_it_was", [True, False])
def test_a_press_while_a_probe_is_under_way_is_answered_by_the_next_one(
    active: KeyRegistration,
    probe_now: Probe,
    press: Callable[[], Any],
    is_as_it_was: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from keys.health import asking

    probe_now(active)
    real = asking.ask

    def pressed_meanwhile(question: asking.Question) -> asking.Answer:
        press()
        return real(question)

    if not is_as_it_was:
        KeyHealth.objects.update(key_facts={})
    monkeypatch.setattr(asking, "ask", pressed_meanwhile)
    probe_now(active)
    assert health_of(active).is_probe_awaited is True
    assert 0 < due_in(active) <= 2
    monkeypatch.setattr(asking, "ask", real)
    later(active, 2.5)
    assert health_of(worker(active)).is_probe_awaited is False


def test_a_press_does_not_wait_for_a_sweep_that_holds_the_row(
    active: KeyRegistration, probe_now: Probe, press: Callable[[], Any]
) -> None:
    before = health_of(probe_now(active)).last_probe_at
    claimed = clock.now() - timedelta(seconds=10)
    KeyHealth.objects.update(probe_claimed_at=claimed, next_probe_at=clock.now() + timedelta(seconds=50))
    assert health_of(worker(active)).last_probe_at == before  # the sweep has it
    press()
    after = health_of(worker(active)).last_probe_at
    assert before is not None and after is not None and after > before


def test_after_a_press_a_stopped_key_is_asked_every_few_seconds_for_a_minute(
    customer: Customer, active: KeyRegistration, probe_now: Probe, press: Callable[[], Any]
) -> None:
    lock_out(customer)
    probe_now(active)
    press()  # the mended policy is on its way
    worker(active)
    assert active.status == Status.SUSPENDED
    assert due_in(active) < 5
    KeyHealth.objects.update(dense_until=clock.now())
    assert due_in(probe_now(active)) > 50


# --- a request that AWS refuses -------------------------------------------------------------------------------------


def test_a_fresh_refusal_asks_for_one_probe_and_a_refusal_from_memory_for_none(
    tenant: Tenant,
    customer: Customer,
    active: KeyRegistration,
    service: ServiceAccount,
    api_of: Callable[..., Client],
    probe_now: Probe,
) -> None:
    probe_now(active)
    api, url = api_of(service), f"/api/v1/tenants/{tenant.pk}/data-keys"
    assert api.post(url, {}, content_type=JSON).status_code == 200
    datakeys.start_anew()
    customer.kms.schedule_key_deletion(KeyId=customer.key_arn, PendingWindowInDays=9)
    assert api.post(url, {}, content_type=JSON).status_code == 423
    assert due_in(active) <= 0
    asked = health_of(active).probe_asked_at
    assert asked is not None
    for _ in range(3):
        assert api.post(url, {}, content_type=JSON).status_code == 423
    active.refresh_from_db()
    assert health_of(active).probe_asked_at == asked
    worker(active)
    assert services.key_state(tenant).deletion_date is not None
    assert api.post(url, {}, content_type=JSON).status_code == 423
    assert due_in(active) > 50


def test_requests_that_are_refused_at_the_same_time_share_a_probe(active: KeyRegistration, probe_now: Probe) -> None:
    probe_now(active)
    # each process loaded it before the first was refused
    stale = [KeyRegistration.objects.get(pk=active.pk) for _ in range(4)]
    for registration in stale:
        health.denied(registration, errors.KeyDisabled(aws_code="DisabledException", action="kms:Decrypt"))
    assert due_in(active) <= 0
    worker(active)
    assert health_of(active).is_probe_awaited is False


def test_what_nobody_knows_is_asked_again_at_once(active: KeyRegistration, probe_now: Probe) -> None:
    probe_now(active)
    health.unreachable(active, errors.AwsSurprise(aws_code="Smell", action="kms:Decrypt", aws_request_id="x"))
    assert due_in(active) <= 0
    assert worker(active).status == Status.ACTIVE


def test_a_yes_that_is_older_than_a_refusal_does_not_undo_it(
    active: KeyRegistration, probe_now: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keys.health import asking

    probe_now(active)
    real = asking.ask

    def refused_meanwhile(question: asking.Question) -> asking.Answer:
        answer = real(question)
        row = KeyRegistration.objects.get(pk=active.pk)
        health.denied(row, errors.RoleNotAssumable(aws_code="AccessDenied", action="sts:AssumeRole"))
        return answer

    KeyHealth.objects.update(key_facts={})
    monkeypatch.setattr(asking, "ask", refused_meanwhile)
    probe_now(active)
    assert health_of(active).refused_since is not None
    assert due_in(active) <= 2


# --- entry points ---------------------------------------------------------------------------------------------------


def test_a_test_of_a_suspended_key_asks_too(
    tenant: Tenant, alice: Member, customer: Customer, active: KeyRegistration, probe_now: Probe
) -> None:
    customer.kms.disable_key(KeyId=customer.key_arn)
    probe_now(active)
    customer.kms.enable_key(KeyId=customer.key_arn)
    services.start_test(tenant, actor=acting(alice))
    assert due_in(active) <= 0
    assert health_of(worker(active)).good_since is not None
    assert EncryptionTest.objects.of(tenant).open().exists()


def test_who_may_ask(
    tenant: Tenant,
    alice: Member,
    bob: Member,
    mallory: Member,
    sam: User,
    service: ServiceAccount,
    active: KeyRegistration,
    api_of: Callable[..., Client],
) -> None:
    url = f"/api/v1/tenants/{tenant.pk}/key/probe"
    assert api_of(alice).post(url, {"reason": "mended"}, content_type=JSON).status_code == 202
    assert api_of(bob).post(url, {}, content_type=JSON).status_code == 403
    assert api_of(mallory).post(url, {}, content_type=JSON).status_code == 404
    assert api_of(service).post(url, {}, content_type=JSON).status_code == 403
    with pytest.raises(ReasonMissing):
        services.ask_again(tenant, actor=acting_staff(sam))
    services.ask_again(tenant, reason="the customer is on the phone", actor=acting_staff(sam))
    sam.groups.clear()
    with pytest.raises(NotAllowed):
        services.ask_again(tenant, reason="x", actor=acting_staff(User.objects.get(pk=sam.pk)))


def test_without_a_key_there_is_nothing_to_ask(
    tenant: Tenant, alice: Member, press: Callable[[], Any], browser_of: Callable[..., Client]
) -> None:
    assert (press().status_code, press().json()["code"]) == (409, "key_not_active")
    page = browser_of(alice).post(f"/tenants/{tenant.pk}/key/probe/")
    assert "There is no key in service" in page.content.decode()


def test_the_portal_asks_and_says_how_long_it_takes(
    tenant: Tenant,
    alice: Member,
    bob: Member,
    customer: Customer,
    active: KeyRegistration,
    probe_now: Probe,
    browser_of: Callable[..., Client],
) -> None:
    portal, url = browser_of(alice), f"/tenants/{tenant.pk}/key/"
    lock_out(customer)
    probe_now(active)
    shown = portal.get(url).content.decode()
    assert "press <em>Ask again now</em>" in shown and "it takes 15 seconds" in shown
    assert "every 5s" in shown
    let_in(customer)
    assert portal.post(f"{url}probe/")["Location"] == url
    shown = portal.get(url).content.decode()
    assert "AWS is being asked now" in shown and "every 2s" in shown
    worker(active)
    assert "answered well 1 time in a row" in portal.get(f"{url}live/").content.decode()
    assert browser_of(bob).post(f"{url}probe/").status_code == 403
    assert '<h2 id="ask">' not in browser_of(bob).get(url).content.decode()


def test_the_back_office_asks_with_a_reason(
    tenant: Tenant, sam: User, active: KeyRegistration, browser_of: Callable[..., Client]
) -> None:
    office = browser_of(sam)
    page = office.post(
        f"/admin/tenants/tenant/{tenant.pk}/operations/ask-again/", {"reason": "on the phone"}, follow=True
    )
    assert "AWS is asked now" in page.content.decode()
    event = AuditEvent.objects.get(name="keys.key.asked_again")
    assert "on the phone" in event.payload
