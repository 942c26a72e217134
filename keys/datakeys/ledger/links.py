"""The ways of a row into the database: libpq without a thread for PostgreSQL, one thread for SQLite."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple, Protocol

import psycopg
from django.db import DataError, IntegrityError, connection, transaction
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn

from byokportal import deadline

COMMIT = 0.4  # seconds that one commit may take, and connecting
# commits under way: rows are gathered while the one before waits for the disk; SQLite has one writer
AT_ONCE = {
    "postgresql": 2,
    "sqlite": 1,
}
INTO = "INSERT INTO keys_keyuse (tenant_id, operation, count, caller, context_digest, request_id, at) VALUES "
ROW = "(%s, %s, %s, %s, %s, %s, %s)"
REFUSED = ("22", "23")  # SQLSTATE classes "data exception" and "integrity constraint violation"


class Use(NamedTuple):
    """A row of `KeyUse`."""

    tenant: uuid.UUID
    operation: str
    keys: int  # the column `count`, which is a method of tuples
    caller: str
    context_digest: str
    request_id: str
    at: datetime


class Refused(Exception):
    """The database refuses the rows themselves: nothing was written, and it takes others."""


class Link(Protocol):
    """A way into the database for one commit at a time."""

    async def write(self, uses: Sequence[Use]) -> Collection[uuid.UUID]:
        """Commit the rows, all or none, but for those of tenants whose own row somebody holds locked.

        Returns:
            Those tenants: of theirs nothing was written, and it is for the caller to come again.

        Raises:
            Refused: one of them is not one that the database takes.
            Exception: anything else; whether they are there is not known, and the link is to be closed.
        """

    async def close(self) -> None: ...


def opener() -> Callable[[], Link]:
    """Return what makes a link to the database of the settings."""
    return Libpq if connection.vendor == "postgresql" else Sqlite


def insert(uses: Sequence[Use]) -> None:
    """Write the rows over this thread's own connection, all or none."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.executemany(INTO + ROW, [_adapted(use) for use in uses])


def _adapted(use: Use) -> tuple[Any, ...]:
    tenant = use.tenant if connection.features.has_native_uuid_field else use.tenant.hex
    return (tenant, *use[1:6], connection.ops.adapt_datetimefield_value(use.at))


class Sqlite:
    """SQLite: a thread that writes, since its calls block."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._is_set_up = False

    async def write(self, uses: Sequence[Use]) -> Collection[uuid.UUID]:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._write, uses)
        return ()  # SQLite locks no rows

    async def close(self) -> None:
        # at the end of the process its thread is gone, and the connection with it
        with contextlib.suppress(RuntimeError):
            await asyncio.get_running_loop().run_in_executor(self._thread, lambda: connection.close())
        self._thread.shutdown(wait=False)

    def _write(self, uses: Sequence[Use]) -> None:
        if not self._is_set_up:
            with connection.cursor() as cursor:
                cursor.execute(f"PRAGMA busy_timeout = {int(COMMIT * 1000)}")
            self._is_set_up = True
        try:
            insert(uses)
        except (IntegrityError, DataError) as error:
            raise Refused from error


class Libpq:
    """PostgreSQL: a connection of psycopg's whose socket the event loop watches.

    Past psycopg's cursors and Django's, which take longer over the values than the row is worth; and past
    psycopg's asynchronous connection, which waits for a cancelled statement to end: a server that has fallen silent
    ends none. What is called here is `psycopg.pq`, the functions of libpq by their names (PostgreSQL, "Asynchronous
    Command Processing").
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._connection: psycopg.Connection[Any] | None = None
        self._descriptor = -1
        self._prepared: set[int] = set()  # numbers of rows
        self._results: list[Any] = []  # of the command under way
        self._answer: asyncio.Future[None] | None = None

    async def write(self, uses: Sequence[Use]) -> Collection[uuid.UUID]:
        values = [value for use in uses for value in _encoded(use)]
        async with asyncio.timeout(COMMIT):
            pgconn = self._connection.pgconn if self._connection else await self._connect()
            name = b"uses-%d" % len(uses)
            if len(uses) not in self._prepared:
                await self._exchange(lambda: pgconn.send_prepare(name, _statement(len(uses))))
                self._prepared.add(len(uses))
            await self._exchange(lambda: pgconn.send_query_prepared(name, values))
        found = self._results[-1]
        free = {uuid.UUID((found.get_value(row, 0) or b"").decode()) for row in range(found.ntuples)}
        return {use.tenant for use in uses} - free

    async def close(self) -> None:
        self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._loop.remove_reader(self._descriptor)
            self._loop.remove_writer(self._descriptor)
            self._connection.pgconn.finish()
            self._connection = None
            self._prepared.clear()

    async def _connect(self) -> PGconn:
        """Connect as Django does, in a thread: looking a name up blocks, and so does its set-up."""
        made = await self._loop.run_in_executor(None, _connected)
        made.pgconn.nonblocking = 1
        self._connection, self._descriptor = made, made.pgconn.socket
        self._loop.add_reader(self._descriptor, self._read)
        return made.pgconn

    async def _exchange(self, send: Callable[[], None]) -> None:
        """Send one command and wait for its answer.

        Raises:
            Refused, psycopg.Error, TimeoutError: it was not a good one, or none.
        """
        self._results, self._answer = [], self._loop.create_future()
        send()
        self._flush()
        await self._answer
        for result in self._results:
            if result.status not in {ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK}:
                error = error_from_result(result)
                if (error.sqlstate or "").startswith(REFUSED):
                    raise Refused from error
                raise error

    def _flush(self) -> None:
        """Send the command; what the socket does not take now, as soon as it does."""
        assert self._connection is not None
        try:
            is_left = self._connection.pgconn.flush()
        except psycopg.Error as error:
            self._close()
            self._end(error)
            return
        if is_left:
            self._loop.add_writer(self._descriptor, self._flush)
        else:
            self._loop.remove_writer(self._descriptor)

    def _read(self) -> None:
        """Take what the server sent; the end of an answer wakes who waits for it."""
        assert self._connection is not None
        pgconn = self._connection.pgconn
        try:
            pgconn.consume_input()
            while not pgconn.is_busy():  # asked before each result: to get one that is not there yet would block
                result = pgconn.get_result()
                if result is None:
                    self._end(None)
                    return
                self._results.append(result)
        except psycopg.Error as error:  # the other side has closed; the next commit connects anew
            self._close()
            self._end(error)

    def _end(self, error: Exception | None) -> None:
        if self._answer is None or self._answer.done():
            return
        if error is None:
            self._answer.set_result(None)
        else:
            self._answer.set_exception(error)


def _connected() -> psycopg.Connection[Any]:
    """Return a new connection with its time-outs, made by Django from the settings."""
    wrapper = connection.copy()
    with deadline.at_most(COMMIT):
        wrapper.connect()
        with wrapper.cursor() as cursor:
            for name in ("statement_timeout", "lock_timeout"):
                cursor.execute(f"SET {name} = {int(COMMIT * 1000)}")
    made: psycopg.Connection[Any] = wrapper.connection
    return made


# The check of the foreign key waits while somebody holds a tenant's row for an update of its key or for a deletion,
# and with it would everybody whose row is in the same INSERT. So the rows of tenants that cannot be locked
# now are left out.
STATEMENT = """
WITH uses (tenant_id, operation, count, caller, context_digest, request_id, at) AS (VALUES {rows}),
     free AS (SELECT id FROM tenants_tenant WHERE id IN (SELECT tenant_id FROM uses) FOR KEY SHARE SKIP LOCKED),
     written AS ({into} SELECT uses.* FROM uses JOIN free ON free.id = uses.tenant_id)
SELECT id FROM free
"""
# of the columns, said once, in the first row
TYPES = (
    "uuid",
    "text",
    "integer",
    "text",
    "text",
    "text",
    "timestamptz",
)


@cache
def _statement(rows: int) -> bytes:
    width = len(TYPES)
    first = ", ".join(f"${column}::{kind}" for column, kind in enumerate(TYPES, start=1))
    others = (", ".join(f"${row * width + column}" for column in range(1, width + 1)) for row in range(1, rows))
    places = ", ".join(f"({one})" for one in (first, *others))
    return STATEMENT.format(rows=places, into=INTO.removesuffix("VALUES ")).encode()


def _encoded(use: Use) -> list[bytes]:
    """Return the values as PostgreSQL reads them; libpq would end a text at its first NUL."""
    texts = (str(use.tenant), use.operation, str(use.keys), *use[3:6], use.at.isoformat())
    if "\0" in "".join(texts):
        raise Refused("NUL in a value")
    try:
        return [text.encode() for text in texts]
    except UnicodeEncodeError as error:
        raise Refused from error
