"""Beat, the workers of each queue and what they have to do: alive or gone, and how far behind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db.models import Subquery

from support import backlog
from support.fleet import heartbeats
from support.models import FleetFigures, Heartbeat

log = structlog.get_logger(__name__)
QUEUES = {
    "checks": "Workers for people",
    "sweep": "Workers for health",
    "bulk": "Workers for bulk work",
    "webhooks": "Workers for webhooks",
    "streams": "Workers for streams of the log",
    "configuration": "Worker for step 5",
}
# Later than this is worth a colour.
LATE = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Machine:
    """One line of the list.

    Attributes:
        tone: `ok`, `warn`, `bad`, or `none` where nothing is known.
        now: how it stands, in words.
        behind: how far behind, in words; "" where nobody can tell.
    """

    name: str
    tone: str
    now: str
    behind: str


# Kind of work (`support.backlog`) → what people call it.
WORK = {
    "probe": "Health sweep",
    "test": "Encryption tests",
    "configuration": "Step 5",
    "branch_key": "Branch keys",
    "mail": "Mails",
    "event": "Log follower",
}


def figures() -> FleetFigures | None:
    """Return the figures of the fleet, and with them when the oldest row of each kind of work was due: one question."""
    oldest = {f"oldest_{kind}": Subquery(backlog.WORK[kind].oldest()) for kind in WORK}
    return FleetFigures.objects.filter(pk=1).annotate(**oldest).first()


def machines(found: FleetFigures | None, now: datetime) -> list[Machine]:
    """Return beat, the workers of each queue, and each kind of work with its lag."""
    seen: dict[str, list[datetime]] = {}
    for kind, at in Heartbeat.objects.order_by("-seen_at").values_list("kind", "seen_at")[:200]:
        seen.setdefault(kind, []).append(at)
    waiting = _waiting()
    listed = [_process("Beat", seen.get(heartbeats.BEAT, []), now, "")]
    for queue, name in QUEUES.items():
        count = waiting.get(queue)
        behind = "" if count is None else f"{count:,} waiting"
        listed.append(_process(name, seen.get(queue, []), now, behind))
    for kind, name in WORK.items():
        listed.append(_lag(name, getattr(found, f"oldest_{kind}", None) if found else None, now))
    return listed


def _process(name: str, seen: list[datetime], now: datetime, behind: str) -> Machine:
    alive = [at for at in seen if not heartbeats.is_gone(at, now)]
    gone = len(seen) - len(alive)
    if not seen:
        return Machine(name, "none", "not seen yet", behind)
    behind = behind or f"{max(0, int((now - seen[0]).total_seconds()))} s"
    if not alive:
        return Machine(name, "bad", "gone", behind)
    if gone and name != "Beat":
        return Machine(name, "warn", f"{len(alive)} of {len(seen)}", behind)
    return Machine(name, "ok", "alive" if name == "Beat" else f"{len(alive)} alive", behind)


def _lag(name: str, due: datetime | None, now: datetime) -> Machine:
    late = max(timedelta(), now - due) if due else timedelta()
    if late > LATE:
        return Machine(name, "warn", "behind", _spelt(late))
    return Machine(name, "ok", "on time", _spelt(late))


def _spelt(lasts: timedelta) -> str:
    seconds = lasts.total_seconds()
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3600:.0f} h"


def _waiting() -> dict[str, int]:
    """Return how many messages wait in each queue; nothing where the broker does not say."""
    if not settings.CELERY_BROKER_URL.startswith("redis"):
        return {}
    try:
        return backlog.messages()
    except Exception as error:  # noqa: BLE001  a page about what is broken must not break with it
        log.warning("broker_not_asked", why=type(error).__name__)
        return {}
