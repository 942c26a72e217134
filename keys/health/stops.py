"""Which of our processes have stopped: what each one wrote down, and what its silence means (`keys.standing`)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from byokportal import clock
from keys.models import CacheDrop, ServingProcess

SILENT = timedelta(
    seconds=5
)  # a process that has not read for so long what has changed gives out nothing (design.md 8)


@dataclass(frozen=True, slots=True)
class Process:
    """One process and one stop.

    Args:
        at: when it gave out nothing any more; None: it has not said so yet.
        count: branch keys that it dropped.
    """

    name: str
    at: datetime | None
    count: int = 0


def of(tenant_id: uuid.UUID, *, generation: int, since: datetime) -> list[Process]:
    """Return what the processes that lived at a stop have made of it.

    A process that was seen after the stop and wrote nothing down held nothing of this tenant: it had stopped by then at the latest.
    One that is silent for five seconds gives out nothing, whether it lives or not.

    Args:
        generation: of the tenant, which the stop has raised.
        since: the time of the stop.
    """
    drops = {
        drop.process_id: drop
        for drop in CacheDrop.objects.filter(tenant=tenant_id, generation__gte=generation).order_by("-at")
    }
    found = []
    for process in ServingProcess.objects.filter(seen_at__gt=since - SILENT, started_at__lte=since):
        drop = drops.get(process.pk)
        if drop is not None:
            found.append(Process(process.name, drop.at, drop.count))
        elif process.seen_at > since:
            found.append(Process(process.name, process.seen_at))
        else:
            dead_at = process.seen_at + SILENT
            found.append(Process(process.name, dead_at if dead_at < clock.now() else None))
    return found
