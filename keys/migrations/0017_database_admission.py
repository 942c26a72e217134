"""The database that this migration runs on admits itself: a fresh one, or the one in service while it is brought up to date."""

import uuid

from django.db import migrations, models

import byokportal.clock
from keys.datakeys import admission


def forwards(apps, schema_editor):
    apps.get_model("keys", "DatabaseAdmission").objects.create(
        incarnation=admission.incarnation(), admitted_by="itself, by its migration"
    )


class Migration(migrations.Migration):
    dependencies = [("keys", "0016_pages_that_poll_read_little"), ("tenants", "0016_tenants_by_generation")]
    operations = [
        migrations.CreateModel(
            name="DatabaseAdmission",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("incarnation", models.CharField(max_length=200)),
                ("admitted_at", models.DateTimeField(default=byokportal.clock.now)),
                ("admitted_by", models.CharField(max_length=200)),
                ("is_by_person", models.BooleanField(default=False)),
                ("reason", models.CharField(blank=True, max_length=500)),
            ],
            options={"ordering": ["-admitted_at"]},
        ),
        migrations.RunPython(forwards, migrations.RunPython.noop),
    ]
