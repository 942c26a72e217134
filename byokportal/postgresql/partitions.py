"""Monthly partitions of large tables on PostgreSQL: how far ahead there are any, the making of the next ones, and the
turning of a table that serves into one (docs/adr/0029).

A row goes to the partition of the month of its `at`, in UTC. A month without a partition takes no row, so partitions
are made months ahead. Whoever makes them owns the table. SQLite has one table and nothing of this.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from django.db import connection, transaction
from django.db.utils import OperationalError

from byokportal import clock
from byokportal.postgresql import base

TABLES = ("keys_keyuse", "keys_branchkeyload", "tenants_auditevent")
# What is once in a table is once in each of its partitions: PostgreSQL wants the time in an index over all of them.
UNIQUE = {"tenants_auditevent": "(tenant_id, seal_number) WHERE NOT (seal = '')"}
AHEAD = 3  # whole months after this one that there are to be
SOON = timedelta(days=30)  # less than that ahead, and somebody has to look
# A statement that changes a table waits for everybody who reads or writes it, and whoever comes later waits for the
# statement. A use of a key is given up after 0.4 s (keys.datakeys.ledger.links): so each of two locks is waited for
# shorter, and the statement comes again.
WAIT, AGAIN, TRIES = "100ms", 0.5, 240
NOT_NOW = {"55P03", "40P01"}  # lock_not_available, deadlock_detected
BOUNDS = re.compile(r"FROM \(([^)]+)\) TO \(([^)]+)\)")
EVER = {"MINVALUE": datetime.min.replace(tzinfo=UTC), "MAXVALUE": datetime.max.replace(tzinfo=UTC)}
PARTITIONS = """
    SELECT pg_get_expr(relpartbound, pg_class.oid), relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = to_regclass(%s) AND NOT inhdetachpending
"""
WITHOUT_INDEX = """
    SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = to_regclass(%s) AND NOT inhdetachpending AND NOT EXISTS (
        SELECT FROM pg_index JOIN pg_inherits part ON part.inhrelid = indexrelid
        WHERE indrelid = pg_class.oid AND part.inhparent = to_regclass(%s)
    ) ORDER BY relname
"""

ARCHIVED = "archived"
PENDING = """
    SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = to_regclass(%s) AND inhdetachpending
"""
DETACHED = """
    SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname ~ %s
    AND NOT relispartition
"""


def until(table: str) -> datetime | None:
    """Return the instant from which a table takes no row any more, where no partition is added; the past or now: it
    takes none today. None: it is not partitioned (SQLite)."""
    if connection.vendor != "postgresql":
        return None
    with connection.cursor() as cursor:
        cursor.execute("SELECT relkind FROM pg_class WHERE oid = to_regclass(%s)", [table])
        if cursor.fetchone() != ("p",):
            return None
        cursor.execute(PARTITIONS, [table])
        bounds = sorted(_bounds(text) for text, _ in cursor.fetchall())
    covered = clock.now()
    for first, end in bounds:
        if first <= covered < end:
            covered = end
    return covered


def left() -> timedelta | None:
    """Return for how long every table takes rows, 0 where one takes none now; None: there are no partitions."""
    ends = [end for end in map(until, TABLES) if end is not None]
    return min(ends) - clock.now() if ends else None


def make(table: str, months: int = AHEAD) -> list[str]:
    """Make the partitions that are missing of this month and so many after it; return the names of those made.

    Raises:
        ProgrammingError: this role does not own the table.
        OperationalError: somebody held the table for two minutes.
    """
    made: list[str] = []
    last = clock.now()
    for _ in range(months):
        last = next_month(last)
    while (end := until(table)) is not None and end <= last:
        first = _month(end)
        made.append(briefly(partial(_make, table=table, first=first)))
    return made


@dataclass(frozen=True, slots=True)
class Month:
    """A partition.

    Attributes:
        begins: None: it has everything before its end.
        ends: the first instant that is not in it.
    """

    name: str
    begins: datetime | None
    ends: datetime


def months(table: str) -> list[Month]:
    """Return the partitions of a table that end, the oldest first; none on SQLite."""
    if connection.vendor != "postgresql":
        return []
    with connection.cursor() as cursor:
        cursor.execute(PARTITIONS, [table])
        found = [(name, *_bounds(text)) for text, name in cursor.fetchall()]
    return sorted(
        (
            Month(name, None if first == EVER["MINVALUE"] else first, end)
            for name, first, end in found
            if end != EVER["MAXVALUE"]
        ),
        key=lambda one: one.ends,
    )


def without_index(table: str, index: str) -> list[str]:
    """Return the partitions of a table that have no part of its index yet."""
    with connection.cursor() as cursor:
        cursor.execute(WITHOUT_INDEX, [table, index])
        return [name for (name,) in cursor.fetchall()]


def detach(table: str, name: str) -> None:
    """Detach a partition while everybody reads and writes. Not in a transaction."""
    patiently(f"ALTER TABLE {table} DETACH PARTITION {name} CONCURRENTLY")


def put_away(table: str) -> list[str]:
    """Move what was detached from a table to the schema `ARCHIVED`; return the names. What was interrupted while it was
    detached is ended first. Not in a transaction.

    Detaching takes the triggers away that refuse a change, and the role that serves has rights in `public`.
    """
    with connection.cursor() as cursor:
        cursor.execute(PENDING, [table])
        begun = [name for (name,) in cursor.fetchall()]
    for name in begun:
        patiently(f"ALTER TABLE {table} DETACH PARTITION {name} FINALIZE")
    with connection.cursor() as cursor:
        cursor.execute(DETACHED, [rf"^{table}_(first|\d{{4}}_\d\d)$"])
        names = [name for (name,) in cursor.fetchall()]
        if names:
            cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {ARCHIVED}")
    for name in names:
        execute_briefly(f"ALTER TABLE {name} SET SCHEMA {ARCHIVED}")
    return names


def next_month(at: datetime) -> datetime:
    """Return the beginning of the month after an instant's, in UTC."""
    return _month(_month(at) + timedelta(days=32))


def briefly(do: Callable[[Any], Any]) -> Any:
    """Do something to a table in one transaction that waits for its locks shortly, and again until it has them.

    Args:
        do: takes a cursor.

    Raises:
        OperationalError: it never got them.
    """
    for more in reversed(range(TRIES)):
        try:
            with transaction.atomic(durable=True), connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = '{WAIT}'")
                return do(cursor)
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", None) not in NOT_NOW or not more:
                raise
            time.sleep(AGAIN)
    raise AssertionError("it returned or raised")


def execute_briefly(statement: str) -> None:
    """Execute one statement as `briefly` does something."""
    briefly(lambda cursor: cursor.execute(statement))


def _make(cursor: Any, table: str, first: datetime) -> str:
    """Attach an empty partition: that holds up nobody who writes, as CREATE TABLE … PARTITION OF would."""
    name = f"{table}_{first:%Y_%m}"
    cursor.execute(f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
    if table in UNIQUE:
        cursor.execute(f"CREATE UNIQUE INDEX ON {name} {UNIQUE[table]}")
    cursor.execute(
        f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM (%s) TO (%s)",
        [str(first), str(next_month(first))],
    )
    return name


def _month(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _bounds(text: str) -> tuple[datetime, datetime]:
    found = BOUNDS.search(text)
    if found is None:  # DEFAULT: somebody's own, and it takes every row
        return EVER["MINVALUE"], EVER["MAXVALUE"]
    return _at(found[1]), _at(found[2])


def _at(text: str) -> datetime:
    return EVER.get(text) or datetime.fromisoformat(text.strip("'")).astimezone(UTC)


# --- the turning of a table that serves ---------------------------------------------------------------------------


def adopt(table: str, *, also_locked: str, triggers: tuple[str, ...]) -> None:
    """Turn a table with a key `id` (an identity or not) and a time `at` into a partitioned one whose first partition is
    the old table, with all its rows: none is moved. May run again after it was interrupted. Not in a transaction.

    What takes long (a look at every row, an index) holds up nobody who reads or writes. What holds them up is one
    transaction that looks at no row.

    Args:
        also_locked: the table that its foreign key names.
        triggers: statements that make its triggers, on the partitioned table.
    """
    if until(table) is not None:
        return
    end, bound, unique = next_month(next_month(clock.now())), f"{table}_first_bound", f"{table}_first_pkey"
    with connection.cursor() as cursor:
        cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [unique])
        of_before = cursor.fetchone()
    if of_before != (True,):
        patiently(f"DROP INDEX CONCURRENTLY IF EXISTS {unique}")  # its building was interrupted
        patiently(f"CREATE UNIQUE INDEX CONCURRENTLY {unique} ON {table} (id, at)")
    briefly(lambda cursor: _bound(cursor, table, bound, end))
    try:
        patiently(f"ALTER TABLE {table} VALIDATE CONSTRAINT {bound}")
        briefly(lambda cursor: _switch(cursor, table, bound, end, also_locked, triggers))
    except BaseException:
        # Where this is given up, rows must not be refused one day.
        briefly(lambda cursor: cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {bound}"))
        raise


def patiently(statement: str) -> None:
    """Execute a statement whose waiting holds up nobody, outside of a transaction, for as long as it takes."""
    with base.patient(connection), connection.cursor() as cursor:
        cursor.execute(statement)


def _bound(cursor: Any, table: str, bound: str, end: datetime) -> None:
    cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {bound}")
    cursor.execute(f"ALTER TABLE {table} ADD CONSTRAINT {bound} CHECK (at < '{end}') NOT VALID")


def _switch(cursor: Any, table: str, bound: str, end: datetime, also_locked: str, triggers: tuple[str, ...]) -> None:
    first, unique = f"{table}_first", f"{table}_first_pkey"
    # Attaching drops the triggers that the old table's foreign key has there. Before the other one: whoever inserts
    # holds a little lock on it already, and would wait for us while we wait for them.
    cursor.execute(f"LOCK TABLE {also_locked} IN ACCESS EXCLUSIVE MODE")
    cursor.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
    sequence = _sequence_of(cursor, table)
    indexes, foreign, grants = (
        _indexes_of(cursor, table),
        _foreign_keys_of(cursor, table),
        _grants_of(cursor, table, sequence),
    )
    cursor.execute("SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal", [table])
    guards = cursor.fetchall()

    for (trigger,) in guards:
        cursor.execute(f"DROP TRIGGER {trigger} ON {table}")
    if sequence is not None:
        cursor.execute(f"ALTER TABLE {table} ALTER COLUMN id DROP IDENTITY")
    cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_pkey")
    cursor.execute(f"ALTER TABLE {table} ADD CONSTRAINT {unique} PRIMARY KEY USING INDEX {unique}")
    for name, _ in indexes:
        cursor.execute(f"ALTER INDEX {name} RENAME TO {name}_first")
    cursor.execute(f"ALTER TABLE {table} RENAME TO {first}")

    cursor.execute(
        f"CREATE TABLE {table} (LIKE {first} INCLUDING DEFAULTS INCLUDING CONSTRAINTS) PARTITION BY RANGE (at)"
    )
    cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {bound}")
    _complete(cursor, table, "id, at", sequence, indexes, foreign, grants)
    cursor.execute(f"ALTER TABLE {table} ATTACH PARTITION {first} FOR VALUES FROM (MINVALUE) TO ('{end}')")
    cursor.execute(f"ALTER TABLE {first} DROP CONSTRAINT {bound}")
    for statement in triggers:
        cursor.execute(statement)
    month = end
    for _ in range(AHEAD - 1):
        _make(cursor, table, month)
        month = next_month(month)


def _complete(
    cursor: Any, table: str, key: str, sequence: Sequence | None, indexes: Any, foreign: Any, grants: Any
) -> None:
    """Give a table what the one before it had."""
    if sequence is not None:
        cursor.execute(
            f"ALTER TABLE {table} ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (SEQUENCE NAME {sequence.name})"
        )
        cursor.execute("SELECT setval(%s, %s, %s)", [sequence.name, sequence.last, sequence.is_called])
    cursor.execute(f"ALTER TABLE {table} ADD CONSTRAINT {table}_pkey PRIMARY KEY ({key})")
    for _, definition in indexes:
        cursor.execute(definition)
    for name, definition in foreign:
        cursor.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
    for (grant,) in grants:
        cursor.execute(grant)


@dataclass(frozen=True, slots=True)
class Sequence:
    """Where the ids of a table come from, and how far it is."""

    name: str
    last: int
    is_called: bool


def _sequence_of(cursor: Any, table: str) -> Sequence | None:
    """Return what gives a table its ids; None: whoever writes a row draws them (UUIDs)."""
    cursor.execute("SELECT pg_get_serial_sequence(%s, 'id')", [table])
    (name,) = cursor.fetchone()
    if name is None:
        return None
    cursor.execute(f"SELECT last_value, is_called FROM {name}")  # noqa: S608
    return Sequence(name, *cursor.fetchone())


def _indexes_of(cursor: Any, table: str) -> Any:
    cursor.execute(
        "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index "
        "WHERE indrelid = %s::regclass AND NOT indisunique",
        [table],
    )
    return cursor.fetchall()


def _foreign_keys_of(cursor: Any, table: str) -> Any:
    cursor.execute(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'f'",
        [table],
    )
    return cursor.fetchall()


def _grants_of(cursor: Any, table: str, sequence: Sequence | None) -> Any:
    cursor.execute(GRANTS, [[table, sequence.name] if sequence else [table]])
    return cursor.fetchall()


# Rights to a table and its sequence of whoever is not their owner.
GRANTS = """
    SELECT format('GRANT %%s ON %%s %%s TO %%s', privilege_type, CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
                  pg_class.oid::regclass, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END)
    FROM pg_class, aclexplode(relacl) WHERE pg_class.oid = ANY (%s::regclass[]) AND grantee <> relowner
"""


def drop_foreign_keys(table: str, *, to: str) -> None:
    """Drop the foreign keys of a table to another one that is to be partitioned. Not in a transaction."""
    with connection.cursor() as cursor:
        cursor.execute(FOREIGN_KEYS_TO, [table, to])
        names = [name for (name,) in cursor.fetchall()]
    for name in names:
        execute_briefly(f"ALTER TABLE {table} DROP CONSTRAINT {name}")


FOREIGN_KEYS_TO = """
    SELECT conname FROM pg_constraint
    WHERE conrelid = %s::regclass AND confrelid = %s::regclass AND contype = 'f' AND conparentid = 0
"""


def give_up(table: str, *, triggers: tuple[str, ...]) -> None:
    """Turn a partitioned table into a plain one again: every row is copied while nobody writes.

    Args:
        triggers: statements that make its triggers.
    """
    if until(table) is not None:
        briefly(lambda cursor: _give_up(cursor, table, triggers))


def _give_up(cursor: Any, table: str, triggers: tuple[str, ...]) -> None:
    cursor.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
    sequence = _sequence_of(cursor, table)
    indexes, foreign, grants = (
        _indexes_of(cursor, table),
        _foreign_keys_of(cursor, table),
        _grants_of(cursor, table, sequence),
    )
    cursor.execute(f"CREATE TABLE {table}_plain (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
    cursor.execute(f"INSERT INTO {table}_plain SELECT * FROM {table}")  # noqa: S608
    cursor.execute(f"DROP TABLE {table}")
    cursor.execute(f"ALTER TABLE {table}_plain RENAME TO {table}")
    _complete(cursor, table, "id", sequence, indexes, foreign, grants)
    for statement in triggers:
        cursor.execute(statement)
