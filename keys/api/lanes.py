"""Interactive calls before bulk: what works for long takes a part of the threads of a process, never all of them.

A request with many items, and every rewrap, is bulk. A sixteenth of the threads may work on bulk and three sixteenths may wait for
a moment to do so; what comes on top is told to come again (429). So most of the threads are always there for somebody else, and
few compete with the event loop for the processor: in Python one thread runs at a time.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from django.conf import settings
from django.utils.asyncio import async_unsafe

from byokportal.errors import RateLimited

FEW = 10  # items that still count as interactive
WAIT = 1.0  # seconds


class Lane:
    """The bulk lane of one process.

    Args:
        threads: how many the process answers with.
    """

    def __init__(self, threads: int) -> None:
        working = max(1, threads // 16)
        self._working, self._waiting = threading.Semaphore(working), threading.Semaphore(3 * working)

    @contextlib.contextmanager
    def bulk(self) -> Iterator[None]:
        """Do bulk work inside.

        Raises:
            RateLimited: the lane is full.
        """
        if not self._working.acquire(blocking=False):
            if not self._waiting.acquire(blocking=False):
                raise RateLimited(retry_after=1)
            try:
                if not self._working.acquire(timeout=WAIT):
                    raise RateLimited(retry_after=1)
            finally:
                self._waiting.release()
        try:
            yield
        finally:
            self._working.release()


_lane = Lane(settings.WEB_THREADS)


def lane(items: int, *, is_bulk: bool = False) -> contextlib.AbstractContextManager[None]:
    """Return the lane for so many items: the bulk lane, or none at all.

    Raises:
        SynchronousOnlyOperation: the caller is on an event loop, where no bulk work is done.
    """
    return _bulk() if is_bulk or items > FEW else contextlib.nullcontext()


@async_unsafe
def _bulk() -> contextlib.AbstractContextManager[None]:
    return _lane.bulk()
