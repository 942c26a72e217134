"""Operation on the tables by month: what is older than AUDIT_RETENTION_DAYS goes into files and leaves the database.

One day a month is written down, read back, and declared in each log that it concerns; a later day, once signed heads
cover that declaration, its partition is detached. Nothing is deleted: the detached table is moved to a schema of its
own, which no role that serves can see, and stays until its owner drops it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import QuerySet

from byokportal import archive_files, clock
from byokportal.postgresql import base, partitions
from keys import load_archive, use_archive
from tenants import audit, log_archive, roles, transactions
from tenants.audit import Actor
from tenants.models import ArchivedLog, ArchivedMonth, AuditEvent, LogTree
from tenants.services import leads

Table = ArchivedMonth.Table
DECLARATIONS = ("keys.log.archived", "keys.uses.archived", "keys.loads.archived")


@dataclass(frozen=True, slots=True)
class Step:
    """What became of one month.

    Attributes:
        month: the name of its partition.
        done: `declared`, `detached`, or empty: it waits.
        why: what it waits for.
    """

    month: str
    done: str = ""
    why: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rules:
    """What differs between the tables."""

    reasons_to_wait: Callable[[datetime | None, datetime], list[str]]
    lines: Callable[[datetime | None, datetime], Iterator[dict[str, Any]]]
    check: Callable[[Iterable[Mapping[str, Any]], datetime | None, datetime], None]
    rows: Callable[[datetime | None, datetime], QuerySet[Any]]


RULES = {
    Table.LOG: Rules(
        log_archive.reasons_to_wait,
        log_archive.lines,
        lambda kept, *_: log_archive.check(kept),
        log_archive.rows,
    ),
    Table.USES: Rules(
        use_archive.reasons_to_wait,
        use_archive.lines,
        lambda kept, *_: use_archive.check(kept),
        use_archive.rows,
    ),
    Table.LOADS: Rules(
        load_archive.reasons_to_wait,
        load_archive.lines,
        load_archive.check,
        load_archive.rows,
    ),
}


def archive_months(*, actor: Actor) -> list[Step]:
    """Take the next step with each month that is older than AUDIT_RETENTION_DAYS, the oldest first; run as the owner of
    the tables, as often as wanted: what was interrupted goes on.

    Returns:
        a step for each month that is due. None where nothing is to leave, and on SQLite, which has one table.

    Raises:
        InvalidInput: ARCHIVE_DIR is not there, or what is in it or in a table is not what was sealed.
    """
    roles.require(actor, "keys.archive_months")
    if settings.AUDIT_RETENTION_DAYS is None or connection.vendor != "postgresql":
        return []
    before = clock.now() - timedelta(days=settings.AUDIT_RETENTION_DAYS)
    steps = []
    with base.patient(connection):
        for table in Table:
            partitions.put_away(table)
            for partition in partitions.months(table):
                if partition.ends > before:
                    break
                steps.append(_step(table, partition, actor))
                if steps[-1].done != "detached":
                    break
    return steps


def _step(table: Table, partition: partitions.Month, actor: Actor) -> Step:
    month = ArchivedMonth.objects.filter(table=table, ends=partition.ends).first()
    rules = RULES[table]
    if month is None:
        if why := rules.reasons_to_wait(partition.begins, partition.ends):
            return Step(partition.name, why=tuple(why))
        _declare(table, partition, rules, actor)
        return Step(partition.name, "declared")
    if undeclared := _undeclared(month):
        return Step(partition.name, why=(undeclared,))
    if rules.rows(month.begins, month.ends).count() != month.rows:
        return Step(partition.name, why=("rows were added after it was written to its file",))
    rules.check(archive_files.folder().read(month.file, sha256=month.sha256), month.begins, month.ends)
    extents = month.logs.select_related("tree")
    for extent in extents.iterator(chunk_size=log_archive.CHUNK):
        transactions.run(partial(log_archive.keep_leaves, extent))
    # Before its rows are gone: an export that has both is proved, and one that has neither lacks lines.
    ArchivedMonth.objects.filter(pk=month.pk, detached_at=None).update(detached_at=clock.now())
    for extent in extents.iterator(chunk_size=log_archive.CHUNK):
        log_archive.drop_leaves(extent)
    partitions.detach(table, partition.name)
    partitions.put_away(table)
    return Step(partition.name, "detached")


def _declare(table: Table, partition: partitions.Month, rules: Rules, actor: Actor) -> None:
    name = f"{table}-{partition.ends - timedelta(days=1):%Y-%m}.jsonl.gz"
    folder = archive_files.folder()
    count, digest = folder.write(name, rules.lines(partition.begins, partition.ends))
    rules.check(folder.read(name, sha256=digest), partition.begins, partition.ends)
    month = ArchivedMonth(
        table=table, begins=partition.begins, ends=partition.ends, rows=count, file=name, sha256=digest
    )
    extents = list(log_archive.extents(month)) if table == Table.LOG else []
    transactions.run(lambda: _write(month, extents, actor))


def _write(month: ArchivedMonth, extents: list[ArchivedLog], actor: Actor) -> None:
    month.save(force_insert=True)
    ArchivedLog.objects.bulk_create(extents, batch_size=log_archive.CHUNK)
    if month.table == Table.LOG:
        leads.carry_forward(log_archive.rows(month.begins, month.ends), actor=actor)
    facts = {"until": month.ends.isoformat(), "file": month.file, "sha256": month.sha256}
    for extent in extents:
        audit.record(
            "keys.log.archived",
            tenant=extent.tree.tenant,
            actor=actor,
            through=extent.through,
            beyond=extent.beyond,
            **facts,
        )
    if month.table == Table.USES:
        audit.record("keys.uses.archived", tenant=None, actor=actor, requests=month.rows, **facts)
    if month.table == Table.LOADS:
        audit.record("keys.loads.archived", tenant=None, actor=actor, unwraps=month.rows, **facts)


def _undeclared(month: ArchivedMonth) -> str:
    """Return why a month's declarations do not stand in signed heads yet."""
    said = AuditEvent.objects.filter(name__in=DECLARATIONS, at__gte=month.declared_at)
    heads = {tree.tenant_id: tree for tree in LogTree.objects.exclude(name=LogTree.HEADS).filter(closed_at=None)}
    for tenant, number in said.filter(payload__contains=month.file).values_list("tenant", "seal_number"):
        if number is None or number >= heads[tenant].first + heads[tenant].signed_size:
            return "its declaration is in no signed head yet"
    return ""
