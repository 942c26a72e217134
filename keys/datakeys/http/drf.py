"""The data keys as views of Django REST framework: for WSGI, the test client and the OpenAPI.

Production serves these addresses by `keys.datakeys.http.event_loop`; what is answered is the same, from
`keys.datakeys.http.operations`.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from byokportal import deadline, problems
from keys.datakeys.http import operations
from keys.datakeys.http import serializers as shapes
from tenants import endpoints

PROBLEMS = (
    "not_allowed",
    "invalid_input",
    "rate_limited",
    "key_not_active",
    "suspended",
    "restore_not_confirmed",
    "kms_access_denied",
    "kms_key_disabled",
    "kms_key_pending_deletion",
    "kms_key_not_found",
    "kms_key_pending_import",
    "kms_key_unusable",
    "kms_wrong_key",
    "role_not_assumable",
    "key_unreachable",
    "aws_throttled",
    "aws_unreachable",
    "own_access_broken",
    "aws_surprise",
    "database_not_admitted",
    "context_invalid",
    "wrapped_key_unreadable",
)


class DataKeyView(APIView):
    """What the three have in common: the operation, which does everything."""

    # Only the OpenAPI reads it: `operations.admit` authenticates and asks for the scope.
    permission_classes = ()
    http_method_names = ("post",)
    problems = PROBLEMS
    operation: operations.Operation

    @property
    def default_response_headers(self) -> dict[str, str]:
        """None of DRF's: the operation says what stands in the answer."""
        return {}

    def perform_authentication(self, request: Request) -> None:
        """Leave it to the operation."""

    def http_method_not_allowed(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Refuse after the caller is known, as the operation does."""
        return self.answer(request, **kwargs)

    def answer(self, request: Request, tenant: str) -> HttpResponse:
        asked = request._request
        call = operations.Call(
            operation=self.operation,
            method=asked.method or "",
            path=asked.path,
            tenant_id=tenant,
            authorization=asked.META.get("HTTP_AUTHORIZATION", ""),
            content_type=asked.META.get("CONTENT_TYPE", ""),
            idempotency_key=asked.META.get("HTTP_IDEMPOTENCY_KEY"),
            request_id=problems.request_id_of(asked),
            body=asked.body,
        )
        with deadline.at_most(operations.DATABASE):
            given = operations.answer(call)
        return HttpResponse(given.body, status=given.status, headers=given.headers)


class DataKeys(DataKeyView):
    """Make data keys: 256 random bits each, wrapped under the tenant's key."""

    operation = operations.GENERATE

    @extend_schema(
        operation_id="generate_data_keys",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=shapes.GenerateIn,
        responses={200: shapes.GeneratedOut},
    )
    def post(self, request: Request, tenant: str) -> HttpResponse:
        return self.answer(request, tenant)


class Decrypt(DataKeyView):
    """Open wrapped data keys."""

    operation = operations.DECRYPT

    @extend_schema(
        operation_id="decrypt_data_keys",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=shapes.OpenIn,
        responses={200: shapes.OpenedOut},
    )
    def post(self, request: Request, tenant: str) -> HttpResponse:
        return self.answer(request, tenant)


class Rewrap(DataKeyView):
    """Move wrapped data keys to the current branch key without showing them."""

    operation = operations.REWRAP

    @extend_schema(
        operation_id="rewrap_data_keys",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=shapes.OpenIn,
        responses={200: shapes.RewrappedOut},
    )
    def post(self, request: Request, tenant: str) -> HttpResponse:
        return self.answer(request, tenant)
