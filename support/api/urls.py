"""Addresses of the support app below /api/v1/."""

from django.urls import path

from support.api import views, webhooks

urlpatterns = [
    path("tenants/<str:tenant>/tickets", views.Tickets.as_view(), name="tickets"),
    path("tenants/<str:tenant>/tickets/<str:ticket>/messages", views.TicketMessages.as_view(), name="ticket-messages"),
    path("tenants/<str:tenant>/webhooks", webhooks.Webhooks.as_view(), name="webhooks"),
    path("tenants/<str:tenant>/webhooks/<str:webhook>", webhooks.OneWebhook.as_view(), name="webhook"),
    path("tenants/<str:tenant>/webhooks/<str:webhook>/rotate", webhooks.RotateWebhook.as_view(), name="rotate-webhook"),
    path("tenants/<str:tenant>/webhooks/<str:webhook>/switch-on", webhooks.SwitchWebhook.as_view(), name="webhook-on"),
    path(
        "tenants/<str:tenant>/webhooks/<str:webhook>/switch-off",
        webhooks.SwitchOffWebhook.as_view(),
        name="webhook-off",
    ),
    path("tenants/<str:tenant>/webhooks/<str:webhook>/test", webhooks.TestWebhook.as_view(), name="test-webhook"),
    path("tenants/<str:tenant>/webhooks/<str:webhook>/replay", webhooks.ReplayFailed.as_view(), name="replay-failed"),
    path("tenants/<str:tenant>/webhooks/<str:webhook>/deliveries", webhooks.Deliveries.as_view(), name="deliveries"),
    path(
        "tenants/<str:tenant>/webhooks/<str:webhook>/deliveries/<str:delivery>/replay",
        webhooks.ReplayDelivery.as_view(),
        name="replay-delivery",
    ),
]
