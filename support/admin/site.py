"""The admin site: its title, its gate, and the queues on its first page."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.apps import SimpleAdminConfig
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse


class SupportAdminConfig(SimpleAdminConfig):
    """No autodiscovery: what this package does not register does not stand in the back office."""

    default_site = "support.admin.site.SupportAdminSite"

    def ready(self) -> None:
        super().ready()
        # Not at import: this module is loaded before the models are.
        from support.admin import audit, keys, people, tenants, tickets  # noqa: F401


class SupportAdminSite(AdminSite):
    site_header = "Kore.ai BYOK support"
    site_title = "Kore.ai BYOK support"
    index_title = "What waits for us"
    index_template = "admin/index.html"
    enable_nav_sidebar = False

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        from support.admin import queues

        return super().index(request, {**(extra_context or {}), "queues": queues.of(request)})

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Send people to the one sign-in of the portal, with its second factor and its rate limits."""
        from allauth.account.decorators import secure_admin_login

        answer: HttpResponse = secure_admin_login(super().login)(request, extra_context)  # type: ignore[no-untyped-call]
        return answer

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:  # type: ignore[override]
        return redirect("account_change_password")
