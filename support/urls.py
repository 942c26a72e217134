"""Portal addresses of the support app; `byokportal.urls` puts them under the namespace `portal`."""

from django.urls import path

from support import views

urlpatterns = [
    path("tenants/<uuid:tenant>/tickets/", views.tickets, name="tickets"),
    path("tenants/<uuid:tenant>/tickets/<uuid:ticket>/", views.ticket, name="ticket"),
]
