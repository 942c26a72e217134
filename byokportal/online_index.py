"""Operations of migrations that add and drop indexes of tables which others write to meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db.migrations import AddIndex, RunPython


class AddIndexOnline(AddIndexConcurrently):
    """Adds an index without holding up who writes; its migration has to be `atomic = False`.

    PostgreSQL builds it beside the writing (CREATE INDEX CONCURRENTLY); where that was interrupted it leaves an index
    that is marked invalid, which has to be dropped before the migration runs again (docs/deploy.md). SQLite has one
    writer anyway.
    """

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        kind = AddIndexConcurrently if schema_editor.connection.vendor == "postgresql" else AddIndex
        kind.database_forwards(self, app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        kind = AddIndexConcurrently if schema_editor.connection.vendor == "postgresql" else AddIndex
        kind.database_backwards(self, app_label, schema_editor, from_state, to_state)


class DropForeignKeyIndexes(RunPython):
    """Drops the index that Django gave to each foreign key, where another one begins with it, without holding up who
    writes; its migration has to be `atomic = False`, and may run again after it was interrupted.

    Each goes by its name: SQLite would make the table anew for an AlterField, without its triggers.

    Args:
        fields: of one app: model and field, in lower case.
    """

    def __init__(self, app_label: str, fields: Iterable[tuple[str, str]]) -> None:
        def drop(apps: Any, schema_editor: Any) -> None:
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
