"""The fast path of a request for data keys: past the middlewares that are for people, straight to its view.

A data key has to come in about a millisecond, and half of what a request costs is middleware that a
program does not need. `FastPath` stands first in MIDDLEWARE and takes the addresses below `…/data-keys` out of the
common chain; `keys.datakeys.http.event_loop` goes the same way on the server's event loop. What the others would have
done for them, and why they are not missed:

| passed over | because |
| --- | --- |
| SecurityMiddleware, no-store | their headers are set here; a request without TLS takes the common way, which redirects or refuses it |
| WhiteNoise | serves files |
| django-structlog | two log lines a request; the row of the use is the record, and failures of ours are logged where they happen |
| CSP, XFrameOptions, htmx | are about pages |
| sessions, CSRF, authentication, allauth, messages, second factor | a cookie counts for nothing here; the bearer token does |
| CommonMiddleware | we build no address from the Host header here; the length is set here |
| PortalProblemsMiddleware | DRF's handler renders every problem of these views |

What stays: the request id, the bounded body, Django's own handling of a bug (500, logged), DRF for everything else.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from django.conf import settings
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.response import SimpleTemplateResponse
from django.urls import ResolverMatch, resolve

from byokportal import deadline
from byokportal.bodies import DATA_KEYS, BodyMiddleware
from byokportal.logs import RequestIdMiddleware

View = Callable[[HttpRequest], HttpResponse]
DATABASE = 0.42  # seconds that a request waits for the database in all; then it is a 503, within half a second


class FastPath:
    """Sends requests for data keys the fast path, and all others on."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._common_way = get_response
        # never async
        self._fast_path = through_what_stays(convert_exception_to_response(view))  # type: ignore[arg-type]

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not takes(request):
            return self._common_way(request)
        with deadline.at_most(DATABASE):
            return self._fast_path(request)


def takes(request: HttpRequest) -> bool:
    """Tell whether a request may take the fast path."""
    return bool(DATA_KEYS.fullmatch(request.path_info)) and (not settings.SECURE_SSL_REDIRECT or request.is_secure())


def through_what_stays(inner: View) -> View:
    """Return a view within what stays of the middlewares."""
    inside = RequestIdMiddleware(BodyMiddleware(inner))
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}  # of a failure of ours too
    if settings.SECURE_HSTS_SECONDS:
        headers["Strict-Transport-Security"] = f"max-age={settings.SECURE_HSTS_SECONDS}; includeSubDomains"

    def answer(request: HttpRequest) -> HttpResponse:
        response = inside(request)
        for name, value in headers.items():
            response.headers[name] = value
        response.headers["Content-Length"] = str(len(response.content))
        return response

    return answer


def view(request: HttpRequest) -> HttpResponse:
    """Answer by the view of the address."""
    match = request.resolver_match = _resolved(request.path_info)
    response: HttpResponse = match.func(request, *match.args, **match.kwargs)
    return response.render() if isinstance(response, SimpleTemplateResponse) else response  # a problem, DRF's Response


def _resolved(path: str) -> ResolverMatch:
    """Return the view of an address that `takes` took, with the tenant that it names."""
    address = DATA_KEYS.fullmatch(path)
    assert address is not None
    known = _route(address["before"], address["route"])
    named = {"tenant": address["tenant"]}
    return ResolverMatch(known.func, (), named, known.url_name, [*known.app_names], [*known.namespaces], known.route)


@cache
def _route(before: str, after: str) -> ResolverMatch:
    """Return the view of what stands around the tenant: looking through the URL patterns takes a tenth of a request.

    What the URL map does not know raises, and is not remembered: nobody can fill this with addresses.
    """
    return resolve(f"{before}any{after}")
