"""The Celery app; its schedule lives in settings."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "byokportal.settings")

app = Celery("byokportal")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
