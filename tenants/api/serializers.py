"""Shapes of the tenants app's part of the API."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers


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
    kind = serializers.CharField()
    sentence = serializers.CharField()
    actor = serializers.CharField()
    at = serializers.DateTimeField()
    request_id = serializers.CharField()
    data = serializers.DictField()  # type: ignore[assignment]  # a field, not the property


class EventsOut(serializers.Serializer[Any]):
    items = EventOut(many=True)
    next = serializers.CharField(allow_null=True)
    looked_back_to = serializers.DateTimeField(
        allow_null=True, help_text="where the search stopped before the page was full; `next` goes on from there"
    )


class TokenIn(serializers.Serializer[Any]):
    """The form of RFC 6749, section 4.4; the credentials may come by HTTP basic authentication instead."""

    grant_type = serializers.ChoiceField(["client_credentials"])
    scope = serializers.CharField(required=False)
    client_id = serializers.CharField(required=False)
    client_secret = serializers.CharField(required=False)


class TokenRefused(serializers.Serializer[Any]):
    """An error of RFC 6749, section 5.2."""

    error = serializers.ChoiceField(["invalid_request", "invalid_client", "invalid_scope", "unsupported_grant_type"])
    error_description = serializers.CharField()


class TokenOut(serializers.Serializer[Any]):
    access_token = serializers.CharField()
    token_type = serializers.CharField()
    expires_in = serializers.IntegerField()
    scope = serializers.CharField()
