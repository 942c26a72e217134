"""Branch keys that a database has lost come back from their copies; nothing that is newer is touched."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from byokportal import clock
from keys import escrow, horizon, lifecycle
from keys.closing import receipts
from keys.escrow import Line
from keys.models import BranchKey, KeyRegistration
from tenants import audit, log_trees, roles, transactions
from tenants.audit import Actor
from tenants.models import Tenant
from tenants.services import reason_of

Status = KeyRegistration.Status
# In these a registration opens what it wrapped.
OPENS = (*KeyRegistration.SERVING, Status.RETIRING)
SHOWN = 1_000  # of what was left out, by name


@dataclass(slots=True)
class Rebuilt:
    """What came of it.

    Attributes:
        restored: branch keys that the database did not have.
        rewrapped: those that it had in an earlier wrapping.
        known: copies of what it has, or has in a later wrapping.
        left: name of a copy → why it was left out, or of a receipt → why it is not proved, the first thousand.
        left_count: how many those are in all.
    """

    restored: int = 0
    rewrapped: int = 0
    known: int = 0
    left_count: int = 0
    left: dict[str, str] = field(default_factory=dict)

    def leave(self, name: str, why: str) -> None:
        self.left_count += 1
        if len(self.left) < SHOWN:
            self.left[name] = why


def rebuild_branch_keys(*, public_key: bytes, reason: str, actor: Actor) -> Rebuilt:
    """Take back what the copies hold and the database does not; safe to repeat after it broke off.

    Args:
        public_key: by which the copies were signed, 32 bytes; it has to come from elsewhere than bucket and database.

    Raises:
        InvalidInput: SEAL_HEADS_DIR is not where heads and receipts are published.
        DomainError: the bucket cannot be read.
    """
    roles.require(actor, "keys.rebuild_branch_keys")
    reason, done = reason_of(reason), Rebuilt()
    log_trees.require_heads()  # beside them lies what was closed
    closed, doubted = receipts.published()
    for name, doubt in doubted.items():
        done.leave(name, f"this receipt of a closing is not proved: {doubt.why}")
    # To leave out asks for no proof.
    may_be_closed = {doubt.tenant for doubt in doubted.values()}
    for tenant_id, lines in _by_tenant(public_key, done):
        tenant = Tenant.objects.filter(pk=tenant_id).first()
        if tenant_id in closed or (tenant is not None and tenant.closed_at is not None):
            for line in lines:
                done.leave(str(line.branch_key), "its organisation is closed")
            continue
        if tenant_id in may_be_closed:
            for line in lines:
                done.leave(str(line.branch_key), "a receipt that is not proved says that its organisation is closed")
            continue
        if tenant is None:
            for line in lines:
                done.leave(str(line.branch_key), "the database does not know its organisation")
            continue
        _rebuild(tenant, lines, done, reason, actor)
    return done


def _by_tenant(public_key: bytes, done: Rebuilt) -> Iterator[tuple[uuid.UUID, list[Line]]]:
    """Yield the newest wrapping of each branch key, tenant by tenant: names come in order."""
    present: uuid.UUID | None = None
    newest: dict[uuid.UUID, Line] = {}
    for name in escrow.names():
        try:
            line = escrow.read(name, public=public_key)
        except escrow.LineRefused as error:
            done.leave(name, str(error))
            continue
        if present is not None and line.tenant != present:
            yield present, list(newest.values())
            newest = {}
        present = line.tenant
        known = newest.get(line.branch_key)
        if known is None or known.wrapped_at < line.wrapped_at:
            newest[line.branch_key] = line
    if present is not None:
        yield present, list(newest.values())


def _rebuild(tenant: Tenant, lines: list[Line], done: Rebuilt, reason: str, actor: Actor) -> None:
    @transactions.atomic
    def rebuild(held: Tenant) -> dict[str, int]:
        counts: dict[str, int] = defaultdict(int)
        # The oldest first: of several that were current, the newest is.
        for line in sorted(lines, key=lambda one: one.created_at):
            counts[_take(held, line, done)] += 1
        if counts["restored"] or counts["rewrapped"]:
            lifecycle.changed(held.pk, drop=True)
            audit.record(
                "keys.branch_keys.rebuilt",
                tenant=held,
                actor=actor,
                restored=counts["restored"],
                rewrapped=counts["rewrapped"],
                reason=reason,
            )
        return counts

    counts = rebuild(tenant)
    done.restored += counts["restored"]
    done.rewrapped += counts["rewrapped"]
    done.known += counts["known"]


def _take(tenant: Tenant, line: Line, done: Rebuilt) -> str:
    row = BranchKey.objects.filter(pk=line.branch_key).first()
    if row is not None and row.tenant_id != tenant.pk:
        done.leave(str(line.branch_key), "the database has it as another organisation's")
        return "left"
    if row is not None and (bytes(row.wrapped) == line.wrapped or _is_later(row, line)):
        return "known"
    why = _why_not(tenant, line)
    if why:
        done.leave(str(line.branch_key), why)
        return "left"
    facts = {
        "registration_id": line.registration,
        "key_arn": line.key_arn,
        "wrapped": line.wrapped,
        "wrapped_at": line.wrapped_at,
        "escrowed_at": clock.now(),
        "escrow_due_at": None,
    }
    if row is not None:
        horizon.keep(row)
        BranchKey.objects.filter(pk=row.pk).update(**facts, due_at=None, claimed_at=None)
        return "rewrapped"
    made = BranchKey(id=line.branch_key, tenant=tenant, data_scope=line.data_scope, is_current=False, **facts)
    made.created_at = line.created_at
    made.save(force_insert=True)
    if line.is_current:
        _make_current(made)
    return "restored"


def _is_later(row: BranchKey, line: Line) -> bool:
    return (row.wrapped_at or row.created_at) >= line.wrapped_at


def _why_not(tenant: Tenant, line: Line) -> str:
    if line.registration is None:
        return ""
    registration = KeyRegistration.objects.of(tenant).filter(pk=line.registration).first()
    if registration is None:
        return f"the database does not know the registration of {line.role_arn} and {line.key_arn}"
    if registration.key_arn != line.key_arn:
        return "the registration that it names has another key"
    if registration.status not in OPENS:
        return f"the registration that it names is {registration.status_in_english}"
    return ""


def _make_current(made: BranchKey) -> None:
    """Let a branch key wrap new data keys again, unless a later one does."""
    scope = BranchKey.objects.of(made.tenant).filter(data_scope=made.data_scope, is_current=True)
    if scope.filter(created_at__gte=made.created_at).exists():
        return
    scope.update(is_current=False)
    BranchKey.objects.filter(pk=made.pk).update(is_current=True, due_at=clock.now())
