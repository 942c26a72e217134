"""One call at a time for one thing: those who ask for the same meanwhile wait
for its result instead of asking again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from django.utils.asyncio import async_unsafe

from byokportal import deadline, metrics
from byokportal.errors import DatabaseUnavailable, own

Result = TypeVar("Result")


class StillUnderWay(Exception):
    """The call that was waited for takes longer than the caller can wait; it goes on."""


class Call(Generic[Result]):
    """A call under way, and its outcome."""

    __slots__ = ("_done", "error", "result")

    def __init__(self) -> None:
        self._done = threading.Event()
        self.result: Result | None = None
        self.error: BaseException | None = None

    def end(self) -> None:
        self._done.set()

    def outcome(self, at_most: float | None) -> Result:
        """Wait for the result, or raise the failure as an error of the caller's own, whatever its type.

        Raises:
            StillUnderWay: it took longer than `at_most` seconds.
        """
        if not self._done.wait(at_most):
            raise StillUnderWay
        if self.error is not None:
            raise own(self.error)
        return self.result  # type: ignore[return-value]


class Singleflight(Generic[Result]):
    """The calls under way in this process, each by its name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[Hashable, Call[Result]] = {}

    @async_unsafe
    def do(self, name: Hashable, call: Callable[[], Result], *, asks_database: bool = False) -> Result:
        """Make the call, or wait for the one of that name that is under way and take its result.

        A failure is everybody's too: a thousand who wait for a throttled AWS must not ask it a thousand times.
        Each gets an error of its own, because a raised exception collects the tracebacks of all who raise it.

        Args:
            asks_database: waiting for another's call is waiting for the database, and ends with the caller's budget.

        Raises:
            DatabaseUnavailable: the budget has ended.
        """
        with self._lock:
            under_way = self._under_way.get(name)
            leads = under_way is None
            if under_way is None:
                under_way = self._under_way[name] = Call()
        if not leads:
            metrics.JOINS.inc()
            return _within_budget(under_way) if asks_database else under_way.outcome(None)
        try:
            under_way.result = call()
            return under_way.result
        except BaseException as error:
            under_way.error = error
            raise
        finally:
            with self._lock:
                del self._under_way[name]
            under_way.end()

    def join(self, name: Hashable, at_most: float) -> Call[Result] | None:
        """Wait for the call of that name, if one is under way; None when there is none to wait for.

        Raises:
            StillUnderWay: it took longer than `at_most` seconds.
        """
        with self._lock:
            under_way = self._under_way.get(name)
        if under_way is not None:
            under_way.outcome(at_most)
        return under_way


def _within_budget(under_way: Call[Result]) -> Result:
    """Wait for somebody's question to the database as long as this thread may wait for the database."""
    with deadline.waiting() as left:
        try:
            return under_way.outcome(left)
        except StillUnderWay as error:
            raise DatabaseUnavailable(retry_after=2) from error
