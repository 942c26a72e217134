"""The page of all tickets: by clock, on whom they wait, and who takes care of them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.response import TemplateResponse

from byokportal import clock, words
from support.admin.desk import tone_of
from support.models import Ticket
from support.tickets import clocks, listing
from support.tickets.listing import Listed

Status = Ticket.Status
VIEWS = (
    ("Waits for us", {"status": Status.WAITING_FOR_KORE}),
    ("Mine", {"status": Status.WAITING_FOR_KORE, "who": listing.ME}),
    ("Nobody’s", {"status": Status.WAITING_FOR_KORE, "who": listing.NOBODY}),
    ("Under way by itself", {"status": Status.IN_PROGRESS}),
    ("Waits for them", {"status": Status.WAITING_FOR_TENANT}),
    ("Closed", {"status": Status.CLOSED}),
)


def page(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """Show one page of what is asked for."""
    if request.method not in {"GET", "HEAD"}:
        return HttpResponseNotAllowed(["GET"])
    asked, now = Listed.of(request.GET.dict(), user=request.user.pk), clock.now()
    tickets, after = asked.page()
    shown = {
        "title": "Tickets",
        "now": now,
        "rows": [_shown(ticket, now) for ticket in tickets],
        "views": [(name, urlencode(values), urlencode(values) == asked.query) for name, values in VIEWS],
        "asked": {**asked.values, "status": asked.status},
        "query": asked.query,
        "next": f"{asked.query}&after={after}" if after else "",
        "is_first": asked.after is None,
        "choices": {
            "status": [(value, words.for_staff(str(label))) for value, label in Status.choices],
            "priority": Ticket.Priority.choices,
            "topic": [(value, words.for_staff(str(label))) for value, label in Ticket.Topic.choices],
            "who": [(listing.ME, "Me"), (listing.NOBODY, "Nobody")],
        },
    }
    return TemplateResponse(request, "admin/tickets.html", {**context, **shown})


def _shown(ticket: Ticket, now: Any) -> dict[str, Any]:
    running = clocks.running(ticket)
    clock_shown = running[0] if running else None
    return {"ticket": ticket, "clock": clock_shown, "tone": tone_of(clock_shown.due_at, now) if clock_shown else ""}
