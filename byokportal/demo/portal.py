"""The API as a caller from outside uses it: the standard library's HTTP, a bearer token, JSON."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, body and request id of one call."""

    status: int
    body: Any
    request_id: str


@dataclass(frozen=True, slots=True)
class Api:
    """One caller of one tenant."""

    url: str
    tenant: str
    token: str

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Answer:
        """Call an address below the tenant."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api/v1/tenants/{self.tenant}/{path}", data=data, method=method)
        request.add_header("Authorization", f"Bearer {self.token}")
        if data is not None:
            request.add_header("Content-Type", "application/json")
        return _send(request)

    def get(self, path: str) -> Any:
        """Return the body of a GET that has to work."""
        answer = self.call("GET", path)
        if answer.status != 200:
            raise AssertionError(f"GET {path} answered {answer.status}: {answer.body}")
        return answer.body


def token_of(url: str, client_id: str, client_secret: str) -> str:
    """Exchange a service's client credentials for a bearer token (RFC 6749, 4.4)."""
    form = urllib.parse.urlencode({"grant_type": "client_credentials"}).encode()
    request = urllib.request.Request(f"{url}/api/v1/oauth/token", data=form, method="POST")
    request.add_header("Authorization", "Basic " + base64.b64encode(f"{client_id}:{client_secret}".encode()).decode())
    answer = _send(request)
    if answer.status != 200:
        raise AssertionError(f"oauth/token answered {answer.status}: {answer.body}")
    return str(answer.body["access_token"])


def _send(request: urllib.request.Request) -> Answer:
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return _answer(response.status, response.read(), response.headers)
    except urllib.error.HTTPError as error:
        return _answer(error.code, error.read(), error.headers)


def _answer(status: int, body: bytes, headers: Any) -> Answer:
    is_json = "json" in headers.get("Content-Type", "")
    return Answer(status, json.loads(body) if is_json else body.decode(), headers.get("X-Request-ID", ""))
