"""A revocation drill under way: what has happened so far, read from the rows that probes and processes leave.

Nothing is remembered between two looks but the row, so a worker may be killed at any moment:
the next look sees the same.
"""

from __future__ import annotations

import uuid
from datetime import datetime

import structlog

from byokportal import clock
from byokportal.translation import lazy
from keys.health import stops
from keys.models import KeyHealth, KeyRegistration, RegistrationMove, RevocationDrill
from tenants import audit, transactions
from tenants.audit import Actor

log = structlog.get_logger(__name__)
Status = RevocationDrill.Status
Registration = KeyRegistration.Status
SUSPENDED = lazy("the key was suspended by {suspended_by}")
OUT_OF_SERVICE = lazy("the key was out of service")
AWS = KeyRegistration.SuspendedBy.AWS


def follow_all() -> None:
    """Look at every drill that is on."""
    for pk in RevocationDrill.objects.open().values_list("pk", flat=True):
        try:
            follow(pk)
        except Exception:  # one drill that breaks must not keep the others from being measured
            log.exception("drill_broke", drill=str(pk))


def follow(pk: uuid.UUID) -> None:
    """Note what has happened since the last look, as far as it goes."""
    found = RevocationDrill.objects.filter(pk=pk).first()
    if found is not None:
        _follow(found)


@transactions.atomic
def _follow(found: RevocationDrill) -> None:
    drill = RevocationDrill.objects.select_for_update(no_key=True).filter(pk=found.pk, finished_at=None).first()
    if drill is None:
        return
    health = KeyHealth.objects.select_related("registration").get(registration=drill.registration_id)
    before = None
    while drill.finished_at is None and before != drill.status:
        before = drill.status
        _look(drill, health)
    drill.save()


def _look(drill: RevocationDrill, health: KeyHealth) -> None:
    registration, now = health.registration, clock.now()
    by_a_person = registration.suspended_by not in {"", AWS}
    if by_a_person or registration.status not in KeyRegistration.SERVING:
        by = registration.suspended_by_in_english
        end(drill, Status.CANCELLED, SUSPENDED.format(suspended_by=by) if by_a_person else OUT_OF_SERVICE)
    elif now > drill.until:
        end(drill, Status.EXPIRED, lazy("the time was over"))
    elif drill.status == Status.WAITING_FOR_REFUSAL:
        if registration.status == Registration.SUSPENDED:
            _stopped_by_aws(drill, health)
    elif drill.status == Status.STOPPING:
        _count_processes(drill)
    elif drill.status == Status.WAITING_FOR_KEY:
        drill.answered_at = health.allowed_since
        if drill.answered_at is not None:
            drill.status = Status.RECOVERING
    elif registration.status == Registration.ACTIVE:
        drill.served_at = registration.moved_at
        _done(drill, now)
    elif health.allowed_since is None:  # refused once more before it was back
        drill.status, drill.answered_at = Status.WAITING_FOR_KEY, None


def _stopped_by_aws(drill: RevocationDrill, health: KeyHealth) -> None:
    registration = health.registration
    move = RegistrationMove.objects.filter(
        registration=registration, new_status=Registration.SUSPENDED, at__gte=drill.started_at
    ).first()
    if move is None:
        return
    drill.status = Status.STOPPING
    drill.refused_at = health.refused_since or move.at
    drill.allowed_at = health.allowed_until
    drill.refused_code = registration.reason
    drill.generation = move.generation
    drill.suspended_at = move.at


def _count_processes(drill: RevocationDrill) -> None:
    assert drill.generation is not None
    assert drill.suspended_at is not None
    found = stops.of(drill.tenant, generation=drill.generation, since=drill.suspended_at)
    drill.processes = {process.name: process.at.isoformat() if process.at else None for process in found}
    if all(process.at is not None for process in found):
        drill.dropped = sum(process.count for process in found)
        drill.stopped_at = max([drill.suspended_at, *(process.at for process in found if process.at)])
        drill.status = Status.WAITING_FOR_KEY


def _done(drill: RevocationDrill, now: datetime) -> None:
    assert drill.stopped_at is not None
    assert drill.refused_at is not None
    _sparse(drill)
    if drill.held_nothing:
        drill.status, drill.finished_at, drill.reason = Status.INCONCLUSIVE, now, lazy("no process held a key")
        audit.record("keys.drill.without_result", tenant=drill.tenant, actor=audit.SYSTEM, target=drill)
        return
    drill.status, drill.finished_at = Status.DONE, now
    took = (drill.stopped_at - drill.refused_at).total_seconds()
    audit.record(
        "keys.drill.finished", tenant=drill.tenant, actor=audit.SYSTEM, target=drill, stopped_after=round(took, 1)
    )


def end(drill: RevocationDrill, status: str, reason: str, *, actor: Actor = audit.SYSTEM) -> None:
    """End a drill that is not done; the caller holds its row and saves it."""
    drill.status, drill.reason, drill.finished_at = status, reason[:200], clock.now()
    _sparse(drill)
    audit.record("keys.drill.ended", tenant=drill.tenant, actor=actor, target=drill, reason=reason)


def _sparse(drill: RevocationDrill) -> None:
    KeyHealth.objects.filter(registration=drill.registration_id).update(dense_until=None)
