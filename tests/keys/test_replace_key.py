"""Another CMK or role while the old one serves:
branch keys move by themselves, nothing is lost, the old one is retired last."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from conftest import CUSTOMER, REGION, Customer, acting, save_draft
from django.db import IntegrityError, transaction
from django.utils import timezone

from byokportal.errors import NotAllowed
from byokportal.localaws.testing import LocalAws
from keys import branchkeys, datakeys, errors, lifecycle, services
from keys.aws import sessions
from keys.models import (
    BranchKey,
    BranchKeyLoad,
    CheckResult,
    KeyRegistration,
    RegistrationMove,
    RoleConfiguration,
    ServiceRolePolicy,
)
from keys.policies import documents
from tenants import audit, onboarding
from tenants.models import AuditEvent, Member, OnboardingStep, ServiceRole, Tenant

Status = KeyRegistration.Status
Work = Callable[[], None]


def generate(tenant: Tenant) -> datakeys.NewDataKey:
    (made,) = datakeys.generate(tenant, [{"object": "1"}], caller="tests", request_id="r")
    return made


def opens(tenant: Tenant, made: datakeys.NewDataKey) -> bool:
    (opened,) = datakeys.open_wrapped(tenant, [(made.wrapped_key, {"object": "1"})], caller="tests", request_id="r")
    return isinstance(opened, datakeys.OpenedDataKey) and opened.plaintext == made.plaintext


def refusal(tenant: Tenant, made: datakeys.NewDataKey) -> str:
    (result,) = datakeys.open_wrapped(tenant, [(made.wrapped_key, {"object": "1"})], caller="tests", request_id="r")
    assert not isinstance(result, datakeys.OpenedDataKey)
    return result.code


class Replacement:
    """The tenant's engineer makes a new key (and, if wanted, a new role) beside the old ones and shares them."""

    def __init__(self, tenant: Tenant, alice: Member, aws: LocalAws, old: Customer, work: Work) -> None:
        self.tenant, self.actor, self.aws, self.old, self.work = tenant, acting(alice), aws, old, work

    def key(self, region: str = REGION) -> str:
        arn: str = self.aws.client(CUSTOMER, "kms", region).create_key()["KeyMetadata"]["Arn"]
        save_draft(self.tenant, key_arn=arn, actor=self.actor)
        return arn

    def let_in(self, key_arn: str, role_arn: str) -> None:
        kms = self.aws.client(CUSTOMER, "kms", key_arn.split(":")[3])
        policy = json.loads(kms.get_key_policy(KeyId=key_arn, PolicyName="default")["Policy"])
        policy["Statement"].append(documents.key_policy_statement(role_arn))
        kms.put_key_policy(KeyId=key_arn, PolicyName="default", Policy=json.dumps(policy))

    def share(self) -> KeyRegistration:
        services.submit_registration(self.tenant, actor=self.actor)
        self.work()
        return KeyRegistration.objects.of(self.tenant).serving().get()

    def with_the_same_role(self, *, reaches_old: bool = True) -> KeyRegistration:
        old_key, new_key = self.old.key_arn, self.key()
        self.let_in(new_key, self.old.role_arn)
        policy = documents.permissions_policy(new_key)
        policy["Statement"][0]["Resource"] = [old_key, new_key] if reaches_old else [new_key]
        self.old.iam.create_policy_version(
            PolicyArn=f"arn:aws:iam::{CUSTOMER}:policy/AIforWorkKMSPolicy-{self.old.role_name}",
            PolicyDocument=json.dumps(policy),
            SetAsDefault=True,
        )
        if not reaches_old:
            policy = json.loads(self.old.kms.get_key_policy(KeyId=old_key, PolicyName="default")["Policy"])
            policy["Statement"] = [found for found in policy["Statement"] if found.get("Sid") != "AllowYourAppAccess"]
            self.old.kms.put_key_policy(KeyId=old_key, PolicyName="default", Policy=json.dumps(policy))
        return self.share()

    def with_another_role(self, *, region: str = REGION) -> KeyRegistration:
        new_key = self.key(region)
        other = Customer(self.aws, role_name="SecondRole", key_arn=new_key)
        role_arn = other.create_role(
            services.document(self.tenant, "trust-policy"), documents.render(documents.permissions_policy(new_key))
        )
        save_draft(self.tenant, role_arn=role_arn, actor=self.actor)
        self.let_in(new_key, role_arn)
        return self.share()


@pytest.fixture
def replace(
    tenant: Tenant, alice: Member, aws: LocalAws, customer: Customer, active: KeyRegistration, work: Work
) -> Replacement:
    return Replacement(tenant, alice, aws, customer, work)


def test_another_key_with_the_same_role_takes_over_by_one_reencrypt_each(
    replace: Replacement, tenant: Tenant, active: KeyRegistration, aws: LocalAws
) -> None:
    before = generate(tenant)
    aws.calls.clear()
    now_serving = replace.with_the_same_role()
    assert now_serving.pk != active.pk
    active.refresh_from_db()
    assert active.status == Status.RETIRED
    moved = BranchKey.objects.of(tenant).get()
    assert (moved.registration_id, moved.key_arn, moved.due_at) == (now_serving.pk, now_serving.key_arn, moved.due_at)
    # one for the branch key; the other is the encryption test's
    assert [call for call in aws.calls if call[1] == "ReEncrypt"] == [("kms", "ReEncrypt", CUSTOMER)] * 2
    assert opens(tenant, before)
    replace.old.kms.schedule_key_deletion(KeyId=active.key_arn, PendingWindowInDays=7)
    assert opens(tenant, before) and opens(tenant, generate(tenant))


def test_the_documents_name_both_keys_as_long_as_the_role_has_to_reach_both(
    replace: Replacement, tenant: Tenant, active: KeyRegistration, work: Work
) -> None:
    """Whoever pastes what the portal shows must not take the key away that serves."""

    def resource() -> Any:
        return json.loads(services.document(tenant, "permissions-policy"))["Statement"][0]["Resource"]

    def read(document: Any) -> tuple[str, set[str]]:
        reading = services.check_policy(tenant, kind="permissions", text=json.dumps(document))
        assert json.loads(reading.corrected)["Statement"][0]["Resource"] == [active.key_arn, new]
        return reading.verdict, {finding.code for finding in reading.findings}

    assert resource() == active.key_arn
    generate(tenant)
    new = replace.key()
    assert resource() == [active.key_arn, new]
    for name in ("cloudformation", "terraform", "cli"):
        assert active.key_arn in services.document(tenant, name)
    assert read(documents.permissions_policy(new, [active.key_arn])) == ("ok", set())
    assert read(documents.permissions_policy(new)) == ("incomplete", {"replaced_key_missing"})

    services.submit_registration(tenant, actor=replace.actor)  # the new key's policy does not let the role in yet
    work()
    failed = CheckResult.objects.filter(tenant=tenant, document="permissions-policy", verdict="fail").first()
    assert failed is not None and active.key_arn in failed.corrected
    services.withdraw(tenant, reason="again", actor=replace.actor)
    assert resource() == active.key_arn
    replace.with_the_same_role()
    assert resource() == KeyRegistration.objects.of(tenant).serving().get().key_arn  # the move is over


@pytest.mark.parametrize("region", [REGION, "us-east-1"], ids=["same Region", "another Region"])
def test_another_role_takes_over_by_opening_and_wrapping(
    replace: Replacement, tenant: Tenant, active: KeyRegistration, work: Work, region: str
) -> None:
    before = generate(tenant)
    known = set(BranchKeyLoad.objects.values_list("pk", flat=True))
    now_serving = replace.with_another_role(region=region)
    active.refresh_from_db()
    assert active.status == Status.RETIRED
    assert BranchKey.objects.of(tenant).get().key_arn == now_serving.key_arn
    (load,) = BranchKeyLoad.objects.exclude(pk__in=known)
    assert (load.branch_key, load.process, load.region) == (BranchKey.objects.get(), None, REGION)
    assert load.session_name == sessions.session_name("re-encrypt", str(tenant.pk))
    assert opens(tenant, before)
    work()  # the role that is needed no more leaves our policy
    named = {arn for policy in ServiceRolePolicy.objects.all() for arn in policy.role_arns}
    assert named == {now_serving.role_arn}
    assert RoleConfiguration.objects.filter(action="remove", status="done", role_arn=active.role_arn).exists()


def test_while_the_old_key_is_gone_too_early_it_is_said_and_nothing_is_lost(
    replace: Replacement, tenant: Tenant, active: KeyRegistration, work: Work
) -> None:
    before = generate(tenant)
    now_serving = replace.with_another_role
    replace.old.kms.disable_key(KeyId=active.key_arn)
    serving = now_serving()
    active.refresh_from_db()
    assert active.status == Status.RETIRING
    (left,) = branchkeys.remaining(tenant)
    assert (left.key_arn, left.count, left.reason) == (active.key_arn, 1, "kms_key_disabled")
    datakeys.start_anew()  # what was cached has run out
    assert refusal(tenant, before) == "kms_key_disabled"
    assert opens(tenant, generate(tenant))  # the new key serves all the same
    assert AuditEvent.objects.filter(name="keys.branch_key.stays").count() == 1
    replace.old.kms.enable_key(KeyId=active.key_arn)
    BranchKey.objects.filter(registration=active).update(due_at=timezone.now())
    work()
    active.refresh_from_db()
    assert active.status == Status.RETIRED and branchkeys.remaining(tenant) == []
    assert opens(tenant, before)
    assert set(BranchKey.objects.of(tenant).values_list("registration", flat=True)) == {serving.pk}


def test_a_role_that_no_longer_reaches_the_old_key_holds_it_back(
    replace: Replacement, tenant: Tenant, active: KeyRegistration
) -> None:
    generate(tenant)
    replace.with_the_same_role(reaches_old=False)
    (left,) = branchkeys.remaining(tenant)
    assert (left.key_arn, left.reason) == (active.key_arn, "kms_access_denied")
    active.refresh_from_db()
    assert active.status == Status.RETIRING


def test_a_killed_mover_loses_nothing_and_the_next_one_goes_on(
    replace: Replacement, tenant: Tenant, active: KeyRegistration, work: Work
) -> None:
    before = generate(tenant)
    held = timezone.now()
    BranchKey.objects.of(tenant).update(claimed_at=held)  # a worker took it, and was killed
    replace.with_another_role()
    assert BranchKey.objects.of(tenant).get().registration_id == active.pk
    BranchKey.objects.of(tenant).update(claimed_at=held - timedelta(minutes=5))
    work()
    active.refresh_from_db()
    assert active.status == Status.RETIRED
    assert opens(tenant, before)


def test_while_the_key_is_suspended_nothing_moves(
    replace: Replacement, tenant: Tenant, active: KeyRegistration, alice: Member, work: Work
) -> None:
    generate(tenant)
    replace.old.kms.disable_key(KeyId=active.key_arn)
    replace.with_another_role()
    services.suspend(tenant, reason="an incident", actor=acting(alice))
    replace.old.kms.enable_key(KeyId=active.key_arn)
    BranchKey.objects.of(tenant).update(due_at=timezone.now())
    work()
    assert branchkeys.remaining(tenant)[0].count == 1


def test_a_registration_that_wrapped_nothing_is_retired_at_once(
    replace: Replacement, tenant: Tenant, active: KeyRegistration
) -> None:
    replace.with_another_role()
    active.refresh_from_db()
    assert active.status == Status.RETIRED


def test_a_branch_key_never_names_a_registration_that_stopped_serving(tenant: Tenant, active: KeyRegistration) -> None:
    stale = KeyRegistration.objects.select_related("tenant").get(pk=active.pk)
    lifecycle.move(active, Status.RETIRING, actor=audit.SYSTEM)
    with pytest.raises(errors.RegistrationBusy):
        branchkeys.make(tenant, stale)
    assert not BranchKey.objects.filter(registration=stale).exists()


# --- rotation ---------------------------------------------------------------------------------------------------


def test_a_branch_key_is_rotated_on_schedule(tenant: Tenant, active: KeyRegistration, work: Work) -> None:
    before = generate(tenant)
    first = BranchKey.objects.of(tenant).get()
    assert first.due_at is not None
    assert timedelta(days=80) < first.due_at - timezone.now() <= timedelta(days=90)
    BranchKey.objects.of(tenant).update(due_at=timezone.now())
    work()
    first.refresh_from_db()
    assert (first.is_current, first.due_at) == (False, None)
    second = BranchKey.objects.of(tenant).get(is_current=True)
    assert second.pk != first.pk
    assert opens(tenant, before)
    assert datakeys.envelope.branch_key_id(generate(tenant).wrapped_key) == second.pk
    (moved,) = datakeys.rewrap(tenant, [(before.wrapped_key, {"object": "1"})], caller="tests", request_id="r")
    assert isinstance(moved, bytes)
    assert datakeys.envelope.branch_key_id(moved) == second.pk


def test_and_by_hand(tenant: Tenant, active: KeyRegistration, alice: Member, bob: Member, work: Work) -> None:
    with pytest.raises(errors.KeyNotActive):
        services.rotate_branch_key(tenant, reason="an incident", actor=acting(alice))
    generate(tenant)
    with pytest.raises(NotAllowed):
        services.rotate_branch_key(tenant, reason="an incident", actor=acting(bob))
    services.rotate_branch_key(tenant, reason="an incident", actor=acting(alice))
    work()
    assert BranchKey.objects.of(tenant).count() == 2
    assert BranchKey.objects.of(tenant).filter(is_current=True).count() == 1


def test_each_data_scope_has_one_current_branch_key_and_a_rotation_stays_in_its_own(
    tenant: Tenant, active: KeyRegistration, work: Work
) -> None:
    generate(tenant)
    first = BranchKey.objects.of(tenant).get()
    facts = {"tenant": tenant, "registration": active, "key_arn": active.key_arn, "wrapped": first.wrapped}
    mail = BranchKey.objects.create(**facts, data_scope="mail", due_at=timezone.now())
    with pytest.raises(IntegrityError), transaction.atomic():
        BranchKey.objects.create(**facts, data_scope="mail")
    work()
    current = BranchKey.objects.of(tenant).filter(is_current=True)
    assert dict(current.values_list("data_scope", "pk")).keys() == {"default", "mail"}
    assert current.get(data_scope="default") == first
    assert current.get(data_scope="mail") != mail


def test_a_rotation_that_aws_refuses_comes_again_and_the_old_one_goes_on(
    tenant: Tenant, active: KeyRegistration, aws: LocalAws, work: Work
) -> None:
    generate(tenant)
    aws.set_fault("throttling", operation="kms:GenerateDataKeyWithoutPlaintext")
    BranchKey.objects.of(tenant).update(due_at=timezone.now())
    work()
    row = BranchKey.objects.of(tenant).get()
    assert (row.is_current, row.reason) == (True, "aws_throttled")
    assert not AuditEvent.objects.filter(name="keys.branch_key.stays").exists()  # it has nowhere to go
    assert row.due_at is not None and row.due_at > timezone.now()
    assert opens(tenant, generate(tenant))


# --- the platform's key, and the way back ------------------------------------------------------------------------


@pytest.fixture
def platform_key(aws: LocalAws, service_role: ServiceRole, settings: Any) -> str:
    arn: str = aws.client(settings.AWS_ACCOUNT_ID, "kms", REGION).create_key()["KeyMetadata"]["Arn"]
    settings.PLATFORM_KEY_ARN = arn
    return arn


def test_a_tenant_without_byok_uses_the_same_calls_and_moves_over_with_all_it_has(
    platform_key: str, tenant: Tenant, alice: Member, customer: Customer, work: Work
) -> None:
    before = generate(tenant)
    assert services.key_state(tenant).protected_by == "platform"
    assert BranchKey.objects.of(tenant).get().key_arn == platform_key
    customer.follow_the_guide(tenant, acting(alice))
    services.submit_registration(tenant, actor=acting(alice))
    work()
    assert services.key_state(tenant).protected_by == "tenant"
    assert BranchKey.objects.of(tenant).get().key_arn == customer.key_arn
    assert opens(tenant, before)
    customer.kms.disable_key(KeyId=customer.key_arn)
    datakeys.start_anew()
    assert refusal(tenant, before) == "kms_key_disabled"  # what was made before belongs to the tenant's key now, too


def test_leaving_is_a_clean_way_back(
    platform_key: str, tenant: Tenant, active: KeyRegistration, alice: Member, customer: Customer, work: Work
) -> None:
    before = generate(tenant)
    services.leave(tenant, reason="we outsource it", actor=acting(alice))
    assert services.key_state(tenant).protected_by == "platform"
    assert opens(tenant, before) and opens(tenant, generate(tenant))  # while it moves
    work()
    active.refresh_from_db()
    assert (active.status, active.role_claim) == (Status.RETIRED, None)
    assert {row.key_arn for row in BranchKey.objects.of(tenant)} == {platform_key}
    assert not [arn for policy in ServiceRolePolicy.objects.all() for arn in policy.role_arns]
    customer.kms.schedule_key_deletion(KeyId=customer.key_arn, PendingWindowInDays=7)
    assert opens(tenant, before)
    steps = [step.status for step in onboarding.overview(tenant)]
    assert steps == [OnboardingStep.Status.WAITING_FOR_TENANT, *[OnboardingStep.Status.NOT_STARTED] * 5]
    last = RegistrationMove.objects.filter(registration=active).latest("id")
    assert (last.old_status, last.new_status) == ("retiring", "retired")


def test_who_may_not_leave_and_when_nobody_can(
    tenant: Tenant, active: KeyRegistration, alice: Member, bob: Member, aws: LocalAws, settings: Any
) -> None:
    with pytest.raises(errors.PlatformKeyMissing):
        services.leave(tenant, reason="because", actor=acting(alice))
    settings.PLATFORM_KEY_ARN = aws.client(settings.AWS_ACCOUNT_ID, "kms", REGION).create_key()["KeyMetadata"]["Arn"]
    with pytest.raises(NotAllowed):
        services.leave(tenant, reason="because", actor=acting(bob))
    services.suspend(tenant, reason="an incident", actor=acting(alice))
    with pytest.raises(errors.RegistrationBusy):
        services.leave(tenant, reason="because", actor=acting(alice))


# --- giving up what is not in service yet -----------------------------------------------------------------------


def test_a_replacement_can_be_withdrawn_and_the_key_goes_on(
    replace: Replacement, tenant: Tenant, active: KeyRegistration, alice: Member, work: Work
) -> None:
    replace.key()
    services.withdraw(tenant, reason="not now", actor=acting(alice))
    work()
    active.refresh_from_db()
    assert active.status == Status.ACTIVE
    assert not KeyRegistration.objects.of(tenant).in_preparation().exists()
    assert {step.status for step in onboarding.overview(tenant) if step.number != 4} == {"done"}
    assert {arn for policy in ServiceRolePolicy.objects.all() for arn in policy.role_arns} == {active.role_arn}
    with pytest.raises(errors.NoRegistration):
        services.withdraw(tenant, reason="not now", actor=acting(alice))


# --- entry points ---------------------------------------------------------------------------------------------------


def test_the_api_shows_what_is_left_and_does_the_operations(
    platform_key: str, tenant: Tenant, active: KeyRegistration, alice: Member, bob: Member, api_of: Any, work: Work
) -> None:
    generate(tenant)
    base = f"/api/v1/tenants/{tenant.pk}"
    api = api_of(alice)
    body = {"data": json.dumps({"reason": "an exercise"}), "content_type": "application/json"}
    assert api.post(f"{base}/key/rotate", **body).status_code == 202
    work()
    shown = api.get(f"{base}/key/branch-keys").json()
    assert [row["is_current"] for row in shown["items"]] == [True, False] and shown["remaining"] == []
    assert "wrapped" not in json.dumps(shown)
    refused = api_of(bob).post(f"{base}/key/leave", **body)
    assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")
    left = api.post(f"{base}/key/leave", **body)
    assert (left.status_code, left.json()["protected_by"]) == (202, "platform")
    assert api.get(f"{base}/key/branch-keys").json()["remaining"][0]["count"] == 2
    save_draft(tenant, key_arn=active.key_arn, actor=acting(alice))
    assert api.post(f"{base}/registration/withdraw", **body).status_code == 204
    missing = api.post(f"{base}/registration/withdraw", **body)
    assert (missing.status_code, missing.json()["code"]) == (409, "no_registration")
