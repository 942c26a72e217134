"""What a browser keeps of us: no page and no answer, and cookies that no other host can set."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.contrib.messages.storage.cookie import CookieStorage
from django.http import HttpRequest, HttpResponse

# What is for everybody and names no tenant; its view says how long a cache may keep it.
PUBLIC = {"/.well-known/byok-log"}


class NeverKeptMiddleware:
    """Lets no cache keep an answer: all but the static files and what is public may say something of a tenant,
    errors and redirects too."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        is_file = request.path_info.startswith(settings.STATIC_URL) and response.status_code in {200, 206, 304}
        is_public = request.path_info in PUBLIC and response.status_code == 200
        if not (is_file or is_public) and "no-store" not in response.headers.get("Cache-Control", ""):
            response.headers["Cache-Control"] = "no-store"
            response.headers.pop("Expires", None)
        return response


class MessagesCookie(CookieStorage):
    """The messages of the next page, in a cookie under our own name."""

    cookie_name = settings.MESSAGES_COOKIE_NAME
