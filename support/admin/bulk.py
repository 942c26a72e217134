"""Bulk operations in the back office: begin one from the fleet, watch it row by row, decide about it, stop, resume."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache

from byokportal.errors import DomainError
from support import services
from support.admin.base import Answer, Operation, ReadOnlyAdmin
from support.fleet.filters import Filters
from support.forms import AskForm, BulkForm, WindowForm
from support.models import BulkItem, BulkOperation, FleetRow
from support.services import bulk, suspensions
from tenants import fresh, roles
from tenants.audit import Actor
from tenants.errors import FreshSignInNeeded

Kind, Status = BulkOperation.Kind, BulkOperation.Status

ROWS, NAMED = 100, 12  # items on a page; tenants that the confirmation names
MARKED = 500  # tenants that an address may name
FORMS: dict[str, type[forms.Form]] = {Kind.ASK: AskForm, Kind.WINDOW: WindowForm}
# What happens, before it is pressed.
EXPLAINED = {
    Kind.TEST: "Each tenant’s encryption test runs again. It stands in their log with your reason.",
    Kind.ASK: "Each tenant gets a ticket of its own that waits for them. Its owners and admins read it.",
    Kind.WINDOW: "Tests that wait are repeated until this time. A tenant without a waiting test is left as it is.",
    Kind.PROBE: "AWS is asked about each serving key now. Two good answers end a suspension by AWS.",
    Kind.SUSPEND: (
        "Nothing opens these tenants’ data until a lead resumes them. Their services stop within seconds, and each "
        "organisation is told with your reason. "
        f"For more than {suspensions.ALONE} in a day, those by the button of a tenant among them, another lead has to "
        "approve."
    ),
}


BUTTONS = {
    Kind.TEST: "Test these",
    Kind.PROBE: "Ask AWS now",
    Kind.ASK: "Ask these customers",
    Kind.WINDOW: "Move their window",
    Kind.SUSPEND: "Suspend these",
}


def may_begin(request: HttpRequest, kind: str) -> bool:
    """Tell whether this person may do it on many tenants; the service asks again."""
    return roles.staff_may(request.user, "support.run_bulk") and roles.staff_may(request.user, bulk.ROWS[Kind(kind)])


def offered(request: HttpRequest) -> list[tuple[str, str]]:
    """Return the kinds that this person may begin from the fleet, each with the words of its button."""
    return [(kind.value, label) for kind, label in BUTTONS.items() if may_begin(request, kind)]


@never_cache
def begin(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """Show what would be done to whom; POST begins it, if those are still the ones that the page showed."""
    if request.method not in {"GET", "HEAD", "POST"}:
        return HttpResponseNotAllowed(["GET", "POST"])
    asked = request.POST if request.method == "POST" else request.GET
    kind = asked.get("kind", "")
    if kind not in EXPLAINED:
        raise Http404
    if not may_begin(request, kind):
        raise PermissionDenied
    fresh.require(request)
    filters = Filters.of({name: value for name, value in asked.items() if isinstance(value, str)})
    marked = [] if asked.get("all") else _ids(asked.getlist("t"))
    is_empty = not marked and not asked.get("all")
    tenants = [] if is_empty else bulk.chosen(marked, filters)
    form = FORMS.get(kind, BulkForm)(request.POST if request.method == "POST" else None)
    these = _digest(tenants)
    if request.method == "POST" and form.is_valid():
        if asked.get("these") != these:
            form.add_error(None, "The fleet has changed since you looked. These are the ones now; look again.")
        else:
            try:
                begun = _begin(request, kind, tenants, "" if marked else filters.query, form.cleaned_data)
            except FreshSignInNeeded:
                raise
            except DomainError as error:
                for sentence in [one for found in error.errors.values() for one in found] or [str(error)]:
                    form.add_error(None, sentence)
            else:
                messages.success(request, "It is under way." if begun.due_at else "Another lead has to approve it.")
                return redirect("admin:support_bulkoperation_change", begun.pk)
    named = FleetRow.objects.filter(pk__in=tenants[:NAMED]).order_by("name")
    shown = {
        "title": Kind(kind).label,
        "kind": kind,
        "explanation": EXPLAINED[Kind(kind)],
        "form": form,
        "count": len(tenants),
        "these": these,
        "is_more": len(tenants) > bulk.AT_MOST,
        "at_most": bulk.AT_MOST,
        "named": [row.name for row in named],
        "unnamed": max(0, len(tenants) - NAMED),
        "marked": marked,
        "filters": filters.values,
        "is_all": bool(asked.get("all")),
        "is_destructive": kind == Kind.SUSPEND,
        "back": f"{reverse('admin:fleet')}?{filters.query}",
    }
    return TemplateResponse(request, "admin/bulk_begin.html", {**context, **shown})


def _begin(
    request: HttpRequest, kind: str, tenants: list[uuid.UUID], filters: str, data: dict[str, Any]
) -> BulkOperation:
    until = data.get("keep_until")
    facts = {"subject": data.get("subject", ""), "text": data.get("text", "")}
    facts |= {"keep_until": until.isoformat()} if until else {}
    actor = Actor.staff(request.user, signed_in_at=fresh.signed_in_at(request))
    return services.begin_bulk(
        kind=kind, tenants=tenants, filters=filters, facts=facts, reason=data["reason"], actor=actor
    )


def _digest(tenants: list[uuid.UUID]) -> str:
    """Return by what the page knows again whom it showed: as many others must not be taken for them."""
    return hashlib.sha256(b"".join(sorted(pk.bytes for pk in tenants))).hexdigest()


def _ids(values: list[str]) -> list[uuid.UUID]:
    found = []
    for value in values[:MARKED]:
        try:
            found.append(uuid.UUID(value[:40]))
        except ValueError:
            continue
    return found


def _approve(operation: BulkOperation, data: dict[str, Any], actor: Actor) -> Answer:
    services.approve_bulk(operation, reason=data["reason"], actor=actor)
    return "Approved. It begins now."


def _refuse(operation: BulkOperation, data: dict[str, Any], actor: Actor) -> Answer:
    services.refuse_bulk(operation, reason=data["reason"], actor=actor)
    return "Refused. Nothing of it happens."


def _stop(operation: BulkOperation, data: dict[str, Any], actor: Actor) -> Answer:
    services.stop_bulk(operation, reason=data["reason"], actor=actor)
    return "Stopped. What is done stays done; the report shows what is left."


def _resume(operation: BulkOperation, data: dict[str, Any], actor: Actor) -> Answer:
    made = services.resume_bulk(operation, reason=data["reason"], actor=actor)
    return "It is under way." if made.due_at else "Another lead has to approve it. It stands among the bulk operations."


def _waits(operation: BulkOperation) -> bool:
    return bool(operation.status == Status.WAITING)


@admin.register(BulkOperation)
class BulkOperationAdmin(ReadOnlyAdmin):
    list_display = ("kind", "total", "status", "requested_by", "decided_by", "created_at", "finished_at")
    list_filter = ("status", "kind")
    list_select_related = ("requested_by", "decided_by")
    operations: ClassVar[tuple[Operation, ...]] = (
        Operation(
            "approve-bulk",
            "Approve as the second lead",
            "You have looked at the list. It begins at once; you or anybody of us can stop it.",
            "support.decide_bulk",
            _approve,
            is_offered=_waits,
        ),
        Operation(
            "refuse-bulk",
            "Refuse it",
            "Nothing of it happens. Who asked for it reads your reason.",
            "support.decide_bulk",
            _refuse,
            is_offered=_waits,
            is_destructive=True,
        ),
        Operation(
            "stop-bulk",
            "Stop it",
            "The row that is under way ends; nothing after it is begun. What is done stays done.",
            "support.run_bulk",
            _stop,
            is_offered=lambda operation: operation.status in {Status.WAITING, Status.QUEUED},
            is_destructive=True,
        ),
        Operation(
            "resume-batch",
            "Resume exactly these keys",
            "The keys that this suspended serve again after two good answers of AWS. A key that somebody suspended or "
            f"resumed since is left as it is. For more than {suspensions.ALONE} in a day another lead has to approve.",
            "keys.resume",
            _resume,
            is_offered=lambda operation: (
                operation.kind == Kind.SUSPEND and operation.status in {Status.FINISHED, Status.STOPPED}
            ),
        ),
    )

    def object_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show how far it is, what became of each tenant, and what can be done about it."""
        if not self.has_view_permission(request) or request.method not in {"GET", "HEAD"}:
            raise PermissionDenied
        rows = BulkOperation.objects.select_related("requested_by", "decided_by", "undoes")
        try:
            operation = rows.filter(pk=uuid.UUID(object_id[:40])).first()
        except ValueError:
            operation = None
        if operation is None:
            raise Http404
        return TemplateResponse(
            request, "admin/bulk.html", {**self.admin_site.each_context(request), **self._shown(request, operation)}
        )

    def _shown(self, request: HttpRequest, operation: BulkOperation) -> dict[str, Any]:
        counts = BulkItem.objects.of(operation).counts()
        only = request.GET.get("show", "")
        items = BulkItem.objects.of(operation).select_related("tenant").order_by("position")
        if only in BulkItem.Status.values:
            items = items.filter(status=only)
        after = request.GET.get("after", "")
        if after.isascii() and after.isdigit() and len(after) < 9:
            items = items.filter(position__gt=int(after))
        read = list(items[: ROWS + 1])
        return {
            "title": str(operation),
            "bulk": operation,
            "done": operation.total - counts[BulkItem.Status.PENDING],
            "counts": [(one.value, one.label, counts[one.value]) for one in BulkItem.Status],
            "items": read[:ROWS],
            "show": only if only in BulkItem.Status.values else "",
            "next": read[ROWS - 1].position if len(read) > ROWS else None,
            "is_running": operation.status == Status.QUEUED,
            "undone_by": list(operation.undone_by.order_by("created_at")) if operation.kind == Kind.SUSPEND else [],
            "offered": [
                (one, self._operation_url(one, operation))
                for one in self.operations
                if roles.staff_may(request.user, one.row) and one.is_offered(operation)
            ],
        }
