"""The Celery app; its schedule lives in settings."""

from __future__ import annotations

import os
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

import structlog
from celery import Celery
from celery.signals import (
    beat_init,
    before_task_publish,
    task_postrun,
    task_prerun,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
)

NICE = 10  # where a worker shares a machine with the web, a sweep must not keep a request for a key waiting

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "byokportal.settings")

from byokportal import clock, lines, metrics, telemetry, tracing  # noqa: E402  after the settings have their name

log = structlog.get_logger(__name__)
# The header of a message that says in which request it was sent.
REQUEST_ID = "byok_request_id"


# `celery worker` and `celery beat`, or `python -m celery …`: this module is the first of ours that they import, before
# they read a setting that may be wrong.
if "celery" in Path(sys.argv[0]).parts[-2:] and {"worker", "beat"} & set(sys.argv):
    lines.every_line_is_json()


class App(Celery):  # type: ignore[misc]  # celery has no types
    """Celery with our programs."""

    @cached_property
    def Worker(self) -> Any:
        return self._program("Worker")

    @cached_property
    def Beat(self) -> Any:
        return self._program("Beat")

    def _program(self, name: str) -> Any:
        from byokportal import celery_programs

        return self.subclass_with_self(getattr(celery_programs, name), name=name)


app = App("byokportal")
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


@before_task_publish.connect  # type: ignore[untyped-decorator]
def _name_the_request(headers: dict[str, Any], **_: object) -> None:
    """Let the lines of a task, and its trace, stand under the request that sent it."""
    headers.update(tracing.headers())
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    if request_id:
        headers[REQUEST_ID] = request_id


@task_prerun.connect  # type: ignore[untyped-decorator]
def _task_began(task_id: str, task: Any, **_: object) -> None:
    task.request.began = clock.monotonic()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(task_id=task_id)
    if given := getattr(task.request, REQUEST_ID, None):
        structlog.contextvars.bind_contextvars(request_id=given)
    given = getattr(task.request, "traceparent", None)
    task.request.span = tracing.begin(task.name, "consumer", came_with={"traceparent": given} if given else None)


@task_postrun.connect  # type: ignore[untyped-decorator]
def _task_ended(task: Any, state: str | None = None, retval: Any = None, **_: object) -> None:
    """Count a task and write its one line; a failure's has the traceback (Celery's own line is off)."""
    outcome = (state or "unknown").lower()
    metrics.TASKS.labels(task.name, outcome).inc()
    seconds = clock.monotonic() - getattr(task.request, "began", clock.monotonic())
    metrics.TASK_SECONDS.labels(task.name).observe(seconds)
    queue = (task.request.delivery_info or {}).get("routing_key")
    failed = retval if outcome == "failure" and isinstance(retval, BaseException) else None
    write = log.info if failed is None else log.error
    write("task", task=task.name, outcome=outcome, duration_ms=round(seconds * 1000), queue=queue, exc_info=failed)
    span = getattr(task.request, "span", tracing.NOTHING)
    span.set(messaging__message__id=task.request.id or "", messaging__destination__name=queue or "")
    span.set(byok__outcome=outcome)
    if outcome == "failure":
        span.fail(type(retval).__name__)
    span.end()
    structlog.contextvars.clear_contextvars()


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


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _start_tracing(**_: object) -> None:
    telemetry.start("worker")


@worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def _stop_tracing(**_: object) -> None:
    tracing.stop()
