"""An event loop in a thread of its own, as the server has one."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from keys.datakeys import ledger


@contextlib.contextmanager
def running() -> Iterator[asyncio.AbstractEventLoop]:
    """Run a loop for as long as the block lasts; its ledger's connections are closed with it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        asyncio.run_coroutine_threadsafe(ledger.close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
