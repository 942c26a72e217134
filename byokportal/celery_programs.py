"""Celery's worker and beat as programs of ours: where they print a banner, they write one line of the log."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import structlog
from celery import bootsteps
from celery.apps import beat, worker
from celery.signals import setup_logging
from celery.utils.log import get_multiprocessing_logger
from celery.worker import consumer

from byokportal import lines

log = structlog.get_logger(__name__)
# The file in VAR_DIR by whose age Kubernetes judges a worker: it asks no other server, so an outage of Redis, which
# every worker survives, ends none of them.
ALIVE = "worker-alive"
EVERY = 15.0  # seconds


class Worker(worker.Worker):
    """`celery worker`."""

    def emit_banner(self) -> None:
        told: Any = self  # the stubs lack most of it
        log.info("worker_starts", node=told.hostname, queues=sorted(told.app.amqp.queues), processes=told.concurrency)


def _is_alive() -> None:
    from django.conf import settings

    (Path(settings.VAR_DIR) / ALIVE).touch()


class Alive(bootsteps.StartStopStep):  # type: ignore[misc]  # celery has no types
    """The loop of a connected worker says by its own timer that it goes round."""

    requires = ("celery.worker.consumer.connection:Connection",)

    def start(self, parent: Any) -> None:
        _is_alive()
        # Celery clears the timer when the connection is lost, and starts this step again with the next one.
        parent.timer.call_repeatedly(EVERY, _is_alive)


class Consumer(consumer.Consumer):  # type: ignore[misc]
    """The loop of a worker."""

    class Blueprint(consumer.Consumer.Blueprint):  # type: ignore[misc, valid-type]
        default_steps: ClassVar = [*consumer.Consumer.Blueprint.default_steps, Alive]

    def ensure_connected(self, conn: Any) -> Any:
        """Wait for the broker, for as long as it takes; the loop stands still meanwhile, as it has to."""
        with _alive_meanwhile():
            return super().ensure_connected(conn)


@contextmanager
def _alive_meanwhile() -> Iterator[None]:
    over = threading.Event()

    def say_so() -> None:
        _is_alive()
        while not over.wait(EVERY):
            _is_alive()

    waiting = threading.Thread(target=say_so, name="alive", daemon=True)
    waiting.start()
    try:
        yield
    finally:
        over.set()
        waiting.join()


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
