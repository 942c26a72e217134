"""What the home page shows, read in five queries however many rows there are."""

from __future__ import annotations

import uuid
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Case, Count, F, FilteredRelation, Min, OuterRef, Q, QuerySet, Subquery, Sum, Value, When
from django.db.models.functions import TruncDate

from byokportal import clock
from byokportal.translation import translate as _
from keys.arns import RoleArn
from keys.errors import ArnRefused, OwnAccessBroken
from keys.models import (
    BranchKeyLoad,
    Canary,
    CheckResult,
    EncryptionTest,
    Incident,
    KeyRegistration,
    KeyUseHour,
    RegistrationMove,
    RevocationDrill,
)
from keys.models.scopes import DEFAULT_SCOPE
from keys.overview import costs, outages
from keys.overview.outages import Day, Outage
from keys.proof.encryption_test.report import chain
from tenants.models import AccessToken, Approval, Tenant

Status = KeyRegistration.Status
HEALTH_DAYS = 90
USE_DAYS = 30
MOVES = 500  # that a page reads, the newest
LOADS = 20_000  # that a page counts, the newest
SERVICES = 12  # that a page names, the busiest
ENOUGH = timedelta(days=1)  # of use, before a month is told from it
SOON = timedelta(days=14)  # a token that ends within it is named
STALE = timedelta(days=90)  # a drill older than that is due again


@dataclass(frozen=True, slots=True)
class LastTest:
    id: uuid.UUID
    verdict: str
    passed: int
    total: int
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class ServiceUse:
    """Data keys that one service got or opened, day by day, the oldest first.

    Args:
        days: one number for each of the last `USE_DAYS` days, today last.
    """

    service: str
    days: tuple[int, ...]

    @property
    def keys(self) -> int:
        return sum(self.days)


@dataclass(frozen=True, slots=True)
class Spending:
    """KMS calls in the customer's account.

    Args:
        account: that pays: the one of the customer's role.
        counted: unwraps that were seen, since `since`; `is_all` is False where there were more than a page counts.
        months: what a month costs, at several latencies; empty before a day of use has been seen.
    """

    account: str
    counted: int
    since: datetime
    is_all: bool
    months: tuple[costs.Cost, ...]

    @property
    def yours(self) -> costs.Cost | None:
        return next((one for one in self.months if one.is_yours), None)


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that is worth doing next; `code` says which, `name` and `at` what it is about."""

    code: str
    name: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Overview:
    """The state of a tenant's key, what it did, and what comes next.

    Args:
        registration: that serves, or the newest that ever did; with `probed_at`, `asked_at`, `deletion_at` of its
            health.
        incident_since: an incident of ours on the way to this key is open since.
        canary_passed_at: when our own tenant last used its key by the same service role, in the Region of this key.
        canary_fails_since: since when it does not come through.
        health: the last `HEALTH_DAYS` days, today last.
    """

    registration: KeyRegistration
    latency: int
    probed_at: datetime | None
    next_probe_at: datetime | None
    deletion_at: datetime | None
    first_served_at: datetime
    incident_since: datetime | None
    canary_passed_at: datetime | None
    canary_fails_since: datetime | None
    chain: chain.Chain
    health: tuple[Day, ...]
    outages: tuple[Outage, ...]
    use_days: tuple[date, ...]
    use: tuple[ServiceUse, ...]
    spending: Spending
    test: LastTest | None
    drill: RevocationDrill | None
    actions: tuple[Action, ...]

    @property
    def is_ours(self) -> bool:
        """Whether what keeps us from the key is our own doing, as far as is known."""
        return self.registration.reason == OwnAccessBroken.code or (
            self.registration.status == Status.UNREACHABLE
            and (self.incident_since is not None or self.canary_fails_since is not None)
        )


def overview(tenant: Tenant) -> Overview | None:
    """Return it; None: no key of the tenant's has ever served."""
    now = clock.now()
    registration = _registrations(tenant, now).first()
    if registration is None:
        return None
    first_served_at = registration.first_served_at
    seen = _outages(tenant, registration, now)
    days, use, requests = use_by_service(tenant)
    drill = RevocationDrill.objects.of(tenant).order_by("-started_at").first()
    return Overview(
        registration=registration,
        latency=tenant.revocation_latency,
        probed_at=registration.probed_at,
        next_probe_at=registration.next_probe_at,
        deletion_at=_deletion_at(registration),
        first_served_at=first_served_at,
        incident_since=registration.incident_since,
        canary_passed_at=registration.canary_passed_at,
        canary_fails_since=registration.canary_fails_since,
        chain=_chain(registration, tenant),
        health=tuple(outages.days(seen, first_served=first_served_at, now=now, count=HEALTH_DAYS)),
        outages=tuple(seen),
        use_days=days,
        use=use,
        spending=_spending(tenant, registration, first_served_at, requests, now),
        test=_last_test(registration),
        drill=drill,
        actions=tuple(_actions(tenant, registration, drill, now))[:3],
    )


def _registrations(tenant: Tenant, now: datetime) -> QuerySet[Any]:
    """Return those that ever served, what serves first, with what belongs to the tenant and is one value each:
    rows of `KeyRegistration` with the annotations below, which no type names."""
    tests = EncryptionTest.objects.filter(tenant=OuterRef("tenant")).exclude(finished_at=None).order_by("-created_at")
    checks = CheckResult.objects.filter(test=OuterRef("test_id")).exclude(code__startswith="hygiene.").order_by()
    count = checks.values("test").annotate(count=Count("pk")).values("count")
    first = (
        KeyRegistration.objects.filter(tenant=OuterRef("tenant")).exclude(activated_at=None).order_by("activated_at")
    )
    incidents = Incident.objects.filter(service_role=tenant.service_role_id, closed_at=None)
    canaries = Canary.objects.filter(service_role=tenant.service_role_id, region=OuterRef("known__region"))
    tokens = AccessToken.objects.filter(member__tenant=OuterRef("tenant")).valid(now)
    tokens = tokens.filter(expires_at__lt=now + SOON).order_by("expires_at")
    waiting = Approval.objects.filter(tenant=OuterRef("tenant"), status="waiting", expires_at__gt=now)
    serves_first = Case(When(status__in=KeyRegistration.SERVING, then=Value(0)), default=Value(1))
    return (
        KeyRegistration.objects.of(tenant)
        .exclude(activated_at=None)
        .annotate(
            known=FilteredRelation("health", condition=Q(health__data_scope=DEFAULT_SCOPE)),
            probed_at=F("known__last_probe_at"),
            next_probe_at=F("known__next_probe_at"),
            key_facts=F("known__key_facts"),
            first_served_at=Subquery(first.values("activated_at")[:1]),
            incident_since=Subquery(incidents.values("opened_at")[:1]),
            canary_passed_at=Subquery(canaries.values("passed_at")[:1]),
            canary_fails_since=Subquery(canaries.values("failing_since")[:1]),
            test_id=Subquery(tests.values("pk")[:1]),
            test_verdict=Subquery(tests.values("verdict")[:1]),
            test_finished_at=Subquery(tests.values("finished_at")[:1]),
            test_passed=Subquery(count.filter(verdict="pass")),
            test_total=Subquery(count),
            token_name=Subquery(tokens.values("name")[:1]),
            token_ends_at=Subquery(tokens.values("expires_at")[:1]),
            approval_sentence=Subquery(waiting.order_by("expires_at").values("sentence")[:1]),
            approval_ends_at=Subquery(waiting.order_by("expires_at").values("expires_at")[:1]),
        )
        .order_by(serves_first, "-activated_at")
    )


def _outages(tenant: Tenant, registration: KeyRegistration, now: datetime) -> list[Outage]:
    since = now - timedelta(days=HEALTH_DAYS)
    newest = RegistrationMove.objects.filter(tenant=tenant, at__gte=since).order_by("-id")[:MOVES]
    found = outages.of(reversed(list(newest)), since=since)
    if registration.status in outages.DOWN and all(one.ended_at for one in found):  # since before the first move here
        whose = {"aws": outages.Whose.THEIRS, "": outages.Whose.UNCLEAR}.get(
            registration.suspended_by, outages.Whose.PERSON
        )
        whose = outages.Whose.OURS if registration.reason == OwnAccessBroken.code else whose
        found = [Outage(registration.moved_at, None, whose, registration.reason), *found]
    return found


def use_by_service(tenant: Tenant) -> tuple[tuple[date, ...], tuple[ServiceUse, ...], int]:
    """Return the days, the busiest services with their data keys, and how many requests that were in all."""
    today = clock.now().astimezone(UTC).date()
    days = tuple(today - timedelta(days=back) for back in reversed(range(USE_DAYS)))
    since = datetime(days[0].year, days[0].month, days[0].day, tzinfo=UTC)
    rows = (
        KeyUseHour.objects.filter(tenant=tenant, hour__gte=since)
        .annotate(day=TruncDate("hour", tzinfo=UTC))
        .order_by()
        .values_list("service", "day")
        .annotate(used=Sum("keys"), asked=Sum("requests"))
    )
    by_service: dict[str, dict[date, int]] = defaultdict(dict)
    requests = 0
    for service, day, used, asked in rows:
        by_service[service][day] = used
        requests += asked
    all_of_them = [
        ServiceUse(service, tuple(of_day.get(day, 0) for day in days)) for service, of_day in by_service.items()
    ]
    busiest = sorted(all_of_them, key=lambda one: (-one.keys, one.service))[:SERVICES]
    return days, tuple(busiest), requests


def _spending(
    tenant: Tenant, registration: KeyRegistration, first_served_at: datetime, requests: int, now: datetime
) -> Spending:
    since = max(first_served_at, now - timedelta(days=USE_DAYS))
    # Those without a session are unwraps by the platform's own key, which the customer does not pay.
    mine = BranchKeyLoad.objects.filter(tenant=tenant, at__gte=since).exclude(session_name="")
    newest = mine.order_by("-at").values("at", "process")[:LOADS]
    counted = newest.aggregate(count=Count("at"), oldest=Min("at"), processes=Count("process", distinct=True))
    is_all = counted["count"] < LOADS
    begin = since if is_all else counted["oldest"]
    months: tuple[costs.Cost, ...] = ()
    if now - begin >= ENOUGH or not is_all:
        months = tuple(
            costs.of(
                costs.Seen(
                    unwraps=counted["count"],
                    unwraps_seconds=(now - begin).total_seconds(),
                    processes=counted["processes"],
                    requests=requests,
                    requests_seconds=(now - since).total_seconds(),
                ),
                latency=tenant.revocation_latency,
                probe_seconds=settings.PROBE_SECONDS,
            )
        )
    return Spending(_account(registration), counted["count"], begin, is_all, months)


def _account(registration: KeyRegistration) -> str:
    try:
        return RoleArn.parse(registration.role_arn).account
    except ArnRefused:
        return ""


def _deletion_at(registration: Any) -> datetime | None:
    text = (registration.key_facts or {}).get("deletion_at")
    return datetime.fromisoformat(text) if text else None


def _last_test(registration: Any) -> LastTest | None:
    if registration.test_id is None:
        return None
    return LastTest(
        registration.test_id,
        registration.test_verdict,
        registration.test_passed or 0,
        registration.test_total or 0,
        registration.test_finished_at,
    )


def _chain(registration: KeyRegistration, tenant: Tenant) -> chain.Chain:
    """Return the chain as the last answer of AWS leaves it."""
    state = chain.State
    works = {name: (state.WORKS, _(chain.WORKS[name])) for name in chain.LINKS}
    if registration.reason == OwnAccessBroken.code:
        works |= {"ours": (state.OURS, _(chain.OURS_SENTENCE))}
        works |= dict.fromkeys(list(works)[1:], (state.UNSETTLED, _("We ask it again once our side works.")))
    elif registration.suspended_by == "aws" and registration.reason.startswith("kms_"):
        works["key"] = (state.BROKEN, _("It refuses us, so nothing opens."))
    elif registration.suspended_by == "aws":
        works["role"] = (state.BROKEN, _("It refuses us, so nothing opens."))
        works["key"] = (state.UNSETTLED, _("We ask it once your role lets us in."))
    elif registration.status == Status.UNREACHABLE:
        works = dict.fromkeys(works, (state.WAITING, _("No answer since."))) | {"ours": works["ours"]}
    elif registration.status == Status.SUSPENDED:
        works["key"] = (state.UNSETTLED, _("We do not use it while it is suspended."))
    elif registration.status != Status.ACTIVE:
        works = dict.fromkeys(works, (state.UNSETTLED, _("It serves no more.")))
    links = (chain.Link(name, _(title), *works[name]) for name, title in chain.LINKS.items())
    return chain.Chain(tuple(links), is_over=True)


def _actions(tenant: Tenant, registration: Any, drill: RevocationDrill | None, now: datetime) -> list[Action]:
    """Return what is worth doing next, the most urgent first."""
    found = []
    deletion_at = _deletion_at(registration)
    if deletion_at is not None:
        found.append(Action("cancel_deletion", at=deletion_at))
    if registration.suspended_by == "tenant":
        found.append(Action("resume", registration.reason, registration.tenant_suspended_at))
    elif registration.suspended_by == "aws":
        found.append(Action("mend", registration.reason, registration.moved_at))
    if registration.approval_sentence:
        found.append(Action("approve", registration.approval_sentence, registration.approval_ends_at))
    if registration.token_ends_at:
        found.append(Action("renew_token", registration.token_name, registration.token_ends_at))
    if registration.test_id is not None and registration.test_verdict == "fail":
        found.append(Action("read_test", at=registration.test_finished_at))
    if registration.status == Status.ACTIVE and (drill is None or now - drill.started_at > STALE):
        found.append(Action("drill", at=drill.started_at if drill else None))
    if registration.status in KeyRegistration.SERVING and tenant.second_person_since is None:
        found.append(Action("second_person"))
    return found
