"""Addresses of the log: a page of it, and the whole of it as a file."""

from __future__ import annotations

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from byokportal import exports, filters
from tenants import endpoints, log
from tenants.api.serializers import EventsOut
from tenants.forms import LogForm

WANTED = [
    OpenApiParameter("from", str, description="a day (2026-11-28) or an instant (2026-11-28T15:00Z); UTC"),
    OpenApiParameter("to", str, description="the end of the period; a day counts whole"),
    OpenApiParameter("kind", str, enum=list(log.KINDS)),
    OpenApiParameter("who", str, description="an `actor`, a mail address, or `kore` for everybody at Kore.ai"),
    OpenApiParameter("q", str, description="words that all stand in sentence, person, data or request id"),
    OpenApiParameter("request_id", str),
]


class Events(endpoints.TenantView):
    """The log, newest first. A page may hold few lines or none and have a `next` all the same:
    a search reads a bounded piece of the log at a time."""

    problems = ("not_allowed", "invalid_input")

    @extend_schema(operation_id="list_events", parameters=[endpoints.CURSOR, *WANTED], responses=EventsOut)
    def get(self, request: Request, tenant: str) -> Response:
        mine = self.mine(request, tenant)
        found = log.page(mine, _wanted(request), request.query_params.get("cursor", ""))
        return Response(
            {
                "items": [log.facts_of(event) for event in found.items],
                "next": str(found.next) if found.next else None,
                "looked_back_to": found.looked_back_to.isoformat() if found.looked_back_to else None,
            }
        )


class EventsExport(endpoints.TenantView):
    """The log as JSON Lines, oldest first, with the canonical payload of each event. The last line is
    `{"complete": true, "count": …}`; a file without it was cut off. `docs/log.md` says more."""

    problems = ("not_allowed", "invalid_input", "moved_to_archive")

    @extend_schema(
        operation_id="export_events",
        parameters=[endpoints.CURSOR, *WANTED],
        responses={(200, "application/x-ndjson"): OpenApiTypes.STR},
    )
    def get(self, request: Request, tenant: str) -> StreamingHttpResponse:
        return _file(self, request, tenant, "jsonl")


class EventsExportCsv(endpoints.TenantView):
    """The log as CSV for a spreadsheet, oldest first; no cell is read as a formula.
    The last row begins with `#complete`; a file without it was cut off."""

    problems = ("not_allowed", "invalid_input", "moved_to_archive")

    @extend_schema(
        operation_id="export_events_csv",
        parameters=[endpoints.CURSOR, *WANTED],
        responses={(200, "text/csv"): OpenApiTypes.STR},
    )
    def get(self, request: Request, tenant: str) -> StreamingHttpResponse:
        return _file(self, request, tenant, "csv")


def _file(view: endpoints.TenantView, request: Request, tenant: str, extension: str) -> StreamingHttpResponse:
    mine = view.mine(request, tenant)
    source = log.file(mine, _wanted(request))
    return exports.answer(source, request.query_params.get("cursor", ""), extension=extension)


def _wanted(request: Request) -> log.Wanted:
    form = LogForm(request.query_params)
    filters.read(form)
    return form.wanted()
