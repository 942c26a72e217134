"""Ask the canary of each service role all day, in each Region that its tenants use: what is ours is known before a
customer meets it (design.md 8)."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings

from byokportal import clock
from keys.aws import sessions
from keys.health import blame
from keys.models import KeyHealth
from tenants.models import ServiceRole

AT_ONCE = 20  # service roles a run
REGIONS = 10  # of one service role that are asked in one look; the others have their turn by chance
HOME = "us-east-1"  # asked where a service role has no tenant in service yet
TOO_OFTEN = 3  # looks within the window in which an incident stays open


def look() -> int:
    """Ask the canaries that are due, each by the path of a probe: our session of the service role, then the canary's
    role by its External ID, at the STS of the Region.

    A refusal, met twice with a fresh session in between, opens the incident of the service role: until it is over
    nobody's refusal counts as a tenant's. A silence says nothing.

    Returns:
        how many service roles were refused.
    """
    now, refused = clock.now(), 0
    due = ServiceRole.objects.exclude(canary_role_arn="").filter(canary_due_at__lte=now)
    for service_role in list(due.order_by("canary_due_at")[:AT_ONCE]):
        mine = due.filter(pk=service_role.pk, canary_due_at=service_role.canary_due_at)
        if mine.update(canary_due_at=now + every()):  # else another worker asks it
            refused += _is_refused(service_role)
    return refused


def every() -> timedelta:
    """Return how long it is between two looks: as with probes, but often enough to keep an incident open."""
    return timedelta(seconds=min(settings.PROBE_SECONDS, settings.MANY_DENIALS_SECONDS / TOO_OFTEN))


def _is_refused(service_role: ServiceRole) -> bool:
    for region in _regions(service_role):
        if blame.canary(service_role, region).allowed is not False:
            continue
        sessions.forget_role(service_role.arn)  # a session from before a change is no proof
        again = blame.canary(service_role, region)
        if again.allowed is False:
            blame.canary_is_refused(service_role, f"{again.aws_code} in {region}")
            return True
    return False


def _regions(service_role: ServiceRole) -> list[str]:
    used = KeyHealth.objects.probed().filter(tenant__service_role=service_role).values_list("region", flat=True)
    return sorted(set(used.order_by("?")[: REGIONS * 10]))[:REGIONS] or [HOME]
