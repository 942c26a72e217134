"""Uses of keys are append-only: the rows that say who got a plaintext data key cannot be changed or removed."""

from django.db import migrations

MESSAGE = "the uses of keys are append-only"
SQLITE = [
    f"CREATE TRIGGER keys_keyuse_no_delete BEFORE DELETE ON keys_keyuse BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END",
    f"CREATE TRIGGER keys_keyuse_no_change BEFORE UPDATE ON keys_keyuse BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END",
]
POSTGRESQL = [
    f"""
    CREATE FUNCTION keys_use_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '{MESSAGE}'; END $$;
    CREATE TRIGGER keys_keyuse_append_only BEFORE UPDATE OR DELETE ON keys_keyuse FOR EACH ROW EXECUTE FUNCTION keys_use_append_only();
    CREATE TRIGGER keys_keyuse_no_truncate BEFORE TRUNCATE ON keys_keyuse FOR EACH STATEMENT EXECUTE FUNCTION keys_use_append_only();
    """
]
DROP_SQLITE = ["DROP TRIGGER IF EXISTS keys_keyuse_no_delete", "DROP TRIGGER IF EXISTS keys_keyuse_no_change"]
DROP_POSTGRESQL = [
    "DROP TRIGGER IF EXISTS keys_keyuse_append_only ON keys_keyuse",
    "DROP TRIGGER IF EXISTS keys_keyuse_no_truncate ON keys_keyuse",
    "DROP FUNCTION IF EXISTS keys_use_append_only()",
]


def forwards(apps, schema_editor):
    for statement in POSTGRESQL if schema_editor.connection.vendor == "postgresql" else SQLITE:
        schema_editor.execute(statement, params=None)


def backwards(apps, schema_editor):
    for statement in DROP_POSTGRESQL if schema_editor.connection.vendor == "postgresql" else DROP_SQLITE:
        schema_editor.execute(statement, params=None)


class Migration(migrations.Migration):
    dependencies = [("keys", "0001_initial")]
    operations = [migrations.RunPython(forwards, backwards)]
