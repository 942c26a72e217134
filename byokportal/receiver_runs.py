"""Serves receivers side by side: each has its turn, the one that waited longest first, and none waits for another.

A row is served by one worker at a time: `claimed_at` is set by compare-and-set and holds until the worker gives it
back, or is lost. The rows have `tenant`, `claimed_at` and `turn_at`.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import F, Q, QuerySet

from byokportal import clock, outbound

# Receivers that one process serves at once, and how many of those may be one organisation's.
THREADS, OF_ONE_TENANT = 16, outbound.AT_ONCE_FOR_ONE
BUDGET, TURN = 20.0, 15.0  # seconds of one run; of one turn, after which the others come
CLAIM_LASTS = timedelta(seconds=45)  # longer than a run: older means its worker was lost

Due = Callable[[datetime], QuerySet[Any]]
Turn = Callable[[Any, datetime, float], int]


def serve(due: Due, turn: Turn, *, name: str) -> int:
    """Serve rows until none is due or the time of a run is over; safe to run by several workers at once.

    Args:
        due: the rows that are due at a time.
        turn: serves one row until a time of `clock.monotonic()`, and gives its claim back: row, claim, until. What
            stays due after it is served again in the same run.
        name: of the threads.

    Returns:
        the sum of what the turns returned.
    """
    until, busy = clock.monotonic() + BUDGET, _Busy()
    count = due(clock.now()).order_by()[:THREADS].count()
    if count <= 1:
        return _serve(due, turn, until, busy)

    def one() -> int:
        try:
            return _serve(due, turn, until, busy)
        finally:
            connection.close()

    with ThreadPoolExecutor(count, thread_name_prefix=name) as pool:
        return sum(pool.map(lambda _: one(), range(count)))


class _Busy:
    """How many receivers of each organisation this run serves at the moment."""

    def __init__(self) -> None:
        self._lock, self._served = threading.Lock(), Counter[UUID]()

    def full(self) -> list[UUID]:
        with self._lock:
            return [tenant for tenant, count in self._served.items() if count >= OF_ONE_TENANT]

    @contextmanager
    def one_of(self, tenant: UUID) -> Iterator[bool]:
        with self._lock:
            has_room = self._served[tenant] < OF_ONE_TENANT
            self._served[tenant] += has_room
        try:
            yield has_room
        finally:
            with self._lock:
                self._served[tenant] -= has_room


def _serve(due: Due, turn: Turn, until: float, busy: _Busy) -> int:
    served = 0
    while clock.monotonic() < until:
        now = clock.now()
        free = Q(claimed_at=None) | Q(claimed_at__lt=now - CLAIM_LASTS)
        rows = due(now).filter(free).exclude(tenant__in=busy.full())
        found = list(rows.order_by(F("turn_at").asc(nulls_first=True))[:THREADS])
        if not found:
            break
        for row in found:
            with busy.one_of(row.tenant_id) as has_room:
                if has_room and type(row).objects.filter(free, pk=row.pk).update(claimed_at=now, turn_at=now):
                    served += turn(row, now, min(until, clock.monotonic() + TURN))
                    break
    return served
