"""Our policy loses one role ARN behind our back: its tenant is not told that its key said no;
one that does say no is heard in time."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from conftest import Customer, acting, health_of, owner_of
from django.test import Client
from django.utils import timezone

from byokportal.localaws import sts as local_sts
from byokportal.localaws.errors import AwsError
from byokportal.localaws.testing import LocalAws
from keys import datakeys, errors, health, services
from keys.configuration import packing
from keys.health import blame, judging
from keys.models import Incident, KeyHealth, KeyRegistration, RegistrationMove, ServiceRolePolicy
from support import follow
from support.models import Notice
from tenants import audit
from tenants import services as tenant_services
from tenants.models import OnboardingStep, ServiceAccount, ServiceRole, Tenant

Status = KeyRegistration.Status
Probe = Callable[[KeyRegistration], KeyRegistration]
Document = dict[str, Any]
NOBODY = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}
)


class OurPolicy:
    """The policy of ours that names both tenants, in the hands of somebody else of us."""

    def __init__(self, aws: LocalAws, service_role: ServiceRole) -> None:
        self.iam = aws.client(service_role.account_id, "iam", "us-east-1")
        self.role, self.row = service_role, ServiceRolePolicy.objects.get(service_role=service_role)

    def write(self, document: Document) -> None:
        self.iam.create_policy_version(
            PolicyArn=self.row.policy_arn, PolicyDocument=json.dumps(document), SetAsDefault=True
        )

    def name(self, *role_arns: str, **more: Any) -> Document:
        document = packing.document(role_arns, our_account=self.role.account_id)
        document["Statement"][-1] |= more
        return document

    def mend(self) -> None:
        self.write(self.name(*self.row.role_arns))
        self.iam.attach_role_policy(RoleName=self.role.name, PolicyArn=self.row.policy_arn)

    def detach(self) -> None:
        self.iam.detach_role_policy(RoleName=self.role.name, PolicyArn=self.row.policy_arn)


@pytest.fixture
def neighbour(
    active: KeyRegistration, service_role: ServiceRole, aws: LocalAws, work: Callable[[], None]
) -> KeyRegistration:
    """Another organisation in service, named by the same policy of ours."""
    other = tenant_services.create_tenant("Borders Bank", owner_email="olga@borders.example", actor=audit.COMMAND)
    olga = acting(owner_of(other))
    Customer(aws, role_name="Neighbour").follow_the_guide(other, olga)
    services.submit_registration(other, actor=olga)
    work()
    registration = KeyRegistration.objects.get(tenant=other)
    assert (registration.status, ServiceRolePolicy.objects.count()) == (Status.ACTIVE, 1), registration.reason
    return registration


@pytest.fixture
def policy(aws: LocalAws, service_role: ServiceRole, neighbour: KeyRegistration) -> OurPolicy:
    return OurPolicy(aws, service_role)


def everybody_due() -> None:
    KeyHealth.objects.probed().update(next_probe_at=timezone.now(), probe_claimed_at=None)


def nobody_was_blamed(*, incidents: int = 1) -> None:
    assert not RegistrationMove.objects.filter(new_status=Status.SUSPENDED).exists()
    assert not OnboardingStep.objects.filter(status=OnboardingStep.Status.FAILED).exists()
    while follow.follow():
        pass
    assert not Notice.objects.filter(template="key-suspended").exists()
    assert Notice.objects.filter(template="incident-opened", tenant=None).count() == incidents


WAYS: dict[str, Callable[[OurPolicy, str, str], Any]] = {
    "it is not named": lambda policy, _, other: policy.write(policy.name(other)),
    "it is denied": lambda policy, lost, other: policy.write(
        {
            "Version": "2012-10-17",
            "Statement": [
                *policy.name(lost, other)["Statement"],
                {"Effect": "Deny", "Action": "sts:*", "Resource": lost},
            ],
        }
    ),
    "under a condition": lambda policy, lost, other: policy.write(
        {
            "Version": "2012-10-17",
            "Statement": [
                *policy.name(other)["Statement"],
                policy.name(lost, Sid="Narrow", Condition={"Bool": {"aws:MultiFactorAuthPresent": "true"}})[
                    "Statement"
                ][-1],
            ],
        }
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_one_that_our_policy_lost_is_not_blamed_its_neighbour_goes_on_and_it_comes_back_by_itself(
    way: str, tenant: Tenant, active: KeyRegistration, neighbour: KeyRegistration, policy: OurPolicy, probe_now: Probe
) -> None:
    datakeys.generate(tenant, [{}], caller="tests", request_id="r")
    WAYS[way](policy, active.role_arn, neighbour.role_arn)
    everybody_due()
    assert health.sweep() == 2
    active.refresh_from_db()
    neighbour.refresh_from_db()
    assert (active.status, active.reason, neighbour.status) == (Status.UNREACHABLE, blame.HELD, Status.ACTIVE)
    state = services.key_state(tenant)
    assert (state.status, state.reason, state.whose_turn) == ("unreachable", "own_access_broken", "kore")
    nobody_was_blamed()
    incident = Incident.objects.get()
    assert (incident.refused, incident.closed_at) == (1, None)
    assert active.role_arn in incident.why and neighbour.role_arn not in incident.why

    KeyHealth.objects.filter(registration=active).update(refused_since=timezone.now() - timedelta(hours=1))
    for _ in range(2):  # it lasts
        assert probe_now(active).status == Status.UNREACHABLE
    assert health.close_incidents() == 0
    assert len(datakeys.generate(neighbour.tenant, [{}], caller="tests", request_id="r")) == 1

    policy.mend()
    assert probe_now(active).status == Status.ACTIVE
    assert health.close_incidents() == 1
    assert len(datakeys.generate(tenant, [{}], caller="tests", request_id="r")) == 1
    nobody_was_blamed()


def test_a_policy_that_is_not_attached_is_ours_also_where_nobody_can_bear_witness(
    active: KeyRegistration, aws: LocalAws, service_role: ServiceRole, probe_now: Probe
) -> None:
    OurPolicy(aws, service_role).detach()
    assert (probe_now(active).status, active.reason) == (Status.UNREACHABLE, blame.HELD)
    assert "is not attached" in Incident.objects.get().why
    nobody_was_blamed()


def test_a_policy_that_our_rows_do_not_know_is_ours(
    active: KeyRegistration, policy: OurPolicy, customer: Customer
) -> None:
    """Whoever hears it first: no right in IAM is needed for that."""
    customer.set_trust(NOBODY)
    ServiceRolePolicy.objects.update(role_arns=[arn for arn in policy.row.role_arns if arn != active.role_arn])
    told = health.denied(active, errors.RoleNotAssumable(aws_code="AccessDenied"))
    assert isinstance(told, errors.OwnAccessBroken)
    assert Incident.objects.get().why == "no policy of ours names the role"
    nobody_was_blamed()


def test_one_is_lost_and_another_says_no_at_the_same_time(
    active: KeyRegistration, neighbour: KeyRegistration, policy: OurPolicy, customer: Customer, aws: LocalAws
) -> None:
    policy.write(policy.name(neighbour.role_arn))
    Customer(aws, role_name="Neighbour").set_trust(NOBODY)
    everybody_due()
    health.sweep()
    assert KeyRegistration.objects.get(pk=active.pk).status == Status.UNREACHABLE
    neighbour.refresh_from_db()
    assert (neighbour.status, neighbour.reason) == (Status.SUSPENDED, "role_not_assumable")


def test_a_request_that_hears_it_first_leaves_the_judgement_to_a_probe(
    tenant: Tenant,
    active: KeyRegistration,
    neighbour: KeyRegistration,
    policy: OurPolicy,
    service: ServiceAccount,
    api_of: Callable[..., Client],
) -> None:
    url = f"/api/v1/tenants/{tenant.pk}/data-keys"
    policy.write(policy.name(neighbour.role_arn))
    datakeys.start_anew()
    KeyHealth.objects.update(next_probe_at=timezone.now() + timedelta(minutes=5))
    before = services.key_state(tenant)
    answer = api_of(service).post(url, {}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"], answer["Retry-After"]) == (503, "key_unreachable", "5")
    assert services.key_state(tenant).status == before.status
    assert health.sweep() == 1  # the probe is due at once
    active.refresh_from_db()
    assert (active.status, active.reason) == (Status.UNREACHABLE, blame.HELD)
    due = health_of(active).next_probe_at
    KeyHealth.objects.filter(registration=active).update(refused_since=timezone.now() - timedelta(hours=1))
    for _ in range(2):  # no request overrules the probe, or makes it come more often
        assert isinstance(
            health.denied(active, errors.RoleNotAssumable(aws_code="AccessDenied")), errors.KeyUnreachable
        )
    active.refresh_from_db()
    assert (active.status, health_of(active).next_probe_at) == (Status.UNREACHABLE, due)
    nobody_was_blamed()


def test_a_tenant_that_says_no_is_suspended_by_the_probe_that_follows_a_request_at_once(
    tenant: Tenant, active: KeyRegistration, neighbour: KeyRegistration, customer: Customer
) -> None:
    customer.set_trust(NOBODY)
    datakeys.start_anew()
    KeyHealth.objects.update(next_probe_at=timezone.now() + timedelta(minutes=5))
    with pytest.raises(errors.KeyUnreachable):
        datakeys.generate(tenant, [{}], caller="tests", request_id="r")
    assert health.sweep() == 1
    active.refresh_from_db()
    assert (active.status, active.suspended_by, active.reason) == (Status.SUSPENDED, "aws", "role_not_assumable")
    with pytest.raises(errors.RoleNotAssumable):
        datakeys.generate(tenant, [{}], caller="tests", request_id="r")
    assert not Incident.objects.exists()


def test_without_a_worker_a_request_believes_it_after_a_minute(
    active: KeyRegistration, policy: OurPolicy, customer: Customer
) -> None:
    customer.set_trust(NOBODY)
    refusal = errors.RoleNotAssumable(aws_code="AccessDenied")
    assert isinstance(health.denied(active, refusal), errors.KeyUnreachable)
    KeyHealth.objects.filter(registration=active).update(
        refused_since=timezone.now() - timedelta(seconds=judging.UNPROBED + 1)
    )
    active.refresh_from_db()
    assert health.denied(active, refusal) is refusal
    active.refresh_from_db()
    assert (active.status, active.reason) == (Status.SUSPENDED, "role_not_assumable")


@pytest.mark.parametrize("fault", ["throttling", "reset"])
def test_an_iam_that_does_not_answer_keeps_no_tenant_from_saying_no(
    active: KeyRegistration, policy: OurPolicy, customer: Customer, aws: LocalAws, probe_now: Probe, fault: str
) -> None:
    customer.set_trust(NOBODY)
    aws.set_fault(fault, operation="iam:*")
    assert (probe_now(active).status, active.reason) == (Status.SUSPENDED, "role_not_assumable")


def test_who_said_no_before_stays_suspended(
    active: KeyRegistration, neighbour: KeyRegistration, policy: OurPolicy, aws: LocalAws, probe_now: Probe
) -> None:
    Customer(aws, role_name="Neighbour").set_trust(NOBODY)
    assert probe_now(neighbour).status == Status.SUSPENDED
    policy.write(policy.name(neighbour.role_arn))
    assert probe_now(active).status == Status.UNREACHABLE
    neighbour.refresh_from_db()
    assert neighbour.status == Status.SUSPENDED


def test_a_drift_that_shuts_out_another_one_keeps_no_tenant_from_saying_no(
    active: KeyRegistration, neighbour: KeyRegistration, policy: OurPolicy, customer: Customer, probe_now: Probe
) -> None:
    policy.write(policy.name(active.role_arn))
    customer.set_trust(NOBODY)
    assert (probe_now(active).status, active.reason) == (Status.SUSPENDED, "role_not_assumable")


def test_right_after_we_mended_it_a_refusal_is_asked_once_more(
    active: KeyRegistration,
    neighbour: KeyRegistration,
    policy: OurPolicy,
    probe_now: Probe,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """IAM shows the new version at once, and each STS knows it within minutes."""
    policy.write(policy.name(neighbour.role_arn))
    assert probe_now(active).status == Status.UNREACHABLE
    policy.mend()
    real = local_sts.answer

    def knows_it_not_yet(state: Any, caller: Any, region: str, form: Any, *rest: Any) -> Any:
        if form.get("RoleArn") == active.role_arn:
            raise AwsError("AccessDenied", "Access denied", status=403)
        return real(state, caller, region, form, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(local_sts, "answer", knows_it_not_yet)
        assert (probe_now(active).status, active.reason) == (Status.UNREACHABLE, "key_unreachable")
    assert probe_now(active).status == Status.ACTIVE
    nobody_was_blamed()


def test_one_that_says_no_while_ours_was_broken_is_heard_at_the_second_look(
    active: KeyRegistration, neighbour: KeyRegistration, policy: OurPolicy, customer: Customer, probe_now: Probe
) -> None:
    policy.write(policy.name(neighbour.role_arn))
    probe_now(active)
    customer.set_trust(NOBODY)
    policy.mend()
    assert probe_now(active).status == Status.UNREACHABLE
    assert (probe_now(active).status, active.reason) == (Status.SUSPENDED, "role_not_assumable")
