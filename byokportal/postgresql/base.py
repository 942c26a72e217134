"""Django's PostgreSQL backend over a connection that keeps the budget of `byokportal.deadline`.

A `statement_timeout` is kept by the server: one that is frozen, or gone behind a silent network, keeps
none, and the thread that asked it would wait until TCP gives up. A request for a data key has to be answered within
half a second all the same.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
from django.db.backends.postgresql import base
from django.db.backends.postgresql.psycopg_any import IsolationLevel

from byokportal import deadline

# Seconds that a statement waits for a lock that another transaction holds; then it fails, and the request is a 503. A
# transaction that hangs (a frozen process, somebody's open psql) would otherwise take one thread of the web after
# another, for every tenant.
LOCK = 5


@contextlib.contextmanager
def patient(connection: Any) -> Iterator[None]:
    """Let statements wait for locks as long as it takes: for those whose waiting holds up nobody, outside of a
    transaction. CREATE INDEX CONCURRENTLY waits for every transaction that is older, and `LOCK` would end it."""
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = 0")
    try:
        yield
    finally:
        connection.init_connection_state()


class Connection(psycopg.Connection[Any]):
    """A connection whose waits end with the budget; it is closed then, because an answer may still be on its way."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        with deadline.waiting() as left:
            if left is None:
                return super().wait(gen, interval, timeout)
            began = time.monotonic()
            try:
                return super().wait(gen, interval, left)
            except psycopg.OperationalError:
                if time.monotonic() - began >= left:
                    self.pgconn.finish()
                raise


class DatabaseWrapper(base.DatabaseWrapper):
    """Opens such connections. We use neither Django's pool nor another isolation level,
    so that is all there is to it."""

    def init_connection_state(self) -> None:
        super().init_connection_state()
        with self.connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = '{LOCK}s'")

    def get_new_connection(self, conn_params: dict[str, Any]) -> Connection:
        self.isolation_level = IsolationLevel.READ_COMMITTED
        with deadline.waiting() as left:
            return Connection.connect(**conn_params) if left is None else _connect_within(left, conn_params)


def _connect_within(seconds: float, conn_params: dict[str, Any]) -> Connection:
    """Connect in a thread of its own: libpq's shortest time-out is two seconds.

    Raises:
        psycopg.OperationalError: the server did not answer in time; a connection that comes later is closed.
    """
    outcome: list[Connection | psycopg.Error] = []
    lock, gave_up = threading.Lock(), threading.Event()

    def connect() -> None:
        try:
            made: Connection | psycopg.Error = Connection.connect(**conn_params)
        except psycopg.Error as error:
            made = error
        with lock:
            outcome.append(made)
            if gave_up.is_set() and isinstance(made, Connection):
                with contextlib.suppress(psycopg.Error):
                    made.close()

    thread = threading.Thread(target=connect, daemon=True, name="connect")
    thread.start()
    thread.join(seconds)
    with lock:
        gave_up.set()
        if not outcome:
            raise psycopg.OperationalError("the server did not take the connection in time")
    if isinstance(outcome[0], psycopg.Error):
        raise outcome[0]
    return outcome[0]
