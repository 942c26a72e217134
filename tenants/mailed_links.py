"""Links in mails: their secret goes from the address into a cookie, and nothing leaks it onward.

Looking uses nothing up: mail scanners follow links. Only a POST, with the cookie, does something.
"""

from __future__ import annotations

import re
from typing import TypeVar

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

# What `tokens.new_secret` makes has only such signs. A cookie of others may not fit into a header, which the server
# writes as Latin-1: no answer would leave.
SECRET = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)
LASTS = 3600  # seconds that a browser keeps the secret
# View names of pages that do what they do for whoever holds the secret: none of them asks whose session it is. The
# other links act on the account that is signed in.
FOR_THE_HOLDER = {
    "portal:recovery-link",
    "portal:recovery",
    "portal:recovery-stopped",
    "portal:setup-link-enter",
    "portal:setup-link",
    "portal:setup-link-propose",
    "portal:setup-link-check-policy",
    "portal:setup-link-document",
    "portal:setup-link-change-request",
    "portal:setup-link-change-request-file",
}
Answer = TypeVar("Answer", bound=HttpResponse)


def lead(name: str, secret: str, page: str, *, lasts: int = LASTS) -> HttpResponse:
    """Put the secret into a cookie and lead to the page whose address does not hold it.

    What can be no secret of ours is not kept, and one that the browser keeps is forgotten: the page says that the link
    is over.

    Args:
        lasts: seconds that the browser keeps it.
    """
    answer = redirect(page)
    if SECRET.fullmatch(secret):
        answer.set_cookie(
            _cookie(name),
            secret,
            max_age=lasts,
            path="/",
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Lax",  # the person comes from a mail program: with Strict the redirect would not carry it
        )
    else:
        forget(answer, name)
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
