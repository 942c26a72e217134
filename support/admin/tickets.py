"""Tickets and mails in the back office."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.http import HttpRequest

from keys.models import EncryptionTest
from support import services
from support.admin import progress
from support.admin.base import Answer, Operation, ReadOnlyAdmin
from support.forms import AssignForm, MergeForm, NothingForm, ReplyForm, SortForm
from support.models import Notice, Ticket
from support.tickets import ready_answers
from tenants import services as tenant_services
from tenants.audit import Actor
from tenants.models import Tenant

# Messages of one ticket that a page shows, the newest; open tickets of one tenant that another can be merged into.
MESSAGES, MERGED_INTO = 200, 100


def _answer(ticket: Ticket, data: dict[str, Any], actor: Actor) -> Answer:
    services.answer_ticket(ticket, text=data["text"], is_internal=data["is_internal"], actor=actor)
    return "Noted for support only." if data["is_internal"] else "Answered. It is the tenant's turn now."


def _close(ticket: Ticket, data: dict[str, Any], actor: Actor) -> Answer:
    services.close_ticket(ticket, reason=data["reason"], actor=actor)
    return "The ticket is closed; the tenant reads the reason."


def _reopen(ticket: Ticket, data: dict[str, Any], actor: Actor) -> Answer:
    services.reopen_ticket(ticket, reason=data["reason"], actor=actor)
    return "The ticket is open again, and its clocks begin anew; the tenant reads the reason."


def _take(ticket: Ticket, data: dict[str, Any], actor: Actor) -> Answer:
    services.assign_ticket(ticket, to=actor.user, actor=actor)  # type: ignore[arg-type]  # staff have signed in
    return "It is yours: what the tenant writes is mailed to you."


def _assign(ticket: Ticket, data: dict[str, Any], actor: Actor) -> Answer:
    chosen = data["chosen"]
    to = get_user_model().objects.filter(pk=int(chosen)).first() if chosen else None
    services.assign_ticket(ticket, to=to, actor=actor)
    return f"{to.email} takes care of it." if to else "Nobody takes care of it: the desk is reminded."


def _people(ticket: Ticket) -> dict[str, Any]:
    people = [(str(user.pk), user.email) for user in services.people()]
    return {"chosen": str(ticket.assignee_id or ""), "choices": [("", "Nobody"), *people]}


def _sort(ticket: Ticket, data: dict[str, Any], actor: Actor) -> Answer:
    services.change_ticket(ticket, topic=data["topic"], step=data["step"], priority=data["priority"], actor=actor)
    return "Sorted. Its clocks follow the priority."


def _sorted(ticket: Ticket) -> dict[str, Any]:
    return {"topic": ticket.topic, "step": ticket.step or "", "priority": ticket.priority}


def _merge(ticket: Ticket, data: dict[str, Any], actor: Actor) -> Answer:
    others = Ticket.objects.of(ticket.tenant).open().select_related("tenant")
    # One that was closed meanwhile is refused like the ticket itself.
    into = {str(one.pk): one for one in others[: MERGED_INTO + 1]}.get(data["chosen"], ticket)
    services.merge_ticket(ticket, into=into, reason=data["reason"], actor=actor)
    return f"Merged: the conversation goes on in “{into.subject}”."


def _others(ticket: Ticket) -> dict[str, Any]:
    others = Ticket.objects.of(ticket.tenant).open().exclude(pk=ticket.pk)
    return {"choices": [(str(one.pk), f"{one.subject} ({one.created_at:%Y-%m-%d})") for one in others[:MERGED_INTO]]}


def _is_open(ticket: Ticket) -> bool:
    return ticket.is_open


def _is_closed(ticket: Ticket) -> bool:
    return not ticket.is_open and ticket.merged_into_id is None


def _is_merged_by_hand(ticket: Ticket) -> bool:
    return ticket.is_open and ticket.registration_id is None


def newest_test(tenant: Tenant) -> EncryptionTest | None:
    """Return the newest test of a tenant that has ended, with what a ready answer reads of it."""
    tests = EncryptionTest.objects.of(tenant).exclude(finished_at=None).order_by("-created_at")
    return tests.select_related("registration", "tenant").prefetch_related("checks").first()


OPERATIONS = (
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
        "take",
        "Take it",
        "You take care of it: reminders and what the tenant writes are mailed to you. The tenant's log says so.",
        "support.manage_ticket",
        _take,
        form=NothingForm,
        is_offered=_is_open,
    ),
    Operation(
        "assign",
        "Hand it to somebody",
        "Reminders and what the tenant writes are mailed to them. The tenant's log says who it is.",
        "support.manage_ticket",
        _assign,
        form=AssignForm,
        initial=_people,
        is_offered=_is_open,
    ),
    Operation(
        "sort",
        "Sort: topic, step, priority",
        "Both clocks follow the priority, counted from when they began.",
        "support.manage_ticket",
        _sort,
        form=SortForm,
        initial=_sorted,
        is_offered=_is_open,
    ),
    Operation(
        "merge",
        "Merge into another ticket",
        "Its messages go there in the order of their times. This one is closed and points there, in the portal too.",
        "support.manage_ticket",
        _merge,
        form=MergeForm,
        initial=_others,
        is_offered=_is_merged_by_hand,
    ),
    Operation(
        "close",
        "Close",
        "A closed ticket takes no more messages.",
        "support.close_ticket",
        _close,
        is_offered=_is_open,
    ),
    Operation(
        "reopen",
        "Open again",
        "It waits for us. The clock to settle it begins anew, and the one of the first answer where nobody has "
        "answered. The tenant reads the reason.",
        "support.close_ticket",
        _reopen,
        is_offered=_is_closed,
    ),
)


@admin.register(Ticket)
class TicketAdmin(ReadOnlyAdmin):
    list_display = ("subject", "tenant", "topic", "stands", "priority", "due_at", "since", "opened_by", "created_at")
    list_filter = ("status", "topic", "priority")
    list_select_related = ("tenant",)
    search_fields = ("subject", "tenant__name", "=id")
    tenant_path = "tenant"
    own_search = "subject__icontains"
    fields = (
        "subject",
        "tenant",
        "topic",
        "step",
        "priority",
        "assignee",
        "stands",
        "since",
        "first_answer_due_at",
        "first_answered_at",
        "resolution_due_at",
        "left",
        "merged_into",
        "registration_id",
        "opened_by",
        "created_at",
        "closed_at",
        "reopened",
    )
    operations: ClassVar[tuple[Operation, ...]] = OPERATIONS

    @admin.display(description="left to settle it, while the clock rests")
    def left(self, ticket: Ticket) -> str | None:
        """Return the time in hours and minutes; None while the clock goes."""
        if ticket.resolution_left is None:
            return None
        hours, seconds = divmod(round(ticket.resolution_left.total_seconds()), 3600)
        return f"{hours} h {seconds // 60} min"

    @admin.display(description="status", ordering="status")
    def stands(self, ticket: Ticket) -> str:
        return progress.label(ticket.status, ticket.get_status_display())

    def about(self, request: HttpRequest, obj: Ticket) -> dict[str, Any]:
        return {"ticket_messages": _messages(obj), "moves": list(obj.moves.order_by("-id")[:MESSAGES])[::-1]}

    def beside(self, request: HttpRequest, operation: Operation, obj: Any) -> dict[str, Any]:
        """The conversation is visible while one answers, and what an answer can begin from."""
        if operation.name != "answer":
            return {}
        return {"ticket_messages": _messages(obj), "ready": _ready(obj)}

    def initial_of(self, request: HttpRequest, operation: Operation, obj: Any) -> dict[str, Any]:
        chosen = request.GET.get("ready", "")
        if operation.name != "answer" or not chosen or chosen == "0":
            return super().initial_of(request, operation, obj)
        return {"text": ready_answers.chosen(_ready(obj), chosen)}


def _ready(ticket: Ticket) -> list[ready_answers.ReadyAnswer]:
    last = ticket.messages.filter(author__startswith="member:").order_by("-at", "-id").first()
    who = last.author.removeprefix("member:") if last else ""
    language = tenant_services.language_of(who, tenant=ticket.tenant)
    return ready_answers.of(newest_test(ticket.tenant), language=language)


def _messages(ticket: Ticket) -> list[Any]:
    return list(ticket.messages.order_by("-at", "-id")[:MESSAGES])[::-1]


@admin.register(Notice)
class NoticeAdmin(ReadOnlyAdmin):
    list_display = ("template", "recipient", "tenant", "attempts", "due_at", "sent_at")
    list_filter = ("template", ("sent_at", admin.EmptyFieldListFilter))
    list_select_related = ("tenant",)
    search_fields = ("recipient", "tenant__name")
    tenant_path = "tenant"
    fields = ("template", "recipient", "tenant", "context", "attempts", "due_at", "sent_at", "created_at")
