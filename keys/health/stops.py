"""Which of our processes have stopped: what each one wrote down,
and what its silence means (`keys.datakeys.snapshots`)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from byokportal import clock, visibility
from keys.models import CacheDrop, ServingProcess
from tenants.models import Tenant

# A process gives out nothing once it has read nothing for `TOO_OLD` (4 s, keys.datakeys.snapshots). That it has read it
# writes down only every `HEARTBEAT` (2 s), a look is up to a second after the one before, and an answer needs
# a moment to leave.
SILENT = timedelta(seconds=8)


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


def of(tenant: Tenant, *, generation: int, since: datetime) -> list[Process]:
    """Return what the processes that lived at a stop have made of it.

    A process whose snapshot has seen the stop and that wrote nothing down held nothing of this tenant: it had
    stopped by then at the latest. The time at which it was seen proves nothing, because a stop can be read only after
    it is committed. A process that was not seen for `SILENT` gives out nothing, whether it lives or not. One that began
    after the stop is no part of it.

    Args:
        tenant: its row at this moment, with what `keys.lifecycle.changed` wrote.
        generation: of the tenant, which the stop has raised.
        since: the time of the stop.
    """
    drops = {
        drop.process_id: drop
        for drop in CacheDrop.objects.filter(tenant=tenant, generation__gte=generation).order_by("-at")
    }
    stopped_in = tenant.key_stopped_in or 0  # a stop from before they were numbered: everybody has seen it
    found = []
    for process in ServingProcess.objects.filter(seen_at__gt=since - SILENT):
        drop = drops.get(process.pk)
        if drop is not None:
            found.append(Process(process.name, drop.at, drop.count))
        elif visibility.has_seen(process.started_snapshot, stopped_in):
            continue
        elif visibility.has_seen(process.seen_snapshot, stopped_in):
            found.append(Process(process.name, process.seen_at))
        else:
            dead_at = process.seen_at + SILENT
            found.append(Process(process.name, dead_at if dead_at < clock.now() else None))
    return found
