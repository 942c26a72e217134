"""Portal addresses of the support app; `byokportal.urls` puts them under the namespace `portal`."""

from django.urls import path

from support import views
from support.views import mails, webhooks

urlpatterns = [
    path("tenants/<uuid:tenant>/tickets/", views.tickets, name="tickets"),
    path("tenants/<uuid:tenant>/tickets/<uuid:ticket>/", views.ticket, name="ticket"),
    path("tenants/<uuid:tenant>/mails/", mails.mails, name="mails"),
    path("tenants/<uuid:tenant>/webhooks/", webhooks.webhooks, name="webhooks"),
    path("tenants/<uuid:tenant>/webhooks/<uuid:webhook>/", webhooks.webhook, name="webhook"),
    path("tenants/<uuid:tenant>/webhooks/<uuid:webhook>/rotate/", webhooks.rotate, name="rotate-webhook"),
    path("tenants/<uuid:tenant>/webhooks/<uuid:webhook>/switch/", webhooks.switch, name="switch-webhook"),
    path("tenants/<uuid:tenant>/webhooks/<uuid:webhook>/remove/", webhooks.remove, name="remove-webhook"),
    path("tenants/<uuid:tenant>/webhooks/<uuid:webhook>/test/", webhooks.test, name="test-webhook"),
    path("tenants/<uuid:tenant>/webhooks/<uuid:webhook>/replay/", webhooks.replay, name="replay-webhook"),
    path(
        "tenants/<uuid:tenant>/webhooks/<uuid:webhook>/deliveries/<uuid:delivery>/replay/",
        webhooks.replay_one,
        name="replay-delivery",
    ),
]
