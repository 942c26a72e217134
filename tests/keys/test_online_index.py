"""Indexes of large tables are built while others write, and while somebody's old transaction lasts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.db import OperationalError, connection, models
from django.db.migrations.state import ProjectState

from byokportal.online_index import AddIndexOnline
from byokportal.postgresql import base, partitions

pytestmark = [
    pytest.mark.skipif(connection.vendor != "postgresql", reason="CREATE INDEX CONCURRENTLY of PostgreSQL"),
    pytest.mark.django_db(transaction=True),
]
NAME = "keys_check_of_tests"
OF_PARTITIONS = """
    SELECT relname, indisvalid FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    JOIN pg_index ON indexrelid = inhrelid WHERE inhparent = to_regclass(%s)
"""


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A lock is waited for only for a moment, as the five seconds of production are one beside a report."""
    monkeypatch.setattr(base, "LOCK", 0.2)
    connection.close()
    yield
    connection.close()


def old_transaction(until: threading.Event, is_open: threading.Event) -> None:
    """A report: a transaction with a snapshot that lasts."""
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SELECT COUNT(*) FROM keys_checkresult")
        is_open.set()
        until.wait(60)
        cursor.execute("COMMIT")
    other.close()


def build(operation: Any) -> None:
    before, after = states(operation)
    with connection.schema_editor(atomic=False) as editor:
        operation.database_forwards("keys", editor, before, after)


def take_back(operation: Any) -> None:
    before, after = states(operation)
    with connection.schema_editor(atomic=False) as editor:
        operation.database_backwards("keys", editor, after, before)


def states(operation: Any) -> tuple[ProjectState, ProjectState]:
    before = ProjectState.from_apps(apps)
    after = before.clone()
    operation.state_forwards("keys", after)
    return before, after


def validity() -> list[bool]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [NAME])
        return [row[0] for row in cursor.fetchall()]


@pytest.mark.usefixtures("short")
def test_an_index_waits_for_old_transactions_and_may_be_built_again() -> None:
    operation = AddIndexOnline("checkresult", models.Index(fields=["code", "verdict"], name=NAME))
    over, is_open = threading.Event(), threading.Event()
    report = threading.Thread(target=old_transaction, args=(over, is_open), daemon=True)
    report.start()
    assert is_open.wait(30)
    try:
        # What was interrupted leaves an index that is not valid.
        with pytest.raises(OperationalError), connection.cursor() as cursor:
            cursor.execute(f"CREATE INDEX CONCURRENTLY {NAME} ON keys_checkresult (code, verdict)")
        assert validity() == [False]
        threading.Timer(1, over.set).start()
        build(operation)
        assert validity() == [True]
        build(operation)  # the migration was interrupted behind it
        assert validity() == [True]
        with connection.cursor() as cursor:
            cursor.execute("SHOW lock_timeout")
            assert cursor.fetchone() == ("200ms",)
    finally:
        over.set()
        report.join(30)
        connection.close()
        with connection.cursor() as cursor:
            cursor.execute(f"DROP INDEX IF EXISTS {NAME}")


def of_partitions() -> dict[str, bool]:
    with connection.cursor() as cursor:
        cursor.execute(OF_PARTITIONS, [NAME])
        return dict(cursor.fetchall())


def test_an_index_of_a_table_by_month_is_built_on_each_partition() -> None:
    operation = AddIndexOnline("keyuse", models.Index(fields=["operation", "at"], name=NAME))
    months = [month.name for month in partitions.months("keys_keyuse")]
    assert len(months) > 2
    try:
        # What was interrupted: the table's index, one partition that has joined, and one that was not built whole.
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE INDEX {NAME} ON ONLY keys_keyuse (operation, at)")
            cursor.execute(f"CREATE INDEX {months[0]}_{NAME} ON {months[0]} (operation, at)")
            cursor.execute(f"ALTER INDEX {NAME} ATTACH PARTITION {months[0]}_{NAME}")
            cursor.execute(f"CREATE INDEX {months[1]}_{NAME} ON {months[1]} (operation, at)")
            cursor.execute(
                "UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass(%s)", [f"{months[1]}_{NAME}"]
            )
        assert validity() == [False]
        build(operation)
        assert validity() == [True]
        assert of_partitions() == {f"{month}_{NAME}": True for month in months}
        build(operation)
        take_back(operation)
        assert validity() == []
        take_back(operation)
        build(operation)
        assert validity() == [True]
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP INDEX IF EXISTS {NAME}")
