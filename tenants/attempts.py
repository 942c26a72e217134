"""How often something was tried lately: counted over all processes in the shared cache,
by each process alone while that does not answer."""

from __future__ import annotations

import hashlib
import secrets
import threading
from dataclasses import dataclass

import structlog
from django.core.cache import cache
from redis.exceptions import RedisError

from byokportal import clock
from byokportal.lru import Lru

log = structlog.get_logger(__name__)

DOWN = 5.0  # seconds without the shared cache after it did not answer
AT_MOST = 10_000  # counters that a process keeps by itself


@dataclass(frozen=True, slots=True)
class Limit:
    """So many in so many seconds, from the first on."""

    name: str
    count: int
    seconds: int


_lock = threading.Lock()
_own: Lru[str, tuple[float, int]] = Lru(AT_MOST)  # key → until when (monotonic), how many
_down_until = 0.0
_prefix = "attempts"


def count(limit: Limit, who: str) -> int:
    """Count one more, and return how many that are."""
    return _raised(_key(limit, who), limit.seconds, 1)


def take_back(limit: Limit, who: str) -> None:
    """Take one back: it turned out not to count."""
    _raised(_key(limit, who), limit.seconds, -1)


def forget_all() -> None:
    """Forget every count (tests start anew)."""
    global _prefix, _down_until
    _prefix, _down_until = f"attempts-{secrets.token_hex(4)}", 0.0
    _own.clear()


def _key(limit: Limit, who: str) -> str:
    # no mail address stands in the cache
    return f"{_prefix}:{limit.name}:{hashlib.sha256(who.encode()).hexdigest()[:32]}"


def _raised(key: str, seconds: int, by: int) -> int:
    global _down_until
    if clock.monotonic() >= _down_until:
        try:
            cache.add(key, 0, timeout=seconds)
            return int(cache.incr(key, by))
        except ValueError:  # it ended between the two
            return max(by, 0)
        except (RedisError, OSError) as error:
            log.error("the shared cache does not answer: attempts are counted by each process", exc_info=error)
            _down_until = clock.monotonic() + DOWN
    with _lock:
        now = clock.monotonic()
        until, before = _own.peek(key) or (0.0, 0)
        if until <= now:
            until, before = now + seconds, 0
        number = max(before + by, 0)
        _own.put(key, (until, number))
        return number
