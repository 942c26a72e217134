"""Step 5: our service role comes to name the tenant's role; what stops it, and what a killed worker leaves behind."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from conftest import OTHER_CUSTOMER, Customer, acting, acting_staff, owner_of, save_draft
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from byokportal.errors import InvalidInput
from byokportal.localaws import iam as local_iam
from byokportal.localaws.errors import AwsError
from byokportal.localaws.testing import LocalAws
from keys import errors, services
from keys.access import Access
from keys.aws import iam, sessions
from keys.configuration import apply, lease, opening, packing
from keys.models import EncryptionTest, KeyRegistration, RoleConfiguration, ServiceRolePolicy
from support import follow
from support.models import Ticket
from tenants import audit, onboarding
from tenants import services as tenant_services
from tenants.models import AuditEvent, Member, OnboardingStep, ServiceRole, Tenant

Status = RoleConfiguration.Status
KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = "arn:aws:iam::111122223333:role/AIforWorkByokAccessRole"
WRITES = {"CreatePolicy", "CreatePolicyVersion", "DeletePolicyVersion", "AttachRolePolicy"}


class Killed(BaseException):
    """The worker is gone: nothing after this line runs, save what a `finally` does."""


@pytest.fixture
def share(service_role: ServiceRole) -> Callable[..., RoleConfiguration]:
    """Return a function that makes a tenant and shares a Role ARN: the configuration is queued and not yet done."""
    shared = 0

    def one(role_arn: str = "") -> RoleConfiguration:
        nonlocal shared
        shared += 1
        tenant = tenant_services.create_tenant(f"T{shared}", owner_email=f"t{shared}@x.example", actor=audit.COMMAND)
        owner = acting(owner_of(tenant))
        save_draft(tenant, key_arn=KEY, role_arn=role_arn or f"{ROLE}{shared}", actor=owner)
        services.submit_registration(tenant, actor=owner)
        return RoleConfiguration.objects.get(tenant=tenant)

    return one


@pytest.fixture
def our_iam(aws: LocalAws, settings: Any) -> Any:
    """IAM of our own account, as somebody else with rights there would use it."""
    return aws.client(settings.AWS_ACCOUNT_ID, "iam", "us-east-1")


def in_iam(policy: ServiceRolePolicy) -> dict[str, Any]:
    written = iam.read_policy(policy.policy_arn)
    assert written is not None
    return written.document


def named(service_role: ServiceRole) -> list[str]:
    """Return the role ARNs that IAM lets the service role assume, the canary apart."""
    return [
        arn
        for policy in service_role.policies.all()
        for statement in in_iam(policy)["Statement"]
        if statement["Effect"] == "Allow"
        for arn in statement["Resource"]
    ]


def due_again(configuration: RoleConfiguration) -> RoleConfiguration:
    """Let the time pass that a postponed row or a lost claim waits for."""
    RoleConfiguration.objects.filter(pk=configuration.pk).update(due_at=timezone.now(), claimed_at=None)
    configuration.refresh_from_db()
    return configuration


def done(configuration: RoleConfiguration) -> RoleConfiguration:
    apply.apply(str(configuration.pk))
    configuration.refresh_from_db()
    return configuration


def events(name: str) -> int:
    return AuditEvent.objects.filter(name=name).count()


@contextmanager
def killed_at(sql: str) -> Iterator[None]:
    """Kill the worker as it is about to send a statement that starts like this to the database."""

    def look(execute: Any, statement: str, *rest: Any) -> Any:
        if statement.lower().startswith(sql):
            raise Killed
        return execute(statement, *rest)

    with connection.execute_wrapper(look), pytest.raises(Killed):
        yield


# --- the way it goes ------------------------------------------------------------------------------------------------


def test_our_policy_names_the_role_and_the_test_follows(
    share: Callable[..., RoleConfiguration], service_role: ServiceRole
) -> None:
    configuration = share(ROLE)
    test_id = apply.apply(str(configuration.pk))
    configuration.refresh_from_db()
    assert named(service_role) == [ROLE]
    assert configuration.status == Status.PROPAGATING
    assert configuration.evidence["version"] == "v1"
    assert configuration.evidence["request_id"]
    policy = service_role.policies.get()
    assert policy.policy_arn == configuration.evidence["policy_arn"]
    assert policy.written_hash == configuration.evidence["sha256"] == packing.digest(in_iam(policy))
    assert iam.attached(service_role.name) == {policy.policy_arn}
    registration = configuration.registration
    registration.refresh_from_db()
    assert registration.status == KeyRegistration.Status.TESTING
    test = EncryptionTest.objects.get(registration=registration)
    assert (test.pk, test.requested_by) == (test_id, "system")
    assert test.due_at is not None
    assert test.due_at <= timezone.now()
    assert events("keys.configuration.written") == 1
    service_role.refresh_from_db()
    assert service_role.lease_until is None


def test_tenants_share_a_policy_and_each_adds_a_version(
    share: Callable[..., RoleConfiguration], service_role: ServiceRole, our_iam: Any
) -> None:
    configurations = [done(share()) for _ in range(7)]
    assert {configuration.status for configuration in configurations} == {Status.PROPAGATING}
    assert sorted(named(service_role)) == sorted(configuration.role_arn for configuration in configurations)
    versions = our_iam.list_policy_versions(PolicyArn=service_role.policies.get().policy_arn)["Versions"]
    assert [version["VersionId"] for version in versions if version["IsDefaultVersion"]] == ["v7"]
    assert len(versions) == 5  # IAM keeps no more; the oldest went


def test_a_full_policy_makes_room_in_the_next(
    share: Callable[..., RoleConfiguration], service_role: ServiceRole
) -> None:
    long = [f"arn:aws:iam::111122223333:role/{letter * 500}/{letter * 60}" for letter in "abcdefghij"]
    for arn in long:
        done(share(arn))
    assert sorted(named(service_role)) == long
    assert [policy.slot for policy in service_role.policies.all()] == [0, 1]
    assert len(iam.attached(service_role.name)) == 2


def test_a_role_that_our_policy_names_already_is_read_back_and_not_written(
    share: Callable[..., RoleConfiguration], service_role: ServiceRole, aws: LocalAws
) -> None:
    done(share(ROLE))
    aws.calls.clear()
    again = done(share(ROLE))
    assert again.status == Status.PROPAGATING
    assert not WRITES & {operation for _, operation, _ in aws.calls}
    assert "GetPolicyVersion" in {operation for _, operation, _ in aws.calls}
    assert named(service_role) == [ROLE]


def test_the_service_role_cannot_assume_a_role_of_our_own_account(
    service_role: ServiceRole, share: Callable[..., RoleConfiguration], our_iam: Any
) -> None:
    done(share())
    trusting = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": {"AWS": service_role.arn}, "Action": "sts:AssumeRole"}],
        }
    )
    own = our_iam.create_role(RoleName="deployment", AssumeRolePolicyDocument=trusting)["Role"]["Arn"]
    access = Access.of_texts(tenant="ours", service_role_arn=service_role.arn, external_id="", role_arn=own)
    outcome = sessions.probe(access, None, region="eu-central-1", session="byok-test")
    assert outcome.allowed is False


def test_nothing_of_it_happens_twice(share: Callable[..., RoleConfiguration], aws: LocalAws) -> None:
    configuration = done(share())
    aws.calls.clear()
    assert apply.apply(str(configuration.pk)) is None
    assert aws.calls == []
    assert events("keys.configuration.written") == 1


def test_a_row_that_another_worker_has_is_left_to_it(share: Callable[..., RoleConfiguration], aws: LocalAws) -> None:
    configuration = share()
    RoleConfiguration.objects.filter(pk=configuration.pk).update(claimed_at=timezone.now())
    aws.calls.clear()
    assert apply.apply(str(configuration.pk)) is None
    assert ("iam", "CreatePolicy") not in {(service, operation) for service, operation, _ in aws.calls}


def test_a_withdrawn_registration_is_not_tested(share: Callable[..., RoleConfiguration]) -> None:
    configuration = share()
    KeyRegistration.objects.filter(pk=configuration.registration_id).update(status=KeyRegistration.Status.RETIRED)
    assert apply.apply(str(configuration.pk)) is None
    assert not EncryptionTest.objects.exists()


# --- removal ---------------------------------------------------------------------------------------------------------


def removal_of(configuration: RoleConfiguration) -> RoleConfiguration:
    """Queue the removal of the role that a configuration added, as a changed draft does."""
    return RoleConfiguration.objects.create(
        tenant=configuration.tenant,
        registration=configuration.registration,
        service_role=configuration.service_role,
        action=RoleConfiguration.Action.REMOVE,
        role_arn=configuration.role_arn,
        status=Status.QUEUED,
    )


def test_a_role_is_removed_once_nobody_names_it(
    share: Callable[..., RoleConfiguration], service_role: ServiceRole
) -> None:
    stays, goes = done(share()), done(share())
    KeyRegistration.objects.filter(pk=goes.registration_id).update(status=KeyRegistration.Status.DRAFT)
    removal = done(removal_of(goes))
    assert removal.status == Status.DONE
    assert named(service_role) == [stays.role_arn]
    assert events("keys.configuration.removed") == 1
    goes.registration.refresh_from_db()
    assert goes.registration.status == KeyRegistration.Status.DRAFT


def test_a_role_that_another_registration_names_stays(
    share: Callable[..., RoleConfiguration], service_role: ServiceRole
) -> None:
    first, second = done(share(ROLE)), done(share(ROLE))
    KeyRegistration.objects.filter(pk=first.registration_id).update(status=KeyRegistration.Status.DRAFT)
    removal = done(removal_of(first))
    assert removal.status == Status.DONE
    assert named(service_role) == [second.role_arn]
    assert events("keys.configuration.removed") == 0  # nothing was removed, and the log does not say so


def test_removing_what_stands_nowhere_asks_iam_nothing(share: Callable[..., RoleConfiguration], aws: LocalAws) -> None:
    configuration = share()
    RoleConfiguration.objects.filter(pk=configuration.pk).update(status=Status.CANCELLED)
    aws.calls.clear()
    assert done(removal_of(configuration)).status == Status.DONE
    assert aws.calls == []


# --- a worker is killed -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sql", ['update "keys_servicerolepolicy"', 'insert into "tenants_auditevent"'])
def test_a_worker_killed_after_iam_was_written_is_repaired_by_the_next(
    share: Callable[..., RoleConfiguration], service_role: ServiceRole, aws: LocalAws, sql: str
) -> None:
    done(share())
    configuration = share()
    with killed_at(sql):
        apply.apply(str(configuration.pk))
    configuration.refresh_from_db()
    assert configuration.status == Status.QUEUED
    aws.calls.clear()
    repaired = done(due_again(configuration))
    assert repaired.status == Status.PROPAGATING
    assert configuration.role_arn in named(service_role)
    assert not WRITES & {operation for _, operation, _ in aws.calls}  # what is there is what it was about to write
    assert events("keys.configuration.written") == 2


def test_the_first_policy_survives_a_kill_between_create_and_attach(
    share: Callable[..., RoleConfiguration], service_role: ServiceRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = share(ROLE)
    real = local_iam.answer

    def fail(state: Any, caller: Any, region: str, form: Any, *rest: Any) -> Any:
        if form.get("Action") == "AttachRolePolicy":
            raise AwsError("ServiceFailure", "", status=500)
        return real(state, caller, region, form, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(local_iam, "answer", fail)
        assert done(configuration).reason == "aws_unreachable"
    assert iam.attached(service_role.name) == set()
    assert done(due_again(configuration)).status == Status.PROPAGATING
    assert len(iam.attached(service_role.name)) == 1


def test_what_a_killed_worker_wrote_does_not_stop_the_next_tenant(
    share: Callable[..., RoleConfiguration], service_role: ServiceRole
) -> None:
    done(share())
    killed, following = share(), share()
    with killed_at('update "keys_servicerolepolicy"'):
        apply.apply(str(killed.pk))
    assert done(following).status == Status.PROPAGATING  # the other one's ARN in IAM is no drift: it was begun
    assert {killed.role_arn, following.role_arn} <= set(named(service_role))
    assert done(due_again(killed)).status == Status.PROPAGATING
    assert len(named(service_role)) == 3


def test_a_removal_that_was_killed_does_not_stop_the_next_tenant(
    share: Callable[..., RoleConfiguration], service_role: ServiceRole
) -> None:
    goes = done(share())
    KeyRegistration.objects.filter(pk=goes.registration_id).update(status=KeyRegistration.Status.DRAFT)
    removal = removal_of(goes)
    with killed_at('update "keys_servicerolepolicy"'):
        apply.apply(str(removal.pk))
    following = done(share())
    assert following.status == Status.PROPAGATING
    assert done(due_again(removal)).status == Status.DONE
    assert named(service_role) == [following.role_arn]


# --- drift ------------------------------------------------------------------------------------------------------------


def other_document(our_iam: Any, policy: ServiceRolePolicy) -> str:
    document = json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}]}
    )
    our_iam.create_policy_version(PolicyArn=policy.policy_arn, PolicyDocument=document, SetAsDefault=True)
    return document


@pytest.mark.parametrize("operation", ["another document", "detached", "deleted"])
def test_drift_stops_calls_kore_and_is_never_overwritten(
    share: Callable[..., RoleConfiguration], service_role: ServiceRole, our_iam: Any, aws: LocalAws, operation: str
) -> None:
    done(share())
    policy = service_role.policies.get()
    if operation == "another document":
        other_document(our_iam, policy)
    else:
        our_iam.detach_role_policy(RoleName=service_role.name, PolicyArn=policy.policy_arn)
        if operation == "deleted":
            our_iam.delete_policy(PolicyArn=policy.policy_arn)
    aws.calls.clear()
    stopped = share()
    assert apply.apply(str(stopped.pk)) is None
    stopped.refresh_from_db()
    assert (stopped.status, stopped.reason, stopped.due_at) == (Status.FAILED, "policy_drift", None)
    assert not WRITES & {operation for _, operation, _ in aws.calls}
    step = onboarding.overview(stopped.tenant)[4]
    assert (step.status, step.whose_turn) == (OnboardingStep.Status.WAITING_FOR_KORE, "kore")
    assert events("keys.configuration.failed") == 1
    follow.follow()
    assert Ticket.objects.of(stopped.tenant).get().status == Ticket.Status.WAITING_FOR_KORE


def test_right_after_our_own_write_an_old_answer_of_iam_is_no_drift(
    share: Callable[..., RoleConfiguration], service_role: ServiceRole, our_iam: Any, settings: Any
) -> None:
    done(share())
    done(share())
    settings.PROPAGATION_WINDOW = 300
    policy = service_role.policies.get()
    our_iam.set_default_policy_version(PolicyArn=policy.policy_arn, VersionId="v1")  # what a host of IAM that lags says
    configuration = done(share())
    assert (configuration.status, configuration.reason) == (Status.QUEUED, "aws_unreachable")
    our_iam.set_default_policy_version(PolicyArn=policy.policy_arn, VersionId="v2")
    assert done(due_again(configuration)).status == Status.PROPAGATING


def test_a_repaired_drift_goes_on_when_kore_says_so(
    share: Callable[..., RoleConfiguration], service_role: ServiceRole, our_iam: Any, sam: User
) -> None:
    first = done(share())
    other_document(our_iam, service_role.policies.get())
    stopped = done(share())
    our_iam.set_default_policy_version(PolicyArn=service_role.policies.get().policy_arn, VersionId="v1")
    services.retry_configuration(stopped, reason="restored the policy", actor=acting_staff(sam))
    assert done(stopped).status == Status.PROPAGATING
    assert sorted(named(service_role)) == sorted([first.role_arn, stopped.role_arn])


# --- AWS or another worker is in the way ------------------------------------------------------------------------------


@pytest.fixture
def iam_says(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that makes IAM answer every call with an error."""

    def say(code: str, *, status: int = 400) -> None:
        def refuse(*_: Any) -> Any:
            raise AwsError(code, "Rate exceeded", status=status)

        monkeypatch.setattr(local_iam, "answer", refuse)

    return say


def test_throttling_is_waited_out_and_the_row_says_so(
    share: Callable[..., RoleConfiguration], iam_says: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = share()
    with monkeypatch.context():
        iam_says("Throttling")
        for pause in (2, 5, 15, 30, 60, 60):
            before = timezone.now()
            configuration = done(due_again(configuration))
            assert (configuration.status, configuration.reason) == (Status.QUEUED, "aws_throttled")
            assert configuration.claimed_at is None
            assert configuration.due_at is not None
            assert configuration.due_at - before >= timedelta(seconds=pause)
            assert configuration.due_at - timezone.now() <= timedelta(seconds=pause + 20)
    assert events("keys.configuration.failed") == events("keys.configuration.waits_for_kore") == 0
    assert onboarding.overview(configuration.tenant)[4].status == OnboardingStep.Status.IN_PROGRESS


def test_when_our_own_access_is_broken_kore_is_called_once_and_it_goes_on_by_itself(
    share: Callable[..., RoleConfiguration], iam_says: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration, real = share(), local_iam.answer
    iam_says("AccessDenied", status=403)
    for _ in range(3):
        configuration = done(due_again(configuration))
        assert (configuration.status, configuration.reason) == (Status.QUEUED, "own_access_broken")
    assert events("keys.configuration.waits_for_kore") == 1
    assert onboarding.overview(configuration.tenant)[4].whose_turn == "kore"
    follow.follow()
    assert Ticket.objects.of(configuration.tenant).get().status == Ticket.Status.WAITING_FOR_KORE
    monkeypatch.setattr(local_iam, "answer", real)
    assert done(due_again(configuration)).status == Status.PROPAGATING
    assert onboarding.overview(configuration.tenant)[4].status == OnboardingStep.Status.IN_PROGRESS


def test_an_answer_of_iam_that_we_do_not_know_stops_and_calls_kore(
    share: Callable[..., RoleConfiguration], iam_says: Callable[..., None]
) -> None:
    configuration = share()
    iam_says("LimitExceeded", status=409)
    assert done(configuration).status == Status.FAILED
    assert onboarding.overview(configuration.tenant)[4].whose_turn == "kore"


def test_one_writer_at_a_time(share: Callable[..., RoleConfiguration], service_role: ServiceRole) -> None:
    held = lease.take(service_role)
    with pytest.raises(errors.LeaseTaken):
        lease.take(service_role)
    waiting = done(share())
    assert (waiting.status, waiting.reason) == (Status.QUEUED, "lease_taken")
    assert waiting.due_at is not None
    assert waiting.due_at - timezone.now() < timedelta(seconds=2)
    held.give_back()
    assert done(due_again(waiting)).status == Status.PROPAGATING


def test_a_lease_ends_by_itself_and_its_old_holder_sees_it(service_role: ServiceRole) -> None:
    began = timezone.now()
    old = lease.take(service_role)
    old.hold()
    service_role.refresh_from_db()
    assert service_role.lease_until is not None
    assert service_role.lease_until > began + timedelta(seconds=55)
    ServiceRole.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    new = lease.take(service_role)
    assert new.number > old.number
    with pytest.raises(errors.LeaseTaken):
        old.hold()
    old.give_back()  # not its own any more: nothing happens
    new.hold()


def test_a_worker_that_lost_its_lease_makes_no_further_call(
    share: Callable[..., RoleConfiguration], service_role: ServiceRole, aws: LocalAws
) -> None:
    configuration = share()
    aws.calls.clear()

    def sleep_too_long(execute: Any, statement: str, params: Any, many: bool, context: Any) -> Any:
        if aws.calls:  # it came back from its first call to IAM after the lease had run out
            execute(
                "UPDATE tenants_servicerole SET lease_owner = 'another worker', lease_number = 99", (), False, context
            )
        return execute(statement, params, many, context)

    with connection.execute_wrapper(sleep_too_long):
        apply.apply(str(configuration.pk))
    configuration.refresh_from_db()
    assert (configuration.status, configuration.reason) == (Status.QUEUED, "lease_taken")
    assert [operation for _, operation, _ in aws.calls] == ["GetPolicy"]
    service_role.refresh_from_db()
    assert service_role.lease_owner == "another worker"


# --- opening a service role -------------------------------------------------------------------------------------------


def command(*arguments: str) -> dict[str, Any]:
    out = StringIO()
    call_command("open_service_role", *arguments, stdout=out)
    answer: dict[str, Any] = json.loads(out.getvalue())
    return answer


@pytest.mark.usefixtures("db")
def test_the_command_opens_a_role_with_its_canary_and_the_next_one_after_it(aws: LocalAws) -> None:
    first = command()
    assert first["name"] == "byok-service-1"
    assert set(first) == {"service_role_arn", "name", "unique_id", "canary_role_arn"}
    row = ServiceRole.objects.get()
    assert (row.arn, row.unique_id, row.canary_role_arn) == (
        first["service_role_arn"],
        first["unique_id"],
        first["canary_role_arn"],
    )
    assert sessions.service_role(row.arn, "eu-central-1").role_unique_id == row.unique_id
    assert command("--name", "byok-service-1") == first
    assert command()["name"] == "byok-service-2"
    assert command("--name", "byok-service-banks")["name"] == "byok-service-banks"
    assert command()["name"] == "byok-service-3"
    assert events("tenants.service_role.opened") == 4


@pytest.mark.usefixtures("db")
def test_opening_that_was_killed_is_finished_by_the_next_attempt(aws: LocalAws) -> None:
    with killed_at('insert into "tenants_servicerole"'):
        opening.open_service_role()
    role = opening.open_service_role()
    canary = Access.of_texts(
        tenant="ours",
        service_role_arn=role.arn,
        external_id=role.canary_external_id,
        role_arn=role.canary_role_arn,
    )
    for external_id, allowed in ((role.canary_external_id, True), ("byok-another", False), (None, False)):
        outcome = sessions.probe(canary, external_id, region="eu-central-1", session="x-canary")
        assert outcome.allowed is allowed


@pytest.mark.usefixtures("db")
def test_a_role_of_that_name_that_trusts_somebody_else_is_not_taken_over(our_iam: Any, settings: Any) -> None:
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{OTHER_CUSTOMER}:root"}, "Action": "sts:AssumeRole"}
        ],
    }
    our_iam.create_role(RoleName="byok-service-1", AssumeRolePolicyDocument=json.dumps(trust))
    with pytest.raises(InvalidInput):
        opening.open_service_role()
    assert not ServiceRole.objects.exists()
    with pytest.raises(CommandError):
        command()


@pytest.mark.usefixtures("aws", "db")
@pytest.mark.parametrize(
    "name", ["Administrator", "byok-service-", "byok-service-A", "byok-service-*", "byok-service-1\n"]
)
def test_a_name_that_iam_or_a_reader_could_mistake_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        opening.open_service_role(name)


def test_the_whole_way_by_the_workers(
    tenant: Tenant, alice: Member, customer: Customer, work: Callable[[], None]
) -> None:
    customer.follow_the_guide(tenant, acting(alice))
    services.submit_registration(tenant, actor=acting(alice))
    work()
    configuration = RoleConfiguration.objects.get(tenant=tenant)
    assert configuration.status == Status.DONE
    assert configuration.finished_at is not None


@pytest.mark.django_db(transaction=True)
def test_workers_that_write_at_the_same_time_lose_no_role(share: Callable[..., RoleConfiguration]) -> None:
    configurations = [share() for _ in range(6)]

    def worker(number: int) -> None:
        try:
            for _ in range(30):
                for row in RoleConfiguration.objects.filter(status=Status.QUEUED).order_by("pk"):
                    RoleConfiguration.objects.filter(pk=row.pk, claimed_at=None).update(due_at=timezone.now())
                    apply.apply(str(row.pk))
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as workers:
        list(workers.map(worker, range(3)))
    service_role = ServiceRole.objects.get()
    assert sorted(named(service_role)) == sorted(configuration.role_arn for configuration in configurations)
    assert set(RoleConfiguration.objects.values_list("status", flat=True)) == {Status.PROPAGATING}
    assert EncryptionTest.objects.count() == events("keys.configuration.written") == 6


def test_what_is_not_read_back_is_not_taken_for_written(
    aws: LocalAws, our_iam: Any, share: Callable[..., RoleConfiguration], service_role: ServiceRole
) -> None:
    apply.apply(str(share().pk))
    policy, second, calm = service_role.policies.get(), share(), aws._server.app
    document = json.dumps({"Version": "2012-10-17", "Statement": in_iam(policy)["Statement"][:1]})
    seen, left = len(aws.calls), [policy.policy_arn]

    def somebody_writes_right_after_us(environ: dict[str, str], start_response: object) -> object:
        answer = calm(environ, start_response)
        if left and "CreatePolicyVersion" in {name for _, name, _ in aws.calls[seen:]}:
            our_iam.create_policy_version(PolicyArn=left.pop(), PolicyDocument=document, SetAsDefault=True)
        return answer

    aws._server.app = somebody_writes_right_after_us
    try:
        apply.apply(str(second.pk))
    finally:
        aws._server.app = calm
    second.refresh_from_db()
    assert (second.status, second.reason) == (Status.QUEUED, "aws_unreachable")
    assert not EncryptionTest.objects.filter(registration=second.registration).exists()
