"""IAM does not take a document of ours: one tenant is taken out, whoever it is,
and its neighbours on the service role go on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from conftest import Customer, acting, owner_of, save_draft
from django.test import Client
from django.utils import timezone

from byokportal.localaws import iam_limits
from byokportal.localaws.errors import AwsError
from byokportal.localaws.testing import LocalAws
from keys import errors, services
from keys.aws import iam
from keys.configuration import apply, isolating
from keys.models import KeyRegistration, RoleConfiguration, ServiceRolePolicy
from support import follow
from support.models import Ticket
from tenants import audit, onboarding
from tenants import services as tenant_services
from tenants.models import AuditEvent, Member, OnboardingStep, ServiceRole, Tenant

Status = RoleConfiguration.Status
KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = "arn:aws:iam::111122223333:role/AIforWork"
Share = Callable[[str], RoleConfiguration]


@pytest.fixture
def share(service_role: ServiceRole) -> Share:
    """Return a function that makes a tenant, shares a Role ARN and lets the worker configure it."""

    def one(role_arn: str) -> RoleConfiguration:
        tenant = tenant_services.create_tenant(
            "T", owner_email=f"t{Tenant.objects.count()}@x.example", actor=audit.COMMAND
        )
        owner = acting(owner_of(tenant))
        save_draft(tenant, key_arn=KEY, role_arn=role_arn, actor=owner)
        services.submit_registration(tenant, actor=owner)
        return again(RoleConfiguration.objects.get(tenant=tenant))

    return one


def again(configuration: RoleConfiguration) -> RoleConfiguration:
    RoleConfiguration.objects.filter(pk=configuration.pk).update(due_at=timezone.now(), claimed_at=None)
    apply.apply(str(configuration.pk))
    configuration.refresh_from_db()
    return configuration


@pytest.fixture
def iam_refuses(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that makes the local IAM refuse documents in which a word stands."""
    real = iam_limits.check

    def set_word(word: str, code: str = "MalformedPolicyDocument") -> None:
        def refuse(state: Any, account: str, action: str, form: Any, now: Any) -> None:
            real(state, account, action, form, now)
            if action in {"CreatePolicy", "CreatePolicyVersion"} and word in form["PolicyDocument"]:
                raise AwsError(code, "The policy failed legacy parsing" if code.startswith("Mal") else "PolicySize")

        monkeypatch.setattr(iam_limits, "check", refuse)

    return set_word


def in_iam(service_role: ServiceRole) -> list[str]:
    """Return the role ARNs in the default versions, as IAM holds them."""
    found = []
    for policy in ServiceRolePolicy.objects.filter(service_role=service_role).exclude(policy_arn=""):
        written = iam.read_policy(policy.policy_arn)
        assert written is not None
        named = [arn for each in written.document["Statement"] if each["Effect"] == "Allow" for arn in each["Resource"]]
        assert sorted(named) == policy.role_arns
        found += named
    return sorted(found)


@pytest.mark.parametrize("code", ["MalformedPolicyDocument", "InvalidInput", "LimitExceeded"])
@pytest.mark.parametrize("is_first", [True, False], ids=["first on its service role", "beside another"])
def test_the_tenant_whose_role_iam_does_not_take_is_rejected_and_the_others_go_on(
    share: Share,
    iam_refuses: Callable[..., None],
    service_role: ServiceRole,
    api_of: Callable[[Any], Client],
    browser_of: Callable[[Any], Client],
    code: str,
    is_first: bool,
) -> None:
    good = [] if is_first else [share(ROLE + "-good-1").role_arn]
    iam_refuses("poison", code)
    refused = share(ROLE + "-poison")
    assert (refused.status, refused.reason) == (Status.FAILED, "role_refused_by_iam")
    registration = KeyRegistration.objects.get(tenant=refused.tenant)
    assert (registration.status, registration.reason) == (KeyRegistration.Status.REJECTED, "role_refused_by_iam")
    steps = {step.number: step for step in onboarding.overview(refused.tenant)}
    assert (steps[2].status, steps[2].whose_turn) == (OnboardingStep.Status.FAILED, "tenant")
    assert steps[5].whose_turn == "tenant"
    after = [share(ROLE + "-good-2"), share(ROLE + "-good-3")]
    assert [one.status for one in after] == [Status.PROPAGATING] * 2
    assert in_iam(service_role) == sorted([*good, *(one.role_arn for one in after)])
    # What the tenant reads, and the way on.
    while follow.follow():
        pass
    ticket = Ticket.objects.of(refused.tenant).get()
    assert ticket.status == Ticket.Status.WAITING_FOR_TENANT
    text = " ".join(ticket.messages.values_list("text", flat=True))
    assert "another name or path" in text and "role_refused_by_iam" not in text
    owner = refused.tenant.members.get()
    answer = api_of(owner).post(f"/api/v1/tenants/{refused.tenant_id}/tests", "{}", content_type="application/json")
    assert (answer.status_code, answer.json()["code"], answer.json()["whose_turn"]) == (
        409,
        "role_refused_by_iam",
        "tenant",
    )
    for number in (2, 5):
        page = browser_of(owner).get(f"/tenants/{refused.tenant_id}/steps/{number}/").content.decode()
        assert "another name or path" in page
    save_draft(refused.tenant, role_arn=ROLE + "-mended", actor=acting(owner))
    services.submit_registration(refused.tenant, actor=acting(owner))
    mended = again(RoleConfiguration.objects.filter(tenant=refused.tenant, action="add").latest("created_at"))
    assert mended.status == Status.PROPAGATING
    assert ROLE + "-mended" in in_iam(service_role)


def test_a_role_that_iam_took_once_and_takes_no_more_is_found_among_many(
    share: Share, iam_refuses: Callable[..., None], service_role: ServiceRole
) -> None:
    roles = [ROLE + f"-{name}" for name in ("a", "b", "poison-1", "c", "poison-2", "d", "e")]
    shared = {role: share(role) for role in roles}
    iam_refuses("poison")
    newcomer = share(ROLE + "-new")
    assert newcomer.status == Status.PROPAGATING
    assert in_iam(service_role) == sorted([role for role in [*roles, newcomer.role_arn] if "poison" not in role])
    for role, configuration in shared.items():
        configuration.refresh_from_db()
        is_out = "poison" in role
        assert configuration.status == (Status.FAILED if is_out else Status.PROPAGATING)
        assert onboarding.overview(configuration.tenant)[4].whose_turn == ("tenant" if is_out else "kore")
    assert AuditEvent.objects.filter(name="keys.registration.rejected").count() == 2
    written = iam.read_policy(service_role.policies.get().policy_arn)
    assert written is not None  # the versions that were only asked about are gone again, the one before stands
    assert "poison" not in json.dumps(written.document)


def test_where_it_serves_already_a_person_of_ours_is_called(
    active: KeyRegistration, share: Share, iam_refuses: Callable[..., None], service_role: ServiceRole
) -> None:
    iam_refuses(active.role_arn)
    assert share(ROLE + "-new").status == Status.PROPAGATING
    active.refresh_from_db()
    assert active.status == KeyRegistration.Status.ACTIVE
    assert onboarding.overview(active.tenant)[4].status == OnboardingStep.Status.WAITING_FOR_KORE
    assert AuditEvent.objects.of(active.tenant).filter(name="keys.configuration.failed").count() == 1


def test_a_document_that_iam_takes_with_nobody_in_it_neither_is_ours(
    share: Share, iam_refuses: Callable[..., None], service_role: ServiceRole
) -> None:
    good = share(ROLE + "-good")
    iam_refuses("NeverOurOwnRoles")  # it stands in each document of ours
    stopped = share(ROLE + "-new")
    assert (stopped.status, stopped.reason) == (Status.FAILED, "policy_refused")
    assert KeyRegistration.objects.get(tenant=stopped.tenant).status == KeyRegistration.Status.CONFIGURING
    assert onboarding.overview(stopped.tenant)[4].whose_turn == "kore"
    assert in_iam(service_role) == [good.role_arn]


@pytest.mark.parametrize(
    "arn",
    [
        ROLE.replace("arn:aws:", "arn:aws-us-gov:"),
        ROLE.replace("arn:aws:", "arn:aws-cn:"),
        ROLE.replace("role/", "role//"),
        ROLE + "x" * 64,
        ROLE + "*",
    ],
)
def test_a_row_from_before_the_rules_reaches_no_policy(
    share: Share, service_role: ServiceRole, aws: LocalAws, arn: str
) -> None:
    configuration = share(ROLE)
    RoleConfiguration.objects.filter(pk=configuration.pk).update(role_arn=arn, status=Status.QUEUED)
    KeyRegistration.objects.update(role_arn=arn, status=KeyRegistration.Status.CONFIGURING)
    aws.calls.clear()
    assert again(configuration).reason == "role_refused_by_iam"
    assert not [call for call in aws.calls if call[1].startswith("Create")]
    assert KeyRegistration.objects.get().status == KeyRegistration.Status.REJECTED
    assert share(ROLE + "2").status == Status.PROPAGATING


def test_a_replacement_that_iam_does_not_take_leaves_the_key_that_serves(
    tenant: Tenant,
    active: KeyRegistration,
    alice: Member,
    customer: Customer,
    iam_refuses: Callable[..., None],
    work: Callable[[], None],
) -> None:
    iam_refuses("poison")
    save_draft(tenant, role_arn=ROLE + "-poison", actor=acting(alice))
    services.submit_registration(tenant, actor=acting(alice))
    work()
    assert KeyRegistration.objects.of(tenant).in_preparation().get().reason == "role_refused_by_iam"
    active.refresh_from_db()
    assert active.status == KeyRegistration.Status.ACTIVE
    assert {step.status for step in onboarding.overview(tenant) if step.number != 4} == {"done"}


def test_the_search_asks_little() -> None:
    asked = 0

    def takes(arns: Sequence[str]) -> bool:
        nonlocal asked
        asked += 1
        return "r17" not in arns

    assert isolating.to_blame({f"r{number}" for number in range(36)}, "new", takes) == {"r17"}
    assert asked <= 16
    with pytest.raises(errors.RoleRefusedByIam):
        isolating.to_blame({"r1"}, "r17", takes)
    with pytest.raises(errors.PolicyRefused):
        isolating.to_blame({"r1", "r2"}, "new", lambda arns: len(arns) < 2)
