"""When a test that cannot tell yet looks again; pure."""

from __future__ import annotations

from collections.abc import Set
from datetime import datetime, timedelta

from keys.proof.encryption_test.base import Wait
from keys.proof.encryption_test.facts import Clock

STEPS = (5, 10, 15, 30)  # seconds between looks after a change (at 5, 15, 30, 60 s), then every minute
MINUTE, LATER, HOUR = 60, 300, 3600
LONGEST = timedelta(seconds=60)  # of a back-off


def next_look(
    now: datetime,
    clock: Clock,
    waits: Set[Wait],
    *,
    changed_at: datetime,
    window: timedelta,
    attempts: int,
    jitter: float = 1.0,
) -> datetime:
    """Return when to look again: the earliest of what is waited for.

    Args:
        waits: why there is no verdict yet.
        changed_at: the last change on either side.
        window: how long a refusal after it may be propagation.
        attempts: looks so far, for the back-off.
        jitter: factor of a back-off, about 1.
    """
    times = []
    if Wait.PROPAGATION in waits:
        times.append(min(now + _until_next(now - changed_at, window), clock.grace_until))
    if Wait.SECOND_LOOK in waits:
        times.append(max(now, (clock.insecure_at or clock.refused_at or clock.now) + clock.gap))
    if Wait.AWS in waits or Wait.OURS in waits:
        times.append(now + min(LONGEST, timedelta(seconds=2 ** min(attempts, 6)) * jitter))
    return min(times)


def _until_next(elapsed: timedelta, window: timedelta) -> timedelta:
    """Return the time to the next point of the schedule; a short window has its looks closer together."""
    at, index = timedelta(0), 0
    while True:
        seconds = STEPS[index] if index < len(STEPS) else MINUTE if at < timedelta(seconds=HOUR) else LATER
        step = min(timedelta(seconds=seconds), window / 4) if at < window else timedelta(seconds=seconds)
        at, index = at + step, index + 1
        if at - elapsed > step / 4:  # a look that is almost due is left to the next point
            return at - elapsed
