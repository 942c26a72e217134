"""Addresses of the tenants app: tokens, set-up, onboarding."""

from __future__ import annotations

import base64
import binascii

from django.http import HttpRequest, HttpResponse, JsonResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from byokportal import addresses
from tenants import access, attempts, onboarding, roles, services, tokens
from tenants.api.serializers import OnboardingOut, SetupOut, TokenIn, TokenOut, TokenRefused
from tenants.attempts import Limit
from tenants.models import Tenant


class Setup(APIView):
    """What the tenant puts into its AWS account; it never changes."""

    problems = ("not_allowed",)

    @extend_schema(operation_id="get_setup", responses=SetupOut)
    def get(self, request: Request, tenant: str) -> Response:
        mine = _of_member(request, tenant)
        role = mine.service_role
        return Response(
            {
                "tenant": str(mine.pk),
                "service_role_arn": role.arn,
                "aws_account_id": role.account_id,
                "external_id": mine.external_id,
            }
        )


class Onboarding(APIView):
    """The six steps: where each stands, since when, whose turn it is, what comes next."""

    problems = ("not_allowed",)

    @extend_schema(operation_id="get_onboarding", responses=OnboardingOut)
    def get(self, request: Request, tenant: str) -> Response:
        return Response(OnboardingOut({"steps": onboarding.overview(_of_member(request, tenant))}).data)


def _of_member(request: Request, tenant: str) -> Tenant:
    mine = access.tenant_for(request.user, tenant)  # type: ignore[arg-type]
    access.require_member(request.user)  # type: ignore[arg-type]
    roles.require(request.user.actor, "tenants.read", mine)  # type: ignore[union-attr]
    return mine


# --- OAuth 2.0 client credentials (RFC 6749, section 4.4) -----------------------------------------------


FAILURES = Limit("client", 10, 60)  # of one client from one address; what comes on top is told to wait
IN_AN_HOUR = Limit("client-hour", 1, 3600)
ROWS = Limit("client-rows", 100, 3600)  # of the log, whoever tries whatever from wherever


class Token(APIView):
    """Exchange client credentials for a bearer token; the one address with a form body and RFC 6749 errors."""

    authentication_classes = ()
    permission_classes = ()
    always = ("not_found", "method_not_allowed", "body_too_large", "database_unavailable")

    @extend_schema(
        operation_id="get_token",
        auth=[],
        request={"application/x-www-form-urlencoded": TokenIn},
        responses={200: TokenOut, **dict.fromkeys((400, 401, 429), TokenRefused)},
    )
    def post(self, request: Request) -> HttpResponse:
        return _token(request._request)


def _token(request: HttpRequest) -> HttpResponse:
    if request.content_type != "application/x-www-form-urlencoded":
        return _refused("invalid_request", "The body has to be application/x-www-form-urlencoded.")
    try:
        form = request.POST
        names = [name for name in form if len(form.getlist(name)) > 1]
    except Exception:  # noqa: BLE001  Django raises several kinds for a broken form; each is the caller's
        return _refused("invalid_request", "The form could not be read.")
    if names:
        return _refused("invalid_request", "A parameter stands twice.")
    if form.get("grant_type") != "client_credentials":
        return _refused("unsupported_grant_type", "The grant type here is client_credentials.")
    client_id, secret = _credentials(request)
    proved_by = tokens.client(client_id, secret)
    if proved_by is None:
        return _failed(request, client_id)
    account = proved_by.service_account
    wanted = form.get("scope", "").split() or account.scopes
    if not set(wanted) <= set(account.scopes):
        return _refused("invalid_scope", "The client does not have every scope it asked for.")
    token, raw = tokens.issue(account, scopes=sorted(set(wanted)), secret=proved_by)
    answer = {
        "access_token": raw,
        "token_type": "Bearer",
        "expires_in": int((token.expires_at - token.created_at).total_seconds()),
        "scope": " ".join(sorted(set(wanted))),
    }
    return JsonResponse(answer, headers={"Cache-Control": "no-store", "Pragma": "no-cache"})


def _failed(request: HttpRequest, client_id: str) -> JsonResponse:
    """Answer wrong credentials, which alone are counted: the right secret passes whatever came before.

    The log has a row for the first failure of a client from an address in an hour, then for the tenth,
    the hundredth and so on.
    """
    address = addresses.group(request.META.get("REMOTE_ADDR", addresses.UNKNOWN))
    who = f"{client_id[:64].lower()} {address}"
    number = attempts.count(IN_AN_HOUR, who)
    if str(number).strip("0") == "1" and attempts.count(ROWS, "all") <= ROWS.count:
        services.note_refused_client(client_id, address=address, count=number)
    if attempts.count(FAILURES, who) > FAILURES.count:
        answer = _refused("invalid_client", "Too many wrong secrets came from your address. Wait a minute.", status=429)
        answer.headers["Retry-After"] = str(FAILURES.seconds)
        return answer
    return _refused("invalid_client", "The client id or secret is wrong.", status=401)


def _credentials(request: HttpRequest) -> tuple[str, str]:
    header = request.headers.get("Authorization", "")
    if header[:6].lower() == "basic ":
        try:
            client_id, _, secret = base64.b64decode(header[6:], validate=True).decode("ascii").partition(":")
        except (binascii.Error, ValueError):
            return "", ""
        return client_id, secret
    return request.POST.get("client_id", ""), request.POST.get("client_secret", "")


def _refused(code: str, description: str, *, status: int = 400) -> JsonResponse:
    headers = {"Cache-Control": "no-store"} | ({"WWW-Authenticate": "Basic"} if status == 401 else {})
    return JsonResponse({"error": code, "error_description": description}, status=status, headers=headers)
