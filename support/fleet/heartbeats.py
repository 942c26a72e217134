"""Which processes of ours are at work: beat and the workers of each queue say so themselves, in a row each."""

from __future__ import annotations

import os
import socket
from datetime import datetime, timedelta

from byokportal import clock
from support.models import Heartbeat

# Beat sends a message to each queue so often; a worker that takes it is seen.
EVERY = timedelta(seconds=15)
# Not seen for so long: gone. Two workers of one queue share the messages, so each is seen less often.
GONE_AFTER = timedelta(minutes=3)
BEAT = "beat"
KEPT = timedelta(days=1)


def beat(kind: str, name: str) -> None:
    """Note that a process is at work.

    Args:
        kind: `beat`, or the queue that the worker took a message of.
        name: host and process, for people.
    """
    now = clock.now()
    if not Heartbeat.objects.filter(kind=kind, name=name[:200]).update(seen_at=now):
        Heartbeat.objects.bulk_create([Heartbeat(kind=kind, name=name[:200], seen_at=now)], ignore_conflicts=True)


def beat_is_at_work() -> None:
    """Called by beat itself, every `EVERY`."""
    beat(BEAT, f"{socket.gethostname()}:{os.getpid()}")


def clear() -> None:
    """Forget the processes that have been gone for a day."""
    Heartbeat.objects.filter(seen_at__lt=clock.now() - KEPT).delete()


def is_gone(seen_at: datetime, now: datetime) -> bool:
    return now - seen_at > GONE_AFTER
