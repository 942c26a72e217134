"""Operations that end an organisation for good: asked for, approved, exported, destroyed, and signed for."""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from byokportal import clock
from byokportal.errors import DomainError, NotAllowed
from keys import errors, tasks
from keys.closing import blockers, copies, destroying, files, receipts
from keys.models import Claim, Closing, ClosingReceipt, KeyRegistration, RoleConfiguration, put_off_if_it_breaks
from keys.services.evidence import evidence
from keys.services.registration import give_up_preparation
from tenants import audit, roles, transactions
from tenants import services as tenant_services
from tenants.audit import SYSTEM, Actor
from tenants.errors import OrganisationClosed
from tenants.models import Member, Tenant
from tenants.services import acting_person, reason_of

Status = Closing.Status
SOON, LATER, A_DAY = timedelta(seconds=10), timedelta(minutes=5), timedelta(days=1)
TOO_LONG = "The export takes longer than a worker has. The command close_tenant has no limit; nothing was destroyed."
ONE_CALL = timedelta(minutes=5)  # that reading the evidence, or deleting copies, may take without renewing the claim


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the closing of an organisation would do.

    Attributes:
        blockers: why it cannot be done now.
        destroyed: as `keys.closing.destroying.found` has it.
        members: how many people lose their way in.
        role_arns: that our policies let go of.
        backups_end_at: when the last backup ends that holds the keys.
    """

    blockers: list[str]
    members: int
    role_arns: list[str]
    backups_end_at: datetime
    destroyed: dict[str, Any] = field(default_factory=dict)


def look_at_closing(tenant: Tenant, *, actor: Actor) -> Outlook:
    """Return what closing an organisation would do, and why it cannot be done; nothing is changed."""
    roles.require(actor, "keys.close_tenant", tenant)
    if transactions.is_closed(tenant):
        raise OrganisationClosed
    arns = KeyRegistration.objects.of(tenant).not_retired().exclude(role_arn="").values_list("role_arn", flat=True)
    return Outlook(
        blockers=blockers.of(tenant),
        members=Member.objects.of(tenant).count(),
        role_arns=sorted(set(arns)),
        backups_end_at=clock.now() + timedelta(days=settings.BACKUP_RETENTION_DAYS),
        destroyed=destroying.found(tenant),
    )


@transactions.atomic
def request_closing(tenant: Tenant, *, reason: str, actor: Actor) -> Closing:
    """Ask for the closing of an organisation; a second lead has to approve it.

    Raises:
        OrganisationClosed: it is closed.
        StillServes: something serves it, or is under way for it.
        ClosingMoved: one is asked for already.
        ExportNotWritten: no folder is set for the export.
    """
    roles.require(actor, "keys.close_tenant", tenant)
    if not settings.CLOSING_EXPORT_DIR:
        raise errors.ExportNotWritten(why="CLOSING_EXPORT_DIR is not set.")
    asked = acting_person(actor, "keys.close_tenant")
    return _ask(tenant, reason=reason, actor=actor, asked=asked, due_at=None)


@transactions.atomic
def approve_closing(closing: Closing, *, reason: str, actor: Actor) -> None:
    """Approve as the second lead: the worker writes the export, then destroys the keys. Nobody can undo that.

    Raises:
        ClosingNeedsTwo: the actor asked for it, or one of the two let the other one in.
        ClosingMoved: it does not wait (any more).
        StillServes: something serves again.
    """
    roles.require(actor, "keys.close_tenant", closing.tenant)
    reason = reason_of(reason)
    if closing.asked is None or not tenant_services.is_second_lead(closing.asked, actor, "keys.close_tenant"):
        raise errors.ClosingNeedsTwo
    _require_nothing_serves(closing.tenant)
    facts = {"approved": actor.user, "decided_by": actor.label[:200], "decision": reason, "due_at": clock.now()}
    if not Closing.objects.move(closing.pk, Status.WAITING, Status.QUEUED, **facts):
        raise errors.ClosingMoved
    audit.record("keys.closing.approved", tenant=closing.tenant, actor=actor, target=closing, reason=reason)


@transactions.atomic
def refuse_closing(closing: Closing, *, reason: str, actor: Actor) -> None:
    """Refuse what a lead asked for; who asked may also take it back in this way.

    Raises:
        ClosingMoved: it does not wait (any more).
    """
    roles.require(actor, "keys.close_tenant", closing.tenant)
    reason = reason_of(reason)
    facts = {"decided_by": actor.label[:200], "decision": reason, "due_at": None, "finished_at": clock.now()}
    if not Closing.objects.move(closing.pk, Status.WAITING, Status.REFUSED, **facts):
        raise errors.ClosingMoved
    audit.record("keys.closing.refused", tenant=closing.tenant, actor=actor, target=closing, reason=reason)


def close_tenant(tenant: Tenant, *, export_to: str, reason: str, actor: Actor) -> Closing:
    """Close an organisation at once, as whoever operates the system: export, then destroy.

    Args:
        export_to: a folder that is there; the export gets one of its own in it.

    Raises:
        OrganisationClosed, StillServes, ClosingMoved, ExportNotWritten, ReceiptNotSigned: nothing was destroyed.
    """
    closing = _queue(tenant, reason=reason, actor=actor)
    try:
        _export(closing, export_to, claim=None)
        _erase(closing.tenant, closing, actor=actor)
    except DomainError as error:
        _stop(closing, str(error))
        raise
    attend_closing(closing.pk)
    closing.refresh_from_db()
    return closing


@transactions.atomic
def _queue(tenant: Tenant, *, reason: str, actor: Actor) -> Closing:
    if actor.kind != "system":
        raise NotAllowed(permission="keys.close_tenant")
    # What a command has left that broke off while it exported: nothing was destroyed.
    for left in Closing.objects.of(tenant).filter(status=Status.QUEUED, asked=None):
        _stop(left, "The command broke off, and was begun again.")
    return _ask(tenant, reason=reason, actor=actor, asked=None, due_at=None, status=Status.QUEUED)


def attend_closing(pk: uuid.UUID) -> None:
    """Do what a closing is due for: export and destroy, sign the first receipt, see our policies let go of its roles,
    and sign the second receipt once the last copy is gone. Safe to repeat, and by several workers at once."""
    claim = clock.now()
    if not Closing.objects.claim(pk, claim):
        return
    held = Claim(Closing.objects.all(), pk, claim)
    with put_off_if_it_breaks(Closing.objects.all(), pk, held):
        closing = Closing.objects.select_related("tenant__service_role").get(pk=pk)
        _attend(closing, held)


def close_again(tenant: Tenant, *, reason: str, actor: Actor) -> Closing:
    """Close an organisation that a restored database has forgotten to be closed; what the backup brought is destroyed
    at once and without an export, which the first closing wrote. New receipts name the new dates."""
    closing = _again(tenant, reason=reason, actor=actor)
    attend_closing(closing.pk)
    closing.refresh_from_db()
    return closing


@transactions.atomic
def _again(tenant: Tenant, *, reason: str, actor: Actor) -> Closing:
    roles.require(actor, "keys.close_tenant", tenant)
    Closing.objects.of(tenant).open().update(status=Status.STOPPED, due_at=None, why="closed again after a restore")
    closing = Closing.objects.create(
        tenant=tenant, status=Status.QUEUED, reason=reason_of(reason), requested_by=actor.label[:200], due_at=None
    )
    _erase(tenant, closing, actor=actor, is_again=True)
    return closing


def receipts_of(tenant: Tenant) -> list[dict[str, Any]]:
    """Return the receipts of an organisation's closing as documents, the first one first."""
    rows = ClosingReceipt.objects.filter(closing__tenant=tenant).order_by("closing__erased_at", "number")
    return [receipts.document_of(one) for one in rows]


def receipt_document(receipt: ClosingReceipt) -> dict[str, Any]:
    """Return a receipt as people keep it: body, key and signature."""
    return receipts.document_of(receipt)


# --- steps ---------------------------------------------------------------------------------------------------------


def _ask(
    tenant: Tenant, *, reason: str, actor: Actor, asked: User | None, due_at: datetime | None, status: str = ""
) -> Closing:
    roles.require(actor, "keys.close_tenant", tenant)
    if transactions.is_closed(tenant) or Tenant.objects.filter(pk=tenant.pk).exclude(closed_at=None).exists():
        raise OrganisationClosed
    reason = reason_of(reason)
    _require_nothing_serves(tenant)
    closing = Closing(
        tenant=tenant,
        status=status or Status.WAITING,
        reason=reason,
        requested_by=actor.label[:200],
        asked=asked,
        due_at=due_at,
    )
    try:
        with transaction.atomic():
            closing.save(force_insert=True)
    except IntegrityError as error:
        raise errors.ClosingMoved from error
    audit.record("keys.closing.requested", tenant=tenant, actor=actor, target=closing, reason=reason)
    return closing


def _require_nothing_serves(tenant: Tenant) -> None:
    found = blockers.of(tenant)
    if found:
        raise errors.StillServes(why=" ".join(found))


def _attend(closing: Closing, claim: Claim) -> None:
    if closing.status == Status.QUEUED:
        try:
            _export(closing, settings.CLOSING_EXPORT_DIR, claim=claim)
            _erase(closing.tenant, closing, actor=SYSTEM)
        except (DomainError, SoftTimeLimitExceeded) as error:
            claim.renew()  # whoever has it now decides
            _stop(closing, str(error) if isinstance(error, DomainError) else TOO_LONG)
            return
        closing.refresh_from_db()
    if closing.status not in Closing.DONE:
        return
    claim.renew(ahead=ONE_CALL)
    known = copies.end(closing)
    if not closing.receipts.filter(number=1).exists():
        ends_at = receipts.last_copy(closing, known)
        if not _issue(closing, 1, receipts.first_body(closing, known, ends_at)):
            _wait(closing, LATER, "No key is set that signs receipts.")
            return
    _finish(closing, known)


def _finish(closing: Closing, known: copies.Copies) -> None:
    closing.refresh_from_db()
    named = destroying.policies_name(closing.tenant)
    if closing.status == Status.ERASED:
        if named:
            _remove_again(closing.tenant, named)
            _wait(closing, SOON if closing.attempts < 30 else LATER, "Our policies still name a role of it.")
            return
        _complete(closing.tenant, closing)
        closing.refresh_from_db()
    assert closing.ends_at is not None
    if closing.status != Status.CLOSED:
        return
    if closing.ends_at > clock.now():
        # Copies that may go before that date are tried each day.
        due_at = closing.ends_at if known.left == 0 else min(closing.ends_at, clock.now() + A_DAY)
        Closing.objects.filter(pk=closing.pk).update(due_at=due_at, claimed_at=None, failures=0, why="")
        return
    body = receipts.second_body(closing, known)
    if body is None:
        _wait(closing, A_DAY, receipts.what_is_left(closing, known))
    elif not _issue(closing, 2, body):
        _wait(closing, LATER, "No key is set that signs receipts.")


def _export(closing: Closing, root: str, *, claim: Claim | None) -> None:
    """Write the export, between two proofs that a receipt can be signed: it takes its time.

    Args:
        claim: of the worker, renewed on the way; None: the command's, which no worker takes.
    """
    tenant = closing.tenant
    receipts.require_signable()
    if claim:
        claim.renew(ahead=ONE_CALL)
    since, until = tenant.created_at.astimezone(UTC).date(), clock.now().astimezone(UTC).date()
    proof = evidence(tenant, since=since, until=until, actor=SYSTEM)
    place = files.write(closing, root, proof, is_alive=claim.renew if claim else lambda: None)
    receipts.require_signable()
    Closing.objects.filter(pk=closing.pk).update(folder=str(Path(place).absolute())[:500])
    closing.folder = str(place)


@transactions.atomic
def _erase(tenant: Tenant, closing: Closing, *, actor: Actor, is_again: bool = False) -> None:
    """Destroy the keys and end the organisation, in one transaction: all of it or nothing."""
    if not is_again:
        _require_nothing_serves(tenant)
    reason, facts = closing.reason, destroying.found(tenant)
    addresses = sorted(Member.objects.of(tenant).owners().values_list("user__email", flat=True))
    give_up_preparation(tenant, reason=f"closed: {reason}"[:200], actor=actor)
    if is_again:
        _stop_serving(tenant, actor)
    at = tenant_services.end_organisation(tenant, reason=reason, actor=SYSTEM)
    removals = destroying.destroy(tenant, reason=reason, actor=actor)
    done = {"erased_at": at, "facts": facts, "addresses": addresses, "due_at": clock.now()}
    if not Closing.objects.move(closing.pk, Status.QUEUED, Status.ERASED, **done):
        raise errors.ClosingMoved
    audit.record(
        "tenants.tenant.closed",
        tenant=tenant,
        actor=actor,
        target=closing,
        branch_keys=len(facts["branch_keys"]),
        wrappings=facts["wrappings"],
        reason=reason,
    )
    for removal in removals:
        tasks.enqueue(tasks.configure_service_role, configuration_id=str(removal))
    open_removals = RoleConfiguration.objects.filter(tenant=tenant, status__in=RoleConfiguration.OPEN)
    for pk in open_removals.exclude(pk__in=removals).values_list("pk", flat=True):
        tasks.enqueue(tasks.configure_service_role, configuration_id=str(pk))


def _stop_serving(tenant: Tenant, actor: Actor) -> None:
    """In a restored database the key may serve, as it did when the backup was made."""
    for registration in KeyRegistration.objects.of(tenant).serving():
        destroying.retire_serving(registration, actor=actor)


@transactions.atomic
def _remove_again(tenant: Tenant, role_arns: list[str]) -> None:
    for removal in destroying.remove_again(tenant, role_arns):
        tasks.enqueue(tasks.configure_service_role, configuration_id=str(removal))


@transactions.atomic
def _complete(tenant: Tenant, closing: Closing) -> None:
    """Our policies name none of its roles any more: the tombstone is complete."""
    if Closing.objects.move(closing.pk, Status.ERASED, Status.CLOSED, finished_at=clock.now(), why=""):
        audit.record("keys.closing.completed", tenant=tenant, actor=SYSTEM, target=closing)


def _issue(closing: Closing, number: int, body: dict[str, Any]) -> bool:
    receipt = receipts.issue(closing, number, body)
    if receipt is None:
        return False
    _keep(closing.tenant, closing, receipt)
    if closing.folder:
        files.write_receipt(closing.folder, number, receipts.document_of(receipt))
    return True


@transactions.atomic
def _keep(tenant: Tenant, closing: Closing, receipt: ClosingReceipt) -> None:
    with suppress(IntegrityError), transaction.atomic():  # another worker has kept it
        receipt.save(force_insert=True)
        if receipt.number == 1:  # of the receipt, which a worker that was killed may have signed before
            ends_at = datetime.fromisoformat(receipt.statement["last_copy_ends_at"])
            Closing.objects.filter(pk=closing.pk, ends_at=None).update(ends_at=ends_at)
        else:
            facts = {"due_at": None, "claimed_at": None, "why": ""}
            Closing.objects.move(closing.pk, Status.CLOSED, Status.ENDED, **facts)
        audit.record("keys.closing.receipt_signed", tenant=tenant, actor=SYSTEM, target=closing, number=receipt.number)


@transactions.atomic
def _stop_in_transaction(tenant: Tenant, closing: Closing, why: str) -> None:
    facts = {"why": why[:300], "due_at": None, "claimed_at": None, "finished_at": clock.now()}
    if Closing.objects.move(closing.pk, Status.QUEUED, Status.STOPPED, **facts):
        audit.record("keys.closing.stopped", tenant=tenant, actor=SYSTEM, target=closing, why=why[:300])


def _stop(closing: Closing, why: str) -> None:
    _stop_in_transaction(closing.tenant, closing, why)


def _wait(closing: Closing, pause: timedelta, why: str) -> None:
    Closing.objects.filter(pk=closing.pk).update(due_at=clock.now() + pause, claimed_at=None, failures=0, why=why)
