"""Branch keys and uses name a data scope, and the sums call theirs the same; there is one so far."""

from importlib import import_module

from django.db import migrations, models
from django.db.models import Q

USES = import_module("keys.migrations.0002_append_only_key_use")
NO_REPLACING = import_module("keys.migrations.0019_jobs_are_put_off_and_woken_once").NO_REPLACING
NEW = ("tenant", "hour", "service", "operation", "data_scope"), ("tenant", "operation", "data_scope")
SUMS = ("keyusehour", "keys_each_hour_of_use_once"), ("keyusetotal", "keys_each_total_of_use_once")


def make_triggers(apps, schema_editor):
    """SQLite made the table of uses anew, and dropped its triggers with the old one."""
    if schema_editor.connection.vendor == "sqlite":
        dropped = (*USES.DROP_SQLITE, "DROP TRIGGER IF EXISTS keys_keyuse_no_replace")
        for statement in (*dropped, *USES.SQLITE, NO_REPLACING):
            schema_editor.execute(statement, params=None)


def scope():
    return models.CharField(db_default="default", default="default", max_length=64)


class Migration(migrations.Migration):

    dependencies = [("keys", "0024_probes_leave_the_registration")]

    operations = [
        migrations.RunPython(migrations.RunPython.noop, make_triggers),
        migrations.AddField("branchkey", "data_scope", scope()),
        migrations.RemoveConstraint("branchkey", "keys_one_current_branch_key_per_tenant"),
        migrations.AddConstraint(
            "branchkey",
            models.UniqueConstraint(
                condition=Q(is_current=True),
                fields=("tenant", "data_scope"),
                name="keys_one_current_branch_key_per_tenant_scope",
            ),
        ),
        migrations.AddField("keyuse", "data_scope", scope()),
        *(migrations.RemoveConstraint(model, name) for model, name in SUMS),
        *(migrations.RenameField(model, "scope", "data_scope") for model, _ in SUMS),
        *(
            migrations.AddConstraint(model, models.UniqueConstraint(fields=fields, name=name))
            for (model, name), fields in zip(SUMS, NEW)
        ),
        migrations.RunPython(make_triggers, migrations.RunPython.noop),
    ]
