"""Answer requests for data keys on the server's event loop while nothing has to be waited for; hand all others to threads.

Nearly every request finds all it needs in memory: the token, where the tenant stands, the branch key. What it then waits for is the
commit of its row, which many share. In threads, that waiting is what costs: Python wakes one thread at a time, and each waking
takes longer than making the key. So here such a request runs on the event loop from its first byte to its last, and awaits its commit
(`ledger.committed`). It also is not held up by anything: a tenant whose KMS hangs, a bulk run or a slow page take threads, and
there are none here.

What would wait says so. Django refuses to speak to a database on an event loop (`SynchronousOnlyOperation`), and what of ours waits for
anything else wears the same guard, `async_unsafe`: the shared cache, a call to AWS or to be told of one, the bulk lane, a row outside
`committed`. Then nothing has happened yet, and the request starts anew in a thread, by the common way.
"""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.exception import response_for_exception
from django.http import HttpRequest, HttpResponse

from byokportal import problems
from byokportal.bodies import DATA_KEYS, LIMIT_DATA_KEYS
from byokportal.errors import DatabaseUnavailable
from keys import ledger
from keys.api import short_way

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

SMALL = (
    16 * 1024
)  # bytes of a body that is read here: ten items with their contexts; reading more would hold up the others


class AtOnce:
    """The ASGI application in front of Django's.

    Args:
        in_a_thread: the application that answers everything else.
    """

    def __init__(self, in_a_thread: Application) -> None:
        self._in_a_thread = in_a_thread
        self._answer = short_way.through_what_stays(_view)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._in_a_thread(scope, receive, send)
            return
        # A thread is given a request only once its body is here: the caller may be slow (how slow: `byokportal.server`).
        begun = await _read(receive)
        if begun is None:
            return
        if DATA_KEYS.fullmatch(scope["path"]):
            response = await self._at_once(scope, begun)
            if response is not None:
                await _send(response, send)
                return
        await self._in_a_thread(scope, _again(begun, receive), send)

    async def _at_once(self, scope: Scope, begun: list[Message]) -> HttpResponse | None:
        """Return the answer, its rows committed; None when something has to be waited for."""
        body = b"".join(message["body"] for message in begun)
        if len(body) > SMALL or begun[-1]["more_body"]:
            return None
        request = ASGIRequest(scope, io.BytesIO(body))
        if not short_way.takes(request) or "HTTP_IDEMPOTENCY_KEY" in request.META:
            return None
        try:
            return await ledger.committed(lambda: self._answer(request))
        except SynchronousOnlyOperation:
            return None
        except DatabaseUnavailable as error:
            return short_way.through_what_stays(partial(problems.json_response, error))(request)


def _view(request: HttpRequest) -> HttpResponse:
    try:
        return short_way.view(request)
    except SynchronousOnlyOperation:
        raise
    except Exception as error:  # noqa: BLE001  a bug of ours: logged and answered as Django does
        return response_for_exception(request, error)


async def _read(receive: Receive) -> list[Message] | None:
    """Return the messages of a request up to its end, or to more than any address of ours takes; None when nobody waits any more."""
    messages, size = [], 0
    while size <= LIMIT_DATA_KEYS:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body, is_more = message.get("body", b""), message.get("more_body", False)
        messages.append({"type": "http.request", "body": body, "more_body": is_more})
        size += len(body)
        if not is_more:
            break
    return messages


def _again(begun: list[Message], receive: Receive) -> Receive:
    """Return a `receive` that begins with what has been read."""
    left = iter(begun)

    async def again() -> Message:
        for message in left:
            return message
        return await receive()

    return again


async def _send(response: HttpResponse, send: Send) -> None:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})
