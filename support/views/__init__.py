"""Portal pages of the tenant's tickets."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from byokportal import stored_sentences
from byokportal.errors import NotFound
from byokportal.translation import translate as _
from keys import services as key_services
from support import services
from support.forms import AnswerForm, TicketForm
from support.models import Ticket, TicketMessage
from support.tickets.ticket_rows import CLOSED, MERGED, REOPENED, SYSTEM
from tenants import access, portal

TICKETS_A_PAGE = 50


def _author(message: TicketMessage) -> str:
    """Return who wrote, as the tenant reads it: its own people by address, everybody else as Kore.ai."""
    kind, name = message.author.partition(":")[::2]
    return name if kind in {"member", "invited"} else _("Kore.ai support") if kind == "kore" else "Kore.ai"


def _text(message: TicketMessage) -> str:
    """Return the text, where it is ours in the language of whoever reads it."""
    if message.author == SYSTEM:
        return key_services.say_again(message.text)
    return stored_sentences.again_if(message.text, (CLOSED, REOPENED, MERGED))


@login_required
@require_http_methods(["GET", "POST"])
def tickets(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show the tickets; POST opens one."""
    member = access.member_for(request, tenant)
    form = TicketForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        with portal.refusals_on(form):
            ticket = services.open_ticket(member.tenant, **form.cleaned_data, actor=portal.actor(request, member))
            messages.success(request, _("The ticket is open. We answer here."))
            return redirect("portal:ticket", member.tenant.pk, ticket.pk)
    found = Paginator(Ticket.objects.of(member.tenant).select_related("merged_into"), TICKETS_A_PAGE).get_page(
        request.GET.get("page")
    )
    return render(request, "portal/support/tickets.html", portal.page(member, tickets=found, form=form))


@login_required
@require_http_methods(["GET", "POST"])
def ticket(request: HttpRequest, tenant: UUID, ticket: UUID) -> HttpResponse:
    """Show one ticket with its public messages; POST answers it."""
    member = access.member_for(request, tenant)
    found = Ticket.objects.of(member.tenant).filter(pk=ticket).select_related("tenant", "merged_into").first()
    if found is None:
        raise NotFound
    if found.merged_into_id is not None and request.method == "GET":
        sentence = _(
            "“%(subject)s” was merged into this ticket. What was written in it stands here.",
            subject=found.shown_subject,
        )
        messages.info(request, sentence)
        return redirect("portal:ticket", member.tenant.pk, found.merged_into_id)
    form = AnswerForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        with portal.refusals_on(form):
            services.answer_ticket(found, text=form.cleaned_data["text"], actor=portal.actor(request, member))
            return redirect("portal:ticket", member.tenant.pk, services.current(found).pk)
    messages_shown = [
        {"author": _author(message), "text": _text(message), "at": message.at}
        for message in services.current(found).messages.filter(is_internal=False)
    ]
    return render(
        request,
        "portal/support/ticket.html",
        portal.page(member, ticket=found, ticket_messages=messages_shown, form=form),
    )
