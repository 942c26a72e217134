"""Is the key still ours to use? Probes, and what a denial or a silence means for the registration (design.md 3 and 8)."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from byokportal.errors import DomainError, Kind, Turn
from keys import aws, errors, lifecycle
from keys.aws import sessions
from keys.errors import RegistrationBusy
from keys.models import KeyRegistration, RegistrationMove
from tenants import audit, onboarding
from tenants.models import AuditEvent, OnboardingStep, ServiceRole

log = structlog.get_logger(__name__)
Status = KeyRegistration.Status
Step = OnboardingStep.Status
AWS = KeyRegistration.SuspendedBy.AWS

INSECURE = "insecure_trust"  # suspended for it, only a passed encryption test ends it: a probe does not look at the trust policy
RESUMED = "resumed"  # the reason of a registration that a person has just let go on
GOOD_PROBES = 2  # in a row, before a suspension by AWS or a Resume ends
MANY_DENIALS = 5  # role refusals on one service role …
WITHIN = timedelta(minutes=5)  # … within this time are our doing until a person has looked

# The step of the guide that a refusal falls back on; all others are about the key itself, step 1.
STEP_OF: dict[type[DomainError], int] = {
    errors.RoleNotAssumable: 2,
    errors.KeyAccessDenied: 3,
}
# What DescribeKey says of a key that answers it all the same.
REFUSED_STATES: dict[str, type[DomainError]] = {
    "Disabled": errors.KeyDisabled,
    "PendingDeletion": errors.KeyPendingDeletion,
    "PendingReplicaDeletion": errors.KeyPendingDeletion,
    "PendingImport": errors.KeyPendingImport,
}


# --- asking -----------------------------------------------------------------------------------------------------


def probe(registration_id: str) -> None:
    """Ask AWS now, with a fresh session: the role, the key and, where there is one, a real unwrap.

    It does nothing when the probe is not due or another worker holds it, and what it learnt counts only while the claim is its
    own: a Resume that was pressed meanwhile starts anew.
    """
    claim = timezone.now()
    if not KeyRegistration.objects.due_for_probe(claim).filter(pk=registration_id).update(probe_claimed_at=claim):
        return
    registration = KeyRegistration.objects.select_related("tenant__service_role").get(pk=registration_id)
    try:
        _ask(registration)
    except DomainError as error:
        if error.kind is Kind.KEY_REFUSED:
            denied(registration, error, claim=claim)
        else:
            unreachable(registration, error, claim=claim)
    else:
        good(registration, claim=claim)


def _ask(registration: KeyRegistration) -> None:
    tenant = registration.tenant
    key = aws.open_key(
        tenant.service_role.arn, registration.role_arn, registration.key_arn, tenant.external_id,
        tenant=str(tenant.pk), purpose="probe", fresh=True,
    )  # fmt: skip
    facts = key.describe()
    if facts.state in REFUSED_STATES:
        raise REFUSED_STATES[facts.state](
            aws_code=facts.state, action="kms:DescribeKey", aws_request_id=facts.request_id
        )
    branch_key = registration.branch_keys.order_by("-created_at").first()
    if branch_key is not None:
        key.decrypt(bytes(branch_key.wrapped), {"tenant": str(tenant.pk), "branch-key": str(branch_key.pk)})
    else:
        key.generate_wrapped({"tenant": str(tenant.pk), "purpose": "probe"})


# --- judging ----------------------------------------------------------------------------------------------------


@transaction.atomic
def good(registration: KeyRegistration, *, claim: datetime | None = None) -> None:
    """Note a good probe; enough of them in a row end what AWS, a silence or a Resume began.

    Args:
        claim: of the probe that asked; what was learnt under a lost claim is not used.
    """
    if not _lock(registration, claim):
        return
    needed = _needed(registration)
    in_a_row = registration.good_probes + 1
    is_over = needed is not None and in_a_row >= needed
    # After the first good probe of a stopped key the second one follows quickly: somebody waits for it.
    soon = needed is not None and not is_over
    pause = min(settings.DENIED_PROBE_SECONDS[0], settings.PROBE_SECONDS) if soon else settings.PROBE_SECONDS
    _note(registration, pause, good_probes=in_a_row, denied_probes=0)
    if not is_over:
        return
    try:
        lifecycle.move(registration, Status.ACTIVE, actor=audit.SYSTEM)
    except RegistrationBusy:
        return
    audit.record("keys.key.recovered", tenant=registration.tenant, actor=audit.SYSTEM, target=registration)
    _steps_recover(registration)


def _needed(registration: KeyRegistration) -> int | None:
    """Return how many good probes in a row put the key in service again; None: it is, or probes do not decide it."""
    if registration.status == Status.UNREACHABLE:
        return GOOD_PROBES if registration.reason == RESUMED else 1
    if registration.status == Status.SUSPENDED and registration.suspended_by == AWS:
        return None if registration.reason == INSECURE else GOOD_PROBES
    return None


def denied(registration: KeyRegistration, error: DomainError, *, claim: datetime | None = None) -> DomainError:
    """Judge a refusal: the tenant's doing suspends, ours is a silence. Call it outside a transaction: it may ask AWS.

    Args:
        error: of kind KEY_REFUSED, what AWS answered.
        claim: of the probe that asked; None when a request for a data key was refused.

    Returns:
        What the caller is told: the refusal, or that our own side does not work.
    """
    if isinstance(error, errors.RoleNotAssumable):
        ours = _our_doing(registration)
        if ours is not None:
            unreachable(registration, ours, claim=claim)
            return ours
    with transaction.atomic():
        if not _lock(registration, claim):
            return error
        if claim is not None:
            _note(registration, _pause(registration), good_probes=0, denied_probes=registration.denied_probes + 1)
        if registration.status in {Status.ACTIVE, Status.UNREACHABLE}:
            _suspend(registration, error, is_probed=claim is not None)
        elif (
            registration.status == Status.SUSPENDED
            and registration.suspended_by == AWS
            and registration.reason not in {error.code, INSECURE}
        ):
            KeyRegistration.objects.filter(pk=registration.pk).update(
                reason=error.code
            )  # AWS's last word is what people see
    return error


def _suspend(registration: KeyRegistration, error: DomainError, *, is_probed: bool) -> None:
    facts: dict[str, object] = {"suspended_by": AWS}
    if not is_probed:  # a probe has set the time of the next one already
        facts |= {"good_probes": 0, "next_probe_at": _next_at(_pause(registration))}
    try:
        lifecycle.move(registration, Status.SUSPENDED, actor=audit.SYSTEM, reason=error.code, **facts)
    except RegistrationBusy:
        return
    audit.record(
        "keys.key.suspended",
        tenant=registration.tenant, actor=audit.SYSTEM, target=registration, suspended_by=AWS.label, reason=error.code,
    )  # fmt: skip
    evidence: dict[str, object] = {"code": error.code}
    evidence |= {name: error.params[name] for name in ("aws_code", "action", "aws_request_id") if name in error.params}
    number = STEP_OF.get(type(error), 1)
    onboarding.advance(
        registration.tenant, number, Step.FAILED, actor=audit.SYSTEM, reason=error.code, evidence=evidence
    )


@transaction.atomic
def unreachable(registration: KeyRegistration, error: DomainError, *, claim: datetime | None = None) -> None:
    """Note that we could not tell; nothing says that the key was taken back, so nothing is suspended.

    Args:
        claim: as in `denied`.
    """
    if not _lock(registration, claim):
        return
    if claim is not None:
        _note(registration, _pause(registration), good_probes=0, denied_probes=registration.denied_probes + 1)
    if registration.status != Status.ACTIVE:
        return
    facts = {} if claim else {"good_probes": 0, "next_probe_at": _next_at(_pause(registration))}
    try:
        lifecycle.move(registration, Status.UNREACHABLE, actor=audit.SYSTEM, reason=error.code, **facts)
    except RegistrationBusy:
        return
    turn = error.turn if error.turn in {Turn.KORE, Turn.NOBODY} else Turn.KORE
    audit.record(
        "keys.key.unreachable",
        tenant=registration.tenant, actor=audit.SYSTEM, target=registration, reason=error.code, whose_turn=turn.value,
    )  # fmt: skip


def _steps_recover(registration: KeyRegistration) -> None:
    """Steps 1 to 3 that fell back with the key are done again."""
    for step in OnboardingStep.objects.filter(tenant=registration.tenant, number__in=(1, 2, 3), status=Step.FAILED):
        about = {"role_arn": registration.role_arn} if step.number == 2 else {"key_arn": registration.key_arn}
        onboarding.advance(
            registration.tenant,
            step.number,
            Step.DONE,
            actor=audit.SYSTEM,
            reason="the key answers again",
            evidence=about,
        )


# --- ours or theirs? --------------------------------------------------------------------------------------------


def _our_doing(registration: KeyRegistration) -> DomainError | None:
    """After an AssumeRole refusal ask the canary: our own error if it does not pass, or if many tenants are refused at once."""
    service_role = registration.tenant.service_role
    outcome = sessions.probe(
        service_role.arn,
        service_role.canary_role_arn,
        service_role.canary_external_id,
        region=sessions.region_of(registration.key_arn),  # the STS that refused
        session=sessions.session_name("canary", "ours"),
    )
    if outcome.allowed is not True:
        sessions.forget_role(service_role.arn)
        return errors.OwnAccessBroken(
            retry_after=30,
            aws_code=outcome.aws_code,
            action="the canary's sts:AssumeRole",
            aws_request_id=outcome.request_id,
        )
    return _too_many(service_role)


def _too_many(service_role: ServiceRole) -> DomainError | None:
    """Stop all moves on a service role whose tenants refuse it one after the other: that is more likely we than all of them."""
    since = timezone.now() - WITHIN
    refused = RegistrationMove.objects.filter(
        tenant__service_role=service_role,
        new_status=Status.SUSPENDED,
        reason=errors.RoleNotAssumable.code,
        at__gt=since,
    )
    count = refused.values("registration").distinct().count()
    if count < MANY_DENIALS:
        return None
    event = "keys.service_role.refused"
    if not AuditEvent.objects.filter(name=event, at__gt=since, payload__contains=service_role.arn).exists():
        log.error("many_tenants_refuse_a_service_role", service_role=service_role.arn, count=count)
        audit.record(
            event, tenant=None, actor=audit.SYSTEM, target=service_role, service_role_arn=service_role.arn, count=count
        )
    return errors.OwnAccessBroken(
        retry_after=60, aws_code="AccessDenied from many tenants", action="sts:AssumeRole", aws_request_id=""
    )


# --- the row ----------------------------------------------------------------------------------------------------


def _lock(registration: KeyRegistration, claim: datetime | None) -> bool:
    """Lock the row and load it anew; False when the probe's claim on it is gone."""
    row = KeyRegistration.objects.select_for_update().filter(pk=registration.pk)
    if claim is not None:
        row = row.filter(probe_claimed_at=claim)
    if row.first() is None:
        return False
    registration.refresh_from_db()
    return True


def _note(registration: KeyRegistration, pause: float, **facts: object) -> None:
    """Give the claim back, count, and say when the next probe is."""
    facts |= {"probe_claimed_at": None, "last_probe_at": timezone.now(), "next_probe_at": _next_at(pause)}
    KeyRegistration.objects.filter(pk=registration.pk).update(**facts)


def _pause(registration: KeyRegistration) -> float:
    """Return the seconds until a key that did not answer is asked again: longer each time."""
    return float(settings.DENIED_PROBE_SECONDS[min(registration.denied_probes, len(settings.DENIED_PROBE_SECONDS) - 1)])


def _next_at(pause: float) -> datetime:
    """Return the time in so many seconds, jittered: ten thousand keys are not asked at once."""
    return timezone.now() + timedelta(seconds=pause * random.uniform(0.9, 1.1))  # noqa: S311  jitter is no secret
