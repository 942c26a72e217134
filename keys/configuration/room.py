"""Room for tenants on our service roles: counted exactly, and the next role is open before the last is full."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db.models import Sum

from byokportal import clock
from byokportal.errors import DomainError
from keys.configuration import opening, packing, quotas
from keys.models import AccountQuotas, KeyRegistration, ServiceRolePolicy
from tenants import audit, transactions
from tenants.models import ServiceRole

log = structlog.get_logger(__name__)

AT_ONCE = 20  # service roles that are counted in one run
COUNTED_AGAIN = timedelta(hours=1)
TRIED_AGAIN = timedelta(minutes=1)  # when no service role could be opened
SAMPLE = 30  # policies, the last that were written, whose ARNs say how long one is
SAID_AGAIN = timedelta(days=1)  # that there is too little room, while it is so


def count(service_role: ServiceRole) -> int:
    """Count how many tenants a service role still takes, and write it down.

    What stands in our policies counts, what tenants gave and no policy names yet, and a reserve for each tenant that
    has given no ARN. Room that a tenant gave back is free again with the next count.
    """
    return _count(service_role.pk)


@transactions.atomic
def _count(service_role_id: int) -> int:
    # An operation that takes a place holds this row until it ends (tenants.services.service_roles): none is missed.
    service_role = ServiceRole.objects.select_for_update(no_key=True).get(pk=service_role_id)
    rows = ServiceRolePolicy.objects.filter(service_role=service_role)
    named: dict[int, list[str]] = {row.slot: row.role_arns for row in rows}
    known = {arn for arns in named.values() for arn in arns}
    needing = KeyRegistration.objects.filter(tenant__service_role=service_role, role_arn__gt="")
    needing = needing.exclude(status=KeyRegistration.Status.RETIRED)
    # Canaries have their ARNs soon and take no customer's place; what they write into the policies counts by its bytes.
    customers = service_role.tenants.filter(is_canary=False, closed_at=None).count()
    given = set(needing.values_list("role_arn", flat=True)) - known
    talking = needing.filter(tenant__is_canary=False).values("tenant").distinct().count()
    places = packing.places(
        named,
        given=sorted(given),
        silent=max(0, customers - talking),
        each=_reserve(),
        our_account=settings.AWS_ACCOUNT_ID,
        share=settings.SERVICE_ROLE_SHARE,
    )
    ServiceRole.objects.filter(pk=service_role.pk).update(
        places=places, is_open=places > 0, count_due_at=clock.now() + COUNTED_AGAIN
    )
    return places


def _reserve() -> int:
    lately = ServiceRolePolicy.objects.exclude(written_at=None).order_by("-written_at")[:SAMPLE]
    return packing.reserve(arn for row in lately for arn in row.role_arns)


def keep() -> ServiceRole | None:
    """Count the service roles that are due, and open the next one where there is room for too few tenants.

    Returns:
        the service role that was opened, if one was.
    """
    now = clock.now()
    due = ServiceRole.objects.filter(count_due_at__lte=now).order_by("count_due_at")
    for pk in list(due.values_list("pk", flat=True)[:AT_ONCE]):
        _count(pk)
    newest = ServiceRole.objects.order_by("-created_at").first()
    if newest is None:  # the first one is opened by hand, when the account is ready for it
        return None
    try:
        return _keep(newest)
    except DomainError as error:
        log.warning("no_room_kept", code=error.code, aws_code=error.params.get("aws_code"))
        ServiceRole.objects.filter(pk=newest.pk).update(count_due_at=now + TRIED_AGAIN)
        _say_if_short(AccountQuotas.objects.filter(pk=1).first(), now, why=str(error))
        return None


def _keep(newest: ServiceRole) -> ServiceRole | None:
    known, opened = quotas.read(), None
    if places_open() < settings.SERVICE_ROLES_ROOM:
        known = quotas.read(anew=True)
        if quotas.more_service_roles(known) and opening.can_open():
            opened = opening.open_service_role()
            _count(opened.pk)
            known = quotas.read(anew=True)
    _say_if_short(known, clock.now(), why="IAM's quotas of our account")
    return opened


def places_open() -> int:
    """Return how many new tenants the open service roles take."""
    return int(ServiceRole.objects.filter(is_open=True).aggregate(places=Sum("places"))["places"] or 0)


def places_by_quota(known: AccountQuotas) -> int:
    """Return how many new tenants our account has room for, with every service role that it may still have."""
    each = packing.places(
        {}, given=(), silent=0, each=_reserve(), our_account=settings.AWS_ACCOUNT_ID, share=settings.SERVICE_ROLE_SHARE
    )
    return places_open() + quotas.more_service_roles(known) * each


@transactions.atomic
def _say_if_short(known: AccountQuotas | None, now: datetime, *, why: str) -> None:
    """Call a person when few places are open, or the account's quotas end soon; once a day while it is so."""
    if known is None:
        known = AccountQuotas(pk=1, policy_size=packing.LIMIT, attached=packing.SLOTS, read_at=now - quotas.GOOD_FOR)
        known.roles = known.roles_quota = known.policies = known.policies_quota = 0
    is_open, allowed = places_open(), places_by_quota(known) if known.roles_quota else None
    is_short = is_open < settings.SERVICE_ROLES_WARN
    if not is_short and (allowed is None or allowed >= settings.SERVICE_ROLES_QUOTA_WARN):
        AccountQuotas.objects.filter(pk=1).exclude(short_since=None).update(short_since=None)
        return
    if known.short_since is not None and known.short_since > now - SAID_AGAIN:
        return
    known.short_since = now
    known.save()
    log.error("service_roles_short", places=is_open, by_quota=allowed)
    audit.record(
        "keys.service_roles.short",
        tenant=None,
        actor=audit.SYSTEM,
        places=is_open,
        by_quota=allowed if allowed is not None else "unknown",
        why=why,
    )
