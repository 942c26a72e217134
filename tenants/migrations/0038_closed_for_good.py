"""An organisation may be closed, and then stays so: held by the database."""

from django.db import migrations, models

MESSAGE = "an organisation that is closed stays closed"
SQLITE = [
    "CREATE TRIGGER tenants_tenant_closed BEFORE UPDATE OF closed_at ON tenants_tenant "
    "WHEN OLD.closed_at IS NOT NULL AND NEW.closed_at IS NOT OLD.closed_at "
    f"BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END",
]
POSTGRESQL = [
    f"""
    CREATE FUNCTION tenants_tenant_closed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '{MESSAGE}'; END $$;
    CREATE TRIGGER tenants_tenant_closed BEFORE UPDATE OF closed_at ON tenants_tenant FOR EACH ROW
    WHEN (OLD.closed_at IS NOT NULL AND NEW.closed_at IS DISTINCT FROM OLD.closed_at) EXECUTE FUNCTION tenants_tenant_closed();
    """
]


def forwards(apps, schema_editor):
    for statement in POSTGRESQL if schema_editor.connection.vendor == "postgresql" else SQLITE:
        schema_editor.execute(statement, params=None)


def backwards(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP TRIGGER IF EXISTS tenants_tenant_closed ON tenants_tenant")
        schema_editor.execute("DROP FUNCTION IF EXISTS tenants_tenant_closed()")
    else:
        schema_editor.execute("DROP TRIGGER IF EXISTS tenants_tenant_closed")


class Migration(migrations.Migration):
    dependencies = [("tenants", "0037_log_streams")]
    beside_the_old_version = "It writes no closed_at; where the new one has closed an organisation, only that column is held."
    operations = [
        migrations.AddField("tenant", "closed_at", models.DateTimeField(blank=True, editable=False, null=True)),
        migrations.RunPython(forwards, backwards),
    ]
