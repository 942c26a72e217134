"""What has changed with the keys of a service's tenants: each change as soon as it is committed, and none left out.

Transactions commit out of order, so neither a time nor an id is a cursor: a row may commit behind it. On PostgreSQL
the cursor is the snapshot of the answer before. A row counts as told when that snapshot saw its transaction; every
other is told, however late it commits and whatever its time says. A page that is full names the row that it ended with
and the snapshot at which the reading began, from where the next reading starts; so the cursor never passes a
transaction that was open, and what it has told it does not tell again while one of them stays open for long. SQLite has
one writer: there the id is the cursor.

A cursor of another incarnation of the database (`keys.datakeys.admission`) counts for nothing: transactions have other
numbers there. Then all is told again. A row may come twice; a service purges what it holds, and that may be done twice.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connection
from django.db.models import QuerySet
from django.utils.dateparse import parse_datetime

from byokportal import visibility
from byokportal.errors import InvalidInput
from keys.datakeys import admission
from keys.models import KeyRegistration, RegistrationMove
from tenants.models import ServiceAccount

AT_MOST = 500  # changes in one answer
TOLD = (*KeyRegistration.SERVING, "retiring", "retired")
BEFORE = timedelta(minutes=10)  # a time, as cursors once were: what committed later than its time says is told again
SNAPSHOT = re.compile(r"\d{1,19}:\d{1,19}:(\d{1,19}(,\d{1,19})*)?", re.ASCII)


class _Cursor(NamedTuple):
    """Where a reading stands.

    Args:
        database: digest of its incarnation.
        told: the snapshot of the reading before, "" where there was none; what it saw was told.
        began: the snapshot at which this reading began, "" before its first page.
        after: number of the transaction and id of the last row of the page before.
    """

    database: str
    told: str = ""
    began: str = ""
    after: tuple[int, int] = (-1, -1)

    def text(self) -> str:
        """Return it as the API hands it out: opaque, safe in an address."""
        return base64.urlsafe_b64encode(json.dumps(self, separators=(",", ":")).encode()).decode().rstrip("=")


def read_key_states(account: ServiceAccount, *, since: str) -> tuple[Sequence[RegistrationMove], str]:
    """Return the changes since a cursor, at most `AT_MOST`, and the cursor for the next question.

    Args:
        account: it is told of the tenants that it may act for.
        since: "" for the first question.

    Raises:
        InvalidInput: `since` is no cursor of ours.
    """
    moves = RegistrationMove.objects.filter(new_status__in=TOLD)
    if not account.has_all_tenants:
        moves = moves.filter(tenant__in=account.tenants.all())
    database = _database()
    cursor = _parsed(since)
    if cursor is None and since:
        moves = moves.filter(at__gte=_moment(since) - BEFORE)
    if cursor is None or cursor.database != database:
        cursor = _Cursor(database)
    return _by_snapshot(moves, cursor) if connection.vendor == "postgresql" else _by_id(moves, cursor)


def _by_id(moves: QuerySet[RegistrationMove], cursor: _Cursor) -> tuple[Sequence[RegistrationMove], str]:
    rows = list(moves.filter(pk__gt=cursor.after[1]).order_by("pk")[:AT_MOST])
    after = (0, rows[-1].pk) if rows else cursor.after
    return rows, cursor._replace(after=after).text()


def _by_snapshot(moves: QuerySet[RegistrationMove], cursor: _Cursor) -> tuple[Sequence[RegistrationMove], str]:
    present = _snapshot()  # before the rows are read: what commits in between is told now and once more
    if cursor.told:
        moves = moves.filter(transaction__gte=int(cursor.told.split(":")[0])).extra(
            where=["NOT pg_visible_in_snapshot(keys_registrationmove.transaction::text::xid8, %s::pg_snapshot)"],
            params=[cursor.told],
        )
    if cursor.began:
        moves = moves.extra(
            where=["(keys_registrationmove.transaction, keys_registrationmove.id) > (%s, %s)"],
            params=list(cursor.after),
        )
    rows = list(moves.order_by("transaction", "pk")[:AT_MOST])
    began = cursor.began or present
    if len(rows) == AT_MOST:
        return rows, cursor._replace(began=began, after=(rows[-1].transaction, rows[-1].pk)).text()
    return rows, _Cursor(cursor.database, told=began).text()


def _snapshot() -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {visibility.SNAPSHOT['postgresql']}")
        return visibility.kept(cursor.fetchone()[0], still_writes=True)


def _database() -> str:
    return hashlib.sha256(admission.ask().incarnation.encode()).hexdigest()[:12]


def _parsed(text: str) -> _Cursor | None:
    """Return the cursor; None when it is none of this form."""
    try:
        database, told, began, (transaction, pk) = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        found = _Cursor(str(database), str(told), str(began), (int(transaction), int(pk)))
    except (ValueError, TypeError, binascii.Error, RecursionError, OverflowError):  # the last one: of Infinity
        return None
    is_good = all(one == "" or SNAPSHOT.fullmatch(one) for one in (found.told, found.began))
    return found if is_good and all(-1 <= number < 2**63 for number in found.after) else None


def _moment(text: str) -> datetime:
    try:
        found = parse_datetime(text.replace(" ", "+")) if len(text) < 40 else None
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise InvalidInput(errors={"since": ["Use the `next` of an answer as it is, or leave it out."]})
    return found
