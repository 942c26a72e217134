"""The page of one tenant: where it stands, the chain, the six steps, the timeline, the conversation, the operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.dateparse import parse_datetime

from byokportal import clock
from keys import services as key_services
from keys.models import EncryptionTest, KeyHealth
from support.admin import about, progress, timeline
from support.admin.base import Operation
from support.admin.desk import tone_of
from support.fleet import state as fleet_state
from support.forms import ReplyForm
from support.models import FleetRow, Ticket, TicketMessage
from support.tickets import clocks, ready_answers
from tenants import fresh, roles
from tenants import services as tenant_services
from tenants.models import OnboardingStep, Tenant

TESTS, MESSAGES = 20, 60
LAST = datetime.max.replace(tzinfo=UTC)
BARS = {
    "done": "done",
    "failed": "halt",
    "waiting_for_tenant": "wait",
    "waiting_for_kore": "wait",
    "in_progress": "wait",
}
TONES = {"done": "t-ok", "failed": "t-bad", "waiting_for_tenant": "t-warn", "waiting_for_kore": "t-warn"}
LINKS = {"works": "works", "broken": "broken", "waiting": "maybe", "ours": "ours"}
LINK_ICONS = {"works": "check", "broken": "cross", "waiting": "clock", "ours": "warn"}
SENTENCES = {
    FleetRow.State.ACTIVE: "Their key is in service.",
    FleetRow.State.CANNOT_TELL: "We cannot ask their key. What is cached serves until it runs out.",
    FleetRow.State.SUSPENDED_BY_AWS: "AWS refuses their key. It is in service again after two good answers.",
    FleetRow.State.SUSPENDED_BY_TENANT: "They suspended it themselves; only their own Resume ends that.",
    FleetRow.State.SUSPENDED_BY_KORE: "We suspended it; a lead’s Resume ends that.",
    FleetRow.State.WAITS_FOR_KORE: "It waits for us.",
    FleetRow.State.WAITS_FOR_TENANT: "It waits for them.",
    FleetRow.State.NEEDS_CHANGE: "It waits for them to change something.",
    FleetRow.State.WORKING: "It goes on by itself.",
}


@dataclass(frozen=True, slots=True)
class Offered:
    """One operation as the page offers it.

    Attributes:
        url: of the form that asks for the reason; "" where this person may not.
        who: which groups may.
    """

    operation: Operation
    url: str
    who: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """One open ticket with its messages, oldest first.

    Attributes:
        clock: the nearer one of those that run; None: they rest.
        begun: what the answer begins with, where the newest test says what to change and it is our turn.
    """

    ticket: Ticket
    messages: list[TicketMessage]
    answer_url: str
    take_url: str
    clock: clocks.Running | None
    tone: str
    begun: str


def context(request: HttpRequest, tenant: Tenant, operations: Sequence[Operation]) -> dict[str, Any]:
    """Return what the page shows to this person."""
    now, known = clock.now(), about.of(tenant)
    steps = progress.of(tenant)
    tests = list(EncryptionTest.objects.of(tenant).select_related("registration").prefetch_related("checks")[:TESTS])
    reading = key_services.read_test(tests[0]) if tests else None
    row = _row(tenant, known, steps, tests)
    tone, icon = fleet_state.STATE_TONES[FleetRow.State(row.state)]
    kind = request.GET.get("show", "") if request.GET.get("show", "") in timeline.KINDS else ""
    ready = _ready(tests[0], tenant) if tests else []
    days, more = timeline.of(tenant, tests, kind=kind, before=_before(request))
    return {
        "title": tenant.name,
        "tenant": tenant,
        "now": now,
        "row": row,
        "tone": tone,
        "icon": icon,
        "sentence": SENTENCES[FleetRow.State(row.state)],
        "cause": fleet_state.cause_label(row.cause) if row.cause else "",
        "reading": reading,
        "links": [_link(link) for link in reading.chain.links] if reading else [],
        "steps": [_step(each) for each in steps],
        "about": known,
        "shown_registration": known.serving or known.preparing,
        "days": days,
        "more": more.isoformat() if more else "",
        "kinds": [(code, label, code == kind) for code, label in timeline.KINDS.items()],
        "show": kind,
        "conversations": _conversations(request, tenant, ready, now),
        "ready": ready,
        "answers": roles.staff_may(request.user, "support.answer_ticket"),
        "is_fresh": fresh.is_fresh(fresh.signed_in_at(request)),
        "reply": ReplyForm(),
        "offered": _offered(request, tenant, operations),
        "reads_policies": roles.staff_sees(request.user, "support.ticket"),
    }


def _before(request: HttpRequest) -> datetime | None:
    try:
        at = parse_datetime(request.GET.get("before", "")[:40])
    except ValueError:
        return None
    return at if at is not None and at.tzinfo is not None else None


def _row(
    tenant: Tenant, known: about.About, steps: list[progress.StepProgress], tests: list[EncryptionTest]
) -> FleetRow:
    """Return where it stands now, by the same rule as the fleet, from what the page has read already."""
    registration = known.serving
    health = KeyHealth(key_facts=getattr(registration, "health_facts", None) or {}) if registration else None
    failed = next((check for check in tests[0].checks.all() if check.verdict == "fail"), None) if tests else None
    plain = [OnboardingStep(number=each.step.number, status=each.step.status, since=each.step.since) for each in steps]
    facts = fleet_state.Facts(tenant, plain, known.present, tests[0] if tests else None, failed, health)
    return fleet_state.row_of(facts)


def theirs(text: str) -> str:
    """Return a sentence that speaks to the tenant as one that speaks of it."""
    for you, them in (
        ("you trust", "they trust"),
        ("You ", "They "),
        ("Your ", "Their "),
        ("yours", "theirs"),
        ("your ", "their "),
    ):
        text = text.replace(you, them)
    return text


def _link(link: Any) -> dict[str, str]:
    return {
        "style": LINKS.get(str(link.state), "asked"),
        "icon": LINK_ICONS.get(str(link.state), "dots"),
        "label": link.label,
        "title": theirs(link.title),
        "sentence": theirs(link.sentence),
        "is_broken": str(link.state) == "broken",
    }


def _step(each: progress.StepProgress) -> dict[str, Any]:
    status = each.step.status
    return {
        "each": each,
        "bar": BARS.get(status, ""),
        "tone": TONES.get(status, "quiet"),
        "began": status != "not_started",
    }


def _ready(test: EncryptionTest, tenant: Tenant) -> list[ready_answers.ReadyAnswer]:
    if test.finished_at is None or test.verdict != EncryptionTest.Verdict.FAIL:
        return []
    test.tenant = tenant
    return ready_answers.of(test, language=tenant_services.language_of("", tenant=tenant))


def _conversations(
    request: HttpRequest, tenant: Tenant, ready: list[ready_answers.ReadyAnswer], now: datetime
) -> list[Conversation]:
    """Return the open tickets, what is due first first."""
    if not roles.staff_sees(request.user, "support.ticket"):
        return []
    open_ = TicketMessage.objects.filter(tenant=tenant).exclude(ticket__status=Ticket.Status.CLOSED)
    found: dict[Any, Conversation] = {}
    chosen = request.GET.get("ready", "")
    for message in open_.select_related("ticket__assignee").order_by("-at", "-id")[:MESSAGES]:
        ticket = message.ticket
        if ticket.pk not in found:
            url = reverse("admin:support_ticket_operation", args=[ticket.pk, "answer"])
            take = reverse("admin:support_ticket_operation", args=[ticket.pk, "take"])
            running = clocks.running(ticket)
            tone = tone_of(running[0].due_at, now) if running else ""
            begins = chosen != "0" and ticket.whose_turn == "kore"
            begun = ready_answers.chosen(ready, chosen) if begins else ""
            found[ticket.pk] = Conversation(ticket, [], url, take, running[0] if running else None, tone, begun)
        found[ticket.pk].messages.insert(0, message)
    return sorted(found.values(), key=lambda one: one.clock.due_at if one.clock else LAST)


def _offered(request: HttpRequest, tenant: Tenant, operations: Sequence[Operation]) -> list[Offered]:
    found = []
    for operation in operations if tenant.closed_at is None else ():
        if not operation.is_offered(tenant):
            continue
        permission = roles.OPERATIONS[operation.row].staff
        who = ", ".join(sorted(permission.groups)) if permission else "nobody"
        may = roles.staff_may(request.user, operation.row)
        url = reverse("admin:tenants_tenant_operation", args=[tenant.pk, operation.name]) if may else ""
        found.append(Offered(operation, url, who))
    return found
