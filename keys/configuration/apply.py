"""Do one role configuration: write our policy in IAM, read it back, and let the test follow."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from byokportal.errors import DomainError, Kind
from keys import errors, lifecycle
from keys.aws import iam, sessions
from keys.configuration import lease, packing
from keys.models import EncryptionTest, KeyRegistration, RoleConfiguration, ServiceRolePolicy
from tenants import audit, onboarding
from tenants.models import OnboardingStep, ServiceRole

Status = RoleConfiguration.Status
BACK_OFF = (2, 5, 15, 30, 60)  # seconds between attempts while AWS or a lease is in the way


def apply(configuration_id: str) -> uuid.UUID | None:
    """Do what the row asks for, if it is due and nobody else has it.

    Returns:
        The id of the test to ring for, when one follows.
    """
    if not RoleConfiguration.objects.filter(status=Status.QUEUED).claim(configuration_id, timezone.now()):
        return None
    configuration = RoleConfiguration.objects.select_related("tenant", "registration", "service_role").get(
        pk=configuration_id
    )
    try:
        held = lease.take(configuration.service_role)
        try:
            policy, written = _write(configuration, held)
        finally:
            held.give_back()
    except DomainError as error:
        _postpone_or_fail(configuration, error)
        return None
    sessions.forget_role(configuration.service_role.arn)
    if configuration.action == RoleConfiguration.Action.REMOVE:
        _removed(configuration, policy)
        return None
    return _added(configuration, policy, written)


def _write(configuration: RoleConfiguration, held: lease.Lease) -> tuple[ServiceRolePolicy, iam.Written]:
    """Bring the one policy that the configuration concerns to what it has to say."""
    role, ours = configuration.service_role, settings.AWS_ACCOUNT_ID
    policies = {policy.slot: policy for policy in ServiceRolePolicy.objects.filter(service_role=role)}
    slot = packing.slot_for(
        configuration.role_arn, {number: row.role_arns for number, row in policies.items()}, our_account=ours
    )
    row = policies.get(slot) or ServiceRolePolicy.objects.create(service_role=role, slot=slot)
    arns = set(row.role_arns)
    if configuration.action == RoleConfiguration.Action.ADD:
        arns.add(configuration.role_arn)
    elif not _still_named(configuration):
        arns.discard(configuration.role_arn)
    document = packing.document(sorted(arns), our_account=ours, partition=role.arn.split(":")[1])
    held.hold()
    found = iam.read_policy(row.policy_arn) if row.policy_arn else None
    if found is None:
        held.hold()
        found = iam.create_policy(f"{role.name}-{slot}", packing.text(document), role_name=role.name)
    now_there = packing.digest(found.document)
    if now_there != packing.digest(document):
        # What a killed worker wrote just before is what we are about to write; anything else that is not ours is drift.
        if now_there != row.written_hash:
            raise errors.PolicyDrift(policy=found.policy_arn)
        held.hold()
        found = iam.write_version(found.policy_arn, packing.text(document))
        if packing.digest(found.document) != packing.digest(document):
            raise errors.AwsUnreachable(retry_after=5, aws_code="old version read back", action="iam:GetPolicyVersion")
    held.hold()
    ServiceRolePolicy.objects.filter(pk=row.pk).update(
        policy_arn=found.policy_arn,
        role_arns=sorted(arns),
        written_hash=packing.digest(document),
        written_at=timezone.now(),
    )
    row.refresh_from_db()
    return row, found


def _still_named(configuration: RoleConfiguration) -> bool:
    """Tell whether another registration of the same service role needs the ARN that is to be removed."""
    return (
        KeyRegistration.objects.filter(tenant__service_role=configuration.service_role, role_arn=configuration.role_arn)
        .exclude(status__in=[KeyRegistration.Status.DRAFT, KeyRegistration.Status.RETIRED])
        .exists()
    )


@transaction.atomic
def _added(configuration: RoleConfiguration, policy: ServiceRolePolicy, written: iam.Written) -> uuid.UUID | None:
    now, registration = timezone.now(), configuration.registration
    evidence = {
        "policy_arn": policy.policy_arn, "version": written.version, "sha256": policy.written_hash, "request_id": written.request_id,
    }  # fmt: skip
    RoleConfiguration.objects.filter(pk=configuration.pk, status=Status.QUEUED).update(
        status=Status.PROPAGATING, due_at=None, claimed_at=None, reason="", evidence=evidence
    )
    audit.record(
        "keys.configuration.written",
        tenant=configuration.tenant, actor=audit.SYSTEM, target=configuration, policy_arn=policy.policy_arn, role_arn=configuration.role_arn,
    )  # fmt: skip
    registration.refresh_from_db()
    if registration.status != KeyRegistration.Status.CONFIGURING:
        return None
    lifecycle.move(registration, KeyRegistration.Status.TESTING, actor=audit.SYSTEM, changed_at=now)
    test, _ = EncryptionTest.objects.get_or_create(
        registration=registration,
        finished_at=None,
        defaults={"tenant": configuration.tenant, "requested_by": audit.SYSTEM.label, "due_at": now},
    )
    return test.pk


@transaction.atomic
def _removed(configuration: RoleConfiguration, policy: ServiceRolePolicy) -> None:
    RoleConfiguration.objects.filter(pk=configuration.pk).update(
        status=Status.DONE,
        due_at=None,
        claimed_at=None,
        finished_at=timezone.now(),
        reason="",
        evidence={"policy_arn": policy.policy_arn},
    )
    audit.record(
        "keys.configuration.removed",
        tenant=configuration.tenant, actor=audit.SYSTEM, target=configuration, policy_arn=policy.policy_arn, role_arn=configuration.role_arn,
    )  # fmt: skip


@transaction.atomic
def _postpone_or_fail(configuration: RoleConfiguration, error: DomainError) -> None:
    """Make the row due again where AWS or a lease was in the way; stop and call a person where it was something else."""
    row = RoleConfiguration.objects.filter(pk=configuration.pk, status=Status.QUEUED)
    if error.kind is Kind.UNAVAILABLE or isinstance(error, errors.LeaseTaken):
        seconds = BACK_OFF[min(configuration.attempts, len(BACK_OFF)) - 1] if configuration.attempts else BACK_OFF[0]
        row.update(claimed_at=None, due_at=timezone.now() + timedelta(seconds=seconds), reason=error.code)
        return
    row.update(status=Status.FAILED, claimed_at=None, due_at=None, finished_at=timezone.now(), reason=error.code)
    audit.record(
        "keys.configuration.failed",
        tenant=configuration.tenant,
        actor=audit.SYSTEM,
        target=configuration,
        reason=error.code,
    )
    if configuration.action == RoleConfiguration.Action.ADD:
        onboarding.advance(
            configuration.tenant,
            5,
            OnboardingStep.Status.WAITING_FOR_KORE,
            actor=audit.SYSTEM,
            reason=error.code,
            evidence={"code": error.code},
        )


def close_if_filled(service_role: ServiceRole) -> None:
    """Take no new tenants on a service role that is filled to 60 %; every pinned tenant without an ARN reserves 128 characters."""
    policies = {policy.slot: policy.role_arns for policy in ServiceRolePolicy.objects.filter(service_role=service_role)}
    without = service_role.tenants.exclude(registrations__role_arn__gt="").count()
    if packing.is_filled(policies, our_account=settings.AWS_ACCOUNT_ID, reserved=without * 128):
        ServiceRole.objects.filter(pk=service_role.pk).update(is_open=False)
