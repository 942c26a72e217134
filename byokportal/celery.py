"""The Celery app; its schedule lives in settings."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import beat_init, task_postrun, task_prerun, worker_init, worker_process_init

NICE = 10  # where a worker shares a machine with the web, a sweep must not keep a request for a key waiting

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "byokportal.settings")

from byokportal import clock, metrics  # noqa: E402  after the settings have their name

app = Celery("byokportal")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_init.connect  # type: ignore[untyped-decorator]  # celery's signals have no types
def _step_back(**_: object) -> None:
    os.nice(NICE)
    metrics.serve()


@beat_init.connect  # type: ignore[untyped-decorator]
def _serve_figures(**_: object) -> None:
    """Tell beside beat's own numbers those of the whole system: there is one beat."""
    from django.conf import settings
    from django.utils.module_loading import import_string

    if settings.METRICS_ADDRESS:
        metrics.serve(import_string(settings.METRICS_OF_ALL)())


@task_prerun.connect  # type: ignore[untyped-decorator]
def _task_began(task: Any, **_: object) -> None:
    task.request.began = clock.monotonic()


@task_postrun.connect  # type: ignore[untyped-decorator]
def _task_ended(task: Any, state: str | None = None, **_: object) -> None:
    metrics.TASKS.labels(task.name, (state or "unknown").lower()).inc()
    began = getattr(task.request, "began", None)
    if began is not None:
        metrics.TASK_SECONDS.labels(task.name).observe(clock.monotonic() - began)


@worker_process_init.connect  # type: ignore[untyped-decorator]
def stay_on_one_core(**_: object) -> None:
    """Keep the threads of this process on one core.

    They run one at a time whatever the cores; wandering over two of them, a sweep with its 96 threads took three
    times the CPU and half the rate, because every answer of AWS wakes a thread on one core that waits for the
    interpreter on the other.
    """
    if hasattr(os, "sched_setaffinity"):  # Linux
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[os.getpid() % len(cores)]})
