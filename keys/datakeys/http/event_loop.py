"""The data keys on the server's event loop: what is in memory is answered there, what has to be waited for in threads.

Nearly every request finds all it needs in memory: the token, the tenant, the branch key. What it then waits for is the
commit of its row, which many share. In threads that waiting is what costs: Python wakes one thread at a time, and each
waking takes longer than making the key. So a request runs on the event loop from its first byte to its last, and awaits
its commit. What is not in memory is looked up or loaded in a thread, and the request goes on here. One that carries an
Idempotency-Key asks the database at several steps and is answered in a thread from its first step to its last.

What waits wears `async_unsafe`, ours and Django's: called here by mistake it raises, and is a 500, never a loop that
stands still. The addresses go past Django's middleware, which is for people: no session, no cookie and no Host header
counts here, and what a program needs of it (request id, bounded body, headers of an answer) is set here.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Executor
from functools import lru_cache
from typing import Any, TypeVar

import structlog
from django.conf import settings
from django.db import close_old_connections

from byokportal import bodies, clock, deadline, logs, metrics, problems, tracing
from byokportal.errors import BodyTooLarge
from keys.datakeys import ledger
from keys.datakeys.http import operations, priority
from keys.datakeys.http.operations import Admitted, Answer, Call, Prepared

log = structlog.get_logger(__name__)
Scope = dict[str, Any]
Made = TypeVar("Made")

# Bytes of a body that is read on the loop: a hundred wrapped keys; more would hold up the others.
SMALL = 64 * 1024


class DataKeys:
    """The addresses below `…/data-keys`.

    Args:
        threads: where a request waits for the database or for AWS.
    """

    def __init__(self, threads: Executor) -> None:
        self._threads = threads
        self._bulk_queue = priority.BulkQueue(max(3, settings.WEB_THREADS // 4))

    @staticmethod
    def takes(path: str) -> bool:
        """Tell whether an address is one of these."""
        return bodies.DATA_KEYS.fullmatch(path) is not None

    async def answer(self, scope: Scope, body: bytes) -> Answer:
        """Return the answer to a request, the row of its use committed.

        Args:
            scope: of ASGI; the path is one that `takes` takes.
            body: in full.
        """
        began, call = clock.monotonic(), _call(scope, body)
        structlog.contextvars.bind_contextvars(request_id=call.request_id)
        name = call.operation.name if call.operation else "none"
        with tracing.begin(name, "server") as span:
            try:
                if _declared_too_long(scope):
                    raise BodyTooLarge(limit=bodies.LIMIT_DATA_KEYS)
                given = await self._answer(call)
            except Exception as error:  # noqa: BLE001  what it was is told apart here
                given = operations.refusal(call, error) or _bug(call, error)
            span.set(byok__operation=name, http__response__status_code=given.status)
            if given.status >= 500:
                span.fail(str(given.status))
        metrics.DATA_KEY_SECONDS.labels(name).observe(clock.monotonic() - began)
        return given._replace(headers={**given.headers, **_common_headers(), "X-Request-ID": call.request_id})

    async def _answer(self, call: Call) -> Answer:
        if call.idempotency_key is not None:
            return await self._in_a_thread(call, operations.answer, call)
        admitted = None if len(call.body) > SMALL else operations.admit(call, may_wait=False)
        if admitted is None:
            admitted = await self._in_a_thread(call, operations.admit, call)
        if admitted.is_bulk:
            async with self._bulk_queue.head():
                operations.take_share(admitted)
                prepared = operations.prepare(admitted, may_wait=False)
            return await self._answered(call, admitted, prepared)
        with self._bulk_queue.interactive():
            operations.take_share(admitted)
            return await self._answered(call, admitted, operations.prepare(admitted, may_wait=False))

    async def _answered(self, call: Call, admitted: Admitted, prepared: Prepared | None) -> Answer:
        """Commit the row of what was prepared, and return the answer; in a thread, what was not in memory."""
        if prepared is None:
            prepared = await self._in_a_thread(call, operations.prepare, admitted)
        if prepared.row is not None:
            began = clock.monotonic()
            await ledger.commit(prepared.row, call.seconds_left)
            call.seconds_left = max(0.0, call.seconds_left - (clock.monotonic() - began))
        given = operations.finish(admitted, prepared, may_wait=False)
        return given if given is not None else await self._in_a_thread(call, operations.finish, admitted, prepared)

    async def _in_a_thread(self, call: Call, step: Callable[..., Made | None], *arguments: Any) -> Made:
        """Do a step where it may wait, for the database no longer than the call has left."""

        def bounded() -> Made:
            with deadline.at_most(call.seconds_left):
                close_old_connections()
                try:
                    return operations.present(step(*arguments))
                finally:
                    close_old_connections()
                    call.seconds_left = deadline.left() or 0.0

        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, context.run, bounded)


def _bug(call: Call, error: Exception) -> Answer:
    """Log a bug of ours and return its answer: no key leaves."""
    log.error("a request for data keys failed", exc_info=error)
    metrics.DATA_KEYS.labels(call.operation.name if call.operation else "none", "bug").inc()
    headers = {"Content-Type": "application/problem+json", "Cache-Control": "no-store"}
    return Answer(500, headers, problems.bug(call.request_id))


def _call(scope: Scope, body: bytes) -> Call:
    """Return the call of a request; two headers of one name count as one with a comma, as in WSGI."""
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        headers[name] = headers[name] + b"," + value if name in headers else value
    address = bodies.DATA_KEYS.fullmatch(scope["path"])
    assert address is not None
    key = headers.get(b"idempotency-key")
    return Call(
        operation=operations.BY_ROUTE.get(address["route"]),
        method=scope["method"],
        path=scope["path"],
        tenant_id=address["tenant"],
        authorization=headers.get(b"authorization", b"").decode("latin-1"),
        content_type=headers.get(b"content-type", b"").decode("latin-1"),
        idempotency_key=None if key is None else key.decode("latin-1"),
        request_id=logs.request_id(headers.get(b"x-request-id", b"").decode("latin-1")),
        body=body,
    )


def _declared_too_long(scope: Scope) -> bool:
    """Tell whether the length that a request claims to have is none, or more than is taken."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return not value.isdigit() or int(value[:12]) > bodies.LIMIT_DATA_KEYS
    return False


@lru_cache(maxsize=1)
def _common_headers() -> dict[str, str]:
    headers = {"X-Content-Type-Options": "nosniff"}
    if settings.SECURE_HSTS_SECONDS:
        headers["Strict-Transport-Security"] = f"max-age={settings.SECURE_HSTS_SECONDS}; includeSubDomains"
    return headers
