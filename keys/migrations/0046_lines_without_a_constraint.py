"""What names a line of the log does so without a constraint: PostgreSQL has none to a table that is partitioned by month."""

import django.db.models.deletion
from django.db import migrations, models

from byokportal.postgresql import partitions


def forwards(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        partitions.drop_foreign_keys("keys_keyuserollup", to="tenants_auditevent")


class Migration(migrations.Migration):
    atomic = False
    beside_the_old_version = "no statement of any version asks the constraint; it refused the removal of a line, which nobody can do"
    dependencies = [("keys", "0045_who_asked_another_lead")]
    operations = [
        migrations.SeparateDatabaseAndState(
            # Backwards the constraints stay away: no version needs them. SQLite keeps them, and its one table.
            database_operations=[migrations.RunPython(forwards, migrations.RunPython.noop, atomic=False)],
            state_operations=[
                migrations.AlterField(
                    model_name="keyuserollup",
                    name="event",
                    field=models.ForeignKey(db_constraint=False, related_name="+", on_delete=django.db.models.deletion.PROTECT, to="tenants.auditevent"),
                ),
            ],
        ),
    ]
