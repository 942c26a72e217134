"""What is known of one tenant's key: read in one query, and why no data key is given out where it stands like that."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime

from django.conf import settings
from django.db.models import Exists, FilteredRelation, OuterRef, Q

from byokportal.errors import DomainError
from keys import errors
from keys.models import KeyRegistration, RestoreHold
from tenants.models import Tenant


@dataclass(frozen=True, slots=True)
class WrappedBranchKey:
    """A branch key as the database holds it, and the way to the CMK that opens it."""

    id: uuid.UUID
    wrapped: bytes = field(repr=False)
    key_arn: str
    registration: uuid.UUID | None  # None: the platform key
    role_arn: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known of one tenant's key."""

    tenant: uuid.UUID
    changed_at: datetime
    read_at: float  # monotonic
    generation: int
    latency: int  # seconds
    external_id: str = field(repr=False)
    service_role_arn: str
    registration: uuid.UUID | None  # the serving one
    status: str
    suspended_by: str
    reason: str
    since: datetime | None
    role_arn: str
    key_arn: str
    current: WrappedBranchKey | None  # what wraps new data keys; None: it has to be made
    is_held: bool = False  # after a restore, until an owner or two leads say that it may be served (`keys.holds`)


def why_not(snapshot: Snapshot | None, *, new: bool) -> DomainError | None:
    """Return why no data key is given out where a tenant stands like this; None when one is.

    Args:
        new: it is to be made, not opened.
    """
    if snapshot is None or (snapshot.registration is None and not settings.PLATFORM_KEY_ARN):
        return errors.KeyNotActive()
    if snapshot.is_held:
        return errors.RestoreNotConfirmed()
    if snapshot.status == KeyRegistration.Status.SUSPENDED:
        return _refusal(snapshot)
    if new and snapshot.status == KeyRegistration.Status.UNREACHABLE:  # new keys fail closed in every doubt
        return errors.KeyUnreachable(since=snapshot.since, retry_after=30)
    return None


def _refusal(snapshot: Snapshot) -> DomainError:
    """Return the error that a suspended registration answers with: AWS's own code where AWS said no."""
    if snapshot.suspended_by == KeyRegistration.SuspendedBy.AWS and snapshot.reason in errors.REFUSALS:
        return errors.REFUSALS[snapshot.reason](since=snapshot.since, aws_code="the refusal", action="our last call")
    by = KeyRegistration.SuspendedBy(snapshot.suspended_by).label
    return errors.KeySuspended(since=snapshot.since, suspended_by=by)


def read(tenant: uuid.UUID, at: float) -> Snapshot | None:
    """Read one tenant from the database, in one query.

    Args:
        at: monotonic, now.
    """
    serving, current = "serving", "current"
    row = (
        Tenant.objects.annotate(
            serving=FilteredRelation("registrations", condition=Q(registrations__status__in=KeyRegistration.SERVING)),
            current=FilteredRelation("branch_keys", condition=Q(branch_keys__is_current=True)),
            is_held=Exists(RestoreHold.objects.open().filter(tenant=OuterRef("pk"))),
        )
        .filter(pk=tenant, closed_at=None)
        .values_list(
            "key_changed_at",
            "key_generation",
            "revocation_latency",
            "external_id",
            "service_role__arn",
            "is_held",
            *(
                f"{serving}__{name}"
                for name in ("id", "status", "suspended_by", "reason", "moved_at", "role_arn", "key_arn")
            ),
            *(f"{current}__{name}" for name in ("id", "wrapped", "key_arn", "registration_id")),
        )
        .first()
    )
    if row is None:
        return None
    changed_at, generation, latency, external_id, service_role_arn, is_held = row[:6]
    registration, status, suspended_by, reason, since, role_arn, key_arn = row[6:13]
    key_id, wrapped, wrapped_by, of_registration = row[13:]
    branch_key = None
    # one of the key before is left to be moved, and wraps nothing new
    if key_id is not None and of_registration == registration:
        branch_key = WrappedBranchKey(key_id, bytes(wrapped), wrapped_by, registration, role_arn or "")
    return Snapshot(
        tenant,
        changed_at,
        at,
        generation,
        latency,
        external_id,
        service_role_arn,
        registration,
        status or "",
        suspended_by or "",
        reason or "",
        since,
        role_arn or "",
        key_arn or "",
        branch_key,
        is_held,
    )
