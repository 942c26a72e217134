"""What a database that cannot be used at this moment looks like, whoever meets it,
and how long a request waits for one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from django.db import Error, InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse

from byokportal import deadline
from byokportal.errors import DatabaseUnavailable

# that a page or a request to the API waits for the database in all;
# requests for data keys have less (keys.datakeys.http.operations)
SECONDS = 10.0

# SQLSTATEs outside OperationalError that say "not this database, not now" (PostgreSQL, appendix A).
NOT_NOW = {
    "25006",  # read-only transaction: a standby, or a server that was made read-only
    "25P03",  # idle_in_transaction_session_timeout
    "25P04",  # transaction_timeout
    "3F000",  # no such schema
    "42501",  # no right to the table
    "42703",  # no such column: a migration is missing, or only half done
    "42P01",  # no such table
    "XX001",  # damaged table
    "XX002",  # damaged index
}
# "No partition found for row" is a check_violation without the name of a constraint (docs/adr/0029).
NO_PARTITION = "23514"
# class of statements that are too long or too deep: psycopg calls them OperationalError, and they are our bug
TOO_COMPLEX = "54"
# SQLite has one code, SQLITE_ERROR, for a missing migration and for a bug.
MISSING = ("no such table", "no such column", "table ")  # "table x has no column named y"


def is_unusable(exception: BaseException | None) -> bool:
    """Tell whether the database refused for a reason of its own:
    gone, paused, locked, full, read-only or half migrated.

    Every other error of a database (a wrong statement, a broken constraint) is a bug of ours.
    Django's exceptions and the driver's own count alike.
    """
    if isinstance(exception, Error | psycopg.Error) and not isinstance(exception.__cause__, sqlite3.Error):
        state = getattr(exception, "sqlstate", None) or getattr(exception.__cause__, "sqlstate", None)
        is_operational = isinstance(exception, OperationalError | psycopg.OperationalError)
        if state == NO_PARTITION:
            diagnosed = getattr(exception, "diag", None) or getattr(exception.__cause__, "diag", None)
            return diagnosed is not None and diagnosed.constraint_name is None
        if state is not None:
            return (is_operational and not state.startswith(TOO_COMPLEX)) or state in NOT_NOW
        return is_operational or isinstance(exception, InterfaceError | psycopg.InterfaceError)
    cause = exception.__cause__ if isinstance(exception, Error) else exception
    return isinstance(cause, sqlite3.Error) and _is_unusable_sqlite(cause)


@contextmanager
def needed() -> Iterator[None]:
    """Let a database that cannot be used be a DatabaseUnavailable; any other error of it leaves the block as it is.

    Raises:
        DatabaseUnavailable: see `is_unusable`.
    """
    try:
        yield
    except Error as error:
        if not is_unusable(error):
            raise
        raise DatabaseUnavailable(retry_after=2) from error


def _is_unusable_sqlite(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # raised by Python's module, not by SQLite
        return isinstance(error, sqlite3.OperationalError | sqlite3.InterfaceError)
    if code == sqlite3.SQLITE_ERROR:
        return str(error).startswith(MISSING)
    return code & 0xFF in {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_SCHEMA,
    }


def is_conflict(exception: BaseException | None) -> bool:
    """Tell whether the database ended a transaction for another's sake:
    the same once more has every chance (PostgreSQL, class 40)."""
    return isinstance(exception, Error) and str(getattr(exception.__cause__, "sqlstate", "")).startswith("40")


def why(exception: BaseException) -> str:
    """Return what the database said, in one line: for the log, never for a caller."""
    state = getattr(exception.__cause__, "sqlstate", None) or getattr(exception.__cause__, "sqlite_errorname", None)
    message = (str(exception).strip() or type(exception).__name__).splitlines()[0][:300]
    return f"{state}: {message}" if state else message


class DeadlineMiddleware:
    """Gives each request an end to its waiting for the database: a paused server answers no query and ends none."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with deadline.at_most(SECONDS):
            return self.get_response(request)
