"""Who closed an incident, and why: with nobody it ended by itself."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("keys", "0009_drills")]
    operations = [
        migrations.AddField("incident", "closed_by", models.CharField(blank=True, default="", max_length=200), preserve_default=False),
        migrations.AddField("incident", "closing_reason", models.CharField(blank=True, default="", max_length=200), preserve_default=False),
    ]
