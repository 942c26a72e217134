"""Shapes of the tenants app's part of the API."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from tenants import audit


class SetupOut(serializers.Serializer[Any]):
    tenant = serializers.UUIDField()
    service_role_arn = serializers.CharField()
    aws_account_id = serializers.CharField()
    external_id = serializers.CharField()


class StepOut(serializers.Serializer[Any]):
    number = serializers.IntegerField()
    name = serializers.CharField()
    status = serializers.CharField()
    since = serializers.DateTimeField()
    whose_turn = serializers.CharField()
    evidence = serializers.DictField()
    next = serializers.CharField()


class OnboardingOut(serializers.Serializer[Any]):
    steps = StepOut(many=True)


class EventOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField()
    sentence = serializers.SerializerMethodField()
    actor = serializers.CharField()
    at = serializers.DateTimeField()
    request_id = serializers.CharField()
    data = serializers.SerializerMethodField()  # type: ignore[assignment]  # a field, not the property

    def get_sentence(self, event: Any) -> str:
        return audit.sentence(event)

    @extend_schema_field(OpenApiTypes.OBJECT)
    def get_data(self, event: Any) -> dict[str, object]:
        return audit.data_of(event)


class EventsOut(serializers.Serializer[Any]):
    items = EventOut(many=True)
    next = serializers.CharField(allow_null=True)


class TokenIn(serializers.Serializer[Any]):
    """The form of RFC 6749, section 4.4; the credentials may come by HTTP basic authentication instead."""

    grant_type = serializers.ChoiceField(["client_credentials"])
    scope = serializers.CharField(required=False)
    client_id = serializers.CharField(required=False)
    client_secret = serializers.CharField(required=False)


class TokenOut(serializers.Serializer[Any]):
    access_token = serializers.CharField()
    token_type = serializers.CharField()
    expires_in = serializers.IntegerField()
    scope = serializers.CharField()
