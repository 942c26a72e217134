"""Puts each record of CloudTrail into one class, and finds the calls of ours that the records lack."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from keys.arns import PrincipalArn
from keys.reconciling.cloudtrail import Record

KMS, STS = "kms.amazonaws.com", "sts.amazonaws.com"
DELIVERY = timedelta(minutes=15)  # "within an average of about 5 minutes", and usually within 15
CLOCKS = timedelta(minutes=5)  # by which AWS's clock may be ahead of ours: it refuses what is signed with a worse one

MATCHED, BY_SESSION, UNKNOWN, NOT_OURS = "matched", "by_session", "unknown", "not_ours"
ARCHIVED = "archived"
MAY_COME, ABSENT, NOT_COVERED = "may_come_later", "absent", "not_covered"


@dataclass(frozen=True, slots=True)
class Call:
    """A call of ours whose request id we kept."""

    at: datetime
    region: str
    session: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Ours:
    """What makes a record a tenant's, and a call ours.

    Attributes:
        keys, roles: ARNs of the tenant's registrations.
        service_role: the role of ours that assumes the tenant's.
        sessions: the names of our sessions.
        all_kept: the session whose every successful Decrypt we keep with its request id.
    """

    keys: Collection[str]
    roles: Collection[str]
    service_role: str
    sessions: Collection[str]
    all_kept: str


def concerns(record: Record, ours: Ours) -> bool:
    """Tell whether a record is about the tenant's key or role, or was made by a session of that role."""
    if record.source == STS and record.name == "AssumeRole":
        return record.role_asked in ours.roles
    return _is_of_role(record, ours) or (record.source == KMS and not record.resources.isdisjoint(ours.keys))


def class_of(record: Record, ours: Ours, known: Collection[str], archived_until: datetime | None) -> str:
    """Return the class of a record that concerns the tenant.

    Args:
        known: the request ids of these records that we kept.
        archived_until: the unwraps from before are in the archive, and not among `known`.
    """
    if record.request_id and record.request_id in known:
        return MATCHED
    if record.source == STS and record.name == "AssumeRole":
        if not _is_session_of(record, ours.service_role):
            return NOT_OURS
        return BY_SESSION if record.session_asked in ours.sessions else UNKNOWN
    if not _is_of_role(record, ours):
        return NOT_OURS
    if record.session not in ours.sessions:
        return UNKNOWN
    is_kept = record.name == "Decrypt" and record.session == ours.all_kept and not record.error
    if not is_kept:
        return BY_SESSION
    return ARCHIVED if is_before(record, archived_until) else UNKNOWN


def is_before(record: Record, archived_until: datetime | None) -> bool:
    """Tell whether the row of a call may be in the archive."""
    return archived_until is not None and record.at < archived_until + CLOCKS


def lacking(calls: Sequence[Call], records: Sequence[Record]) -> list[tuple[Call, str]]:
    """Return the calls that the records lack, each with why that may be.

    Only the period and the Regions that the records show are compared.
    """
    if not records:
        return [(call, NOT_COVERED) for call in calls]
    first, last = records[0].at, records[-1].at
    regions = {record.region for record in records if record.source == KMS}
    shown = {record.request_id for record in records}
    found = []
    for call in calls:
        if call.request_id in shown:
            continue
        # CloudTrail's times are whole seconds.
        is_covered = call.region in regions and first <= call.at.replace(microsecond=0) <= last
        why = NOT_COVERED if not is_covered else MAY_COME if call.at > last - DELIVERY else ABSENT
        found.append((call, why))
    return found


def _is_of_role(record: Record, ours: Ours) -> bool:
    if record.issuer or ":assumed-role/" in record.principal:
        return any(_is_session_of(record, role) for role in ours.roles)
    # The copy in the key's account, where the role is in another one, shows no ARN: its session name is all there is.
    return record.session in ours.sessions and not record.principal.startswith("arn:")


def _is_session_of(record: Record, role: str) -> bool:
    if record.issuer:
        return record.issuer == role
    if ":assumed-role/" not in record.principal:  # the copy in the role's account names no ARN
        return bool(record.session) and not record.principal.startswith("arn:")
    who, asked = PrincipalArn.parse(record.principal), PrincipalArn.parse(role)  # a session's ARN lacks the role's path
    return who is not None and asked is not None and (who.account, who.name) == (asked.account, asked.name)
