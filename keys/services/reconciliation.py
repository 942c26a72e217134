"""Compares a tenant's CloudTrail with the calls that we made on its key and role; keeps nothing of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from keys.aws import sessions
from keys.models import BranchKeyLoad, CheckResult, KeyRegistration
from keys.reconciling import cloudtrail, matching
from keys.reconciling.cloudtrail import Record
from keys.reconciling.matching import Call
from tenants import roles
from tenants.audit import Actor
from tenants.models import ArchivedMonth, Tenant

MOST_ROWS = 1_000  # of each list; the counts are of all
MOST_LOADS = 50_000
BATCH = 500  # request ids in one query


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What a comparison found.

    Attributes:
        read: records in the files, each call once.
        concerned: of them, those about the tenant's key or role.
        counts: by the class of a record.
        unknown, not_ours: those records, the first `MOST_ROWS`.
        callers: principals of `not_ours`, with how many calls each.
        lacking: calls of ours that the records lack, each with why that may be; the first `MOST_ROWS`.
        lacking_counts: by that reason.
        is_whole: all our calls of the period that are in the database were compared.
        archived_until: those of the period from before are in the archive, and were not; None: there are none.
    """

    read: int
    concerned: Sequence[Record]
    counts: Mapping[str, int]
    unknown: Sequence[Record]
    not_ours: Sequence[Record]
    callers: Mapping[str, int]
    lacking: Sequence[tuple[Call, str]]
    lacking_counts: Mapping[str, int]
    is_whole: bool
    archived_until: datetime | None


def reconcile(
    tenant: Tenant, files: Sequence[bytes], *, actor: Actor, most_bytes: int = cloudtrail.MOST_BYTES
) -> Reconciliation:
    """Return what either side lacks, over the period of the files.

    Args:
        most_bytes: of all files together, unpacked.

    Raises:
        Unreadable: a file is none of CloudTrail's, or the files are too long.
    """
    roles.require(actor, "keys.reconcile", tenant)
    records = cloudtrail.read(files, most_bytes=most_bytes)
    ours = _ours(tenant)
    concerned = [record for record in records if matching.concerns(record, ours)]
    known = _known(tenant, {record.request_id[:128] for record in concerned} - {""})
    calls = _unwraps(tenant, records)
    # Behind both: a month counts as archived before its rows go.
    archived_until = ArchivedMonth.objects.until(ArchivedMonth.Table.LOADS)
    classes = [(matching.class_of(record, ours, known, archived_until), record) for record in concerned]
    unknown = [record for found, record in classes if found == matching.UNKNOWN]
    not_ours = [record for found, record in classes if found == matching.NOT_OURS]
    lacking = matching.lacking(calls[:MOST_LOADS], records)
    return Reconciliation(
        read=len(records),
        concerned=concerned,
        counts=Counter(found for found, _ in classes),
        unknown=unknown[:MOST_ROWS],
        not_ours=not_ours[:MOST_ROWS],
        callers=dict(Counter(record.principal for record in not_ours).most_common(MOST_ROWS)),
        lacking=lacking[:MOST_ROWS],
        lacking_counts=Counter(why for _, why in lacking),
        is_whole=len(calls) <= MOST_LOADS,
        archived_until=archived_until if records and matching.is_before(records[0], archived_until) else None,
    )


def _ours(tenant: Tenant) -> matching.Ours:
    named = list(KeyRegistration.objects.of(tenant).values_list("key_arn", "role_arn"))
    names = {purpose: sessions.session_name(purpose, str(tenant.pk)) for purpose in sessions.PURPOSES}
    return matching.Ours(
        keys={key for key, _ in named} - {""},
        roles={role for _, role in named} - {""},
        service_role=tenant.service_role.arn,
        sessions=frozenset(names.values()),
        all_kept=names["data-keys"],
    )


def _known(tenant: Tenant, asked: Iterable[str]) -> set[str]:
    """Return those of these request ids that an unwrap or a check of a test of the tenant has kept."""
    known: set[str] = set()
    for some in _batches(sorted(asked)):
        loads = BranchKeyLoad.objects.filter(tenant=tenant, aws_request_id__in=some)
        known.update(loads.order_by().values_list("aws_request_id", flat=True))
        checks = CheckResult.objects.filter(tenant=tenant, evidence__request_id__in=some)
        known.update(checks.order_by().values_list("evidence__request_id", flat=True))
    return known


def _batches(items: Sequence[str]) -> Iterable[Sequence[str]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


def _unwraps(tenant: Tenant, records: Sequence[Record]) -> list[Call]:
    """Return our unwraps of the period of the records, oldest first, at most one more than `MOST_LOADS`.

    The platform's own key is in nobody else's CloudTrail.
    """
    if not records:
        return []
    first, last = records[0].at, records[-1].at + timedelta(seconds=1)
    loads = BranchKeyLoad.objects.filter(tenant=tenant, at__gte=first, at__lt=last).exclude(session_name="")
    kept = loads.order_by("at").values_list("at", "region", "session_name", "aws_request_id")
    return [Call(*facts) for facts in kept[: MOST_LOADS + 1]]


def facts_of_reconciliation(found: Reconciliation) -> dict[str, Any]:
    """Return it as the API and the command answer it; docs/reconciling.md says what each member means."""
    return {
        "records": found.read,
        "compared": len(found.concerned),
        "complete": found.is_whole and found.archived_until is None,
        "archived_until": found.archived_until.isoformat() if found.archived_until else None,
        "counts": dict(found.counts),
        "unknown": [_facts_of(record) for record in found.unknown],
        "callers": dict(found.callers),
        "not_ours": [_facts_of(record) for record in found.not_ours],
        "lacking_counts": dict(found.lacking_counts),
        "lacking": [
            {
                "at": call.at.isoformat(),
                "region": call.region,
                "session": call.session,
                "aws_request_id": call.request_id,
                "why": why,
            }
            for call, why in found.lacking
        ],
    }


def _facts_of(record: Record) -> dict[str, str]:
    return {
        "at": record.at.isoformat(),
        "action": f"{record.source.partition('.')[0]}:{record.name}",
        "region": record.region,
        "principal": record.principal,
        "session": record.session or record.session_asked,
        "error": record.error,
        "aws_request_id": record.request_id,
        "event_id": record.event_id,
    }
