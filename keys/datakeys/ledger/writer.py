"""Gather the rows that come while others are being committed, and commit them together; one for each event loop."""

from __future__ import annotations

import asyncio
import contextvars
import uuid
from collections import deque
from collections.abc import Callable, Collection, Sequence

import structlog

from byokportal import clock, database, metrics
from byokportal.errors import DatabaseUnavailable, own
from keys.datakeys.ledger.links import Link, Refused, Use

log = structlog.get_logger(__name__)

AGAIN = 0.02  # seconds until a row is tried again whose tenant somebody holds locked
AT_MOST = 64  # rows in one statement; each number of rows is a statement of its own, which PostgreSQL prepares once


class _Row:
    """A row on its way, and the request that waits for it."""

    __slots__ = ("outcome", "use")

    def __init__(self, use: Use, outcome: asyncio.Future[Exception | None]) -> None:
        self.use, self.outcome = use, outcome

    def finish(self, failure: Exception | None) -> None:
        if not self.outcome.done():  # else nobody waits for it any more
            self.outcome.set_result(failure)

    def expire(self) -> None:
        self.finish(TimeoutError("the row was not committed in time"))


class Writer:
    """Commits rows over a few links; everything in it runs on one event loop."""

    def __init__(self, opener: Callable[[], Link], *, concurrency: int) -> None:
        """
        Args:
            opener: makes a link; it connects when it is first used.
            concurrency: commits under way at the same time, each over a link of its own.
        """
        self._loop = asyncio.get_running_loop()
        self._opener, self._room = opener, concurrency  # room: commits that may begin now
        self._waiting: deque[_Row] = deque()
        self._links: list[Link] = []  # those that nobody uses now
        self._at_work: set[asyncio.Task[None]] = set()
        self._is_rung = False

    async def commit(self, use: Use, seconds: float) -> None:
        """Return once the row is committed.

        Raises:
            DatabaseUnavailable: it was not, or not within so many seconds.
            Exception: the row is none that the database takes, or something else of ours is wrong.
        """
        row = _Row(use, self._loop.create_future())
        self._waiting.append(row)
        self._begin_commits()
        timer = self._loop.call_later(seconds, row.expire)
        try:
            failure = await row.outcome
        finally:
            timer.cancel()
            row.outcome.cancel()
        if isinstance(failure, OSError) or database.is_unusable(failure):  # a time-out is an OSError
            raise DatabaseUnavailable(retry_after=2) from failure
        if failure is not None:  # a bug of ours, and no key leaves: each of those who wait raises it as its own
            raise own(failure)

    async def close(self) -> None:
        """Commit what is waiting and close the links."""
        self._begin()
        while self._at_work:
            await asyncio.wait(self._at_work)
        while self._links:
            await self._links.pop().close()

    def _begin_commits(self) -> None:
        """Begin a commit once everything that is ready now has had its turn: rows of the same moment go together."""
        if not self._is_rung and self._room:
            self._is_rung = True
            self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        self._is_rung = False
        if self._waiting and self._room:
            self._room -= 1
            # Its context is nobody's: the request that happened to begin it is not what its log lines are about.
            task = self._loop.create_task(self._work(), context=contextvars.Context())
            self._at_work.add(task)
            task.add_done_callback(self._at_work.discard)

    async def _work(self) -> None:
        link = self._links.pop() if self._links else self._opener()
        try:
            while rows := self._take():
                if not await self._write(link, rows):
                    await link.close()
                    link = self._opener()
        finally:  # in the same step in which nothing was left to take: a row that comes later begins a commit again
            self._links.append(link)
            self._room += 1

    def _take(self) -> list[_Row]:
        """Return the rows that wait and are waited for, oldest first."""
        rows: list[_Row] = []
        while self._waiting and len(rows) < AT_MOST:
            row = self._waiting.popleft()
            if not row.outcome.done():
                rows.append(row)
        return rows

    async def _write(self, link: Link, rows: Sequence[_Row]) -> bool:
        """Commit the rows and tell those who wait; return whether the link may be used again."""
        failure: Exception | None = None
        locked: Collection[uuid.UUID] = ()
        began = clock.monotonic()
        try:
            locked = await link.write([row.use for row in rows]) or ()
        except Refused as error:
            if len(rows) > 1:  # one row that the database refuses must not fail its neighbours; nothing was written
                return await self._write_each(link, rows)
            failure = error
        except Exception as error:  # noqa: BLE001
            # whatever it was, those who wait must hear it and the writer must live on
            failure = error
        metrics.COMMIT_ROWS.observe(len(rows))
        metrics.COMMIT_SECONDS.labels("ok" if failure is None else "failed").observe(clock.monotonic() - began)
        if failure is not None:
            log.error("uses of keys could not be committed", rows=len(rows), exc_info=failure)
        for row in rows:
            if row.use.tenant in locked:  # it waits for its tenant alone, and holds up no other
                self._loop.call_later(AGAIN, self._come_again, row)
            else:
                row.finish(failure)
        return failure is None or isinstance(failure, Refused)

    def _come_again(self, row: _Row) -> None:
        if not row.outcome.done():
            self._waiting.append(row)
            self._begin_commits()

    async def _write_each(self, link: Link, rows: Sequence[_Row]) -> bool:
        """Commit the rows one by one; what is left when the link breaks waits for the next link."""
        left = deque(rows)
        while left:
            row = left.popleft()
            if not row.outcome.done() and not await self._write(link, [row]):
                self._waiting.extendleft(reversed(left))
                return False
        return True
