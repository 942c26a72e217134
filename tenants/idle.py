"""Sessions end: after a while in which the person did nothing, and in any case some hours after the sign-in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import SESSION_KEY, logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode
from django_htmx.http import HttpResponseClientRedirect

from byokportal import clock
from byokportal.translation import translate as _
from tenants import return_page

KEY = "seen"  # in the session: when it began, and when the person last did something
WRITTEN_EVERY = 60.0  # seconds at most between two writes of that; a tenth of a short time-out


def begin(*, request: HttpRequest, **_: Any) -> None:
    """Write down that a session begins; Django calls it after each sign-in."""
    now = clock.now().timestamp()
    request.session[KEY] = {"began": now, "at": now}


class IdleMiddleware:
    """Signs people out who did nothing for SESSION_IDLE_SECONDS.

    A page that asks for news by itself does nothing for anybody: such a request (htmx, GET) does not count. The time
    is written once a minute at most, so a session may end up to a minute early, never late.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._answer(request)
        is_part = bool(request.htmx)  # type: ignore[attr-defined]
        if is_part and response.status_code == 302 and response["Location"].startswith(_sign_in()):
            # else htmx puts the sign-in into a corner of the page
            answer: HttpResponse = HttpResponseClientRedirect(_sign_in(request))
            return answer
        return response

    def _answer(self, request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith("/api/") or SESSION_KEY not in request.session:
            return self.get_response(request)
        now, seen = clock.now().timestamp(), request.session.get(KEY)
        if not isinstance(seen, dict):
            begin(request=request)
        elif now - seen["at"] > settings.SESSION_IDLE_SECONDS or now - seen["began"] > settings.SESSION_COOKIE_AGE:
            return self._out(request)
        elif not _is_poll(request) and now - seen["at"] >= min(WRITTEN_EVERY, settings.SESSION_IDLE_SECONDS / 10):
            request.session[KEY] = {**seen, "at": now}
        return self.get_response(request)

    def _out(self, request: HttpRequest) -> HttpResponse:
        logout(request)
        messages.info(request, _("You were signed out because nothing happened for a while. Sign in to go on."))
        # A page is asked for anew, by nobody now: it says itself whether somebody has to sign in.
        return self.get_response(request) if request.method in {"GET", "HEAD"} else redirect(_sign_in(request))


def _is_poll(request: HttpRequest) -> bool:
    return bool(request.htmx) and request.method == "GET"  # type: ignore[attr-defined]


def _sign_in(request: HttpRequest | None = None) -> str:
    """Return the address of the sign-in, which leads back to the page of the request."""
    address = reverse("account_login")
    return address if request is None else f"{address}?{urlencode({'next': return_page.of(request)})}"
