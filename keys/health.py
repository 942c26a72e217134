"""Is the key still ours to use? Probes, and what a denial or a silence means for the registration (design.md 3 and 8)."""

from __future__ import annotations

import random
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from byokportal.errors import DomainError, Kind, Turn
from keys import aws, errors, lifecycle
from keys.aws import sessions
from keys.errors import RegistrationBusy
from keys.models import KeyRegistration, RegistrationMove
from tenants import audit, onboarding
from tenants.models import OnboardingStep, ServiceRole

Status = KeyRegistration.Status
Step = OnboardingStep.Status
AWS = KeyRegistration.SuspendedBy.AWS

INSECURE = "insecure_trust"  # suspended for it, only a passed encryption test ends it: a probe does not look at the trust policy
GOOD_PROBES = 2  # in a row, before a suspension by AWS or a Resume ends
MANY_DENIALS = 5  # role refusals on one service role …
WITHIN = timedelta(minutes=5)  # … within this time are our doing until a person has looked

# The step of the guide that a refusal falls back on.
STEP_OF: dict[type[DomainError], int] = {
    errors.RoleNotAssumable: 2,
    errors.KeyAccessDenied: 3,
}


def probe(registration_id: str) -> None:
    """Ask AWS now, with a fresh session: the role, the key and, where there is one, a real unwrap."""
    now = timezone.now()
    due = KeyRegistration.objects.due_for_probe(now).filter(pk=registration_id)
    if not due.update(probe_claimed_at=now):
        return
    registration = KeyRegistration.objects.select_related("tenant__service_role").get(pk=registration_id)
    try:
        _ask(registration)
    except DomainError as error:
        if error.kind is Kind.KEY_REFUSED:
            denied(registration, error)
        else:
            unreachable(registration, error)
    else:
        good(registration)


def _ask(registration: KeyRegistration) -> None:
    tenant = registration.tenant
    key = aws.open_key(
        tenant.service_role.arn, registration.role_arn, registration.key_arn, tenant.external_id,
        tenant=str(tenant.pk), purpose="probe", fresh=True,
    )  # fmt: skip
    facts = key.describe()
    if facts.state == "PendingDeletion":
        raise errors.KeyPendingDeletion(aws_code=facts.state, action="kms:DescribeKey", aws_request_id=facts.request_id)
    if facts.state == "Disabled":
        raise errors.KeyDisabled(aws_code=facts.state, action="kms:DescribeKey", aws_request_id=facts.request_id)
    if facts.state == "PendingImport":
        raise errors.KeyPendingImport(aws_code=facts.state, action="kms:DescribeKey", aws_request_id=facts.request_id)
    branch_key = registration.branch_keys.order_by("-created_at").first()
    if branch_key is not None:
        key.decrypt(bytes(branch_key.wrapped), {"tenant": str(tenant.pk), "branch-key": str(branch_key.pk)})
    else:
        key.generate_wrapped({"tenant": str(tenant.pk), "purpose": "probe"})


def good(registration: KeyRegistration) -> None:
    """Note a good probe; enough of them in a row end what AWS, a silence or a Resume began."""
    with transaction.atomic():
        _next(registration, settings.PROBE_SECONDS, good_probes=F("good_probes") + 1, denied_probes=0)
        if (
            registration.status == Status.SUSPENDED
            and registration.suspended_by == AWS
            and registration.reason != INSECURE
        ):
            needed = GOOD_PROBES
        elif registration.status == Status.UNREACHABLE:
            needed = GOOD_PROBES if registration.reason == "resumed" else 1
        else:
            return
        if registration.good_probes < needed:
            _soon(registration)
            return
        try:
            lifecycle.move(registration, Status.ACTIVE, actor=audit.SYSTEM, reason="")
        except RegistrationBusy:
            return
        audit.record("keys.key.recovered", tenant=registration.tenant, actor=audit.SYSTEM, target=registration)
        for number in (1, 2, 3):
            onboarding.advance_if(
                registration.tenant,
                number,
                {Step.FAILED},
                Step.DONE,
                actor=audit.SYSTEM,
                reason="the key answers again",
            )


def denied(registration: KeyRegistration, error: DomainError) -> DomainError:
    """Judge a refusal: the tenant's doing suspends, ours is a silence.

    Returns:
        What the caller is told: the refusal, or that our own side does not work.
    """
    if isinstance(error, errors.RoleNotAssumable):
        mine = _our_doing(registration.tenant.service_role)
        if mine is not None:
            unreachable(registration, mine)
            return mine
    with transaction.atomic():
        registration.refresh_from_db()
        pause = settings.DENIED_PROBE_SECONDS[min(registration.denied_probes, len(settings.DENIED_PROBE_SECONDS) - 1)]
        _next(registration, pause, good_probes=0, denied_probes=F("denied_probes") + 1)
        if registration.status in {Status.ACTIVE, Status.UNREACHABLE}:
            try:
                lifecycle.move(registration, Status.SUSPENDED, actor=audit.SYSTEM, reason=error.code, suspended_by=AWS)
            except RegistrationBusy:
                return error
            audit.record(
                "keys.key.suspended",
                tenant=registration.tenant,
                actor=audit.SYSTEM,
                target=registration,
                suspended_by=AWS.label,
                reason=error.code,
            )
            evidence: dict[str, object] = {"code": error.code}
            evidence |= {
                name: error.params[name] for name in ("aws_code", "action", "aws_request_id") if name in error.params
            }
            number = STEP_OF.get(type(error), 1)
            onboarding.advance(
                registration.tenant, number, Step.FAILED, actor=audit.SYSTEM, reason=error.code, evidence=evidence
            )
        elif (
            registration.status == Status.SUSPENDED
            and registration.suspended_by == AWS
            and registration.reason not in {error.code, INSECURE}
        ):
            KeyRegistration.objects.filter(pk=registration.pk, status=Status.SUSPENDED, suspended_by=AWS).update(
                reason=error.code
            )
    return error


def unreachable(registration: KeyRegistration, error: DomainError) -> None:
    """Note that we could not tell; nothing says that the key was taken back, so nothing is suspended."""
    with transaction.atomic():
        registration.refresh_from_db()
        pause = settings.DENIED_PROBE_SECONDS[min(registration.denied_probes, len(settings.DENIED_PROBE_SECONDS) - 1)]
        _next(registration, pause, good_probes=0, denied_probes=F("denied_probes") + 1)
        if registration.status != Status.ACTIVE:
            return
        try:
            lifecycle.move(registration, Status.UNREACHABLE, actor=audit.SYSTEM, reason=error.code)
        except RegistrationBusy:
            return
        turn = error.turn if error.turn in {Turn.KORE, Turn.NOBODY} else Turn.KORE
        audit.record(
            "keys.key.unreachable",
            tenant=registration.tenant,
            actor=audit.SYSTEM,
            target=registration,
            reason=error.code,
            whose_turn=turn.value,
        )


def _our_doing(service_role: ServiceRole) -> DomainError | None:
    """After an AssumeRole refusal ask the canary: our own error if it does not pass, or if many tenants are refused at once."""
    outcome = sessions.probe(
        service_role.arn,
        service_role.canary_role_arn,
        service_role.canary_external_id,
        region="us-east-1",
        session="byok-canary",
    )
    if outcome.allowed is not True:
        return errors.OwnAccessBroken(
            retry_after=30,
            aws_code=outcome.aws_code,
            action="the canary's sts:AssumeRole",
            aws_request_id=outcome.request_id,
        )
    refused = RegistrationMove.objects.filter(
        tenant__service_role=service_role,
        new_status=Status.SUSPENDED,
        reason=errors.RoleNotAssumable.code,
        at__gt=timezone.now() - WITHIN,
    )
    if refused.values("registration").distinct().count() >= MANY_DENIALS:
        return errors.OwnAccessBroken(
            retry_after=60, aws_code="many tenants refused at once", action="sts:AssumeRole", aws_request_id=""
        )
    return None


def _next(registration: KeyRegistration, seconds: float, **facts: object) -> None:
    """Give the claim back and say when the next probe is: jittered, so that ten thousand do not come at once."""
    now = timezone.now()
    KeyRegistration.objects.filter(pk=registration.pk).update(
        probe_claimed_at=None,
        last_probe_at=now,
        next_probe_at=now + timedelta(seconds=seconds * random.uniform(0.9, 1.1)),  # noqa: S311  jitter is no secret
        **facts,
    )
    registration.refresh_from_db()


def _soon(registration: KeyRegistration) -> None:
    """After the first good probe of a stopped key the second one follows quickly: somebody waits for it."""
    pause = min(settings.DENIED_PROBE_SECONDS[0], settings.PROBE_SECONDS)
    KeyRegistration.objects.filter(pk=registration.pk).update(next_probe_at=timezone.now() + timedelta(seconds=pause))
