"""Policies of ours that somebody else changed: looked for every hour, and resolved as two people decided."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db.models import F

from byokportal import clock
from byokportal.errors import DomainError, Kind
from keys import arns, errors
from keys.aws import iam
from keys.configuration import inspection, lease, packing, room
from keys.models import DriftResolution, KeyRegistration, RoleConfiguration, ServiceRolePolicy, put_off_if_it_breaks
from keys.policies import difference
from tenants import audit, transactions
from tenants.models import ServiceRole

log = structlog.get_logger(__name__)
Choice, Status = DriftResolution.Choice, DriftResolution.Status

AT_ONCE = 50  # policies a run
LOOKED_AT_AGAIN = timedelta(hours=1)
TRIED_AGAIN = timedelta(minutes=1)
GONE, DETACHED = "not there", "not attached"


# --- looking --------------------------------------------------------------------------------------------------------


def look() -> int:
    """Compare the policies that are due with what we last wrote.

    Returns:
        how many are not as we left them.
    """
    due = ServiceRolePolicy.objects.filter(look_due_at__lte=clock.now()).order_by("look_due_at")
    by_role: dict[ServiceRole, list[ServiceRolePolicy]] = defaultdict(list)
    for row in due.select_related("service_role")[:AT_ONCE]:
        by_role[row.service_role].append(row)
    found = 0
    for service_role, rows in by_role.items():
        try:
            held = lease.take(service_role)
            try:
                found += _look_at(service_role, [row.pk for row in rows], held)
            finally:
                held.give_back()
        except DomainError as error:  # nobody is blamed for what IAM does not tell
            log.info("policies_not_looked_at", code=error.code, service_role=service_role.name)
            pks = [row.pk for row in rows]
            ServiceRolePolicy.objects.filter(pk__in=pks).update(look_due_at=clock.now() + TRIED_AGAIN)
    _remind()
    return found


def _look_at(service_role: ServiceRole, pks: list[int], held: lease.Lease) -> int:
    attached, found = iam.attached(service_role.name, before=held.hold), 0
    for row in ServiceRolePolicy.objects.filter(pk__in=pks):  # as it is now, under the lease
        what, there = _compare(row, service_role, attached, held)
        _note(row, what, there)
        found += bool(what)
    return found


def _compare(
    row: ServiceRolePolicy, service_role: ServiceRole, attached: set[str], held: lease.Lease
) -> tuple[str, iam.Written | None]:
    """Return what is not as we left it ("": all is), and what stands there."""
    if not row.policy_arn:  # its first writer was killed: the next one finishes it
        return "", None
    there = iam.read_policy(row.policy_arn, before=held.hold)
    try:
        inspection.present(row, there, service_role, arns.partition_of(service_role.arn))
        if row.policy_arn not in attached:
            raise inspection.drift(row, row.policy_arn, DETACHED)
    except errors.PolicyDrift as error:
        return str(error.params["found"]), there
    return "", there


@transactions.atomic
def _note(row: ServiceRolePolicy, what: str, there: iam.Written | None) -> None:
    now, document = clock.now(), there.document if there else None
    facts: dict[str, Any] = {"looked_at": now, "look_due_at": now + LOOKED_AT_AGAIN, "found": what}
    facts["version"] = there.version if there else ""
    facts["found_document"] = document if what else None
    is_new = bool(what) and (row.found, row.found_document) != (what, document)
    facts["found_at"] = (now if is_new else row.found_at) if what else None
    ServiceRolePolicy.objects.filter(pk=row.pk).update(**facts)
    if is_new:
        log.error("policy_drifted", policy_arn=row.policy_arn, found=what)
        audit.record(
            "keys.policy.drifted",
            tenant=None,
            actor=audit.SYSTEM,
            target=row,
            policy_arn=row.policy_arn,
            found=what,
        )


@transactions.atomic
def _remind() -> None:
    """Say which restorations nobody has looked at in time; again the next day."""
    now = clock.now()
    for one in DriftResolution.objects.filter(review_due_at__lte=now, reviewed_by="").select_related("policy"):
        DriftResolution.objects.filter(pk=one.pk).update(review_due_at=now + timedelta(days=1))
        audit.record(
            "keys.policy.review_overdue",
            tenant=None,
            actor=audit.SYSTEM,
            target=one,
            policy_arn=one.policy.policy_arn,
            by=one.requested_by,
        )


# --- what people are shown and may choose -----------------------------------------------------------------------------


def ours(row: ServiceRolePolicy) -> dict[str, Any]:
    """Return the document that we last wrote."""
    return inspection.document(set(row.role_arns), arns.partition_of(row.service_role.arn))


def lines(row: ServiceRolePolicy) -> list[difference.Line]:
    """Return what changes from the document that we wrote to the one that stands in IAM, line by line."""
    theirs = _pretty(row.found_document) if row.found_document is not None else ""
    return difference.lines(_pretty(ours(row)), theirs)


def between(service_role: ServiceRole, before: set[str], after: set[str]) -> list[difference.Line]:
    """Return what changes in a policy of a service role, line by line, when it names other roles."""
    partition = arns.partition_of(service_role.arn)
    old, new = (inspection.document(named, partition) for named in (before, after))
    return difference.lines(_pretty(old), _pretty(new))


def digest(row: ServiceRolePolicy) -> str:
    """Return what a decision about the finding is about: what was found, to the last character."""
    return packing.digest({"found": row.found, "document": row.found_document})


def require_takeable(row: ServiceRolePolicy) -> list[str]:
    """Return the role ARNs of the document in IAM, if it may become ours.

    Raises:
        NotOursToTake: packing could not have written it, or it names a role that no tenant of the service role gave.
    """
    partition = arns.partition_of(row.service_role.arn)
    named = packing.read(row.found_document, our_account=settings.AWS_ACCOUNT_ID, partition=partition)
    if named is None:
        raise errors.NotOursToTake(why="another statement, no Deny on our own account, or a sign that widens it")
    known = KeyRegistration.objects.filter(tenant__service_role=row.service_role, role_arn__in=named)
    stranger = next(iter(set(named) - set(known.values_list("role_arn", flat=True))), None)
    if stranger is not None:
        raise errors.NotOursToTake(why=f"no tenant of this service role gave {stranger}")
    return named


def _pretty(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, sort_keys=True)


# --- resolving --------------------------------------------------------------------------------------------------------


def resolve(resolution_id: int) -> None:
    """Do what was decided, if it is due and nobody else does it; safe to repeat after a kill at any point."""
    claimed_at = clock.now()
    if not DriftResolution.objects.filter(status=Status.QUEUED).claim(resolution_id, claimed_at):
        return
    with put_off_if_it_breaks(DriftResolution.objects.all(), resolution_id, claimed_at):
        resolution = DriftResolution.objects.select_related("policy__service_role").get(pk=resolution_id)
        try:
            held = lease.take(resolution.policy.service_role)
            try:
                _resolve(resolution, held)
            finally:
                held.give_back()
        except DomainError as error:
            _postpone_or_fail(resolution, error)
            return
        _resolved(resolution)
        room.count(resolution.policy.service_role)


def _resolve(resolution: DriftResolution, held: lease.Lease) -> None:
    row = resolution.policy
    row.refresh_from_db()
    service_role = row.service_role
    attached = iam.attached(service_role.name, before=held.hold)
    what, there = _compare(row, service_role, attached, held)
    document = there.document if there else None
    if not what:  # somebody put it right, or a worker that was killed had done it
        return
    row.found, row.found_document = what, document
    if digest(row) != resolution.found_digest and resolution.choice != Choice.RESTORE:
        raise errors.DriftChanged(policy=row.policy_arn)
    if resolution.choice == Choice.TAKE_THEIRS:
        named = require_takeable(row)
        _write(row, named)
    else:
        _put_back(row, document, is_restoration=resolution.choice == Choice.RESTORE, held=held)
    if row.policy_arn not in attached:
        iam.attach(row.policy_arn, role_name=service_role.name, before=held.hold)


def _put_back(
    row: ServiceRolePolicy, document: dict[str, Any] | None, *, is_restoration: bool, held: lease.Lease
) -> None:
    wanted = ours(row)
    is_good = packing.digest(wanted).__eq__
    if document is not None and packing.digest(document) == packing.digest(wanted):
        return  # it was only detached
    if is_restoration and iam.restore_version(
        row.policy_arn, lambda one: is_good(packing.digest(one)), before=held.hold
    ):
        return
    if document is None:
        iam.create_policy(row.policy_arn.rpartition("/")[2], packing.text(wanted), before=held.hold)
        remade = iam.arn_of(row.policy_arn.rpartition("/")[2], partition=arns.partition_of(row.service_role.arn))
        row.policy_arn = remade
        ServiceRolePolicy.objects.filter(pk=row.pk).update(policy_arn=remade)
    else:
        iam.write_version(row.policy_arn, packing.text(wanted), before=held.hold)
    _write(row, row.role_arns)


def _write(row: ServiceRolePolicy, named: list[str]) -> None:
    row.role_arns = sorted(named)
    ServiceRolePolicy.objects.filter(pk=row.pk).update(
        role_arns=row.role_arns, written_hash=packing.digest(ours(row)), written_at=clock.now()
    )


@transactions.atomic
def _resolved(resolution: DriftResolution) -> None:
    now, row = clock.now(), resolution.policy
    DriftResolution.objects.filter(pk=resolution.pk).update(
        status=Status.DONE, due_at=None, claimed_at=None, finished_at=now, outcome=""
    )
    ServiceRolePolicy.objects.filter(pk=row.pk).update(
        found="", found_document=None, found_at=None, look_due_at=now + TRIED_AGAIN
    )
    # What stopped because of it goes on by itself.
    RoleConfiguration.objects.filter(
        service_role=row.service_role, status=RoleConfiguration.Status.FAILED, reason=errors.PolicyDrift.code
    ).update(status=RoleConfiguration.Status.QUEUED, due_at=now, claimed_at=None, finished_at=None)
    _record("keys.policy.resolved", resolution)


@transactions.atomic
def _postpone_or_fail(resolution: DriftResolution, error: DomainError) -> None:
    mine = DriftResolution.objects.filter(pk=resolution.pk)
    if error.kind is Kind.UNAVAILABLE or isinstance(error, errors.LeaseTaken):
        mine.update(
            claimed_at=None, due_at=clock.now() + timedelta(seconds=5), outcome=error.code, failures=F("failures")
        )
        return
    mine.update(status=Status.FAILED, due_at=None, claimed_at=None, finished_at=clock.now(), outcome=error.code)
    _record("keys.policy.not_resolved", resolution, reason=error.code)


def _record(event: str, resolution: DriftResolution, **data: str) -> None:
    audit.record(
        event,
        tenant=None,
        actor=audit.SYSTEM,
        target=resolution,
        policy_arn=resolution.policy.policy_arn,
        choice=resolution.get_choice_display(),
        **data,
    )
