"""Tickets that were open before there were clocks get a full one from now on."""

from datetime import timedelta

from django.conf import settings
from django.db import migrations
from django.utils import timezone


def start(apps, schema_editor):
    now = timezone.now()
    due = now + timedelta(minutes=settings.TICKET_RESOLUTION_MINUTES[2])
    waiting = apps.get_model("support", "Ticket").objects.filter(status__in=["waiting_for_kore", "in_progress"])
    waiting.filter(resolution_due_at=None).update(resolution_due_at=due, due_at=due, remind_at=due)


class Migration(migrations.Migration):
    dependencies = [("support", "0016_tickets_by_clock")]
    operations = [migrations.RunPython(start, migrations.RunPython.noop)]
