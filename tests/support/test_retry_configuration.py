"""A change of our policy that stopped is tried again by a button: the naming of a role, and its removal."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from conftest import acting, acting_staff
from django.contrib.auth.models import Group, User
from django.test import Client

from byokportal.errors import NotAllowed
from byokportal.localaws.testing import LocalAws
from keys import errors, services
from keys.aws import iam
from keys.configuration import apply
from keys.models import KeyRegistration, RoleConfiguration
from tenants import audit, roles
from tenants.errors import OrganisationClosed
from tenants.models import AuditEvent, Member, OnboardingStep, Tenant

pytestmark = pytest.mark.django_db
Status, Action = RoleConfiguration.Status, RoleConfiguration.Action


@pytest.fixture
def our_iam(aws: LocalAws, settings: Any) -> Any:
    """IAM of our own account, as somebody else with rights there would use it."""
    return aws.client(settings.AWS_ACCOUNT_ID, "iam", "us-east-1")


def done(configuration: RoleConfiguration) -> RoleConfiguration:
    apply.apply(str(configuration.pk))
    configuration.refresh_from_db()
    return configuration


def changed_by_somebody(our_iam: Any, tenant: Tenant) -> str:
    """Let somebody else write another document into our policy; return the version before."""
    policy = tenant.service_role.policies.get()
    before = policy.version
    other = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "*"}]}
    our_iam.create_policy_version(PolicyArn=policy.policy_arn, PolicyDocument=json.dumps(other), SetAsDefault=True)
    return str(before)


def page(configuration: RoleConfiguration) -> str:
    return f"/admin/keys/roleconfiguration/{configuration.pk}/change/"


@pytest.fixture
def removal(active: KeyRegistration, our_iam: Any, settings: Any) -> tuple[RoleConfiguration, str]:
    """The removal of a role that stopped because somebody else changed our policy, and the version before."""
    settings.PROPAGATION_WINDOW = 0
    made = RoleConfiguration.objects.create(
        tenant=active.tenant,
        registration=active,
        service_role=active.tenant.service_role,
        action=Action.REMOVE,
        role_arn=active.role_arn,
        status=Status.QUEUED,
    )
    KeyRegistration.objects.filter(pk=active.pk).update(status="retired", role_claim="")
    before = changed_by_somebody(our_iam, active.tenant)
    assert done(made).status == Status.FAILED
    return made, before


def test_a_removal_that_stopped_is_tried_again_once_our_policy_is_as_it_was(
    removal: tuple[RoleConfiguration, str], our_iam: Any, tenant: Tenant, sam: User, browser_of: Callable[..., Client]
) -> None:
    made, before = removal
    sam.groups.set([Group.objects.get(name=roles.SUPPORT)])
    client, address = browser_of(sam), page(made).replace("change/", "operations/try-again/")
    assert address in client.get(page(made)).content.decode()
    steps = list(OnboardingStep.objects.filter(tenant=tenant).order_by("number").values_list("status", flat=True))
    assert client.post(address, {"reason": ""}).status_code == 200
    made.refresh_from_db()
    assert made.status == Status.FAILED, "without a reason nothing happens"
    # Nobody has corrected it: it stops again.
    assert client.post(address, {"reason": "looks right"}).status_code == 302
    made.refresh_from_db()
    assert (made.status, made.due_at is not None) == (Status.QUEUED, True)
    assert address not in client.get(page(made)).content.decode()
    assert done(made).status == Status.FAILED
    policy = tenant.service_role.policies.get()
    our_iam.set_default_policy_version(PolicyArn=policy.policy_arn, VersionId=before)
    assert client.post(address, {"reason": "restored the policy"}).status_code == 302
    assert done(made).status == Status.DONE
    written = iam.read_policy(policy.policy_arn)
    assert written is not None and made.role_arn not in json.dumps(written.document)
    lines = AuditEvent.objects.of(tenant).filter(name="keys.configuration.tried_again").order_by("pk")
    assert [audit.actor_of(one) for one in lines] == ["kore:sam@kore.example"] * 2
    assert audit.sentence(lines[1]).endswith(f"{made.role_arn} is tried again: restored the policy")
    after = list(OnboardingStep.objects.filter(tenant=tenant).order_by("number").values_list("status", flat=True))
    assert after == steps, "the end of a role moves no step of the organisation"
    with pytest.raises(errors.RegistrationBusy):
        services.retry_configuration(made, reason="again", actor=acting_staff(sam))


def test_who_may_not_try_again_and_what_is_not_tried_again(
    removal: tuple[RoleConfiguration, str], tenant: Tenant, alice: Member, sam: User, browser_of: Callable[..., Client]
) -> None:
    made, _ = removal
    address = page(made).replace("change/", "operations/try-again/")
    sam.groups.set([Group.objects.get(name=roles.AUDITOR)])
    auditor = browser_of(sam)
    assert address not in auditor.get(page(made)).content.decode()
    assert auditor.post(address, {"reason": "r"}).status_code == 403
    assert browser_of(alice).post(address, {"reason": "r"}).status_code in {302, 403, 404}
    with pytest.raises(NotAllowed):
        services.retry_configuration(made, reason="r", actor=acting(alice))
    sam.groups.set([Group.objects.get(name=roles.LEAD)])
    lead = acting_staff(User.objects.get(pk=sam.pk))
    # Another one is on its way.
    other = RoleConfiguration.objects.create(
        tenant=tenant,
        registration=made.registration,
        service_role=made.service_role,
        action=Action.REMOVE,
        role_arn=made.role_arn,
        status=Status.QUEUED,
    )
    with pytest.raises(errors.RegistrationBusy):
        services.retry_configuration(made, reason="r", actor=lead)
    other.delete()
    # A role that was refused for good, or given up, is named no more.
    RoleConfiguration.objects.filter(pk=made.pk).update(action=Action.ADD)
    assert address not in browser_of(sam).get(page(made)).content.decode()
    with pytest.raises(errors.RegistrationBusy):
        services.retry_configuration(made, reason="r", actor=lead)
    RoleConfiguration.objects.filter(pk=made.pk).update(action=Action.REMOVE)
    # The end of a closed organisation tries by itself.
    Tenant.objects.filter(pk=tenant.pk).update(closed_at=made.created_at)
    assert address not in browser_of(sam).get(page(made)).content.decode()
    made = RoleConfiguration.objects.select_related("tenant").get(pk=made.pk)
    with pytest.raises(OrganisationClosed):
        services.retry_configuration(made, reason="r", actor=lead)
    assert RoleConfiguration.objects.get(pk=made.pk).status == Status.FAILED
