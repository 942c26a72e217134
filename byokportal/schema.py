"""The OpenAPI description: bearer tokens, and the problems that each operation answers."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from rest_framework import serializers

from byokportal.errors import DomainError
from byokportal.problems import STATUS


class Problem(serializers.Serializer[Any]):
    """Every error, as application/problem+json."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField()
    params = serializers.DictField()
    retryable = serializers.BooleanField()
    whose_turn = serializers.ChoiceField(["tenant", "kore", "caller", "nobody"])
    since = serializers.DateTimeField(allow_null=True)
    request_id = serializers.CharField()
    errors = serializers.DictField(  # type: ignore[assignment]
        child=serializers.ListField(child=serializers.CharField()), required=False
    )


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "tenants.authentication.BearerAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}


class BlobExtension(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    target_class = "byokportal.shapes.Blob"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        return {"type": "string", "contentEncoding": "base64"}


class ContextExtension(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    target_class = "byokportal.shapes.ContextField"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 16}


class ProblemSchema(AutoSchema):
    """Adds to each operation the codes that its view names in `problems` and those that every address answers."""

    always = (
        "malformed_body",
        "not_authenticated",
        "not_found",
        "body_too_large",
        "rate_limited",
        "database_unavailable",
    )

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        codes = {*self.always, *getattr(self.view, "problems", ())}
        by_status: dict[int, list[str]] = {}
        for error in _all_errors():
            if error.code in codes:
                by_status.setdefault(STATUS[error.kind], []).append(error.code)
        for status, names in sorted(by_status.items()):
            body = self._get_response_for_code(  # type: ignore[no-untyped-call]
                Problem, str(status), ["application/problem+json"]
            )
            bodies[str(status)] = body | {"description": ", ".join(sorted(names))}
        return bodies


def _all_errors() -> list[Any]:
    found, todo = [], [DomainError]
    while todo:
        error = todo.pop()
        todo += error.__subclasses__()
        if "code" in error.__dict__:
            found.append(error)
    return sorted(found, key=lambda error: error.code)
