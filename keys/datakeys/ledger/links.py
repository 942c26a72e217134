"""The ways of a row into the database: asyncpg for PostgreSQL, a thread for SQLite."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlencode

import asyncpg
import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.db import DataError, IntegrityError, connection, transaction

COMMIT = 0.4  # seconds that one commit may take, and connecting
# commits under way: rows are gathered while the one before waits for the disk; SQLite has one writer
CONCURRENCY = {
    "postgresql": 2,
    "sqlite": 1,
}
INTO = "INSERT INTO keys_keyuse (tenant_id, operation, count, caller, context_digest, request_id, at, load) VALUES "
ROW = "(%s, %s, %s, %s, %s, %s, %s, %s)"


class Use(NamedTuple):
    """A row of `KeyUse`."""

    tenant: uuid.UUID
    operation: str
    keys: int  # the column `count`, which is a method of tuples
    caller: str
    context_digest: str
    request_id: str
    at: datetime
    load: uuid.UUID | None = None


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
    return Asyncpg if connection.vendor == "postgresql" else Sqlite


def require_settings() -> None:
    """Raise when the settings of the database have an option that a link to it cannot have; asked once, at the start.

    Raises:
        ImproperlyConfigured: which one.
    """
    if connection.vendor == "postgresql":
        _parameters()


def insert(uses: Sequence[Use]) -> None:
    """Write the rows over this thread's own connection, all or none."""
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.executemany(INTO + ROW, [_adapted(use) for use in uses])


@contextlib.contextmanager
def brief_waits() -> Iterator[None]:
    """Let SQLite wait no longer for its lock than a commit may take; PostgreSQL has `byokportal.deadline` for that."""
    if connection.vendor != "sqlite":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout")
        (before,) = cursor.fetchone()
        cursor.execute(f"PRAGMA busy_timeout = {int(COMMIT * 1000)}")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {before}")


def _adapted(use: Use) -> tuple[Any, ...]:
    tenant, load = use.tenant, use.load
    at = connection.ops.adapt_datetimefield_value(use.at)
    if connection.features.has_native_uuid_field:
        return (tenant, *use[1:6], at, load)
    return (tenant.hex, *use[1:6], at, load.hex if load else None)


class Sqlite:
    """SQLite: a thread that writes, since its calls block."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")

    async def write(self, uses: Sequence[Use]) -> Collection[uuid.UUID]:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._write, uses)
        return ()  # SQLite locks no rows

    async def close(self) -> None:
        # at the end of the process its thread is gone, and the connection with it
        with contextlib.suppress(RuntimeError):
            await asyncio.get_running_loop().run_in_executor(self._thread, lambda: connection.close())
        self._thread.shutdown(wait=False)

    def _write(self, uses: Sequence[Use]) -> None:
        try:
            with brief_waits():
                insert(uses)
        except (IntegrityError, DataError) as error:
            raise Refused from error


class Asyncpg:
    """PostgreSQL: a connection of asyncpg's, whose protocol runs on the event loop.

    One statement takes any number of rows, as arrays, so that it is prepared once. A commit that takes too long is
    given up, and its connection with it: nothing waits for a server that has fallen silent.
    """

    def __init__(self) -> None:
        self._connection: asyncpg.Connection | None = None

    async def write(self, uses: Sequence[Use]) -> Collection[uuid.UUID]:
        if "\0" in "".join(text for use in uses for text in use[3:6]):
            raise Refused("NUL in a value")
        try:
            async with asyncio.timeout(COMMIT):
                if self._connection is None or self._connection.is_closed():
                    self._connection = await asyncpg.connect(**_parameters())
                found = await self._connection.fetch(STATEMENT, *zip(*uses, strict=True))
        except asyncpg.CheckViolationError as error:
            if error.constraint_name is not None:
                raise Refused from error
            # No partition takes the row (byokportal.postgresql.partitions): nothing is wrong with it.
            raise psycopg.OperationalError(str(error)) from error
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, UnicodeEncodeError) as error:
            raise Refused from error
        except asyncpg.PostgresError as error:
            raise _as_of_psycopg(error.sqlstate)(str(error)) from error
        except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            # The second: a session that the server ended at the wrong moment (asyncpg's issues 784 and 1069).
            raise psycopg.InterfaceError(str(error)) from error
        except RuntimeError as error:
            if self._connection is not None and not self._connection.is_closed():
                raise
            # uvloop's, of a socket that was closed before asyncpg was told.
            raise psycopg.InterfaceError(str(error)) from error
        return {use.tenant for use in uses} - {row[0] for row in found}

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


def _as_of_psycopg(sqlstate: str | None) -> type[psycopg.Error]:
    """Return the exception that psycopg would raise; `byokportal.database` tells by it whether the database is usable.

    A state that PostgreSQL does not have is of something between us and it (a pooler, an extension, a cloud's server).
    """
    try:
        return psycopg.errors.lookup(sqlstate or "")
    except KeyError:
        return psycopg.OperationalError


def _parameters() -> dict[str, Any]:
    """Return what asyncpg takes of the settings of Django's connection; its time-outs are ours.

    Raises:
        ImproperlyConfigured: an option of libpq that it cannot have, by name.
    """
    given = connection.get_connection_params()
    options = {name: given.pop(name, None) for name in ("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl")}
    query = urlencode({name: value for name, value in options.items() if value})
    server = {"statement_timeout": str(int(COMMIT * 1000)), "lock_timeout": str(int(COMMIT * 1000))}
    for name in ("options", "application_name", "search_path"):
        if given.get(name):
            server[name] = str(given.pop(name))
    unknown = given.keys() - TAKEN
    if unknown:
        raise ImproperlyConfigured(f"DATABASE_URL has options that the ledger does not know: {sorted(unknown)}.")
    return {
        "dsn": f"postgresql://?{query}",
        "host": given.get("host") or None,
        "port": int(given["port"]) if given.get("port") else None,
        "user": given.get("user") or None,
        "password": given.get("password") or None,
        "database": given.get("dbname") or None,
        "server_settings": server,
        "timeout": COMMIT,
    }


# Of Django's parameters: what is passed on, and what is about Django's own use of a connection.
TAKEN = {
    "host",
    "port",
    "user",
    "password",
    "dbname",
    "connect_timeout",
    "client_encoding",
    "cursor_factory",
    "context",
    "prepare_threshold",
    "server_side_binding",
    "options",
    "application_name",
    "search_path",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
}
# The check of the foreign key waits while somebody holds a tenant's row for an update of its key or for a deletion, and
# with it would everybody whose row is in the same INSERT. So the rows of tenants that cannot be locked are left out.
STATEMENT = """
WITH uses (tenant_id, operation, count, caller, context_digest, request_id, at, load) AS (
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::int[], $4::text[], $5::text[], $6::text[], $7::timestamptz[],
                              $8::uuid[])),
     free AS (SELECT id FROM tenants_tenant WHERE id IN (SELECT tenant_id FROM uses) FOR KEY SHARE SKIP LOCKED),
     written AS (INSERT INTO keys_keyuse (tenant_id, operation, count, caller, context_digest, request_id, at, load)
                 SELECT uses.* FROM uses JOIN free ON free.id = uses.tenant_id)
SELECT id FROM free
"""
