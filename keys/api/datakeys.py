"""Addresses for platform services: generate, decrypt and rewrap data keys, one or up to a hundred."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from byokportal import problems
from byokportal.errors import DomainError
from keys import services
from keys.api import serializers as shapes
from keys.datakeys import Context, OpenedDataKey
from tenants import access, endpoints, idempotency
from tenants.models import Tenant

Item = tuple[bytes, Context]
PROBLEMS = (
    "invalid_input", "not_allowed", "key_not_active", "suspended", "kms_access_denied", "kms_key_disabled", "kms_key_pending_deletion",
    "kms_key_not_found", "kms_key_pending_import", "kms_key_unusable", "kms_wrong_key", "role_not_assumable", "key_unreachable", "aws_throttled",
    "aws_unreachable", "own_access_broken", "aws_surprise", "context_invalid", "wrapped_key_unreadable", "idempotency_key_invalid",
    "idempotency_key_reused", "request_in_progress",
)  # fmt: skip
NO_STORE = {"Cache-Control": "no-store"}


class DataKeyView(endpoints.TenantView):
    """What the three have in common: the scope, one or many, no answer kept by anybody."""

    scope = ""
    problems = PROBLEMS

    def allowed(self, request: Request, tenant: str) -> Tenant:
        """Return the tenant of the address, if the caller has the scope."""
        mine = access.tenant_for(self.caller(request), tenant)
        access.require_scope(self.caller(request), self.scope)
        return mine

    def facts(self, request: Request) -> dict[str, Any]:
        """Return what the row of the use says about the caller."""
        return {"actor": self.caller(request).actor, "request_id": problems.request_id_of(request)}

    def answer(
        self, request: Request, given: dict[str, Any], results: Sequence[dict[str, Any] | DomainError]
    ) -> Response:
        """Answer a batch item by item; a single failed item is the whole answer."""
        if "items" not in given:
            (result,) = results
            if isinstance(result, DomainError):
                raise result
            return Response(result, headers=NO_STORE)
        request_id = problems.request_id_of(request)
        items = [{"problem": problems.problem(r, request_id)} if isinstance(r, DomainError) else r for r in results]
        return Response({"items": items}, headers=NO_STORE)


class DataKeys(DataKeyView):
    """Make data keys: 256 random bits each, wrapped under the tenant's key."""

    scope = "data-keys:generate"

    @extend_schema(
        operation_id="generate_data_keys",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=shapes.GenerateIn,
        responses={200: shapes.DataKeyOut},
    )
    def post(self, request: Request, tenant: str) -> Response:
        mine = self.allowed(request, tenant)
        given = self.given(request, shapes.GenerateIn)
        contexts = [item.get("context", {}) for item in given.get("items", [given])]
        fresh: list[dict[str, Any]] = []

        def do() -> idempotency.Answer:
            made = services.generate_data_keys(mine, contexts, **self.facts(request))
            fresh.extend(shapes.DataKeyOut(key).data for key in made)
            # Kept for a repeat is the wrapped key alone: what is stored opens nothing by itself.
            return idempotency.Answer(200, {"wrapped": [base64.b64encode(key.wrapped_key).decode() for key in made]})

        kept = idempotency.once(
            do,
            key=request.headers.get("Idempotency-Key"),
            caller=self.caller(request).name,
            tenant=mine,
            method="POST",
            path=request.path,
            body=request._request.body,
        )
        if kept.is_repeat:
            return self._repeat(
                request, mine, given, [base64.b64decode(text) for text in kept.kept["wrapped"]], contexts
            )
        return self.answer(request, given, fresh)

    def _repeat(
        self, request: Request, mine: Tenant, given: dict[str, Any], blobs: list[bytes], contexts: list[Context]
    ) -> Response:
        """Open what the first request made: a new row, and a refusal if the key was taken back meanwhile."""
        opened = services.open_data_keys(mine, list(zip(blobs, contexts, strict=True)), **self.facts(request))
        results = [
            result
            if isinstance(result, DomainError)
            else {**shapes.OpenedOut(result).data, "wrapped_key": base64.b64encode(blob).decode()}
            for result, blob in zip(opened, blobs, strict=True)
        ]
        return self.answer(request, given, results)


def items_of(given: dict[str, Any]) -> list[Item]:
    """Return the items of a request, one or many."""
    return [(item["wrapped_key"], item.get("context", {})) for item in given.get("items", [given])]


class Decrypt(DataKeyView):
    """Open wrapped data keys."""

    scope = "data-keys:decrypt"

    @extend_schema(operation_id="decrypt_data_keys", request=shapes.OpenIn, responses={200: shapes.OpenedOut})
    def post(self, request: Request, tenant: str) -> Response:
        mine = self.allowed(request, tenant)
        given = self.given(request, shapes.OpenIn)
        opened = services.open_data_keys(mine, items_of(given), **self.facts(request))
        return self.answer(
            request, given, [shapes.OpenedOut(r).data if isinstance(r, OpenedDataKey) else r for r in opened]
        )


class Rewrap(DataKeyView):
    """Move wrapped data keys to the current branch key without showing them."""

    scope = "data-keys:rewrap"

    @extend_schema(operation_id="rewrap_data_keys", request=shapes.OpenIn, responses={200: OpenApiTypes.OBJECT})
    def post(self, request: Request, tenant: str) -> Response:
        mine = self.allowed(request, tenant)
        given = self.given(request, shapes.OpenIn)
        moved = services.rewrap_data_keys(mine, items_of(given), **self.facts(request))
        results = [{"wrapped_key": base64.b64encode(r).decode()} if isinstance(r, bytes) else r for r in moved]
        return self.answer(request, given, results)
