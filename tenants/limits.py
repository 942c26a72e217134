"""Fair shares: how many data keys a caller, and a tenant, may have in a second, over all processes that give them out.

Each process counts by itself and gives out its part: the share divided by the number of live serving processes, which
`keys.datakeys.snapshots` reads from the heartbeats (`set_processes`). Nothing is asked of anybody, so nothing waits,
and `take` runs on the event loop. An item of a batch counts like a request of its own. A batch that is larger than the
part takes what the next seconds have too:
it passes, or nobody could ever ask for one, and its caller waits until that is paid.

What a process does not give out in a second is lost: no process has it, and a busy caller never loses its own to an
idle one. The trade-off: a caller whose connections all end at one of N processes gets an N-th of its share. Services
keep several connections, and workers of uvicorn and load balancers spread them; docs/deploy.md says so to whoever sets
the numbers. Together the processes give out no more than the share, rounded up in each; while a new process is not yet
counted by the others (seconds), by its part more.

The shares are for fairness, they are no security control.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

from django.conf import settings

from byokportal import clock
from byokportal.errors import RateLimited
from byokportal.lru import Lru

# Callers and tenants that a process remembers.
AT_MOST = 10_000


@dataclass(slots=True)
class _Count:
    """What one caller or tenant has had of this process in one second,
    and what it still owes from the seconds before."""

    second: int
    used: int = 0


_lock = threading.Lock()
_counts: Lru[str, _Count] = Lru(AT_MOST)
_processes = 1


def take(caller: str, tenant: str, weight: int) -> None:
    """Take so many data keys out of the caller's and the tenant's share of this second; out of both or of none.

    Raises:
        RateLimited: one of them is used up.
    """
    second = int(clock.seconds())
    with _lock:
        counts = []
        for name, share in (
            (f"caller:{caller}", settings.DATA_KEYS_PER_CALLER),
            (f"tenant:{tenant}", settings.DATA_KEYS_PER_TENANT),
        ):
            part = math.ceil(share / _processes)
            count = _count(name, second, part)
            missing = count.used + min(weight, part) - part
            if missing > 0:
                raise RateLimited(retry_after=math.ceil(missing / part))
            counts.append(count)
        for count in counts:
            count.used += weight


def set_processes(number: int) -> None:
    """Say how many processes give out data keys now, this one included."""
    global _processes
    _processes = max(1, number)


def forget_all() -> None:
    """Forget every count, and the other processes (tests start anew)."""
    with _lock:
        _counts.clear()
        set_processes(1)


def _count(name: str, second: int, part: int) -> _Count:
    """Return the count of this second; each second that has passed pays for one part of what was used."""
    count = _counts.get(name)
    if count is None:
        count = _Count(second)
        _counts.put(name, count)
    elif count.second != second:
        # A clock that was set back counts like one that went on.
        count.used = max(0, count.used - part * abs(second - count.second))
        count.second = second
    return count
