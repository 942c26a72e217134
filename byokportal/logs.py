"""Logs as JSON with a request id on every line, and without secrets."""

from __future__ import annotations

import json
import logging
import re
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog
from structlog.types import EventDict, WrappedLogger

if TYPE_CHECKING:  # a process that cannot read its settings says so in a line too
    from django.http import HttpRequest, HttpResponse

REQUEST_ID = re.compile(r"[A-Za-z0-9-]{8,64}", re.ASCII)
# What must never be read in a log, wherever it came from; the last line of defence, not the first.
SECRETS = re.compile(
    r"(?:A3T[A-Z0-9]|AKIA|ASIA)[A-Z0-9]{16}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"
    r"|(?i:bearer) [A-Za-z0-9._~+/-]{16,}=*"
    r"|byok-[A-Za-z0-9_-]{43}|byok_[a-z]{2}_[A-Za-z0-9_-]{43}"
    r"|(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{2,}+\.[A-Za-z0-9_-]*"
    r"|(?i:(?:secret_?access_?key|session_?token|security_?token"
    r"|client_?secret)[\"'\\\s:=>]{1,10})[A-Za-z0-9/+=_%-]{16,}"
    r"|(?<![A-Za-z0-9/+_-])(?=[A-Za-z0-9/+]{0,39}[A-Z])(?=[A-Za-z0-9/+]{0,39}[g-z])"
    r"(?=[A-Za-z0-9/+]{0,39}[0-9])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=_-])"
    # The secret in the address of a mailed link: an invitation, a new password
    r"|(?:(?<=/invitations/)|(?<=/recoveries/)|(?<=/addresses/))[A-Za-z0-9_-]{40,200}"
    r"(?=/)|(?<=/password/reset/key/)[A-Za-z0-9_:-]{8,200}"
    # What a directory answers with
    r"|(?:(?<=[?&]code=)|(?<=[?&]state=))[^&\s\"']+",
    re.DOTALL,
)
# A mail address, also in the query of a request. Behind a `/` it is a part of an ARN or URL.
ADDRESS = re.compile(r"(?<![\w./+-])[\w.'+-]{1,64}(?:@|%40)(?:[\w-]{1,63}\.){1,8}[a-z][\w-]{1,62}", re.IGNORECASE)


def request_id(given: str) -> str:
    """Return the id of a request: the caller's if it has our form, else a new one."""
    return given if REQUEST_ID.fullmatch(given) else secrets.token_hex(16)


class RequestIdMiddleware:
    """Gives each request an id: the caller's `X-Request-ID` if it has our form, else a new one; it is echoed."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        mine = request_id(request.META.get("HTTP_X_REQUEST_ID", ""))
        request.request_id = mine  # type: ignore[attr-defined]
        request.META["HTTP_X_REQUEST_ID"] = mine  # django-structlog takes it from here
        structlog.contextvars.bind_contextvars(request_id=mine)
        response = self.get_response(request)
        response.headers["X-Request-ID"] = mine
        return response


class Redact(logging.Filter):
    """Takes secrets out of a record before anything formats it."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.msg, str):
            record.msg = redact(record.msg)
        if isinstance(record.args, tuple):
            record.args = tuple(redact(value) if isinstance(value, str) else value for value in record.args)
        return True


def redact(text: str) -> str:
    """Return the text with every secret that we recognise replaced, and every mail address: logs are kept elsewhere
    and longer than people may be named."""
    text = SECRETS.sub("[redacted]", text)
    return ADDRESS.sub("[address]", text) if "@" in text or "%40" in text else text


def render_json(_: WrappedLogger, __: str, event: EventDict) -> str:
    """Return the line of an event."""
    return redact(json.dumps(event, default=str, ensure_ascii=True))
