import byokportal.clock
from django.db import migrations, models


# The defaults come from the one clock now. That changes nothing in the database, so it is the state alone that is altered: SQLite would
# make the tables anew, and drop their triggers.
class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0005_what_is_shown_once"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField(
                    model_name="accesstoken",
                    name="created_at",
                    field=models.DateTimeField(default=byokportal.clock.now, editable=False),
                ),
                migrations.AlterField(
                    model_name="idempotentrequest",
                    name="created_at",
                    field=models.DateTimeField(default=byokportal.clock.now),
                ),
                migrations.AlterField(
                    model_name="member",
                    name="created_at",
                    field=models.DateTimeField(default=byokportal.clock.now, editable=False),
                ),
                migrations.AlterField(
                    model_name="onboardingmove",
                    name="at",
                    field=models.DateTimeField(default=byokportal.clock.now),
                ),
                migrations.AlterField(
                    model_name="onboardingstep",
                    name="since",
                    field=models.DateTimeField(default=byokportal.clock.now),
                ),
                migrations.AlterField(
                    model_name="serviceaccount",
                    name="created_at",
                    field=models.DateTimeField(default=byokportal.clock.now, editable=False),
                ),
                migrations.AlterField(
                    model_name="servicerole",
                    name="created_at",
                    field=models.DateTimeField(default=byokportal.clock.now, editable=False),
                ),
                migrations.AlterField(
                    model_name="tenant",
                    name="created_at",
                    field=models.DateTimeField(default=byokportal.clock.now, editable=False),
                ),
                migrations.AlterField(
                    model_name="tenant",
                    name="key_changed_at",
                    field=models.DateTimeField(db_index=True, default=byokportal.clock.now),
                ),
            ]
        )
    ]
