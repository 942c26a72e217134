"""While a release comes up, processes of the one before go on writing into the tables that it has migrated:
a migration only adds what the version before need not know of (docs/deploy.md, "Rolling upgrade").

What cannot be read out of a migration (RunPython, RunSQL, a constraint on a table that is there) is judged by its
author, who says in `beside_the_old_version` of the migration why nothing that the version before does fails by it.
A migration that takes a column or a table away, once no release in service uses it, says in `contracts` which release
was the first that did not. Nothing is renamed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import migrations, models
from django.db.migrations import operations
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django.db.models import NOT_PROVIDED

from byokportal.online_index import AddIndexOnline, DropForeignKeyIndexes

OURS = ("keys", "tenants", "support")
HARMLESS = (
    operations.CreateModel,
    AddIndexOnline,
    operations.RemoveIndex,
    operations.RenameIndex,
    operations.RemoveConstraint,
    operations.AlterModelOptions,
    operations.AlterModelManagers,
    operations.AlterModelTableComment,
    DropForeignKeyIndexes,
)
JUDGED = (
    operations.AddConstraint,
    operations.AlterUniqueTogether,
    operations.AlterIndexTogether,
    operations.RunPython,
    operations.RunSQL,
)
CONTRACTING = (operations.RemoveField, operations.DeleteModel)
# What happened before anything was released: nobody ran a version that these could break. Nothing is added here; the
# columns stay without a default in the database, because a new version gives each of them a value.
BEFORE_THE_FIRST_RELEASE = {
    "it takes away, renames or narrows what was there": (
        "keys.0024_probes_leave_the_registration",
        "keys.0025_data_scopes",
        "keys.0027_inferred",
        "tenants.0009_every_token_ends",
        "tenants.0015_each_token_knows_its_secret",
    ),
    "it adds a column that an INSERT of before does not name": (
        "keys.0003_what_is_believed_and_what_decides",
        "keys.0005_branch_keys_are_jobs",
        "keys.0008_health",
        "keys.0010_incidents_closed_by_hand",
        "keys.0014_asked_again",
        "keys.0019_jobs_are_put_off_and_woken_once",
        "keys.0022_what_a_process_has_seen",
        "keys.0034_drift",
        "keys.0035_the_version_of_a_policy",
        "keys.0037_use_roll_ups",
        "tenants.0003_when_the_key_changed",
        "tenants.0007_people_come_by_a_mailed_link",
        "tenants.0013_client_secrets",
        "tenants.0017_events_are_put_off",
        "tenants.0018_canary_tenants",
        "tenants.0022_a_second_person",
        "tenants.0025_sign_on_by_saml",
        "tenants.0027_directory",
        "tenants.0028_room_on_service_roles",
    ),
    "it moves rows, or has the database refuse what it took before, and nobody wrote down what that means": (
        "keys.0002_append_only_key_use",
        "keys.0006_current_branch_keys_will_rotate",
        "keys.0017_database_admission",
        "keys.0021_wrappings_are_insert_only",
        "keys.0023_key_health",
        "keys.0026_branch_key_loads",
        "keys.0031_activation_time",
        "keys.0038_narrow_actions",
        "support.0002_groups",
        "support.0003_incidents_and_drills",
        "support.0004_drop_caches_and_close_incidents",
        "support.0006_staff_and_recovery",
        "support.0011_trigrams",
        "support.0016_tickets_by_clock",
        "support.0017_clocks_of_open_tickets",
        "tenants.0002_append_only_log",
        "tenants.0004_the_fixed_facts_stay_fixed",
        "tenants.0008_open_invitations_and_ends_of_tokens",
        "tenants.0014_digests_move_to_client_secrets",
        "tenants.0019_a_tenant_is_not_replaced",
        "tenants.0032_the_log_is_sealed",
    ),
}
# Tables that grow with what customers do (docs/capacity.md): nobody who writes into them waits for an index.
LARGE = {
    "keys": {
        "branchkeyload",
        "checkresult",
        "encryptiontest",
        "keyregistration",
        "keyuse",
        "keyusehour",
        "registrationmove",
        "roleconfiguration",
    },
    "tenants": {"auditevent", "onboardingmove"},
    "support": {"notice", "webhookdelivery"},
}
LOCKED_OUT_BEFORE_THE_FIRST_RELEASE = (
    "keys.0016_pages_that_poll_read_little",
    "keys.0018_moves_know_their_transaction",
    "keys.0031_activation_time",
    "support.0010_the_fleet_is_read_by_indexes",
    "tenants.0012_pages_that_poll_read_little",
)
KNOWN = {name for names in BEFORE_THE_FIRST_RELEASE.values() for name in names}


def judged(migration: migrations.Migration, state: ProjectState) -> Iterator[str]:
    """Yield what the version before could fail by, as sentences; `state` is the one before, and moves on."""
    made: set[str] = set()
    for operation in _flat(migration.operations):
        if isinstance(operation, operations.CreateModel):
            made.add(operation.name_lower)
        if getattr(operation, "model_name_lower", "") not in made:  # nobody writes into a new table yet
            yield from _why_not(operation, migration, state)
        operation.state_forwards(migration.app_label, state)


def _flat(found: list[Any]) -> Iterator[Any]:
    for operation in found:
        if isinstance(operation, operations.SeparateDatabaseAndState):
            yield from _flat(operation.database_operations)
            yield from (StateOnly(one) for one in operation.state_operations)
        else:
            yield operation


class StateOnly:
    """What the database does not see."""

    def __init__(self, operation: Any) -> None:
        self.state_forwards = operation.state_forwards


def _why_not(operation: Any, migration: migrations.Migration, state: ProjectState) -> Iterator[str]:
    if isinstance(operation, (StateOnly, *HARMLESS)):
        return
    if isinstance(operation, operations.AddIndex):
        named = f"{migration.app_label}.{migration.name}"
        if (
            operation.model_name_lower in LARGE[migration.app_label]
            and named not in LOCKED_OUT_BEFORE_THE_FIRST_RELEASE
        ):
            yield f"{_named(operation)}: who writes waits until it is built; AddIndexOnline"
        return
    if isinstance(operation, operations.AddField):
        yield from _of_new_field(operation)
    elif isinstance(operation, operations.AlterField):
        before = state.models[migration.app_label, operation.model_name_lower].fields[operation.name]
        yield from _of_changed_field(operation, before)
    elif isinstance(operation, JUDGED):
        if not getattr(migration, "beside_the_old_version", ""):
            yield f"{_named(operation)}: say in beside_the_old_version why the version before does not fail by it"
    elif not (isinstance(operation, CONTRACTING) and getattr(migration, "contracts", "")):
        yield f"{_named(operation)}: the version before still uses it"


def _of_new_field(operation: operations.AddField) -> Iterator[str]:
    field = operation.field
    if field.many_to_many:
        return
    if not field.null and field.db_default is NOT_PROVIDED:
        yield f"{_named(operation)}: an INSERT of the version before does not name it; db_default or null=True"
    elif field.unique and field.db_default is not NOT_PROVIDED:
        yield f"{_named(operation)}: the second INSERT of the version before breaks its uniqueness"


def _of_changed_field(operation: operations.AlterField, before: Any) -> Iterator[str]:
    after = operation.field
    if before.null and not after.null:
        yield f"{_named(operation)}: the version before writes NULL by name, which no db_default mends"
    if after.unique and not before.unique:
        yield f"{_named(operation)}: the version before may write one value twice"
    if before.db_default is not NOT_PROVIDED and after.db_default is NOT_PROVIDED and not after.null:
        yield f"{_named(operation)}: a version before may rely on its db_default"
    if (before.db_column, before.is_relation) != (after.db_column, after.is_relation):
        yield f"{_named(operation)}: its column gets another name"
    elif after.remote_field is not None:
        if after.related_model != before.related_model or (after.db_constraint and not before.db_constraint):
            yield f"{_named(operation)}: it refers to something else, or is checked now"
    elif _is_narrower(before, after):
        yield f"{_named(operation)}: what the version before writes may not fit"


WIDER = {  # type → what it may become
    "CharField": {"TextField"},
    "SlugField": {"CharField", "TextField"},
    "SmallIntegerField": {"IntegerField", "BigIntegerField"},
    "IntegerField": {"BigIntegerField"},
    "PositiveSmallIntegerField": {"PositiveIntegerField", "PositiveBigIntegerField"},
    "PositiveIntegerField": {"PositiveBigIntegerField"},
}


def _is_narrower(before: Any, after: Any) -> bool:
    was, now = before.get_internal_type(), after.get_internal_type()
    if was != now:
        return now not in WIDER.get(was, set())
    if before.max_length is None or after.max_length is None:
        return before.max_length is None and after.max_length is not None
    return bool(after.max_length < before.max_length)


def _named(operation: Any) -> str:
    names = [getattr(operation, name, "") for name in ("model_name", "name", "old_name")]
    constraint = getattr(operation, "constraint", None)
    what = ".".join(str(name) for name in names if name) or getattr(constraint, "name", "")
    return f"{type(operation).__name__} {what}".strip()


def found() -> dict[str, list[str]]:
    """Return what every migration of ours does that is not additive."""
    loader = MigrationLoader(None, ignore_no_migrations=True)
    state, answer = ProjectState(), {}
    order = list(dict.fromkeys(key for leaf in loader.graph.leaf_nodes() for key in loader.graph.forwards_plan(leaf)))
    for app, name in order:
        migration = loader.graph.nodes[app, name]
        if app in OURS:
            answer[f"{app}.{name}"] = list(judged(migration, state))
        else:
            migration.mutate_state(state, preserve=False)
    return {name: sentences for name, sentences in answer.items() if sentences}


def test_no_migration_breaks_the_version_before() -> None:
    new = {name: why for name, why in found().items() if name not in KNOWN}
    assert new == {}, "expand first, contract in a later release: docs/deploy.md, Rolling upgrade"


def test_what_is_known_is_still_there() -> None:
    assert set(found()) >= KNOWN


class Old(migrations.Migration):
    """What the tables below change."""

    operations = [
        operations.CreateModel(
            "Row",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("word", models.CharField(max_length=20)),
                ("count", models.IntegerField(null=True)),
                ("flag", models.BooleanField(db_default=False)),
                ("other", models.ForeignKey("keys.Row", models.CASCADE, null=True, db_constraint=False)),
            ],
        ),
        operations.CreateModel("KeyUse", [("request_id", models.CharField(max_length=64, primary_key=True))]),
    ]


def why(*changes: Any, **facts: str) -> list[str]:
    state = ProjectState()
    Old("old", "keys").mutate_state(state, preserve=False)
    migration = type("New", (migrations.Migration,), {"operations": list(changes), **facts})("new", "keys")
    return list(judged(migration, state))


def nothing(apps: Any, schema_editor: Any) -> None:
    pass


CHECK = models.CheckConstraint(condition=models.Q(count__gt=0), name="keys_positive")
TAKING_AWAY = [operations.RemoveField("Row", "count"), operations.DeleteModel("Row")]
UNREADABLE = [
    operations.AlterUniqueTogether("Row", {("word", "count")}),
    operations.AddConstraint("Row", CHECK),
    operations.RunPython(nothing),
    operations.RunSQL("SELECT 1"),
    operations.SeparateDatabaseAndState(database_operations=[operations.RunSQL("SELECT 1")]),
]
BREAKING = [
    operations.RenameField("Row", "count", "number"),
    operations.RenameModel("Row", "Line"),
    operations.AlterModelTable("Row", "rows"),
    operations.AddField("Row", "new", models.CharField(max_length=5, default="")),
    operations.AddField("Row", "new", models.IntegerField(unique=True, db_default=0)),
    operations.AlterField("Row", "count", models.IntegerField(default=0, db_default=0)),
    operations.AlterField("Row", "count", models.SmallIntegerField(null=True)),
    operations.AlterField("Row", "count", models.IntegerField(null=True, db_column="number")),
    operations.AlterField("Row", "word", models.CharField(max_length=10)),
    operations.AlterField("Row", "word", models.CharField(max_length=20, unique=True)),
    operations.AlterField("Row", "flag", models.BooleanField(default=False)),
    operations.AlterField("Row", "other", models.ForeignKey("keys.Row", models.CASCADE, null=True)),
    operations.AddIndex("KeyUse", models.Index(fields=["request_id"], name="keys_use_by_nothing")),
]
ADDITIVE = [
    operations.AddField("Row", "new", models.CharField(max_length=5, db_default="")),
    operations.AddField("Row", "new", models.CharField(max_length=5, null=True, unique=True)),
    operations.AlterField("Row", "word", models.CharField(max_length=30)),
    operations.AlterField("Row", "word", models.TextField()),
    operations.AlterField("Row", "word", models.CharField(max_length=20, default="x", choices=[("x", "X")])),
    operations.AlterField("Row", "count", models.BigIntegerField(null=True)),
    operations.AddIndex("Row", models.Index(fields=["word"], name="keys_row_word")),
    AddIndexOnline("KeyUse", models.Index(fields=["request_id"], name="keys_use_by_nothing")),
    operations.CreateModel("New", [("id", models.BigAutoField(primary_key=True))]),
    operations.SeparateDatabaseAndState(state_operations=[operations.RemoveField("Row", "count")]),
]


def called(change: Any) -> str:
    """Return the same words for it in each process: an address of memory is another one in each."""
    return str(change.describe())


@pytest.mark.parametrize("change", [*TAKING_AWAY, *UNREADABLE, *BREAKING], ids=called)
def test_what_breaks_the_version_before_is_named(change: Any) -> None:
    assert len(why(change)) == 1


@pytest.mark.parametrize("change", ADDITIVE, ids=called)
def test_what_only_adds_is_not(change: Any) -> None:
    assert why(change) == []


def test_a_new_table_has_no_version_before() -> None:
    new = operations.CreateModel("New", [("id", models.BigAutoField(primary_key=True))])
    constraint = models.CheckConstraint(condition=models.Q(id__gt=0), name="keys_new")
    assert (
        why(new, operations.AddField("New", "word", models.TextField()), operations.AddConstraint("New", constraint))
        == []
    )


@pytest.mark.parametrize("change", UNREADABLE, ids=called)
def test_an_author_may_judge_what_cannot_be_read(change: Any) -> None:
    assert why(change, beside_the_old_version="it only reads") == []


@pytest.mark.parametrize("change", TAKING_AWAY, ids=called)
def test_what_is_taken_away_names_the_release_that_had_stopped_using_it(change: Any) -> None:
    assert why(change, contracts="0.3.0") == []


@pytest.mark.parametrize("change", BREAKING, ids=called)
def test_no_word_lets_in_what_breaks_the_version_before(change: Any) -> None:
    assert len(why(change, contracts="0.3.0", beside_the_old_version="no")) == 1
