"""Operations about a policy of ours that somebody else changed: two leads decide; a restoration is reviewed later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction

from byokportal import clock
from byokportal.errors import NotFound
from keys import errors, tasks
from keys.configuration import drift, packing, quotas
from keys.models import DriftResolution, RoleConfiguration, ServiceRolePolicy
from tenants import audit, roles, transactions
from tenants.audit import Actor
from tenants.models import ServiceRole
from tenants.services import acting_person, is_second_lead, reason_of

Choice, Status = DriftResolution.Choice, DriftResolution.Status
REVIEWED_WITHIN = timedelta(days=1)


@transactions.atomic
def request_resolution(policy: ServiceRolePolicy, *, choice: str, reason: str, actor: Actor) -> DriftResolution:
    """Ask another lead to decide what becomes of a policy that is not as we left it.

    Args:
        choice: `take_ours` or `take_theirs`.

    Raises:
        NoDrift: nothing was found.
        NotOursToTake: theirs is nothing that we could have written.
        DriftChanged: something is decided about it already.
    """
    roles.require(actor, "keys.resolve_drift")
    row = _drifted(policy)
    if Choice(choice) == Choice.TAKE_THEIRS:
        drift.require_takeable(row)
    made = _make(row, Choice(choice), Status.WAITING, reason_of(reason), actor)
    _record("keys.policy.resolution_requested", made, actor, reason=made.reason)
    return made


@transactions.atomic
def approve_resolution(resolution: DriftResolution, *, reason: str, actor: Actor) -> None:
    """Let the worker do what another lead asked for, after looking at the difference.

    Raises:
        SecondLeadNeeded: the actor asked for it, or one of the two let the other one in.
        DriftChanged: it does not wait (any more), or something else stands in IAM now.
    """
    reason = _decide(resolution, Status.QUEUED, reason, actor)
    _record("keys.policy.resolution_approved", resolution, actor, reason=reason)
    tasks.enqueue(tasks.resolve_drift, resolution_id=str(resolution.pk))


@transactions.atomic
def refuse_resolution(resolution: DriftResolution, *, reason: str, actor: Actor) -> None:
    """Refuse what a lead asked for; who asked may also take it back in this way.

    Raises:
        DriftChanged: it does not wait (any more).
    """
    reason = _decide(resolution, Status.REFUSED, reason, actor)
    _record("keys.policy.resolution_refused", resolution, actor, reason=reason)


@transactions.atomic
def restore_last_good(policy: ServiceRolePolicy, *, reason: str, actor: Actor) -> DriftResolution:
    """Put back what we last wrote at once, without a second lead, who has to look at it within a day.

    Raises:
        NoDrift: nothing was found.
        DriftChanged: something is decided about it already.
    """
    roles.require(actor, "keys.resolve_drift")
    made = _make(_drifted(policy), Choice.RESTORE, Status.QUEUED, reason_of(reason), actor)
    assert made.review_due_at is not None
    audit.record(
        "keys.policy.restoration_begun",
        tenant=None,
        actor=actor,
        target=made,
        policy_arn=policy.policy_arn,
        until=made.review_due_at.strftime("%Y-%m-%d %H:%M UTC"),
        reason=made.reason,
    )
    tasks.enqueue(tasks.resolve_drift, resolution_id=str(made.pk))
    return made


@transactions.atomic
def review_restoration(resolution: DriftResolution, *, reason: str, actor: Actor) -> None:
    """Say what came of looking at a restoration that another lead did alone.

    Raises:
        SecondLeadNeeded: the actor did it, or one of the two let the other one in.
        DriftChanged: there is nothing to look at, or somebody has.
    """
    roles.require(actor, "keys.resolve_drift")
    reason = reason_of(reason)
    _require_second(resolution, actor)
    mine = DriftResolution.objects.filter(pk=resolution.pk, choice=Choice.RESTORE, reviewed_by="")
    if not mine.update(reviewed_by=actor.label[:200], review_due_at=None):
        raise errors.DriftChanged(policy=resolution.policy.policy_arn)
    audit.record(
        "keys.policy.restoration_reviewed",
        tenant=None,
        actor=actor,
        target=resolution,
        policy_arn=resolution.policy.policy_arn,
        reason=reason,
    )


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy of a service role as people look at it.

    Args:
        percent: of the characters that IAM takes.
        difference: from what we wrote to what stands in IAM; empty while that is the same.
    """

    row: ServiceRolePolicy
    roles: int
    percent: int
    difference: list[tuple[str, str]]


def policies_of(service_role: ServiceRole) -> list[Policy]:
    """Return the policies of a service role; IAM is not asked."""
    return [
        Policy(
            row,
            len(row.role_arns),
            round(100 * packing.size(row.role_arns, our_account=settings.AWS_ACCOUNT_ID) / packing.LIMIT),
            list(drift.lines(row)) if row.found else [],
        )
        for row in ServiceRolePolicy.objects.filter(service_role=service_role).select_related("service_role")
    ]


def change_of(configuration: RoleConfiguration) -> list[tuple[str, str]]:
    """Return what a configuration that is not done yet will change in our policy, line by line; empty where nothing
    changes or no policy has room. IAM is not asked: the row says what stands there."""
    role, arn = configuration.service_role, configuration.role_arn
    named = {row.slot: row.role_arns for row in ServiceRolePolicy.objects.filter(service_role=role)}
    limit, slots = quotas.limits()
    try:
        slot = packing.slot_for(arn, named, our_account=settings.AWS_ACCOUNT_ID, limit=limit, slots=slots)
    except errors.ServiceRoleFull:
        return []
    before = set(named.get(slot, ()))
    is_added = configuration.action == RoleConfiguration.Action.ADD
    after = before | {arn} if is_added else before - {arn}
    return list(drift.between(role, before, after)) if before != after else []


def policy_of(service_role: ServiceRole, slot: int) -> ServiceRolePolicy:
    """Return one policy of a service role.

    Raises:
        NotFound: there is none of that number.
    """
    row = ServiceRolePolicy.objects.filter(service_role=service_role, slot=slot).first()
    if row is None:
        raise NotFound
    return row


def resolutions_of(service_role: ServiceRole, at_most: int) -> list[DriftResolution]:
    """Return what was decided lately about policies of a service role, the newest first."""
    return list(DriftResolution.objects.filter(policy__service_role=service_role).select_related("policy")[:at_most])


def _drifted(policy: ServiceRolePolicy) -> ServiceRolePolicy:
    row = ServiceRolePolicy.objects.select_related("service_role").get(pk=policy.pk)
    if not row.found:
        raise errors.NoDrift(policy=row.policy_arn)
    return row


def _make(row: ServiceRolePolicy, choice: str, status: str, reason: str, actor: Actor) -> DriftResolution:
    now, is_at_once = clock.now(), status == Status.QUEUED
    try:
        with transaction.atomic():
            return DriftResolution.objects.create(
                policy=row,
                choice=choice,
                status=status,
                found_digest=drift.digest(row),
                difference=drift.lines(row),
                reason=reason,
                requested_by=actor.label[:200],
                asked=acting_person(actor, "keys.resolve_drift"),
                due_at=now if is_at_once else None,
                review_due_at=now + REVIEWED_WITHIN if is_at_once else None,
            )
    except IntegrityError as error:
        raise errors.DriftChanged(policy=row.policy_arn) from error


def _require_second(resolution: DriftResolution, actor: Actor) -> None:
    if resolution.asked is None or not is_second_lead(resolution.asked, actor, "keys.resolve_drift"):
        raise errors.SecondLeadNeeded


def _decide(resolution: DriftResolution, status: str, reason: str, actor: Actor) -> str:
    roles.require(actor, "keys.resolve_drift")
    reason = reason_of(reason)
    if status != Status.REFUSED:
        _require_second(resolution, actor)
    now, is_over = clock.now(), status == Status.REFUSED
    row = resolution.policy
    row.refresh_from_db()
    is_same = is_over or drift.digest(row) == resolution.found_digest
    mine = DriftResolution.objects.filter(pk=resolution.pk, status=Status.WAITING)
    facts = {"due_at": None if is_over else now, "finished_at": now if is_over else None}
    if not is_same or not mine.update(status=status, decided_by=actor.label[:200], **facts):
        raise errors.DriftChanged(policy=row.policy_arn)
    return reason


def _record(event: str, resolution: DriftResolution, actor: Actor, *, reason: str) -> None:
    audit.record(
        event,
        tenant=None,
        actor=actor,
        target=resolution,
        policy_arn=resolution.policy.policy_arn,
        choice=resolution.get_choice_display(),
        reason=reason,
    )
