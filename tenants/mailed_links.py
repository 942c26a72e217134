"""Links in mails: their secret goes from the address into a cookie, and nothing leaks it onward.

Looking uses nothing up: mail scanners follow links. Only a POST, with the cookie, does something.
"""

from __future__ import annotations

from typing import TypeVar

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

LASTS = 3600  # seconds that a browser keeps the secret
Answer = TypeVar("Answer", bound=HttpResponse)


def lead(name: str, secret: str, page: str, *, lasts: int = LASTS) -> HttpResponse:
    """Put the secret into a cookie and lead to the page whose address does not hold it.

    Args:
        lasts: seconds that the browser keeps it.
    """
    answer = redirect(page)
    answer.set_cookie(
        _cookie(name),
        secret,
        max_age=lasts,
        path="/",
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",  # the person comes from a mail program: with Strict the redirect would not carry it
    )
    # The address with the secret is told to nobody. The page itself keeps the policy of all pages (same-origin):
    # its address holds nothing, and with no-referrer a browser sends "Origin: null" with the form, which the
    # CSRF check refuses.
    answer["Referrer-Policy"] = "no-referrer"
    return answer


def secret_of(request: HttpRequest, name: str) -> str:
    """Return the secret that the browser keeps; empty if none."""
    return request.COOKIES.get(_cookie(name), "")


def forget(answer: Answer, name: str) -> Answer:
    """Let the browser forget the secret."""
    answer.delete_cookie(_cookie(name), path="/", samesite="Lax")
    return answer


def _cookie(name: str) -> str:
    return f"{'__Host-' if settings.SESSION_COOKIE_SECURE else ''}{name}"
