"""The worker of bulk operations: each row in one transaction with what is done for it, so that none is done twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog
from django.contrib.auth import get_user_model

from byokportal import clock, database
from byokportal.errors import DomainError
from keys import services as key_services
from keys.models import EncryptionTest, KeyRegistration, put_off_if_it_breaks
from support import errors, services
from support.models import BulkItem, BulkOperation, Ticket
from tenants import transactions
from tenants.audit import SYSTEM, Actor
from tenants.models import AuditEvent

log = structlog.get_logger(__name__)
Kind, Status = BulkOperation.Kind, BulkOperation.Status

# Seconds of one run; the rest is due at once in the next one, so that other operations have their turn too.
BUDGET = 20.0
OPERATIONS, CHUNK = 20, 50
# Who suspends or resumes a key writes one of these.
PRESSED = ("keys.key.suspended", "keys.key.resumed")
BROKEN = "Something broke on our side. Our log has the error; the others went on."


def run_due() -> int:
    """Do what is due of all bulk operations, as far as the time of a run goes; safe to run by several workers.

    Returns:
        how many rows ended.
    """
    until, ended = clock.monotonic() + BUDGET, 0
    for pk in BulkOperation.objects.wake(clock.now(), OPERATIONS):
        if clock.monotonic() < until:
            ended += run(pk, until=until)
    return ended


def run(pk: object, *, until: float | None = None) -> int:
    """Do rows of one operation until none is left, it is stopped or the time is over; returns how many ended."""
    claim, until = clock.now(), clock.monotonic() + BUDGET if until is None else until
    if not BulkOperation.objects.running().claim(pk, claim):
        return 0
    with put_off_if_it_breaks(BulkOperation.objects.all(), pk, claim):
        return _run(pk, claim, until)
    return 0


def _run(pk: object, claim: datetime, until: float) -> int:
    mine = BulkOperation.objects.running().filter(pk=pk, claimed_at=claim)
    operation = mine.first()
    if operation is None:
        return 0
    ended = 0
    while clock.monotonic() < until and mine.exists():
        left = BulkItem.objects.of(operation).filter(status=BulkItem.Status.PENDING).select_related("tenant")
        items = list(left.order_by("position")[:CHUNK])
        if not items:
            _finish(operation, claim)
            return ended
        for item in items:
            if clock.monotonic() >= until:
                break
            ended += _end(item, operation, claim)
    mine.update(claimed_at=None, due_at=clock.now(), failures=0)
    return ended


@transactions.atomic
def _finish(operation: BulkOperation, claim: datetime) -> None:
    mine = BulkOperation.objects.filter(claimed_at=claim)
    now = clock.now()
    if mine.move(operation.pk, Status.FINISHED, due_at=None, claimed_at=None, finished_at=now):
        services.record_end("support.bulk.finished", operation, actor=SYSTEM)


def _end(item: BulkItem, operation: BulkOperation, claim: datetime) -> bool:
    """Do one row; what refuses it is its report, and the others go on."""
    try:
        return _do(item, operation, claim)
    except DomainError as error:
        sentences = [sentence for found in error.errors.values() for sentence in found]
        return item.end(BulkItem.Status.REFUSED, why=f"{error.title}. {' '.join(sentences) or error}")
    except Exception as error:
        if database.is_unusable(error):  # it says nothing about the row
            raise
        log.exception("bulk_item_broke", operation=str(operation.pk), item=item.pk)
        return item.end(BulkItem.Status.BROKEN, why=BROKEN)


@transactions.atomic
def _do(item: BulkItem, operation: BulkOperation, claim: datetime) -> bool:
    """Note that the row is done and do it, both or neither: a worker that is killed leaves it as it was."""
    if not item.end(BulkItem.Status.DONE):
        return False
    # Whoever began it proved then who they are. Whether they are still of ours, and what they may do, is read for each
    # row: who was shown out in the middle does nothing more.
    person = get_user_model().objects.get(pk=operation.requested_by_id)
    actor = Actor.staff(person, signed_in_at=claim)
    DO[Kind(operation.kind)](item, operation, actor)
    return True


def _test(item: BulkItem, operation: BulkOperation, actor: Actor) -> None:
    key_services.start_test(item.tenant, reason=operation.reason, actor=actor)


def _window(item: BulkItem, operation: BulkOperation, actor: Actor) -> None:
    if not EncryptionTest.objects.filter(tenant=item.tenant).open().exists():
        raise errors.NoTestWaits
    until = datetime.fromisoformat(operation.facts["keep_until"])
    key_services.start_test(item.tenant, reason=operation.reason, keep_until=until, actor=actor)


def _probe(item: BulkItem, operation: BulkOperation, actor: Actor) -> None:
    key_services.ask_again(item.tenant, reason=operation.reason, actor=actor)


def _ask(item: BulkItem, operation: BulkOperation, actor: Actor) -> None:
    services.open_ticket(
        item.tenant,
        topic=Ticket.Topic.QUESTION,
        subject=operation.facts["subject"],
        text=operation.facts["text"],
        status=Ticket.Status.WAITING_FOR_TENANT,
        actor=actor,
    )


def _suspend(item: BulkItem, operation: BulkOperation, actor: Actor) -> None:
    if _is_stopped_by_us(item):
        raise errors.SuspendedAlready  # by somebody else, who had a reason: this operation must not resume it
    key_services.suspend(item.tenant, reason=operation.reason, actor=actor)
    BulkItem.objects.filter(pk=item.pk).update(event_id=_last_pressed(item))


def _resume(item: BulkItem, operation: BulkOperation, actor: Actor) -> None:
    suspended = BulkItem.objects.filter(operation=operation.undoes_id, tenant=item.tenant_id, event_id__isnull=False)
    event = suspended.values_list("event_id", flat=True).first()
    if event is None or event != _last_pressed(item) or not _is_stopped_by_us(item):
        raise errors.TouchedSince
    key_services.resume(item.tenant, reason=operation.reason, actor=actor)


def _is_stopped_by_us(item: BulkItem) -> bool:
    stopped = KeyRegistration.objects.of(item.tenant).serving().filter(status=KeyRegistration.Status.SUSPENDED)
    return stopped.filter(suspended_by=KeyRegistration.SuspendedBy.KORE).exists()


def _last_pressed(item: BulkItem) -> int | None:
    """Return the line of the log that says when this tenant's key was last suspended or resumed by a person."""
    mine = AuditEvent.objects.of(item.tenant).order_by("-pk")
    found = [mine.filter(name=name).values_list("pk", flat=True).first() for name in PRESSED]
    return max((pk for pk in found if pk is not None), default=None)


DO: dict[str, Callable[[BulkItem, BulkOperation, Actor], None]] = {
    Kind.TEST: _test,
    Kind.ASK: _ask,
    Kind.WINDOW: _window,
    Kind.PROBE: _probe,
    Kind.SUSPEND: _suspend,
    Kind.RESUME: _resume,
}
