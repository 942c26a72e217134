"""The admin site: its title, its gate, and its own pages: desk, fleet, tickets, the explanation of an AWS error."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.apps import SimpleAdminConfig
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode

# Who may read what customers write may have an AWS error explained that a customer sent.
EXPLAINS = "support.ticket"
# Who may look at a tenant may look at all of them.
FLEET = "tenants.tenant"
PEOPLE = "auth.user"


class SupportAdminConfig(SimpleAdminConfig):
    """No autodiscovery: what this package does not register does not stand in the back office."""

    default_site = "support.admin.admin_site.SupportAdminSite"

    def ready(self) -> None:
        super().ready()
        # Not at import: this module is loaded before the models are.
        from support.admin import (  # noqa: F401
            audit,
            bulk,
            closings,
            holds,
            incidents,
            keys,
            log_streams,
            people,
            recoveries,
            service_accounts,
            service_roles,
            tenants,
            tickets,
            webhooks,
        )


class SupportAdminSite(AdminSite):
    site_header = "Kore.ai BYOK support"
    site_title = "Kore.ai BYOK support"
    index_title = "What waits for us"
    index_template = "admin/index.html"
    enable_nav_sidebar = False

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        from support.admin import frame

        return {**super().each_context(request), "pages": frame.pages(request)}

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        from support.admin import desk

        return super().index(request, {**(extra_context or {}), **desk.context(request)})

    def get_urls(self) -> list[URLResolver | URLPattern]:
        view = self.admin_view
        return [
            path("explain-aws-error/", view(self.explain_aws_error), name="explain_aws_error"),
            path("explain-aws-error/answer/", view(self.answer_explained), name="answer_explained"),
            path("tickets/", view(self.tickets), name="tickets"),
            path("fleet/", view(self.fleet), name="fleet"),
            path("fleet/csv/", view(self.fleet_csv), name="fleet_csv"),
            path("fleet/bulk/", view(self.begin_bulk), name="fleet_bulk"),
            path("fleet/views/", view(self.save_fleet_view), name="fleet_save_view"),
            path("fleet/views/<int:view>/remove/", view(self.remove_fleet_view), name="fleet_remove_view"),
            path("people/", view(self.our_people), name="our_people"),
            path("people/export/<slug:extension>/", view(self.our_people_export), name="our_people_export"),
            *super().get_urls(),
        ]

    def _require_fleet(self, request: HttpRequest) -> None:
        self._require_sight(request, FLEET)

    def _require_sight(self, request: HttpRequest, model: str) -> None:
        from tenants import roles

        if not roles.staff_sees(request.user, model):
            raise PermissionDenied

    def fleet(self, request: HttpRequest) -> HttpResponse:
        from support.admin import fleet

        self._require_fleet(request)
        return fleet.page(request, self.each_context(request))

    def fleet_csv(self, request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
        from support.admin import fleet

        self._require_fleet(request)
        return fleet.export(request)

    def begin_bulk(self, request: HttpRequest) -> HttpResponse:
        from support.admin import bulk

        self._require_fleet(request)
        return bulk.begin(request, self.each_context(request))

    def save_fleet_view(self, request: HttpRequest) -> HttpResponse:
        from support.admin import fleet

        self._require_fleet(request)
        return fleet.save_view(request)

    def remove_fleet_view(self, request: HttpRequest, view: int) -> HttpResponse:
        from support.admin import fleet

        self._require_fleet(request)
        return fleet.remove_view(request, view)

    def our_people(self, request: HttpRequest) -> HttpResponse:
        from support.admin import our_people

        self._require_sight(request, PEOPLE)
        return our_people.page(request, self.each_context(request))

    def our_people_export(self, request: HttpRequest, extension: str) -> HttpResponse:
        from support.admin import our_people

        self._require_sight(request, PEOPLE)
        return our_people.export(request, extension)

    def explain_aws_error(self, request: HttpRequest) -> HttpResponse:
        from support.admin import explain
        from tenants import roles

        if not roles.staff_sees(request.user, EXPLAINS):
            raise PermissionDenied
        return explain.page(request, self.each_context(request))

    def answer_explained(self, request: HttpRequest) -> HttpResponse:
        from support.admin import explained_answers

        return explained_answers.page(request, self.each_context(request))

    def tickets(self, request: HttpRequest) -> HttpResponse:
        from support.admin import ticket_list
        from tenants import roles

        if not roles.staff_sees(request.user, EXPLAINS):
            raise PermissionDenied
        return ticket_list.page(request, self.each_context(request))

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
        return HttpResponseRedirect(there)  # an address; `redirect` takes a word for the name of a view

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
