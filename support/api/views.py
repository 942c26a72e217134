"""Addresses of the support app: the tenant's tickets."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from byokportal import pages
from byokportal.errors import NotFound
from support import services
from support.api import serializers as shapes
from support.models import Ticket
from tenants import endpoints
from tenants.models import Tenant


def _ticket(tenant: Tenant, ticket: str) -> Ticket:
    found = Ticket.objects.of(tenant).filter(pk=endpoints.as_uuid(ticket)).select_related("merged_into").first()
    if found is None:
        raise NotFound
    return found


class Tickets(endpoints.TenantView):
    """The tenant's requests to Kore.ai support."""

    problems = ("invalid_input", "not_allowed")

    @extend_schema(operation_id="list_tickets", parameters=[endpoints.CURSOR], responses=shapes.TicketsOut)
    def get(self, request: Request, tenant: str) -> Response:
        mine = self.mine(request, tenant)
        page = pages.numbered(Ticket.objects.of(mine), request.query_params.get("cursor", ""))
        return Response(shapes.TicketsOut(page).data)

    @extend_schema(
        operation_id="open_ticket",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=shapes.TicketIn,
        responses={201: shapes.TicketOut},
    )
    def post(self, request: Request, tenant: str) -> Response:
        mine = self.mine(request, tenant)
        given = self.given(request, shapes.TicketIn)

        def do() -> Any:
            return shapes.TicketOut(services.open_ticket(mine, **given, actor=self.caller(request).actor)).data

        return self.once(
            request, mine, 201, do, location=lambda kept: reverse("api:ticket-messages", args=[mine.pk, kept["id"]])
        )


class TicketMessages(endpoints.TenantView):
    """What was said in a ticket; internal notes of support are not here. Of a merged one it is what stands in the other
    ticket, and an answer goes there."""

    problems = ("invalid_input", "not_allowed", "ticket_closed")

    @extend_schema(operation_id="list_ticket_messages", responses=shapes.MessagesOut)
    def get(self, request: Request, tenant: str, ticket: str) -> Response:
        found = services.current(_ticket(self.mine(request, tenant), ticket))
        return Response(shapes.MessagesOut({"items": found.messages.filter(is_internal=False), "next": None}).data)

    @extend_schema(
        operation_id="answer_ticket",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=shapes.MessageIn,
        responses={201: shapes.TicketOut},
    )
    def post(self, request: Request, tenant: str, ticket: str) -> Response:
        mine = self.mine(request, tenant)
        found = _ticket(mine, ticket)
        given = self.given(request, shapes.MessageIn)

        def do() -> Any:
            services.answer_ticket(found, text=given["text"], actor=self.caller(request).actor)
            found.refresh_from_db()
            return shapes.TicketOut(services.current(found)).data

        return self.once(request, mine, 201, do)
