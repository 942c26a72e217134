"""Months of the log in the archive: which lines leave, what stays so that the rest is proved, and what an export says.

A line leaves with the month of its time, and a log is numbered in the order of commits: a few lines from before
midnight may have higher numbers than the first of the next month. So what is in the archive of a log is all lines
through a number, and a few beyond it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, F, Max, Min, Sum

from byokportal import leaves
from byokportal.errors import InvalidInput
from tenants import log_trees
from tenants.models import (
    ArchivedLeaf,
    ArchivedLog,
    ArchivedMonth,
    AuditEvent,
    AuditEventQuerySet,
    LogHead,
    LogTree,
    Tenant,
)

# No transaction is open for so long: whoever was numbered before a line of the next month began before that.
STRAGGLING = timedelta(days=1)
CHUNK = 2_000
PIECE = 1 << log_trees.KEPT_LEVELS


def rows(begins: datetime | None, ends: datetime) -> AuditEventQuerySet:
    """Return the lines of a month; `begins` None: with everything before."""
    found = AuditEvent.objects.filter(at__lt=ends).order_by()
    return found if begins is None else found.filter(at__gte=begins)


def reasons_to_wait(begins: datetime | None, ends: datetime) -> list[str]:
    """Return why a month cannot be archived yet; empty: it can."""
    mine, found = rows(begins, ends), []
    if mine.not_sealed().exists():
        found.append("lines are not sealed")
    if mine.not_followed().exists():
        found.append("what follows from a line was not done yet")
    if LogHead.objects.filter(published_at=None).exists():
        found.append("a head is being signed")
    for tree in LogTree.objects.exclude(name=LogTree.HEADS).filter(closed_at=None, size__gt=F("signed_size")):
        if mine.filter(tenant=tree.tenant_id, seal_number__gte=tree.first + tree.signed_size).exists():
            found.append("no signed head covers every line")
            break
    return found


def lines(begins: datetime | None, ends: datetime) -> Iterator[dict[str, Any]]:
    """Yield the lines of a month as a file keeps them: by log and in the order of an export, people by
    reference."""
    for row in rows(begins, ends).order_by("tenant_id", "at", "id").iterator(chunk_size=CHUNK):
        yield {
            "tenant": str(row.tenant_id) if row.tenant_id else None,
            "id": row.pk,
            "payload": row.payload,
            "request_id": row.request_id,
            "number": row.seal_number,
            "salt": row.seal_salt or "",
            "seal": row.seal,
        }


def check(kept: Iterable[Mapping[str, Any]]) -> None:
    """See that lines that were read back are those that were sealed.

    Raises:
        InvalidInput: one is not; it says which.
    """
    for line in kept:
        fields = leaves.fields_of(line["payload"], row=line["id"], request_id=line["request_id"])
        if leaves.leaf(line["number"], leaves.digests(fields, line["salt"])).hex() != line["seal"]:
            why = f"Line {line['number']} of the log {line['tenant'] or LogTree.OURS} is not what was sealed."
            raise InvalidInput(errors={"archive": [why]})


def event_of(line: Mapping[str, Any], facts: Mapping[str, Any]) -> AuditEvent:
    """Return a line of a file as the row that it was.

    Args:
        facts: its payload, parsed.
    """
    return AuditEvent(
        pk=line["id"],
        tenant_id=line["tenant"],
        name=facts["name"],
        actor=facts["actor"][:200],
        payload=line["payload"],
        at=datetime.fromisoformat(facts["at"]),
        request_id=line["request_id"],
        seal_number=line["number"],
        seal_salt=line["salt"],
        seal=line["seal"],
    )


def extents(month: ArchivedMonth) -> Iterator[ArchivedLog]:
    """Yield how far each log with lines in a month is in the archive with it; nothing is written.

    Raises:
        InvalidInput: a log is not what its numbers say.
    """
    inside = rows(month.begins, month.ends)
    following = AuditEvent.objects.filter(at__gte=month.ends, at__lt=month.ends + STRAGGLING).exclude(seal="")
    trees = defaultdict(list)
    for tree in LogTree.objects.exclude(name=LogTree.HEADS).order_by("tenant", "-first"):
        trees[tree.tenant_id].append(tree)
    for tenant in inside.values_list("tenant", flat=True).distinct().order_by("tenant"):
        behind = None
        for tree in trees[tenant]:  # the newest first: each ends where the next one begins
            found = _extent(month, tree, inside.filter(tenant=tenant), following.filter(tenant=tenant), behind)
            behind = tree.first
            if found is not None:
                yield found


def _extent(month: ArchivedMonth, tree: LogTree, inside: Any, following: Any, behind: int | None) -> ArchivedLog | None:
    numbers = {"seal_number__gte": tree.first} | ({} if behind is None else {"seal_number__lt": behind})
    mine = inside.filter(**numbers)
    counted = mine.aggregate(rows=Count("pk"), last=Max("seal_number"))
    if not counted["rows"]:
        return None
    before = ArchivedLog.objects.filter(tree=tree, month__ends__lt=month.ends).order_by("-month__ends")
    last = before.first()
    there = following.filter(**numbers).aggregate(first=Min("seal_number"))["first"]
    through = max([counted["last"], *(last.beyond if last else [])]) if there is None else there - 1
    beyond = [number for number in (last.beyond if last else []) if number > through]
    beyond += mine.filter(seal_number__gt=through).order_by("seal_number").values_list("seal_number", flat=True)
    in_all = counted["rows"] + (before.aggregate(rows=Sum("count"))["rows"] or 0)
    if through - tree.first + 1 + len(beyond) != in_all:
        why = f"The log {tree.name} has {in_all} lines before {month.ends}, and their numbers say otherwise."
        raise InvalidInput(errors={"archive": [why]})
    return ArchivedLog(month=month, tree=tree, count=counted["rows"], through=through, beyond=sorted(beyond))


def keep_leaves(extent: ArchivedLog) -> None:
    """Keep the leaves of a log that proofs of what is left need, once its lines leave."""
    tree = extent.tree
    wanted = {*range(_kept_from(extent), extent.through + 1), *extent.beyond}
    here = AuditEvent.objects.filter(tenant=tree.tenant_id, seal_number__in=wanted).exclude(seal="")
    leaves_of = [
        ArchivedLeaf(tree=tree, number=number or 0, seal=seal)
        for number, seal in here.values_list("seal_number", "seal")
    ]
    ArchivedLeaf.objects.bulk_create(leaves_of, ignore_conflicts=True)
    if ArchivedLeaf.objects.filter(tree=tree, number__in=wanted).count() != len(wanted):
        raise InvalidInput(errors={"archive": [f"The log {tree.name} lacks lines that its archive is to end with."]})


def drop_leaves(extent: ArchivedLog) -> None:
    """Drop the leaves of a log that complete subtrees cover, once exports begin with the month (`beginning`)."""
    ArchivedLeaf.objects.filter(tree=extent.tree, number__lt=_kept_from(extent)).delete()


def _kept_from(extent: ArchivedLog) -> int:
    first: int = extent.tree.first
    return first + (extent.through - first + 1) // PIECE * PIECE


def beginning(tenant: Tenant) -> list[dict[str, Any]]:
    """Return what an export begins with in place of lines that are in the archive: the hashes of complete subtrees over
    them, from which the roots of all heads behind them are made (docs/seal.md)."""
    found = []
    for tree in LogTree.objects.filter(tenant=tenant).order_by("first"):
        extent = tree.archived.exclude(month__detached_at=None).order_by("-month__ends").first()
        if extent is None:
            continue
        kept, place = log_trees.Kept(tree), 0
        size = extent.through - tree.first + 1
        for level in reversed(range(size.bit_length())):
            if size >> level & 1:
                found.append(_piece(tree.first + place, 1 << level, kept(level, place >> level).hex()))
                place += 1 << level
        beyond = ArchivedLeaf.objects.filter(tree=tree, number__in=extent.beyond)
        found += [_piece(one.number, 1, one.seal) for one in beyond]
    return found


def until(tenant: Tenant) -> datetime | None:
    """Return the time before which a tenant's lines are in the archive; None: none is."""
    newest = ArchivedLog.objects.filter(tree__tenant=tenant).exclude(month__detached_at=None)
    ends: datetime | None = newest.aggregate(ends=Max("month__ends"))["ends"]
    return ends


def _piece(first: int, count: int, hashed: str) -> dict[str, Any]:
    return {"archived": {"first": first, "last": first + count - 1, "hash": hashed}}
