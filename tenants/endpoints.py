"""What every address below a tenant has in common: whose it is, a checked body, one effect for each Idempotency-Key."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from drf_spectacular.utils import OpenApiParameter
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from byokportal.errors import NotFound
from tenants import access, idempotency, roles, services
from tenants.authentication import Caller
from tenants.errors import SecondPersonNeeded
from tenants.models import Tenant

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key", str, OpenApiParameter.HEADER, description="one effect for each key, for 24 hours"
)
CURSOR = OpenApiParameter("cursor", str, description="the `next` of the page before")


def as_uuid(text: str) -> uuid.UUID:
    """Return the UUID in an address.

    Raises:
        NotFound: it is none.
    """
    try:
        return uuid.UUID(text)
    except ValueError:
        raise NotFound from None


class TenantView(APIView):
    """An address below a tenant that members use."""

    problems: tuple[str, ...] = ("not_allowed",)

    def mine(self, request: Request, tenant: str) -> Tenant:
        """Return the tenant of the address; not yours is not there."""
        mine = access.tenant_for(self.caller(request), tenant)
        access.require_member(self.caller(request))
        if request.method in SAFE_METHODS:  # what changes something asks its own row of the table
            roles.require(self.caller(request).actor, "tenants.read", mine)
        return mine

    def handle_exception(self, exc: Exception) -> Response:
        """Let a second person be asked for what waits for one; the problem then names the approval."""
        if isinstance(exc, SecondPersonNeeded):
            services.ask_second_person(exc)
        return super().handle_exception(exc)

    def caller(self, request: Request) -> Caller:
        assert isinstance(request.user, Caller)
        return request.user

    def given(self, request: Request, shape: type[Serializer[Any]]) -> dict[str, Any]:
        """Return the validated body; an operation that takes nothing may come without one."""
        data = request.data if request._request.body else {}
        serializer = shape(data=data)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def once(
        self,
        request: Request,
        tenant: Tenant,
        status: int,
        do: Callable[[], Any],
        *,
        location: Callable[[Any], str] | None = None,
    ) -> Response:
        """Do an operation once for each Idempotency-Key; what it answers holds no secret and is kept."""
        answer = idempotency.once(
            lambda: idempotency.Answer(status, do()),
            key=request._request.META.get("HTTP_IDEMPOTENCY_KEY"),
            caller=self.caller(request).name,
            tenant=tenant,
            method=request.method or "",
            path=request.path,
            body=request._request.body,
            in_one_transaction=True,
        )
        headers = {"Location": location(answer.kept)} if location else None
        return Response(answer.kept, status=answer.status, headers=headers)

    def once_with_secret(
        self,
        request: Request,
        tenant: Tenant,
        status: int,
        do: Callable[[], tuple[dict[str, Any], str]],
        *,
        location: Callable[[Any], str] | None = None,
    ) -> Response:
        """Do an operation once whose answer has a `secret` that is kept nowhere: a repeat has none.

        Args:
            do: returns what is kept, and the secret; "" where there is none.
        """
        made: list[str] = []

        def kept() -> Any:
            shown, secret = do()
            made[:] = [secret]
            return {**shown, "secret": None}

        answer = self.once(request, tenant, status, kept, location=location)
        secret = made[0] if made else ""
        return Response({**answer.data, "secret": secret or None}, status=answer.status_code, headers=answer.headers)
