"""Probes: what a refusal, a silence and a good answer mean for a key in service, and for the steps of its tenant."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from conftest import Customer, acting, health_of
from django.utils import timezone

from byokportal.localaws import kms as local_kms
from byokportal.localaws import sts as local_sts
from byokportal.localaws.errors import AwsError
from byokportal.localaws.testing import LocalAws
from keys import datakeys, errors, health, services
from keys.health import judging, questions
from keys.models import CLAIM_LASTS, KeyHealth, KeyRegistration, RegistrationMove
from tenants import onboarding
from tenants.models import AuditEvent, Member, OnboardingStep, Tenant

Status = KeyRegistration.Status
Probe = Callable[[KeyRegistration], KeyRegistration]
NOBODY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:root"}, "Action": "sts:AssumeRole"}
        ],
    }
)


@pytest.fixture
def sts_says(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that makes STS answer calls for roles whose ARN holds some words with an error."""

    def say(code: str, *, about: str = "", status: int = 400) -> None:
        real = local_sts.answer

        def refuse(state: Any, caller: Any, region: str, form: Any, *rest: Any) -> Any:
            if about in form.get("RoleArn", ""):
                raise AwsError(code, "Rate exceeded", status=status)
            return real(state, caller, region, form, *rest)

        monkeypatch.setattr(local_sts, "answer", refuse)

    return say


@pytest.fixture
def trust(tenant: Tenant, active: KeyRegistration) -> str:
    """The trust policy as the tenant has it."""
    return services.document(tenant, "trust-policy")


def steps(tenant: Tenant) -> dict[int, str]:
    return {view.number: view.status for view in onboarding.overview(tenant)}


def events(name: str) -> int:
    return AuditEvent.objects.filter(name=name).count()


def state(registration: KeyRegistration) -> tuple[str, str, str]:
    registration.refresh_from_db()
    return registration.status, registration.suspended_by, registration.reason


# --- a good probe ----------------------------------------------------------------------------------------------


def test_a_good_probe_asks_the_role_the_key_and_a_real_unwrap(
    tenant: Tenant, active: KeyRegistration, probe_now: Probe, aws: LocalAws
) -> None:
    datakeys.generate(tenant, [{}], caller="tests", request_id="r")
    aws.calls.clear()
    assert probe_now(active).status == Status.ACTIVE
    asked = [operation for service, operation, _ in aws.calls if (service, operation) != ("sts", "GetCallerIdentity")]
    assert asked[-3:] == ["AssumeRole", "DescribeKey", "Decrypt"]
    assert "iam" not in {service for service, _, _ in aws.calls}  # key traffic never touches IAM
    assert (health_of(active).good_probes, health_of(active).denied_probes, health_of(active).probe_claimed_at) == (
        1,
        0,
        None,
    )
    assert health_of(active).last_probe_at is not None


def test_every_probe_asks_sts_anew(active: KeyRegistration, probe_now: Probe, aws: LocalAws) -> None:
    probe_now(active)
    aws.calls.clear()
    probe_now(active)
    assert ("sts", "AssumeRole") in {(service, operation) for service, operation, _ in aws.calls}


def test_the_next_probe_is_jittered_around_its_time(active: KeyRegistration, probe_now: Probe, settings: Any) -> None:
    settings.PROBE_SECONDS = 300
    times = set()
    for _ in range(5):
        before = timezone.now()
        probe_now(active)
        assert health_of(active).next_probe_at is not None
        pause = (health_of(active).next_probe_at - before).total_seconds()
        assert 270 <= pause <= 335
        times.add(round(pause, 3))
    assert len(times) > 1


def test_a_probe_that_is_not_due_or_is_held_asks_nothing(active: KeyRegistration, aws: LocalAws) -> None:
    rows = KeyHealth.objects.filter(registration=active)
    aws.calls.clear()
    rows.update(next_probe_at=timezone.now() + timedelta(seconds=60))
    health.probe(str(active.pk))
    rows.update(next_probe_at=timezone.now(), probe_claimed_at=timezone.now() - CLAIM_LASTS + timedelta(seconds=5))
    health.probe(str(active.pk))
    assert aws.calls == []
    rows.update(probe_claimed_at=timezone.now() - CLAIM_LASTS - timedelta(seconds=1))  # its worker was killed
    health.probe(str(active.pk))
    assert ("kms", "DescribeKey") in {(service, operation) for service, operation, _ in aws.calls}


# --- the tenant says no ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "reason", "step"),
    [
        (lambda c: c.kms.disable_key(KeyId=c.key_arn), "kms_key_disabled", 1),
        (lambda c: c.kms.schedule_key_deletion(KeyId=c.key_arn, PendingWindowInDays=7), "kms_key_pending_deletion", 1),
        (
            lambda c: c.kms.put_key_policy(
                KeyId=c.key_arn,
                PolicyName="default",
                Policy=json.dumps(
                    {
                        "Version": "2012-10-17",
                        "Statement": [
                            {
                                "Sid": "Admin",
                                "Effect": "Allow",
                                "Principal": {"AWS": f"arn:aws:iam::{c.account}:root"},
                                "Action": "kms:PutKeyPolicy",
                                "Resource": "*",
                            }
                        ],
                    }
                ),
            ),
            "kms_access_denied",
            3,
        ),
        (lambda c: c.set_trust(NOBODY), "role_not_assumable", 2),
    ],
    ids=["disabled", "deletion", "key policy", "trust policy"],
)
def test_what_aws_refuses_suspends_at_once_and_names_the_step(
    tenant: Tenant,
    customer: Customer,
    active: KeyRegistration,
    probe_now: Probe,
    operation: Callable[[Customer], Any],
    reason: str,
    step: int,
) -> None:
    operation(customer)
    probe_now(active)
    assert state(active) == (Status.SUSPENDED, "aws", reason)
    assert {number for number, status in steps(tenant).items() if status == OnboardingStep.Status.FAILED} == {step}
    evidence = onboarding.overview(tenant)[step - 1].evidence
    assert evidence["code"] == reason
    assert evidence["aws_request_id"]
    assert events("keys.key.suspended") == 1
    tenant.refresh_from_db()
    assert tenant.key_generation > 0  # every process of ours drops what it has
    assert services.key_state(tenant).whose_turn == "tenant"


def test_two_good_probes_in_a_row_end_it_and_mend_the_step(
    tenant: Tenant, customer: Customer, active: KeyRegistration, probe_now: Probe, trust: str
) -> None:
    customer.set_trust(NOBODY)
    probe_now(active)
    customer.set_trust(trust)
    assert probe_now(active).status == Status.SUSPENDED
    customer.set_trust(NOBODY)
    # one good probe, then a refusal: it counts from the start again
    assert probe_now(active).status == Status.SUSPENDED
    customer.set_trust(trust)
    assert probe_now(active).status == Status.SUSPENDED
    assert probe_now(active).status == Status.ACTIVE
    assert (active.suspended_by, active.reason) == ("", "")
    assert steps(tenant)[2] == OnboardingStep.Status.DONE
    assert onboarding.overview(tenant)[1].evidence == {"role_arn": active.role_arn}
    assert events("keys.key.recovered") == 1
    assert events("keys.key.suspended") == 1


def test_a_refused_key_is_asked_again_later_and_later(
    customer: Customer, active: KeyRegistration, probe_now: Probe, settings: Any
) -> None:
    settings.DENIED_PROBE_SECONDS = [60, 120, 300]
    customer.kms.disable_key(KeyId=customer.key_arn)
    for pause in (60, 120, 300, 300):
        before = timezone.now()
        probe_now(active)
        assert health_of(active).next_probe_at is not None
        assert (health_of(active).next_probe_at - before).total_seconds() >= pause * 0.9
        assert (health_of(active).next_probe_at - timezone.now()).total_seconds() <= pause * 1.1
    customer.kms.enable_key(KeyId=customer.key_arn)
    before = timezone.now()
    probe_now(active)
    assert health_of(active).next_probe_at is not None
    assert (health_of(active).next_probe_at - before).total_seconds() < 75  # the second good probe follows soon


def test_the_last_word_of_aws_is_the_reason_that_is_shown(
    customer: Customer, active: KeyRegistration, probe_now: Probe
) -> None:
    customer.kms.disable_key(KeyId=customer.key_arn)
    probe_now(active)
    customer.kms.schedule_key_deletion(KeyId=customer.key_arn, PendingWindowInDays=7)
    probe_now(active)
    assert state(active) == (Status.SUSPENDED, "aws", "kms_key_pending_deletion")
    assert RegistrationMove.objects.filter(registration=active, new_status=Status.SUSPENDED).count() == 1


def test_a_refusal_met_by_a_request_suspends_too_and_does_not_put_off_the_probe(
    tenant: Tenant, customer: Customer, active: KeyRegistration, settings: Any
) -> None:
    settings.DENIED_PROBE_SECONDS = [60, 120, 300]
    (made,) = datakeys.generate(tenant, [{}], caller="tests", request_id="r")
    datakeys.start_anew()  # nothing is cached
    customer.kms.disable_key(KeyId=customer.key_arn)
    datakeys.open_wrapped(tenant, [(made.wrapped_key, {})], caller="tests", request_id="r")
    assert state(active) == (Status.SUSPENDED, "aws", "kms_key_disabled")
    assert health_of(active).next_probe_at is not None
    assert health_of(active).next_probe_at < timezone.now() + timedelta(seconds=70)
    due = health_of(active).next_probe_at
    health.denied(active, errors.KeyDisabled())  # a request that was under way
    active.refresh_from_db()
    assert health_of(active).next_probe_at == due


# --- we cannot tell ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("Throttling", 400, "aws_throttled"),
        ("ServiceUnavailable", 503, "aws_unreachable"),
        ("InvalidClientTokenId", 403, "own_access_broken"),
        ("BrandNewCode", 400, "aws_surprise"),
    ],
)
def test_a_silence_suspends_nothing_and_one_good_probe_ends_it(
    tenant: Tenant,
    active: KeyRegistration,
    probe_now: Probe,
    sts_says: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    status: int,
    reason: str,
) -> None:
    real = local_sts.answer
    sts_says(code, about=active.role_arn, status=status)
    probe_now(active)
    if reason in {"aws_throttled", "aws_unreachable"}:  # once is no news; it is looked at again within seconds
        assert state(active) == (Status.ACTIVE, "", "")
        assert health_of(active).next_probe_at is not None
        assert health_of(active).next_probe_at < timezone.now() + timedelta(seconds=6)
        probe_now(active)
    assert state(active) == (Status.UNREACHABLE, "", reason)
    assert OnboardingStep.Status.FAILED not in steps(tenant).values()
    assert services.key_state(tenant).whose_turn == "kore"
    tenant.refresh_from_db()
    assert tenant.key_generation == 0
    probe_now(active)
    assert events("keys.key.unreachable") == 1
    monkeypatch.setattr(local_sts, "answer", real)
    assert probe_now(active).status == Status.ACTIVE
    assert events("keys.key.recovered") == 1


def test_a_kms_that_does_not_answer_is_a_silence(
    active: KeyRegistration, probe_now: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise AwsError("KMSInternalException", "", status=500)

    monkeypatch.setattr(local_kms, "answer", fail)
    probe_now(active)
    assert probe_now(active).status == Status.UNREACHABLE


def test_a_role_refusal_while_our_canary_is_refused_too_is_ours(
    tenant: Tenant, customer: Customer, active: KeyRegistration, probe_now: Probe, sts_says: Callable[..., None]
) -> None:
    customer.set_trust(NOBODY)
    sts_says("AccessDenied", about="byok-canary", status=403)
    probe_now(active)
    assert state(active) == (Status.UNREACHABLE, "", "own_access_broken")
    assert OnboardingStep.Status.FAILED not in steps(tenant).values()
    told = health.denied(active, errors.RoleNotAssumable(aws_code="AccessDenied"))
    assert isinstance(told, errors.OwnAccessBroken)


def test_a_role_refusal_while_our_canary_does_not_answer_counts_as_nothing(
    customer: Customer, active: KeyRegistration, probe_now: Probe, sts_says: Callable[..., None]
) -> None:
    customer.set_trust(NOBODY)
    sts_says("Throttling", about="byok-canary")
    assert probe_now(active).status == Status.UNREACHABLE


def test_a_refusal_of_kms_needs_no_canary(
    customer: Customer, active: KeyRegistration, probe_now: Probe, sts_says: Callable[..., None]
) -> None:
    customer.kms.disable_key(KeyId=customer.key_arn)
    sts_says("AccessDenied", about="byok-canary", status=403)
    assert probe_now(active).status == Status.SUSPENDED


def test_a_silence_after_a_refusal_leaves_it_suspended(
    customer: Customer, active: KeyRegistration, probe_now: Probe, sts_says: Callable[..., None]
) -> None:
    customer.kms.disable_key(KeyId=customer.key_arn)
    probe_now(active)
    sts_says("Throttling", about=active.role_arn)
    probe_now(active)
    assert state(active) == (Status.SUSPENDED, "aws", "kms_key_disabled")


# --- people ----------------------------------------------------------------------------------------------------


def test_a_hundred_good_probes_do_not_undo_a_pressed_button(
    tenant: Tenant, alice: Member, active: KeyRegistration, probe_now: Probe
) -> None:
    services.suspend(tenant, reason="incident 7", actor=acting(alice))
    for _ in range(3):
        probe_now(active)
    for _ in range(100):
        judging.good(health_of(active))
    assert state(active) == (Status.SUSPENDED, "tenant", "incident 7")


def test_a_button_pressed_while_a_probe_is_under_way_stays_pressed(
    tenant: Tenant, alice: Member, customer: Customer, active: KeyRegistration, probe_now: Probe
) -> None:
    customer.kms.disable_key(KeyId=customer.key_arn)
    probe_now(active)
    customer.kms.enable_key(KeyId=customer.key_arn)
    probe_now(active)
    stale = KeyRegistration.objects.get(pk=active.pk)  # what the probe's worker loaded before the button was pressed
    assert stale.suspended_by == "aws"
    services.suspend(tenant, reason="incident 8", actor=acting(alice))
    judging.good(health_of(stale))
    assert state(active) == (Status.SUSPENDED, "tenant", "incident 8")
    health.denied(stale, errors.KeyDisabled())
    judging.unreachable(stale, errors.AwsUnreachable(aws_code="x", action="x"))
    assert state(active) == (Status.SUSPENDED, "tenant", "incident 8")


def test_after_resume_what_an_older_probe_learnt_does_not_count(
    tenant: Tenant, alice: Member, active: KeyRegistration, probe_now: Probe
) -> None:
    claim = timezone.now()
    KeyHealth.objects.filter(registration=active).update(probe_claimed_at=claim)  # a probe is under way
    services.suspend(tenant, reason="incident 9", actor=acting(alice))
    services.resume(tenant, reason="over", actor=acting(alice))
    judging.good(health_of(active), claim=claim)
    active.refresh_from_db()
    assert (active.status, health_of(active).good_probes) == (Status.UNREACHABLE, 0)
    assert probe_now(active).status == Status.UNREACHABLE
    assert probe_now(active).status == Status.ACTIVE


def test_a_refusal_after_resume_is_awss_and_ends_by_itself(
    tenant: Tenant, alice: Member, customer: Customer, active: KeyRegistration, probe_now: Probe
) -> None:
    services.suspend(tenant, reason="incident 10", actor=acting(alice))
    customer.kms.disable_key(KeyId=customer.key_arn)
    services.resume(tenant, reason="over", actor=acting(alice))
    probe_now(active)
    assert state(active) == (Status.SUSPENDED, "aws", "kms_key_disabled")


@pytest.fixture
def anybody() -> str:
    """A trust policy that lets our service role in without an External ID."""
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
        }
    )


def test_a_trust_policy_that_became_too_wide_is_seen_twice_then_suspends_and_ends_by_itself(
    tenant: Tenant,
    customer: Customer,
    active: KeyRegistration,
    probe_now: Probe,
    trust: str,
    anybody: str,
    settings: Any,
) -> None:
    settings.TRUST_PROBE_SECONDS = 0
    settings.EXTERNAL_ID_PROBE_GAP = 60
    customer.set_trust(anybody)
    assert probe_now(active).status == Status.ACTIVE  # once is no proof
    assert health_of(active).insecure_since is not None
    assert health_of(active).next_probe_at is not None and health_of(active).next_probe_at < timezone.now() + timedelta(
        seconds=70
    )
    assert probe_now(active).status == Status.ACTIVE  # the second look comes a gap later
    assert events("keys.key.trust_too_wide") == 1
    KeyHealth.objects.update(insecure_since=timezone.now() - timedelta(seconds=61))
    probe_now(active)
    assert state(active) == (Status.SUSPENDED, "aws", questions.INSECURE)
    assert steps(tenant)[2] == OnboardingStep.Status.FAILED
    for _ in range(3):
        probe_now(active)
    # the key answers; strangers come in all the same
    assert state(active) == (
        Status.SUSPENDED,
        "aws",
        questions.INSECURE,
    )
    customer.set_trust(trust)
    assert probe_now(active).status == Status.SUSPENDED
    assert probe_now(active).status == Status.ACTIVE
    assert health_of(active).insecure_since is None
    assert steps(tenant)[2] == OnboardingStep.Status.DONE


def test_the_trust_policy_is_looked_at_now_and_then_only(
    active: KeyRegistration, probe_now: Probe, aws: LocalAws, settings: Any
) -> None:
    settings.TRUST_PROBE_SECONDS = 3600
    aws.calls.clear()
    probe_now(active)
    # ours, and the tenant's with its External ID
    assert [operation for _, operation, _ in aws.calls].count("AssumeRole") <= 2
    KeyRegistration.objects.update(activated_at=timezone.now() - timedelta(hours=2))
    aws.calls.clear()
    probe_now(active)
    assert [operation for _, operation, _ in aws.calls].count("AssumeRole") >= 3
    assert health_of(active).trust_looked_at is not None
    aws.calls.clear()
    probe_now(active)
    assert [operation for _, operation, _ in aws.calls].count("AssumeRole") == 1


def test_a_role_that_refuses_everybody_says_nothing_about_its_external_id(
    customer: Customer, active: KeyRegistration, probe_now: Probe, settings: Any
) -> None:
    settings.TRUST_PROBE_SECONDS = 0
    insecure_since = timezone.now()
    KeyHealth.objects.update(insecure_since=insecure_since)
    customer.set_trust(NOBODY)
    probe_now(active)
    assert health_of(active).insecure_since == insecure_since
    assert health_of(active).trust_looked_at is None


def test_a_retiring_key_is_probed_and_moved_by_no_answer(
    customer: Customer, active: KeyRegistration, probe_now: Probe
) -> None:
    KeyRegistration.objects.filter(pk=active.pk).update(status=Status.RETIRING)
    customer.kms.disable_key(KeyId=customer.key_arn)
    probe_now(active)
    assert (active.status, health_of(active).denied_probes) == (Status.RETIRING, 1)


def test_a_deleted_role_recreated_by_the_tenant_serves_again(
    tenant: Tenant, customer: Customer, active: KeyRegistration, probe_now: Probe, trust: str
) -> None:
    permissions = services.document(tenant, "permissions-policy")
    for policy in customer.iam.list_attached_role_policies(RoleName=customer.role_name)["AttachedPolicies"]:
        customer.iam.detach_role_policy(RoleName=customer.role_name, PolicyArn=policy["PolicyArn"])
    customer.iam.delete_role(RoleName=customer.role_name)
    probe_now(active)
    assert state(active) == (Status.SUSPENDED, "aws", "role_not_assumable")
    customer.iam.create_role(RoleName=customer.role_name, AssumeRolePolicyDocument=trust)
    customer.iam.put_role_policy(RoleName=customer.role_name, PolicyName="kms", PolicyDocument=permissions)
    assert probe_now(active).status == Status.SUSPENDED
    # the key's own account lets its roles in: no new statement is needed
    assert probe_now(active).status == Status.ACTIVE
