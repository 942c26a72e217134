"""Run one encryption test: claim the row, gather, judge, store, and act on the verdict or come again."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q

from byokportal import clock, metrics
from byokportal.translation import lazy
from keys import branchkeys, errors
from keys.models import (
    CheckResult,
    EncryptionTest,
    KeyHealth,
    KeyRegistration,
    RoleConfiguration,
    put_off_if_it_breaks,
)
from keys.proof.encryption_test import CHECKS, asked, base, gathering, outcome, remedies, schedule
from keys.proof.encryption_test.base import Check, Judgement, Verdict, Wait
from keys.proof.encryption_test.facts import Clock, Facts, Subject
from keys.proof.encryption_test.report.remedy_order import Remedy
from tenants import audit, onboarding, transactions
from tenants.audit import SYSTEM
from tenants.models import AuditEvent, OnboardingStep

Status = EncryptionTest.Status
Registration = KeyRegistration.Status
Step = OnboardingStep.Status
TESTED = frozenset({Registration.TESTING, *KeyRegistration.SERVING, Registration.RETIRING})
NOT_ASKED = Judgement(Verdict.UNKNOWN, {"why": lazy("not asked yet")}, wait=Wait.AWS)


class Lost(Exception):
    """The row is not ours any more: another worker took it after our claim ran out, or it was cancelled."""


def run(test_id: str) -> None:
    """Take one look for a test, if it is due and nobody else has it; safe to repeat after a kill at any point."""
    claimed_at = clock.now()
    if not EncryptionTest.objects.claim(test_id, claimed_at):
        return
    with put_off_if_it_breaks(EncryptionTest.objects.all(), test_id, claimed_at), contextlib.suppress(Lost):
        _look(EncryptionTest.objects.select_related("tenant__service_role", "registration").get(pk=test_id), claimed_at)


def _look(test: EncryptionTest, claimed_at: datetime) -> None:
    if test.registration.status not in TESTED:
        _cancel(test, claimed_at)
        return
    _change(test, claimed_at, status=Status.RUNNING, started_at=test.started_at or claimed_at)
    subject = _subject(test)
    is_deny_certain = not _may_be_a_removed_deny(test)
    facts = Facts(subject, _clock(test, claimed_at, is_deny_certain=is_deny_certain))
    checks = asked(subject.access.actions)
    judgements: dict[str, Judgement] = {}
    for part in gathering.gather(facts, test.tenant.service_role):
        if facts.ours is None and part.ours is not None and part.ours.works(subject):
            _our_side_works(test, claimed_at)
        facts = replace(part, clock=_clock(test, claimed_at, is_deny_certain=is_deny_certain))
        judged = base.judge(facts, checks)
        _store(
            test, claimed_at, subject, {code: found for code, found in judged.items() if judgements.get(code) != found}
        )
        judgements = judged
    complete = _complete(judgements, checks)
    _store(
        test, claimed_at, subject, {code: found for code, found in complete.items() if judgements.get(code) != found}
    )
    try:
        _act(test, claimed_at, facts, complete)
    except errors.RegistrationBusy:  # somebody moved the registration at this very moment: look again at what it is now
        _change(test, claimed_at, status=Status.WAITING, due_at=clock.now() + timedelta(seconds=1), claimed_at=None)


def _subject(test: EncryptionTest) -> Subject:
    return Subject(
        branchkeys.way_to(test.tenant, test.registration),
        test.tenant.service_role.unique_id,
        has_worked=test.registration.activated_at is not None,
        beside=KeyRegistration.objects.beside(test.registration),
    )


def _may_be_a_removed_deny(test: EncryptionTest) -> bool:
    """Tell whether a Deny that AWS reports now may be one that the tenant took away a moment ago: its removal
    propagates as everything does (design.md 5). In the first run after both ARNs were shared it is not,
    unless a run before that, or a probe, had reported one."""
    registration = test.registration
    others = EncryptionTest.objects.of(test.tenant).exclude(pk=test.pk)
    if others.filter(registration=registration, created_at__gte=registration.submitted_at or test.created_at).exists():
        return True
    last = others.order_by("-created_at").first()
    if last is not None and any("spares" in row.evidence for row in last.checks.all()):
        return True
    # What a policy refuses to a probe may be a Deny too: its words are not kept.
    since = registration.submitted_at or registration.created_at
    refused = Q(refused_since__isnull=False) | Q(denied_since__gte=since)
    return KeyHealth.objects.of(test.tenant).filter(refused).exists()


def _clock(test: EncryptionTest, now: datetime, *, is_deny_certain: bool = False) -> Clock:
    """Return the times as they stand: a tenant may say "keep testing until …" while a look is under way."""
    test.refresh_from_db(fields=["keep_until", "refused_at"])
    window = timedelta(seconds=settings.PROPAGATION_WINDOW)
    insecure_at: list[datetime] = []
    turned: dict[str, datetime] = {}
    for code, verdict, evidence in CheckResult.objects.filter(test=test).values_list("code", "verdict", "evidence"):
        if "insecure_at" in evidence:
            insecure_at.append(datetime.fromisoformat(evidence["insecure_at"]))
        if verdict == Verdict.PASS:  # a refusal in this look turns it
            turned[code] = now
        elif "turned_at" in evidence:
            turned[code] = datetime.fromisoformat(evidence["turned_at"])
    grace_until = _changed_at(test) + window
    return Clock(
        now=now,
        grace_until=max(grace_until, test.keep_until or grace_until),
        gap=timedelta(seconds=settings.EXTERNAL_ID_PROBE_GAP),
        refused_at=test.refused_at,
        # Only a look before this one counts as the first of two.
        insecure_at=min((at for at in insecure_at if at < now), default=None),
        is_serving=test.registration.status != Registration.TESTING,
        window=window,
        turned=turned,
        deny_grace_until=(test.keep_until or now) if is_deny_certain else None,
    )


def _changed_at(test: EncryptionTest) -> datetime:
    """Return the last change on the tenant's or our side;
    who asks for a test of a key in service may have changed something just now."""
    ends = test.registration.configurations.filter(action=RoleConfiguration.Action.ADD).exclude(finished_at=None)
    changes: list[datetime] = [test.registration.changed_at, *ends.values_list("finished_at", flat=True)]
    if test.registration.status != Registration.TESTING:
        changes.append(test.created_at)
    return max(changes)


def _complete(judgements: Mapping[str, Judgement], checks: tuple[Check, ...]) -> dict[str, Judgement]:
    """Give every check that is asked a verdict:
    what a look did not come to is skipped behind what stopped it, or unknown."""
    complete: dict[str, Judgement] = {}
    for each in checks:
        missing = [code for code in each.needs if complete[code].verdict != Verdict.PASS]
        not_reached = Judgement(Verdict.SKIPPED, {"needs": ", ".join(missing)}) if missing else NOT_ASKED
        complete[each.code] = judgements.get(each.code, not_reached)
    return complete


def _asked(judgements: Mapping[str, Judgement]) -> tuple[Check, ...]:
    return tuple(each for each in CHECKS if each.code in judgements)


# --- the row ---------------------------------------------------------------------------------------------------


def _change(test: EncryptionTest, claim: datetime, /, **facts: object) -> None:
    """Change the row while the claim is ours.

    Raises:
        Lost: it is not.
    """
    ends = {"failures": 0} if facts.get("claimed_at", claim) is None else {}
    if not EncryptionTest.objects.filter(pk=test.pk, claimed_at=claim, finished_at=None).update(**facts, **ends):
        raise Lost
    for name, value in facts.items():
        setattr(test, name, value)


@transactions.atomic
def _store(test: EncryptionTest, claimed_at: datetime, subject: Subject, judgements: Mapping[str, Judgement]) -> None:
    """Write verdicts as they come, so that a page shows the checks turn one by one."""
    _change(test, claimed_at, status=Status.RUNNING)
    rows = [
        _row(test, position, subject, judgements[each.code])
        for position, each in enumerate(CHECKS)
        if each.code in judgements
    ]
    CheckResult.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["test", "code"],
        update_fields=[
            "position",
            "step",
            "verdict",
            "causes",
            "evidence",
            "remedy",
            "document",
            "corrected",
            "inferred",
            "decide",
            "at",
        ],
    )


def _row(test: EncryptionTest, position: int, subject: Subject, found: Judgement) -> CheckResult:
    check = CHECKS[position]
    row = CheckResult(
        tenant_id=test.tenant_id,
        test=test,
        position=position,
        code=check.code,
        title=check.title,
        step=found.step or check.step,
        verdict=found.verdict,
        causes=list(found.causes),
        evidence=dict(found.evidence),
        at=clock.now(),
    )
    if found.names_a_change:
        row.document = check.document if found.document is None else found.document
        row.remedy = remedies.render(found.remedy or check.remedy, subject, found.words) + remedies.besides(
            found.causes, row.document, subject
        )
        row.corrected = remedies.exemption(found.spares) if found.spares else remedies.corrected(row.document, subject)
        row.inferred = found.inferred
        row.decide = remedies.decides(row.document, [c for c in found.causes if c != base.PROPAGATION], subject)
    return row


# --- what follows ------------------------------------------------------------------------------------------------


def _act(test: EncryptionTest, claimed_at: datetime, facts: Facts, judgements: dict[str, Judgement]) -> None:
    match outcome.overall(judgements, _asked(judgements)):
        case Verdict.PASS:
            try:
                _pass(test, claimed_at, judgements)
                metrics.TESTS.labels("pass", "").inc()
            except errors.RoleArnTaken:
                judgements[outcome.TAKEN] = outcome.taken()
                _store(test, claimed_at, facts.subject, {outcome.TAKEN: judgements[outcome.TAKEN]})
                _fail(test, claimed_at, judgements)
            except errors.KeySuspended:  # by a person; activating would undo the pressed button, so it waits for Resume
                _change(test, claimed_at, status=Status.WAITING, due_at=clock.now() + schedule.LONGEST, claimed_at=None)
        case Verdict.FAIL:
            _fail(test, claimed_at, judgements)
        case _:
            _come_again(test, claimed_at, facts, judgements)
            metrics.TESTS.labels("unknown", "").inc()


@transactions.atomic
def _pass(test: EncryptionTest, claimed_at: datetime, judgements: Mapping[str, Judgement]) -> None:
    registration = _finish(test, claimed_at, Verdict.PASS, judgements)
    if registration is not None:
        outcome.passed(test, registration)


@transactions.atomic
def _fail(test: EncryptionTest, claimed_at: datetime, judgements: Mapping[str, Judgement]) -> None:
    failures = outcome.failures(judgements, _asked(judgements))
    metrics.TESTS.labels("fail", failures[0].reason if failures else "").inc()
    registration = _finish(test, claimed_at, Verdict.FAIL, judgements)
    if registration is not None:
        outcome.failed(test, registration, failures, judgements, _asked(judgements))


def _finish(
    test: EncryptionTest, claimed_at: datetime, verdict: Verdict, judgements: Mapping[str, Judgement]
) -> KeyRegistration | None:
    """End the run, in the transaction of what follows; None when its registration was retired or changed meanwhile."""
    registration = (
        KeyRegistration.objects.select_for_update(no_key=True, of=("self",))
        .select_related("tenant__service_role")
        .get(pk=test.registration_id)
    )
    tested = test.registration
    if registration.status not in TESTED or (registration.role_arn, registration.key_arn) != (
        tested.role_arn,
        tested.key_arn,
    ):
        _cancel(test, claimed_at)
        return None
    _change(
        test,
        claimed_at,
        status=Status.FINISHED,
        verdict=verdict,
        finished_at=clock.now(),
        due_at=None,
        claimed_at=None,
    )
    outcome.expects(test, registration)
    KeyRegistration.objects.filter(pk=registration.pk).update(warnings=outcome.warnings(judgements, _asked(judgements)))
    audit.record("keys.test.finished", tenant=test.tenant, actor=SYSTEM, target=test, verdict=str(verdict))
    return registration


@transactions.atomic
def _cancel(test: EncryptionTest, claimed_at: datetime) -> None:
    _change(
        test, claimed_at, status=Status.CANCELLED, verdict="", finished_at=clock.now(), due_at=None, claimed_at=None
    )
    outcome.expects(test, test.registration)
    audit.record("keys.test.finished", tenant=test.tenant, actor=SYSTEM, target=test, verdict=str(Status.CANCELLED))


@transactions.atomic
def _come_again(test: EncryptionTest, claimed_at: datetime, facts: Facts, judgements: Mapping[str, Judgement]) -> None:
    """Nothing is certain yet: make the row due again, and say so where it is our own side that has to move."""
    now = clock.now()
    times = facts.clock
    if (
        facts.trust
        and facts.trust.right.ok
        and facts.trust.without.allowed is False
        and facts.trust.wrong.allowed is False
        and not times.refused_at
    ):
        test.refused_at = times.now
        times = replace(times, refused_at=times.now)
    waits = {judgements[each.code].wait for each in _asked(judgements) if not each.is_warning} - {Wait.NOTHING}
    propagating = [code for code, found in judgements.items() if found.wait == Wait.PROPAGATION]
    final_at = [times.final_at(code, is_deny=bool(judgements[code].spares)) for code in propagating]
    times = replace(times, grace_until=max(final_at, default=times.grace_until))
    changed_at = max([_changed_at(test), *(times.turned[code] for code in propagating if code in times.turned)])
    due_at = schedule.next_look(
        now,
        times,
        waits or {Wait.AWS},
        changed_at=changed_at,
        window=timedelta(seconds=settings.PROPAGATION_WINDOW),
        attempts=test.attempts,
        jitter=random.uniform(0.8, 1.2),  # noqa: S311  spreads load, guards nothing
    )
    _change(
        test,
        claimed_at,
        status=Status.WAITING_FOR_KORE if Wait.OURS in waits else Status.WAITING,
        verdict=Verdict.UNKNOWN,
        refused_at=test.refused_at,
        due_at=due_at,
        claimed_at=None,
    )
    likely = outcome.expects(test, test.registration)
    if likely and test.registration.status == Registration.TESTING:
        _tell_what_is_likely(test, likely[0])
    if Wait.OURS in waits:
        code = next(each.code for each in _asked(judgements) if judgements[each.code].wait == Wait.OURS)
        _wait_for_kore(test, code)


def _tell_what_is_likely(test: EncryptionTest, first: Remedy) -> None:
    """Tell at the first refusal what will have to be changed unless it passes by itself."""
    if first.counts_at is not None:
        at = first.counts_at.isoformat(timespec="seconds")
        _record_once(test, "keys.test.refused", step=first.step, what=first.what, counts_at=at)


def _record_once(test: EncryptionTest, name: str, **data: object) -> None:
    """Write an event that a run has once, however often it looks."""
    if not AuditEvent.objects.of(test.tenant).filter(name=name, payload__contains=str(test.pk)).exists():
        audit.record(name, tenant=test.tenant, actor=SYSTEM, target=test, **data)


def _wait_for_kore(test: EncryptionTest, code: str) -> None:
    _record_once(test, "keys.test.waits_for_kore", code=code)
    if test.registration.status == Registration.TESTING and test.registration.replaces_id is None:
        onboarding.advance(
            test.tenant,
            5,
            Step.WAITING_FOR_KORE,
            actor=SYSTEM,
            reason=code,
            evidence={"check": code, "test": str(test.pk)},
        )


@transactions.atomic
def _our_side_works(test: EncryptionTest, claimed_at: datetime) -> None:
    """Close the configuration that waited for this proof; the step goes on if it stood with us."""
    _change(test, claimed_at, status=Status.RUNNING)
    open_ones = test.registration.configurations.filter(
        action=RoleConfiguration.Action.ADD, status=RoleConfiguration.Status.PROPAGATING
    )
    open_ones.update(status=RoleConfiguration.Status.DONE, due_at=None, claimed_at=None, finished_at=claimed_at)
    if test.registration.status == Registration.TESTING and test.registration.replaces_id is None:
        onboarding.advance_if(test.tenant, 5, {Step.WAITING_FOR_KORE}, Step.IN_PROGRESS, actor=SYSTEM)
