"""Interactive calls before bulk: a request with many items, and every rewrap,
waits for its turn behind those who wait for one key.

On the event loop (`keys.datakeys.http.event_loop`) one bulk request after another gets a turn, and before each turn
everybody who is ready goes first, a few times over; so bulk holds up a single key by one bulk request at most, and
seldom. In threads one of 32 may work on bulk. In both a quarter as many as there are threads may wait; what comes on
top is told to come again (429).
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from django.conf import settings

from byokportal.errors import RateLimited

Made = TypeVar("Made")
FEW = 10  # items that still count as interactive
WAIT = 1.0  # seconds that a thread waits
ROUNDS = 8  # of the event loop between two bulk requests; with one, bulk doubled the time of those who ask for one key


class NotItsTurn(Exception):
    """A bulk request on the event loop has to wait for its turn, and be begun again in it."""


class Lane:
    """The bulk lane of the threads of one process.

    Args:
        threads: how many the process answers with.
    """

    def __init__(self, threads: int) -> None:
        self._working, self._waiting = (
            threading.Semaphore(max(1, threads // 32)),
            threading.Semaphore(max(3, threads // 4)),
        )

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


class Turns:
    """The turns of bulk requests on one event loop.

    Args:
        waiting: how many may wait for theirs.
    """

    def __init__(self, waiting: int) -> None:
        self._waiting = waiting
        self._lock: asyncio.Lock | None = None  # belongs to the loop that asks first

    async def take(self, work: Callable[[], Made]) -> Callable[[], Made]:
        """Wait for a turn, and return the work as it is to be done now: before anything else is awaited.
        The turn ends with it.

        Raises:
            RateLimited: too many wait.
        """
        if self._lock is None:
            self._lock = asyncio.Lock()
        lock = self._lock
        if self._waiting <= 0:
            raise RateLimited(retry_after=1)
        self._waiting -= 1
        try:
            await lock.acquire()
        finally:
            self._waiting += 1
        try:
            for _ in range(ROUNDS):
                await asyncio.sleep(0)  # everybody who is ready goes first; where nobody is, a round takes no time
        except BaseException:
            lock.release()
            raise

        def in_turn() -> Made:
            _here.has_turn = True
            try:
                return work()
            finally:
                _here.has_turn = False
                lock.release()

        return in_turn


_here = threading.local()
_lane = Lane(settings.WEB_THREADS)
turns = Turns(max(3, settings.WEB_THREADS // 4))


def lane(items: int, *, is_bulk: bool = False) -> contextlib.AbstractContextManager[None]:
    """Return the lane for so many items: the bulk lane, or none at all.

    Raises:
        NotItsTurn: the caller is on an event loop, and not within `Turns.take`.
    """
    if not is_bulk and items <= FEW:
        return contextlib.nullcontext()
    if getattr(_here, "has_turn", False):
        return contextlib.nullcontext()
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _lane.bulk()
    raise NotItsTurn
