"""Sends people without a second factor to its set-up, where MFA_REQUIRED is on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

OPEN = (
    "account_",
    "mfa_",
    "api:",
    "problems",
    "healthz",
    "readyz",
)  # view names: sign-in and set-up themselves, and doors without a session


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
        messages.info(
            request,
            "Set up a second factor first: an authenticator app or a passkey. It protects your organisation's key.",
        )
        return redirect("mfa_index")
