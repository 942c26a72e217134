"""Sessions that a tenant's directory made: looked up at every request, and they reach that tenant only.

What does not name a tenant is closed to them, but for what stands here: an account may belong to another tenant too,
and whoever looks after one directory must not reach the other by a password, a passkey or a mail address set in
between.

An own account that has lost its second factor, and that its directory alone lets in, gets one here: nowhere else could
it. That is an authenticator app, which nobody signs in by alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from allauth.mfa.utils import is_mfa_enabled
from django.contrib import messages
from django.contrib.auth import SESSION_KEY, logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django_htmx.http import HttpResponseClientRedirect

from byokportal.translation import translate as _
from tenants import mailed_links, return_page, services
from tenants.errors import SignOnNeeded, SignOnSessionBound
from tenants.models import Member, SignOnSession

KEY = "sign_on"  # in the session: the id of its row
SET_UP = "sign_on_factor"  # in the session: the id of the account whose second factor was set up in it
# View names that every such session reaches.
OPEN = mailed_links.FOR_THE_HOLDER | {
    "account_logout",
    "portal:home",
    "portal:language",
    "portal:guide",
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
CODES = {"mfa_index", "mfa_view_recovery_codes", "mfa_generate_recovery_codes", "mfa_download_recovery_codes"}
OF_ITS_OWN = CODES | {
    "mfa_activate_totp",
    "mfa_deactivate_totp",
    "mfa_list_webauthn",
    "mfa_add_webauthn",
    "mfa_edit_webauthn",
    "mfa_remove_webauthn",
    "usersessions_list",
}
# … and those by which a linked account gets a second factor again.
FACTOR = {"mfa_index", "mfa_activate_totp"}


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
        if match.view_name in OPEN or _reaches_of_account(request, row, match.view_name):
            return None
        # `access.member_for` asks the same of each page of a tenant, and finds nothing in another one.
        if match.view_name.startswith("portal:") and "tenant" in match.kwargs:
            return None
        error = SignOnSessionBound(organisation=row.identity.member.tenant.name)
        return render(request, "errors/problem.html", {"error": error}, status=403)


def note_factor(*, request: HttpRequest, **_: Any) -> None:
    """Let the session in which a second factor was set up reach its recovery codes; allauth calls it after that."""
    if of(request) is not None:
        request.session[SET_UP] = str(request.user.pk)


def _reaches_of_account(request: HttpRequest, row: SignOnSession, name: str) -> bool:
    """Tell whether a session reaches a page of the account itself."""
    if row.identity.made_account:
        return name in OF_ITS_OWN
    if name in CODES and request.session.get(SET_UP) == str(request.user.pk):
        return True
    return name in FACTOR and _has_no_other_way_to_a_factor(row)


def _has_no_other_way_to_a_factor(row: SignOnSession) -> bool:
    member = row.identity.member
    return (
        not is_mfa_enabled(member.user)
        and services.only_by_sign_on(member.user)
        and not Member.objects.filter(user=member.user_id).exclude(pk=member.pk).exists()
    )


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
