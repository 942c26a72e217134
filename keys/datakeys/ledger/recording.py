"""Record a use of a tenant's key: on the server's event loop, where many share a commit, or from a thread."""

from __future__ import annotations

import asyncio
import hashlib
import os
import uuid
import weakref
from collections.abc import Mapping, Sequence

from django.db import connection
from django.utils.asyncio import async_unsafe

from byokportal import clock, database, deadline
from keys.datakeys.ledger import links
from keys.datakeys.ledger.links import Use
from keys.datakeys.ledger.writer import Writer
from tenants import audit

# Seconds that a request waits for its row, less what it has waited for the database before: 503 within 500 ms.
WAIT = 0.42


def use(
    tenant: uuid.UUID,
    operation: str,
    contexts: Sequence[Mapping[str, str]],
    *,
    caller: str,
    request_id: str,
    load: uuid.UUID | None = None,
) -> Use:
    """Return the row of one request that made, opened or moved a data key for each context.

    Args:
        load: see `keys.models.KeyUse`.
    """
    digest = hashlib.sha256(audit.canonical(list(contexts)).encode()).hexdigest()
    return Use(tenant, operation, len(contexts), caller[:200], digest, request_id[:64], clock.recent(), load)


@async_unsafe
def record(row: Use) -> None:
    """Commit a row over this thread's own connection; return only once it is committed.

    Raises:
        DatabaseUnavailable: it was not, or not in time; no plaintext may leave.
        RuntimeError: the caller is inside a transaction, which could still be rolled back.
        SynchronousOnlyOperation: the caller is on an event loop.
    """
    with database.needed(), deadline.at_most(WAIT), links.brief_waits():
        links.insert([row])


async def commit(row: Use, seconds: float = WAIT) -> None:
    """Commit a row from an event loop; rows of requests of the same moment share a commit.

    Raises:
        DatabaseUnavailable: it was not, or not within so many seconds; no plaintext may leave.
    """
    loop = asyncio.get_running_loop()
    writer = _writers.get(loop)
    if writer is None:
        writer = _writers[loop] = Writer(links.opener(), concurrency=links.CONCURRENCY[connection.vendor])
    await writer.commit(row, seconds)


async def close() -> None:
    """Commit what is waiting and close the connections of the loop that this runs on."""
    writer = _writers.pop(asyncio.get_running_loop(), None)
    if writer is not None:
        await writer.close()


def _start_anew() -> None:
    """Leave the parent's writers alone in a forked process: the rows are the parent's, and so are the sockets.

    They are kept, because a collected connection would take its socket out of the event loop that both processes share.
    """
    global _writers, _of_the_parent
    _of_the_parent, _writers = _writers, weakref.WeakKeyDictionary()


_of_the_parent: object = None
_writers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Writer] = weakref.WeakKeyDictionary()
os.register_at_fork(after_in_child=_start_anew)
