"""Sessions that a tenant's directory made: looked up at every request, and they reach that tenant only.

What does not name a tenant is closed to them, but for what stands here: an account may belong to another tenant too,
and whoever looks after one directory must not reach the other by a password, a passkey or a mail address set in
between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.auth import SESSION_KEY, logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django_htmx.http import HttpResponseClientRedirect

from byokportal.translation import translate as _
from tenants import return_page, services
from tenants.errors import SignOnNeeded, SignOnSessionBound
from tenants.models import SignOnSession

KEY = "sign_on"  # in the session: the id of its row
# View names that every such session reaches.
OPEN = {
    "account_logout",
    "portal:home",
    "portal:sign-on-start",
    "portal:sign-on-go",
    "portal:sign-on-callback",
    "portal:saml-acs",
    "portal:saml-metadata",
    "portal:saml-answer",
    "portal:sign-on-finish",
    "portal:sign-on-again",
    "problems",
    "api-docs",
    "schema",
    "healthz",
    "readyz",
}
# … and those of an account that the connection made: it has no other tenant and no other way in.
OF_ITS_OWN = ("mfa_index", "mfa_activate_totp", "mfa_list_webauthn", "mfa_add_webauthn", "mfa_edit_webauthn",
              "mfa_view_recovery_codes", "mfa_generate_recovery_codes", "mfa_download_recovery_codes",
              "usersessions_list")  # fmt: skip


def of(request: HttpRequest) -> SignOnSession | None:
    """Return the row of the session if a connection made it."""
    found: SignOnSession | None = getattr(request, "sign_on", None)
    return found


class SignOnMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith("/api/") and SESSION_KEY in request.session and KEY in request.session:
            row = services.session_of(request.session[KEY])
            if row is None or str(row.identity.member.user_id) != str(request.session[SESSION_KEY]):
                logout(request)
                messages.info(request, _("Your sign-in has ended. Sign in with your organisation to go on."))
                return _to(request, reverse("portal:sign-on-start"))
            request.sign_on = row  # type: ignore[attr-defined]
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponse], args: Any, kwargs: Any
    ) -> HttpResponse | None:
        row, match = of(request), request.resolver_match
        if row is None or match is None:
            return None
        if match.view_name in OPEN or (row.identity.made_account and match.view_name in OF_ITS_OWN):
            return None
        # `access.member_for` asks the same of each page of a tenant, and finds nothing in another one.
        if match.view_name.startswith("portal:") and "tenant" in match.kwargs:
            return None
        error = SignOnSessionBound(organisation=row.identity.member.tenant.name)
        return render(request, "errors/problem.html", {"error": error}, status=403)


class SignOnNeededMiddleware:
    """Leads a person whose sign-in does not count at a tenant to the page that says which one does."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, SignOnNeeded):
            return None
        tenant = exception.params["tenant"]
        query = urlencode({"next": return_page.of(request)})
        return _to(request, f"{reverse('portal:sign-on-needed', args=[tenant])}?{query}")


def _to(request: HttpRequest, address: str) -> HttpResponse:
    if request.htmx:  # type: ignore[attr-defined]
        answer: HttpResponse = HttpResponseClientRedirect(address)
        return answer
    return redirect(address)
