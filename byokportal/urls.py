"""The only map of URLs."""

from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

from byokportal import docs, health, problems
from keys.api import urls as keys_api
from keys.urls import urlpatterns as keys_pages
from support.api import urls as support_api
from support.urls import urlpatterns as support_pages
from support.views import inbound_mails
from tenants.account_urls import urlpatterns as accounts
from tenants.api import urls as tenants_api
from tenants.scim.urls import urlpatterns as scim
from tenants.urls import urlpatterns as tenants_pages
from tenants.views import log_heads

api = [*keys_api.data_keys, *tenants_api.urlpatterns, *keys_api.urlpatterns, *support_api.urlpatterns]
portal = [*tenants_pages, *keys_pages, *support_pages]

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path(".well-known/byok-log", log_heads.newest, name="byok-log"),
    path("api/v1/", include((api, "api"))),
    path("api/scim/v2/", include((scim, "scim"))),
    path("api/inbound/mail", inbound_mails.take, name="inbound-mail"),
    path("api/schema", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs", docs.api, name="api-docs"),
    path("docs/problems", docs.problems, name="problems"),
    path("accounts/", include(accounts)),
    path("admin/", admin.site.urls),
    path("", include((portal, "portal"))),
]
handler404 = problems.not_found
handler500 = problems.server_error
