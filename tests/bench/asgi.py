"""The server's application, and beside it an empty Django view on the event loop, to compare with.

The view is reached as cheaply as a Django view can be on the loop, past all middleware that such an address does not
need: no thread, Django's request object, request id and bounded body, a route that is resolved once.
"""

from __future__ import annotations

import io
from functools import cache
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.urls import ResolverMatch

from byokportal.asgi import application as ours
from byokportal.bodies import DATA_KEYS, BodyMiddleware
from byokportal.dispatch import _read, _send
from byokportal.logs import RequestIdMiddleware


def empty(request: HttpRequest, tenant: str) -> HttpResponse:
    return HttpResponse(b"{}", content_type="application/json")


def resolved(request: HttpRequest) -> HttpResponse:
    """Answer by the view of the address, with what Django notes in the request."""
    address = DATA_KEYS.fullmatch(request.path_info)
    assert address is not None
    named = {"tenant": address["tenant"]}
    request.resolver_match = ResolverMatch(empty, (), named, "empty", [], [], _route(address["before"]))
    response = empty(request, **named)
    for name, value in {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}.items():
        response.headers[name] = value
    return response


@cache
def _route(before: str) -> str:
    return f"{before}<str:tenant>/data-keys/empty"


_view = RequestIdMiddleware(BodyMiddleware(resolved))


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http" or not scope["path"].endswith("/data-keys/empty"):
        await ours(scope, receive, send)
        return
    body = await _read(receive)
    response = _view(ASGIRequest(scope, io.BytesIO(body or b"")))
    await _send(send, response.status_code, dict(response.headers), response.content)
