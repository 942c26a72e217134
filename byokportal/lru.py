"""What a process remembers, for many threads and up to a bound: what has been idle longest makes room.

A cache that evicts what was put in first evicts the busiest: that was there first, and is used most.
So a `get` counts as a use.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Lru(Generic[Key, Value]):
    """A bounded dictionary; each call is one step for other threads, and what is iterated over is a copy."""

    def __init__(self, at_most: int) -> None:
        """
        Args:
            at_most: entries.
        """
        self._at_most = at_most
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Key) -> Value | None:
        """Return an entry, which is in use by that; None when there is none."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def peek(self, key: Key) -> Value | None:
        """Return an entry without using it."""
        with self._lock:
            return self._kept.get(key)

    def put(self, key: Key, value: Value) -> list[Value]:
        """Keep an entry, and return those that had to make room."""
        with self._lock:
            self._kept[key] = value
            self._kept.move_to_end(key)
            return [self._kept.popitem(last=False)[1] for _ in range(len(self._kept) - self._at_most)]

    def pop(self, key: Key) -> Value | None:
        """Take an entry out."""
        with self._lock:
            return self._kept.pop(key, None)

    def trim(self, is_over: Callable[[Value], bool]) -> None:
        """Take out, from the one that has been idle longest, those that are over, up to the first that is not."""
        with self._lock:
            while self._kept and is_over(next(iter(self._kept.values()))):
                self._kept.popitem(last=False)

    def items(self) -> list[tuple[Key, Value]]:
        """Return what there is now, idle ones first."""
        with self._lock:
            return list(self._kept.items())

    def values(self) -> list[Value]:
        """Return the entries that there are now, idle ones first."""
        return [value for _, value in self.items()]

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
