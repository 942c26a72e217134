"""Operations of incidents: a person has looked, and closes one, or asks all that it holds (design.md 8)."""

from __future__ import annotations

from byokportal import clock
from keys import errors, health, tasks
from keys.health import blame
from keys.models import Incident, KeyHealth
from tenants import audit, roles, transactions
from tenants.audit import Actor
from tenants.services import reason_of


@transactions.atomic
def close_incident(incident: Incident, *, reason: str, actor: Actor) -> None:
    """Close an incident by hand: what AWS refuses since before now is the tenants' doing, and moves go on.

    The keys that were held are asked again at once. Those that AWS refuses are suspended, unless the canary
    or AWS's own words show that it is ours after all: that opens the next incident.

    Raises:
        IncidentOver: it is closed already.
    """
    roles.require(actor, "keys.close_incident")
    reason, now = reason_of(reason), clock.now()
    mine = Incident.objects.filter(pk=incident.pk, closed_at=None)
    if not mine.update(closed_at=now, closed_by=actor.label[:200], closing_reason=reason):
        raise errors.IncidentOver
    held = blame.held(incident.service_role).select_for_update(no_key=True, of=("self",)).order_by("pk")
    KeyHealth.objects.filter(registration__in=list(held.values_list("pk", flat=True))).update(next_probe_at=now)
    audit.record(
        "keys.incident.closed_by_hand",
        tenant=None,
        actor=actor,
        target=incident,
        service_role_arn=incident.service_role.arn,
        reason=reason,
    )
    tasks.enqueue(tasks.sweep)


@transactions.atomic
def probe_incident(incident: Incident, *, reason: str, actor: Actor) -> int:
    """Ask AWS about every key that an incident holds, from now on and some of them each second.

    Returns:
        how many are asked.

    Raises:
        IncidentOver: it is closed; nobody is held for it.
    """
    roles.require(actor, "keys.probe_incident")
    reason = reason_of(reason)
    if not Incident.objects.filter(pk=incident.pk, closed_at=None).exists():
        raise errors.IncidentOver
    count = health.ask_many(blame.held(incident.service_role))
    audit.record(
        "keys.incident.probes_requested",
        tenant=None,
        actor=actor,
        target=incident,
        service_role_arn=incident.service_role.arn,
        count=count,
        reason=reason,
    )
    tasks.enqueue(tasks.sweep)
    return count
