"""SQLite makes a table anew when it gains a column, and drops its triggers with the old one: the tenant's is made again.

What breaks otherwise: after 0003 the database let an External ID be changed.
"""

from importlib import import_module

from django.db import migrations

LOG = import_module("tenants.migrations.0002_append_only_log")


def forwards(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute("DROP TRIGGER IF EXISTS tenants_tenant_fixed")
        schema_editor.execute(LOG.SQLITE[2], params=None)


class Migration(migrations.Migration):
    dependencies = [("tenants", "0003_when_the_key_changed")]
    operations = [migrations.RunPython(forwards, migrations.RunPython.noop)]
