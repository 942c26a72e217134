"""Addresses of the moment at which a tested registration goes into service."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from byokportal.shapes import Shape
from keys import services
from keys.api.serializers import Empty, RegistrationOut
from keys.models import KeyRegistration
from tenants import endpoints


class ActivationIn(Shape):
    activation = serializers.ChoiceField(KeyRegistration.Activation.choices)
    activate_at = serializers.DateTimeField(
        required=False, allow_null=True, help_text="of at_time: the instant, at most 90 days away"
    )


class Activation(endpoints.TenantView):
    """When the registration in preparation goes into service: as soon as its test passes, at an instant, or when a
    person activates it. At that moment a test that is not older than an hour has to pass."""

    problems = ("no_registration", "invalid_input", "not_allowed", "token_not_marked")

    @extend_schema(operation_id="choose_activation", request=ActivationIn, responses=RegistrationOut)
    def put(self, request: Request, tenant: str) -> Response:
        mine = self.mine(request, tenant)
        given = self.given(request, ActivationIn)
        return Response(
            RegistrationOut(services.choose_activation(mine, **given, actor=self.caller(request).actor)).data
        )


class Activate(endpoints.TenantView):
    """Put the tested registration in service now; where its test is older than an hour, another one runs first."""

    problems = ("no_registration", "registration_busy", "suspended", "not_allowed", "token_not_marked")

    @extend_schema(
        operation_id="activate",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=Empty,
        responses={202: RegistrationOut},
    )
    def post(self, request: Request, tenant: str) -> Response:
        mine = self.mine(request, tenant)
        self.given(request, Empty)

        def do() -> Any:
            return RegistrationOut(services.activate(mine, actor=self.caller(request).actor)).data

        return self.once(request, mine, 202, do, location=lambda _: reverse("api:registration", args=[mine.pk]))
