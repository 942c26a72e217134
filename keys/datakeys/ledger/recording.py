"""Record a use of a tenant's key: from a thread, which waits, or on the server's event loop,
which answers others meanwhile."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import hashlib
import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from django.db import connection, transaction
from django.utils.asyncio import async_unsafe

from byokportal import clock, database, deadline
from byokportal.errors import DatabaseUnavailable
from keys.datakeys.ledger import links
from keys.datakeys.ledger.links import Use
from keys.datakeys.ledger.writer import Writer
from tenants import audit
from tenants.models import Tenant

Made = TypeVar("Made")

# seconds that a request waits for its row, less what it has waited for the database before: 503 within 500 ms
WAIT = 0.42
GRACE = 0.03  # seconds beyond that in which the loop may say so itself

_noted = threading.local()


def record(
    tenant: Tenant, operation: str, contexts: Sequence[Mapping[str, str]], *, caller: str, request_id: str
) -> None:
    """Commit the row of one request; return only once it is committed. Within `committed` note it: that waits.

    Raises:
        DatabaseUnavailable: it was not, or not in time; no plaintext may leave.
        RuntimeError: the caller is inside a transaction, which could still be rolled back.
        SynchronousOnlyOperation: the caller is on an event loop and not within `committed`.
    """
    digest = hashlib.sha256(audit.canonical(list(contexts)).encode()).hexdigest()
    use = Use(tenant.pk, operation, len(contexts), caller[:200], digest, request_id[:64], clock.recent())
    uses: list[Use] | None = getattr(_noted, "uses", None)
    if uses is not None:
        uses.append(use)
    elif connection.in_atomic_block:
        _record_here(use)
    else:
        _wait_for(use)


async def committed(make: Callable[[], Made]) -> Made:
    """Call `make` on the event loop, and return what it returned once the rows that it recorded are committed.

    Raises:
        DatabaseUnavailable: they were not, or not in time; what was made must not leave, and is not returned.
    """
    uses: list[Use] = []
    _noted.uses = uses
    try:
        made = make()
    finally:
        _noted.uses = None
    for use in uses:
        await _writer().commit(use, WAIT)
    return made


def stop() -> None:
    """Commit what is waiting and close the connections of the loop that threads wait for;
    the next row starts another."""
    _ours.stop()


async def close() -> None:
    """Close the connections of the loop that this runs on."""
    writer = _writers.pop(asyncio.get_running_loop(), None)
    if writer is not None:
        await writer.close()


def _record_here(use: Use) -> None:
    """Write the row within the transaction that wraps a test: `durable` refuses every other one."""
    with database.needed(), transaction.atomic(durable=True):
        links.insert([use])


@async_unsafe
def _wait_for(use: Use) -> None:
    """Wait in this thread until the row is committed."""
    with deadline.waiting() as left:  # waiting for the writer is waiting for the database
        seconds = WAIT if left is None else min(WAIT, left)
        outcome = asyncio.run_coroutine_threadsafe(_commit(use, seconds), _ours.loop())
        try:
            outcome.result(seconds + GRACE)
        except concurrent.futures.TimeoutError as error:
            outcome.cancel()
            raise DatabaseUnavailable(retry_after=2) from error


async def _commit(use: Use, seconds: float) -> None:
    await _writer().commit(use, seconds)


# --- the writer of each loop ------------------------------------------------------------------------------------

_writers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Writer] = weakref.WeakKeyDictionary()


def _writer() -> Writer:
    loop = asyncio.get_running_loop()
    writer = _writers.get(loop)
    if writer is None:
        writer = _writers[loop] = Writer(links.opener(), at_once=links.AT_ONCE[connection.vendor])
    return writer


class _Ours:
    """An event loop in a thread of its own, for those who record from threads; started by the first row."""

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def loop(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="ledger")
                self._thread.start()
            return self._loop

    def stop(self) -> None:
        with self._starting:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        closing = asyncio.run_coroutine_threadsafe(close(), loop)
        try:
            closing.result(2 * WAIT)
        except concurrent.futures.TimeoutError:
            closing.cancel()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(WAIT)
        if not thread.is_alive():
            loop.close()


def _start_anew() -> None:
    """Give a forked process a loop of its own:
    the parent's thread does not exist there, and its rows are the parent's."""
    global _ours, _writers
    _ours, _writers = _Ours(), weakref.WeakKeyDictionary()
    _noted.uses = None


_ours = _Ours()
os.register_at_fork(after_in_child=_start_anew)
atexit.register(stop)
