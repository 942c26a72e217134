"""Share and test today, activate in the change window: at an instant, or by the button."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from conftest import CUSTOMER, Customer, acting, save_draft
from django.core import mail
from django.db import transaction
from django.test import Client

from byokportal import clock
from byokportal.errors import InvalidInput, NotAllowed, NotFound
from byokportal.localaws.testing import LocalAws
from keys import activation, due, errors, lifecycle, services, tasks
from keys.models import EncryptionTest, KeyRegistration
from keys.policies import documents
from support import follow, notices
from support.models import Ticket
from tenants import onboarding
from tenants.models import AuditEvent, Member, OnboardingStep, Tenant

Status, Work = KeyRegistration.Status, Callable[[], None]
HOURS = timedelta(hours=1)


def _tested(tenant: Tenant, alice: Member, customer: Customer, work: Work, **when: Any) -> KeyRegistration:
    """Acme Bank with everything shared and tested, and a moment chosen before."""
    customer.follow_the_guide(tenant, acting(alice))
    services.choose_activation(tenant, **(when or {"activation": "by_button"}), actor=acting(alice))
    services.submit_registration(tenant, actor=acting(alice))
    work()
    found = KeyRegistration.objects.get(tenant=tenant)
    assert (found.status, found.waits_for_activation) == (Status.TESTING, True), found.reason
    return found


def _beat() -> None:
    """What beat and the worker do, if the database says that something is due."""
    (rows,) = due.activations()
    if rows.exists():
        tasks.attend_due_activations()


def _just_passed() -> datetime:
    """A time that the database calls past: SQLite's counts whole milliseconds."""
    return clock.now() - timedelta(milliseconds=2)


def _let_time_pass(registration: KeyRegistration, by: timedelta) -> None:
    """Set what the database holds back by that much."""
    registration.refresh_from_db()
    facts = {
        name: getattr(registration, name) - by
        for name in ("activate_at", "activation_due_at", "tested_at", "changed_at")
        if getattr(registration, name)
    }
    KeyRegistration.objects.filter(pk=registration.pk).update(**facts)
    registration.configurations.update(finished_at=clock.now() - by)


def _names() -> list[str]:
    return list(AuditEvent.objects.order_by("pk").values_list("name", flat=True))


def _sent() -> list[str]:
    follow.follow()
    notices.send_due()
    return [each.subject for each in mail.outbox]


def _step_5(tenant: Tenant) -> onboarding.StepView:
    return onboarding.overview(tenant)[4]


def test_a_tested_key_waits_for_the_button(
    tenant: Tenant, alice: Member, customer: Customer, work: Work, browser_of: Callable[[Member], Client]
) -> None:
    found = _tested(tenant, alice, customer, work)
    _beat()
    found.refresh_from_db()
    assert found.status == Status.TESTING
    assert found.role_claim
    step = _step_5(tenant)
    assert (step.status, step.whose_turn) == ("waiting_for_tenant", "tenant")
    assert "Your key waits for you" in step.next
    assert services.key_state(tenant).whose_turn == "tenant"
    assert not Ticket.objects.of(tenant).open().exists()
    assert "The key of Acme Bank is tested and waits" in _sent()
    browser = browser_of(alice)
    for page in ("/", "/registration/activation/", "/steps/5/"):
        assert "Tested" in browser.get(f"/tenants/{tenant.pk}{page}").content.decode()
    answer = browser.post(f"/tenants/{tenant.pk}/registration/activate/", follow=True)
    assert answer.status_code == 200
    found.refresh_from_db()
    assert (found.status, found.activation_due_at) == (Status.ACTIVE, None)
    assert all(step.status in {"done", "skipped"} for step in onboarding.overview(tenant))
    assert _names().index("keys.activation.pressed") < _names().index("keys.registration.activated")
    assert "The key of Acme Bank is in service" in _sent()


def test_the_button_pressed_twice_activates_once(tenant: Tenant, alice: Member, customer: Customer, work: Work) -> None:
    _tested(tenant, alice, customer, work)
    services.activate(tenant, actor=acting(alice))
    with pytest.raises(errors.NoRegistration):
        services.activate(tenant, actor=acting(alice))
    assert _names().count("keys.registration.activated") == 1


def test_at_the_chosen_instant_a_fresh_test_activates(
    tenant: Tenant, alice: Member, customer: Customer, work: Work
) -> None:
    at = clock.now() + timedelta(minutes=30)
    found = _tested(tenant, alice, customer, work, activation="at_time", activate_at=at)
    assert _step_5(tenant).whose_turn == "nobody"
    _beat()
    found.refresh_from_db()
    assert found.status == Status.TESTING
    _let_time_pass(found, timedelta(minutes=31))
    _beat()
    _beat()
    found.refresh_from_db()
    assert found.status == Status.ACTIVE
    assert found.tests.count() == 1


def test_an_older_test_is_run_again_first(tenant: Tenant, alice: Member, customer: Customer, work: Work) -> None:
    at = clock.now() + 20 * HOURS
    found = _tested(tenant, alice, customer, work, activation="at_time", activate_at=at)
    _let_time_pass(found, 20 * HOURS)
    _beat()
    _beat()
    found.refresh_from_db()
    assert (found.status, found.tests.open().count()) == (Status.TESTING, 1)
    work()
    found.refresh_from_db()
    assert (found.status, found.tests.count()) == (Status.ACTIVE, 2)


def test_a_test_that_fails_at_that_moment_leaves_the_registration_and_says_so(
    tenant: Tenant, alice: Member, customer: Customer, work: Work, settings: Any
) -> None:
    at = clock.now() + 20 * HOURS
    found = _tested(tenant, alice, customer, work, activation="at_time", activate_at=at)
    customer.kms.disable_key(KeyId=found.key_arn)
    _let_time_pass(found, 20 * HOURS)
    _beat()
    work()
    found.refresh_from_db()
    assert (found.status, found.activation_missed) == (Status.REJECTED, "test_failed")
    subjects = _sent()
    assert "The key of Acme Bank did not go into service" in subjects
    assert "The set-up of Acme Bank needs a change" in subjects
    # Mended on Monday it does not go into service outside of the change window: a person says when.
    customer.kms.enable_key(KeyId=found.key_arn)
    services.start_test(tenant, actor=acting(alice))
    work()
    found.refresh_from_db()
    assert (found.status, found.activation, found.activation_missed) == (Status.TESTING, "by_button", "test_failed")
    services.activate(tenant, actor=acting(alice))
    found.refresh_from_db()
    assert (found.status, found.activation_missed) == (Status.ACTIVE, "")


def test_an_instant_that_finds_only_a_draft_is_missed(tenant: Tenant, alice: Member, customer: Customer) -> None:
    customer.follow_the_guide(tenant, acting(alice))
    at = clock.now() + HOURS
    found = services.choose_activation(tenant, activation="at_time", activate_at=at, actor=acting(alice))
    _let_time_pass(found, HOURS)
    _beat()
    _beat()
    found.refresh_from_db()
    assert (found.status, found.activation, found.activation_missed) == (Status.DRAFT, "by_button", "not_tested")
    assert _names().count("keys.activation.missed") == 1


def test_a_test_that_cannot_tell_for_an_hour_misses_the_moment(
    tenant: Tenant, alice: Member, customer: Customer, work: Work
) -> None:
    at = clock.now() + 20 * HOURS
    found = _tested(tenant, alice, customer, work, activation="at_time", activate_at=at)
    _let_time_pass(found, 20 * HOURS)
    _beat()
    _let_time_pass(found, HOURS)
    _beat()
    found.refresh_from_db()
    assert (found.status, found.activation_missed) == (Status.TESTING, "not_tested")
    work()  # what comes of it later keeps it tested, and no more
    found.refresh_from_db()
    assert (found.status, found.waits_for_activation) == (Status.TESTING, True)


def test_role_and_key_may_be_changed_until_then_and_are_tested_anew(
    tenant: Tenant, alice: Member, customer: Customer, work: Work
) -> None:
    found = _tested(tenant, alice, customer, work)
    other = customer.create_key()
    save_draft(tenant, key_arn=other, actor=acting(alice))
    found.refresh_from_db()
    assert (found.status, found.tested_at, found.role_claim) == (Status.DRAFT, None, None)
    assert [step.status for step in onboarding.overview(tenant)][4:] == ["not_started", "waiting_for_tenant"]
    with pytest.raises(errors.RegistrationBusy):
        services.activate(tenant, actor=acting(alice))
    services.submit_registration(tenant, actor=acting(alice))
    work()
    found.refresh_from_db()
    assert not found.waits_for_activation  # the new key's policy does not know the role


def test_a_change_while_another_test_runs_ends_that_test(
    tenant: Tenant, alice: Member, customer: Customer, work: Work
) -> None:
    found = _tested(tenant, alice, customer, work)
    test = services.start_test(tenant, actor=acting(alice))
    save_draft(tenant, key_arn=customer.create_key(), actor=acting(alice))
    work()
    test.refresh_from_db()
    found.refresh_from_db()
    assert (test.status, found.status) == (EncryptionTest.Status.CANCELLED, Status.DRAFT)
    services.submit_registration(tenant, actor=acting(alice))


def test_at_once_chosen_later_activates_what_is_tested(
    tenant: Tenant, alice: Member, customer: Customer, work: Work
) -> None:
    found = _tested(tenant, alice, customer, work)
    services.choose_activation(tenant, activation="when_tested", actor=acting(alice))
    found.refresh_from_db()
    assert found.status == Status.ACTIVE


def test_a_replacement_takes_over_at_the_button_and_not_over_a_pressed_suspend(
    tenant: Tenant, alice: Member, customer: Customer, active: KeyRegistration, work: Work, aws: LocalAws
) -> None:
    new = customer.create_key()
    customer.kms.put_key_policy(
        KeyId=new,
        PolicyName="default",
        Policy=customer.kms.get_key_policy(KeyId=active.key_arn, PolicyName="default")["Policy"],
    )
    policy = documents.permissions_policy(new, [active.key_arn])
    customer.iam.put_role_policy(
        RoleName=active.role_arn.rpartition("/")[2], PolicyName="both", PolicyDocument=json.dumps(policy)
    )
    save_draft(tenant, key_arn=new, actor=acting(alice))
    services.choose_activation(tenant, activation="by_button", actor=acting(alice))
    services.submit_registration(tenant, actor=acting(alice))
    work()
    found = KeyRegistration.objects.get(tenant=tenant, key_arn=new)
    assert (found.waits_for_activation, found.role_claim) == (True, None)
    active.refresh_from_db()
    assert active.status == Status.ACTIVE
    services.suspend(tenant, reason="drill", actor=acting(alice))
    with pytest.raises(errors.KeySuspended):
        services.activate(tenant, actor=acting(alice))
    at = clock.now() + timedelta(minutes=5)
    services.choose_activation(tenant, activation="at_time", activate_at=at, actor=acting(alice))
    _let_time_pass(found, timedelta(minutes=6))
    _beat()
    found.refresh_from_db()
    active.refresh_from_db()
    assert (found.status, found.activation_missed) == (Status.TESTING, "suspended")
    assert active.status == Status.SUSPENDED
    services.resume(tenant, reason="over", actor=acting(alice))
    services.activate(tenant, actor=acting(alice))
    found.refresh_from_db()
    active.refresh_from_db()
    assert (found.status, active.status) == (Status.ACTIVE, Status.RETIRING)
    assert CUSTOMER in found.role_claim


def test_what_cannot_be_attended_is_put_off_and_holds_up_no_other(
    tenant: Tenant, alice: Member, customer: Customer, work: Work
) -> None:
    found = _tested(tenant, alice, customer, work)
    KeyRegistration.objects.filter(pk=found.pk).update(
        activate_at=clock.now(), activation_due_at=_just_passed(), role_arn="not an ARN"
    )
    _beat()
    found.refresh_from_db()
    assert found.status == Status.TESTING
    assert found.activation_due_at > clock.now()


def test_a_worker_killed_in_the_middle_leaves_it_as_it_was(
    tenant: Tenant, alice: Member, customer: Customer, work: Work
) -> None:
    found = _tested(tenant, alice, customer, work)
    KeyRegistration.objects.filter(pk=found.pk).update(activate_at=clock.now(), activation_due_at=_just_passed())
    with pytest.raises(KeyboardInterrupt), transaction.atomic():
        activation.attend(found)
        raise KeyboardInterrupt
    found.refresh_from_db()
    assert found.status == Status.TESTING
    _beat()
    found.refresh_from_db()
    assert found.status == Status.ACTIVE


def test_two_tenants_cannot_both_wait_with_one_role(
    tenant: Tenant, alice: Member, mallory: Member, customer: Customer, work: Work
) -> None:
    found = _tested(tenant, alice, customer, work)
    theirs = KeyRegistration.objects.create(
        tenant=mallory.tenant, key_arn=found.key_arn, role_arn=found.role_arn, status=Status.TESTING
    )
    test = EncryptionTest.objects.create(
        tenant=mallory.tenant, registration=theirs, requested_by="t", finished_at=clock.now(), due_at=None
    )
    with pytest.raises(errors.RoleArnTaken):
        activation.keep_tested(theirs, test)


def test_withdrawn_it_frees_the_role(tenant: Tenant, alice: Member, customer: Customer, work: Work) -> None:
    found = _tested(tenant, alice, customer, work)
    services.withdraw(tenant, reason="another time", actor=acting(alice))
    found.refresh_from_db()
    assert (found.status, found.role_claim, found.activation_due_at) == (Status.RETIRED, None, None)


def test_who_may_not_and_what_is_refused(
    tenant: Tenant, alice: Member, bob: Member, mallory: Member, customer: Customer
) -> None:
    with pytest.raises(errors.NoRegistration):
        services.choose_activation(tenant, activation="by_button", actor=acting(alice))
    customer.follow_the_guide(tenant, acting(alice))
    for actor, refusal in ((acting(bob), NotAllowed), (acting(mallory), NotFound)):
        with pytest.raises(refusal):
            services.choose_activation(tenant, activation="by_button", actor=actor)
        with pytest.raises(refusal):
            services.activate(tenant, actor=actor)
    now = clock.now()
    for way, at in (("at_time", None), ("at_time", now), ("at_time", now + timedelta(days=91)), ("soon", None)):
        with pytest.raises(InvalidInput):
            services.choose_activation(tenant, activation=way, activate_at=at, actor=acting(alice))
    with pytest.raises(errors.RegistrationBusy):
        services.activate(tenant, actor=acting(alice))


def test_the_api_chooses_and_activates(
    tenant: Tenant, alice: Member, customer: Customer, work: Work, api_of: Callable[[Member], Client]
) -> None:
    api, path = api_of(alice), f"/api/v1/tenants/{tenant.pk}/registration"
    customer.follow_the_guide(tenant, acting(alice))
    at = (clock.now() + HOURS).isoformat()
    given = api.put(f"{path}/activation", {"activation": "at_time", "activate_at": at}, "application/json")
    assert (given.status_code, given.json()["activation"]) == (200, "at_time")
    wrong = api.put(f"{path}/activation", {"activation": "at_time"}, "application/json")
    assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid_input")
    services.submit_registration(tenant, actor=acting(alice))
    work()
    assert api.get(path).json()["tested_at"]
    pressed = api.post(f"{path}/activate", {}, "application/json", headers={"Idempotency-Key": "a" * 16})
    again = api.post(f"{path}/activate", {}, "application/json", headers={"Idempotency-Key": "a" * 16})
    assert (pressed.status_code, pressed.json()["status"]) == (202, "active")
    assert again.json() == pressed.json()


def test_the_tracker_of_a_serving_key_is_left_alone(tenant: Tenant, alice: Member, active: KeyRegistration) -> None:
    prepared = KeyRegistration.objects.create(
        tenant=tenant,
        key_arn=active.key_arn,
        role_arn=active.role_arn,
        status=Status.TESTING,
        replaces=active,
        tested_at=clock.now(),
    )
    activation.show(prepared)
    assert set(OnboardingStep.objects.filter(tenant=tenant).values_list("status", flat=True)) <= {"done", "skipped"}
    lifecycle.move(prepared, Status.RETIRED, actor=acting(alice), reason="over")
