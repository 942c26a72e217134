"""Operations on many tenants at once: begin, approve, refuse and stop one; resume exactly what one has suspended."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError

from byokportal import clock, secret_texts
from byokportal.errors import InvalidInput
from support import errors
from support.fleet.filters import Filters
from support.models import BulkItem, BulkOperation, FleetRow
from support.services import suspensions
from support.services.texts import bounded_text
from support.services.tickets import SUBJECT_LENGTH, TEXT_LENGTH
from tenants import audit, roles, transactions
from tenants.audit import Actor
from tenants.services import acting_person, is_second_lead, reason_of

Kind, Status = BulkOperation.Kind, BulkOperation.Status

# Tenants of one operation; who means more narrows the filters.
AT_MOST = 10_000
# More of them than one does alone (`suspensions`) wait for another lead.
NEED_TWO = frozenset({Kind.SUSPEND, Kind.RESUME})
# What one has to be allowed to do to one tenant, to begin it for many; each row asks for it again when it is done.
ROWS = {
    Kind.TEST: "keys.test",
    Kind.ASK: "support.open_ticket",
    Kind.WINDOW: "keys.test",
    Kind.PROBE: "keys.probe",
    Kind.SUSPEND: "keys.suspend",
    Kind.RESUME: "keys.resume",
}
FURTHEST = timedelta(days=7)
WRITTEN = 1_000  # items in one statement


def chosen(ids: Sequence[uuid.UUID], filters: Filters) -> list[uuid.UUID]:
    """Return the tenants that are meant, by name: those chosen by hand, else all that the filters show; one more than
    `AT_MOST` says that there are too many."""
    rows = FleetRow.objects.filter(pk__in=ids[: AT_MOST + 1]).order_by("name", "pk") if ids else filters.rows()
    return list(rows.values_list("pk", flat=True)[: AT_MOST + 1])


@transactions.atomic
def begin_bulk(
    *, kind: str, tenants: Sequence[uuid.UUID], filters: str = "", facts: Mapping[str, Any], reason: str, actor: Actor
) -> BulkOperation:
    """Begin one operation on many tenants; the worker does it row by row, by the service that does it for one.

    Args:
        tenants: of `chosen`, in the order in which it is done.
        filters: what they were chosen by, as the end of an address; "": by hand.
        facts: of `ask`, `subject` and `text`; of `window`, `keep_until`, a time within a week in ISO 8601.

    Raises:
        InvalidInput: nobody or too many are meant, or the facts do not fit.
    """
    what = Kind(kind)
    _require(what, actor)
    if what == Kind.RESUME:
        raise InvalidInput(errors={"kind": ["Open the bulk operation that suspended them, and resume it there."]})
    return _make(what, tenants, facts=_checked(what, facts), filters=filters, reason=reason, actor=actor)


@transactions.atomic
def resume_bulk(operation: BulkOperation, *, reason: str, actor: Actor) -> BulkOperation:
    """Begin to resume the keys that one bulk operation suspended; what somebody touched since is refused, row by row.

    Raises:
        NothingToResume: it suspended none, or its resumption is under way.
    """
    _require(Kind.RESUME, actor)
    undone = BulkItem.objects.filter(operation__undoes=operation, status=BulkItem.Status.DONE)
    done = BulkItem.objects.of(operation).filter(status=BulkItem.Status.DONE)
    tenants = list(done.exclude(tenant__in=undone.values("tenant")).values_list("tenant", flat=True))
    is_over = operation.status in {Status.FINISHED, Status.STOPPED}
    if operation.kind != Kind.SUSPEND or not is_over or not tenants:
        raise errors.NothingToResume
    if BulkOperation.objects.filter(undoes=operation, status__in=[Status.WAITING, Status.QUEUED]).exists():
        raise errors.NothingToResume
    return _make(Kind.RESUME, tenants, undoes=operation, reason=reason, actor=actor)


@transactions.atomic
def approve_bulk(operation: BulkOperation, *, reason: str, actor: Actor) -> None:
    """Let the worker begin what another lead asked for.

    Raises:
        SecondLeadForBulk: the actor asked for it, or one of the two let the other one in.
        BulkOperationMoved: it does not wait (any more).
    """
    _decide(operation, Status.QUEUED, "support.bulk.approved", reason, actor)


@transactions.atomic
def refuse_bulk(operation: BulkOperation, *, reason: str, actor: Actor) -> None:
    """Refuse what another lead asked for; nothing of it happens.

    Raises:
        SecondLeadForBulk: the actor asked for it; who takes it back stops it.
        BulkOperationMoved: it does not wait (any more).
    """
    _decide(operation, Status.REFUSED, "support.bulk.refused", reason, actor)


@transactions.atomic
def stop_bulk(operation: BulkOperation, *, reason: str, actor: Actor) -> None:
    """Stop an operation, or take it back before it begins: the row that is under way ends, the rest is left.

    Raises:
        BulkOperationMoved: it is over.
    """
    roles.require(actor, "support.run_bulk")
    reason, now = reason_of(reason), clock.now()
    facts = {"decision": reason, "due_at": None, "finished_at": now}
    if not BulkOperation.objects.move(operation.pk, Status.STOPPED, **facts):
        raise errors.BulkOperationMoved
    record_end("support.bulk.stopped", operation, actor=actor, reason=reason)


def record_end(event: str, operation: BulkOperation, *, actor: Actor, **data: object) -> None:
    """Write into our log how an operation ended, with its counts."""
    counts = BulkItem.objects.of(operation).counts()
    refused = counts[BulkItem.Status.REFUSED] + counts[BulkItem.Status.BROKEN]
    audit.record(
        event,
        tenant=None,
        actor=actor,
        target=operation,
        what=operation.get_kind_display(),
        done=counts[BulkItem.Status.DONE],
        refused=refused,
        left=counts[BulkItem.Status.PENDING],
        **data,
    )


def _require(kind: str, actor: Actor) -> None:
    roles.require(actor, ROWS[Kind(kind)])
    roles.require(actor, "support.run_bulk")


def _make(
    kind: str,
    tenants: Sequence[uuid.UUID],
    *,
    facts: Mapping[str, Any] | None = None,
    filters: str = "",
    undoes: BulkOperation | None = None,
    reason: str,
    actor: Actor,
) -> BulkOperation:
    reason, now, total = reason_of(reason), clock.now(), len(tenants)
    person = acting_person(actor, "support.run_bulk")
    if not total:
        raise InvalidInput(errors={"tenants": ["Nobody is chosen. Choose tenants in the fleet, or a filter."]})
    if total > AT_MOST:
        raise InvalidInput(errors={"tenants": [f"These are more than {AT_MOST:,} tenants. Narrow the filter."]})
    waits = kind in NEED_TWO and total + suspensions.alone(kind, person) > suspensions.ALONE
    operation = BulkOperation(
        kind=kind,
        status=Status.WAITING if waits else Status.QUEUED,
        facts=dict(facts or {}),
        filters=filters[:500],
        total=total,
        undoes=undoes,
        reason=reason,
        requested_by=person,
        due_at=None if waits else now,
    )
    try:
        operation.save(force_insert=True)
    except IntegrityError as error:
        raise errors.NothingToResume from error
    items = [BulkItem(operation=operation, tenant_id=pk, position=place) for place, pk in enumerate(tenants)]
    BulkItem.objects.bulk_create(items, batch_size=WRITTEN)
    audit.record(
        "support.bulk.requested",
        tenant=None,
        actor=actor,
        target=operation,
        what=operation.get_kind_display(),
        count=total,
        reason=reason,
    )
    return operation


def _checked(kind: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that a kind needs, bounded; each row's service looks at them again."""
    if kind == Kind.ASK:
        secret_texts.refuse_in((name, str(facts.get(name, ""))) for name in ("subject", "text"))
        subject = bounded_text(str(facts.get("subject", "")), field="subject", limit=SUBJECT_LENGTH, lines=False)
        text = bounded_text(str(facts.get("text", "")), field="text", limit=TEXT_LENGTH, lines=True)
        return {"subject": subject, "text": text}
    if kind == Kind.WINDOW:
        wrong = InvalidInput(errors={"keep_until": ["Choose a time within the next seven days."]})
        try:
            until = datetime.fromisoformat(str(facts.get("keep_until", "")))
            is_near = timedelta() < until - clock.now() <= FURTHEST
        except (ValueError, TypeError, OverflowError) as error:
            raise wrong from error
        if not is_near:
            raise wrong
        return {"keep_until": until.isoformat()}
    return {}


def _decide(operation: BulkOperation, status: str, event: str, reason: str, actor: Actor) -> None:
    roles.require(actor, "support.decide_bulk")
    reason, now = reason_of(reason), clock.now()
    person = acting_person(actor, "support.decide_bulk")
    is_begun = status == Status.QUEUED
    if person.pk == operation.requested_by_id or (
        is_begun and not is_second_lead(operation.requested_by, actor, "support.run_bulk")
    ):
        raise errors.SecondLeadForBulk
    if is_begun:
        roles.require(actor, ROWS[Kind(operation.kind)])
    waiting = BulkOperation.objects.filter(status=Status.WAITING)
    facts = {"due_at": now if is_begun else None, "finished_at": None if is_begun else now}
    if not waiting.move(operation.pk, status, decided_by=person, decision=reason, **facts):
        raise errors.BulkOperationMoved
    audit.record(
        event,
        tenant=None,
        actor=actor,
        target=operation,
        what=operation.get_kind_display(),
        count=operation.total,
        reason=reason,
    )
