"""Address of what the home page shows."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keys import services
from keys.errors import NoRegistration
from keys.overview import costs
from tenants import endpoints


class ChainLinkOut(serializers.Serializer[Any]):
    name = serializers.CharField()
    state = serializers.CharField()
    sentence = serializers.CharField()


class DayOut(serializers.Serializer[Any]):
    on = serializers.DateField()
    whose = serializers.CharField(allow_null=True, help_text="ours, theirs, person or unclear; null: it served")
    is_before = serializers.BooleanField(help_text="the key was not in service yet")


class OutageOut(serializers.Serializer[Any]):
    began_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    whose = serializers.CharField()
    reason = serializers.CharField(allow_blank=True)
    by = serializers.CharField(allow_blank=True)
    resumed_by = serializers.CharField(allow_blank=True)


class ServiceUseOut(serializers.Serializer[Any]):
    service = serializers.CharField()
    keys = serializers.IntegerField()
    days = serializers.ListField(child=serializers.IntegerField())


class MonthOut(serializers.Serializer[Any]):
    latency = serializers.IntegerField()
    calls = serializers.IntegerField()
    dollars = serializers.DecimalField(max_digits=12, decimal_places=2)
    is_yours = serializers.BooleanField()


class SpendingOut(serializers.Serializer[Any]):
    account = serializers.CharField()
    counted = serializers.IntegerField()
    since = serializers.DateTimeField()
    is_all = serializers.BooleanField()
    months = MonthOut(many=True)
    prices_of = serializers.DateField(default=costs.AS_OF)
    prices_from = serializers.CharField(default=costs.SOURCE)


class LastTestOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    verdict = serializers.CharField()
    passed = serializers.IntegerField()
    total = serializers.IntegerField()
    finished_at = serializers.DateTimeField()


class LastDrillOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    status = serializers.CharField()
    started_at = serializers.DateTimeField()
    stopped_after = serializers.FloatField(allow_null=True)
    bound_seconds = serializers.IntegerField()


class ActionOut(serializers.Serializer[Any]):
    code = serializers.CharField()
    name = serializers.CharField(allow_blank=True)
    at = serializers.DateTimeField(allow_null=True)


class OverviewOut(serializers.Serializer[Any]):
    status = serializers.CharField(source="registration.status")
    since = serializers.DateTimeField(source="registration.moved_at")
    reason = serializers.CharField(source="registration.reason", allow_blank=True)
    suspended_by = serializers.CharField(source="registration.suspended_by", allow_blank=True)
    is_ours = serializers.BooleanField(help_text="what keeps us from the key is our own doing")
    incident_since = serializers.DateTimeField(allow_null=True)
    latency = serializers.IntegerField()
    probed_at = serializers.DateTimeField(allow_null=True)
    next_probe_at = serializers.DateTimeField(allow_null=True)
    deletion_at = serializers.DateTimeField(allow_null=True)
    first_served_at = serializers.DateTimeField()
    canary_passed_at = serializers.DateTimeField(
        allow_null=True, help_text="when a key of our own in the same Region last answered by the same service role"
    )
    canary_fails_since = serializers.DateTimeField(allow_null=True)
    chain = ChainLinkOut(many=True, source="chain.links")
    health = DayOut(many=True)
    outages = OutageOut(many=True)
    use = ServiceUseOut(many=True)
    spending = SpendingOut()
    test = LastTestOut(allow_null=True)
    drill = LastDrillOut(allow_null=True)
    actions = ActionOut(many=True)


class Overview(endpoints.TenantView):
    """The home page as data: state of the key and of our side, 90 days of health with each outage and whose doing it
    was, data keys by service for each of the last 30 days (the last number is today's), what KMS calls cost in the
    account of the role, last test and drill, and what comes next. 409 until a key has served."""

    problems = ("no_registration",)

    @extend_schema(operation_id="get_overview", responses=OverviewOut)
    def get(self, request: Request, tenant: str) -> Response:
        found = services.overview(self.mine(request, tenant))
        if found is None:
            raise NoRegistration
        return Response(OverviewOut(found).data)
