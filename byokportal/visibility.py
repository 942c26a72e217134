"""Which transactions somebody has seen who looked at the database:
exact where a time is not, because a transaction commits later than its rows say.

On PostgreSQL it is the server's own snapshot, as text: `xmin:xmax:xip,…` (PostgreSQL, "Transaction ID and
Snapshot Information Functions"). SQLite has one writer at a time, so there the number of the log's last row takes
the place of both.
"""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils.deconstruct import deconstructible

# The last row of the log, which every operation writes: it only grows, in the order in which transactions commit.
_LAST_ROW = "(SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'tenants_auditevent')"
SNAPSHOT = {
    # A transaction does not stand in its own snapshot, and yet sees what it wrote.
    "postgresql": "pg_current_snapshot()::text || '/' || coalesce(pg_current_xact_id_if_assigned()::text, '')",
    "sqlite": f"{_LAST_ROW} || ':' || {_LAST_ROW} || ':'",
}
LONG = 1_500  # characters; of a longer one only the oldest open transaction is kept, which claims to have seen less


@deconstructible
class CurrentTransaction(models.Func):
    """The number of the transaction that writes (PostgreSQL); 0 where there is one writer at a time."""

    template = "pg_current_xact_id()::text::bigint"
    output_field = models.BigIntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **_: Any) -> tuple[str, tuple[str | int, ...]]:
        return "0", ()


class Mark(CurrentTransaction):
    """What `has_seen` is asked about later: it is written by the transaction, before its row in the log."""

    def as_sqlite(self, compiler: Any, connection: Any, **_: Any) -> tuple[str, tuple[str | int, ...]]:
        return _LAST_ROW, ()


def kept(snapshot: str, *, still_writes: bool = False) -> str:
    """Return what the column `SNAPSHOT` said in the form that is kept:
    at most `LONG` characters, its own transaction counted as seen.

    Args:
        still_writes: its own transaction may write more, so it and what came after the oldest open one is not seen.
    """
    text, _, own = snapshot.partition("/")
    oldest, newest, among = text.split(":")
    if own and still_writes:
        return f"{oldest}:{oldest}:"
    if own and int(own) >= int(newest):
        between = [str(number) for number in range(int(newest), int(own))]
        newest, among = str(int(own) + 1), ",".join([*filter(None, [among]), *between])
    found = f"{oldest}:{newest}:{among}"
    return found if len(found) <= LONG else f"{oldest}:{oldest}:"


def has_seen(snapshot: str, mark: int) -> bool:
    """Tell whether who had this snapshot saw what the transaction of that mark wrote; "" saw nothing."""
    if not snapshot:
        return False
    oldest, newest, among = snapshot.split(":")
    return mark < int(oldest) or (mark < int(newest) and str(mark) not in among.split(","))
