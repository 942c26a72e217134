"""A passed test puts the key in service, at once or at the tenant's word: the claim on the role, the move to active,
and what it replaces, in one transaction."""

from __future__ import annotations

import random
import uuid
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction

from byokportal import clock
from keys import branchkeys, errors, lifecycle
from keys.arns import KeyArn, RoleArn
from keys.models import EncryptionTest, KeyHealth, KeyRegistration
from keys.models.jobs import FIRST_PAUSE
from tenants import audit, onboarding, transactions
from tenants.audit import SYSTEM
from tenants.models import OnboardingStep

Status = KeyRegistration.Status
Step = OnboardingStep.Status
Activation, Missed = KeyRegistration.Activation, KeyRegistration.Missed
FRESH = timedelta(hours=1)  # a test that is older proves nothing at the moment of activation
GRACE = timedelta(hours=1)  # after the chosen moment, for a test that cannot tell yet; then the moment is missed


@transactions.atomic
def activate(registration: KeyRegistration, test: EncryptionTest) -> None:
    """Move a tested registration into service, and the one that served before it out of it.

    Raises:
        RoleArnTaken: another registration holds the claim on the role; nothing was changed.
        KeySuspended: the key that it would replace was stopped by a person,
            and retiring it would let it open data again.
        RegistrationBusy: somebody moved the registration meanwhile.
    """
    now = clock.now()
    claim = RoleArn.parse(registration.role_arn).claim
    try:
        with transaction.atomic():
            _retire_what_served(registration, claim)
            lifecycle.move(
                registration,
                Status.ACTIVE,
                actor=SYSTEM,
                role_claim=claim,
                activated_at=now,
                activation_due_at=None,
                activation_missed="",
            )
            KeyHealth.objects.create(
                tenant=registration.tenant,
                registration=registration,
                region=KeyArn.parse(registration.key_arn).region,
                last_probe_at=now,
                # Spread: registrations that were activated together are not probed together for ever.
                next_probe_at=now + timedelta(seconds=settings.PROBE_SECONDS * random.uniform(0.8, 1.0)),  # noqa: S311
            )
    except IntegrityError as error:
        if KeyRegistration.objects.filter(role_claim=claim).exclude(pk=registration.pk).exists():
            raise errors.RoleArnTaken from error
        raise
    branchkeys.begin_moving(registration.tenant)
    audit.record(
        "keys.registration.activated",
        tenant=registration.tenant,
        actor=SYSTEM,
        target=registration,
        key_arn=registration.key_arn,
    )
    proven = {"test": str(test.pk)}
    advance = onboarding.advance
    advance(registration.tenant, 1, Step.DONE, actor=SYSTEM, evidence={"key_arn": registration.key_arn, **proven})
    advance(registration.tenant, 2, Step.DONE, actor=SYSTEM, evidence={"role_arn": registration.role_arn, **proven})
    advance(registration.tenant, 3, Step.DONE, actor=SYSTEM, evidence={"key_arn": registration.key_arn, **proven})
    onboarding.advance_if(registration.tenant, 4, {Step.NOT_STARTED}, Step.SKIPPED, actor=SYSTEM)
    advance(
        registration.tenant,
        5,
        Step.DONE,
        actor=SYSTEM,
        evidence={"service_role_arn": registration.tenant.service_role.arn, **proven},
    )
    advance(registration.tenant, 6, Step.DONE, actor=SYSTEM)


def _retire_what_served(registration: KeyRegistration, claim: str) -> None:
    for served in KeyRegistration.objects.of(registration.tenant).serving().exclude(pk=registration.pk):
        if served.suspended_by in {KeyRegistration.SuspendedBy.TENANT, KeyRegistration.SuspendedBy.KORE}:
            raise errors.KeySuspended(suspended_by=served.get_suspended_by_display())
        lifecycle.move(served, Status.RETIRING, actor=SYSTEM, reason="replaced")
    # With the same role the claim goes over, also from one that backups need for weeks after the tenant had left; the
    # column is unique and a retiring row has to have one, so it keeps a spent one ("#" stands in no role name).
    for old in KeyRegistration.objects.of(registration.tenant).filter(status=Status.RETIRING, role_claim=claim):
        KeyRegistration.objects.filter(pk=old.pk).update(role_claim=f"{claim}#{old.pk}")


def keep_tested(registration: KeyRegistration, test: EncryptionTest) -> None:
    """Keep that a test has passed, of a registration that goes into service later, and hold the role's claim for it.

    Raises:
        RoleArnTaken: another tenant holds the claim.
    """
    _claim(registration)
    is_first, registration.tested_at = registration.tested_at is None, test.finished_at
    KeyRegistration.objects.filter(pk=registration.pk).update(tested_at=test.finished_at)
    if is_first:
        audit.record(
            "keys.registration.tested",
            tenant=registration.tenant,
            actor=SYSTEM,
            target=registration,
            key_arn=registration.key_arn,
        )
    show(registration)


def _claim(registration: KeyRegistration) -> None:
    """Claim the role; one that the tenant claims already, by what serves or is retiring, goes over at activation."""
    claim = RoleArn.parse(registration.role_arn).claim
    holder = KeyRegistration.objects.filter(role_claim=claim).exclude(pk=registration.pk).first()
    if holder is not None and holder.tenant_id == registration.tenant_id:
        return
    try:
        with transaction.atomic():
            KeyRegistration.objects.filter(pk=registration.pk).update(role_claim=claim)
    except IntegrityError as error:
        raise errors.RoleArnTaken from error


def show(registration: KeyRegistration) -> None:
    """Let the tracker say what a tested registration waits for; a replacement does not change it."""
    if registration.replaces_id is not None or not registration.waits_for_activation:
        return
    at = registration.activate_at
    waits = at.isoformat() if at and registration.activation == Activation.AT_TIME else onboarding.BUTTON
    tenant, proven = registration.tenant, {"tested_at": str(registration.tested_at)}
    for number, evidence in (
        (1, {"key_arn": registration.key_arn, **proven}),
        (2, {"role_arn": registration.role_arn, **proven}),
        (3, {"key_arn": registration.key_arn, **proven}),
    ):
        onboarding.advance(tenant, number, Step.DONE, actor=SYSTEM, evidence=evidence)
    onboarding.advance(
        tenant, 5, Step.WAITING_FOR_TENANT, actor=SYSTEM, evidence={onboarding.ACTIVATION: waits, **proven}
    )


@transactions.atomic
def attend(registration: KeyRegistration) -> uuid.UUID | None:
    """Do what is due of an activation: put it in service, ask for a fresh test first, or say that the moment is missed.

    Safe to call at any time, by several workers at once: it looks at the row, and what is not due is left alone.

    Returns:
        the test that it waits for now, if this call has asked for one.
    """
    now = clock.now()
    due = KeyRegistration.objects.in_preparation().filter(pk=registration.pk, activation_due_at__lte=now)
    found = due.select_for_update(no_key=True, of=("self",)).select_related("tenant__service_role").first()
    if found is None:
        return None
    running = found.tests.open().first()
    if found.waits_for_activation and running is None and found.tested_at and found.tested_at > now - FRESH:
        _activate_tested(found)
        return None
    under_way = found.status in {Status.SUBMITTED, Status.CONFIGURING, Status.TESTING}
    until = (found.activate_at or now) + GRACE
    if not under_way or now >= until:
        miss(found, Missed.NOT_TESTED)
        return None
    KeyRegistration.objects.filter(pk=found.pk).update(activation_due_at=until)
    if found.status != Status.TESTING or running is not None:
        return None
    test = EncryptionTest.objects.create(tenant=found.tenant, registration=found, requested_by="system", due_at=now)
    audit.record("keys.test.requested", tenant=found.tenant, actor=SYSTEM, target=test, reason="activation")
    return test.pk


def put_off(registration: KeyRegistration) -> None:
    """Let one that could not be attended for a reason that nobody expects come again later, so that others have
    their turn."""
    KeyRegistration.objects.filter(pk=registration.pk).update(activation_due_at=clock.now() + FIRST_PAUSE)


def _activate_tested(registration: KeyRegistration) -> None:
    test = registration.tests.filter(verdict=EncryptionTest.Verdict.PASS).latest("finished_at")
    try:
        with transaction.atomic():
            activate(registration, test)
    except errors.KeySuspended:
        miss(registration, Missed.SUSPENDED)
    except errors.RoleArnTaken:
        miss(registration, Missed.TAKEN)


def miss(registration: KeyRegistration, why: str) -> None:
    """Say that the chosen moment has passed without an activation; from then on a person decides when it serves."""
    if registration.activation == Activation.WHEN_TESTED:
        KeyRegistration.objects.filter(pk=registration.pk).update(activation_due_at=None)
        return
    facts = {
        "activation": Activation.BY_BUTTON,
        "activate_at": None,
        "activation_due_at": None,
        "activation_missed": why,
    }
    at = registration.activate_at
    KeyRegistration.objects.filter(pk=registration.pk).update(**facts)
    for name, value in facts.items():
        setattr(registration, name, value)
    audit.record(
        "keys.activation.missed",
        tenant=registration.tenant,
        actor=SYSTEM,
        target=registration,
        key_arn=registration.key_arn,
        at=at.isoformat(timespec="seconds") if at else "",
        why=Missed(why).label,
    )
    show(registration)
