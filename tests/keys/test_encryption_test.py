"""The encryption test against the local AWS:
what is right becomes active, what is not is named, what is unclear waits."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from conftest import CUSTOMER, OTHER_CUSTOMER, REGION, Customer, acting, health_of, save_draft
from django.utils import timezone
from pytest_django import Settings

from byokportal.localaws.testing import LocalAws
from keys import services
from keys.configuration import apply
from keys.models import CheckResult, EncryptionTest, KeyRegistration, RoleConfiguration
from keys.proof.encryption_test import CHECKS, runner
from tenants import onboarding
from tenants.models import AuditEvent, Member, ServiceRole, Tenant

pytestmark = pytest.mark.django_db
Status = KeyRegistration.Status
Work = Callable[[], None]
Probe = Callable[[KeyRegistration], KeyRegistration]


def steps(tenant: Tenant) -> dict[int, str]:
    return {step.number: step.status for step in onboarding.overview(tenant)}


def verdicts(test: EncryptionTest) -> dict[str, str]:
    return {check.code: check.verdict for check in test.checks.all()}


def events(tenant: Tenant, name: str) -> int:
    return AuditEvent.objects.of(tenant).filter(name=name).count()


def newest(registration: KeyRegistration) -> EncryptionTest:
    registration.refresh_from_db()
    return registration.tests.order_by("-created_at")[0]


def share(tenant: Tenant, alice: Member, work: Work) -> KeyRegistration:
    registration = services.submit_registration(tenant, actor=acting(alice))
    work()
    registration.refresh_from_db()
    return registration


def again(registration: KeyRegistration, alice: Member, work: Work) -> EncryptionTest:
    services.start_test(registration.tenant, actor=acting(alice))
    work()
    return newest(registration)


def first_failure(registration: KeyRegistration) -> CheckResult:
    failed = newest(registration).checks.filter(verdict="fail").first()
    assert failed is not None, verdicts(newest(registration))
    return failed


def trust_with(tenant: Tenant, **statement: Any) -> str:
    policy = json.loads(services.document(tenant, "trust-policy"))
    policy["Statement"][0] |= statement
    return json.dumps(policy)


def only_our_statement_lets_in(customer: Customer) -> None:
    """As in a strict account: the key policy leaves nothing to the IAM policies of roles."""
    policy = json.loads(customer.kms.get_key_policy(KeyId=customer.key_arn, PolicyName="default")["Policy"])
    for statement in policy["Statement"]:
        if statement["Principal"] == {"AWS": f"arn:aws:iam::{customer.account}:root"}:
            statement["Condition"] = {"StringLike": {"aws:PrincipalArn": f"arn:aws:iam::{customer.account}:user/*"}}
    customer.kms.put_key_policy(KeyId=customer.key_arn, PolicyName="default", Policy=json.dumps(policy))


def change_statement(customer: Customer, change: Callable[[dict[str, Any]], object]) -> None:
    only_our_statement_lets_in(customer)
    policy = json.loads(customer.kms.get_key_policy(KeyId=customer.key_arn, PolicyName="default")["Policy"])
    change(next(s for s in policy["Statement"] if s.get("Sid") == "AllowYourAppAccess"))
    customer.kms.put_key_policy(KeyId=customer.key_arn, PolicyName="default", Policy=json.dumps(policy))


def set_permissions(customer: Customer, document: str) -> None:
    arn = customer.iam.list_attached_role_policies(RoleName=customer.role_name)["AttachedPolicies"][0]["PolicyArn"]
    customer.iam.create_policy_version(PolicyArn=arn, PolicyDocument=document, SetAsDefault=True)


class Faults:
    """Stands before the local AWS and answers some calls itself, as AWS does on a bad day."""

    def __init__(self, calm: Any) -> None:
        self.calm = calm
        self.bad: set[str] = set()  # actions that are throttled
        self.on: dict[str, Callable[[], object]] = {}  # action → what happens just before it is answered

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        target = environ.get("HTTP_X_AMZ_TARGET", "").partition(".")[2]
        action = target or next(
            (p.removeprefix(b"Action=").decode() for p in body.split(b"&") if p.startswith(b"Action=")), ""
        )
        self.on.get(action, lambda: None)()
        if action not in self.bad:
            return self.calm(environ, start_response)
        if target:
            kind, answer = "application/x-amz-json-1.1", b'{"__type":"ThrottlingException","message":"Rate exceeded"}'
        else:
            kind, answer = (
                "text/xml",
                (
                    b"<ErrorResponse><Error><Code>Throttling</Code><Message>Rate exceeded</Message></Error>"
                    b"</ErrorResponse>"
                ),
            )
        start_response("400 Bad Request", [("Content-Type", kind), ("Content-Length", str(len(answer)))])
        return [answer]


@pytest.fixture
def faults(aws: LocalAws) -> Iterator[Faults]:
    before = Faults(aws._server.app)
    aws._server.app = before
    yield before
    aws._server.app = before.calm


# --- it works -------------------------------------------------------------------------------------------------------


def test_a_right_set_up_becomes_active_at_the_first_look(
    tenant: Tenant, alice: Member, customer: Customer, work: Work
) -> None:
    customer.follow_the_guide(tenant, acting(alice))
    registration = share(tenant, alice, work)
    assert EncryptionTest.objects.get().attempts == 1, "nothing is waited for: one look tells"
    assert (registration.status, registration.reason) == (Status.ACTIVE, "")
    assert registration.role_claim == f"{CUSTOMER}/aiforworkbyokaccessrole"
    assert registration.activated_at is not None
    assert health_of(registration).next_probe_at is not None
    test = newest(registration)
    assert (test.status, test.verdict, test.due_at, test.claimed_at) == ("finished", "pass", None, None)
    assert verdicts(test) == {check.code: "pass" for check in CHECKS}
    assert [check.code for check in test.checks.all()] == [check.code for check in CHECKS]
    assert steps(tenant) == {1: "done", 2: "done", 3: "done", 4: "skipped", 5: "done", 6: "done"}
    configuration = RoleConfiguration.objects.get(tenant=tenant)
    assert (configuration.status, configuration.finished_at) == (RoleConfiguration.Status.DONE, test.started_at)
    assert (events(tenant, "keys.registration.activated"), events(tenant, "keys.test.finished")) == (1, 1)
    for check in test.checks.exclude(code__startswith="hygiene."):
        assert check.evidence["request_id"], check.code


def test_the_external_id_is_probed_before_a_call_that_works_and_nothing_secret_is_kept(
    tenant: Tenant, active: KeyRegistration, aws: LocalAws, alice: Member, work: Work
) -> None:
    aws.calls.clear()
    test = again(active, alice, work)
    from_service_role = [
        operation for service, operation, account in aws.calls if (service, account) == ("sts", "999900001111")
    ]
    # base principal → service role; who are we; canary; without, wrong, right; the base principal itself;
    # what more it may do
    assert from_service_role == ["AssumeRole", "GetCallerIdentity", *6 * ["AssumeRole"]]
    kms_calls = [operation for service, operation, _ in aws.calls if service == "kms"]
    assert kms_calls == [
        "DescribeKey",
        "DescribeKey",
        "GenerateDataKey",
        "GenerateDataKeyWithoutPlaintext",
        "Encrypt",
        "Decrypt",
        "ReEncrypt",
        "Decrypt",
        "CreateGrant",
        "GetKeyRotationStatus",
    ]
    kept = json.dumps([[check.evidence, check.remedy] for check in test.checks.all()])
    assert "ASIA" not in kept
    assert "AKIA" not in kept


# --- what is refused, and what is named -------------------------------------------------------------------------------


def test_any_external_id_is_insecure_trust(tenant: Tenant, alice: Member, customer: Customer, work: Work) -> None:
    customer.follow_the_guide(
        tenant, acting(alice), trust=trust_with(tenant, Condition={"StringLike": {"sts:ExternalId": "*"}})
    )
    registration = share(tenant, alice, work)
    assert (registration.status, registration.reason) == (Status.REJECTED, "insecure_trust")
    found = newest(registration)
    looked_at = ("role.assumable", "external_id.required", "external_id.exact")
    assert [verdicts(found)[code] for code in looked_at] == ["pass", "pass", "fail"]
    assert steps(tenant)[2] == "failed"
    assert steps(tenant)[5] == "waiting_for_tenant"
    assert registration.role_claim is None


def test_an_optional_external_id_is_insecure_trust(
    tenant: Tenant, alice: Member, customer: Customer, work: Work
) -> None:
    condition = {"StringEqualsIfExists": {"sts:ExternalId": tenant.external_id}}
    customer.follow_the_guide(tenant, acting(alice), trust=trust_with(tenant, Condition=condition))
    registration = share(tenant, alice, work)
    assert (registration.status, registration.reason) == (Status.REJECTED, "insecure_trust")
    assert first_failure(registration).code == "external_id.required"


def test_wide_trust_gets_no_grace_and_the_role_is_not_used(
    tenant: Tenant, alice: Member, customer: Customer, work: Work, settings: Settings, aws: LocalAws
) -> None:
    settings.PROPAGATION_WINDOW, settings.EXTERNAL_ID_PROBE_GAP = 300, 60
    customer.follow_the_guide(tenant, acting(alice), trust=trust_with(tenant, Principal={"AWS": "*"}, Condition={}))
    aws.calls.clear()
    registration = share(tenant, alice, work)
    assert (registration.status, registration.reason) == (Status.REJECTED, "insecure_trust")
    assert [operation for service, operation, _ in aws.calls if service == "kms"] == []
    assert events(tenant, "keys.registration.rejected") == 1


def test_a_wrong_external_id_is_a_clock_first_and_a_rejection_when_the_window_is_over(
    tenant: Tenant, alice: Member, customer: Customer, work: Work, settings: Settings
) -> None:
    settings.PROPAGATION_WINDOW = 300
    other = {"StringEquals": {"sts:ExternalId": "byok-of-somebody-else"}}
    with time_machine.travel(timezone.now(), tick=True) as now:
        customer.follow_the_guide(tenant, acting(alice), trust=trust_with(tenant, Condition=other))
        registration = share(tenant, alice, work)
        assert registration.status == Status.TESTING
        test = newest(registration)
        check = test.checks.get(code="role.assumable")
        assert (test.status, test.verdict, check.verdict) == ("waiting", "unknown", "unknown")
        assert "propagation_delay" in check.causes
        assert check.evidence["final_at"]
        # What is likely is said at once; when it counts is said beside it.
        assert json.loads(check.corrected) == json.loads(services.document(tenant, "trust-policy"))
        assert tenant.external_id in check.remedy
        assert check.counts_at is not None
        assert abs((check.counts_at - registration.changed_at).total_seconds() - 300) < 2
        assert test.due_at is not None
        assert 0 < (test.due_at - timezone.now()).total_seconds() <= 5
        looked = 0
        while newest(registration).finished_at is None:
            due_at = newest(registration).due_at
            assert due_at is not None
            now.move_to(due_at)
            work()
            looked += 1
        assert looked == 8  # 5, 15, 30, 60, 120, 180, 240, 300 s
        assert 299 <= (timezone.now() - registration.changed_at).total_seconds() < 303
        registration.refresh_from_db()
        assert (registration.status, registration.reason) == (Status.REJECTED, "role_not_assumable")
        failed = first_failure(registration)
        assert (failed.code, failed.step, failed.document) == ("role.assumable", 2, "trust-policy")
        assert {"external_id_mismatch", "role_not_found", "trust_policy_principal_mismatch"} <= set(failed.causes)
        assert tenant.external_id in failed.remedy
        assert json.loads(failed.corrected) == json.loads(services.document(tenant, "trust-policy"))
        assert verdicts(newest(registration))["external_id.required"] == "skipped"

        customer.set_trust(failed.corrected)
        assert again(registration, alice, work).verdict == "pass"


def test_a_refusal_that_was_propagation_passes_without_ever_having_been_red(
    tenant: Tenant, alice: Member, customer: Customer, work: Work, settings: Settings
) -> None:
    settings.PROPAGATION_WINDOW = 300
    with time_machine.travel(timezone.now(), tick=True) as now:
        customer.follow_the_guide(
            tenant, acting(alice), trust=trust_with(tenant, Principal={"AWS": f"arn:aws:iam::{CUSTOMER}:root"})
        )
        registration = share(tenant, alice, work)
        assert registration.status == Status.TESTING
        customer.set_trust(services.document(tenant, "trust-policy"))
        now.shift(6)
        work()
        registration.refresh_from_db()
        assert registration.status == Status.ACTIVE
        assert events(tenant, "keys.registration.rejected") == 0


def test_keep_testing_until_makes_the_window_longer(
    tenant: Tenant, alice: Member, customer: Customer, work: Work
) -> None:
    customer.follow_the_guide(
        tenant, acting(alice), trust=trust_with(tenant, Principal={"AWS": f"arn:aws:iam::{CUSTOMER}:root"})
    )
    registration = share(tenant, alice, work)
    assert registration.status == Status.REJECTED
    until = timezone.now() + timedelta(hours=2)
    services.start_test(tenant, actor=acting(alice), keep_until=until)
    work()
    registration.refresh_from_db()
    assert (registration.status, newest(registration).status) == (Status.TESTING, "waiting")


@pytest.mark.parametrize(
    "action", ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
)
def test_an_action_missing_in_the_permissions_policy_is_named(
    tenant: Tenant, alice: Member, customer: Customer, work: Work, aws: LocalAws, action: str
) -> None:
    """Role and key in two accounts, as in a bank: both sides have to allow."""
    central = Customer(aws, account=OTHER_CUSTOMER)
    save_draft(tenant, key_arn=central.create_key(), actor=acting(alice))
    permissions = json.loads(services.document(tenant, "permissions-policy"))
    permissions["Statement"][0]["Action"].remove(action)
    customer.create_role(services.document(tenant, "trust-policy"), json.dumps(permissions))
    save_draft(tenant, role_arn=customer.role_arn, actor=acting(alice))
    central.add_key_statement(json.loads(services.document(tenant, "key-policy-statement")))

    registration = share(tenant, alice, work)
    assert (registration.status, registration.reason) == (Status.REJECTED, "kms_access_denied")
    failed = first_failure(registration)
    assert (failed.step, failed.document, failed.causes) == (
        2,
        "permissions-policy",
        ["role_permissions_policy_missing_action"],
    )
    assert action in failed.remedy
    assert (steps(tenant)[1], steps(tenant)[2]) == (
        "done" if action != "kms:DescribeKey" else steps(tenant)[1],
        "failed",
    )

    set_permissions(customer, failed.corrected)
    assert again(registration, alice, work).verdict == "pass"
    registration.refresh_from_db()
    assert registration.status == Status.ACTIVE
    assert registration.warnings  # two accounts: worth knowing, no fault


def test_a_missing_key_policy_statement_is_step_3(
    tenant: Tenant, alice: Member, customer: Customer, work: Work
) -> None:
    customer.follow_the_guide(tenant, acting(alice))
    change_statement(
        customer, lambda statement: statement.update(Principal={"AWS": f"arn:aws:iam::{CUSTOMER}:user/administrator"})
    )
    registration = share(tenant, alice, work)
    assert (registration.status, registration.reason) == (Status.REJECTED, "kms_access_denied")
    failed = first_failure(registration)
    assert (failed.step, failed.document) == (3, "key-policy-statement")
    assert {"key_policy_missing_statement", "key_policy_wrong_principal"} <= set(failed.causes)
    assert steps(tenant)[3] == "failed"
    assert steps(tenant)[2] == "done"
    customer.add_key_statement(json.loads(failed.corrected))
    assert again(registration, alice, work).verdict == "pass"
    assert steps(tenant)[3] == "done"


def test_an_action_missing_in_the_key_policy_is_named_alone(
    tenant: Tenant, alice: Member, customer: Customer, work: Work
) -> None:
    customer.follow_the_guide(tenant, acting(alice))
    change_statement(customer, lambda statement: statement["Action"].remove("kms:ReEncrypt*"))
    set_permissions(customer, services.document(tenant, "permissions-policy").replace('"kms:ReEncrypt*",', ""))
    registration = share(tenant, alice, work)
    failed = first_failure(registration)
    assert (registration.status, failed.code) == (Status.REJECTED, "use.re_encrypt")
    assert len(failed.causes) == 1


def test_a_key_in_another_account_without_our_statement_may_as_well_not_exist(
    tenant: Tenant, alice: Member, customer: Customer, work: Work, aws: LocalAws
) -> None:
    central = Customer(aws, account=OTHER_CUSTOMER)
    save_draft(tenant, key_arn=central.create_key(), actor=acting(alice))
    customer.create_role(services.document(tenant, "trust-policy"), services.document(tenant, "permissions-policy"))
    save_draft(tenant, role_arn=customer.role_arn, actor=acting(alice))
    registration = share(tenant, alice, work)
    failed = first_failure(registration)
    assert (failed.code, failed.step) == ("use.describe", 3)
    assert {"key_policy_missing_statement", "key_not_found"} <= set(failed.causes)
    assert verdicts(newest(registration))["key.exists"] == "skipped"


def test_a_step_that_was_mended_is_done_again_though_another_one_fails(
    tenant: Tenant, alice: Member, customer: Customer, work: Work
) -> None:
    customer.follow_the_guide(tenant, acting(alice))
    customer.kms.disable_key(KeyId=customer.key_arn)
    registration = share(tenant, alice, work)
    assert (steps(tenant)[1], steps(tenant)[3]) == ("failed", "waiting_for_tenant")
    customer.kms.enable_key(KeyId=customer.key_arn)
    change_statement(customer, lambda statement: statement["Action"].remove("kms:Decrypt"))
    set_permissions(customer, services.document(tenant, "permissions-policy").replace('"kms:Decrypt",', ""))
    failed_step = first_failure(registration).step if again(registration, alice, work).verdict == "fail" else 0
    assert steps(tenant)[1] == "done"
    assert steps(tenant)[failed_step] == "failed"


@pytest.mark.parametrize(
    ("spoil", "code", "reason"),
    [
        (lambda c: c.kms.disable_key(KeyId=c.key_arn), "key.enabled", "kms_key_disabled"),
        (
            lambda c: c.kms.schedule_key_deletion(KeyId=c.key_arn, PendingWindowInDays=7),
            "key.enabled",
            "kms_key_pending_deletion",
        ),
    ],
)
def test_a_key_that_is_not_enabled_is_step_1_at_once(
    tenant: Tenant,
    alice: Member,
    customer: Customer,
    work: Work,
    settings: Settings,
    spoil: Callable[[Customer], object],
    code: str,
    reason: str,
) -> None:
    settings.PROPAGATION_WINDOW = 300
    customer.follow_the_guide(tenant, acting(alice))
    spoil(customer)
    registration = share(tenant, alice, work)
    assert (registration.status, registration.reason) == (Status.REJECTED, reason)
    failed = first_failure(registration)
    assert (failed.code, failed.step, failed.document, failed.corrected) == (code, 1, "key", "")
    assert steps(tenant)[1] == "failed"
    assert verdicts(newest(registration))["use.encrypt"] == "skipped"


def test_an_asymmetric_key_is_step_1(tenant: Tenant, alice: Member, customer: Customer, work: Work) -> None:
    save_draft(tenant, key_arn=customer.create_key(KeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT"), actor=acting(alice))
    customer.create_role(services.document(tenant, "trust-policy"), services.document(tenant, "permissions-policy"))
    save_draft(tenant, role_arn=customer.role_arn, actor=acting(alice))
    customer.add_key_statement(json.loads(services.document(tenant, "key-policy-statement")))
    registration = share(tenant, alice, work)
    assert (registration.status, registration.reason) == (Status.REJECTED, "key.symmetric")
    assert first_failure(registration).step == 1


def test_a_key_that_does_not_exist_is_step_1(tenant: Tenant, alice: Member, customer: Customer, work: Work) -> None:
    customer.follow_the_guide(tenant, acting(alice))
    missing = f"arn:aws:kms:{REGION}:{CUSTOMER}:key/00000000-0000-4000-8000-000000000000"
    save_draft(tenant, key_arn=missing, actor=acting(alice))
    registration = share(tenant, alice, work)
    assert registration.status == Status.REJECTED
    assert first_failure(registration).step == 1


# --- what is ours, and what is nobody's -------------------------------------------------------------------------------


def test_our_policy_detached_waits_for_kore_and_blames_nobody(
    tenant: Tenant, alice: Member, customer: Customer, work: Work, aws: LocalAws, service_role: ServiceRole
) -> None:
    customer.follow_the_guide(tenant, acting(alice))
    registration = services.submit_registration(tenant, actor=acting(alice))
    test_id = apply.apply(str(registration.configurations.get().pk))
    iam = aws.client("999900001111", "iam", "us-east-1")
    (attached,) = iam.list_attached_role_policies(RoleName=service_role.name)["AttachedPolicies"]
    iam.detach_role_policy(RoleName=service_role.name, PolicyArn=attached["PolicyArn"])
    aws.calls.clear()
    for _ in range(3):
        EncryptionTest.objects.filter(pk=test_id).update(due_at=timezone.now())
        work()
    test = newest(registration)
    assert (test.status, test.verdict, registration.status) == ("waiting_for_kore", "unknown", Status.TESTING)
    assert test.due_at is not None
    assert test.due_at > timezone.now()
    assert verdicts(test)["ours.policy"] == "unknown"
    assert {verdict for code, verdict in verdicts(test).items() if not code.startswith("ours.")} == {"skipped"}
    assert not [call for call in aws.calls if call[2] == CUSTOMER]  # the tenant's role was not touched
    assert steps(tenant)[5] == "waiting_for_kore"
    assert steps(tenant)[2] == "done"
    assert events(tenant, "keys.test.waits_for_kore") == 1
    assert registration.configurations.get().status == RoleConfiguration.Status.PROPAGATING

    iam.attach_role_policy(RoleName=service_role.name, PolicyArn=attached["PolicyArn"])
    EncryptionTest.objects.filter(pk=test_id).update(due_at=timezone.now())
    work()
    registration.refresh_from_db()
    assert registration.status == Status.ACTIVE
    assert steps(tenant)[5] == "done"


def test_a_policy_of_ours_that_somebody_changed_is_drift_and_ours_to_mend(
    tenant: Tenant, alice: Member, active: KeyRegistration, work: Work, aws: LocalAws, service_role: ServiceRole
) -> None:
    iam = aws.client("999900001111", "iam", "us-east-1")
    (attached,) = iam.list_attached_role_policies(RoleName=service_role.name)["AttachedPolicies"]
    wide = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": [active.role_arn, "*"]}],
    }
    iam.create_policy_version(PolicyArn=attached["PolicyArn"], PolicyDocument=json.dumps(wide), SetAsDefault=True)
    test = again(active, alice, work)
    assert test.checks.get(code="ours.policy").evidence["why"] == "our policy is not what we last wrote"
    assert (active.status, test.verdict) == (Status.ACTIVE, "unknown")
    assert steps(tenant)[5] == "done"  # a re-test of a key in service takes nothing back


def test_a_broken_canary_waits_for_kore(
    tenant: Tenant, alice: Member, customer: Customer, work: Work, aws: LocalAws, service_role: ServiceRole
) -> None:
    customer.follow_the_guide(tenant, acting(alice))
    canary = aws.client("999900002222", "iam", "us-east-1")
    name = service_role.canary_role_arn.rpartition("/")[2]
    canary.delete_role_policy(RoleName=name, PolicyName="byok-outsider")
    canary.delete_role(RoleName=name)
    registration = share(tenant, alice, work)
    assert registration.status == Status.TESTING
    assert verdicts(newest(registration))["ours.canary"] == "unknown"
    assert steps(tenant)[5] == "waiting_for_kore"


@pytest.mark.parametrize("action", ["DescribeKey", "Encrypt"])
def test_throttling_is_unknown_for_as_long_as_it_lasts(
    tenant: Tenant, alice: Member, customer: Customer, work: Work, faults: Faults, action: str
) -> None:
    customer.follow_the_guide(tenant, acting(alice))
    faults.bad = {action}
    registration = share(tenant, alice, work)
    EncryptionTest.objects.filter(registration=registration).update(due_at=timezone.now())
    work()
    test = newest(registration)
    assert (registration.status, test.status, test.verdict) == (Status.TESTING, "waiting", "unknown")
    assert test.due_at is not None
    assert 0 < (test.due_at - timezone.now()).total_seconds() <= 60 * 1.2
    assert "fail" not in verdicts(test).values()
    assert events(tenant, "keys.test.waits_for_kore") == 0
    faults.bad = set()
    EncryptionTest.objects.filter(registration=registration).update(due_at=timezone.now())
    work()
    registration.refresh_from_db()
    assert registration.status == Status.ACTIVE


def test_a_throttled_probe_is_no_refusal(
    tenant: Tenant, alice: Member, customer: Customer, work: Work, faults: Faults
) -> None:
    customer.follow_the_guide(tenant, acting(alice))
    faults.bad = {"AssumeRole"}
    registration = share(tenant, alice, work)
    assert registration.status == Status.TESTING
    assert "fail" not in verdicts(newest(registration)).values()


# --- twice ----------------------------------------------------------------------------------------------------------


def test_the_external_id_is_probed_again_a_gap_later(
    tenant: Tenant, alice: Member, customer: Customer, work: Work, settings: Settings
) -> None:
    settings.EXTERNAL_ID_PROBE_GAP = 60
    with time_machine.travel(timezone.now(), tick=True) as now:
        customer.follow_the_guide(tenant, acting(alice))
        registration = share(tenant, alice, work)
        test = newest(registration)
        assert (registration.status, test.status) == (Status.TESTING, "waiting")
        assert {code for code, verdict in verdicts(test).items() if verdict == "unknown"} == {
            "external_id.required",
            "external_id.exact",
        }
        assert test.refused_at is not None
        assert test.due_at == test.refused_at + timedelta(seconds=60)
        now.shift(58)
        work()
        registration.refresh_from_db()
        assert registration.status == Status.TESTING
        now.shift(3)
        work()
        registration.refresh_from_db()
        assert registration.status == Status.ACTIVE


def test_trust_that_opens_between_the_two_looks_is_found(
    tenant: Tenant, alice: Member, customer: Customer, work: Work, settings: Settings
) -> None:
    settings.EXTERNAL_ID_PROBE_GAP = 60
    with time_machine.travel(timezone.now(), tick=True) as now:
        customer.follow_the_guide(tenant, acting(alice))
        registration = share(tenant, alice, work)
        customer.set_trust(trust_with(tenant, Condition={}))
        now.shift(61)
        work()
        registration.refresh_from_db()
        assert (registration.status, registration.reason) == (Status.REJECTED, "insecure_trust")


def test_wide_trust_of_a_key_in_service_suspends_only_when_seen_twice(
    tenant: Tenant, alice: Member, active: KeyRegistration, customer: Customer, work: Work, settings: Settings
) -> None:
    settings.EXTERNAL_ID_PROBE_GAP = 60
    with time_machine.travel(timezone.now(), tick=True) as now:
        customer.set_trust(trust_with(tenant, Condition={}))
        test = again(active, alice, work)
        assert (active.status, test.status) == (Status.ACTIVE, "waiting")
        now.shift(61)
        work()
        active.refresh_from_db()
        assert (active.status, active.suspended_by, active.reason) == (Status.SUSPENDED, "aws", "insecure_trust")
        assert newest(active).verdict == "fail"
        assert steps(tenant)[2] == "failed"

        customer.set_trust(services.document(tenant, "trust-policy"))
        again(active, alice, work)
        now.shift(61)
        work()
        active.refresh_from_db()
        assert (active.status, active.reason) == (Status.ACTIVE, "the trust policy was corrected")
        assert steps(tenant)[2] == "done"


def test_good_probes_do_not_end_a_suspension_for_wide_trust(
    tenant: Tenant, alice: Member, active: KeyRegistration, customer: Customer, work: Work, probe_now: Probe
) -> None:
    customer.set_trust(trust_with(tenant, Condition={}))
    again(active, alice, work)
    assert active.reason == "insecure_trust"
    for _ in range(4):
        probe_now(active)
    assert (active.status, active.reason) == (Status.SUSPENDED, "insecure_trust")


def test_testing_a_key_in_service_never_takes_it_offline(
    tenant: Tenant, alice: Member, active: KeyRegistration, customer: Customer, work: Work
) -> None:
    customer.kms.disable_key(KeyId=customer.key_arn)
    test = again(active, alice, work)
    assert (active.status, test.verdict) == (Status.ACTIVE, "fail")
    assert steps(tenant)[1] == "failed"
    customer.kms.enable_key(KeyId=customer.key_arn)
    assert again(active, alice, work).verdict == "pass"
    assert steps(tenant)[1] == "done"


# --- whose role, which key --------------------------------------------------------------------------------------------


def test_a_role_that_another_tenant_serves_with_is_refused_neutrally(
    tenant: Tenant, alice: Member, mallory: Member, customer: Customer, work: Work, service_role: ServiceRole
) -> None:
    both = {"StringEquals": {"sts:ExternalId": [tenant.external_id, mallory.tenant.external_id]}}
    customer.follow_the_guide(tenant, acting(alice), trust=trust_with(tenant, Condition=both))
    save_draft(mallory.tenant, key_arn=customer.key_arn, role_arn=customer.role_arn, actor=acting(mallory))
    registrations = [services.submit_registration(who.tenant, actor=acting(who)) for who in (alice, mallory)]
    work()
    for registration in registrations:
        registration.refresh_from_db()
    assert sorted(registration.status for registration in registrations) == [Status.ACTIVE, Status.REJECTED]
    loser = next(registration for registration in registrations if registration.status == Status.REJECTED)
    assert loser.reason == "role_arn_taken"
    failed = first_failure(loser)
    assert (failed.code, failed.step) == ("account.identity", 2)
    winner = next(registration for registration in registrations if registration.status == Status.ACTIVE)
    assert str(winner.tenant_id) not in failed.remedy
    assert steps(loser.tenant)[2] == "failed"


def test_a_new_key_for_the_same_role_retires_the_old_one(
    tenant: Tenant, alice: Member, active: KeyRegistration, customer: Customer, work: Work
) -> None:
    save_draft(tenant, key_arn=customer.create_key(), actor=acting(alice))
    customer.add_key_statement(json.loads(services.document(tenant, "key-policy-statement")))
    set_permissions(customer, services.document(tenant, "permissions-policy"))
    replacement = share(tenant, alice, work)
    active.refresh_from_db()
    assert (replacement.status, active.status) == (Status.ACTIVE, Status.RETIRED)  # no branch key names it
    assert replacement.role_claim == f"{CUSTOMER}/aiforworkbyokaccessrole"


def test_a_replacement_waits_while_a_person_has_suspended_the_key(
    tenant: Tenant, alice: Member, active: KeyRegistration, customer: Customer, work: Work
) -> None:
    services.suspend(tenant, reason="incident 12", actor=acting(alice))
    save_draft(tenant, key_arn=customer.create_key(), actor=acting(alice))
    customer.add_key_statement(json.loads(services.document(tenant, "key-policy-statement")))
    set_permissions(customer, services.document(tenant, "permissions-policy"))
    replacement = share(tenant, alice, work)
    active.refresh_from_db()
    assert (replacement.status, active.status, active.suspended_by) == (Status.TESTING, Status.SUSPENDED, "tenant")
    assert newest(replacement).status == "waiting"


# --- the row is the job -----------------------------------------------------------------------------------------------


def test_a_killed_worker_loses_nothing_and_two_workers_do_it_once(
    tenant: Tenant, alice: Member, active: KeyRegistration, work: Work, aws: LocalAws
) -> None:
    test = services.start_test(tenant, actor=acting(alice))
    # A worker claimed it, wrote a part, and was killed.
    EncryptionTest.objects.filter(pk=test.pk).update(claimed_at=timezone.now(), status="running", attempts=1)
    CheckResult.objects.create(tenant=tenant, test=test, position=0, code="ours.identity", step=5, verdict="unknown")
    aws.calls.clear()
    runner.run(str(test.pk))
    assert aws.calls == []  # its claim still stands
    EncryptionTest.objects.filter(pk=test.pk).update(claimed_at=timezone.now() - timedelta(seconds=100))
    runner.run(str(test.pk))
    runner.run(str(test.pk))
    test.refresh_from_db()
    assert (test.status, test.verdict, test.attempts) == ("finished", "pass", 2)
    assert test.checks.count() == len(CHECKS)
    assert events(tenant, "keys.test.finished") == 2  # with the one that activated


def test_a_registration_retired_meanwhile_cancels_the_test(
    tenant: Tenant, alice: Member, customer: Customer, work: Work, settings: Settings
) -> None:
    settings.EXTERNAL_ID_PROBE_GAP = 60
    customer.follow_the_guide(tenant, acting(alice))
    registration = share(tenant, alice, work)
    KeyRegistration.objects.filter(pk=registration.pk).update(status=Status.RETIRED)
    EncryptionTest.objects.filter(registration=registration).update(due_at=timezone.now())
    work()
    test = newest(registration)
    assert (test.status, test.finished_at is not None, test.due_at) == ("cancelled", True, None)
