"""What a process remembers for a few seconds, because looking it up costs more than all the rest of a request.

An answer that is in use is looked up again in the background, once, before it ends. Otherwise all requests of a busy
caller would miss it at the same moment, every five seconds, and wait for the database together.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog
from django.conf import settings
from django.db import connection

from byokportal import clock, deadline
from byokportal.errors import DomainError
from byokportal.lru import Lru
from byokportal.singleflight import Singleflight

log = structlog.get_logger(__name__)

Value = TypeVar("Value")
# What was taken back is seen in every process within so many seconds.
SECONDS = 5.0
# Seconds after which it is looked up again.
AGAIN = 3.0
# Seconds that a renewal waits for the database in all.
RENEWAL = 0.4
# Entries.
AT_MOST = 10_000


@dataclass(slots=True)
class _Entry(Generic[Value]):
    # Both monotonic.
    until: float
    due: float
    value: Value


class Memory(Generic[Value]):
    """Answers that were yes, each for 5 seconds from before it was looked up."""

    def __init__(self) -> None:
        self._found: Lru[Hashable, _Entry[Value]] = Lru(AT_MOST)
        self._asking: Singleflight[Value] = Singleflight()

    def get(self, key: Hashable, ask: Callable[[], Value]) -> Value | None:
        """Return what is remembered, and have it looked up again when that is due; None when nothing is.

        Args:
            ask: looks it up; a DomainError is a no, and ends what is remembered.
        """
        entry, now = self._found.get(key), clock.monotonic()
        if entry is None or entry.until <= now:
            return None
        if entry.due <= now:
            entry.due = math.inf
            if not settings.DATA_KEY_THREADS:
                return None
            _renewals.submit(self._renew, key, ask)
        return entry.value

    def look_up(self, key: Hashable, ask: Callable[[], Value]) -> Value:
        """Look it up, or wait for whoever does so now, and remember the answer.

        Raises:
            DomainError: the answer is no; that is not remembered.
        """
        return self._asking.do(key, lambda: self._asked(key, ask), asks_database=True)

    def clear(self) -> None:
        """Forget everything."""
        self._found.clear()

    def _asked(self, key: Hashable, ask: Callable[[], Value]) -> Value:
        began = clock.monotonic()
        value = ask()
        self._found.put(key, _Entry(began + SECONDS, began + AGAIN, value))
        return value

    def _renew(self, key: Hashable, ask: Callable[[], Value]) -> None:
        try:
            # Requests may come to wait for this one, so it waits for the database no longer than they would.
            with deadline.at_most(RENEWAL):
                self.look_up(key, ask)
        except DomainError:
            self._found.pop(key)
        except Exception as error:
            # It runs to its end, and the next request looks it up itself.
            log.warning("not_looked_up_again", exc_info=error)
        finally:
            connection.close()


def _start_anew() -> None:
    """Give a forked process threads of its own."""
    global _renewals
    _renewals = ThreadPoolExecutor(2, thread_name_prefix="renew")


_renewals = ThreadPoolExecutor(2, thread_name_prefix="renew")
os.register_at_fork(after_in_child=_start_anew)
