"""Who used a tenant's key, as people read it: which uses somebody asks for, a page of them, a file, the hours.

A use is one row for each request, written before a key leaves. It names the call to AWS that unwrapped the branch key
which it used (`BranchKeyLoad`): by that call's request id and session name the tenant finds it in their own CloudTrail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet, Sum

from byokportal import clock, exports, keyset
from byokportal.keyset import Fits, Page
from byokportal.translation import lazy
from keys.models import BranchKeyLoad, KeyUse, KeyUseHour
from tenants.models import ArchivedMonth, Tenant

HOUR = timedelta(hours=1)
BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)  # before any use
PLOTTED = 7 * 24  # hours in the plot at most, the last ones of the period
SERVICES = 50  # that the page names
DONE = {"generate": lazy("Made"), "decrypt": lazy("Opened"), "rewrap": lazy("Moved")}  # what people call the operations
COLUMNS = (
    "id",
    "at",
    "service",
    "operation",
    "keys",
    "data_scope",
    "context_digest",
    "request_id",
    "aws_request_id",
    "aws_session_name",
    "aws_region",
    "unwrapped_at",
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which uses somebody asks for; what is empty asks for nothing.

    Attributes:
        service: the caller as the row has it: `service:search (…)`.
        operation: `generate`, `decrypt` or `rewrap`.
        since, until: the period; its end is not in it.
        context_digest: SHA-256 in hex of the encryption contexts of the request (docs/log.md).
        request_id: of the request to us.
        aws_request_id: of the call to AWS that unwrapped the branch key.
    """

    service: str = ""
    operation: str = ""
    since: datetime | None = None
    until: datetime | None = None
    context_digest: str = ""
    request_id: str = ""
    aws_request_id: str = ""

    @property
    def is_everything(self) -> bool:
        return self == Wanted()


def page(tenant: Tenant, wanted: Wanted, cursor: str) -> Page:
    """Return a page of the uses that are wanted as facts, newest first.

    Raises:
        InvalidInput: the cursor is none of ours.
    """
    rows, fits = _found_by(tenant, wanted)
    found = keyset.page(rows, cursor, fits=fits)
    return replace(found, items=facts_of(tenant, found.items))


def newest(tenant: Tenant, wanted: Wanted) -> dict[str, Any] | None:
    """Return the newest use that is wanted but for its time, as far as one page finds it."""
    items = page(tenant, replace(wanted, since=None, until=None), "").items
    return items[0] if items else None


def file(tenant: Tenant, wanted: Wanted) -> exports.Source:
    """Return what a file of the uses that are wanted is made of, up to now."""
    rows, fits = _found_by(tenant, replace(wanted, until=wanted.until or clock.now()))
    shapes = {
        "jsonl": lambda uses: facts_of(tenant, uses),
        "csv": lambda uses: [_flat(one) for one in facts_of(tenant, uses)],
    }
    return exports.Source(rows, fits, COLUMNS, shapes, f"key-uses-{tenant.pk}", archived_until=archived_until)


def archived_until() -> datetime | None:
    """Return the time before which uses are in the archive; None: none is."""
    return ArchivedMonth.objects.until(ArchivedMonth.Table.USES)


# --- added up ------------------------------------------------------------------------------------------------------


def hours(tenant: Tenant, wanted: Wanted, cursor: str) -> Page:
    """Return a page of the hours of a period, newest first: one row for each service, operation and data scope in it.

    Raises:
        InvalidInput: the cursor is none of ours.
    """
    return keyset.page([_hours(tenant, wanted)], cursor, by="hour")


@dataclass(frozen=True, slots=True)
class Plot:
    """Data keys by hour over a period, and by service and operation.

    Attributes:
        hours: (beginning, keys) of each hour of the period, oldest first.
        services: service → operation → keys, whatever service and operation were asked for; the busiest first.
    """

    hours: list[tuple[datetime, int]]
    services: dict[str, dict[str, int]]

    @property
    def total(self) -> int:
        return sum(keys for _, keys in self.hours)

    @property
    def most(self) -> tuple[datetime, int]:
        """The busiest hour, the last one of several."""
        return max(reversed(self.hours), key=lambda one: one[1])


def plot(tenant: Tenant, wanted: Wanted) -> Plot:
    """Return what is added up of a period: the one that is wanted, or the last 24 hours; at most `PLOTTED` hours."""
    end = max(min(wanted.until or clock.now(), clock.now()), BEGINNING)
    last = (end - timedelta(microseconds=1)).replace(minute=0, second=0, microsecond=0)
    first = last - 23 * HOUR if wanted.since is None else wanted.since.replace(minute=0, second=0, microsecond=0)
    first = min(max(first, last - (PLOTTED - 1) * HOUR), last)
    period = replace(wanted, since=first, until=last + HOUR)
    keys = dict(_hours(tenant, period).order_by().values_list("hour").annotate(keys=Sum("keys")))
    everybody = _hours(tenant, replace(period, service="", operation="")).order_by()
    services: dict[str, dict[str, int]] = {}
    for service, operation, count in everybody.values_list("service", "operation").annotate(sum=Sum("keys")):
        services.setdefault(service, {})[operation] = count
    busiest = sorted(services.items(), key=lambda one: (-sum(one[1].values()), one[0]))[:SERVICES]
    count = (last - first) // HOUR + 1
    return Plot([(at, keys.get(at, 0)) for at in (first + n * HOUR for n in range(count))], dict(busiest))


def _hours(tenant: Tenant, wanted: Wanted) -> QuerySet[KeyUseHour]:
    found = KeyUseHour.objects.filter(tenant=tenant)
    if wanted.since is not None:
        found = found.filter(hour__gte=wanted.since.replace(minute=0, second=0, microsecond=0))
    if wanted.until is not None:
        found = found.filter(hour__lt=wanted.until)
    if wanted.service:
        found = found.filter(service=wanted.service)
    return found.filter(operation=wanted.operation) if wanted.operation else found


# --- one by one ----------------------------------------------------------------------------------------------------


def _found_by(tenant: Tenant, wanted: Wanted) -> tuple[list[Any], Fits | None]:
    """Return what one index finds, the most selective one, and what the uses have to be besides."""
    mine = KeyUse.objects.filter(tenant=tenant)
    if wanted.since is not None:
        mine = mine.filter(at__gte=wanted.since)
    if wanted.until is not None:
        mine = mine.filter(at__lt=wanted.until)
    if wanted.request_id:
        asked, left = [Q(request_id=wanted.request_id)], replace(wanted, request_id="")
    elif wanted.context_digest:
        asked, left = [Q(context_digest=wanted.context_digest)], replace(wanted, context_digest="")
    elif wanted.aws_request_id:
        # One call of AWS is one load; an id that is none of this tenant's finds nothing.
        loads = BranchKeyLoad.objects.filter(tenant=tenant, aws_request_id=wanted.aws_request_id)
        asked, left = [Q(load=loads.order_by().values("pk")[:1])], replace(wanted, aws_request_id="")
    else:
        asked, left = [Q()], wanted
    return [mine.filter(one) for one in asked], _fits(tenant, left)


def _fits(tenant: Tenant, left: Wanted) -> Fits | None:
    names = {"service": "caller", "operation": "operation", "context_digest": "context_digest"}
    facts = [(names[name], getattr(left, name)) for name in names if getattr(left, name)]
    if left.aws_request_id:
        found = BranchKeyLoad.objects.filter(tenant=tenant, aws_request_id=left.aws_request_id).first()
        facts.append(("load", found.pk if found else ""))
    if not facts:
        return None
    return lambda use: all(getattr(use, name) == value for name, value in facts)


def facts_of(tenant: Tenant, uses: Sequence[KeyUse]) -> list[dict[str, Any]]:
    """Return the uses as the API shows them and as they are sealed, each with its load; one query for all loads."""
    named = {use.load for use in uses if use.load is not None}
    loads = {load.pk: load for load in BranchKeyLoad.objects.filter(tenant=tenant, pk__in=named)} if named else {}
    return [_fact(use, loads.get(use.load) if use.load else None) for use in uses]


def _fact(use: KeyUse, load: BranchKeyLoad | None) -> dict[str, Any]:
    return {
        "id": use.pk,
        "at": use.at.isoformat(),
        "service": use.caller,
        "operation": use.operation,
        "keys": use.count,
        "data_scope": use.data_scope,
        "context_digest": use.context_digest,
        "request_id": use.request_id,
        "unwrap": None
        if load is None
        else {
            "aws_request_id": load.aws_request_id,
            "session_name": load.session_name,
            "region": load.region,
            "at": load.at.isoformat(),
        },
    }


def _flat(fact: dict[str, Any]) -> dict[str, Any]:
    unwrap = fact.pop("unwrap") or {}
    return {
        **fact,
        "aws_request_id": unwrap.get("aws_request_id", ""),
        "aws_session_name": unwrap.get("session_name", ""),
        "aws_region": unwrap.get("region", ""),
        "unwrapped_at": unwrap.get("at", ""),
    }
