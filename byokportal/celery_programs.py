"""Celery's worker and beat as programs of ours: where they print a banner, they write one line of the log."""

from __future__ import annotations

import os
import sys
from typing import Any

import structlog
from celery.apps import beat, worker
from celery.signals import setup_logging
from celery.utils.log import get_multiprocessing_logger

from byokportal import lines

log = structlog.get_logger(__name__)


class Worker(worker.Worker):
    """`celery worker`."""

    def emit_banner(self) -> None:
        told: Any = self  # the stubs lack most of it
        log.info("worker_starts", node=told.hostname, queues=sorted(told.app.amqp.queues), processes=told.concurrency)


class Beat(beat.Beat):
    """`celery beat`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "quiet": True})

    def start_scheduler(self) -> Any:
        told: Any = self
        log.info("beat_starts", entries=len(told.app.conf.beat_schedule))
        return super().start_scheduler()


def say(text: str, stream: Any = None) -> None:
    """Write what Celery says of its end as a line, in one call: this runs in a handler of signals."""
    where: Any = stream or sys.__stderr__
    os.write(where.fileno(), (lines.of(text.strip(), logger="celery") + "\n").encode())


@setup_logging.connect  # type: ignore[untyped-decorator]  # celery's signals have no types
def _leave_logging_alone(**_: object) -> None:
    """Keep Celery from handlers and levels of its own: Django's settings have set logging up, and LOG_LEVEL counts."""
    processes: Any = get_multiprocessing_logger()
    processes.propagate = True
    processes.setLevel("WARNING")


vars(worker)["safe_say"] = say  # its types do not know it
