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
from byokportal.postgresql import base

pytestmark = [
    pytest.mark.skipif(connection.vendor != "postgresql", reason="CREATE INDEX CONCURRENTLY of PostgreSQL"),
    pytest.mark.django_db(transaction=True),
]
NAME = "keys_check_of_tests"


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
    before = ProjectState.from_apps(apps)
    after = before.clone()
    operation.state_forwards("keys", after)
    with connection.schema_editor(atomic=False) as editor:
        operation.database_forwards("keys", editor, before, after)


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
