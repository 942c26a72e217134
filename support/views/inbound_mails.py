"""The webhook for mail gateways: the raw mail, signed; what became of it as JSON."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from byokportal import problems
from byokportal.errors import DomainError, MethodNotAllowed
from support import services


# A gateway has no cookie; its signature says who asks.
@csrf_exempt
def take(request: HttpRequest) -> HttpResponse:
    """Take one mail; the body is bounded by `byokportal.bodies`."""
    try:
        if request.method != "POST":
            raise MethodNotAllowed(method=request.method)
        found = services.take_mail(request.body, request.headers)
    except DomainError as error:
        return problems.json_response(error, request)
    return JsonResponse({"outcome": found.outcome, "why": found.why})
