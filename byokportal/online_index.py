"""Operations of migrations that add and drop indexes of tables which others write to meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db.migrations import AddIndex, RunPython
from django.db.models import Index, Model

from byokportal.postgresql import base, partitions


class AddIndexOnline(AddIndexConcurrently):
    """Adds an index without holding up who writes; its migration has to be `atomic = False`, and may run again after
    it was interrupted.

    PostgreSQL builds it beside the writing (CREATE INDEX CONCURRENTLY), and waits for older transactions as long as
    they last. A table by month takes none in that way: each partition gets its own, and joins the table's
    (https://www.postgresql.org/docs/15/ddl-partitioning.html, 5.11.2.2). SQLite has one writer anyway.
    """

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.vendor != "postgresql":
            AddIndex.database_forwards(self, app_label, schema_editor, from_state, to_state)
            return
        model = to_state.apps.get_model(app_label, self.model_name)
        if partitions.until(model._meta.db_table) is not None:
            self._ensure_not_in_transaction(schema_editor)
            _build_on_each_partition(model, self.index, schema_editor)
            return
        with base.patient(schema_editor.connection):
            if not _is_built(self.index.name, schema_editor):
                super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.vendor != "postgresql":
            AddIndex.database_backwards(self, app_label, schema_editor, from_state, to_state)
            return
        if partitions.until(from_state.apps.get_model(app_label, self.model_name)._meta.db_table) is not None:
            # It looks at no row; CONCURRENTLY is refused for the index of a table with partitions.
            partitions.execute_briefly(f"DROP INDEX IF EXISTS {self.index.name}")
            return
        with base.patient(schema_editor.connection):
            super().database_backwards(app_label, schema_editor, from_state, to_state)


def _build_on_each_partition(model: type[Model], index: Index, schema_editor: Any) -> None:
    """Build the index of a table with partitions; a partition that comes later gets its own by itself.

    PostgreSQL calls the table's valid once every partition has joined. May run again after it was interrupted.
    """
    table, quote = model._meta.db_table, schema_editor.quote_name
    statement: Any = index.create_sql(model, schema_editor)
    statement.parts["table"] = f"ONLY {quote(table)}"
    whole = str(statement).replace("CREATE INDEX ", "CREATE INDEX IF NOT EXISTS ", 1)
    partitions.execute_briefly(whole)
    for partition in partitions.without_index(table, index.name):
        name = f"{partition}_{index.name}"
        statement = index.create_sql(model, schema_editor, concurrently=True)
        statement.parts["table"], statement.parts["name"] = quote(partition), quote(name)
        with base.patient(schema_editor.connection):
            if not _is_built(name, schema_editor):
                schema_editor.execute(statement, params=None)
        partitions.execute_briefly(f"ALTER INDEX {quote(index.name)} ATTACH PARTITION {quote(name)}")


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
