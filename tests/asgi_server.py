"""The ASGI application on an event loop of its own, as uvicorn runs it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from a2wsgi import WSGIMiddleware

from byokportal.dispatch import Application, Dispatcher
from byokportal.wsgi import application as wsgi
from keys.datakeys.http import event_loop, operations
from keys.datakeys.ledger import recording
from tenants import tokens
from tenants.models import ServiceAccount

JSON = "application/json"


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        return json.loads(self.body)


class Watched(event_loop.DataKeys):
    """The data keys, noting the path of each request that a step in a thread was needed for."""

    def __init__(self, handed: list[str]) -> None:
        super().__init__(ThreadPoolExecutor(4))
        self.handed, self._last = handed, None

    async def _in_a_thread(self, call: operations.Call, step: Any, *arguments: Any) -> Any:
        if call is not self._last:
            self.handed.append(call.path)
        self._last = call
        return await super()._in_a_thread(call, step, *arguments)


class Server:
    """The ASGI application on an event loop of its own, as uvicorn runs it;
    `handed` are the requests that went to threads."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.handed: list[str] = []
        self.threads: Application = WSGIMiddleware(wsgi, workers=4)  # type: ignore[assignment, arg-type]
        self.data_keys = Watched(self.handed)
        self.application = Dispatcher(data_keys=self.data_keys, others=self._in_a_thread)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    async def _in_a_thread(self, scope: Any, receive: Any, send: Any) -> None:
        self.handed.append(scope["path"])
        await self.threads(scope, receive, send)

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        content = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        return self.run(self.ask(path, [content], **headers))

    async def ask(self, path: str, pieces: Sequence[bytes | None], *, method: str = "POST", **headers: str) -> Answer:
        """Send a request in pieces; None stands for a caller who leaves, and whoever has no more pieces is silent."""
        named = {
            "content-type": JSON,
            "authorization": f"Bearer {self.token}",
            "content-length": str(sum(len(p or b"") for p in pieces)),
        }
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        named = {name: value for name, value in named.items() if value or name != "content-length"}
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "http_version": "1.1",
            "server": ("testserver", 80),
            "client": ("127.0.0.1", 1),
            "asgi": {"version": "3.0"},
            "headers": [
                (name.encode(), value.encode("latin-1")) for name, value in {"host": "testserver", **named}.items()
            ],
        }
        left, answer = list(pieces), Answer()

        async def receive() -> Any:
            if not left:
                await asyncio.sleep(3600)
            piece = left.pop(0)
            if piece is None:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": piece, "more_body": bool(left) or headers.get("never_ends") == "1"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                answer.body += message.get("body", b"")

        await self.application(scope, receive, send)
        return answer

    def close(self) -> None:
        self.run(recording.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()


def tokened(service: ServiceAccount) -> str:
    return tokens.issue(service, scopes=service.scopes)[1]
