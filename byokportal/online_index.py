"""Operations of migrations that add and drop indexes of tables which others write to meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db.migrations import AddIndex, RunPython

from byokportal.postgresql import base


class AddIndexOnline(AddIndexConcurrently):
    """Adds an index without holding up who writes; its migration has to be `atomic = False`, and may run again after
    it was interrupted.

    PostgreSQL builds it beside the writing (CREATE INDEX CONCURRENTLY), and waits for older transactions as long as
    they last. SQLite has one writer anyway.
    """

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.vendor != "postgresql":
            AddIndex.database_forwards(self, app_label, schema_editor, from_state, to_state)
            return
        with base.patient(schema_editor.connection):
            if not _is_built(self.index.name, schema_editor):
                super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.vendor != "postgresql":
            AddIndex.database_backwards(self, app_label, schema_editor, from_state, to_state)
            return
        with base.patient(schema_editor.connection):
            super().database_backwards(app_label, schema_editor, from_state, to_state)


def _is_built(name: str, schema_editor: Any) -> bool:
    """Tell whether an index was built before its migration was interrupted; one that is only begun is dropped."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [name])
        found = cursor.fetchone()
    if found == (False,):
        schema_editor.execute(f"DROP INDEX CONCURRENTLY {schema_editor.quote_name(name)}")
    return bool(found == (True,))


class DropForeignKeyIndexes(RunPython):
    """Drops the index that Django gave to each foreign key, where another one begins with it, without holding up who
    writes; its migration has to be `atomic = False`, and may run again after it was interrupted.

    Each goes by its name: SQLite would make the table anew for an AlterField, without its triggers.

    Args:
        fields: of one app: model and field, in lower case.
    """

    def __init__(self, app_label: str, fields: Iterable[tuple[str, str]]) -> None:
        def drop(apps: Any, schema_editor: Any) -> None:
            connection = schema_editor.connection
            with base.patient(connection) if connection.vendor == "postgresql" else nullcontext():
                for model_name, field_name in fields:
                    _drop(apps.get_model(app_label, model_name), field_name, schema_editor)

        super().__init__(drop, RunPython.noop, atomic=False)


def _drop(model: Any, field_name: str, schema_editor: Any) -> None:
    connection, column = schema_editor.connection, model._meta.get_field(field_name).column
    named = {index.name for index in model._meta.indexes}
    with connection.cursor() as cursor:
        there = connection.introspection.get_constraints(cursor, model._meta.db_table)
    how = {"concurrently": True} if connection.vendor == "postgresql" else {}
    for name, facts in there.items():
        is_plain = facts["index"] and not facts["unique"] and not facts["primary_key"]
        if is_plain and facts["columns"] == [column] and name not in named:
            schema_editor.execute(schema_editor._delete_index_sql(model, name, **how))
