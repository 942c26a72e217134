"""What asyncpg raises when its server goes away, or somebody stands between: a reason to come again, and no bug."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from byokportal import database
from keys.datakeys.ledger import links

USE = links.Use(uuid.UUID(int=1), "generate", 1, "c", "d", "r", datetime(2026, 1, 1, tzinfo=UTC))


class Session:
    """A connection of asyncpg's whose statement ends like this, and with it the connection or not."""

    def __init__(self, error: Exception, *, stays: bool) -> None:
        self._error, self._stays, self._is_closed = error, stays, False

    def is_closed(self) -> bool:
        return self._is_closed

    async def fetch(self, *_: object) -> Any:
        self._is_closed = not self._stays
        raise self._error


def of_server(state: str, message: str = "m") -> asyncpg.PostgresError:
    made: asyncpg.PostgresError = asyncpg.PostgresError.new({"C": state, "M": message, "S": "FATAL"})
    return made


def ended(session: Session) -> Exception:
    link = links.Asyncpg()
    link._connection = session
    with pytest.raises(Exception) as raised:
        asyncio.run(link.write([USE]))
    return raised.value


@pytest.mark.parametrize("error", [
    asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress"),
    asyncpg.ProtocolError("unexpected message"),
    asyncpg.InterfaceError("connection is closed"),
    RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed"),
    of_server("08003"),  # connection_does_not_exist
    of_server("57P01"),  # admin_shutdown
    of_server("57P03"),  # cannot_connect_now
    of_server("53300"),  # too_many_connections
    of_server("XYZ99"),  # of no PostgreSQL
    of_server("0AZZZ"),
], ids=lambda error: f"{type(error).__name__}: {getattr(error, 'sqlstate', None) or error}"[:60])  # fmt: skip
def test_a_server_that_goes_away_is_no_bug(error: Exception) -> None:
    assert database.is_unusable(ended(Session(error, stays=False)))


@pytest.mark.parametrize("error", [RuntimeError("ours"), of_server("42P01"), TypeError("ours")], ids=str)
def test_a_mistake_of_ours_stays_one(error: Exception) -> None:
    # 42P01, undefined_table: a database that is half migrated, which is a reason of its own.
    found = ended(Session(error, stays=True))
    assert database.is_unusable(found) is (getattr(error, "sqlstate", "") == "42P01")
