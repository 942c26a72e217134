"""DomainError → problem+json (RFC 9457) or words on a page; the only file that knows both."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.http import url_has_allowed_host_and_scheme
from redis.exceptions import RedisError
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from byokportal import database, errors
from byokportal.errors import DomainError, Kind

log = logging.getLogger(__name__)

STATUS: dict[Kind, int] = {
    Kind.INVALID: 400,
    Kind.UNAUTHENTICATED: 401,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.METHOD: 405,
    Kind.CONFLICT: 409,
    Kind.TOO_LARGE: 413,
    Kind.MEDIA_TYPE: 415,
    Kind.UNREADABLE: 422,
    Kind.KEY_REFUSED: 423,
    Kind.LIMITED: 429,
    Kind.UPSTREAM: 502,
    Kind.UNAVAILABLE: 503,
}

SCIM, SCIM_JSON, SCIM_ERROR = "/api/scim/", "application/scim+json", "urn:ietf:params:scim:api:messages:2.0:Error"
# Code → the keyword of RFC 7644, table 9.
SCIM_TYPES = {
    "directory_name_taken": "uniqueness",
    "invalid_input": "invalidValue",
    "secret_pasted": "invalidValue",
    "malformed_body": "invalidSyntax",
}


def problem(error: DomainError, request_id: str) -> dict[str, Any]:
    """Return the members of a problem, as design.md 9 lists them; field errors add `errors`."""
    body: dict[str, Any] = {
        "type": f"{settings.BASE_URL}/docs/problems#{error.code}",
        "title": error.title,
        "status": STATUS[error.kind],
        "detail": str(error),
        "code": error.code,
        "params": {
            name: value if isinstance(value, int | list) else str(value) for name, value in error.params.items()
        },
        "retryable": error.retryable,
        "retry_after": retry_after(error),
        "whose_turn": error.turn.value,
        "since": error.since.isoformat() if error.since else None,
        "request_id": request_id,
    }
    return body | ({"errors": error.errors} if error.errors else {})


def retry_after(error: DomainError) -> int | None:
    """Return the seconds after which a repeat has a chance, None when it has none."""
    return (error.retry_after or 5) if error.retryable else None


def headers_of(error: DomainError) -> dict[str, str]:
    """Return what goes beside the body: when to try again, how to sign in."""
    headers = {"Cache-Control": "no-store"}
    if error.retryable:
        headers["Retry-After"] = str(retry_after(error))
    if error.kind is Kind.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def request_id_of(request: Any) -> str:
    """Return the id of a request, Django's or DRF's."""
    return str(getattr(request, "request_id", ""))


def json_text(error: DomainError, request_id: str) -> str:
    """Return the body of a problem."""
    return json.dumps(problem(error, request_id))


def bug(request_id: str) -> bytes:
    """Return the body of a 500: a bug, of which it says nothing."""
    body = {
        "type": "about:blank",
        "title": "Something of ours broke",
        "status": 500,
        "code": "bug",
        "params": {},
        "retryable": False,
        "retry_after": None,
        "detail": "This is our mistake and it is recorded. Contact support with the request id.",
        "whose_turn": "kore",
        "since": None,
        "request_id": request_id,
    }
    return json.dumps(body).encode()


def is_scim(request: HttpRequest) -> bool:
    """Tell whether a directory asks: its errors have the form of RFC 7644, 3.12."""
    return request.path.startswith(SCIM)


def scim_text(status: int, detail: str, scim_type: str = "") -> str:
    """Return the body of an error as SCIM has it."""
    body = {"schemas": [SCIM_ERROR], "status": str(status), "detail": detail}
    return json.dumps(body | ({"scimType": scim_type} if scim_type else {}))


def scim_response(error: DomainError) -> HttpResponse:
    """Return a problem as SCIM has it."""
    fields = [f"{field}: {sentence}" for field, sentences in error.errors.items() for sentence in sentences]
    detail = f"{error.title}. {' '.join(fields) or error}"
    return HttpResponse(
        scim_text(STATUS[error.kind], detail, SCIM_TYPES.get(error.code, "")),
        status=STATUS[error.kind],
        content_type=SCIM_JSON,
        headers=headers_of(error),
    )


def json_response(error: DomainError, request: HttpRequest) -> HttpResponse:
    """Return a problem outside DRF."""
    if is_scim(request):
        return scim_response(error)
    return HttpResponse(
        json_text(error, request_id_of(request)),
        status=STATUS[error.kind],
        content_type="application/problem+json",
        headers=headers_of(error),
    )


def exception_handler(exception: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's handler: anticipated failures become problems, everything else stays a bug (500)."""
    error = _anticipated(exception, context["request"])
    if error is None:
        return None
    set_rollback()
    body = problem(error, request_id_of(context["request"]))
    answer = Response(body, status=body["status"], headers=headers_of(error), content_type="application/problem+json")
    # Django's own mark
    answer._has_been_logged = isinstance(error, errors.DatabaseUnavailable)  # type: ignore[attr-defined]
    return answer


def _anticipated(exception: Exception, request: Any) -> DomainError | None:
    match exception:
        case DomainError():
            return exception
        case exceptions.MethodNotAllowed():
            return errors.MethodNotAllowed(method=request.method)
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            return errors.NotAuthenticated()
        case Http404() | exceptions.NotFound():
            return errors.NotFound()
        case exceptions.UnsupportedMediaType():
            return errors.MediaTypeNotTaken(wanted="application/json in UTF-8")
        case exceptions.ValidationError():
            return errors.InvalidInput(errors=_flat(exception.detail))
        case exceptions.ParseError():
            return errors.MalformedBody(why="it could not be parsed")
    return of_database(exception)


def of_database(exception: BaseException) -> DomainError | None:
    """Return the anticipated failure that an exception of the database stands for, and log it;
    None for every other exception.

    A constraint that refuses a row is the last guard of an operation done twice at the same moment. The services look
    first, so it is seldom met; it is logged with its traceback, because a service that does not look is a bug of ours.
    """
    if database.is_unusable(exception):
        return _database_unavailable(exception)
    if isinstance(exception, IntegrityError):
        log.error("a constraint of the database refused a row: %s", database.why(exception), exc_info=exception)
        return errors.Conflict(retry_after=1)
    return None


def _database_unavailable(exception: BaseException) -> DomainError:
    """Return the error of a database that cannot be used, and log one line of it:
    every request of that time makes one."""
    log.error("the database cannot be used: %s", database.why(exception))
    return errors.DatabaseUnavailable(retry_after=2)


def _without_database(error: DomainError, request: HttpRequest) -> HttpResponse:
    """Return a problem as JSON or as a page that asks the database for nothing:
    neither who is signed in nor for messages."""
    if request.path.startswith("/api/"):
        answer = json_response(error, request)
    else:
        page = render_to_string("errors/unavailable.html", {"error": error, "request_id": request_id_of(request)})
        answer = HttpResponse(page, status=STATUS[error.kind], headers=headers_of(error))
    # Django's own mark: its line would be a second one, with a traceback
    answer._has_been_logged = True  # type: ignore[attr-defined]
    return answer


def _flat(detail: Any, path: str = "") -> dict[str, list[str]]:
    """Return DRF's nested error detail as field path → sentences: `items.3.context`."""
    if isinstance(detail, dict):
        found: dict[str, list[str]] = {}
        for name, inner in detail.items():
            found |= _flat(inner, f"{path}.{name}" if path and name != "non_field_errors" else path or str(name))
        return found
    if isinstance(detail, list) and any(isinstance(item, dict | list) for item in detail):
        found = {}
        for number, inner in enumerate(detail):
            if inner:
                found |= _flat(inner, f"{path}.{number}")
        return found
    sentences = detail if isinstance(detail, list) else [detail]
    return {path or "body": [str(sentence) for sentence in sentences]}


class PortalProblemsMiddleware:
    """A DomainError that leaves a page's view becomes a page or a message; never a traceback."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if isinstance(exception, RedisError):  # allauth counts attempts to sign in there
            log.error("the shared cache does not answer", exc_info=exception)
            exception = errors.SharedCacheUnavailable(retry_after=60)
        exception = of_database(exception) or exception
        if isinstance(exception, errors.DatabaseUnavailable):
            return _without_database(exception, request)
        if not isinstance(exception, DomainError):
            return None
        if request.path.startswith("/api/"):
            return json_response(exception, request)
        if exception.kind is Kind.NOT_FOUND:
            raise Http404 from exception
        if exception.kind is Kind.FORBIDDEN:
            raise PermissionDenied(exception.sentence) from exception
        return on_a_page(request, exception)


def on_a_page(request: HttpRequest, error: DomainError) -> HttpResponse:
    """Answer a person: the page that a form came from, with the words above it, or a page of its own."""
    back = request.headers.get("Referer", "")
    own = url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure())
    if request.method == "POST" and own:
        messages.error(request, error.in_full)
        return HttpResponseRedirect(back)  # not `redirect`, which takes a word for the name of a view
    answer = render(request, "errors/problem.html", {"error": error}, status=STATUS[error.kind])
    for name, value in headers_of(error).items():
        answer[name] = value
    return answer


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 404: the same body whether it is missing or somebody else's."""
    if request.path.startswith("/api/"):
        return json_response(errors.NotFound(), request)
    return render(request, "404.html", status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 500: a bug; it is logged with its traceback, the body says nothing of it.

    Whatever a middleware raises ends here as well (a session that cannot be saved, for one):
    a database that cannot be used is no bug.
    """
    exception = sys.exc_info()[1]
    error = of_database(exception) if exception is not None else None
    if error is not None:
        return _without_database(error, request)
    if is_scim(request):
        detail = f"This is our mistake and it is recorded. Request id: {request_id_of(request)}"
        return HttpResponse(scim_text(500, detail), status=500, content_type=SCIM_JSON)
    if request.path.startswith("/api/"):
        return HttpResponse(bug(request_id_of(request)), status=500, content_type="application/problem+json")
    return render(request, "500.html", status=500)
