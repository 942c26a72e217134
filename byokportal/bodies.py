"""Bodies of API requests: bounded, UTF-8, one JSON object, nothing ambiguous in it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from typing import Any

from django.http import HttpRequest, HttpResponse
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from byokportal import problems, secret_texts, storable
from byokportal.errors import BodyTooLarge, MalformedBody, MediaTypeNotTaken

LIMIT = 64 * 1024  # bytes
LIMIT_DATA_KEYS = 256 * 1024
LIMIT_SCIM = 256 * 1024  # a group with two thousand people
LIMIT_MAIL = 256 * 1024
LIMIT_CLOUDTRAIL = 256 * 1024  # about 2,000 records, packed
MAIL = "/api/inbound/mail"
CLOUDTRAIL = re.compile(r"/api/v1/tenants/[^/]{1,64}/reconciliations", re.ASCII)
DATA_KEYS = re.compile(
    r"(?P<before>/api/v1/tenants/)(?P<tenant>[^/]{1,64})(?P<route>/data-keys(?:/[a-z]{1,16})?)", re.ASCII
)
DEPTH = 32  # levels of brackets
STRINGS = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)  # the last one may never end
NO_BRACKETS = re.compile(r"[^\[\]{}]+")
JSON_TYPE = re.compile(r"application/json(?:\s*;\s*charset=\"?utf-8\"?)?", re.IGNORECASE)


class BodyMiddleware:
    """Reads the body of an API request into memory, up to its limit, whatever Content-Length claims."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path.startswith("/api/"):
            limit = LIMIT_DATA_KEYS if DATA_KEYS.fullmatch(request.path) else LIMIT
            limit = LIMIT_SCIM if problems.is_scim(request) else limit
            limit = LIMIT_MAIL if request.path == MAIL else limit
            limit = LIMIT_CLOUDTRAIL if CLOUDTRAIL.fullmatch(request.path) else limit
            declared = request.META.get("CONTENT_LENGTH") or "0"
            if not declared.isascii() or not declared.isdigit() or int(declared[:12]) > limit:
                return _refused(request, limit)
            if len(_read(request, limit)) > limit:
                return _refused(request, limit)
        return self.get_response(request)


def _read(request: HttpRequest, limit: int) -> bytes:
    body = request.read(limit + 1)
    request._body = body  # type: ignore[attr-defined]  # what `request.body` gives from now on
    return body


def _refused(request: HttpRequest, limit: int) -> HttpResponse:
    return problems.json_response(BodyTooLarge(limit=limit), request)


class JsonOnly(BaseContentNegotiation):
    """Answers JSON whatever the Accept header says: content negotiation costs, and there is one format."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser:
        return next(iter(parsers))

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return next(iter(renderers)), "application/json"


class StrictJSONParser(BaseParser):
    """Takes one JSON object in UTF-8 and refuses what readers could understand differently, and secrets:
    we would keep them.

    Requests for data keys read their bodies themselves; of those nothing is kept.
    """

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> dict[str, Any]:
        request: Request = parser_context["request"]
        found = read(request._request)
        secret_texts.refuse_in(secret_texts.strings_of(found))
        return found


def read(request: HttpRequest) -> dict[str, Any]:
    """Return the JSON object that a request carries; see `read_json`."""
    return read_json(request.META.get("CONTENT_TYPE", ""), request.body)


def read_json(content_type: str, body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body.

    Raises:
        MediaTypeNotTaken, MalformedBody: with what is wrong.
    """
    if not JSON_TYPE.fullmatch(content_type.strip()):
        raise MediaTypeNotTaken(wanted="application/json in UTF-8")
    return read_object(body)


def read_object(body: bytes) -> dict[str, Any]:
    """Return the object of a JSON body.

    Raises:
        MalformedBody: with what is wrong.
    """
    if not body:
        raise MalformedBody(why="it is empty")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedBody(why="it is not UTF-8") from None
    if text.startswith("\ufeff"):
        raise MalformedBody(why="it begins with a byte order mark")
    _check_depth(text)
    try:
        found = DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise MalformedBody(why=f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    if not isinstance(found, dict):
        raise MalformedBody(why="it is not a JSON object")
    if "\\u" in text and not storable.is_whole(found):  # only an escape brings in what UTF-8 does not hold
        raise MalformedBody(why="a string holds NUL or half a surrogate pair")
    return found


def _check_depth(text: str) -> None:
    """Count brackets before parsing: the parser would run out of stack on a hundred thousand of them."""
    if text.count("[") + text.count("{") <= DEPTH:
        return
    depth = 0
    for sign in NO_BRACKETS.sub("", STRINGS.sub("", text)):
        depth += 1 if sign in "[{" else -1
        if depth > DEPTH:
            raise MalformedBody(why=f"brackets are nested more than {DEPTH} deep")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise MalformedBody(why=f"the name {twice[:40]!a} stands twice in one object")
    return found


def _no_constant(name: str) -> Any:
    raise MalformedBody(why=f"{name} is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise MalformedBody(why="a number is too large")
    return value


def _small(text: str) -> int:
    if len(text) > 20:
        raise MalformedBody(why="a number is too large")
    return int(text)


# Made once: json.loads would make one for each body.
DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite, parse_int=_small
)
