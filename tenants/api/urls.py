"""Addresses of the tenants app below /api/v1/."""

from django.urls import path

from tenants.api import views

urlpatterns = [
    path("oauth/token", views.Token.as_view(), name="token"),
    path("tenants/<str:tenant>/setup", views.Setup.as_view(), name="setup"),
    path("tenants/<str:tenant>/onboarding", views.Onboarding.as_view(), name="onboarding"),
    path("tenants/<str:tenant>/events", views.Events.as_view(), name="events"),
    path("tenants/<str:tenant>/events/export", views.EventsExport.as_view(), name="events-export"),
]
