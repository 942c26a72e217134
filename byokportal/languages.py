"""The language of a page: the person's choice, which a cookie keeps, else what the browser asks for, else English.

What machines read stays English whatever they ask for: the API, SCIM, the log's heads. So do the back office and the
pages about the API.
"""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import translation
from django.utils.cache import patch_vary_headers

# Beginnings of addresses whose answers never depend on a language.
ENGLISH = ("/api/", "/admin/", "/docs/", "/.well-known/", "/healthz", "/readyz", settings.STATIC_URL)


class LanguageMiddleware:
    """Answers a request in its language, and leaves none behind for the next request of the same thread."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith(ENGLISH):
            with translation.override(settings.LANGUAGE_CODE):
                return self.get_response(request)
        language = translation.get_language_from_request(request)  # of the cookie, else of Accept-Language
        with translation.override(language):
            response = self.get_response(request)
        response.headers.setdefault("Content-Language", language)
        patch_vary_headers(response, ("Accept-Language", "Cookie"))
        chosen = getattr(request, "language_chosen", None)
        if chosen is not None:
            response.set_cookie(
                settings.LANGUAGE_COOKIE_NAME,
                chosen,
                max_age=settings.LANGUAGE_COOKIE_AGE,
                secure=settings.LANGUAGE_COOKIE_SECURE,
                httponly=settings.LANGUAGE_COOKIE_HTTPONLY,
                samesite="Lax",
            )
        return response


def remember(request: HttpRequest, language: str) -> None:
    """Let the answer to this request set the cookie, so that the pages after it are in this language."""
    request.language_chosen = language  # type: ignore[attr-defined]
