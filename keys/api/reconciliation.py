"""API: a tenant's CloudTrail compared with the calls that we made."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from byokportal.errors import MalformedBody
from keys import services
from keys.reconciling import cloudtrail, matching
from tenants import endpoints


class RecordOut(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    action = serializers.CharField()
    region = serializers.CharField(allow_blank=True)
    principal = serializers.CharField(help_text="an ARN, else the unique id that CloudTrail shows")
    session = serializers.CharField(allow_blank=True)
    error = serializers.CharField(allow_blank=True)
    aws_request_id = serializers.CharField(allow_blank=True)
    event_id = serializers.CharField(allow_blank=True)


class LackingOut(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    region = serializers.CharField()
    session = serializers.CharField()
    aws_request_id = serializers.CharField()
    why = serializers.ChoiceField([matching.MAY_COME, matching.ABSENT, matching.NOT_COVERED])


class ReconciliationOut(serializers.Serializer[Any]):
    records = serializers.IntegerField()
    compared = serializers.IntegerField()
    complete = serializers.BooleanField()
    archived_until = serializers.DateTimeField(
        allow_null=True, help_text="our unwraps of the period from before are in the archive, and not compared"
    )
    counts = serializers.DictField(child=serializers.IntegerField())
    unknown = RecordOut(many=True)
    callers = serializers.DictField(child=serializers.IntegerField())
    not_ours = RecordOut(many=True)
    lacking_counts = serializers.DictField(child=serializers.IntegerField())
    lacking = LackingOut(many=True)


class Reconciliations(endpoints.TenantView):
    """An export of CloudTrail, as JSON, JSON Lines or packed with gzip, compared with the calls that we made;
    nothing of it is kept. At most 256 KiB as sent, and 4 MiB unpacked."""

    problems = ("malformed_body",)

    @extend_schema(
        operation_id="reconcile", request={"application/octet-stream": OpenApiTypes.BINARY}, responses=ReconciliationOut
    )
    def post(self, request: Request, tenant: str) -> Response:
        mine, actor = self.mine(request, tenant), self.caller(request).actor
        try:
            found = services.reconcile(
                mine, [request._request.body], actor=actor, most_bytes=cloudtrail.MOST_BYTES_ONLINE
            )
        except cloudtrail.Unreadable as error:
            raise MalformedBody(why=str(error).removesuffix(".")) from None
        return Response(services.facts_of_reconciliation(found))
