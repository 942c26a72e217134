"""Give out and open data keys: find the tenant's branch key, ask AWS to open it, write the row, then answer."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from byokportal.errors import DomainError, Kind
from keys import branchkeys, envelope, errors, health, ledger
from keys.models import BranchKey, KeyRegistration, KeyUse
from tenants.models import Tenant

Context = dict[str, str]
Status = KeyRegistration.Status


@dataclass(frozen=True, slots=True)
class NewDataKey:
    """A data key as it leaves: the caller keeps the plaintext no longer than `cache_until`."""

    plaintext: bytes = field(repr=False)
    wrapped_key: bytes
    cache_until: datetime


@dataclass(frozen=True, slots=True)
class OpenedDataKey:
    """An opened data key; see `NewDataKey`."""

    plaintext: bytes = field(repr=False)
    cache_until: datetime


@dataclass(frozen=True, slots=True)
class _Open:
    """A branch key in use within one request."""

    id: uuid.UUID
    plaintext: bytes = field(repr=False)
    until: datetime


def generate(tenant: Tenant, contexts: Sequence[Context], *, caller: str, request_id: str) -> list[NewDataKey]:
    """Make a data key for each context.

    Raises:
        KeyNotActive, KeySuspended, KeyUnreachable: the registration does not serve new keys now.
        DomainError: of kind KEY_REFUSED or UNAVAILABLE, what AWS answered.
    """
    for context in contexts:
        envelope.encode_context(str(tenant.pk), context)
    registration = _protector(tenant, new=True)
    branch = _open(tenant, _current_branch_key(tenant, registration))
    made = [envelope.generate(branch.plaintext, branch.id, str(tenant.pk), context) for context in contexts]
    ledger.record(tenant, KeyUse.Operation.GENERATE, contexts, caller=caller, request_id=request_id)
    return [NewDataKey(key.plaintext, key.wrapped, branch.until) for key in made]


def open_wrapped(
    tenant: Tenant, items: Sequence[tuple[bytes, Context]], *, caller: str, request_id: str
) -> list[OpenedDataKey | DomainError]:
    """Open wrapped data keys; each item's own failure stands in its place."""
    _protector(tenant, new=False)
    results = [
        opened if isinstance(opened, DomainError) else OpenedDataKey(opened[0], opened[1].until)
        for opened in _open_each(tenant, items)
    ]
    contexts = [
        context for (_, context), result in zip(items, results, strict=True) if isinstance(result, OpenedDataKey)
    ]
    if contexts:
        ledger.record(tenant, KeyUse.Operation.DECRYPT, contexts, caller=caller, request_id=request_id)
    return results


def rewrap(
    tenant: Tenant, items: Sequence[tuple[bytes, Context]], *, caller: str, request_id: str
) -> list[bytes | DomainError]:
    """Move wrapped data keys to the current branch key without showing them; each item's own failure stands in its place."""
    registration = _protector(tenant, new=True)
    current = _open(tenant, _current_branch_key(tenant, registration))
    results: list[bytes | DomainError] = []
    for opened, (blob, context) in zip(_open_each(tenant, items, known=current), items, strict=True):
        if isinstance(opened, DomainError):
            results.append(opened)
        elif opened[1].id == current.id:
            results.append(blob)
        else:
            results.append(envelope.wrap(current.plaintext, current.id, str(tenant.pk), context, opened[0]))
    contexts = [context for (_, context), result in zip(items, results, strict=True) if isinstance(result, bytes)]
    if contexts:
        ledger.record(tenant, KeyUse.Operation.REWRAP, contexts, caller=caller, request_id=request_id)
    return results


def refusal(registration: KeyRegistration) -> DomainError:
    """Return the error that a suspended registration answers with: AWS's own code where AWS said no."""
    code, since = registration.reason, registration.moved_at
    if registration.suspended_by == KeyRegistration.SuspendedBy.AWS and code in errors.REFUSALS:
        return errors.REFUSALS[code](since=since, aws_code="the refusal", action="our last call")
    return errors.KeySuspended(since=since, suspended_by=registration.get_suspended_by_display())


def _protector(tenant: Tenant, *, new: bool) -> KeyRegistration | None:
    """Return the serving registration, None for the platform key, or raise why there is neither."""
    registration = KeyRegistration.objects.of(tenant).serving().first()
    if registration is None:
        if settings.PLATFORM_KEY_ARN:
            return None
        raise errors.KeyNotActive
    if registration.status == Status.SUSPENDED:
        raise refusal(registration)
    if new and registration.status == Status.UNREACHABLE:  # new keys fail closed in every doubt
        raise errors.KeyUnreachable(since=registration.moved_at, retry_after=30)
    return registration


def _current_branch_key(tenant: Tenant, registration: KeyRegistration | None) -> BranchKey:
    """Return the branch key that wraps new data keys; the first request after an activation makes it."""
    current: BranchKey | None = (
        BranchKey.objects.of(tenant)
        .filter(is_current=True, registration=registration)
        .select_related("registration")
        .first()
    )
    if current is not None:
        return current
    try:
        return branchkeys.make(tenant, registration)
    except DomainError as error:
        raise _seen(registration, error) from error


def _open(tenant: Tenant, branch_key: BranchKey) -> _Open:
    """Ask AWS to open a branch key; it lives in this request only."""
    now = timezone.now()
    try:
        key = branchkeys.kms_key(tenant, branch_key.registration, branch_key.key_arn, purpose="data-keys")
        context = branchkeys.context_of(tenant.pk, branch_key.pk)
        plaintext = key.decrypt(bytes(branch_key.wrapped), context).plaintext
    except DomainError as error:
        raise _seen(branch_key.registration, error) from error
    until = now + timedelta(seconds=tenant.revocation_latency)
    return _Open(branch_key.pk, plaintext, min(until, key.session_expires_at) if key.session_expires_at else until)


def _open_each(
    tenant: Tenant, items: Sequence[tuple[bytes, Context]], known: _Open | None = None
) -> list[tuple[bytes, _Open] | DomainError]:
    """Open each blob with its branch key; AWS is asked once for each branch key."""
    opened: dict[uuid.UUID, _Open | DomainError] = {known.id: known} if known else {}
    results: list[tuple[bytes, _Open] | DomainError] = []
    for blob, context in items:
        try:
            key_id = envelope.branch_key_id(blob)
            if key_id not in opened:
                row = BranchKey.objects.of(tenant).filter(pk=key_id).select_related("registration").first()
                try:
                    opened[key_id] = errors.BlobUnreadable() if row is None else _open(tenant, row)
                except DomainError as error:
                    opened[key_id] = error
            branch = opened[key_id]
            if isinstance(branch, DomainError):
                results.append(branch)
            else:
                results.append((envelope.unwrap(branch.plaintext, str(tenant.pk), context, blob), branch))
        except DomainError as error:
            results.append(error)
    return results


def _seen(registration: KeyRegistration | None, error: DomainError) -> DomainError:
    """Let health judge what AWS said, and return what the caller is told."""
    if registration is None or error.kind is not Kind.KEY_REFUSED:
        return error
    return health.denied(registration, error)
