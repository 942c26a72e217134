"""Fair shares: how many data keys a caller, and a tenant, may have in a second, counted in the shared cache.

Each second is a window with a counter for each caller and each tenant; an item of a batch counts like a request of its own.
The counter lives in Redis and is raised atomically (INCRBY), so that all processes together give out one share. A process does
not ask for each request, which would cost as much as making the key: it takes a lease of several, sized by what it used in the
second before, and what it does not use is lost with the window.

Requests that are answered on the event loop (`keys.datakeys.http.event_loop`) should not have to wait for the shared cache. So a busy process asks for
its next lease in the background before the last is used up. A two-hundredth of a share may go out in each window before anybody is
asked, and as much be left over from the window before; whoever asks then pays for what went out. By a hundredth of it for each process a
share may be exceeded, never by more.

The shares are for fairness, they are no security control: when the shared cache does not answer, every process goes on with
the whole share counted by itself, and asks again after 5 seconds.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog
from django.conf import settings
from django.core.cache import cache
from django.utils.asyncio import async_unsafe
from redis.exceptions import RedisError

from byokportal import clock
from byokportal.errors import RateLimited
from byokportal.lru import Lru

log = structlog.get_logger(__name__)

LEASE = 0.05  # of the share: the most that one process takes at once, so that many processes get their part
UNASKED = 200  # the part of a share that a process gives out before it asks
DOWN = 5.0  # seconds without the shared cache after it did not answer
AT_MOST = 10_000  # callers and tenants that a process remembers


@dataclass(slots=True)
class _Lease:
    """What a process has of one share in one window."""

    window: int
    left: int = 0
    used: int = 0
    before: int = 0  # used in the window before
    granted: int = 0  # counted here, for when the shared cache is down
    is_spent: bool = False  # the share of this window is used up: nobody need be asked
    is_asked: bool = False  # more is being asked for in the background


_lock = threading.Lock()
_leases: Lru[str, _Lease] = Lru(AT_MOST)
_down_until = 0.0


def take(caller: str, tenant: str, weight: int) -> None:
    """Take so many data keys out of the caller's and the tenant's share of this second.

    Raises:
        RateLimited: one of them is used up.
        SynchronousOnlyOperation: the caller is on an event loop, and the shared cache has to be asked; nothing was taken.
    """
    shares = (
        (f"caller:{caller}", settings.DATA_KEYS_PER_CALLER),
        (f"tenant:{tenant}", settings.DATA_KEYS_PER_TENANT),
    )
    if not _spend_all(shares, weight):
        _ask_and_take(shares, weight)


def give_back(caller: str, tenant: str, weight: int) -> None:
    """Undo a `take` of this moment: nothing came of the request, which is begun again."""
    with _lock:
        for name, share in (
            (f"caller:{caller}", settings.DATA_KEYS_PER_CALLER),
            (f"tenant:{tenant}", settings.DATA_KEYS_PER_TENANT),
        ):
            lease = _leases.get(name)
            if lease is not None:
                _spend(lease, -min(weight, share))


def forget_all() -> None:
    """Forget every lease, and that the shared cache was down (tests start anew)."""
    global _down_until
    with _lock:
        _leases.clear()
        _down_until = 0.0


def _spend_all(shares: Sequence[tuple[str, int]], weight: int) -> bool:
    """Spend from leases that hold enough, all or none, and see to it that they are filled up in time."""
    window = int(clock.seconds())
    with _lock:
        leases = []
        for name, share in shares:
            lease = _lease(name, share, window)
            if _room(lease, share) < min(weight, share):
                return False
            leases.append(lease)
        for lease, (name, share) in zip(leases, shares, strict=True):
            _spend(lease, min(weight, share))
            if lease.is_asked or lease.is_spent:
                continue
            if lease.left < (_as_usual(lease, share) - share // UNASKED) // 2:
                lease.is_asked = True
                _asking.submit(_top_up, name, share, window, lease)
    return True


@async_unsafe
def _ask_and_take(shares: Sequence[tuple[str, int]], weight: int) -> None:
    for name, share in shares:
        _take(
            name, share, min(weight, share)
        )  # a batch above the whole share takes all of it, else it could never pass


def _take(name: str, share: int, weight: int) -> None:
    window = int(clock.seconds())
    with _lock:
        lease = _lease(name, share, window)
        if lease.left >= weight:
            _spend(lease, weight)
            return
        if lease.is_spent:
            raise RateLimited(retry_after=1)
        wanted = max(weight - lease.left, _as_usual(lease, share))
    granted = _granted(name, window, wanted, share, lease)
    with _lock:
        if lease.window == window:
            _put(lease, granted, wanted)
            if lease.left < weight:
                raise RateLimited(retry_after=1)
            _spend(lease, weight)
            return
    # The window ended while the cache was asked: this request belongs to the one that has just begun.
    _take(name, share, weight)


def _top_up(name: str, share: int, window: int, lease: _Lease) -> None:
    """Ask for as much as usual, and for what went out unasked, in the background."""
    with _lock:
        wanted = _as_usual(lease, share) + max(0, -lease.left)
    try:
        granted = _granted(name, window, wanted, share, lease)
        with _lock:
            if lease.window == window:
                _put(lease, granted, wanted)
    finally:
        lease.is_asked = False


def _as_usual(lease: _Lease, share: int) -> int:
    return min(int(share * LEASE), max(lease.before, lease.used) // 4)


def _put(lease: _Lease, granted: int, wanted: int) -> None:
    lease.left += granted
    lease.is_spent = granted < wanted


def _room(lease: _Lease, share: int) -> int:
    return lease.left + (0 if lease.is_spent else share // UNASKED)


def _spend(lease: _Lease, weight: int) -> None:
    lease.left -= weight
    lease.used += weight


def _lease(name: str, share: int, window: int) -> _Lease:
    """Return the lease of this window; one that has ended is begun anew, with what is left of the window just before."""
    lease = _leases.get(name)
    if lease is None:
        lease = _Lease(window)
        _leases.put(name, lease)
    elif lease.window != window:
        follows = lease.window == window - 1
        lease.left = max(0, min(lease.left, share // UNASKED)) if follows else 0
        lease.before = lease.used if follows else 0
        lease.window, lease.used, lease.granted, lease.is_spent = window, 0, 0, False
    return lease


def _granted(name: str, window: int, wanted: int, share: int, lease: _Lease) -> int:
    """Return how many of the wanted ones the share still holds."""
    global _down_until
    if time.monotonic() >= _down_until:
        key = f"share:{name}:{window}"
        try:
            cache.add(key, 0, timeout=5)
            return max(0, min(wanted, share - (cache.incr(key, wanted) - wanted)))
        except ValueError:  # it ran out between the two: the clock jumped
            pass
        except (RedisError, OSError) as error:
            _down_until = time.monotonic() + DOWN
            log.warning("the shared cache does not answer: shares are counted by process", error=type(error).__name__)
    with _lock:
        granted = max(0, min(wanted, share - lease.granted))
        lease.granted += granted
        return granted


def _start_anew() -> None:
    """Give a forked process a thread and locks of its own."""
    global _asking, _leases, _lock
    _asking, _leases, _lock = ThreadPoolExecutor(1, thread_name_prefix="shares"), Lru(AT_MOST), threading.Lock()


_asking = ThreadPoolExecutor(1, thread_name_prefix="shares")
os.register_at_fork(after_in_child=_start_anew)
