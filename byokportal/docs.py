"""/docs/problems, the page that the `type` of every problem points at, and /api/docs, the API description as a page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET


@dataclass(frozen=True, slots=True)
class Section:
    """One problem: its code is the anchor."""

    code: str
    paragraphs: list[str]


@cache
def _sections() -> list[Section]:
    text = (settings.BASE_DIR / "docs" / "problems.md").read_text()
    found = re.findall(r"^## ([a-z_]+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return [
        Section(code, [part.strip().replace("`", "") for part in body.split("\n\n") if part.strip()])
        for code, body in found
    ]


@require_GET
def problems(request: HttpRequest) -> HttpResponse:
    """Show what each error code means and what to do."""
    return render(request, "docs/problems.html", {"sections": _sections()})


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the API as the page shows it."""

    id: str
    method: str
    path: str
    words: str
    parameters: list[tuple[str, str]]  # name, words
    body: list[tuple[str, str, bool]]  # field, type, whether it is required
    answers: list[tuple[str, str]]  # status, fields or codes


@cache
def _api() -> tuple[str, list[Operation]]:
    spec = yaml.load((settings.BASE_DIR / "docs" / "openapi.yaml").read_text(), Loader=yaml.CSafeLoader)
    schemas = spec["components"]["schemas"]
    operations = [
        Operation(
            one["operationId"],
            method.upper(),
            path,
            one.get("description", ""),
            [(given["name"], given.get("description", "")) for given in one.get("parameters", [])],
            _fields(one.get("requestBody", {}), schemas),
            [(status, _answer(answer, schemas)) for status, answer in one["responses"].items()],
        )
        for path, methods in spec["paths"].items()
        for method, one in methods.items()
    ]
    return spec["info"]["description"], operations


def _shape(content: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """Return the object schema of a body or an answer; empty when it has none."""
    for media in content.get("content", {}).values():
        schema: dict[str, Any] = media.get("schema", {})
        return schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return {}


def _fields(body: dict[str, Any], schemas: dict[str, Any]) -> list[tuple[str, str, bool]]:
    shape = _shape(body, schemas)
    return [
        (name, _type(schema), name in shape.get("required", ())) for name, schema in shape.get("properties", {}).items()
    ]


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    kind = schema.get("type", "")
    return " or ".join(kind) if isinstance(kind, list) else str(kind or "value")


def _answer(answer: dict[str, Any], schemas: dict[str, Any]) -> str:
    if answer.get("description"):
        return str(answer["description"])  # of a problem: its codes
    return ", ".join(_shape(answer, schemas).get("properties", {}))


@require_GET
def api(request: HttpRequest) -> HttpResponse:
    """Show every operation of the API: what it takes, what it answers."""
    words, operations = _api()
    return render(
        request, "docs/api.html", {"words": words.replace("**", "").replace("`", ""), "operations": operations}
    )
