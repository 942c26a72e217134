"""Interactive calls before bulk: on the event loop, bulk has its turn, and then pauses for those who wait for one key.

Bulk calls run one after another. As long as anybody waits for a single key, bulk pauses after each call for four times
as long as the call took, so that it has a fifth of the loop and holds up a single key by one bulk call at most. A
quarter as many as there are threads may wait; what comes on top is told to come again (429).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator

from byokportal import clock
from byokportal.errors import RateLimited

# Items that still count as interactive.
FEW = 10
# Times as long as it took does bulk pause after a call.
PAUSE = 4


def is_bulk(items: int, *, of_bulk: bool = False) -> bool:
    """Tell whether a call is bulk: it has many items, or nobody waits for such a call."""
    return of_bulk or items > FEW


class BulkQueue:
    """The bulk calls that wait on one event loop, one of which runs at a time.

    Args:
        waiting: how many may wait.
        monotonic: seconds.
    """

    def __init__(self, waiting: int, *, monotonic: Callable[[], float] = clock.monotonic) -> None:
        self._waiting, self._monotonic = waiting, monotonic
        # It belongs to the loop that asks first.
        self._lock = asyncio.Lock()
        # Interactive calls under way.
        self._interactive = 0
        # When the last bulk call ended, and how long bulk pauses from then on.
        self._ended, self._pause = 0.0, 0.0

    @contextlib.contextmanager
    def interactive(self) -> Iterator[None]:
        """Count a call as one that somebody waits for, as long as the block lasts."""
        self._interactive += 1
        try:
            yield
        finally:
            self._interactive -= 1

    @contextlib.asynccontextmanager
    async def head(self) -> AsyncIterator[None]:
        """Wait for the head of the queue, and keep it as long as the block; nothing may be awaited in it.

        Raises:
            RateLimited: too many wait.
        """
        if self._waiting <= 0:
            raise RateLimited(retry_after=1)
        self._waiting -= 1
        try:
            await self._lock.acquire()
        finally:
            self._waiting += 1
        try:
            # Everybody who is ready goes first.
            await asyncio.sleep(0)
            while self._interactive and (left := self._ended + self._pause - self._monotonic()) > 0:
                await asyncio.sleep(left)
            began = self._monotonic()
            yield
            self._ended = self._monotonic()
            self._pause = (self._ended - began) * PAUSE
        finally:
            self._lock.release()
