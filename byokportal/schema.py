"""The OpenAPI description: bearer tokens, and the problems that each operation answers."""

from __future__ import annotations

from datetime import UTC, datetime
from string import Formatter
from typing import Any

from drf_spectacular.extensions import (
    OpenApiAuthenticationExtension,
    OpenApiSerializerExtension,
    OpenApiSerializerFieldExtension,
)
from drf_spectacular.openapi import AutoSchema
from rest_framework import serializers

from byokportal.errors import DomainError, Kind
from byokportal.problems import STATUS, problem


class Problem(serializers.Serializer[Any]):
    """Every error, as application/problem+json."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField()
    params = serializers.DictField()
    retryable = serializers.BooleanField()
    retry_after = serializers.IntegerField(allow_null=True, help_text="seconds; the Retry-After header says the same")
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


class ShapeExtension(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """What comes in holds no other names."""

    target_class = "byokportal.shapes.Shape"
    match_subclasses = True

    def map_serializer(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        described: dict[str, Any] = auto_schema._map_serializer(  # type: ignore[no-untyped-call]
            self.target, direction, bypass_extensions=True
        )
        return described | ({"additionalProperties": False} if direction == "request" else {})


class ContextExtension(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    target_class = "byokportal.shapes.ContextField"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 16}


class ProblemSchema(AutoSchema):
    """Adds to each operation the codes that its view names in `problems` and those that every address answers."""

    always = (
        "malformed_body",
        "secret_pasted",
        "media_type_not_taken",
        "not_authenticated",
        "not_found",
        "method_not_allowed",
        "body_too_large",
        "database_unavailable",
        "conflict",
    )

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        takes_key = any(getattr(one, "name", "") == "Idempotency-Key" for one in self.get_override_parameters())
        codes = codes_of(type(self.view)) | (IDEMPOTENT if takes_key else set())
        if self.method == "GET":
            codes -= {"conflict"}
        by_status: dict[int, list[type[DomainError]]] = {}
        for error in _all_errors():
            if error.code in codes:
                by_status.setdefault(STATUS[error.kind], []).append(error)
        for status, errors in sorted(by_status.items()):
            body = self._get_response_for_code(  # type: ignore[no-untyped-call]
                Problem, str(status), ["application/problem+json"]
            )
            examples = {error.code: {"$ref": f"#/components/examples/{error.code}"} for error in errors}
            body["content"]["application/problem+json"]["examples"] = examples
            if any(error.retryable for error in errors):
                body["headers"] = {"Retry-After": RETRY_AFTER}
            described = bodies.get(str(status), {})
            body["content"] = described.get("content", {}) | body["content"]
            bodies[str(status)] = body | {"description": described.get("description") or ", ".join(examples)}
        return bodies


RETRY_AFTER = {"schema": {"type": "integer"}, "description": "seconds; only with problems that are retryable"}


IDEMPOTENT = {"idempotency_key_invalid", "idempotency_key_reused", "request_in_progress"}


def codes_of(view: type) -> set[str]:
    """Return the codes of the problems that an address answers: those of every address, or which of them it names in
    `always`, and what its classes name."""
    return {
        *getattr(view, "always", ProblemSchema.always),
        *(code for part in view.__mro__ for code in vars(part).get("problems", ())),
    }


# What stands in the sentence of an example in place of what only a real failure knows.
SAMPLES: dict[str, object] = {
    "aws_code": "AccessDeniedException",
    "action": "kms:Decrypt",
    "permission": "data-keys:generate",
    "limit": 262144,
    "method": "DELETE",
    "wanted": "application/json in UTF-8",
    "suspended_by": "the tenant",
    "why": "The reason, as a sentence.",
}


def add_examples(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Add one example of each problem to the description; a hook of drf-spectacular."""
    result["components"]["examples"] = {
        error.code: {"summary": error.title, "value": _example(error)} for error in _all_errors()
    }
    return result


def _example(error: type[DomainError]) -> dict[str, Any]:
    names = [name for _, name, _, _ in Formatter().parse(error.detail) if name]
    since = datetime(2026, 1, 1, 12, 0, tzinfo=UTC) if error.kind in {Kind.KEY_REFUSED, Kind.UNAVAILABLE} else None
    params: dict[str, Any] = {name: SAMPLES.get(name, "…") for name in names}
    return problem(error(since=since, **params), "3f2b8c1e-0000-4000-8000-000000000000")


def _all_errors() -> list[type[DomainError]]:
    found: list[type[DomainError]] = []
    todo: list[type[DomainError]] = [DomainError]
    while todo:
        error = todo.pop()
        todo += error.__subclasses__()
        if "code" in error.__dict__:
            found.append(error)
    return sorted(found, key=lambda error: error.code)
