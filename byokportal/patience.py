"""How long this thread waits for the database: a deadline that `byokportal.postgresql` keeps."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_thread = threading.local()


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Let every query inside fail with OperationalError once so many seconds have gone by in all.

    It holds on PostgreSQL. SQLite has no server that could fall silent; what it waits for is a lock, and that wait is its
    own setting (`busy_timeout`).
    """
    outer = getattr(_thread, "until", None)
    _thread.until = time.monotonic() + seconds
    try:
        yield
    finally:
        _thread.until = outer


def left() -> float | None:
    """Return the seconds that are left, 0 when none are, None where nobody set a deadline."""
    until: float | None = getattr(_thread, "until", None)
    return None if until is None else max(0.0, until - time.monotonic())
