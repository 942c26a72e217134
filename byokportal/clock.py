"""The one clock that is compared with stored times and with what other processes wrote: the database's.

The clocks of two machines are never compared. A process asks the database for its time now and then (one that
gives out data keys does so with each look of `keys.datakeys.snapshots`), and counts on from there by its own monotonic
clock. So `now()` needs no query on the way of a request, and a machine whose clock is hours wrong
agrees with all others.

An answer of the database was given somewhere between question and answer. The offset that is kept always lies in
that interval, and moves no further than it has to: the time that a process knows gets better with each quick answer,
and does not jump with a slow one.

Tests use this machine's clock in its place (setting `CLOCK`), which time_machine moves.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.exceptions import SynchronousOnlyOperation
from django.db import DatabaseError, InterfaceError, connection, models
from django.utils import timezone

# seconds after which `now()` asks the database again; two good clocks part by a millisecond meanwhile
ASKED_AGAIN = 10.0
QUESTION = {
    "postgresql": "SELECT extract(epoch FROM clock_timestamp())::float8",
    "sqlite": "SELECT (julianday('now') - 2440587.5) * 86400.0",
}
# seconds by which the answer may be too early: SQLite counts milliseconds
COARSE = {
    "postgresql": 0.0,
    "sqlite": 0.002,
}

_lock = threading.Lock()
_offset: float | None = None  # what added to the monotonic clock gives the database's, seconds since the epoch
_asked_at = 0.0  # monotonic, before the last question


def monotonic() -> float:
    """Return seconds on a clock that is never set, and goes on while the machine sleeps
    where the system has one that does."""
    return time.clock_gettime(_CLOCK)


_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now() -> datetime:
    """Return the database's time, aware and in UTC; asks for it when it was not asked for ten seconds.

    Raises:
        DatabaseError, InterfaceError: the database does not say.
        SynchronousOnlyOperation: it has to be asked, and this is an event loop.
    """
    return datetime.fromtimestamp(_seconds(ASKED_AGAIN), UTC)


def seconds() -> float:
    """Return the database's time as seconds since the epoch, from what is known: asks only where nothing is.

    For requests for data keys, which may not wait.
    Where keys are given out `keys.datakeys.snapshots` sees to it that it is fresh.
    """
    return _seconds(None)


def recent() -> datetime:
    """Return `seconds()` as an aware datetime in UTC."""
    return datetime.fromtimestamp(_seconds(None), UTC)


def http_date() -> bytes:
    """Return the `Date` of an answer: `cache_until` is read against it, so both are the database's time.

    Where nothing is known of that yet, no key is given out, and this machine's time will do.
    """
    try:
        at = seconds()
    except (SynchronousOnlyOperation, DatabaseError, InterfaceError):
        at = timezone.now().timestamp()
    return _http_date(int(at))


@lru_cache(maxsize=2)
def _http_date(at: int) -> bytes:
    return formatdate(at, usegmt=True).encode()


def stamp() -> datetime | models.Func:
    """Return the database's own time for a write, where it is read by another process to the millisecond."""
    if settings.CLOCK == "machine" or connection.vendor != "postgresql":
        return now()
    return models.Func(function="CLOCK_TIMESTAMP", output_field=models.DateTimeField())


def milliseconds() -> models.Value | models.Func:
    """Return the database's own time for a write, in milliseconds since the epoch."""
    if settings.CLOCK == "machine" or connection.vendor != "postgresql":
        return models.Value(int(now().timestamp() * 1000))
    return models.Func(
        template="(EXTRACT(EPOCH FROM CLOCK_TIMESTAMP()) * 1000)::bigint", output_field=models.BigIntegerField()
    )


def saw(database: float, *, began: float) -> datetime:
    """Note what the database has just said its time is, and return it.

    Args:
        database: seconds since the epoch.
        began: on our monotonic clock, before it was asked.
    """
    global _offset, _asked_at
    least, most = database - monotonic(), database + COARSE[connection.vendor] - began
    with _lock:
        _offset = (least + most) / 2 if _offset is None else min(max(_offset, least), most)
        _asked_at = began
    return timezone.now() if settings.CLOCK == "machine" else datetime.fromtimestamp(database, UTC)


def forget() -> None:
    """Know nothing any more: the next call asks."""
    global _offset
    with _lock:
        _offset = None


def _seconds(asked_again: float | None) -> float:
    if settings.CLOCK == "machine":
        return timezone.now().timestamp()
    offset, here = _offset, monotonic()
    if offset is None or (asked_again is not None and here - _asked_at > asked_again and not connection.needs_rollback):
        _ask()
        offset, here = _offset, monotonic()
        assert offset is not None
    return here + offset


def _ask() -> None:
    began = monotonic()
    # as patient as whoever asks: an operation in a transaction must not lose its connection by it
    with connection.cursor() as cursor:
        cursor.execute(QUESTION[connection.vendor])
        (found,) = cursor.fetchone()
    saw(found, began=began)


# --- two processes hours apart, for tests --------------------------------------------------------------------------


def set_machine_wrong(by: float) -> None:
    """Let this process read this machine's clock wrong by so many seconds: `time.time` and Django's `timezone.now`.

    The setting `CLOCK_SKEW`, by which tests hold two processes apart.
    AWS's signatures keep the right time, else AWS would refuse all.
    """
    right, lasts = time.time, timedelta(seconds=by)

    def wrong() -> float:
        return right() + by

    def wrong_now() -> datetime:
        return datetime.now(UTC) + lasts

    patched: Any = time
    patched.time = wrong
    timezone.now = wrong_now
