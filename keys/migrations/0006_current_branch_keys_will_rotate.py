from datetime import timedelta

from django.db import migrations
from django.db.models import F


def forwards(apps, schema_editor):
    """Branch keys made before there was a rotation are rotated 90 days after they were made."""
    current = apps.get_model("keys", "BranchKey").objects.filter(is_current=True, due_at=None)
    current.update(due_at=F("created_at") + timedelta(days=90))


class Migration(migrations.Migration):
    dependencies = [("keys", "0005_branch_keys_are_jobs")]

    operations = [migrations.RunPython(forwards, migrations.RunPython.noop)]
