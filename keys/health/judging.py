"""What AWS's answer means for one registration:
its state, its next probe, the steps that fall back (design.md 3 and 8)."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from django.conf import settings

from byokportal import clock
from byokportal.errors import DomainError, Kind, Turn
from keys import errors, horizon, lifecycle
from keys.errors import RegistrationBusy
from keys.health import again, blame, kept, notes, timing
from keys.health.again import RESUMED
from keys.health.asking import Answer
from keys.health.questions import INSECURE
from keys.models import KeyRegistration
from tenants import audit, onboarding, transactions
from tenants.models import OnboardingStep

Status = KeyRegistration.Status
Step = OnboardingStep.Status
AWS = KeyRegistration.SuspendedBy.AWS

SECOND_LOOK = 5.0  # seconds after the first silence of a key that served: a lost packet is no news yet
UNPROBED = 60.0  # seconds that a request's refusal waits for a probe: without a worker it is believed then
HOUR, DAY = 3_600.0, 86_400.0  # between questions about a key that only backups need, or that a button stops

# What DescribeKey says of the key itself.
# All other refusals are a policy's, which AWS learns of node by node (`timing`).
STATES: tuple[type[DomainError], ...] = (errors.KeyDisabled, errors.KeyPendingDeletion, errors.KeyPendingImport)
STATE_CODES = frozenset(error.code for error in STATES)

# The step of the guide that a refusal falls back on; all others are about the key itself, step 1.
STEP_OF: dict[type[DomainError], int] = {
    errors.RoleNotAssumable: 2,
    errors.KeyAccessDenied: 3,
}


def judge(registration: KeyRegistration, answer: Answer, *, claim: datetime, ours: DomainError | None) -> None:
    """Use what a probe learnt, as long as its claim holds and nobody moved the registration meanwhile.

    Args:
        ours: what `blame.of` says of a refusal: None when it is the tenant's doing.
    """
    # A role that refuses everybody proves nothing about its External ID.
    if answer.is_narrow is False or (answer.is_narrow and answer.facts is not None):
        _note_trust(registration, answer, claim)
    error = answer.error
    if error is None:
        good(registration, answer, claim=claim)
    elif error.kind is not Kind.KEY_REFUSED:
        unreachable(registration, error, answer, claim=claim)
    elif ours is not None:
        unreachable(registration, ours, answer, claim=claim, refusal=error)
    else:
        _refused(registration, error, answer, claim=claim)


@transactions.atomic
def good(registration: KeyRegistration, answer: Answer | None = None, *, claim: datetime | None = None) -> None:
    """Note a good probe; enough of them in a row end what AWS, a silence or a Resume began.

    Args:
        claim: of the probe that asked; what was learnt under a lost claim is not used.
    """
    if not _lock(registration, claim):
        return
    # what was asked is what DescribeKey says, and no answer undoes a pressed button
    if registration.is_stopped_by_a_person:
        _note(registration, pause_when_well(registration), answer)
        return
    at = answer.at if answer else clock.now()
    if registration.refused_since is not None and registration.refused_since > at:  # a request heard a no since then
        KeyRegistration.objects.filter(pk=registration.pk).update(probe_claimed_at=None)
        return
    way = _way_back(registration, answer, at)
    proves_nothing = way is None and registration.status == Status.SUSPENDED
    if way is not None and not way.is_back:
        pause, good_since = way.ask_in.total_seconds(), registration.good_since or at
    else:
        pause, good_since = _pause(registration) if proves_nothing else pause_when_well(registration), None
    _note(
        registration,
        pause,
        answer,
        is_exact=good_since is not None,
        good_probes=0 if proves_nothing else registration.good_probes + 1,
        good_since=good_since,
        denied_probes=0,
        refused_since=None,
        refused_code="",
        allowed_since=at if registration.refused_since else registration.allowed_since,
    )
    if way is None or not way.is_back:
        return
    try:
        lifecycle.move(registration, Status.ACTIVE, actor=audit.SYSTEM)
    except RegistrationBusy:
        return
    audit.record("keys.key.recovered", tenant=registration.tenant, actor=audit.SYSTEM, target=registration)
    _steps_recover(registration)


def _way_back(registration: KeyRegistration, answer: Answer | None, at: datetime) -> timing.Step | None:
    """Return how far a good answer brings a stopped key back; None: it decides nothing."""
    if registration.status == Status.UNREACHABLE and registration.reason != RESUMED:
        return timing.Step(is_back=True)  # it was only not heard
    if registration.status not in {Status.UNREACHABLE, Status.SUSPENDED}:
        return None
    if registration.reason == INSECURE and (answer is None or answer.is_narrow is not True):
        return None  # only a probe that saw the trust policy refuse strangers says anything about it
    return timing.after_good_answer(
        at, good_since=registration.good_since, denied_since=registration.denied_since, pace=again.pace()
    )


def denied(registration: KeyRegistration, error: DomainError) -> DomainError:
    """Judge a refusal that a request for a data key met. Call it outside a transaction: it may ask AWS.

    Args:
        error: of kind KEY_REFUSED, what AWS answered.

    Returns:
        What the caller is told: the refusal, or that our own side does not work.
    """
    is_fresh = registration.refused_since is None
    told = _denied(registration, error)
    if is_fresh:  # what else there is to know, as the date of a deletion, only a probe hears
        again.ask(registration)
    return told


def _denied(registration: KeyRegistration, error: DomainError) -> DomainError:
    ours = None
    if registration.status in {Status.ACTIVE, Status.UNREACHABLE}:
        ours = blame.of(registration.tenant.service_role, error, refused=[registration])
        if ours is None and isinstance(error, errors.RoleNotAssumable) and not _was_unprobed(registration):
            return _leave_to_probe(registration, error)
    if ours is not None:
        unreachable(registration, ours, refusal=error)
        return ours
    _refused(registration, error)
    return error


def _was_unprobed(registration: KeyRegistration) -> bool:
    """Tell whether a key that serves has been refused for so long that a probe would have said whose doing it is."""
    since = registration.refused_since
    return (
        registration.status == Status.ACTIVE and since is not None and since < clock.now() - timedelta(seconds=UNPROBED)
    )


@transactions.atomic
def _leave_to_probe(registration: KeyRegistration, refusal: DomainError) -> DomainError:
    """Let a probe say whose doing a refusal is, at once:
    it reads our policy in IAM back, which the processes of the web may not."""
    if _lock(registration, None):
        _note_refusal(registration, refusal, None, registration.last_probe_at)
    return errors.KeyUnreachable(retry_after=5)


@transactions.atomic
def _refused(
    registration: KeyRegistration, error: DomainError, answer: Answer | None = None, *, claim: datetime | None = None
) -> None:
    """AWS said no and it is the tenant's doing: stop."""
    if not _lock(registration, claim):
        return
    is_news, deletion_at = registration.refused_code != error.code, notes.deletion_date(registration)
    _note_refusal(registration, error, answer, registration.last_probe_at)
    if claim is not None:
        _note(registration, _pause(registration), answer, denied_probes=registration.denied_probes + 1)
    was_stopped = registration.status == Status.SUSPENDED
    if registration.status == Status.RETIRING and is_news:
        kept.warn(registration, error)
    if registration.status in {Status.ACTIVE, Status.UNREACHABLE}:
        _suspend(registration, error.code, is_probed=claim is not None)
        _fall_back(registration, error)
    elif (
        registration.status == Status.SUSPENDED
        and registration.suspended_by == AWS
        and registration.reason not in {error.code, INSECURE}
    ):
        _say(registration, error.code)  # AWS's last word is what people see
    if was_stopped:
        _warn_of_deletion(registration, known=deletion_at)


def _warn_of_deletion(registration: KeyRegistration, *, known: datetime | None) -> None:
    """Warn the owners once that AWS is about to delete a key that was stopped before:
    no mail about a stop will tell them."""
    at = notes.deletion_date(registration)
    if at is not None and at != known:
        audit.record(
            "keys.key.deletion_scheduled",
            tenant=registration.tenant,
            actor=audit.SYSTEM,
            target=registration,
            key_arn=registration.key_arn,
            at=horizon.said(at),
        )


def _suspend(registration: KeyRegistration, reason: str, *, is_probed: bool) -> None:
    facts: dict[str, object] = {"suspended_by": AWS, "good_probes": 0, "good_since": None}
    if not is_probed:  # a probe has set the time of the next one already
        facts |= {"next_probe_at": next_at(_pause(registration))}
    try:
        lifecycle.move(registration, Status.SUSPENDED, actor=audit.SYSTEM, reason=reason, **facts)
    except RegistrationBusy:
        return
    audit.record(
        "keys.key.suspended",
        tenant=registration.tenant,
        actor=audit.SYSTEM,
        target=registration,
        suspended_by=AWS.label,
        reason=reason,
    )


def _fall_back(registration: KeyRegistration, error: DomainError) -> None:
    evidence: dict[str, object] = {"code": error.code}
    evidence |= {name: error.params[name] for name in ("aws_code", "action", "aws_request_id") if name in error.params}
    number = STEP_OF.get(type(error), 1)
    onboarding.advance(
        registration.tenant, number, Step.FAILED, actor=audit.SYSTEM, reason=error.code, evidence=evidence
    )


@transactions.atomic
def unreachable(
    registration: KeyRegistration,
    error: DomainError,
    answer: Answer | None = None,
    *,
    claim: datetime | None = None,
    refusal: DomainError | None = None,
) -> None:
    """Note that we could not tell; nothing says that the key was taken back, so nothing is suspended.

    A single silence is only looked at again soon: with every fifth call lost each process would stop making keys
    for minutes all day. Nothing is risked by that, because what is cached ends by itself
    and nothing is loaded without an answer.

    Args:
        claim: as in `good`.
        refusal: AWS's own words, where it refused us and that is our doing.
    """
    if not _lock(registration, claim):
        return
    if refusal is not None:
        _note_refusal(registration, refusal, answer, registration.last_probe_at)
    is_first = _is_first_silence(registration, error, refusal)
    if claim is not None:
        pause = min(SECOND_LOOK, _pause(registration)) if is_first else _pause(registration)
        _note(registration, pause, answer, good_probes=0, good_since=None, denied_probes=registration.denied_probes + 1)
        if is_first:
            return
    if registration.status == Status.UNREACHABLE and registration.reason != error.code and refusal is not None:
        _say(registration, error.code)
    if registration.status != Status.ACTIVE:
        return
    facts = {} if claim else {"good_probes": 0, "good_since": None, "next_probe_at": next_at(_pause(registration))}
    try:
        lifecycle.move(registration, Status.UNREACHABLE, actor=audit.SYSTEM, reason=error.code, **facts)
    except RegistrationBusy:
        return
    if claim is None:  # a request met it: a probe says soon whether it lasts
        again.ask(registration)
    turn = error.turn if error.turn in {Turn.KORE, Turn.NOBODY} else Turn.KORE
    audit.record(
        "keys.key.unreachable",
        tenant=registration.tenant,
        actor=audit.SYSTEM,
        target=registration,
        reason=error.code,
        whose_turn=turn.value,
    )


def _is_first_silence(registration: KeyRegistration, error: DomainError, refusal: DomainError | None) -> bool:
    """Tell whether a key that served has merely not been heard once;
    our own broken side and unknown words count at once."""
    silent = isinstance(error, errors.AwsThrottled | errors.AwsUnreachable)
    return silent and refusal is None and registration.status == Status.ACTIVE and registration.denied_probes == 0


@transactions.atomic
def _note_trust(registration: KeyRegistration, answer: Answer, claim: datetime) -> None:
    """Keep what a look at the trust policy found;
    a serving role that lets anybody in twice is suspended (design.md 3)."""
    if not _lock(registration, claim):
        return
    now = answer.at
    if answer.is_narrow:
        KeyRegistration.objects.filter(pk=registration.pk).update(insecure_since=None, trust_looked_at=now)
    elif registration.insecure_since is None:
        KeyRegistration.objects.filter(pk=registration.pk).update(insecure_since=now, denied_since=now)
        audit.record("keys.key.trust_too_wide", tenant=registration.tenant, actor=audit.SYSTEM, target=registration)
    elif now >= registration.insecure_since + timedelta(seconds=settings.EXTERNAL_ID_PROBE_GAP):
        if registration.status in {Status.ACTIVE, Status.UNREACHABLE}:
            _suspend(registration, INSECURE, is_probed=True)
            onboarding.advance(
                registration.tenant, 2, Step.FAILED, actor=audit.SYSTEM, reason=INSECURE, evidence={"code": INSECURE}
            )
        elif registration.status == Status.SUSPENDED and registration.suspended_by == AWS:
            _say(registration, INSECURE)
    registration.refresh_from_db()


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


# --- the row ----------------------------------------------------------------------------------------------------


def _lock(registration: KeyRegistration, claim: datetime | None) -> bool:
    """Lock the row and load it anew; False when the probe's claim on it is gone,
    or it moved since the probe was asked."""
    row = KeyRegistration.objects.select_for_update(no_key=True).filter(pk=registration.pk)
    if claim is not None:
        row = row.filter(probe_claimed_at=claim)
    if row.first() is None:
        return False
    believed = registration.moved_at
    registration.refresh_from_db()
    if claim is not None and registration.moved_at != believed:
        KeyRegistration.objects.filter(pk=registration.pk).update(probe_claimed_at=None)
        return False
    return True


def _note(
    registration: KeyRegistration, pause: float, answer: Answer | None, *, is_exact: bool = False, **facts: object
) -> None:
    """Give the claim back, count, and say when the next probe is:
    soon, where somebody asked for one while this one was under way."""
    claim, asked = registration.probe_claimed_at, registration.probe_asked_at
    is_awaited = registration.is_probe_awaited and asked is not None and claim is not None and asked > claim
    soon = clock.now() + min(timing.APART, timedelta(seconds=pause))
    facts |= {
        "probe_claimed_at": None,
        "probe_failures": 0,
        "last_probe_at": answer.at if answer else clock.now(),
        "next_probe_at": soon if is_awaited else next_at(pause, is_exact=is_exact),
    }
    if not is_awaited and claim is not None:
        facts["is_probe_awaited"] = False
    if answer is not None and answer.facts is not None:
        facts["key_facts"] = facts_of(answer)
    KeyRegistration.objects.filter(pk=registration.pk).update(**facts)
    for name, value in facts.items():
        setattr(registration, name, value)


def facts_of(answer: Answer) -> dict[str, str]:
    """Return what people have to know of DescribeKey's answer, as the row keeps it."""
    found = answer.facts
    if found is None:
        return {}
    facts = {"state": found.state, "origin": found.origin}
    if found.deletion_at is not None:
        facts["deletion_at"] = found.deletion_at.isoformat()
    return facts


def _say(registration: KeyRegistration, reason: str) -> None:
    """Change the reason without a move: AWS's last word is what people and services see."""
    KeyRegistration.objects.filter(pk=registration.pk).update(reason=reason)
    lifecycle.changed(registration.tenant_id)


def _note_refusal(
    registration: KeyRegistration, error: DomainError, answer: Answer | None, last_asked: datetime | None
) -> None:
    """Keep since when AWS refuses us; the time is the one of its answer, not of this transaction.

    Args:
        last_asked: when the probe before this answer was answered.
    """
    facts: dict[str, object] = {"refused_code": error.code, "allowed_since": None, "good_probes": 0, "good_since": None}
    is_first = registration.refused_since is None
    if not isinstance(error, STATES) and (is_first or registration.refused_code in STATE_CODES):
        facts["denied_since"] = answer.at if answer else clock.now()
    if is_first:
        facts |= {"refused_since": answer.at if answer else clock.now(), "allowed_until": last_asked}
    KeyRegistration.objects.filter(pk=registration.pk).update(**facts)
    for name, value in facts.items():
        setattr(registration, name, value)


def pause_when_well(registration: KeyRegistration) -> float:
    """Return the seconds until a key that answers is asked again."""
    if registration.needed_until is not None:  # only backups need that one
        pause = DAY
    else:
        pause = HOUR if registration.is_stopped_by_a_person else settings.PROBE_SECONDS
    if registration.insecure_since is not None:  # the second look comes a gap later
        pause = min(pause, settings.EXTERNAL_ID_PROBE_GAP)
    return float(_dense(registration, pause))


def _pause(registration: KeyRegistration) -> float:
    """Return the seconds until a key that did not answer is asked again: longer each time."""
    if registration.needed_until is not None:
        return HOUR
    # whatever AWS says, it stays stopped: only the date of a deletion is looked for
    if registration.is_stopped_by_a_person:
        return float(_dense(registration, HOUR))
    pauses = settings.DENIED_PROBE_SECONDS
    return float(_dense(registration, pauses[min(registration.denied_probes, len(pauses) - 1)]))


def _dense(registration: KeyRegistration, pause: float) -> float:
    is_dense = registration.dense_until is not None and registration.dense_until > clock.now()
    return min(pause, settings.DRILL_PROBE_SECONDS) if is_dense else pause


def next_at(pause: float, *, is_exact: bool = False) -> datetime:
    """Return the time in so many seconds, jittered unless somebody waits for it:
    ten thousand keys are not asked at once."""
    jitter = 1.0 if is_exact else random.uniform(0.9, 1.1)  # noqa: S311  jitter is no secret
    return clock.now() + timedelta(seconds=pause * jitter)
