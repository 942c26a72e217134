"""Puts the text of an explanation into a ticket: finds whose, shows their open tickets and the text, sends it."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from byokportal.errors import DomainError, InvalidInput
from support import services
from support.fleet import search
from support.models import Ticket, TicketMessage
from tenants import fresh, roles
from tenants.audit import Actor
from tenants.errors import FreshSignInNeeded
from tenants.models import Tenant

# Tenants that are offered for one text, and open tickets of all of them together.
TENANTS, TICKETS = 5, 30
# Messages of the chosen conversations that are shown, the newest.
MESSAGES = 60
SUBJECT = "What AWS said, and what to change"


def offer(request: HttpRequest) -> dict[str, Any]:
    """Return what a page needs to offer that a text goes into a ticket."""
    return {
        "answers_tickets": roles.staff_may(request.user, "support.answer_ticket"),
        "is_fresh": fresh.is_fresh(fresh.signed_in_at(request)),
        "again_url": f"{reverse('account_reauthenticate')}?{urlencode({'next': request.path})}",
    }


@never_cache
@sensitive_post_parameters()
def page(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """Show where the text can go; once that is chosen, send it."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    if not roles.staff_may(request.user, "support.answer_ticket") or not roles.staff_sees(
        request.user, "support.ticket"
    ):
        raise PermissionDenied
    fresh.require(request)
    text, to = request.POST.get("text", "")[: services.TEXT_LENGTH + 1], request.POST.get("to", "")
    problem = ""
    if request.POST.get("where"):
        try:
            return _send(request, text)
        except FreshSignInNeeded:
            raise
        except DomainError as error:
            sentences = [sentence for several in error.errors.values() for sentence in several]
            problem = " ".join(sentences) or f"{error.title}. {error}"
    rows = list(search.rows(to).order_by("name")[: TENANTS + 1])
    tenants = [row.pk for row in rows[:TENANTS]]
    tickets = list(
        Ticket.objects.filter(tenant__in=tenants).open().select_related("tenant").order_by("status", "due_at")[:TICKETS]
    )
    newest = TicketMessage.objects.filter(ticket__in=[ticket.pk for ticket in tickets]).order_by("-at", "-id")
    shown = {
        "title": "Put it into a ticket",
        "text": text,
        "to": to,
        "rows": rows[:TENANTS],
        "has_more": len(rows) > TENANTS,
        "tickets": tickets,
        "talk": list(newest.select_related("ticket")[:MESSAGES])[::-1],
        "where": request.POST.get("where", ""),
        "subject": request.POST.get("subject", SUBJECT)[: services.SUBJECT_LENGTH],
        "problem": problem,
    }
    return TemplateResponse(request, "admin/answer_explained.html", {**context, **shown})


def _send(request: HttpRequest, text: str) -> HttpResponse:
    kind, _, pk = request.POST["where"].partition(":")
    actor = Actor.staff(request.user, signed_in_at=fresh.signed_in_at(request))
    parsed, is_internal = _uuid(pk), bool(request.POST.get("is_internal"))
    # The first message of a ticket is the customer's to read, so a note cannot open one.
    if is_internal and kind != "ticket":
        raise InvalidInput(errors={"where": ["A note only for us needs an open ticket. Choose one, or press Send."]})
    if kind == "ticket":
        ticket = Ticket.objects.filter(pk=parsed).select_related("tenant").first()
        if ticket is not None:
            services.answer_ticket(ticket, text=text, is_internal=is_internal, actor=actor)
            messages.success(request, "Noted for support only." if is_internal else "Answered. It is their turn now.")
            return redirect("admin:tenants_tenant_change", ticket.tenant_id)
    tenant = Tenant.objects.filter(pk=parsed).first()
    if kind != "tenant" or tenant is None:
        messages.error(request, "That ticket is not there any more.")
        return redirect("admin:explain_aws_error")
    subject = request.POST.get("subject", "")
    services.open_ticket(tenant, topic=Ticket.Topic.SETUP, subject=subject, text=text, actor=actor)
    messages.success(request, "The ticket is open and waits for them.")
    return redirect("admin:tenants_tenant_change", tenant.pk)


def _uuid(text: str) -> uuid.UUID:
    """Return an id; of a text that is none, one that nothing has."""
    try:
        return uuid.UUID(text[:40])
    except ValueError:
        return uuid.UUID(int=0)
