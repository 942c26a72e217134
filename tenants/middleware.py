"""Sends people to set up a second factor where MFA_REQUIRED is on, and to sign in again where that is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from allauth.account.adapter import get_adapter
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode
from django_htmx.http import HttpResponseClientRedirect

from byokportal.translation import translate as _
from tenants import mailed_links, return_page, services, sign_on_sessions
from tenants.errors import FreshSignInNeeded, SecondPersonNeeded

# beginnings of view names: sign-in and set-up themselves, and addresses that ask nothing of a session
OPEN = (
    *mailed_links.FOR_THE_HOLDER,
    "account_",
    "mfa_",
    "api:",
    "scim:",
    "portal:language",
    "portal:sign-on-start",
    "portal:sign-on-go",
    "portal:sign-on-callback",
    "portal:saml-acs",
    "portal:saml-metadata",
    "portal:saml-answer",
    "portal:sign-on-finish",
    "portal:sign-on-again",
    "problems",
    "healthz",
    "readyz",
)


class SecondFactorMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponse], args: Any, kwargs: Any
    ) -> HttpResponse | None:
        match = request.resolver_match
        if not settings.MFA_REQUIRED or match is None or match.view_name.startswith(OPEN):
            return None
        if not request.user.is_authenticated or is_mfa_enabled(request.user):
            return None
        session = sign_on_sessions.of(request)
        if session is not None and session.has_second_factor:
            return None
        if session is None or session.identity.made_account:
            words = _(
                "Set up a second factor first: an authenticator app or a passkey. It protects your organisation's key."
            )
        else:
            words = _("Set up a second factor first: an authenticator app. It protects your organisation's key.")
        messages.info(request, words)
        return redirect("mfa_index")


class FreshSignInMiddleware:
    """Leads a person whose sign-in is too old for what they asked to the page that asks for it, and from there back.

    What was posted is kept nowhere (it may hold a secret); the person comes back to the page that they sent it from.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, FreshSignInNeeded) or request.path.startswith("/api/"):
            return None
        by_sign_on = sign_on_sessions.of(request) is not None
        methods = (
            [{"url": reverse("portal:sign-on-again")}]
            if by_sign_on
            else get_adapter(request).get_reauthentication_methods(request.user)
        )
        if not methods:
            return None  # a page that says so: there is nothing here that this person could give again
        if request.method == "GET":
            messages.info(request, _("Sign in again first, then this page opens."))
        else:
            messages.info(
                request,
                _("Sign in again first. Nothing is done yet: you come back to the page, and do it there once more."),
            )
        there = f"{methods[0]['url']}?{urlencode({'next': return_page.of(request)})}"
        return HttpResponseClientRedirect(there) if request.htmx else redirect(there)  # type: ignore[attr-defined]


class SecondPersonMiddleware:
    """Lets a second person be asked for what a page without a form was refused for; the words follow elsewhere."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if isinstance(exception, SecondPersonNeeded):
            services.ask_second_person(exception)
        return None
