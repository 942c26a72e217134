"""How long until a key is asked again: by whether it answers, who needs it, and whether a drill measures."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from django.conf import settings

from byokportal import clock
from keys.models import KeyHealth

HOUR, DAY = 3_600.0, 86_400.0  # between questions about a key that only backups need, or that a button stops


def when_well(health: KeyHealth) -> float:
    """Return the seconds until a key that answers is asked again."""
    registration = health.registration
    if registration.needed_until is not None:  # only backups need that one
        pause = DAY
    else:
        pause = HOUR if registration.is_stopped_by_a_person else settings.PROBE_SECONDS
    if health.insecure_since is not None:  # the second look comes a gap later
        pause = min(pause, settings.EXTERNAL_ID_PROBE_GAP)
    return float(_dense(health, pause))


def when_refused(health: KeyHealth) -> float:
    """Return the seconds until a key that did not answer is asked again: longer each time."""
    registration = health.registration
    if registration.needed_until is not None:
        return HOUR
    # whatever AWS says, it stays stopped: only the date of a deletion is looked for
    if registration.is_stopped_by_a_person:
        return float(_dense(health, HOUR))
    pauses = settings.DENIED_PROBE_SECONDS
    return float(_dense(health, pauses[min(health.denied_probes, len(pauses) - 1)]))


def _dense(health: KeyHealth, pause: float) -> float:
    is_dense = health.dense_until is not None and health.dense_until > clock.now()
    return min(pause, settings.DRILL_PROBE_SECONDS) if is_dense else pause


def next_at(pause: float, *, is_exact: bool = False) -> datetime:
    """Return the time in so many seconds, jittered unless somebody waits for it:
    ten thousand keys are not asked at once."""
    jitter = 1.0 if is_exact else random.uniform(0.9, 1.1)  # noqa: S311  jitter is no secret
    return clock.now() + timedelta(seconds=pause * jitter)
