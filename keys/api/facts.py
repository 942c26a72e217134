"""Addresses of what a customer's own controls are made of."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keys import services
from tenants import endpoints


class ControlOut(serializers.Serializer[Any]):
    name = serializers.CharField()
    text = serializers.CharField(allow_blank=True)
    missing = serializers.ListField(child=serializers.CharField())


class FactsOut(serializers.Serializer[Any]):
    aws_account_id = serializers.CharField()
    canary_account_id = serializers.CharField()
    service_role_arn = serializers.CharField()
    external_id = serializers.CharField()
    session_names = serializers.DictField(child=serializers.CharField())
    encryption_context = serializers.DictField(child=serializers.CharField())
    actions = serializers.ListField(child=serializers.CharField())
    egress_addresses = serializers.ListField(child=serializers.CharField())
    regions = serializers.ListField(child=serializers.CharField())
    accepted_regions = serializers.ListField(child=serializers.CharField())
    controls = ControlOut(many=True)


class Facts(endpoints.TenantView):
    """Who we are in the tenant's AWS account, how our calls look there, and ready texts for its own controls: a service
    control policy, a resource control policy, key policy statements with conditions, event patterns, alarms, a query.
    While an ARN is missing their text is empty."""

    @extend_schema(operation_id="get_facts", responses=FactsOut)
    def get(self, request: Request, tenant: str) -> Response:
        return Response(FactsOut(services.facts_of(self.mine(request, tenant))).data)


class Control(endpoints.TenantView):
    """One of the ready texts as it is."""

    problems = ("arns_missing", "not_found")

    @extend_schema(operation_id="get_control", responses={(200, "text/plain"): OpenApiTypes.STR})
    def get(self, request: Request, tenant: str, name: str) -> HttpResponse:
        text = services.control(self.mine(request, tenant), name)
        return HttpResponse(text, content_type="text/plain; charset=utf-8")
