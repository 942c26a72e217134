"""A tenant's branch keys: make one, rotate it, move it to the key that protects the tenant now.

The row in the database is the job. `due_at` says when a branch key is looked at: the current one when it is to be
rotated, any other one at once when the key that wraps it no longer is the tenant's. A worker that is killed leaves a
claim that goes stale; doing it again is harmless, because a move is one UPDATE that names the ciphertext it replaces.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Count, Max, Min

from byokportal import clock, database
from byokportal.errors import DomainError
from keys import aws, escrow, horizon, lifecycle, retirement
from keys.access import Access
from keys.actions import Variant
from keys.arns import KeyArn
from keys.aws.kms import KmsKey
from keys.errors import KeyNotActive, RegistrationBusy
from keys.models import (
    DEFAULT_SCOPE,
    BranchKey,
    BranchKeyLoad,
    KeyRegistration,
    put_off_if_it_breaks,
)
from tenants import audit, transactions
from tenants.models import Tenant

Status = KeyRegistration.Status
BACK_OFF = (5, 15, 30, 60, 300)  # seconds between attempts while the old key or the new one cannot be used
WAITING = timedelta(seconds=30)  # until it is looked again whether a key that stands still serves


@dataclass(frozen=True, slots=True)
class Remaining:
    """Branch keys that open with one key only, which is not the tenant's present one.

    Args:
        key_arn: that key; take it away and what these branch keys wrapped is lost.
        reason: code of the error that the last attempt to move them ended with, "" when there was none.
    """

    key_arn: str
    role_arn: str
    count: int
    since: datetime
    reason: str
    next_at: datetime | None


def context_of(tenant_id: object, branch_key_id: object) -> dict[str, str]:
    """Return the encryption context of a branch key (design.md 8)."""
    return {"tenant": str(tenant_id), "branch-key": str(branch_key_id)}


def kms_key(
    tenant: Tenant,
    registration: KeyRegistration | None,
    key_arn: str,
    *,
    purpose: str,
    keep: bool = False,
    also: KeyArn | None = None,
    encrypts: bool = False,
) -> KmsKey:
    """Return the key behind a registration, or the platform's own where there is none.

    Args:
        keep: the session is used again in this process (`keys.aws.open_key`).
        also: another key of the same Region that the session has to reach too (kms:ReEncrypt).
        encrypts: what another key wrapped is to be wrapped by this one.
    """
    key = KeyArn.parse(key_arn)
    if registration is None:
        return aws.platform_key(key)
    access = registration.access(tenant)
    return aws.open_key(
        replace(access.encrypting() if encrypts else access, key=key), purpose=purpose, keep=keep, also=also
    )


@dataclass(frozen=True, slots=True)
class Load:
    """A branch key that the KMS has just unwrapped, and the id of the row that says so."""

    id: uuid.UUID
    plaintext: bytes = field(repr=False)


def unwrap(
    key: KmsKey,
    wrapped: bytes,
    *,
    tenant: uuid.UUID,
    branch_key: uuid.UUID,
    data_scope: str = DEFAULT_SCOPE,
    process: uuid.UUID | None = None,
) -> Load:
    """Let the KMS unwrap a branch key, and commit the row of that before anybody has the plaintext.

    Call it outside a transaction: a row that can be rolled back is none.

    Args:
        key: the CMK that the branch key is wrapped by.
        process: that keeps the branch key; None: a worker, which drops it at once.

    Raises:
        DatabaseUnavailable: the row could not be written.
        DomainError: what AWS answered; that leaves no row.
    """
    opened = key.decrypt(wrapped, context_of(tenant, branch_key))
    with database.needed(), transaction.atomic(durable=True):
        load = BranchKeyLoad.objects.create(
            tenant_id=tenant,
            branch_key_id=branch_key,
            data_scope=data_scope,
            process=process,
            region=KeyArn.parse(key.arn).region,
            session_name=opened.session_name,
            aws_request_id=opened.request_id[:128],
        )
    return Load(load.pk, opened.plaintext)


# --- making -----------------------------------------------------------------------------------------------------


def make(tenant: Tenant, registration: KeyRegistration | None, *, instead_of: BranchKey | None = None) -> BranchKey:
    """Make the branch key that wraps new data keys from now on;
    of several makers at once one wins, and all get its key.

    Args:
        registration: the serving one; None for the platform key.
        instead_of: the current branch key that is rotated; None where there is none of this registration.

    Raises:
        RegistrationBusy: the registration stopped serving meanwhile.
        KeyNotActive: the organisation was closed meanwhile.
        DomainError: what AWS answered.
    """
    key_id = uuid.uuid4()
    key_arn = registration.key_arn if registration else settings.PLATFORM_KEY_ARN
    # A request that makes the first one opens it next; a worker that rotates never comes back to this tenant.
    key = kms_key(tenant, registration, key_arn, purpose="data-keys", keep=instead_of is None)
    wrapped = key.generate_wrapped(context_of(tenant.pk, key_id)).ciphertext
    made = BranchKey(id=key_id, tenant=tenant, registration=registration, key_arn=key_arn, wrapped=wrapped)
    made.data_scope = instead_of.data_scope if instead_of else DEFAULT_SCOPE
    try:
        _put_in_place(tenant, made, instead_of=instead_of)
    except IntegrityError:  # another maker was first: there is one current branch key for each data scope
        current = BranchKey.objects.of(tenant).filter(data_scope=made.data_scope, is_current=True)
        winner: BranchKey = current.select_related("registration").get()
        return winner
    return made


@transactions.atomic
def _put_in_place(tenant: Tenant, made: BranchKey, *, instead_of: BranchKey | None) -> None:
    _require_open(tenant)
    _require_serving(made.registration)
    current = BranchKey.objects.of(tenant).filter(data_scope=made.data_scope, is_current=True)
    (current.filter(pk=instead_of.pk) if instead_of else current.exclude(registration=made.registration)).update(
        is_current=False, due_at=None if instead_of else clock.now()
    )
    made.due_at = _rotation(clock.now())
    made.escrow_due_at = escrow.wanted_at()
    made.save(force_insert=True)
    lifecycle.changed(tenant.pk)
    audit.record("keys.branch_key.created", tenant=tenant, actor=audit.SYSTEM, target=made, key_arn=made.key_arn)


def _require_open(tenant: Tenant) -> None:
    """Raise where the organisation was closed while AWS was asked; the caller holds it."""
    if Tenant.objects.filter(pk=tenant.pk).exclude(closed_at=None).exists():
        raise KeyNotActive


def _require_serving(registration: KeyRegistration | None) -> None:
    """Hold the registration in service until the row is written:
    a branch key must never name one that is retired at that moment."""
    if registration is None:
        return
    row = KeyRegistration.objects.select_for_update(no_key=True).filter(
        pk=registration.pk, status__in=KeyRegistration.SERVING
    )
    if not row.exists():
        raise RegistrationBusy(status="no longer serving", wanted="used for new data keys")


def _rotation(made_at: datetime) -> datetime:
    """Return when a branch key is to be rotated;
    spread, because tenants that came together would rotate together for ever."""
    return made_at + timedelta(days=settings.BRANCH_KEY_ROTATION_DAYS * random.uniform(0.9, 1.0))  # noqa: S311


# --- what is still to do ----------------------------------------------------------------------------------------


def protector(tenant: Tenant) -> tuple[bool, KeyRegistration | None]:
    """Return whether something protects the tenant now, and its registration (None: the platform key)."""
    serving = KeyRegistration.objects.of(tenant).serving().first()
    return serving is not None or bool(settings.PLATFORM_KEY_ARN), serving


def remaining(tenant: Tenant) -> list[Remaining]:
    """Return what still opens only with another key than the tenant's present one, key by key: a query, not a guess."""
    return opened_by_others(tenant, protector(tenant)[1])


def opened_by_others(tenant: Tenant, serving: KeyRegistration | None) -> list[Remaining]:
    """Return the same, where the registration that serves is read already (None: none does)."""
    if serving is None and not settings.PLATFORM_KEY_ARN:
        return []
    rows = (
        BranchKey.objects.of(tenant)
        .exclude(registration=serving)
        .values("key_arn", "registration__role_arn", "registration__moved_at")
        .annotate(count=Count("id"), reason=Max("reason"), next_at=Min("due_at"), first=Min("created_at"))
        .order_by("first")
    )
    return [
        Remaining(
            row["key_arn"],
            row["registration__role_arn"] or "",
            row["count"],
            row["registration__moved_at"] or row["first"],
            row["reason"],
            row["next_at"],
        )
        for row in rows
    ]


def way_to(tenant: Tenant, registration: KeyRegistration) -> Access:
    """Return how our service role reaches the key, with all that its documents have to allow: the narrower ones need
    kms:Encrypt too as long as branch keys have to be wrapped anew by this key."""
    access = registration.access(tenant)
    return access.encrypting() if access.is_narrow and _has_to_take_over(tenant, registration) else access


def _has_to_take_over(tenant: Tenant, registration: KeyRegistration) -> bool:
    """Tell whether another key wraps a branch key that is to move to this one, or may still make one."""
    if registration.status not in {*KeyRegistration.SERVING, *KeyRegistration.IN_PREPARATION}:
        return False
    if BranchKey.objects.of(tenant).exclude(registration=registration).exists():
        return True
    return registration.status in KeyRegistration.IN_PREPARATION and protector(tenant)[0]


def begin_moving(tenant: Tenant) -> None:
    """Make every branch key due that another key wraps than the tenant's present one;
    call it where that key changes."""
    _, present = protector(tenant)
    BranchKey.objects.of(tenant).exclude(registration=present).update(due_at=clock.now(), attempts=0, reason="")


# --- attending to one --------------------------------------------------------------------------------------------


def attend(branch_key_id: str) -> uuid.UUID | None:
    """Do what a branch key is due for: move it to the tenant's present key, or put a fresh one in its place.

    Returns:
        The id of the `RoleConfiguration` to enqueue, when a registration was retired by it.
    """
    claim = clock.now()
    if not BranchKey.objects.claim(branch_key_id, claim):
        return None
    with put_off_if_it_breaks(BranchKey.objects.all(), branch_key_id, claim):
        return _attend(branch_key_id, claim)
    return None


def _attend(branch_key_id: str, claim: datetime) -> uuid.UUID | None:
    row = BranchKey.objects.select_related("tenant__service_role", "registration").get(pk=branch_key_id)
    is_there, present = protector(row.tenant)
    if not is_there or (present is not None and present.status != Status.ACTIVE):
        _give_back(row, claim, due_at=claim + WAITING)  # there is nothing to move to as long as the key stands still
        return None
    is_at_home = row.registration_id == (present.pk if present else None)
    try:
        if is_at_home:
            _rotate(row, present, claim)
            return None
        _move(row, present, claim)
    except DomainError as error:
        _postpone(row, claim, error, is_at_home=is_at_home)
        return None
    return retirement.retire(row.registration) if row.registration else None


def _rotate(row: BranchKey, registration: KeyRegistration | None, claim: datetime) -> None:
    if row.is_current:
        make(row.tenant, registration, instead_of=row)
    _give_back(row, claim, due_at=None, attempts=0, reason="")


def _move(row: BranchKey, present: KeyRegistration | None, claim: datetime) -> None:
    """Wrap one branch key by the present key;
    its id and encryption context stay, so every blob that names it goes on opening."""
    _write_moved(row, present, claim, _wrapped_anew(row, present))


@transactions.atomic
def _write_moved(row: BranchKey, present: KeyRegistration | None, claim: datetime, wrapped: bytes) -> None:
    key_arn = present.key_arn if present else settings.PLATFORM_KEY_ARN
    _require_open(row.tenant)
    _require_serving(present)
    moved = BranchKey.objects.filter(pk=row.pk, claimed_at=claim, key_arn=row.key_arn).update(
        registration=present,
        key_arn=key_arn,
        wrapped=wrapped,
        claimed_at=None,
        attempts=0,
        failures=0,
        reason="",
        due_at=_rotation(row.created_at) if row.is_current else None,
        **escrow.of_another_wrapping(),
    )
    if moved:
        horizon.keep(row)
        lifecycle.changed(row.tenant_id)
        audit.record(
            "keys.branch_key.moved",
            tenant=row.tenant,
            actor=audit.SYSTEM,
            target=row,
            key_arn=key_arn,
            old_key_arn=row.key_arn,
        )
        if row.registration is not None:
            _say_until_when(row.registration)


def _say_until_when(registration: KeyRegistration) -> None:
    """Say once, when the last branch key has moved, until when the old role and key are needed all the same."""
    old = KeyRegistration.objects.select_related("tenant").get(pk=registration.pk)
    if old.needed_until is None or horizon.is_over(old) or old.branch_keys.exists():
        return
    audit.record(
        "keys.registration.kept",
        tenant=old.tenant,
        actor=audit.SYSTEM,
        target=old,
        key_arn=old.key_arn,
        role_arn=old.role_arn,
        until=horizon.written(old.needed_until),
        days=horizon.days(),
    )


def _wrapped_anew(row: BranchKey, present: KeyRegistration | None) -> bytes:
    """Return the branch key wrapped by the present key: by one kms:ReEncrypt where one session reaches both keys and
    both registrations allow it, else by kms:Decrypt with the old and kms:Encrypt with the present one."""
    context, tenant, old = context_of(row.tenant_id, row.pk), row.tenant, row.registration
    if present is not None and old is not None and _one_session_reaches(old, present):
        key = kms_key(tenant, present, row.key_arn, purpose="re-encrypt", also=KeyArn.parse(present.key_arn))
        return key.re_encrypt(bytes(row.wrapped), context, context, destination_arn=present.key_arn).ciphertext
    key = kms_key(tenant, old, row.key_arn, purpose="re-encrypt")
    opened = unwrap(key, bytes(row.wrapped), tenant=tenant.pk, branch_key=row.pk, data_scope=row.data_scope)
    destination = present.key_arn if present else settings.PLATFORM_KEY_ARN
    new = kms_key(tenant, present, destination, purpose="re-encrypt", encrypts=True)
    return new.encrypt(opened.plaintext, context).ciphertext


def _one_session_reaches(old: KeyRegistration, present: KeyRegistration) -> bool:
    is_allowed = old.actions == present.actions == Variant.GUIDE
    return is_allowed and old.role_arn == present.role_arn and _region(old) == _region(present)


def _region(registration: KeyRegistration) -> str:
    return KeyArn.parse(registration.key_arn).region


def _give_back(row: BranchKey, claim: datetime, **facts: object) -> None:
    BranchKey.objects.filter(pk=row.pk, claimed_at=claim).update(claimed_at=None, failures=0, **facts)


@transactions.atomic
def _postpone(row: BranchKey, claim: datetime, error: DomainError, *, is_at_home: bool) -> None:
    """Try again later, and say once in the log why one that has to move stays where it is."""
    pause = BACK_OFF[min(row.attempts, len(BACK_OFF)) - 1] * random.uniform(0.9, 1.1)  # noqa: S311  jitter is no secret
    _give_back(row, claim, due_at=clock.now() + timedelta(seconds=pause), reason=error.code)
    if row.reason != error.code and not is_at_home:
        audit.record(
            "keys.branch_key.stays",
            tenant=row.tenant,
            actor=audit.SYSTEM,
            target=row,
            key_arn=row.key_arn,
            reason=error.code,
            **_facts(error),
        )


def _facts(error: DomainError) -> Mapping[str, object]:
    return {name: error.params[name] for name in ("aws_code", "action", "aws_request_id") if name in error.params}
