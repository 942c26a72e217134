"""Our canaries are asked all day: what breaks on our side is an incident before a customer meets it."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from conftest import with_health
from django.core import mail
from django.urls import reverse
from django.utils import timezone

from byokportal.localaws.testing import LocalAws
from keys import canary_rounds, errors, health
from keys.aws import sessions
from keys.configuration import apply, canary_roles, opening
from keys.health import blame, canaries
from keys.models import (
    BranchKey,
    BranchKeyLoad,
    Canary,
    EncryptionTest,
    Incident,
    KeyHealth,
    KeyRegistration,
    RoleConfiguration,
)
from keys.proof.encryption_test import runner
from support import canary_steps, figures, follow, notices
from support.fleet import projection
from support.models import FleetRow, Notice, Ticket
from tenants.models import ServiceRole, Tenant

CANARY = "999900002222"


@pytest.fixture
def serving(tenant: Tenant) -> KeyRegistration:
    """A tenant whose key is in service in Frankfurt; nobody asks for it here."""
    registration = KeyRegistration.objects.create(
        tenant=tenant, key_arn="k", role_arn="r", role_claim="1/r", status="active", activated_at=timezone.now()
    )
    return with_health(registration, next_probe_at=timezone.now() + timedelta(hours=1))


@pytest.fixture
def canary_iam(aws: LocalAws) -> Any:
    return aws.client(CANARY, "iam", "us-east-1")


def due() -> None:
    ServiceRole.objects.update(canary_due_at=timezone.now())


def shut(canary_iam: Any, service_role: ServiceRole) -> None:
    """Take from the canary's role what lets us in."""
    trust = '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "sts:AssumeRole"}]}'
    canary_iam.update_assume_role_policy(RoleName=f"byok-canary-{service_role.name}", PolicyDocument=trust)


def test_a_canary_that_lets_us_in_is_asked_again_later_and_raises_nothing(
    service_role: ServiceRole, serving: KeyRegistration
) -> None:
    due()
    before = timezone.now()
    assert health.ask_canaries() == 0
    service_role.refresh_from_db()
    assert service_role.canary_due_at > before + timedelta(seconds=50)
    assert health.ask_canaries() == 0
    assert not Incident.objects.exists()


def test_a_refused_canary_is_an_incident_before_any_customer_meets_it(
    service_role: ServiceRole, serving: KeyRegistration, canary_iam: Any, settings: Any
) -> None:
    shut(canary_iam, service_role)
    for _ in range(2):  # one incident, however often it is seen
        due()
        assert health.ask_canaries() == 1
        health.close_incidents()
    incident = Incident.objects.get()
    assert (incident.service_role, incident.closed_at) == (service_role, None)
    assert "AccessDenied in eu-central-1" in incident.why
    follow.follow()
    notices.send_due()
    assert [message.to for message in mail.outbox if message.subject.startswith("Incident")] == [
        [settings.SUPPORT_EMAIL]
    ]
    serving.refresh_from_db()
    assert serving.status == "active", "nobody's key is touched by it"


def test_it_is_over_a_window_after_the_canary_lets_us_in_again(
    service_role: ServiceRole, serving: KeyRegistration, canary_iam: Any, settings: Any
) -> None:
    trust = canary_iam.get_role(RoleName=f"byok-canary-{service_role.name}")["Role"]["AssumeRolePolicyDocument"]
    shut(canary_iam, service_role)
    due()
    health.ask_canaries()
    canary_iam.update_assume_role_policy(RoleName=f"byok-canary-{service_role.name}", PolicyDocument=json.dumps(trust))
    due()
    assert health.ask_canaries() == 0
    Incident.objects.update(seen_at=timezone.now() - timedelta(seconds=settings.MANY_DENIALS_SECONDS + 1))
    health.close_incidents()
    assert Incident.objects.get().closed_at is not None


def test_a_silence_is_no_refusal(service_role: ServiceRole, serving: KeyRegistration, aws: LocalAws) -> None:
    aws.set_fault("throttling", operation="sts:AssumeRole")
    due()
    assert health.ask_canaries() == 0
    assert not Incident.objects.exists()


def test_it_is_looked_at_often_enough_to_keep_an_incident_open(settings: Any) -> None:
    settings.PROBE_SECONDS, settings.MANY_DENIALS_SECONDS = 86_400, 300
    assert canaries.every() < timedelta(seconds=300)


# --- our own tenants on the whole path --------------------------------------------------------------------------------


@pytest.fixture
def through(service_role: ServiceRole, serving: KeyRegistration) -> Canary:
    """The canary of Acme Bank's service role in Frankfurt, in service."""
    assert canary_roles.keep() == 1
    canary = Canary.objects.select_related("tenant__service_role").get()
    assert canary_steps.advance() == 1
    work_for_canary()
    canary_rounds.go()
    canary.refresh_from_db()
    assert (canary.stage, canary.why) == ("serving", "")
    return canary


def work_for_canary() -> None:
    """Do what the workers do between the sharing and the first round."""
    for row in RoleConfiguration.objects.filter(status="queued"):
        apply.apply(str(row.pk))
    for _ in range(3):
        for test in EncryptionTest.objects.exclude(due_at=None):
            EncryptionTest.objects.filter(pk=test.pk).update(due_at=timezone.now())
            runner.run(str(test.pk))


def again() -> None:
    Canary.objects.update(due_at=timezone.now())
    canary_rounds.go()


def test_it_takes_all_steps_of_a_customer_and_uses_its_key(through: Canary, settings: Any) -> None:
    registration = KeyRegistration.objects.get(tenant=through.tenant)
    assert (registration.status, registration.role_arn) == ("active", through.role_arn)
    assert through.tenant.is_canary and through.region == "eu-central-1"
    assert f"::{settings.CANARY_ACCOUNT_ID}:role/byok/byok-canary-t-" in through.role_arn
    assert BranchKey.objects.filter(tenant=through.tenant).count() == 1
    loads = BranchKeyLoad.objects.filter(tenant=through.tenant)
    assert loads.count() == 1, "a real unwrap by the key"
    again()
    assert loads.count() == 2
    through.refresh_from_db()
    assert through.passed_at is not None and through.failing_since is None


def test_it_is_made_once_and_within_few_writes(through: Canary, aws: LocalAws) -> None:
    assert canary_roles.keep() == 0
    assert canary_steps.advance() == 0
    assert Canary.objects.count() == Tenant.objects.filter(is_canary=True).count() == 1
    assert len(aws.client(CANARY, "kms", "eu-central-1").list_keys()["Keys"]) == 1


def test_two_service_roles_share_one_key_in_a_region_and_each_region_has_its_own(
    service_role: ServiceRole, serving: KeyRegistration
) -> None:
    other = opening.open_service_role()
    for _ in range(3):
        canary_roles.keep()
    found = {(one.service_role_id, one.region): one.key_arn for one in Canary.objects.all()}
    assert set(found) == {(service_role.pk, "eu-central-1"), (other.pk, "us-east-1")}
    another = Canary.objects.get(service_role=other)
    Canary.objects.filter(pk=another.pk).update(
        stage="making", region="eu-central-1", key_arn="", due_at=timezone.now()
    )
    canary_roles.keep()
    another.refresh_from_db()
    assert another.key_arn == found[service_role.pk, "eu-central-1"]


def test_without_rights_in_the_second_account_nothing_is_made(
    service_role: ServiceRole, serving: KeyRegistration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "can_open", lambda: False)
    assert canary_roles.keep() == 0
    assert not Canary.objects.exists()


def test_nobody_sees_it_and_it_counts_nowhere(through: Canary, alice: Any, browser_of: Any, settings: Any) -> None:
    while follow.follow():
        pass
    projection.refresh([through.tenant_id])
    assert not FleetRow.objects.filter(tenant=through.tenant).exists()
    assert not Notice.objects.filter(tenant=through.tenant).exists()
    assert not Ticket.objects.filter(tenant=through.tenant).exists()
    assert not through.tenant.members.exists() and not through.tenant.invitations.exists()
    assert browser_of(alice).get(reverse("portal:overview", args=[through.tenant_id])).status_code == 404
    counted = next(one for one in figures._registrations().samples if one.labels["status"] == "active")
    assert counted.value == 1, "Acme Bank's alone"


def test_with_approval_by_a_person_it_waits_for_nobody(
    service_role: ServiceRole, serving: KeyRegistration, settings: Any
) -> None:
    settings.SERVICE_SIDE_APPROVAL = "support"
    canary_roles.keep()
    canary_steps.advance()
    assert RoleConfiguration.objects.get().status == "queued"


def test_a_canary_that_is_refused_is_an_incident_and_never_suspended(
    through: Canary, service_role: ServiceRole, canary_iam: Any
) -> None:
    name = through.role_arn.rpartition("/")[2]
    deny = '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "sts:AssumeRole"}]}'
    canary_iam.update_assume_role_policy(RoleName=name, PolicyDocument=deny)
    sessions.forget_all()
    again()
    through.refresh_from_db()
    assert through.failing_since is not None and "role_not_assumable" in through.why
    incident = Incident.objects.get()
    assert (incident.service_role, incident.refused) == (service_role, 0)
    assert "the canary is refused" in incident.why
    registration = KeyRegistration.objects.get(tenant=through.tenant)
    assert (registration.status, registration.suspended_by) == ("unreachable", "")
    (failing,) = [one.value for one in figures._canaries().samples if one.labels["state"] == "failing"]
    assert failing == 1


def test_a_customers_refusal_is_ours_while_our_own_key_is_refused_too(
    through: Canary, service_role: ServiceRole, serving: KeyRegistration, canary_iam: Any
) -> None:
    """A refusal by KMS, where AWS names no policy: nobody but us can have changed what our own tenant meets."""
    refusal = errors.KeyAccessDenied(aws_code="AccessDeniedException", action="kms:Decrypt", aws_request_id="r")
    health_row = KeyHealth.objects.select_related("registration__tenant__service_role").get(registration=serving)
    key_arn = f"arn:aws:kms:eu-central-1:111122223333:key/{uuid.uuid4()}"
    KeyRegistration.objects.filter(pk=serving.pk).update(key_arn=key_arn)
    health_row.registration.key_arn = key_arn
    assert blame.of(service_role, refusal, refused=[health_row], is_anybody_let_in=True) is None
    canary_iam.delete_role_policy(RoleName=through.role_arn.rpartition("/")[2], PolicyName=canary_roles.POLICY)
    sessions.forget_all()
    ours = blame.of(service_role, refusal, refused=[health_row], is_anybody_let_in=True)
    assert ours is not None and "canary's own key" in str(ours.params["aws_code"])


def test_one_of_which_nothing_good_was_heard_fails_by_the_clock(through: Canary, sam: Any, browser_of: Any) -> None:
    assert not Canary.objects.failing(timezone.now()).exists()
    Canary.objects.update(heard_at=timezone.now() - timedelta(minutes=16))
    assert Canary.objects.failing(timezone.now()).count() == 1
    page = browser_of(sam).get("/admin/").content.decode()
    assert "1 of our 1 canaries does not come through" in page


def test_home_says_when_our_own_key_answered(through: Canary, alice: Any, browser_of: Any) -> None:
    page = " ".join(browser_of(alice).get(reverse("portal:overview", args=[alice.tenant_id])).content.decode().split())
    assert "We use a key of our own in the same Region" in page
