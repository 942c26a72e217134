"""Portal addresses of the tenants app; `byokportal.urls` puts them under the namespace `portal`."""

from django.urls import path

from tenants import views

urlpatterns = [
    path("", views.home, name="home"),
    path("tenants/<uuid:tenant>/", views.tracker, name="tracker"),
    path("tenants/<uuid:tenant>/log/", views.log, name="log"),
    path("tenants/<uuid:tenant>/people/", views.members, name="members"),
    path("tenants/<uuid:tenant>/people/<int:number>/role/", views.change_role, name="change-role"),
    path("tenants/<uuid:tenant>/automation/", views.tokens, name="tokens"),
    path("tenants/<uuid:tenant>/automation/<uuid:token>/revoke/", views.revoke_token, name="revoke-token"),
]
