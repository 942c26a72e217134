"""Answer requests for data keys on the server's event loop while nothing has to be waited for;
hand all others to threads.

Nearly every request finds all it needs in memory: the token, where the tenant stands, the branch key. What it
then waits for is the commit of its row, which many share. In threads, that waiting is what costs: Python wakes one
thread at a time, and each waking takes longer than making the key. So here such a request runs on the event loop from
its first byte to its last, and awaits its commit (`ledger.committed`). While it finds what it needs in memory, nothing
holds it up: a tenant whose KMS hangs or a slow page take threads, and there are none here; a bulk request waits for its
turn (`keys.datakeys.http.priority`). Every few seconds its token is looked up again; that takes a thread of those that
only data keys use.

What would wait says so. Django refuses to speak to a database on an event loop (`SynchronousOnlyOperation`), and what
of ours waits for anything else wears the same guard, `async_unsafe`: the shared cache, a call to AWS or to be told of
one, a row outside `committed`. Then the request starts anew in a thread, by the common way; its share is not taken
twice, and its row was never sent.

Whatever goes to a thread goes there whole.
A thread neither waits for the rest of a body nor dies with a caller who has left.
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

from byokportal import clock, problems
from byokportal.bodies import DATA_KEYS, LIMIT_DATA_KEYS
from byokportal.errors import BodyTooLarge, DatabaseUnavailable, DomainError, RateLimited
from keys.datakeys import ledger
from keys.datakeys.http import fast_path, priority

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

SMALL = 64 * 1024  # bytes of a body that is read here: a hundred wrapped keys; more would hold up the others


class AtOnce:
    """The ASGI application in front of Django's.

    Args:
        data_keys: the application that answers, in threads, the requests for data keys that have to wait.
        others: the application that answers everything else, in threads of its own:
            a slow page keeps no data key waiting.
    """

    def __init__(self, *, data_keys: Application, others: Application) -> None:
        self._data_keys, self._others = data_keys, others
        self._answer = fast_path.through_what_stays(_view)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # the server is told to speak nothing else
        send = _dated(send)
        body = await _read(receive)
        if body is None:  # the caller has left
            return
        if len(body) > LIMIT_DATA_KEYS:
            refused = _problem(BodyTooLarge(limit=LIMIT_DATA_KEYS), ASGIRequest(scope, io.BytesIO()))
            refused.headers["Connection"] = "close"  # the rest of the body is not read
            await _send(refused, send)
            return
        is_for_a_key = DATA_KEYS.fullmatch(scope["path"]) is not None
        response = await self._at_once(scope, body) if is_for_a_key else None
        if response is not None:
            await _send(response, send)
        else:
            await _in_a_thread(self._data_keys if is_for_a_key else self._others, scope, body, receive, send)

    async def _at_once(self, scope: Scope, body: bytes) -> HttpResponse | None:
        """Return the answer, its rows committed; None when something has to be waited for."""
        request = ASGIRequest(scope, io.BytesIO(body))
        if len(body) > SMALL or "HTTP_IDEMPOTENCY_KEY" in request.META or not fast_path.takes(request):
            return None
        work = partial(self._answer, request)
        # With a context each, FEW items open so many braces:
        # what opens more is bulk for certain, and need not be read to be told so.
        is_bulk = body.count(b"{") > 2 * priority.FEW + 1
        try:
            try:
                return await ledger.committed(await priority.turns.take(work) if is_bulk else work)
            except priority.NotItsTurn:
                again = ASGIRequest(scope, io.BytesIO(body))  # a request reads its body once
                return await ledger.committed(await priority.turns.take(partial(self._answer, again)))
        except SynchronousOnlyOperation:
            return None
        except (DatabaseUnavailable, RateLimited) as error:
            return _problem(error, request)
        except Exception as error:  # noqa: BLE001  the row is not there, and it is a bug of ours: no key leaves
            bug = error
            return fast_path.through_what_stays(lambda request: response_for_exception(request, bug))(request)


def _view(request: HttpRequest) -> HttpResponse:
    try:
        return fast_path.view(request)
    except (SynchronousOnlyOperation, priority.NotItsTurn):
        raise
    except Exception as error:  # noqa: BLE001  a bug of ours: logged and answered as Django does
        return response_for_exception(request, error)


def _problem(error: DomainError, request: HttpRequest) -> HttpResponse:
    return fast_path.through_what_stays(partial(problems.json_response, error))(request)


async def _read(receive: Receive) -> bytes | None:
    """Return the body, or the beginning of one that is longer than any address of ours takes;
    None when nobody waits any more."""
    body = b""
    while len(body) <= LIMIT_DATA_KEYS:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return body


async def _in_a_thread(application: Application, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
    """Let an application answer that waits in a thread:
    for nothing that the caller still has to send, and for no caller who has left."""
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
                # the transport is closed; an exception here would leave the thread waiting for ever
                is_there = False

    # WSGI reads as much as Content-Length says, and a body in chunks came without one.
    headers = [header for header in scope["headers"] if header[0] not in {b"content-length", b"transfer-encoding"}]
    headers.append((b"content-length", b"%d" % len(body)))
    await application({**scope, "headers": headers}, whole, to_whom_is_there)


def _dated(send: Send) -> Send:
    """Return what sends an answer with its `Date`:
    services count `cache_until` from it, so it has to come from the same clock."""

    async def dated(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), (b"date", clock.http_date())]}
        await send(message)

    return dated


async def _send(response: HttpResponse, send: Send) -> None:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})
