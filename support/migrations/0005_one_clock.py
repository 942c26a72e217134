import byokportal.clock
from django.db import migrations, models


# The defaults come from the one clock now. That changes nothing in the database, so it is the state alone that is altered: SQLite would
# make the tables anew, and drop their triggers.
class Migration(migrations.Migration):
    dependencies = [
        ("support", "0004_drop_caches_and_close_incidents"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField(
                    model_name="notice",
                    name="created_at",
                    field=models.DateTimeField(default=byokportal.clock.now, editable=False),
                ),
                migrations.AlterField(
                    model_name="notice",
                    name="due_at",
                    field=models.DateTimeField(default=byokportal.clock.now, null=True),
                ),
                migrations.AlterField(
                    model_name="ticket",
                    name="created_at",
                    field=models.DateTimeField(default=byokportal.clock.now, editable=False),
                ),
                migrations.AlterField(
                    model_name="ticket",
                    name="since",
                    field=models.DateTimeField(default=byokportal.clock.now),
                ),
                migrations.AlterField(
                    model_name="ticketmessage",
                    name="at",
                    field=models.DateTimeField(default=byokportal.clock.now),
                ),
            ]
        )
    ]
