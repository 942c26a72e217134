"""Tenants of our own in the canary account; whether one is that never changes.

SQLite makes the table anew for the column and drops its trigger with the old one: it is made again, as in 0004.
"""

from importlib import import_module

from django.db import migrations, models

LOG = import_module("tenants.migrations.0002_append_only_log")
MESSAGE = "whether a tenant is a canary never changes"
SQLITE = [
    "DROP TRIGGER IF EXISTS tenants_tenant_fixed",
    LOG.SQLITE[2],
    "CREATE TRIGGER tenants_tenant_canary BEFORE UPDATE OF is_canary ON tenants_tenant "
    f"WHEN NEW.is_canary IS NOT OLD.is_canary BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END",
]
POSTGRESQL = [
    f"""
    CREATE FUNCTION tenants_tenant_canary() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '{MESSAGE}'; END $$;
    CREATE TRIGGER tenants_tenant_canary BEFORE UPDATE OF is_canary ON tenants_tenant FOR EACH ROW
    WHEN (NEW.is_canary IS DISTINCT FROM OLD.is_canary) EXECUTE FUNCTION tenants_tenant_canary();
    """
]


def forwards(apps, schema_editor):
    for statement in POSTGRESQL if schema_editor.connection.vendor == "postgresql" else SQLITE:
        schema_editor.execute(statement, params=None)


def backwards(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP TRIGGER IF EXISTS tenants_tenant_canary ON tenants_tenant")
        schema_editor.execute("DROP FUNCTION IF EXISTS tenants_tenant_canary()")
    else:
        schema_editor.execute("DROP TRIGGER IF EXISTS tenants_tenant_canary")


class Migration(migrations.Migration):
    dependencies = [("tenants", "0017_events_are_put_off")]
    operations = [
        migrations.AddField("tenant", "is_canary", models.BooleanField(default=False, editable=False)),
        migrations.RunPython(forwards, backwards),
    ]
