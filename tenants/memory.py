"""What a process remembers for a few seconds, because looking it up costs more than all the rest of a request.

Shortly before an answer is forgotten one request is sent to look it up again while the others still use it. Otherwise
all the requests of a busy caller would go to the database at the same moment, every five seconds.
"""

from __future__ import annotations

import time
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from byokportal.lru import Lru

Value = TypeVar("Value")
SECONDS = 5.0  # what was taken back is seen in every process within this time
AGAIN = 3.0  # seconds after which one request looks it up again
AT_MOST = 10_000  # entries


@dataclass(slots=True)
class _Entry(Generic[Value]):
    until: float  # monotonic, as is `due`
    due: float
    value: Value


class Memory(Generic[Value]):
    """Answers that were yes, each for 5 seconds from when it was looked up."""

    def __init__(self) -> None:
        self._found: Lru[Hashable, _Entry[Value]] = Lru(AT_MOST)

    def get(self, key: Hashable) -> Value | None:
        """Return what is remembered; None when that is nothing, and once when it is due to be looked up again."""
        entry, now = self._found.get(key), time.monotonic()
        if entry is None or entry.until <= now:
            return None
        if entry.due <= now:
            entry.due = entry.until
            return None
        return entry.value

    def put(self, key: Hashable, value: Value, *, asked_at: float) -> None:
        """Remember an answer.

        Args:
            asked_at: `time.monotonic()` before it was looked up.
        """
        self._found.put(key, _Entry(asked_at + SECONDS, asked_at + AGAIN, value))

    def clear(self) -> None:
        """Forget everything."""
        self._found.clear()
