"""A passed test puts the key in service: the claim on the role, the move to active, and what it replaces,
in one transaction."""

from __future__ import annotations

import random
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction

from byokportal import clock
from keys import branchkeys, errors, lifecycle
from keys.arns import KeyArn, RoleArn
from keys.models import EncryptionTest, KeyHealth, KeyRegistration
from tenants import audit, onboarding, transactions
from tenants.audit import SYSTEM
from tenants.models import OnboardingStep

Status = KeyRegistration.Status
Step = OnboardingStep.Status


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
