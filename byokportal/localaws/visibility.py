"""What has not got around yet: the view of IAM or KMS that callers have while a change propagates."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any


class Visibility:
    """For each service and account the views before changes that are not seen yet, oldest first."""

    def __init__(self) -> None:
        self._held: defaultdict[tuple[str, str], list[tuple[datetime, Mapping[str, Any]]]] = defaultdict(list)
        self._lock = threading.Lock()

    def hold(self, service: str, account: str, before: Mapping[str, Any], until: datetime) -> None:
        """Show the view before a change until that time."""
        with self._lock:
            self._held[service, account].append((until, before))

    def seen(self, service: str, account: str, now: datetime) -> Mapping[str, Any] | None:
        """Return the view that callers have now; None when it is the present one."""
        if not self._held:
            return None
        with self._lock:
            held = [each for each in self._held.pop((service, account), []) if each[0] > now]
            if held:
                self._held[service, account] = held
            return held[0][1] if held else None

    def forget(self) -> None:
        """Let everything be seen at once."""
        with self._lock:
            self._held.clear()


def until(now: datetime, seconds: float) -> datetime:
    return now + timedelta(seconds=seconds)
