"""What names a line of the log does so without a constraint: PostgreSQL has none to a table that is partitioned by month."""

import django.db.models.deletion
from django.db import migrations, models

from byokportal.postgresql import partitions


def forwards(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        for table in ("support_notice", "support_webhookdelivery"):
            partitions.drop_foreign_keys(table, to="tenants_auditevent")


class Migration(migrations.Migration):
    atomic = False
    beside_the_old_version = "no statement of any version asks the constraint; it refused the removal of a line, which nobody can do"
    dependencies = [("support", "0021_erase_people")]
    operations = [
        migrations.SeparateDatabaseAndState(
            # Backwards the constraints stay away: no version needs them. SQLite keeps them, and its one table.
            database_operations=[migrations.RunPython(forwards, migrations.RunPython.noop, atomic=False)],
            state_operations=[
                migrations.AlterField(
                    model_name="notice",
                    name="event",
                    field=models.ForeignKey(db_constraint=False, db_index=False, null=True, related_name="notices", on_delete=django.db.models.deletion.PROTECT, to="tenants.auditevent"),
                ),
                migrations.AlterField(
                    model_name="webhookdelivery",
                    name="event",
                    field=models.ForeignKey(db_constraint=False, db_index=False, null=True, related_name="webhook_deliveries", on_delete=django.db.models.deletion.PROTECT, to="tenants.auditevent"),
                ),
            ],
        ),
    ]
