"""What the weather does to a call on the wire, before AWS has looked at it."""

from __future__ import annotations

import socket
import struct
import time
from typing import Any, NoReturn

from byokportal.localaws.errors import AwsError
from byokportal.localaws.weather import DELAYS, Call, Weather
from byokportal.localaws.wire import Asked
from keys.policies import evaluator

THROTTLED = {
    "kms": (
        "ThrottlingException",
        "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.",
    ),
    "cloudtrail": ("ThrottlingException", "Rate exceeded"),
}
FAILED = {
    "kms": "KMSInternalException",
    "iam": "ServiceFailure",
    "sts": "InternalFailure",
    "cloudtrail": "InternalFailure",
}
AT_ONCE = {*DELAYS, "key-state"}  # these are looked at where they matter, not here


def suffer(weather: Weather, asked: Asked, account: str, environ: dict[str, Any]) -> float:
    """Let a call meet the rules that stand.

    Returns:
        The seconds by which AWS's clock is ahead.

    Raises:
        AwsError: throttled, or an error of AWS's own.
        ConnectionResetError: the connection is gone.
    """
    target = asked.form.get("RoleArn") or _key(asked)
    accounts = tuple({account, evaluator.account_of(target)} - {""})
    call = Call(asked.service, asked.operation, accounts, _key(asked))
    ahead = 0.0
    for rule in weather.met(call, wanted=lambda fault: fault not in AT_ONCE):
        value = float(rule.value)
        match rule.fault:
            case "clock":
                ahead += value
            case "latency":
                time.sleep(value)
            case "timeout":
                time.sleep(value)
                _reset(environ)
            case "reset":
                _reset(environ)
            case "throttling":
                code, words = THROTTLED.get(asked.service, ("Throttling", "Rate exceeded"))
                raise AwsError(code, words, status=400)
            case "error":
                raise AwsError(
                    FAILED.get(asked.service, "InternalFailure"),
                    "The request failed because of an internal error.",
                    status=int(value),
                )
    return ahead


def _key(asked: Asked) -> str:
    for field in ("KeyId", "SourceKeyId", "DestinationKeyId", "TargetKeyId"):
        if isinstance(asked.given.get(field), str):
            return str(asked.given[field])
    return ""


def _reset(environ: dict[str, Any]) -> NoReturn:
    """Close the connection so that the other side sees a reset."""
    connection: socket.socket | None = environ.get("werkzeug.socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # `close` alone waits for the handler's own files on the socket, and meanwhile the other side waits for us.
        connection.shutdown(socket.SHUT_RDWR)
        connection.close()
    raise ConnectionResetError("the weather")
