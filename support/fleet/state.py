"""Where a tenant stands: its steps, registrations, newest test and health → one `FleetRow`; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from byokportal import words
from keys.arns import KeyArn, RoleArn
from keys.errors import ArnRefused
from keys.models import CheckResult, EncryptionTest, KeyHealth, KeyRegistration
from support.models import FleetRow
from tenants.models import OnboardingStep, Tenant

# Sharing comes before our side is configured; step 4 is optional and holds nobody up.
JOURNEY = (1, 2, 3, 6, 5)
OVER = frozenset({OnboardingStep.Status.DONE, OnboardingStep.Status.SKIPPED})
NO_KEY, NO_ROLE, DELETION = "no_key_yet", "no_role_yet", "key_is_being_deleted"
# Labels of causes that are neither an error nor a check of ours.
CAUSES = {
    NO_KEY: "No key yet",
    NO_ROLE: "No role yet",
    DELETION: "The key is being deleted",
    "trust-policy": "Trust policy",
    "permissions-policy": "Permissions policy",
    "key-policy-statement": "Key policy",
    "key": "The key itself",
}
State, Turn, Status = FleetRow.State, FleetRow.Turn, KeyRegistration.Status
SUSPENDED = {
    KeyRegistration.SuspendedBy.AWS: (State.SUSPENDED_BY_AWS, Turn.TENANT),
    KeyRegistration.SuspendedBy.TENANT: (State.SUSPENDED_BY_TENANT, Turn.TENANT),
    KeyRegistration.SuspendedBy.KORE: (State.SUSPENDED_BY_KORE, Turn.KORE),
}
STEPS = {
    OnboardingStep.Status.FAILED: (State.NEEDS_CHANGE, Turn.TENANT),
    OnboardingStep.Status.WAITING_FOR_KORE: (State.WAITS_FOR_KORE, Turn.KORE),
    OnboardingStep.Status.IN_PROGRESS: (State.WORKING, Turn.NOBODY),
}
STATE_TONES = {
    State.ACTIVE: ("ok", "check"),
    State.WORKING: ("info", "clock"),
    State.WAITS_FOR_KORE: ("info", "clock"),
    State.WAITS_FOR_TENANT: ("warn", "clock"),
    State.CANNOT_TELL: ("warn", "warn"),
    State.NEEDS_CHANGE: ("bad", "cross"),
    State.SUSPENDED_BY_AWS: ("bad", "pause"),
    State.SUSPENDED_BY_TENANT: ("bad", "pause"),
    State.SUSPENDED_BY_KORE: ("bad", "pause"),
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What is read of one tenant.

    Attributes:
        registrations: those that are not retired, newest first.
        test: the newest; None: there was none.
        failed: the first check that failed in it.
        health: of the key in service.
    """

    tenant: Tenant
    steps: Sequence[OnboardingStep]
    registrations: Sequence[KeyRegistration]
    test: EncryptionTest | None
    failed: CheckResult | None
    health: KeyHealth | None


def cause_label(cause: str) -> str:
    """Return a cause as people read it."""
    return CAUSES.get(cause) or words.label(cause)


def waits_at(steps: Iterable[OnboardingStep]) -> OnboardingStep | None:
    """Return the step that a tenant is at: the first that failed, else the first that is open; None: all is done."""
    known = {step.number: step for step in steps}
    ordered = [known[number] for number in JOURNEY if number in known]
    failed = [step for step in known.values() if step.status == OnboardingStep.Status.FAILED]
    return next(iter(failed + [step for step in ordered if step.status not in OVER]), None)


def row_of(facts: Facts) -> FleetRow:
    """Return the row of one tenant, not saved."""
    serving = next((one for one in facts.registrations if one.status in KeyRegistration.SERVING), None)
    preparing = next((one for one in facts.registrations if one.status in KeyRegistration.IN_PREPARATION), None)
    shown = serving or preparing or next(iter(facts.registrations), None)
    deletes_at = _deletion(facts.health) if serving else None
    step = waits_at(facts.steps)
    if serving is not None:
        state, turn = _in_service(serving)
        cause, since = serving.reason, serving.moved_at
    else:
        state, turn, cause, since = _on_the_way(facts, step, preparing)
    if deletes_at is not None:
        cause = DELETION
    row = FleetRow(
        tenant=facts.tenant,
        name=facts.tenant.name,
        step=step.number if step and serving is None else 0,
        step_since=step.since if step else since,
        state=state,
        waits_for=turn,
        cause=cause[:80],
        since=since,
        service_role_id=facts.tenant.service_role_id,
        deletes_at=deletes_at,
        created_at=facts.tenant.created_at,
    )
    _where(row, shown)
    if facts.test is not None:
        row.last_test = facts.test.verdict if facts.test.finished_at else FleetRow.LastTest.OPEN
        if facts.test.verdict == EncryptionTest.Verdict.SKIPPED:
            row.last_test = FleetRow.LastTest.UNKNOWN
        row.last_test_at = facts.test.finished_at or facts.test.created_at
    return row


def _in_service(serving: KeyRegistration) -> tuple[str, str]:
    if serving.status == Status.SUSPENDED:
        return SUSPENDED[KeyRegistration.SuspendedBy(serving.suspended_by)]
    if serving.status == Status.UNREACHABLE:
        return State.CANNOT_TELL, Turn.KORE
    return State.ACTIVE, Turn.NOBODY


def _on_the_way(
    facts: Facts, step: OnboardingStep | None, preparing: KeyRegistration | None
) -> tuple[str, str, str, datetime]:
    if step is None:
        return State.WORKING, Turn.NOBODY, "", facts.tenant.created_at
    state, turn = STEPS.get(OnboardingStep.Status(step.status), (State.WAITS_FOR_TENANT, Turn.TENANT))
    # What failed in step 5 is ours: nobody else can correct it.
    if step.number == 5 and step.status == OnboardingStep.Status.FAILED:
        state, turn = State.WAITS_FOR_KORE, Turn.KORE
    cause = preparing.reason if preparing else ""
    if state == State.NEEDS_CHANGE and facts.failed is not None:
        cause = facts.failed.document or cause or facts.failed.code
    if step.number == 1 and (preparing is None or not preparing.key_arn):
        cause = NO_KEY
    elif step.number == 2 and (preparing is None or not preparing.role_arn):
        cause = NO_ROLE
    return state, turn, cause, step.since


def _deletion(health: KeyHealth | None) -> datetime | None:
    text = health.key_facts.get("deletion_at") if health else None
    return datetime.fromisoformat(text) if text else None


def _where(row: FleetRow, registration: KeyRegistration | None) -> None:
    """Fill in Region and accounts; a row may be older than the rules for ARNs, and then says nothing."""
    if registration is None:
        return
    try:
        if registration.key_arn:
            key = KeyArn.parse(registration.key_arn)
            row.region, row.account, row.key_account = key.region[:64], key.account, key.account
            row.key_id = key.key_id[:64]
        if registration.role_arn:
            row.account = RoleArn.parse(registration.role_arn).account
    except ArnRefused:
        return
    if row.key_account == row.account:
        row.key_account = ""
