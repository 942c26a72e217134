"""The wire: one WSGI application that verifies, decides and answers as IAM, STS,
KMS and CloudTrail do; loopback only."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import struct
import threading
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from byokportal.localaws import (
    cloudtrail,
    constraints,
    fault_socket,
    iam,
    identities,
    injection,
    kms,
    moto_adapter,
    signatures,
    sts,
    wire,
)
from byokportal.localaws.errors import AwsError
from byokportal.localaws.identities import Caller
from byokportal.localaws.state import State, write_private
from byokportal.localaws.wire import Asked

ACCOUNTS = ("999900001111", "999900002222", "111122223333", "444455556666")  # ours, our canary's, two customers'
VERSION = 1
MAX_BODY = 256 * 1024  # bytes
REMEMBERED = 10_000  # calls, for tests
log = logging.getLogger(__name__)


class Gate:
    """The application. `calls` holds (service, operation, account) of what was asked, for tests."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.calls: list[tuple[str, str, str]] = []
        self._lock = threading.RLock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        response = self._answer(Request(environ))
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        if request.path != "/" or request.method != "POST":
            return Response("", status=404)  # there is nothing but the services: no /moto-api/, no pages
        request_id = str(uuid.uuid4())
        asked, spoils = wire.Asked(), ""
        try:
            if (request.content_length or 0) > MAX_BODY:
                raise AwsError("RequestEntityTooLargeException", "The request is too large.", status=413)
            asked = wire.read(request)
            answered, spoils = self._with_faults(asked, request_id)
        except AwsError as error:
            answered = wire.error(asked.service or wire.claimed_service(request), error, request_id)
        except ConnectionResetError:
            raise
        except Exception:
            log.exception("The local AWS failed at %s:%s", asked.service, asked.operation)
            failed = AwsError(
                "InternalFailure", "The request processing has failed because of an unknown error.", status=500
            )
            answered = wire.error(asked.service, failed, request_id)
        if spoils == "garbage":
            return Response(injection.PROXYS, status=200, content_type="text/html")
        response = Response(answered.body, status=answered.status, content_type=answered.content_type)
        if spoils == "cut":
            response.response = injection.half(answered.body)
            response.headers["Content-Length"] = str(len(answered.body))
        response.headers["x-amzn-RequestId"] = request_id
        return response

    def _with_faults(self, asked: Asked, request_id: str) -> tuple[moto_adapter.Answer, str]:
        """Return the answer, and what becomes of it on its way back."""
        account = identities.account_of_key(self.state, asked.scope.access_key_id, asked.token)
        met = injection.suffer(self.state.faults, asked, account)
        with self._lock:
            return self._decide(asked, datetime.now(UTC) + timedelta(seconds=met.ahead), request_id), met.spoils

    def _decide(self, asked: Asked, now: datetime, request_id: str) -> moto_adapter.Answer:
        key_id = asked.scope.access_key_id
        secret = identities.secret_of(self.state, key_id, asked.token, now, json_protocol=asked.is_json)
        signatures.verify(asked.signed, asked.scope, secret, now)
        caller = identities.caller_of(self.state, key_id, asked.token, now)
        caller = replace(caller, organization=self.state.organizations.get(caller.account, ""))
        del self.calls[:-REMEMBERED]
        self.calls.append((asked.service, asked.operation, caller.account))
        try:
            answered = self._do(asked, caller, now, request_id)
        except AwsError as error:
            cloudtrail.note(self.state, asked, caller, None, error, request_id, now)
            raise
        cloudtrail.note(self.state, asked, caller, answered, None, request_id, now)
        return answered

    def _do(self, asked: Asked, caller: Caller, now: datetime, request_id: str) -> moto_adapter.Answer:
        if asked.service != "cloudtrail":  # it says what it refuses by codes of its own
            constraints.check(asked.service, asked.operation, asked.given)
        match asked.service:
            case "kms":
                return kms.answer(self.state, caller, asked.region, asked.operation, asked.given, now)
            case "cloudtrail":
                return cloudtrail.answer(self.state, caller, asked.region, asked.operation, asked.given, now)
            case "sts":
                result = sts.answer(self.state, caller, asked.region, asked.form, now)
                return wire.xml("sts", asked.operation, result, request_id)
            case _:
                answered = iam.answer(self.state, caller, asked.region, asked.form, now)
                return replace(answered, body=wire.with_request_id(answered.body, request_id))


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # keep-alive: a connection a call would cost more than the call

    def log_request(self, *args: Any, **kwargs: Any) -> None:
        """Requests are not printed: they carry signatures and policies."""

    def connection_dropped(self, error: BaseException, environ: dict[str, Any] | None = None) -> None:
        """Close the connection so that the other side sees a reset: nothing is sent, and nothing lingers.

        An answer that is cut in the middle ends as a connection does: what was sent arrives.
        """
        self.close_connection = True
        if not isinstance(error, ConnectionAbortedError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for end in (self.rfile, self.connection):  # the socket closes with the last of them
            with contextlib.suppress(OSError):
                end.close()


def start(
    var_dir: Path, port: int, accounts: Sequence[str] = ACCOUNTS, *, lasts: bool = True
) -> tuple[BaseWSGIServer, Gate]:
    """Bind to the loopback address, write localaws.json and open the socket of its faults;
    the caller runs `serve_forever`.

    Args:
        port: 0 takes a free one.
        lasts: whether the state survives a stop (`State`).

    Raises:
        SystemExit: the port is in use, or the state file is of another version.
    """
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    var_dir.mkdir(parents=True, exist_ok=True)
    gate = Gate(State(var_dir, accounts, lasts=lasts))
    try:
        with contextlib.redirect_stderr(None):
            server = make_server("127.0.0.1", port, gate, threaded=True, request_handler=_Handler)
    except (OSError, SystemExit):
        raise SystemExit(
            f"Port {port} on 127.0.0.1 is in use. Stop what uses it, or choose another with AWS_PORT."
        ) from None
    server.daemon_threads = True  # type: ignore[attr-defined]
    gate.state.changed()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    content = {"version": VERSION, "endpoint": endpoint, "accounts": credentials(gate.state)}
    write_private(var_dir / "localaws.json", json.dumps(content, indent=2).encode())
    fault_socket.serve(var_dir / fault_socket.NAME, gate.state.faults)
    return server, gate


def credentials(state: State) -> dict[str, dict[str, str]]:
    """Return the keys of each account: of its administrator user,
    and of its root user for those who want to see it refused."""
    return {
        keys.account: {
            "access_key_id": keys.access_key_id,
            "secret_access_key": keys.secret,
            "root_access_key_id": state.roots[keys.account].access_key_id,
            "root_secret_access_key": state.roots[keys.account].secret,
        }
        for keys in state.admins.values()
    }
