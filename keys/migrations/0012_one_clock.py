import byokportal.clock
from django.db import migrations, models


# The defaults come from the one clock now. That changes nothing in the database, so it is the state alone that is altered: SQLite would
# make the tables anew, and drop their triggers.
class Migration(migrations.Migration):
    dependencies = [
        ("keys", "0011_drops_wait_for_no_tenant"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField(
                    model_name="branchkey",
                    name="created_at",
                    field=models.DateTimeField(default=byokportal.clock.now, editable=False),
                ),
                migrations.AlterField(
                    model_name="cachedrop",
                    name="at",
                    field=models.DateTimeField(default=byokportal.clock.now),
                ),
                migrations.AlterField(
                    model_name="checkresult",
                    name="at",
                    field=models.DateTimeField(default=byokportal.clock.now),
                ),
                migrations.AlterField(
                    model_name="encryptiontest",
                    name="created_at",
                    field=models.DateTimeField(default=byokportal.clock.now, editable=False),
                ),
                migrations.AlterField(
                    model_name="encryptiontest",
                    name="due_at",
                    field=models.DateTimeField(default=byokportal.clock.now, null=True),
                ),
                migrations.AlterField(
                    model_name="incident",
                    name="opened_at",
                    field=models.DateTimeField(default=byokportal.clock.now),
                ),
                migrations.AlterField(
                    model_name="incident",
                    name="seen_at",
                    field=models.DateTimeField(default=byokportal.clock.now),
                ),
                migrations.AlterField(
                    model_name="keyregistration",
                    name="changed_at",
                    field=models.DateTimeField(default=byokportal.clock.now),
                ),
                migrations.AlterField(
                    model_name="keyregistration",
                    name="created_at",
                    field=models.DateTimeField(default=byokportal.clock.now, editable=False),
                ),
                migrations.AlterField(
                    model_name="keyregistration",
                    name="moved_at",
                    field=models.DateTimeField(default=byokportal.clock.now),
                ),
                migrations.AlterField(
                    model_name="keyuse",
                    name="at",
                    field=models.DateTimeField(default=byokportal.clock.now),
                ),
                migrations.AlterField(
                    model_name="registrationmove",
                    name="at",
                    field=models.DateTimeField(default=byokportal.clock.now),
                ),
                migrations.AlterField(
                    model_name="revocationdrill",
                    name="started_at",
                    field=models.DateTimeField(default=byokportal.clock.now),
                ),
                migrations.AlterField(
                    model_name="roleconfiguration",
                    name="created_at",
                    field=models.DateTimeField(default=byokportal.clock.now, editable=False),
                ),
                migrations.AlterField(
                    model_name="roleconfiguration",
                    name="due_at",
                    field=models.DateTimeField(default=byokportal.clock.now, null=True),
                ),
                migrations.AlterField(
                    model_name="servingprocess",
                    name="seen_at",
                    field=models.DateTimeField(default=byokportal.clock.now),
                ),
                migrations.AlterField(
                    model_name="servingprocess",
                    name="started_at",
                    field=models.DateTimeField(default=byokportal.clock.now),
                ),
            ]
        )
    ]
