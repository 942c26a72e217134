"""How long this thread waits for the database: a budget that `byokportal.postgresql` keeps."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_thread = threading.local()


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Let queries inside fail with OperationalError once they have waited so many seconds in all,
    or what is left of a budget around it.

    Only waiting for the database counts; what else happens meanwhile, a call to AWS for one, has its own
    time-outs. It holds on PostgreSQL. SQLite has no server that could fall silent; what it waits for is a lock, and
    that wait is its own setting (`busy_timeout`).
    """
    outer = left()
    mine = seconds if outer is None else min(seconds, outer)
    _thread.left = mine
    try:
        yield
    finally:
        _thread.left = None if outer is None else outer - (mine - _thread.left)


def left() -> float | None:
    """Return the seconds that are left, None where nobody set a budget."""
    found: float | None = getattr(_thread, "left", None)
    return found


@contextmanager
def waiting() -> Iterator[float | None]:
    """Take the time of the block out of the budget; yields what was left before."""
    before, began = left(), time.monotonic()
    try:
        yield before
    finally:
        if before is not None:
            _thread.left = max(0.0, before - (time.monotonic() - began))
