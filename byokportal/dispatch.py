"""Which request goes where: data keys stay on the server's event loop, everything else is answered in threads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings

from byokportal import addresses, bodies, clock, logs, problems
from byokportal.errors import BodyTooLarge
from keys.datakeys.http.event_loop import DataKeys

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Dispatcher:
    """The ASGI application of all addresses.

    Args:
        data_keys: answers its addresses on the event loop.
        others: the application that answers everything else in threads, of its own: a slow page keeps no key waiting.
    """

    def __init__(self, *, data_keys: DataKeys, others: Application) -> None:
        self._data_keys, self._others = data_keys, others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # the server is told to speak nothing else
        body = await _read(receive)
        if body is None:  # the caller has left
            return
        if len(body) > bodies.LIMIT_DATA_KEYS:
            await _refuse(scope, send)
        elif self._data_keys.takes(scope["path"]) and _is_secure_enough(scope):
            status, headers, content = await self._data_keys.answer(scope, body)
            await _send(send, status, headers, content)
        else:
            await _in_a_thread(self._others, scope, body, receive, _dated(send))


async def _read(receive: Receive) -> bytes | None:
    """Return the body, or the beginning of one that is longer than any address of ours takes;
    None when nobody waits any more."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message["type"] == "http.request" and message.get("more_body", False):
        if len(body) > bodies.LIMIT_DATA_KEYS:
            return body
        message = await receive()
        body += message.get("body", b"")
    return body if message["type"] == "http.request" else None


def _is_secure_enough(scope: Scope) -> bool:
    """Tell whether a request may be answered as it came; one without TLS goes to Django, which redirects or refuses."""
    if not settings.SECURE_SSL_REDIRECT or scope["scheme"] == "https":
        return True
    peer = (scope.get("client") or ("",))[0]
    given = dict(scope["headers"]).get(b"x-forwarded-proto", b"")
    return addresses.is_from_proxy(peer, settings.PROXIES) and given.partition(b",")[0].strip() == b"https"


async def _refuse(scope: Scope, send: Send) -> None:
    """Refuse a body that is too long; the rest of it is not read."""
    given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    request_id, error = logs.request_id(given), BodyTooLarge(limit=bodies.LIMIT_DATA_KEYS)
    headers = {
        **problems.headers_of(error),
        "Content-Type": "application/problem+json",
        "Connection": "close",
        "X-Content-Type-Options": "nosniff",
        "X-Request-ID": request_id,
    }
    await _send(send, 413, headers, problems.json_text(error, request_id).encode())


async def _in_a_thread(application: Application, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
    """Let an application answer that waits in a thread: for nothing that the caller still has to send,
    and for no caller who has left."""
    left = [body]
    is_there = True

    async def whole() -> Message:
        return {"type": "http.request", "body": left.pop(), "more_body": False} if left else await receive()

    async def to_whom_is_there(message: Message) -> None:
        nonlocal is_there
        if is_there:
            try:
                await send(message)
            except Exception:  # noqa: BLE001
                # The transport is closed; an exception here would leave the thread waiting for ever.
                is_there = False

    # WSGI reads as much as Content-Length says, and a body in chunks came without one.
    headers = [header for header in scope["headers"] if header[0] not in {b"content-length", b"transfer-encoding"}]
    headers.append((b"content-length", b"%d" % len(body)))
    await application({**scope, "headers": headers}, whole, to_whom_is_there)


def _dated(send: Send) -> Send:
    """Return what sends an answer with its `Date`: services count `cache_until` from it,
    so it has to come from the same clock."""

    async def dated(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), (b"date", clock.http_date())]}
        await send(message)

    return dated


async def _send(send: Send, status: int, headers: dict[str, str], body: bytes) -> None:
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    raw += [(b"content-length", b"%d" % len(body)), (b"date", clock.http_date())]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
