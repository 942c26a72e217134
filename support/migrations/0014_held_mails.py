from __future__ import annotations

from django.db import migrations, models
from django.db.models import Q

from byokportal.online_index import AddIndexOnline


class Migration(migrations.Migration):
    atomic = False  # CREATE INDEX CONCURRENTLY

    dependencies = [("support", "0013_incident_responses")]

    operations = [
        AddIndexOnline(
            "notice",
            models.Index(fields=["held_for"], condition=Q(held_for__isnull=False), name="support_notice_held"),
        ),
    ]
