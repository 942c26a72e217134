"""Webhooks of tenants and what was delivered to them, in the back office: to look at only, and without secrets."""

from __future__ import annotations

from django.contrib import admin

from support.admin.base import ReadOnlyAdmin
from support.models import WebhookDelivery, WebhookEndpoint


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(ReadOnlyAdmin):
    list_display = ("description", "tenant", "format", "origin", "status", "failing_since", "delivered_at")
    list_filter = ("status", "format")
    list_select_related = ("tenant",)
    search_fields = ("description", "tenant__name", "=id")
    fields = (
        "description",
        "tenant",
        "format",
        "origin",
        "kinds",
        "status",
        "failures",
        "failing_since",
        "next_at",
        "delivered_at",
        "old_secret_until",
        "made_by",
        "created_at",
    )


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyAdmin):
    list_display = ("endpoint", "tenant", "status", "attempts", "answer_status", "last_at", "created_at", "message_id")
    list_filter = ("status",)
    list_select_related = ("tenant", "endpoint")
    search_fields = ("=message_id", "tenant__name")
    fields = (
        "message_id",
        "tenant",
        "endpoint",
        "event",
        "status",
        "attempts",
        "due_at",
        "last_at",
        "answer_status",
        "why",
        "created_at",
    )

    def named(self, obj: WebhookDelivery) -> str:
        return f"Delivery to {obj.endpoint}, {obj.created_at:%Y-%m-%d %H:%M} UTC"
