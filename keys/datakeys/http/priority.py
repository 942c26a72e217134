"""Interactive calls before bulk: on the event loop, a bulk call waits behind those who wait for one key.

Bulk calls run one after another, and before each of them everybody who is ready goes first, a few times over. So
bulk holds up a single key by one bulk call at most, and seldom. A quarter as many as there are threads may wait; what
comes on top is told to come again (429).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from byokportal.errors import RateLimited

# Items that still count as interactive.
FEW = 10
# Of the event loop between two bulk calls; with one, bulk doubled the time of those who ask for one key.
ROUNDS = 8


def is_bulk(items: int, *, of_bulk: bool = False) -> bool:
    """Tell whether a call is bulk: it has many items, or nobody waits for such a call."""
    return of_bulk or items > FEW


class BulkQueue:
    """The bulk calls that wait on one event loop, one of which runs at a time.

    Args:
        waiting: how many may wait.
    """

    def __init__(self, waiting: int) -> None:
        self._waiting = waiting
        # It belongs to the loop that asks first.
        self._lock = asyncio.Lock()

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
            # Everybody who is ready goes first; where nobody is, a round takes no time.
            for _ in range(ROUNDS):
                await asyncio.sleep(0)
            yield
        finally:
            self._lock.release()
