"""What a process remembers for a few seconds, because looking it up costs more than all the rest of a request."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")
SECONDS = 5.0  # what was taken back is seen in every process within this time
AT_MOST = 10_000  # entries


class Memory(Generic[Value]):
    """Answers that were yes, each for 5 seconds from when it was looked up; a no is never remembered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[Hashable, tuple[float, Value]] = OrderedDict()

    def get(self, key: Hashable) -> Value | None:
        """Return what is remembered, None when that is nothing."""
        entry = self._found.get(key)
        return entry[1] if entry is not None and entry[0] > time.monotonic() else None

    def put(self, key: Hashable, value: Value, *, asked_at: float) -> None:
        """Remember an answer.

        Args:
            asked_at: `time.monotonic()` before it was looked up.
        """
        with self._lock:
            self._found[key] = (asked_at + SECONDS, value)
            self._found.move_to_end(key)
            while len(self._found) > AT_MOST:
                self._found.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._found.clear()
