"""No key without a row: commits the `KeyUse` row of a request before its answer leaves (design.md 8).

One INSERT and commit for each request would cost more than all the rest of it, because the disk is waited for each time. So
the rows of concurrent requests of a process share a commit: a writer thread with its own connection takes all rows that wait,
commits them in one statement, and each request waits for its own row. There are two writers, so that rows are gathered by the
one while the other waits for the disk. Alone, a request waits for one commit, as it would without this module.

What a caller is told is always safe: an answer means a committed row. A failure may leave a row without an answer (the commit
came through, the news of it did not), never an answer without a row. A statement is never sent twice unless the database has
refused the first, so no row is doubled.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime

import psycopg
import structlog
from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, connection, transaction
from django.utils import timezone

from byokportal import patience
from byokportal.errors import DatabaseUnavailable
from tenants import audit
from tenants.models import Tenant

log = structlog.get_logger(__name__)

WAIT = (
    0.45  # seconds that a request waits for its row, less what it has waited for the database before: 503 within 500 ms
)
COMMIT = 0.4  # seconds that the writer waits for the database for one commit, connecting included
IDLE = 1.0  # seconds after which the writer asks its connection whether it still stands before it trusts it
AT_MOST = 64  # rows in one statement; each number of rows is a statement of its own, which PostgreSQL prepares once
WRITERS = 2

Values = tuple[uuid.UUID, str, int, str, str, str, datetime]
INTO = "INSERT INTO keys_keyuse (tenant_id, operation, count, caller, context_digest, request_id, at) VALUES "
ROW = "(%s, %s, %s, %s, %s, %s, %s)"


def record(
    tenant: Tenant, operation: str, contexts: Sequence[Mapping[str, str]], *, caller: str, request_id: str
) -> None:
    """Commit the row of one request; return only once it is committed.

    Raises:
        DatabaseUnavailable: it was not, or not in time; no plaintext may leave.
        RuntimeError: the caller is inside a transaction, which could still be rolled back.
    """
    digest = hashlib.sha256(audit.canonical(list(contexts)).encode()).hexdigest()
    values = (tenant.pk, operation, len(contexts), caller[:200], digest, request_id[:64], timezone.now())
    if connection.in_atomic_block:
        _record_here(values)
    else:
        _writers.commit(values)


def stop() -> None:
    """Commit what is waiting and end the writers; the next row starts others."""
    _writers.stop()


def _record_here(values: Values) -> None:
    """Write the row within the transaction that wraps a test: `durable` refuses every other one."""
    try:
        with transaction.atomic(durable=True):
            _insert([values])
    except DatabaseError as error:
        raise DatabaseUnavailable(retry_after=2) from error


def _insert(rows: Sequence[Values]) -> None:
    """Write the rows in one statement or transaction, so that all of them are there or none."""
    if connection.vendor == "postgresql":
        connection.ensure_connection()
        # Past Django's cursor, which writes the values into the text: PostgreSQL would have to read it anew each time.
        with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
            cursor.execute(INTO + ", ".join([ROW] * len(rows)), [value for row in rows for value in row], prepare=True)
    else:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.executemany(
                INTO + ROW,
                [(row[0].hex, *row[1:6], connection.ops.adapt_datetimefield_value(row[6])) for row in rows],
            )


class _Row:
    """A row on its way, and the request that waits for it."""

    __slots__ = ("_done", "failure", "until", "values")

    def __init__(self, values: Values, seconds: float) -> None:
        self.values = values
        self.until = time.monotonic() + seconds
        self.failure: Exception | None = None
        self._done = threading.Lock()  # held until the outcome is known; a third of the price of an Event
        self._done.acquire()

    def finish(self, failure: Exception | None) -> None:
        self.failure = failure
        self._done.release()

    def outcome(self) -> bool:
        """Wait for the outcome; False when none came in time."""
        return self._done.acquire(timeout=max(0.0, self.until - time.monotonic()))


class _Writers:
    """The threads that commit rows, started by the first row and once in each process."""

    def __init__(self) -> None:
        self._waiting: deque[_Row] = deque()
        self._news = threading.Condition()
        self._threads: list[threading.Thread] = []

    def commit(self, values: Values) -> None:
        with patience.waiting() as left:  # waiting for a writer is waiting for the database
            row = _Row(values, WAIT if left is None else min(WAIT, left))
            with self._news:
                self._waiting.append(row)
                if not self._threads:
                    self._start()
                self._news.notify()
            is_done = row.outcome()
        if not is_done:
            raise DatabaseUnavailable(retry_after=2)
        if row.failure is not None:
            raise DatabaseUnavailable(retry_after=2) from row.failure

    def stop(self) -> None:
        with self._news:
            threads, self._threads = self._threads, []
            self._news.notify_all()
        for thread in threads:
            thread.join(2 * WAIT)

    def _start(self) -> None:
        self._threads = [threading.Thread(target=self._run, daemon=True, name="ledger") for _ in range(WRITERS)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        used, session = 0.0, None
        while rows := self._take():
            rows = [row for row in rows if row.until > time.monotonic()]  # nobody waits for the others any more
            if not rows:
                continue
            with patience.at_most(COMMIT):
                session = _prepare(session, idle=time.monotonic() - used > IDLE)
                self._write(rows)
            used = time.monotonic()
        connection.close()

    def _take(self) -> list[_Row]:
        """Return the rows that wait, oldest first; none when the writer is to end."""
        with self._news:
            while not self._waiting:
                if threading.current_thread() not in self._threads:
                    return []
                self._news.wait()
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), AT_MOST))]

    def _write(self, rows: Sequence[_Row]) -> None:
        """Commit the rows and tell those who wait."""
        failure: Exception | None = None
        try:
            _insert([row.values for row in rows])
        except (IntegrityError, DataError) as error:
            if len(rows) > 1:  # one row that the database refuses must not fail its neighbours; nothing was written
                for row in rows:
                    self._write([row])
                return
            failure = error
        except Exception as error:  # noqa: BLE001  whatever it was, those who wait must hear it and the writer must live on
            failure = error
            connection.close()
        if failure is not None:
            log.error("uses of keys could not be committed", rows=len(rows), exc_info=failure)
        for row in rows:
            row.finish(failure)


def _prepare(session: object, *, idle: bool) -> object:
    """See to a connection that stands and has its time-outs; a failure shows when the rows are written.

    Args:
        session: the connection that got its time-outs before.
    """
    try:
        if idle and connection.connection is not None and not connection.is_usable():
            connection.close()
        connection.ensure_connection()
        if connection.connection is not session:
            milliseconds = int(COMMIT * 1000)
            with connection.cursor() as cursor:
                if connection.vendor == "postgresql":
                    cursor.execute(f"SET statement_timeout = {milliseconds}")
                    cursor.execute(f"SET lock_timeout = {milliseconds}")
                else:
                    cursor.execute(f"PRAGMA busy_timeout = {milliseconds}")
    except (DatabaseError, InterfaceError):
        connection.close()
    return connection.connection


def _start_anew() -> None:
    """Give a forked process its own writers: the parent's threads do not exist there, and its rows are the parent's."""
    global _writers
    _writers = _Writers()


_writers = _Writers()
os.register_at_fork(after_in_child=_start_anew)
atexit.register(stop)
