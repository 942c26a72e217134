"""Addresses of who used the key: the uses one by one, by hour, and as a file."""

from __future__ import annotations

from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from byokportal import exports, filters
from byokportal.errors import NotFound
from byokportal.keyset import Page
from keys import key_uses, use_rollups
from keys.forms import KeyUsesForm
from tenants import endpoints

OF_HOURS = [
    OpenApiParameter("from", str, description="a day (2026-11-28) or an instant (2026-11-28T15:00Z); UTC"),
    OpenApiParameter("to", str, description="the end of the period; a day counts whole"),
    OpenApiParameter("service", str, description="as the rows have it"),
    OpenApiParameter("operation", str, enum=list(key_uses.DONE)),
]
WANTED = [
    *OF_HOURS,
    OpenApiParameter("request_id", str, description="of the request to us"),
    OpenApiParameter(
        "context_digest",
        str,
        description="SHA-256 in hex of the contexts of a request; docs/log.md says how to make it",
    ),
    OpenApiParameter(
        "aws_request_id", str, description="of a `Decrypt` in your CloudTrail: what it unwrapped was used for"
    ),
]


class UnwrapOut(serializers.Serializer[Any]):
    """The call to AWS that unwrapped the branch key: look for it in your CloudTrail."""

    aws_request_id = serializers.CharField()
    session_name = serializers.CharField(allow_blank=True)
    region = serializers.CharField()
    at = serializers.DateTimeField()


class KeyUseOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    at = serializers.DateTimeField()
    service = serializers.CharField()
    operation = serializers.ChoiceField(list(key_uses.DONE))
    keys = serializers.IntegerField(help_text="data keys in this request")
    data_scope = serializers.CharField()
    context_digest = serializers.CharField()
    request_id = serializers.CharField(allow_blank=True)
    unwrap = UnwrapOut(allow_null=True)


class KeyUsesOut(serializers.Serializer[Any]):
    items = KeyUseOut(many=True)
    next = serializers.CharField(allow_null=True)
    looked_back_to = serializers.DateTimeField(
        allow_null=True, help_text="where the search stopped before the page was full; `next` goes on from there"
    )


class HourOut(serializers.Serializer[Any]):
    hour = serializers.DateTimeField(help_text="its beginning")
    service = serializers.CharField()
    operation = serializers.ChoiceField(list(key_uses.DONE))
    data_scope = serializers.CharField()
    requests = serializers.IntegerField()
    keys = serializers.IntegerField()


class HoursOut(serializers.Serializer[Any]):
    items = HourOut(many=True)
    next = serializers.CharField(allow_null=True)


class UseInclusionOut(serializers.Serializer[Any]):
    """That a use is sealed: the line `event` of the log has the same root in its data."""

    event = serializers.IntegerField(help_text="the line of the log that seals it; `log/inclusion` proves that one")
    use = KeyUseOut()
    salt = serializers.CharField()
    index = serializers.IntegerField()
    count = serializers.IntegerField()
    root = serializers.CharField()  # type: ignore[assignment]  # a field, not the property
    proof = serializers.ListField(child=serializers.CharField())


class KeyUses(endpoints.TenantView):
    """Who used the key, one row for each request, newest first. A page may hold few rows or none and have a `next` all
    the same: a search reads a bounded piece at a time."""

    problems = ("not_allowed", "invalid_input")

    @extend_schema(operation_id="list_key_uses", parameters=[endpoints.CURSOR, *WANTED], responses=KeyUsesOut)
    def get(self, request: Request, tenant: str) -> Response:
        found = key_uses.page(self.mine(request, tenant), _wanted(request), request.query_params.get("cursor", ""))
        looked_back_to = found.looked_back_to.isoformat() if found.looked_back_to else None
        return Response({"items": found.items, "next": _next(found), "looked_back_to": looked_back_to})


class Hours(endpoints.TenantView):
    """Uses of the key added up by hour, service, operation and data scope, newest first.
    The last minute may still be missing."""

    problems = ("not_allowed", "invalid_input")

    @extend_schema(operation_id="list_key_use_hours", parameters=[endpoints.CURSOR, *OF_HOURS], responses=HoursOut)
    def get(self, request: Request, tenant: str) -> Response:
        found = key_uses.hours(self.mine(request, tenant), _wanted(request), request.query_params.get("cursor", ""))
        return Response(HoursOut({"items": found.items, "next": _next(found)}).data)


class Export(endpoints.TenantView):
    """Who used the key as JSON Lines, oldest first. The last line is `{"complete": true, "count": …}`;
    a file without it was cut off. At most 200,000 rows: `next` in the last line is the `cursor` of another file."""

    problems = ("not_allowed", "invalid_input", "moved_to_archive")

    @extend_schema(
        operation_id="export_key_uses",
        parameters=[endpoints.CURSOR, *WANTED],
        responses={(200, "application/x-ndjson"): OpenApiTypes.STR},
    )
    def get(self, request: Request, tenant: str) -> StreamingHttpResponse:
        return _file(self, request, tenant, "jsonl")


class ExportCsv(endpoints.TenantView):
    """Who used the key as CSV for a spreadsheet, oldest first; no cell is read as a formula.
    The last row begins with `#complete`; a file without it was cut off."""

    problems = ("not_allowed", "invalid_input", "moved_to_archive")

    @extend_schema(
        operation_id="export_key_uses_csv",
        parameters=[endpoints.CURSOR, *WANTED],
        responses={(200, "text/csv"): OpenApiTypes.STR},
    )
    def get(self, request: Request, tenant: str) -> StreamingHttpResponse:
        return _file(self, request, tenant, "csv")


def _file(view: endpoints.TenantView, request: Request, tenant: str, extension: str) -> StreamingHttpResponse:
    source = key_uses.file(view.mine(request, tenant), _wanted(request))
    return exports.answer(source, request.query_params.get("cursor", ""), extension=extension)


def _wanted(request: Request) -> key_uses.Wanted:
    form = KeyUsesForm(request.query_params)
    filters.read(form)
    return form.wanted()


def _next(found: Page) -> str | None:
    return str(found.next) if found.next else None


class Inclusion(endpoints.TenantView):
    """The proof that a use is in the line of the log that seals it, an hour after it at the latest."""

    problems = ("not_allowed",)

    @extend_schema(operation_id="key_use_inclusion", responses=UseInclusionOut)
    def get(self, request: Request, tenant: str, use: str) -> Response:
        mine = self.mine(request, tenant)
        if not (use.isascii() and use.isdigit() and len(use) <= 18):
            raise NotFound
        found = use_rollups.proof(mine, int(use))
        if found is None:
            raise NotFound
        roll_up = found.roll_up
        return Response(
            {
                "event": roll_up.event_id,
                "use": found.use,
                "salt": roll_up.salt,
                "index": found.index,
                "count": roll_up.count,
                "root": roll_up.root,
                "proof": [one.hex() for one in found.path],
            }
        )
