"""Empties the database after a test that commits: it is then as the migrations left it.

Django's own way empties every table, full or not, and then sends `post_migrate`, which makes all permissions and groups
again: a second for each test. Here only tables that hold something are emptied, and those that migrations filled are
compared with what they held.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import worlds
from django.db import connection, transaction
from django.test import TransactionTestCase

ADMISSIONS = "keys_databaseadmission"
_migrated: dict[str, worlds.Table] = {}


def remember() -> None:
    """Keep the rows that the migrations made; the database was made a moment ago."""
    _migrated.update({table: worlds.read(table) for table in _full()})


def after_each_test() -> Any:
    """Return what stands in for `TransactionTestCase._fixture_teardown`."""

    def teardown(self: TransactionTestCase) -> None:
        with transaction.atomic():
            empty()

    return teardown


def empty() -> None:
    """Delete every row that the migrations did not make."""
    if worlds.be_admitted():  # else every test behind one that made the tables anew would get no key
        _migrated[ADMISSIONS] = worlds.read(ADMISSIONS)
    full = [table for table in {*_full(), *_migrated} if _migrated.get(table) != worlds.read(table)]
    if not full:
        return
    with triggers_aside(full), connection.cursor() as cursor:
        for table in full:
            cursor.execute(f'DELETE FROM "{table}"')
        for table in full:
            if table in _migrated:
                worlds.write(_migrated[table], timedelta(0))


@contextmanager
def triggers_aside(tables: Collection[str] | None = None) -> Iterator[None]:
    """Let the owner of the database do, in an open transaction, what triggers forbid: of all tables, or of some."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL session_replication_role = replica")
            yield
            cursor.execute("SET LOCAL session_replication_role = origin")
            return
        cursor.execute("SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger'")
        triggers = [(name, sql) for name, table, sql in cursor.fetchall() if tables is None or table in tables]
        for name, _ in triggers:
            cursor.execute(f'DROP TRIGGER "{name}"')
        yield
        for _, statement in triggers:
            cursor.execute(statement)


def _full() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            " UNION ALL ".join(f"SELECT '{one}' WHERE EXISTS (SELECT 1 FROM \"{one}\")" for one in worlds.tables())
        )
        return [table for (table,) in cursor.fetchall()]
