"""Each unwrap of a branch key by KMS leaves a row, append-only like the uses of keys, which name it."""

import uuid

import django.db.models.deletion
from django.db import migrations, models

import byokportal.clock

MESSAGE = "the loads of branch keys are append-only"
TABLE = "keys_branchkeyload"
REFUSE = f"BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END"
# On SQLite `INSERT OR REPLACE` removes a row without firing the triggers that refuse a removal.
SQLITE = [
    f"CREATE TRIGGER keys_load_no_delete BEFORE DELETE ON {TABLE} {REFUSE}",
    f"CREATE TRIGGER keys_load_no_change BEFORE UPDATE ON {TABLE} {REFUSE}",
    f"CREATE TRIGGER keys_load_no_replace BEFORE INSERT ON {TABLE} "
    f"WHEN EXISTS (SELECT 1 FROM {TABLE} WHERE id = NEW.id) {REFUSE}",
]
POSTGRESQL = [
    f"""
    CREATE FUNCTION keys_load_append_only() RETURNS trigger LANGUAGE plpgsql
      AS $$ BEGIN RAISE EXCEPTION '{MESSAGE}'; END $$;
    CREATE TRIGGER keys_load_append_only BEFORE UPDATE OR DELETE ON {TABLE}
      FOR EACH ROW EXECUTE FUNCTION keys_load_append_only();
    CREATE TRIGGER keys_load_no_truncate BEFORE TRUNCATE ON {TABLE}
      FOR EACH STATEMENT EXECUTE FUNCTION keys_load_append_only();
    """
]
DROP_SQLITE = [f"DROP TRIGGER IF EXISTS keys_load_no_{what}" for what in ("delete", "change", "replace")]
DROP_POSTGRESQL = [
    f"DROP TRIGGER IF EXISTS keys_load_append_only ON {TABLE}",
    f"DROP TRIGGER IF EXISTS keys_load_no_truncate ON {TABLE}",
    "DROP FUNCTION IF EXISTS keys_load_append_only()",
]


def forwards(apps, schema_editor):
    for statement in POSTGRESQL if schema_editor.connection.vendor == "postgresql" else SQLITE:
        schema_editor.execute(statement, params=None)


def backwards(apps, schema_editor):
    for statement in DROP_POSTGRESQL if schema_editor.connection.vendor == "postgresql" else DROP_SQLITE:
        schema_editor.execute(statement, params=None)


class Migration(migrations.Migration):

    dependencies = [
        ("keys", "0025_data_scopes"),
        ("tenants", "0020_the_transaction_of_a_stop"),
    ]

    operations = [
        migrations.CreateModel(
            name="BranchKeyLoad",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("data_scope", models.CharField(default="default", max_length=64)),
                ("process", models.UUIDField(null=True)),
                ("region", models.CharField(max_length=64)),
                ("session_name", models.CharField(blank=True, max_length=64)),
                ("aws_request_id", models.CharField(max_length=128)),
                ("at", models.DateTimeField(default=byokportal.clock.recent)),
                (
                    "branch_key",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="loads",
                        to="keys.branchkey",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="branch_key_loads",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={"ordering": ["at"]},
        ),
        migrations.AddIndex(
            model_name="branchkeyload",
            index=models.Index(fields=["tenant", "at"], name="keys_load_by_tenant"),
        ),
        migrations.AddField("keyuse", "load", models.UUIDField(null=True)),
        migrations.RunPython(forwards, backwards),
    ]
