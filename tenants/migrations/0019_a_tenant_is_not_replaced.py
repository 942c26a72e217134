"""SQLite made the tenant's table anew, and dropped the trigger that lets nobody replace a row (0017): it is made again."""

from importlib import import_module

from django.db import migrations

PUT_OFF = import_module("tenants.migrations.0017_events_are_put_off")


def forwards(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute("DROP TRIGGER IF EXISTS tenants_tenant_no_replace")
        schema_editor.execute(PUT_OFF.NO_REPLACING[1], params=None)


class Migration(migrations.Migration):
    dependencies = [("tenants", "0018_canary_tenants")]
    operations = [migrations.RunPython(forwards, migrations.RunPython.noop)]
