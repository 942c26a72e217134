"""The Celery app; its schedule lives in settings."""

from __future__ import annotations

import os

from celery import Celery
from celery.signals import worker_init

NICE = 10  # where a worker shares a machine with the web, a sweep must not keep a request for a key waiting

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "byokportal.settings")

app = Celery("byokportal")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_init.connect  # type: ignore[untyped-decorator]  # celery's signals have no types
def _step_back(**_: object) -> None:
    os.nice(NICE)
