"""The first page of the back office: what waits for us and against which clock, the funnel, causes, machines, roles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, Max, Min, Model, Q, QuerySet, Value
from django.http import HttpRequest
from django.urls import reverse

from byokportal import clock, words
from keys.models import BranchKey, Canary, EncryptionTest, Incident, KeyHealth, RoleConfiguration
from support import staff
from support.fleet import machines
from support.fleet import state as fleet_state
from support.models import FleetFigures, FleetRow, Notice, Ticket
from support.tickets import clocks
from tenants import onboarding, roles
from tenants.models import AuditEvent

# Rows of each kind that are read, and all that are shown; the lists behind them have the rest.
READ, SHOWN = 20, 25
# Places of them for what cannot be undone.
KEPT = 10
# Within which time we mean to have acted on what waits for us; tickets have clocks of their own.
APPROVAL, OURS = timedelta(hours=24), timedelta(hours=4)
# within which time a review of our people is done that has become due
REVIEW = timedelta(days=7)
SOON = timedelta(hours=1)
# A funnel is as wide as this many units of its picture.
WIDTH = 100


@dataclass(frozen=True, slots=True)
class Waiting:
    """One thing that waits for us.

    Attributes:
        due: when it should be done.
        button: what the button says.
        cannot_be_undone: what happens then.
    """

    tenant: str
    url: str
    where: str
    what: str
    since: datetime
    due: datetime
    button: str
    tone: str
    cannot_be_undone: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    """One step of the funnel, as wide as those who reached it; the light part is there now."""

    name: str
    reached: int
    here: int
    stuck: int
    median: timedelta | None
    went_on_width: float
    here_width: float
    url: str
    stuck_url: str


def context(request: HttpRequest) -> dict[str, Any]:
    """Return what the page shows to this person."""
    now = clock.now()

    def sees(model: str) -> bool:
        return roles.staff_sees(request.user, model)

    found = machines.figures()
    sees_fleet = sees("tenants.tenant")
    figures = found.figures if found and sees_fleet else {}
    waiting = sorted([*_waiting(now, sees), *_counted(found, now, sees)], key=lambda one: one.due)
    return {
        "now": now,
        # Its own search box is larger than the one of the head.
        "is_desk": True,
        "counted_at": found.counted_at if found else None,
        "figures": figures,
        "incidents": list(_incidents()) if sees("keys.incident") else [],
        "canaries": _canaries(now) if sees("keys.canary") else {},
        "waiting": _shown(waiting),
        "has_more": len(waiting) > SHOWN,
        "late": sum(one.due < now for one in waiting),
        "put_off": _put_off() if sees("tenants.auditevent") else [],
        "funnel": _funnel(figures),
        "states": _states(figures),
        "causes": [
            (fleet_state.cause_label(cause), count, _fleet(cause=cause)) for cause, count in figures.get("causes", [])
        ],
        "machines": machines.machines(found, now),
        "roles": figures.get("roles", []) if sees("tenants.servicerole") else [],
        "sees_fleet": sees_fleet,
        "explains": sees("support.ticket"),
    }


def _fleet(**filters: str) -> str:
    return f"{reverse('admin:fleet')}?{urlencode(filters)}"


def _change(obj: Model) -> str:
    return reverse(f"admin:{obj._meta.app_label}_{obj._meta.model_name}_change", args=[obj.pk])


def _incidents() -> QuerySet[Incident]:
    return Incident.objects.filter(closed_at=None).select_related("service_role").order_by("opened_at")[:READ]


def _canaries(now: datetime) -> dict[str, Any]:
    """Return how many of our own tenants come through, since when one does not, and when the last one did."""
    failing = Canary.objects.failing(now).order_by().values("pk")
    return Canary.objects.aggregate(
        known=Count("pk"),
        failing=Count("pk", filter=Q(pk__in=failing)),
        since=Min("failing_since"),
        passed_at=Max("passed_at"),
    )


def _waiting(now: datetime, sees: Callable[[str], bool]) -> list[Waiting]:
    """Return what waits for us, what is due first first."""
    found: list[Waiting] = []
    if sees("support.ticket"):
        found += _tickets(now)
    if sees("keys.roleconfiguration"):
        found += _approvals(now)
    if sees("tenants.tenant"):
        found += _of_fleet(now)
    return sorted(found, key=lambda one: one.due)


def _counted(figures: FleetFigures | None, now: datetime, sees: Callable[[str], bool]) -> list[Waiting]:
    """Return what the worker found when it counted: bulk operations for a second lead, the review of our own people."""
    counted, found = figures.figures if figures else {}, []
    if sees("support.bulkoperation"):
        for one in counted.get("bulk", []):
            url = reverse("admin:support_bulkoperation_change", args=[one["id"]])
            since = datetime.fromisoformat(one["since"])
            due = since + APPROVAL
            what = "A second lead has to approve it"
            found.append(Waiting(one["what"], url, "many tenants", what, since, due, "Review", tone_of(due, now)))
    reviewed = datetime.fromisoformat(counted["reviewed"]) if counted.get("reviewed") else None
    if reviewed is not None and sees("auth.user") and reviewed + staff.QUARTER < now:
        due, what = reviewed + staff.QUARTER + REVIEW, "Look at who of us may do what, and record it"
        since, url = reviewed + staff.QUARTER, reverse("admin:our_people")
        found.append(Waiting("Our people", url, "quarterly review", what, since, due, "Review", tone_of(due, now)))
    return found


def tone_of(due: datetime, now: datetime) -> str:
    return "t-bad" if due < now else "t-warn" if due - now < SOON else "t-none"


def _tickets(now: datetime) -> list[Waiting]:
    waiting = Ticket.objects.filter(status=Ticket.Status.WAITING_FOR_KORE, due_at__isnull=False)
    found = []
    for ticket in waiting.select_related("tenant").order_by("due_at")[:READ]:
        running = clocks.running(ticket)
        due, clock_name = (running[0].due_at, running[0].what) if running else (ticket.since + OURS, "")
        what = f"Ticket: “{ticket.subject}”"
        step = f"step {ticket.step}" if ticket.step else ""
        about = [ticket.get_topic_display(), step, clock_name]
        where = ", ".join(part for part in about if part)
        url = reverse("admin:tenants_tenant_change", args=[ticket.tenant_id])
        tone = tone_of(due, now)
        found.append(Waiting(str(ticket.tenant), url, where, what, ticket.since, due, "Answer", tone))
    return found


def _approvals(now: datetime) -> list[Waiting]:
    stopped = [RoleConfiguration.Status.FAILED, RoleConfiguration.Status.WAITING_FOR_APPROVAL]
    rows = RoleConfiguration.objects.filter(status__in=stopped).select_related("tenant", "service_role")
    found = []
    for row in rows.order_by("created_at")[:READ]:
        waits = row.status == RoleConfiguration.Status.WAITING_FOR_APPROVAL
        what = "Approve the service-side configuration" if waits else f"Step 5 stopped: {words.label(row.reason)}"
        due = row.created_at + (APPROVAL if waits else OURS)
        button, where = ("Review" if waits else "Look"), str(row.service_role)
        found.append(
            Waiting(str(row.tenant), _change(row), where, what, row.created_at, due, button, tone_of(due, now))
        )
    return found


def _of_fleet(now: datetime) -> list[Waiting]:
    """Keys that AWS deletes, and tenants that only we can help on; a step that waits for approval is above.

    What a lead suspended on purpose waits for nobody in a hurry: it stays so for as long as it takes, and the states of
    the fleet count it.
    """
    deleted = FleetRow.objects.filter(deletes_at__isnull=False).order_by("deletes_at")
    found = []
    for row in deleted[:READ]:
        assert row.deletes_at is not None
        url, where = reverse("admin:tenants_tenant_change", args=[row.pk]), _where(row)
        what = "AWS deletes their key"
        found.append(
            Waiting(row.name, url, where, what, row.since, row.deletes_at, "Call", "t-bad", cannot_be_undone=True)
        )
    ours = FleetRow.objects.filter(waits_for=FleetRow.Turn.KORE, deletes_at=None).exclude(
        Q(state=FleetRow.State.WAITS_FOR_KORE, cause="") | Q(state=FleetRow.State.SUSPENDED_BY_KORE)
    )
    for row in ours.order_by("since")[:READ]:
        url, where = reverse("admin:tenants_tenant_change", args=[row.pk]), _where(row)
        what = (
            f"{row.get_state_display()}: {fleet_state.cause_label(row.cause)}" if row.cause else row.get_state_display()
        )
        due = row.since + OURS
        found.append(Waiting(row.name, url, where, what, row.since, due, "Look", tone_of(due, now)))
    return found


def _where(row: FleetRow) -> str:
    return "active" if not row.step else f"step {row.step}, {onboarding.BY_NUMBER[row.step].name}"


def _shown(waiting: list[Waiting]) -> list[Waiting]:
    """Return what fits on the page, what is due first first. A deletion is days away, and what is due before it would
    push it out until nobody can undo it any more: the nearest have places of their own."""
    kept = [one for one in waiting if one.cannot_be_undone][:KEPT]
    others = [one for one in waiting if one not in kept]
    return sorted([*kept, *others[: SHOWN - len(kept)]], key=lambda one: one.due)


# Rows whose last run ended in an error that nobody expects, or that were given up, and the list that has them.
PUT_OFF: list[tuple[str, Callable[[], QuerySet[Any]], str]] = [
    ("An event could not be followed", lambda: AuditEvent.objects.put_off(), "admin:tenants_auditevent_changelist"),
    ("A mail could not be sent", lambda: Notice.objects.failing(), "admin:support_notice_changelist"),
    ("A configuration broke", lambda: RoleConfiguration.objects.failing(), "admin:keys_roleconfiguration_changelist"),
    ("A test broke", lambda: EncryptionTest.objects.failing(), "admin:keys_encryptiontest_changelist"),
    ("A branch key could not be attended to", lambda: BranchKey.objects.failing(), "admin:fleet"),
    ("A probe broke", lambda: KeyHealth.objects.broken().select_related(None), "admin:fleet"),
]


def _put_off() -> list[tuple[str, int, str]]:
    """What failed for a reason of ours and was put off, so that it holds up nothing else: how often, and where."""
    counted = [
        rows().order_by().annotate(of=Value(number)).values("of").annotate(count=Count("pk")).values_list("of", "count")
        for number, (_, rows, _) in enumerate(PUT_OFF)
    ]
    found = dict(counted[0].union(*counted[1:], all=True))
    return [(what, found[number], reverse(url)) for number, (what, _, url) in enumerate(PUT_OFF) if found.get(number)]


def _states(figures: dict[str, Any]) -> list[tuple[str, int, str, str, str]]:
    counts, found = figures.get("states", {}), []
    for state in FleetRow.State:
        if counts.get(state):
            tone, icon = fleet_state.STATE_TONES[state]
            found.append((state.label, counts[state], _fleet(state=state), tone, icon))
    return found


def _funnel(figures: dict[str, Any]) -> list[Bar]:
    funnel = figures.get("funnel", {})
    begun, bars = max(1, funnel.get("begun", 0)), []
    for step in funnel.get("steps", []):
        number, reached, here = step["number"], step["reached"], step["here"]
        bars.append(
            Bar(
                f"{number} {onboarding.BY_NUMBER[number].name}",
                reached,
                here,
                step["stuck"],
                timedelta(seconds=step["median"]) if step["median"] is not None else None,
                round(WIDTH * (reached - here) / begun, 2),
                round(WIDTH * here / begun, 2),
                _fleet(step=str(number)),
                _fleet(step=str(number), age="1d"),
            )
        )
    return bars
