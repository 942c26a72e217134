"""Tickets and mails in the back office."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest

from support import services
from support.admin import progress
from support.admin.base import Answer, Operation, ReadOnlyAdmin
from support.forms import ReplyForm
from support.models import Notice, Ticket
from tenants.audit import Actor


def _answer(ticket: Ticket, data: dict[str, Any], actor: Actor) -> Answer:
    services.answer_ticket(ticket, text=data["text"], is_internal=data["is_internal"], actor=actor)
    return "Noted for support only." if data["is_internal"] else "Answered. It is the tenant's turn now."


def _close(ticket: Ticket, data: dict[str, Any], actor: Actor) -> Answer:
    services.close_ticket(ticket, reason=data["reason"], actor=actor)
    return "The ticket is closed; the tenant reads the reason."


def _is_open(ticket: Ticket) -> bool:
    return ticket.status != Ticket.Status.CLOSED


@admin.register(Ticket)
class TicketAdmin(ReadOnlyAdmin):
    list_display = ("subject", "tenant", "topic", "stands", "since", "opened_by", "created_at")
    list_filter = ("status", "topic")
    list_select_related = ("tenant",)
    search_fields = ("subject", "tenant__name", "=id")
    fields = (
        "subject",
        "tenant",
        "topic",
        "stands",
        "since",
        "registration_id",
        "opened_by",
        "created_at",
        "closed_at",
    )
    operations: ClassVar[tuple[Operation, ...]] = (
        Operation(
            "answer",
            "Answer",
            "The tenant reads it, unless it is internal.",
            "support.answer_ticket",
            _answer,
            form=ReplyForm,
            is_offered=_is_open,
        ),
        Operation(
            "close",
            "Close",
            "A closed ticket takes no more messages.",
            "support.close_ticket",
            _close,
            is_offered=_is_open,
        ),
    )

    @admin.display(description="status", ordering="status")
    def stands(self, ticket: Ticket) -> str:
        return progress.label(ticket.status, ticket.get_status_display())

    def about(self, request: HttpRequest, obj: Ticket) -> dict[str, Any]:
        return {"ticket_messages": obj.messages.all()}


@admin.register(Notice)
class NoticeAdmin(ReadOnlyAdmin):
    list_display = ("template", "recipient", "tenant", "attempts", "due_at", "sent_at")
    list_filter = ("template", ("sent_at", admin.EmptyFieldListFilter))
    list_select_related = ("tenant",)
    search_fields = ("recipient", "tenant__name")
    fields = ("template", "recipient", "tenant", "context", "attempts", "due_at", "sent_at", "created_at")
