"""What a finished test means: for the registration, for the six steps, for the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from byokportal import clock
from byokportal.translation import lazy
from keys import activation, errors, lifecycle
from keys.models import EncryptionTest, KeyHealth, KeyRegistration
from keys.proof.encryption_test.base import Check, Judgement, Verdict
from keys.proof.encryption_test.checks.external_id import INSECURE
from keys.proof.encryption_test.report import chain, remedy_order
from keys.proof.encryption_test.report.remedy_order import Remedy
from tenants import audit, onboarding
from tenants.audit import SYSTEM
from tenants.models import OnboardingStep

Status = KeyRegistration.Status
Step = OnboardingStep.Status
TAKEN = "account.identity"  # the check that says whose role it is
REFUSED = lazy("AWS refuses us, which may pass by itself.")
LET_US_IN = lazy("Your role lets in whom it has to refuse.")


@dataclass(frozen=True, slots=True)
class Failure:
    """The first thing to correct."""

    check: str
    step: int
    reason: str


def overall(judgements: Mapping[str, Judgement], checks: tuple[Check, ...]) -> Verdict:
    """Return the verdict of the run: one failure fails it, all passes pass it, everything else cannot tell."""
    verdicts = [judgements[each.code].verdict for each in checks if not each.is_warning]
    if Verdict.FAIL in verdicts:
        return Verdict.FAIL
    return Verdict.PASS if all(verdict == Verdict.PASS for verdict in verdicts) else Verdict.UNKNOWN


def failures(judgements: Mapping[str, Judgement], checks: tuple[Check, ...]) -> list[Failure]:
    """Return what failed, in the order of the remedies, which is the one that the page of the test shows."""
    failed = [
        (
            judgements[each.code],
            Failure(each.code, judgements[each.code].step or each.step, judgements[each.code].reason or each.code),
        )
        for each in checks
        if judgements[each.code].verdict == Verdict.FAIL and not each.is_warning
    ]
    failed.sort(key=lambda pair: chain.rank_of(pair[1].check, pair[1].step, pair[0].causes))
    return [failure for _, failure in failed]


def warnings(judgements: Mapping[str, Judgement], checks: tuple[Check, ...]) -> list[str]:
    """Return what is no fault but worth knowing, in sentences."""
    return [
        str(judgements[each.code].evidence["warning"]) for each in checks if "warning" in judgements[each.code].evidence
    ]


def taken() -> Judgement:
    """Return the judgement for a role that another registration serves with: neutral, it must not tell whose."""
    return Judgement(
        Verdict.FAIL,
        {"why": errors.RoleArnTaken.title},
        reason=errors.RoleArnTaken.code,
        step=2,
        remedy=errors.RoleArnTaken.detail,
    )


def passed(test: EncryptionTest, registration: KeyRegistration) -> None:
    """Put a tested registration in service, or keep that it is tested where the tenant says when;
    one that serves is only found well.

    Raises:
        RoleArnTaken, KeySuspended, RegistrationBusy: as `activation.activate`.
    """
    if registration.status == Status.TESTING:
        if registration.is_to_serve(clock.now()):
            activation.activate(registration, test)
        else:
            activation.keep_tested(registration, test)
        return
    health = KeyHealth.objects.filter(registration=registration)
    if registration.status == Status.SUSPENDED and (registration.suspended_by, registration.reason) == (
        "aws",
        INSECURE,
    ):
        lifecycle.move(
            registration,
            Status.ACTIVE,
            actor=SYSTEM,
            reason="the trust policy was corrected",
        )
        health.update(good_probes=0, denied_probes=0)
        audit.record("keys.key.recovered", tenant=registration.tenant, actor=SYSTEM, target=registration)
    # Every check passed, those of the trust policy among them: what a probe saw before is over.
    health.update(insecure_since=None)
    if registration.status in KeyRegistration.SERVING:
        for number in (1, 2, 3):
            onboarding.advance_if(registration.tenant, number, {Step.FAILED}, Step.DONE, actor=SYSTEM)


def failed(
    test: EncryptionTest,
    registration: KeyRegistration,
    found: list[Failure],
    judgements: Mapping[str, Judgement],
    checks: tuple[Check, ...],
) -> None:
    """Reject a registration in preparation;
    one that serves goes on, unless its role lets anybody in (seen twice by then)."""
    first = found[0]
    if registration.status == Status.TESTING:
        was_due = registration.activation != KeyRegistration.Activation.WHEN_TESTED and registration.is_to_serve(
            clock.now()
        )
        lifecycle.move(registration, Status.REJECTED, actor=SYSTEM, reason=first.reason, tested_at=None)
        if was_due:
            activation.miss(registration, KeyRegistration.Missed.TEST_FAILED)
        audit.record(
            "keys.registration.rejected",
            tenant=registration.tenant,
            actor=SYSTEM,
            target=registration,
            step=first.step,
            reason=first.reason,
        )
    elif first.reason == INSECURE and registration.status in {Status.ACTIVE, Status.UNREACHABLE}:
        by = KeyRegistration.SuspendedBy.AWS
        lifecycle.move(registration, Status.SUSPENDED, actor=SYSTEM, reason=INSECURE, suspended_by=by)
        audit.record(
            "keys.key.suspended",
            tenant=registration.tenant,
            actor=SYSTEM,
            target=registration,
            suspended_by=by.label,
            reason=INSECURE,
        )
    elif (
        first.reason == INSECURE
        and registration.status == Status.SUSPENDED
        and registration.suspended_by == KeyRegistration.SuspendedBy.AWS
    ):
        # Suspended for something that ends by itself; this does not.
        KeyRegistration.objects.filter(pk=registration.pk, status=Status.SUSPENDED, suspended_by="aws").update(
            reason=INSECURE
        )
    if is_on_the_tracker(registration):
        _fall_back(test, registration, found, judgements, checks)


def expects(test: EncryptionTest, registration: KeyRegistration) -> list[Remedy]:
    """Let the six steps say what will have to be changed unless AWS's answers pass by themselves; return it.

    Call it in the transaction that ends a look. Once the test is over nothing is expected any more.
    """
    likely = [] if test.finished_at else remedy_order.likely(test.checks.all())
    if not is_on_the_tracker(registration):
        return likely
    changes: dict[int, onboarding.Change] = {}
    for remedy in likely:
        if remedy.counts_at is not None:
            why = LET_US_IN if chain.let_us_in(remedy.first) else REFUSED
            counts_at = remedy.counts_at.isoformat()
            change = onboarding.Change(why, remedy.what, remedy.step, counts_at, str(test.pk), list(remedy.causes))
            changes.setdefault(remedy.step, change)
            if registration.status == Status.TESTING:
                changes.setdefault(5, change)
    onboarding.expect(test.tenant, changes)
    return likely


def is_on_the_tracker(registration: KeyRegistration) -> bool:
    """Tell whether the six steps are about it:
    a replacement in preparation does not undo those of the key that serves."""
    return registration.status in KeyRegistration.SERVING or registration.replaces_id is None


def _fall_back(
    test: EncryptionTest,
    registration: KeyRegistration,
    found: list[Failure],
    judgements: Mapping[str, Judgement],
    checks: tuple[Check, ...],
) -> None:
    failing = {failure.step: failure for failure in reversed(found)}
    for number in (1, 2, 3):
        about = registration.key_arn if number != 2 else registration.role_arn
        evidence: dict[str, object] = {"role_arn" if number == 2 else "key_arn": about, "test": str(test.pk)}
        verdicts = {judgements[each.code].verdict for each in checks if each.step == number and not each.is_warning}
        if number in failing:
            evidence |= {"check": failing[number].check, "reason": failing[number].reason}
            onboarding.advance(
                registration.tenant, number, Step.FAILED, actor=SYSTEM, reason=failing[number].reason, evidence=evidence
            )
        elif verdicts == {Verdict.PASS}:
            onboarding.advance(registration.tenant, number, Step.DONE, actor=SYSTEM, evidence=evidence)
        else:  # the test is over and did not get as far as this step
            onboarding.advance_if(
                registration.tenant, number, {Step.IN_PROGRESS}, Step.WAITING_FOR_TENANT, actor=SYSTEM
            )
    if registration.status not in KeyRegistration.SERVING:
        onboarding.advance(registration.tenant, 5, Step.WAITING_FOR_TENANT, actor=SYSTEM, reason=found[0].reason)
