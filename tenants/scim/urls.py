"""Addresses of SCIM below /api/scim/v2/."""

from django.urls import path

from tenants.scim import shapes, views

urlpatterns = [
    path("<str:tenant>/ServiceProviderConfig", views.Configuration.as_view(), name="scim-configuration"),
    path(
        "<str:tenant>/ResourceTypes",
        views.Described.as_view(described=shapes.resource_types),
        name="scim-resource-types",
    ),
    path(
        "<str:tenant>/ResourceTypes/<str:pk>",
        views.Described.as_view(described=shapes.resource_types),
        name="scim-resource-type",
    ),
    path("<str:tenant>/Schemas", views.Described.as_view(), name="scim-schemas"),
    path("<str:tenant>/Schemas/<str:pk>", views.Described.as_view(), name="scim-schema"),
    path("<str:tenant>/Users", views.Users.as_view(), name="scim-users"),
    path("<str:tenant>/Users/<str:pk>", views.OneUser.as_view(), name="scim-user"),
    path("<str:tenant>/Groups", views.Groups.as_view(), name="scim-groups"),
    path("<str:tenant>/Groups/<str:pk>", views.OneGroup.as_view(), name="scim-group"),
    path("<str:tenant>/<path:rest>", views.Unknown.as_view(), name="scim-unknown"),
]
