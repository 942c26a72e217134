"""Addresses of the support app below /api/v1/."""

from django.urls import path

from support.api import views

urlpatterns = [
    path("tenants/<str:tenant>/tickets", views.Tickets.as_view(), name="tickets"),
    path("tenants/<str:tenant>/tickets/<str:ticket>/messages", views.TicketMessages.as_view(), name="ticket-messages"),
]
