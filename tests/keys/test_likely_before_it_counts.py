"""While a refusal may still be propagation, what is likely is said at once and everywhere, with the time it counts.

An explicit Deny counts at once in the first run; from then on its removal may still be on its way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from conftest import CUSTOMER, Customer, acting, save_draft
from django.core import mail
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from byokportal import words
from keys import services
from keys.models import EncryptionTest, KeyRegistration
from support import follow, notices
from support.models import Ticket
from tenants import onboarding
from tenants.models import AuditEvent, Member, Tenant

pytestmark = pytest.mark.django_db
Work = Callable[[], None]
API = Callable[[Member], Client]
Status = KeyRegistration.Status
EVERYBODY_BUT_ADMINS = {
    "Sid": "Guardrail",
    "Effect": "Deny",
    "Principal": "*",
    "Action": ["kms:Encrypt", "kms:Decrypt"],
    "Resource": "*",
    "Condition": {"ArnNotLike": {"aws:PrincipalArn": [f"arn:aws:iam::{CUSTOMER}:user/*"]}},
}


@pytest.fixture
def now(settings: Settings) -> Iterator[Any]:
    """A clock that the test moves; refusals count five minutes after a change."""
    settings.PROPAGATION_WINDOW = 300
    with time_machine.travel(timezone.now(), tick=True) as traveller:
        yield traveller


def share(tenant: Tenant, alice: Member, work: Work) -> EncryptionTest:
    registration = services.submit_registration(tenant, actor=acting(alice))
    work()
    return newest(registration)


def newest(registration: KeyRegistration) -> EncryptionTest:
    registration.refresh_from_db()
    return registration.tests.order_by("-created_at")[0]


def again(test: EncryptionTest, alice: Member, work: Work) -> EncryptionTest:
    services.start_test(test.tenant, actor=acting(alice))
    work()
    return newest(test.registration)


def key_policy(customer: Customer, change: Callable[[list[dict[str, Any]]], object]) -> None:
    policy = json.loads(customer.kms.get_key_policy(KeyId=customer.key_arn, PolicyName="default")["Policy"])
    change(policy["Statement"])
    customer.kms.put_key_policy(KeyId=customer.key_arn, PolicyName="default", Policy=json.dumps(policy))


def set_guardrail(customer: Customer) -> None:
    key_policy(customer, lambda statements: statements.append(EVERYBODY_BUT_ADMINS))


def remove_guardrail(customer: Customer) -> None:
    key_policy(customer, lambda statements: statements.pop())


def wrong_trust(tenant: Tenant) -> str:
    policy = json.loads(services.document(tenant, "trust-policy"))
    policy["Statement"][0]["Principal"] = {"AWS": f"arn:aws:iam::{CUSTOMER}:root"}
    return json.dumps(policy)


def tracker(tenant: Tenant) -> dict[int, str]:
    return {step.number: step.next for step in onboarding.overview(tenant)}


def test_at_the_first_refusal_api_page_tracker_mail_and_ticket_say_what_to_change_and_when_it_counts(
    tenant: Tenant,
    alice: Member,
    customer: Customer,
    work: Work,
    now: Any,
    api_of: API,
    browser_of: Callable[[Member], Client],
) -> None:
    customer.follow_the_guide(tenant, acting(alice), trust=wrong_trust(tenant))
    test = share(tenant, alice, work)
    follow.follow()
    notices.send_due()
    assert (test.status, test.verdict) == ("waiting", "unknown")
    path = f"/tenants/{tenant.pk}"
    check = next(
        found
        for found in api_of(alice).get(f"/api/v1{path}/tests/{test.pk}").json()["checks"]
        if found["code"] == "role.assumable"
    )
    counts_at = datetime.fromisoformat(check["counts_at"])
    assert abs((counts_at - test.registration.changed_at).total_seconds() - 300) < 2
    assert (check["verdict"], check["document"]) == ("unknown", "trust-policy")
    assert {"trust_policy_principal_mismatch", "propagation_delay"} <= set(check["causes"])
    assert json.loads(check["corrected"]) == json.loads(services.document(tenant, "trust-policy"))
    assert check["decide"]

    at = words.minute(counts_at, now=timezone.now())
    pages = browser_of(alice)
    live = pages.get(f"{path}/tests/{test.pk}/").content.decode()
    assert f"If it is still so at {at}, change the trust policy of your role (step 2)" in live
    assert tenant.external_id in live
    assert "I changed it: ask again now" in live
    step_2 = pages.get(f"{path}/steps/2/").content.decode()
    assert "The trust policy of your role needs a change (step 2)" in step_2
    followed = tracker(tenant)
    assert f"If it is still so at {at}, change the trust policy of your role (step 2)" in followed[2]
    assert followed[5] == followed[2]
    tracked = pages.get(f"{path}/").content.decode()
    assert at in tracked
    assert "Nothing to do" not in tracked + live + step_2
    steps = api_of(alice).get(f"/api/v1{path}/onboarding").json()["steps"]
    assert steps[1]["evidence"]["expected"]["counts_at"]

    (sent,) = [found for found in mail.outbox if "if it stays so" in found.subject]
    assert f"If it is still so at {at}, change this. Step 2" in sent.body
    assert '"sts:AssumeRole"' in sent.body
    assert tenant.external_id not in sent.body
    ticket = Ticket.objects.get(tenant=tenant)
    assert ticket.status == Ticket.Status.IN_PROGRESS
    assert any(at in message.text for message in ticket.messages.all())

    # The second refusal says the same, and writes no second mail.
    now.shift(20)
    work()
    assert AuditEvent.objects.of(tenant).filter(name="keys.test.refused").count() == 1
    customer.set_trust(services.document(tenant, "trust-policy"))
    now.shift(20)
    work()
    test.refresh_from_db()
    assert test.verdict == "pass"
    assert set(tracker(tenant).values()) >= {"Nothing to do."}
    assert not any("expected" in step.evidence for step in onboarding.overview(tenant))
    checks = api_of(alice).get(f"/api/v1{path}/tests/{test.pk}").json()["checks"]
    assert {found["counts_at"] for found in checks} == {None}


@pytest.mark.parametrize("spoil", [set_guardrail])
def test_an_explicit_deny_counts_at_once_in_the_first_run(
    tenant: Tenant, alice: Member, customer: Customer, work: Work, now: Any, spoil: Callable[[Customer], None]
) -> None:
    customer.follow_the_guide(tenant, acting(alice))
    spoil(customer)
    test = share(tenant, alice, work)
    denied = {check.code for check in test.checks.filter(verdict="fail")}
    assert (test.verdict, test.registration.status, denied) == ("fail", Status.REJECTED, {"use.encrypt", "use.decrypt"})
    check = test.checks.get(code="use.encrypt")
    assert check.counts_at is None
    assert "Keep the Deny" in check.remedy
    assert json.loads(check.corrected)["Condition"]["ArnNotEquals"] == {"aws:PrincipalArn": customer.role_arn}
    key_policy(
        customer, lambda statements: statements[-1]["Condition"].update(json.loads(check.corrected)["Condition"])
    )
    assert again(test, alice, work).verdict == "pass"


def test_once_a_deny_was_reported_its_removal_may_be_on_its_way(
    tenant: Tenant, alice: Member, customer: Customer, work: Work, now: Any
) -> None:
    customer.follow_the_guide(tenant, acting(alice))
    set_guardrail(customer)
    first = share(tenant, alice, work)
    assert first.verdict == "fail"
    second = again(first, alice, work)  # AWS has not passed the removal on yet
    check = second.checks.get(code="use.encrypt")
    assert (second.status, check.verdict, check.causes[0]) == ("waiting", "unknown", "key_policy_explicit_deny")
    assert check.counts_at is not None
    remove_guardrail(customer)
    now.shift(6)
    work()
    assert newest(first.registration).verdict == "pass"


def test_a_deny_that_stays_counts_when_the_window_is_over(
    tenant: Tenant, alice: Member, customer: Customer, work: Work, now: Any
) -> None:
    customer.follow_the_guide(tenant, acting(alice))
    set_guardrail(customer)
    second = again(share(tenant, alice, work), alice, work)
    now.shift(301)
    work()
    second.refresh_from_db()
    assert second.verdict == "fail"


def test_sharing_again_does_not_make_a_removed_deny_certain(
    tenant: Tenant, alice: Member, customer: Customer, work: Work, now: Any
) -> None:
    customer.follow_the_guide(tenant, acting(alice))
    set_guardrail(customer)
    registration = share(tenant, alice, work).registration
    save_draft(tenant, key_arn=registration.key_arn, actor=acting(alice))
    assert share(tenant, alice, work).status == "waiting"


def test_what_a_probe_was_refused_may_be_a_removed_deny_for_a_new_registration(
    tenant: Tenant,
    alice: Member,
    active: KeyRegistration,
    customer: Customer,
    work: Work,
    probe_now: Callable[[KeyRegistration], KeyRegistration],
    now: Any,
) -> None:
    set_guardrail(customer)
    key_policy(customer, lambda statements: statements[-1].update(Action="kms:*"))
    probe_now(active)
    save_draft(tenant, key_arn=customer.create_key(), actor=acting(alice))
    customer.add_key_statement(json.loads(services.document(tenant, "key-policy-statement")))
    arn = customer.iam.list_attached_role_policies(RoleName=customer.role_name)["AttachedPolicies"][0]["PolicyArn"]
    customer.iam.create_policy_version(
        PolicyArn=arn, PolicyDocument=services.document(tenant, "permissions-policy"), SetAsDefault=True
    )
    set_guardrail(customer)
    test = share(tenant, alice, work)
    assert (test.registration.replaces_id, test.status) == (active.pk, "waiting")
    # The six steps are about the key that serves.
    assert not any("expected" in step.evidence for step in onboarding.overview(tenant))


def test_keep_testing_until_holds_a_deny_back_too(
    tenant: Tenant, alice: Member, customer: Customer, work: Work, settings: Settings
) -> None:
    settings.PROPAGATION_WINDOW = 0
    customer.follow_the_guide(tenant, acting(alice))
    set_guardrail(customer)
    registration = services.submit_registration(tenant, actor=acting(alice))
    work()
    until = timezone.now() + timedelta(hours=2)
    services.start_test(tenant, actor=acting(alice), keep_until=until)
    work()
    check = newest(registration).checks.get(code="use.encrypt")
    assert (check.verdict, check.counts_at) == ("unknown", until.replace(microsecond=0))


def test_who_says_i_changed_it_gives_aws_its_minutes_again(
    tenant: Tenant, alice: Member, customer: Customer, work: Work, now: Any
) -> None:
    customer.follow_the_guide(tenant, acting(alice), trust=wrong_trust(tenant))
    test = share(tenant, alice, work)
    now.shift(290)
    again(test, alice, work)
    now.shift(20)
    work()
    test.refresh_from_db()
    assert test.status == "waiting"


def test_a_refusal_of_a_key_in_service_stands_on_its_steps_too(
    tenant: Tenant, alice: Member, active: KeyRegistration, customer: Customer, work: Work, now: Any
) -> None:
    customer.set_trust(wrong_trust(tenant))
    services.start_test(tenant, actor=acting(alice))
    work()
    assert "If it is still so at" in tracker(tenant)[2]
    assert not any("Nothing to do" in sentence for sentence in tracker(tenant).values())
    customer.set_trust(services.document(tenant, "trust-policy"))
    now.shift(6)
    work()
    assert set(tracker(tenant).values()) == {"Nothing to do."}
