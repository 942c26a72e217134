"""Addresses of webhooks: added, changed, switched, tested; their deliveries, which can be sent again."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from byokportal import pages
from byokportal.shapes import Shape, Text
from support import kinds, services
from support.models import WebhookDelivery, WebhookEndpoint
from tenants import endpoints
from tenants.models import Tenant


class WebhookChangeIn(Shape):
    description = Text(max_length=200)
    kinds = serializers.ListField(child=Text(max_length=16), max_length=len(kinds.KINDS))


class WebhookIn(WebhookChangeIn):
    format = Text(max_length=16)
    address = Text(max_length=2000, required=False, allow_blank=True, default="")
    routing_key = Text(max_length=64, required=False, allow_blank=True, default="")


class RotateWebhookIn(Shape):
    hours = serializers.IntegerField(min_value=0, max_value=168, required=False, default=24)


class ReplayIn(Shape):
    since = serializers.DateTimeField()


class WebhookOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    format = serializers.ChoiceField(WebhookEndpoint.Format.choices)
    description = serializers.CharField()
    origin = serializers.CharField()
    kinds = serializers.ListField(child=serializers.ChoiceField(list(kinds.KINDS)))
    status = serializers.ChoiceField(["on", "off", "failing"])
    failing_since = serializers.DateTimeField(allow_null=True)
    delivered_at = serializers.DateTimeField(allow_null=True)
    old_secret_until = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()


class WebhookWithSecretOut(WebhookOut):
    # Of this answer alone: a repeat by the same Idempotency-Key has none.
    secret = serializers.CharField(allow_null=True)


class WebhooksOut(serializers.Serializer[Any]):
    items = WebhookOut(many=True)
    next = serializers.CharField(allow_null=True)


class DeliveryOut(serializers.Serializer[Any]):
    id = serializers.UUIDField(source="message_id")
    webhook_id = serializers.CharField(source="__str__")
    event_id = serializers.IntegerField(allow_null=True)
    status = serializers.ChoiceField(WebhookDelivery.Status.choices)
    attempts = serializers.IntegerField()
    due_at = serializers.DateTimeField()
    last_at = serializers.DateTimeField(allow_null=True)
    answer_status = serializers.IntegerField(allow_null=True)
    answer = serializers.CharField()
    why = serializers.CharField()
    created_at = serializers.DateTimeField()


class DeliveriesOut(serializers.Serializer[Any]):
    items = DeliveryOut(many=True)
    next = serializers.CharField(allow_null=True)


class ReplayedOut(serializers.Serializer[Any]):
    count = serializers.IntegerField()


def _webhook(tenant: Tenant, text: str) -> WebhookEndpoint:
    return services.webhook_of(tenant, endpoints.as_uuid(text))


def _shown(webhook: WebhookEndpoint) -> Any:
    webhook.refresh_from_db()
    return WebhookOut(webhook).data


class Webhooks(endpoints.TenantView):
    """Where the organisation's events are sent; the secret of a new one is in the answer, once."""

    problems = ("invalid_input", "not_allowed", "too_many_webhooks", "secret_pasted")

    @extend_schema(operation_id="list_webhooks", parameters=[endpoints.CURSOR], responses=WebhooksOut)
    def get(self, request: Request, tenant: str) -> Response:
        rows = services.webhooks_of(self.mine(request, tenant))
        return Response(WebhooksOut(pages.numbered(rows, request.query_params.get("cursor", ""))).data)

    @extend_schema(
        operation_id="add_webhook",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=WebhookIn,
        responses={201: WebhookWithSecretOut},
    )
    def post(self, request: Request, tenant: str) -> Response:
        mine, given = self.mine(request, tenant), self.given(request, WebhookIn)

        def do() -> Any:
            webhook, secret = services.add_webhook(mine, **given, actor=self.caller(request).actor)
            return _shown(webhook), secret

        def location(kept: Any) -> str:
            return reverse("api:webhook", args=[mine.pk, kept["id"]])

        return self.once_with_secret(request, mine, 201, do, location=location)


class OneWebhook(endpoints.TenantView):
    """One webhook. Its address cannot be changed: another address is another webhook."""

    problems = ("invalid_input", "not_allowed", "secret_pasted")

    @extend_schema(operation_id="get_webhook", responses=WebhookOut)
    def get(self, request: Request, tenant: str, webhook: str) -> Response:
        return Response(WebhookOut(_webhook(self.mine(request, tenant), webhook)).data)

    @extend_schema(operation_id="change_webhook", request=WebhookChangeIn, responses=WebhookOut)
    def put(self, request: Request, tenant: str, webhook: str) -> Response:
        found = _webhook(self.mine(request, tenant), webhook)
        given = self.given(request, WebhookChangeIn)
        services.change_webhook(found, **given, actor=self.caller(request).actor)
        return Response(_shown(found))

    @extend_schema(operation_id="remove_webhook", responses={204: None})
    def delete(self, request: Request, tenant: str, webhook: str) -> Response:
        services.remove_webhook(_webhook(self.mine(request, tenant), webhook), actor=self.caller(request).actor)
        return Response(status=204)


class RotateWebhook(endpoints.TenantView):
    """A new secret of a webhook, in the answer once; the old one signs too for some hours."""

    problems = ("invalid_input", "not_allowed")

    @extend_schema(
        operation_id="rotate_webhook_secret",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=RotateWebhookIn,
        responses=WebhookWithSecretOut,
    )
    def post(self, request: Request, tenant: str, webhook: str) -> Response:
        mine = self.mine(request, tenant)
        found, given = _webhook(mine, webhook), self.given(request, RotateWebhookIn)

        def do() -> Any:
            secret = services.rotate_webhook_secret(found, **given, actor=self.caller(request).actor)
            return _shown(found), secret

        return self.once_with_secret(request, mine, 200, do)


class SwitchWebhook(endpoints.TenantView):
    """Switches a webhook on or off."""

    is_on = True
    problems = ("not_allowed", "invalid_input")

    @extend_schema(
        operation_id="switch_webhook_on",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=None,
        responses=WebhookOut,
    )
    def post(self, request: Request, tenant: str, webhook: str) -> Response:
        mine = self.mine(request, tenant)
        found = _webhook(mine, webhook)

        def do() -> Any:
            services.switch_webhook(found, is_on=self.is_on, actor=self.caller(request).actor)
            return _shown(found)

        return self.once(request, mine, 200, do)


class SwitchOffWebhook(SwitchWebhook):
    """Switches a webhook off: what waits is given up, and nothing more is sent."""

    is_on = False

    @extend_schema(
        operation_id="switch_webhook_off",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=None,
        responses=WebhookOut,
    )
    def post(self, request: Request, tenant: str, webhook: str) -> Response:
        return super().post(request, tenant, webhook)


class TestWebhook(endpoints.TenantView):
    """A test of a webhook, which may be switched off. It is tried once."""

    problems = ("not_allowed", "webhook_test_waits")

    @extend_schema(
        operation_id="test_webhook",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=None,
        responses={202: DeliveryOut},
    )
    def post(self, request: Request, tenant: str, webhook: str) -> Response:
        mine = self.mine(request, tenant)
        found = _webhook(mine, webhook)

        def do() -> Any:
            return DeliveryOut(services.test_webhook(found, actor=self.caller(request).actor)).data

        return self.once(request, mine, 202, do)


class Deliveries(endpoints.TenantView):
    """What was sent to a webhook in the last thirty days, the newest first."""

    problems = ("invalid_input", "not_allowed")

    @extend_schema(operation_id="list_webhook_deliveries", parameters=[endpoints.CURSOR], responses=DeliveriesOut)
    def get(self, request: Request, tenant: str, webhook: str) -> Response:
        found = _webhook(self.mine(request, tenant), webhook)
        page = pages.page(found.deliveries.all(), request.query_params.get("cursor", ""))
        return Response(DeliveriesOut(page).data)


class ReplayDelivery(endpoints.TenantView):
    """Sends a delivery again, by the same webhook-id."""

    problems = ("invalid_input", "not_allowed", "webhook_not_on")

    @extend_schema(
        operation_id="replay_webhook_delivery",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=None,
        responses={202: DeliveryOut},
    )
    def post(self, request: Request, tenant: str, webhook: str, delivery: str) -> Response:
        mine = self.mine(request, tenant)
        one = services.delivery_of(_webhook(mine, webhook), endpoints.as_uuid(delivery))

        def do() -> Any:
            services.replay_delivery(one, actor=self.caller(request).actor)
            one.refresh_from_db()
            return DeliveryOut(one).data

        return self.once(request, mine, 202, do)


class ReplayFailed(endpoints.TenantView):
    """Sends again all that was given up, of events since then."""

    problems = ("invalid_input", "not_allowed", "webhook_not_on")

    @extend_schema(
        operation_id="replay_failed_webhook_deliveries",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=ReplayIn,
        responses={202: ReplayedOut},
    )
    def post(self, request: Request, tenant: str, webhook: str) -> Response:
        mine = self.mine(request, tenant)
        found, given = _webhook(mine, webhook), self.given(request, ReplayIn)

        def do() -> Any:
            return {"count": services.replay_failed(found, **given, actor=self.caller(request).actor)}

        return self.once(request, mine, 202, do)
