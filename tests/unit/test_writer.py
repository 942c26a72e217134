"""Rows that come together are committed together, and none is forgotten;
the database here is one that answers when it is told to."""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

import psycopg
import pytest

from byokportal.errors import DatabaseUnavailable
from keys.datakeys.ledger.links import Refused, Use
from keys.datakeys.ledger.writer import Writer


def sqlite_error(kind: type[sqlite3.Error], code: int) -> sqlite3.Error:
    error = kind("x")
    error.sqlite_errorcode = code
    return error


# What a link may raise, and what the caller of `commit` hears.
FAILURES: dict[str, tuple[Exception, type[Exception]]] = {
    "gone": (psycopg.OperationalError("the connection is lost"), DatabaseUnavailable),
    "slow": (TimeoutError(), DatabaseUnavailable),
    "no table": (psycopg.errors.UndefinedTable("keys_keyuse"), DatabaseUnavailable),
    "standby": (psycopg.errors.ReadOnlySqlTransaction("x"), DatabaseUnavailable),
    "locked": (sqlite_error(sqlite3.OperationalError, sqlite3.SQLITE_BUSY), DatabaseUnavailable),
    "wrong statement": (psycopg.errors.SyntaxError("near INSERT"), psycopg.errors.SyntaxError),
    "wrong type": (psycopg.errors.DatatypeMismatch("x"), psycopg.errors.DatatypeMismatch),
    "refused row": (Refused("x"), Refused),
    "bug": (ValueError("x"), ValueError),
}


def use(request_id: str) -> Use:
    return Use(uuid.uuid4(), "generate", 1, "tests", "", request_id, datetime.now(UTC))


class Database:
    """Takes rows over links that wait for `answer`; refuses rows named `refused`, breaks at rows named `broken`."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self.batches: list[list[str]] = []
        self.under_way: list[asyncio.Future[None]] = []

    def link(self) -> Link:
        return Link(self)

    def answer(self) -> None:
        for one in self.under_way:
            if not one.done():
                one.set_result(None)


class Link:
    def __init__(self, database: Database) -> None:
        self._database, self.is_closed = database, False

    async def write(self, uses: Sequence[Use]) -> None:
        assert not self.is_closed
        names = [one.request_id for one in uses]
        gate = asyncio.get_running_loop().create_future()
        self._database.under_way.append(gate)
        self._database.batches.append(names)
        await gate
        if "refused" in names:
            raise Refused
        if "broken" in names:
            raise ConnectionError
        for name in names:
            if name in FAILURES:
                raise FAILURES[name][0]
        self._database.rows += names

    async def close(self) -> None:
        self.is_closed = True


async def answering(database: Database, *waiting: asyncio.Task[None]) -> list[object]:
    """Answer until all of them have an outcome; return the outcomes."""
    while not all(task.done() for task in waiting):
        await asyncio.sleep(0.001)
        database.answer()
    return list(await asyncio.gather(*waiting, return_exceptions=True))


@pytest.mark.parametrize("concurrency", [1, 2])
def test_a_row_that_comes_while_the_last_commit_ends_is_committed_too(concurrency: int) -> None:
    async def scenario() -> list[object]:
        database = Database()
        writer = Writer(database.link, concurrency=concurrency)
        for number in range(concurrency):
            # the writer holds what it waits for
            asyncio.create_task(writer.commit(use(f"early-{number}"), 5))  # noqa: RUF006
            await asyncio.sleep(0.01)
        database.answer()  # the database answers …
        late = asyncio.create_task(writer.commit(use("late"), 20))  # … and a request comes in the same turn of the loop
        return await answering(database, late)

    assert asyncio.run(scenario()) == [None]


def test_rows_that_come_meanwhile_go_together() -> None:
    async def scenario() -> Database:
        database = Database()
        writer = Writer(database.link, concurrency=1)
        first = asyncio.create_task(writer.commit(use("first"), 5))
        await asyncio.sleep(0.01)
        others = [asyncio.create_task(writer.commit(use(f"r-{number}"), 5)) for number in range(5)]
        await answering(database, first, *others)
        return database

    assert asyncio.run(scenario()).batches == [["first"], [f"r-{number}" for number in range(5)]]


def test_a_refused_row_and_a_broken_link_fail_nobody_else() -> None:
    async def scenario() -> tuple[list[object], Database]:
        database = Database()
        writer = Writer(database.link, concurrency=1)
        names = ["a", "refused", "b", "broken", "c"]
        tasks = [asyncio.create_task(writer.commit(use(name), 5)) for name in names]
        return await answering(database, *tasks), database

    outcomes, database = asyncio.run(scenario())
    assert [isinstance(outcome, Exception) for outcome in outcomes] == [False, True, False, True, False]
    assert database.rows == ["a", "b", "c"]


def test_a_row_that_nobody_waits_for_any_more_is_not_sent() -> None:
    async def scenario() -> Database:
        database = Database()
        writer = Writer(database.link, concurrency=1)
        first = asyncio.create_task(writer.commit(use("first"), 5))
        await asyncio.sleep(0.01)
        late = asyncio.create_task(writer.commit(use("late"), 0.02))
        await asyncio.sleep(0.05)
        await answering(database, first, late)
        return database

    assert asyncio.run(scenario()).rows == ["first"]


@pytest.mark.parametrize("name", FAILURES)
def test_only_a_database_that_cannot_be_used_is_a_503(name: str) -> None:
    async def scenario() -> list[object]:
        database = Database()
        writer = Writer(database.link, concurrency=1)
        return await answering(database, asyncio.create_task(writer.commit(use(name), 5)))

    (outcome,) = asyncio.run(scenario())
    assert type(outcome) is FAILURES[name][1]
    if not isinstance(outcome, DatabaseUnavailable):
        assert outcome is not FAILURES[name][0]  # the next who waited raises it too
