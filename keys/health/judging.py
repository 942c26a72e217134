"""What AWS's answer means for one registration:
its state, its next probe, the steps that fall back (design.md 3 and 8)."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings

from byokportal import clock
from byokportal.errors import DomainError, Kind, Turn
from byokportal.translation import lazy
from keys import errors, horizon, lifecycle
from keys.errors import RegistrationBusy
from keys.health import again, blame, kept, notes, pauses, row, timing
from keys.health.again import RESUMED
from keys.health.asking import Answer
from keys.health.questions import INSECURE
from keys.models import KeyHealth, KeyRegistration
from tenants import audit, onboarding, transactions
from tenants.models import OnboardingStep

Status = KeyRegistration.Status
Step = OnboardingStep.Status
AWS = KeyRegistration.SuspendedBy.AWS

SECOND_LOOK = 5.0  # seconds after the first silence of a key that served: a lost packet is no news yet
UNPROBED = 60.0  # seconds that a request's refusal waits for a probe: without a worker it is taken as final then

# What DescribeKey says of the key itself.
# All other refusals are a policy's, which AWS learns of node by node (`timing`).
STATES: tuple[type[DomainError], ...] = (errors.KeyDisabled, errors.KeyPendingDeletion, errors.KeyPendingImport)
STATE_CODES = frozenset(error.code for error in STATES)

# The step of the guide that a refusal falls back on; all others are about the key itself, step 1.
STEP_OF: dict[type[DomainError], int] = {
    errors.RoleNotAssumable: 2,
    errors.KeyAccessDenied: 3,
}


def judge(health: KeyHealth, answer: Answer, *, claim: datetime, ours: DomainError | None) -> None:
    """Use what a probe learnt, as long as its claim holds and nobody moved the registration meanwhile.

    Args:
        ours: what `blame.of` says of a refusal: None when it is the tenant's doing.
    """
    # A role that refuses everybody proves nothing about its External ID.
    if answer.is_narrow is False or (answer.is_narrow and answer.facts is not None):
        _note_trust(health, answer, claim)
    error = answer.error
    if error is None:
        good(health, answer, claim=claim)
    elif error.kind is not Kind.KEY_REFUSED:
        _unreachable(health, error, answer, claim=claim)
    elif ours is not None:
        _unreachable(health, ours, answer, claim=claim, refusal=error)
    else:
        _refused(health, error, answer, claim=claim)


@transactions.atomic
def good(health: KeyHealth, answer: Answer | None = None, *, claim: datetime | None = None) -> None:
    """Note a good probe; enough of them in a row end what AWS, a silence or a Resume began.

    Args:
        claim: of the probe that asked; what was learnt under a lost claim is not used.
    """
    if not row.lock(health, claim):
        return
    registration = health.registration
    # what was asked is what DescribeKey says, and no answer undoes a pressed button
    if registration.is_stopped_by_a_person:
        row.note(health, pauses.when_well(health), answer)
        return
    at = answer.at if answer else clock.now()
    if health.refused_since is not None and health.refused_since > at:  # a request heard a no since then
        row.write(health, probe_claimed_at=None)
        return
    way = _way_back(health, answer, at)
    proves_nothing = way is None and registration.status == Status.SUSPENDED
    if way is not None and not way.is_back:
        pause, good_since = way.ask_in.total_seconds(), health.good_since or at
    else:
        pause, good_since = pauses.when_refused(health) if proves_nothing else pauses.when_well(health), None
    row.note(
        health,
        pause,
        answer,
        is_exact=good_since is not None,
        good_probes=0 if proves_nothing else health.good_probes + 1,
        good_since=good_since,
        denied_probes=0,
        refused_since=None,
        refused_code="",
        allowed_since=at if health.refused_since else health.allowed_since,
    )
    if way is None or not way.is_back:
        return
    try:
        lifecycle.move(registration, Status.ACTIVE, actor=audit.SYSTEM)
    except RegistrationBusy:
        return
    audit.record("keys.key.recovered", tenant=registration.tenant, actor=audit.SYSTEM, target=registration)
    _steps_recover(registration)


def _way_back(health: KeyHealth, answer: Answer | None, at: datetime) -> timing.Step | None:
    """Return how far a good answer brings a stopped key back; None: it decides nothing."""
    registration = health.registration
    if registration.status == Status.UNREACHABLE and registration.reason != RESUMED:
        return timing.Step(is_back=True)  # it was only not heard
    if registration.status not in {Status.UNREACHABLE, Status.SUSPENDED}:
        return None
    if registration.reason == INSECURE and (answer is None or answer.is_narrow is not True):
        return None  # only a probe that saw the trust policy refuse strangers says anything about it
    return timing.after_good_answer(
        at, good_since=health.good_since, denied_since=health.denied_since, pace=again.pace()
    )


def denied(registration: KeyRegistration, error: DomainError) -> DomainError:
    """Judge a refusal that a request for a data key met. Call it outside a transaction: it may ask AWS.

    Args:
        error: of kind KEY_REFUSED, what AWS answered.

    Returns:
        What the caller is told: the refusal, or that our own side does not work.
    """
    health = KeyHealth.objects.known(registration)
    is_fresh = health.refused_since is None
    told = _denied(health, error)
    if is_fresh:  # what else there is to know, as the date of a deletion, only a probe hears
        again.ask(registration)
    return told


def _denied(health: KeyHealth, error: DomainError) -> DomainError:
    registration, ours = health.registration, None
    if registration.status in {Status.ACTIVE, Status.UNREACHABLE}:
        ours = blame.of(registration.tenant.service_role, error, refused=[health])
        if ours is None and isinstance(error, errors.RoleNotAssumable) and not _was_unprobed(health):
            return _leave_to_probe(health, error)
    if ours is not None:
        _unreachable(health, ours, refusal=error)
        return ours
    _refused(health, error)
    return error


def _was_unprobed(health: KeyHealth) -> bool:
    """Tell whether a key that serves has been refused for so long that a probe would have said whose doing it is."""
    since = health.refused_since
    return (
        health.registration.status == Status.ACTIVE
        and since is not None
        and since < clock.now() - timedelta(seconds=UNPROBED)
    )


@transactions.atomic
def _leave_to_probe(health: KeyHealth, refusal: DomainError) -> DomainError:
    """Let a probe say whose doing a refusal is, at once:
    it reads our policy in IAM back, which the processes of the web may not."""
    if row.lock(health, None):
        _note_refusal(health, refusal, None, health.last_probe_at)
    return errors.KeyUnreachable(retry_after=5)


@transactions.atomic
def _refused(
    health: KeyHealth, error: DomainError, answer: Answer | None = None, *, claim: datetime | None = None
) -> None:
    """AWS said no and it is the tenant's doing: stop."""
    if not row.lock(health, claim):
        return
    registration = health.registration
    is_news, deletion_at = health.refused_code != error.code, notes.deletion_date(health)
    _note_refusal(health, error, answer, health.last_probe_at)
    if claim is not None:
        row.note(health, pauses.when_refused(health), answer, denied_probes=health.denied_probes + 1)
    was_stopped = registration.status == Status.SUSPENDED
    if registration.status == Status.RETIRING and is_news:
        kept.warn(health, error)
    if registration.status in {Status.ACTIVE, Status.UNREACHABLE}:
        _suspend(health, error.code, is_probed=claim is not None)
        _fall_back(health, error)
    elif (
        registration.status == Status.SUSPENDED
        and registration.suspended_by == AWS
        and registration.reason not in {error.code, INSECURE}
    ):
        _say(registration, error.code)  # AWS's last word is what people see
    if was_stopped:
        _warn_of_deletion(health, known=deletion_at)


def _warn_of_deletion(health: KeyHealth, *, known: datetime | None) -> None:
    """Warn the owners once that AWS is about to delete a key that was stopped before:
    no mail about a stop will tell them."""
    at = notes.deletion_date(health)
    if at is not None and at != known:
        audit.record(
            "keys.key.deletion_scheduled",
            tenant=health.registration.tenant,
            actor=audit.SYSTEM,
            target=health.registration,
            key_arn=health.registration.key_arn,
            at=horizon.written(at),
        )


def _suspend(health: KeyHealth, reason: str, *, is_probed: bool) -> None:
    registration, pause = health.registration, pauses.when_refused(health)
    try:
        lifecycle.move(registration, Status.SUSPENDED, actor=audit.SYSTEM, reason=reason, suspended_by=AWS)
    except RegistrationBusy:
        return
    # A probe has set the time of the next one already.
    facts = {} if is_probed else {"next_probe_at": pauses.next_at(pause)}
    row.write(health, good_probes=0, good_since=None, **facts)
    audit.record(
        "keys.key.suspended",
        tenant=registration.tenant,
        actor=audit.SYSTEM,
        target=registration,
        suspended_by=AWS.label,
        reason=reason,
    )


def _fall_back(health: KeyHealth, error: DomainError) -> None:
    evidence: dict[str, object] = {"code": error.code}
    evidence |= {name: error.params[name] for name in ("aws_code", "action", "aws_request_id") if name in error.params}
    number = STEP_OF.get(type(error), 1)
    onboarding.advance(
        health.registration.tenant, number, Step.FAILED, actor=audit.SYSTEM, reason=error.code, evidence=evidence
    )


def unreachable(registration: KeyRegistration, error: DomainError) -> None:
    """Note that a request for a data key could not tell whether we may use the key; see `_unreachable`."""
    _unreachable(KeyHealth.objects.known(registration), error)


@transactions.atomic
def _unreachable(
    health: KeyHealth,
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
    if not row.lock(health, claim):
        return
    registration = health.registration
    if refusal is not None:
        _note_refusal(health, refusal, answer, health.last_probe_at)
    is_first = _is_first_silence(health, error, refusal)
    if claim is not None:
        pause = min(SECOND_LOOK, pauses.when_refused(health)) if is_first else pauses.when_refused(health)
        row.note(health, pause, answer, good_probes=0, good_since=None, denied_probes=health.denied_probes + 1)
        if is_first:
            return
    if registration.status == Status.UNREACHABLE and registration.reason != error.code and refusal is not None:
        _say(registration, error.code)
    if registration.status != Status.ACTIVE:
        return
    pause = pauses.when_refused(health)
    try:
        lifecycle.move(registration, Status.UNREACHABLE, actor=audit.SYSTEM, reason=error.code)
    except RegistrationBusy:
        return
    if claim is None:  # a request met it: a probe says soon whether it lasts
        row.write(health, good_probes=0, good_since=None, next_probe_at=pauses.next_at(pause))
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


def _is_first_silence(health: KeyHealth, error: DomainError, refusal: DomainError | None) -> bool:
    """Tell whether a key that served has merely not been heard once;
    our own broken side and unknown words count at once."""
    silent = isinstance(error, errors.AwsThrottled | errors.AwsUnreachable)
    return silent and refusal is None and health.registration.status == Status.ACTIVE and health.denied_probes == 0


@transactions.atomic
def _note_trust(health: KeyHealth, answer: Answer, claim: datetime) -> None:
    """Keep what a look at the trust policy found;
    a serving role that lets anybody in twice is suspended (design.md 3)."""
    if not row.lock(health, claim):
        return
    registration, now = health.registration, answer.at
    if answer.is_narrow:
        row.write(health, insecure_since=None, trust_looked_at=now)
    elif health.insecure_since is None:
        row.write(health, insecure_since=now, denied_since=now)
        audit.record("keys.key.trust_too_wide", tenant=registration.tenant, actor=audit.SYSTEM, target=registration)
    elif now >= health.insecure_since + timedelta(seconds=settings.EXTERNAL_ID_PROBE_GAP):
        if registration.status in {Status.ACTIVE, Status.UNREACHABLE}:
            _suspend(health, INSECURE, is_probed=True)
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
            reason=lazy("the key answers again"),
            evidence=about,
        )


# --- the row ----------------------------------------------------------------------------------------------------


def _say(registration: KeyRegistration, reason: str) -> None:
    """Change the reason without a move: AWS's last word is what people and services see."""
    KeyRegistration.objects.filter(pk=registration.pk).update(reason=reason)
    lifecycle.changed(registration.tenant_id)


def _note_refusal(health: KeyHealth, error: DomainError, answer: Answer | None, last_asked: datetime | None) -> None:
    """Keep since when AWS refuses us; the time is the one of its answer, not of this transaction.

    Args:
        last_asked: when the probe before this answer was answered.
    """
    facts: dict[str, object] = {"refused_code": error.code, "allowed_since": None, "good_probes": 0, "good_since": None}
    is_first = health.refused_since is None
    if not isinstance(error, STATES) and (is_first or health.refused_code in STATE_CODES):
        facts["denied_since"] = answer.at if answer else clock.now()
    if is_first:
        facts |= {"refused_since": answer.at if answer else clock.now(), "allowed_until": last_asked}
    row.write(health, **facts)
