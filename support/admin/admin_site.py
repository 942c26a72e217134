"""The admin site: its title, its gate, and the queues on its first page."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.apps import SimpleAdminConfig
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode

# Who may read what customers write may have an AWS error explained that a customer sent.
EXPLAINS = "support.ticket"


class SupportAdminConfig(SimpleAdminConfig):
    """No autodiscovery: what this package does not register does not stand in the back office."""

    default_site = "support.admin.admin_site.SupportAdminSite"

    def ready(self) -> None:
        super().ready()
        # Not at import: this module is loaded before the models are.
        from support.admin import audit, keys, people, recoveries, service_accounts, tenants, tickets  # noqa: F401


class SupportAdminSite(AdminSite):
    site_header = "Kore.ai BYOK support"
    site_title = "Kore.ai BYOK support"
    index_title = "What waits for us"
    index_template = "admin/index.html"
    enable_nav_sidebar = False

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        from support.admin import queues
        from tenants import roles

        context = {"queues": queues.of(request), "explains": roles.staff_sees(request.user, EXPLAINS)}
        return super().index(request, {**(extra_context or {}), **context})

    def get_urls(self) -> list[URLResolver | URLPattern]:
        explain = self.admin_view(self.explain_aws_error)
        return [path("explain-aws-error/", explain, name="explain_aws_error"), *super().get_urls()]

    def explain_aws_error(self, request: HttpRequest) -> HttpResponse:
        from support.admin import explain
        from tenants import roles

        if not roles.staff_sees(request.user, EXPLAINS):
            raise PermissionDenied
        return explain.page(request, self.each_context(request))

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Send people to the one sign-in of the portal; Django's own has no second factor and counts no failures."""
        here = reverse("admin:index", current_app=self.name)
        wanted = request.GET.get(REDIRECT_FIELD_NAME, "")
        own = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
        there = wanted if own else here
        if not request.user.is_authenticated:
            return redirect(f"{reverse('account_login')}?{urlencode({REDIRECT_FIELD_NAME: there})}")
        if not self.has_permission(request):
            raise PermissionDenied
        return redirect(there)

    def logout(  # type: ignore[override]
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # it needs the models, which are not there yet when this is imported
        from django.contrib.auth.views import (
            LogoutView,
        )

        return LogoutView.as_view(next_page=reverse("account_login"))(request)

    def password_change(  # type: ignore[override]
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return redirect("account_change_password")
