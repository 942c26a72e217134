"""Do one role configuration: write our policy in IAM, read it back, and let the test follow."""

from __future__ import annotations

import random
import uuid
from datetime import datetime, timedelta

from django.conf import settings

from byokportal import clock
from byokportal.errors import DomainError, Kind
from keys import arns, errors, lifecycle
from keys.aws import iam, sessions
from keys.configuration import inspection, isolating, lease, packing, quotas, room
from keys.models import EncryptionTest, KeyRegistration, RoleConfiguration, ServiceRolePolicy, put_off_if_it_breaks
from tenants import audit, onboarding, transactions
from tenants.models import OnboardingStep, ServiceRole

Action = RoleConfiguration.Action
Status = RoleConfiguration.Status
Step = OnboardingStep.Status
BACK_OFF = (2, 5, 15, 30, 60)  # seconds between attempts while AWS is in the way


def apply(configuration_id: str) -> uuid.UUID | None:
    """Do what the row asks for, if it is due and nobody else has it; safe to repeat after a kill at any point.

    Returns:
        The id of the test to enqueue, when one follows.
    """
    claimed_at = clock.now()
    if not RoleConfiguration.objects.filter(status=Status.QUEUED).claim(configuration_id, claimed_at):
        return None
    with put_off_if_it_breaks(RoleConfiguration.objects.all(), configuration_id, claimed_at):
        return _apply(configuration_id, claimed_at)
    return None


def _apply(configuration_id: str, claimed_at: datetime) -> uuid.UUID | None:
    configuration = RoleConfiguration.objects.select_related("tenant", "registration", "service_role").get(
        pk=configuration_id
    )
    try:
        held = lease.take(configuration.service_role)
        try:
            written = _write(configuration, held)
        finally:
            held.give_back()
    except DomainError as error:
        _postpone_or_fail(configuration, claimed_at, error)
        return None
    if configuration.action == Action.REMOVE:
        sessions.forget_role(configuration.role_arn)
        _removed(configuration, claimed_at, written)
        test_id = None
    else:
        assert written is not None  # an ADD always has a policy to stand in
        test_id = _added(configuration, claimed_at, written)
    room.count(configuration.service_role)
    return test_id


def _write(configuration: RoleConfiguration, held: lease.Lease) -> iam.Written | None:
    """Bring the one policy that the configuration concerns to what it has to say; None when there is nothing to remove.

    Raises:
        RoleRefusedByIam: IAM takes no policy that names this role; what stood there stands.
        PolicyDrift: IAM does not hold what we last wrote; it is left as it is.
        ServiceRoleFull: no policy has room for the ARN.
        LeaseTaken: the lease was lost on the way.
        DomainError: what IAM answered.
    """
    role, arn = configuration.service_role, configuration.role_arn
    partition = arns.partition_of(role.arn)
    rows = {row.slot: row for row in ServiceRolePolicy.objects.filter(service_role=role)}
    slots = {slot: row.role_arns for slot, row in rows.items()}
    if configuration.action == Action.REMOVE and (packing.slot_of(arn, slots) is None or _still_named(configuration)):
        return None
    if configuration.action == Action.ADD:
        packing.require_safe(arn, partition=partition)
    limit, most = quotas.limits()
    slot = packing.slot_for(arn, slots, our_account=settings.AWS_ACCOUNT_ID, limit=limit, slots=most)
    row = rows.get(slot) or ServiceRolePolicy.objects.create(service_role=role, slot=slot)
    name = f"{role.name}-{slot}"
    policy_arn = row.policy_arn or iam.arn_of(name, partition=partition)

    there = iam.read_policy(policy_arn, before=held.hold)
    present = inspection.present(row, there, role, partition)
    if row.policy_arn and policy_arn not in iam.attached(role.name, before=held.hold):
        raise inspection.drift(row, policy_arn, "not attached")
    wanted = present | {arn} if configuration.action == Action.ADD else present - {arn}
    document = inspection.document(wanted, partition)
    taken_out = set[str]()
    try:
        if there is None:
            iam.create_policy(name, packing.text(document), before=held.hold)
        elif present != wanted:
            iam.write_version(policy_arn, packing.text(document), before=held.hold)
    except errors.PolicyRefused:
        if there is None:
            iam.create_policy(name, packing.text(inspection.document(set(), partition)), before=held.hold)
        taken_out = isolating.to_blame(
            present & wanted,
            arn if configuration.action == Action.ADD else None,
            lambda some: iam.takes(
                policy_arn, packing.text(inspection.document(set(some), partition)), before=held.hold
            ),
        )
        wanted -= taken_out
        document = inspection.document(wanted, partition)
        iam.write_version(policy_arn, packing.text(document), before=held.hold)
    if not row.policy_arn:  # new, or its writer was killed before it said so
        iam.attach(policy_arn, role_name=role.name, before=held.hold)
    back = iam.read_policy(policy_arn, before=held.hold)
    if back is None or packing.digest(back.document) != packing.digest(document):
        raise errors.AwsUnreachable(retry_after=5, aws_code="not visible yet", action="iam:GetPolicyVersion")

    facts: dict[str, object] = {
        "policy_arn": policy_arn,
        "role_arns": sorted(wanted),
        "written_hash": packing.digest(document),
        "version": back.version,
    }
    if present != wanted:
        facts["written_at"] = clock.now()
    held.hold()
    ServiceRolePolicy.objects.filter(pk=row.pk).update(**facts)
    if taken_out:
        _say_who_was_taken_out(role, taken_out)
    return back


@transactions.atomic
def _say_who_was_taken_out(service_role: ServiceRole, role_arns: set[str]) -> None:
    """End the configuration of each tenant whose role IAM took once and takes no more:
    the others on the service role go on."""
    needing = KeyRegistration.objects.filter(tenant__service_role=service_role, role_arn__in=role_arns)
    needing = needing.exclude(status__in=[KeyRegistration.Status.DRAFT, KeyRegistration.Status.RETIRED])
    transactions.hold(*needing.values_list("tenant_id", flat=True))
    for registration in needing.select_related("tenant"):
        configuration = registration.configurations.filter(action=Action.ADD).first()
        if configuration is None:
            continue
        RoleConfiguration.objects.filter(pk=configuration.pk).update(
            status=Status.FAILED, due_at=None, finished_at=clock.now(), reason=errors.RoleRefusedByIam.code
        )
        _reject(configuration, errors.RoleRefusedByIam())


def _still_named(configuration: RoleConfiguration) -> bool:
    """Tell whether another registration of the same service role needs the ARN that is to be removed."""
    return (
        KeyRegistration.objects.filter(tenant__service_role=configuration.service_role, role_arn=configuration.role_arn)
        .exclude(status__in=[KeyRegistration.Status.DRAFT, KeyRegistration.Status.RETIRED])
        .exists()
    )


def _finish(configuration: RoleConfiguration, claimed_at: datetime, **facts: object) -> bool:
    """End this look at the row, if it is still ours; False when another worker took it, or it was cancelled."""
    row = RoleConfiguration.objects.filter(pk=configuration.pk, status=Status.QUEUED, claimed_at=claimed_at)
    return bool(row.update(claimed_at=None, failures=0, **facts))


@transactions.atomic
def _added(configuration: RoleConfiguration, claimed_at: datetime, written: iam.Written) -> uuid.UUID | None:
    now, registration, tenant = clock.now(), configuration.registration, configuration.tenant
    evidence = {
        "policy_arn": written.policy_arn,
        "version": written.version,
        "sha256": packing.digest(written.document),
        "request_id": written.request_id,
    }
    if not _finish(configuration, claimed_at, status=Status.PROPAGATING, due_at=None, reason="", evidence=evidence):
        return None
    audit.record(
        "keys.configuration.written",
        tenant=tenant,
        actor=audit.SYSTEM,
        target=configuration,
        policy_arn=written.policy_arn,
        role_arn=configuration.role_arn,
    )
    if registration.replaces_id is None:
        onboarding.advance_if(tenant, 5, {Step.WAITING_FOR_KORE}, Step.IN_PROGRESS, actor=audit.SYSTEM)
    registration.refresh_from_db()
    try:
        lifecycle.move(registration, KeyRegistration.Status.TESTING, actor=audit.SYSTEM, changed_at=now)
    except errors.RegistrationBusy:
        # it was withdrawn meanwhile, or is in service already: our policy is right all the same
        return None
    test, _ = EncryptionTest.objects.get_or_create(
        registration=registration,
        finished_at=None,
        defaults={"tenant": tenant, "requested_by": audit.SYSTEM.label, "due_at": now},
    )
    return test.pk


@transactions.atomic
def _removed(configuration: RoleConfiguration, claimed_at: datetime, written: iam.Written | None) -> None:
    facts: dict[str, object] = {"status": Status.DONE, "due_at": None, "finished_at": clock.now(), "reason": ""}
    if written is None:  # it stood nowhere (any more), or another registration needs it
        _finish(configuration, claimed_at, **facts)
        return
    evidence = {"policy_arn": written.policy_arn, "version": written.version, "request_id": written.request_id}
    if _finish(configuration, claimed_at, evidence=evidence, **facts):
        audit.record(
            "keys.configuration.removed",
            tenant=configuration.tenant,
            actor=audit.SYSTEM,
            target=configuration,
            policy_arn=written.policy_arn,
            role_arn=configuration.role_arn,
        )


@transactions.atomic
def _postpone_or_fail(configuration: RoleConfiguration, claimed_at: datetime, error: DomainError) -> None:
    """Make the row due again where AWS or a lease was in the way;
    stop and call a person where it was something else."""
    now = clock.now()
    if isinstance(error, errors.LeaseTaken):  # the other one needs a second or two
        pause = timedelta(seconds=random.uniform(0.5, 1.5))  # noqa: S311  jitter is no secret
        _finish(configuration, claimed_at, due_at=now + pause, reason=error.code)
        return
    if error.kind is Kind.UNAVAILABLE:
        pause = timedelta(seconds=BACK_OFF[min(configuration.attempts, len(BACK_OFF)) - 1])
        postponed = _finish(configuration, claimed_at, due_at=now + pause, reason=error.code)
        if postponed and isinstance(error, errors.OwnAccessBroken) and configuration.reason != error.code:
            _call_a_person("keys.configuration.waits_for_kore", configuration, error, code=error.code)
        return
    if not _finish(configuration, claimed_at, status=Status.FAILED, due_at=None, finished_at=now, reason=error.code):
        return
    if isinstance(error, errors.RoleRefusedByIam) and configuration.action == Action.ADD:
        _reject(configuration, error)
    else:
        _call_a_person("keys.configuration.failed", configuration, error, reason=error.code)


def _reject(configuration: RoleConfiguration, error: DomainError) -> None:
    """Say to the tenant that its role cannot be named in a policy: only another role is a remedy (step 2)."""
    registration, tenant = configuration.registration, configuration.tenant
    try:
        lifecycle.move(registration, KeyRegistration.Status.REJECTED, actor=audit.SYSTEM, reason=error.code)
    except errors.RegistrationBusy:
        if registration.status in {*KeyRegistration.SERVING, KeyRegistration.Status.RETIRING}:
            _call_a_person("keys.configuration.failed", configuration, error, reason=error.code)
        return  # else it was withdrawn meanwhile
    audit.record(
        "keys.registration.rejected",
        tenant=tenant,
        actor=audit.SYSTEM,
        target=registration,
        step=2,
        reason=error.code,
        why=str(error),
    )
    if registration.replaces_id is None:
        evidence: dict[str, object] = {"role_arn": registration.role_arn, "reason": error.code}
        onboarding.advance(tenant, 2, Step.FAILED, actor=audit.SYSTEM, reason=error.code, evidence=evidence)
        onboarding.advance(tenant, 5, Step.WAITING_FOR_TENANT, actor=audit.SYSTEM, reason=error.code)


def _call_a_person(event: str, configuration: RoleConfiguration, error: DomainError, **data: str) -> None:
    tenant = configuration.tenant
    audit.record(event, tenant=tenant, actor=audit.SYSTEM, target=configuration, **data)
    if configuration.action == Action.ADD and configuration.registration.replaces_id is None:
        onboarding.advance(
            tenant, 5, Step.WAITING_FOR_KORE, actor=audit.SYSTEM, reason=error.code, evidence={"code": error.code}
        )
