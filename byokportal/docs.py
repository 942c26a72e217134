"""/docs/problems: the page that the `type` of every problem points at."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

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
