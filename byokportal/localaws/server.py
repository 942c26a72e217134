"""The wire: one WSGI application that verifies, decides and answers as IAM, STS and KMS do; loopback only."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import threading
import urllib.parse
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from byokportal.localaws import iam, identities, kms, moto_door, signatures, sts
from byokportal.localaws.errors import AwsError
from byokportal.localaws.state import State, write_private

ACCOUNTS = ("999900001111", "999900002222", "111122223333", "444455556666")  # ours, our canary's, two customers'
VERSION = 1
MAX_BODY = 256 * 1024  # bytes
REQUEST_ID = re.compile(rb"<RequestId>[^<]*</RequestId>")  # moto makes its own; one call has one id
NAMESPACE = {"sts": "https://sts.amazonaws.com/doc/2011-06-15/", "iam": "https://iam.amazonaws.com/doc/2010-05-08/"}


class Gate:
    """The application. `calls` holds (service, operation, account) of what was answered, for tests."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.calls: list[tuple[str, str, str]] = []
        self._lock = threading.RLock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        response = self._answer(Request(environ))
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        request_id = str(uuid.uuid4())
        if request.path != "/" or request.method != "POST":
            return Response("", status=404)  # there is nothing but the three services: no /moto-api/, no pages
        service = _claimed_service(request)
        try:
            body = request.get_data(cache=False) if (request.content_length or 0) <= MAX_BODY else b""
            if len(body) > MAX_BODY or (request.content_length or 0) > MAX_BODY:
                raise AwsError("RequestEntityTooLargeException", "The request is too large.", status=413)
            with self._lock:
                answered = self._decide(request, body, request_id)
        except AwsError as error:
            answered = _error(service, error, request_id)
        response = Response(answered.body, status=answered.status, content_type=answered.content_type)
        response.headers["x-amzn-RequestId"] = request_id
        return response

    def _decide(self, request: Request, body: bytes, request_id: str) -> moto_door.Answer:
        now = datetime.now(UTC)
        headers = {name.lower(): value for name, value in request.headers.items()}
        signed = signatures.Signed(request.method, request.path, request.query_string.decode(), headers, body)
        scope = signatures.scope_of(signed)
        is_kms = scope.service == "kms"
        secret = identities.secret_of(
            self.state, scope.access_key_id, headers.get("x-amz-security-token", ""), now, kms=is_kms
        )
        signatures.verify(signed, scope, secret, now)
        caller = identities.caller_of(self.state, scope.access_key_id)
        if is_kms:
            target = headers.get("x-amz-target", "")
            self.calls.append(("kms", target.partition(".")[2], caller.account))
            return kms.answer(self.state, caller, scope.region, target, body, now)
        form = {
            name: values[-1] for name, values in urllib.parse.parse_qs(body.decode(), keep_blank_values=True).items()
        }
        self.calls.append((scope.service, form.get("Action", ""), caller.account))
        if scope.service == "sts":
            return _xml("sts", form.get("Action", ""), sts.answer(self.state, caller, form, now), request_id)
        if scope.service == "iam":
            answered = iam.answer(self.state, caller, form, body, now)
            return replace(
                answered, body=REQUEST_ID.sub(f"<RequestId>{request_id}</RequestId>".encode(), answered.body)
            )
        raise AwsError("UnknownService", f"The local AWS has no service {scope.service}: it has iam, sts and kms.")


def _claimed_service(request: Request) -> str:
    """Return the service that a request is for, also when its signature cannot be read: the error has its form."""
    return "kms" if request.headers.get("X-Amz-Target", "").startswith("TrentService") else "sts"


def _xml(service: str, action: str, result: str, request_id: str) -> moto_door.Answer:
    text = (
        f'<{action}Response xmlns="{NAMESPACE[service]}"><{action}Result>{result}</{action}Result>'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{action}Response>"
    )
    return moto_door.Answer(200, text.encode(), "text/xml")


def _error(service: str, error: AwsError, request_id: str) -> moto_door.Answer:
    if service == "kms":
        body = json.dumps(
            {"__type": error.code, "message": error.message} if error.message else {"__type": error.code}
        ).encode()
        return moto_door.Answer(error.status, body, "application/x-amz-json-1.1")
    text = (
        f'<ErrorResponse xmlns="{NAMESPACE["sts"]}"><Error><Type>Sender</Type><Code>{error.code}</Code><Message>{escape(error.message)}</Message>'
        f"</Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    )
    return moto_door.Answer(error.status, text.encode(), "text/xml")


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # keep-alive: a connection a call would cost more than the call

    def log_request(self, *args: Any, **kwargs: Any) -> None:
        """Requests are not printed: they carry signatures and policies."""


def start(var_dir: Path, port: int, accounts: Sequence[str] = ACCOUNTS) -> tuple[BaseWSGIServer, Gate]:
    """Bind to the loopback address and write localaws.json; the caller runs `serve_forever`.

    Args:
        port: 0 takes a free one.

    Raises:
        SystemExit: the port is in use, or the state file is of another version.
    """
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    gate = Gate(State(var_dir, accounts))
    try:
        with contextlib.redirect_stderr(None):
            server = make_server("127.0.0.1", port, gate, threaded=True, request_handler=_Handler)
    except (OSError, SystemExit):
        raise SystemExit(
            f"Port {port} on 127.0.0.1 is in use. Stop what uses it, or choose another with AWS_PORT."
        ) from None
    server.daemon_threads = True  # type: ignore[attr-defined]
    gate.state.changed()
    keys = {
        a.account: {"access_key_id": a.access_key_id, "secret_access_key": a.secret} for a in gate.state.admins.values()
    }
    endpoint = f"http://127.0.0.1:{server.server_port}"
    write_private(
        var_dir / "localaws.json",
        json.dumps({"version": VERSION, "endpoint": endpoint, "accounts": keys}, indent=2).encode(),
    )
    return server, gate
