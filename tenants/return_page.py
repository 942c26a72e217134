"""Which page a person has in front of them, as the address to come back to."""

from __future__ import annotations

from django.http import HttpRequest
from django.utils.http import url_has_allowed_host_and_scheme


def of(request: HttpRequest) -> str:
    """Return the page that the person sees: the one asked for, or the one that a form was sent from."""
    if request.htmx:  # type: ignore[attr-defined]
        return request.htmx.current_url_abs_path or "/"  # type: ignore[attr-defined]
    if request.method == "GET":
        return request.get_full_path()
    sent_from = request.headers.get("Referer", "")
    own = url_has_allowed_host_and_scheme(sent_from, {request.get_host()}, require_https=request.is_secure())
    return sent_from if own else "/"
