"""Add uses of keys up by hour, each row exactly once, and say how many keys a tenant has without reading them all.

Rows get their ids in one order and are committed in another, so a cursor on the highest id that can be seen would skip
rows. The cursor goes no further than an id below which everything is settled. PostgreSQL: whoever inserts holds a lock
on the table from before it takes an id until its commit can be seen. So the last id that was given out is settled once
everybody who held such a lock at that moment has let go of it; nobody is held up by our looking. SQLite has one writer
at a time, which takes ids in the order of its commits.

The rows, the hours, the totals and the cursor change in one transaction. What is not yet added up is the tail:
a page adds at most `TAIL` rows of it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from django.db import connection
from django.db.models import Count, Field, Max, Q, Subquery, Sum
from django.db.models.functions import TruncHour

from byokportal import clock
from keys.models import KeyUse, KeyUseCursor, KeyUseHour, KeyUseTotal
from tenants import transactions
from tenants.models import Tenant

BATCH = 5_000  # rows in one transaction
TAIL = 5_000  # rows that a page adds up itself
SECONDS = 15.0  # of one run; what is left is for the next, also when all rows of before are added up for the first time
WAIT_AT_MOST = 0.5  # seconds to wait for those who insert at the moment; a commit of ours takes less
LOCKS = """
    SELECT DISTINCT virtualtransaction FROM pg_locks
    WHERE relation = %s::regclass AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND mode = 'RowExclusiveLock' AND granted AND pid <> pg_backend_pid()
"""


@dataclass(frozen=True, slots=True)
class Uses:
    """How many data keys, and whether that is all: False while more is waiting to be added up than a page reads."""

    keys: int
    is_exact: bool


def roll_up() -> int:
    """Add up what is settled, in batches; return how many rows that were."""
    ends, added = clock.monotonic() + SECONDS, 0
    through = settled()
    while through is not None and clock.monotonic() < ends:
        rows, is_done = _add(through)
        added += rows
        if is_done:
            break
    return added


def generated(tenant: Tenant) -> Uses:
    """Return how many data keys were made for a tenant; reads a row for each data scope, one more, and the tail."""
    total = KeyUseTotal.objects.filter(tenant=tenant, operation=KeyUse.Operation.GENERATE).order_by()
    all_scopes = total.values("tenant").annotate(sum=Sum("keys")).values("sum")
    # Total and cursor come in one statement, so they belong together whatever is added up meanwhile.
    known = KeyUseCursor.objects.annotate(keys=Subquery(all_scopes)).filter(pk=1).first()
    tail = KeyUse.objects.filter(tenant=tenant, pk__gt=known.through if known else 0).order_by("pk")[:TAIL]
    recent = tail.aggregate(keys=Sum("count", filter=Q(operation=KeyUse.Operation.GENERATE)), rows=Count("pk"))
    return Uses((known.keys or 0 if known else 0) + (recent["keys"] or 0), recent["rows"] < TAIL)


def settled() -> int | None:
    """Return an id up to which no row can come any more; None when somebody inserts for longer than we wait."""
    if connection.vendor != "postgresql":
        return KeyUse.objects.aggregate(last=Max("pk"))["last"] or 0
    table, until = KeyUse._meta.db_table, clock.monotonic() + WAIT_AT_MOST
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_serial_sequence(%s, 'id')", [table])
        (sequence,) = cursor.fetchone()
        cursor.execute(f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {sequence}")  # noqa: S608
        (last,) = cursor.fetchone()
        cursor.execute(LOCKS, [table])  # after the id: who is not here has committed, or takes a later one
        inserting = set(cursor.fetchall())
        while inserting:
            if clock.monotonic() > until:
                return None
            time.sleep(0.01)
            cursor.execute(LOCKS, [table])
            inserting &= set(cursor.fetchall())
    return int(last)


@transactions.atomic
def _add(until: int) -> tuple[int, bool]:
    """Add the next batch; return how many rows it had, and whether all that is settled is added up."""
    KeyUseCursor.objects.get_or_create(pk=1)
    through = KeyUseCursor.objects.select_for_update(no_key=True).get(pk=1).through
    if through >= until:
        return 0, True
    left = KeyUse.objects.filter(pk__gt=through, pk__lte=until).order_by("pk")
    last = left.values_list("pk", flat=True)[BATCH - 1 : BATCH].first() or until
    groups = (
        KeyUse.objects.filter(pk__gt=through, pk__lte=last)
        .annotate(hour=TruncHour("at", tzinfo=UTC))
        .values_list("tenant_id", "hour", "caller", "operation", "data_scope")
        .annotate(requests=Count("pk"), keys=Sum("count"))
        .order_by("tenant_id", "hour", "caller", "operation", "data_scope")
    )
    hours = list(groups)
    requests: Counter[tuple[Any, ...]] = Counter()
    keys: Counter[tuple[Any, ...]] = Counter()
    for tenant, _, _, operation, scope, more_requests, more_keys in hours:
        requests[tenant, operation, scope] += more_requests
        keys[tenant, operation, scope] += more_keys
    _upsert(KeyUseHour, ["tenant", "hour", "service", "operation", "data_scope"], hours)
    _upsert(
        KeyUseTotal,
        ["tenant", "operation", "data_scope"],
        [(*name, requests[name], keys[name]) for name in sorted(keys, key=str)],
    )
    KeyUseCursor.objects.filter(pk=1).update(through=last)
    return sum(requests.values()), last == until


def _upsert(model: type[KeyUseHour | KeyUseTotal], names: list[str], rows: Iterable[tuple[Any, ...]]) -> None:
    """Add requests and keys to the row of each name, or make it; Django's own upsert can only overwrite."""
    wanted = (*names, "requests", "keys")
    fields = [field for name in wanted if isinstance(field := model._meta.get_field(name), Field)]
    columns = [str(field.column) for field in fields]
    table = model._meta.db_table
    values = [
        [field.get_db_prep_save(value, connection) for field, value in zip(fields, row, strict=True)] for row in rows
    ]
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))}) "  # noqa: S608
            f"ON CONFLICT ({', '.join(columns[:-2])}) DO UPDATE SET "
            f"requests = {table}.requests + excluded.requests, keys = {table}.keys + excluded.keys",
            values,
        )
