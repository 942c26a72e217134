"""What a browser keeps of us: no page and no answer, and cookies that no other host can set."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.contrib.messages.storage.cookie import CookieStorage
from django.http import HttpRequest, HttpResponse


class NeverKeptMiddleware:
    """Lets no cache keep an answer: all but the static files may say something of a tenant,
    errors and redirects too."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        is_file = request.path_info.startswith(settings.STATIC_URL) and response.status_code in {200, 206, 304}
        if not is_file and "no-store" not in response.headers.get("Cache-Control", ""):
            response.headers["Cache-Control"] = "no-store"
            response.headers.pop("Expires", None)
        return response


class MessagesCookie(CookieStorage):
    """The messages of the next page, in a cookie under our own name."""

    cookie_name = settings.MESSAGES_COOKIE_NAME
