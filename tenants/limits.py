"""Fair shares: how many data keys a caller, and a tenant, may have in a second, counted in the shared cache.

Each second is a window with a counter for each caller and each tenant; an item of a batch counts like a request of its own.
The counter lives in Redis and is raised atomically (INCRBY), so that all processes together give out one share. A process does
not ask for each request, which would cost as much as making the key: it takes a lease of several, sized by what it used in the
second before, and what it does not use is lost with the window.

The shares are for fairness, they are no security control: when the shared cache does not answer, every process goes on with
the whole share counted by itself, and asks again after 5 seconds.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

import structlog
from django.conf import settings
from django.core.cache import cache
from redis.exceptions import RedisError

from byokportal.errors import RateLimited

log = structlog.get_logger(__name__)

LEASE = 0.05  # of the share: the most that one process takes at once, so that many processes get their part
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


_lock = threading.Lock()
_leases: OrderedDict[str, _Lease] = OrderedDict()
_down_until = 0.0


def take(caller: str, tenant: str, weight: int) -> None:
    """Take so many data keys out of the caller's and the tenant's share of this second.

    Raises:
        RateLimited: one of them is used up.
    """
    _take(f"caller:{caller}", settings.DATA_KEYS_PER_CALLER, weight)
    _take(f"tenant:{tenant}", settings.DATA_KEYS_PER_TENANT, weight)


def forget_all() -> None:
    """Forget every lease, and that the shared cache was down (tests start anew)."""
    global _down_until
    with _lock:
        _leases.clear()
        _down_until = 0.0


def _take(name: str, share: int, weight: int) -> None:
    weight = min(weight, share)  # a batch above the whole share takes all of it, else it could never pass
    window = int(time.time())
    with _lock:
        lease = _lease(name, window)
        if _spend(lease, weight):
            return
        if lease.is_spent:
            raise RateLimited(retry_after=1)
        wanted = max(weight - lease.left, min(int(share * LEASE), lease.before // 4))
    granted = _granted(name, window, wanted, share, lease)
    with _lock:
        if lease.window == window:
            lease.left += granted
            lease.is_spent = granted < wanted
            if _spend(lease, weight):
                return
            raise RateLimited(retry_after=1)
    # The window ended while the cache was asked: this request belongs to the one that has just begun.
    _take(name, share, weight)


def _spend(lease: _Lease, weight: int) -> bool:
    if lease.left < weight:
        return False
    lease.left -= weight
    lease.used += weight
    return True


def _lease(name: str, window: int) -> _Lease:
    """Return the lease of this window; that of another one has ended."""
    lease = _leases.get(name)
    if lease is None:
        lease = _leases[name] = _Lease(window)
        while len(_leases) > AT_MOST:
            _leases.popitem(last=False)
    elif lease.window != window:
        before = lease.used if lease.window == window - 1 else 0
        lease.window, lease.left, lease.used, lease.before, lease.granted = window, 0, 0, before, 0
        lease.is_spent = False
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
