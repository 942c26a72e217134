"""What the guide prints to be filled in, left in a policy as it was printed; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from byokportal.translation import translate as _
from keys.proof.pasted.findings import Note, Path, Values, shown

PLACEHOLDER = re.compile(
    r"<[A-Za-z][^<>\n]{0,60}>|\bYOUR[-_ ][A-Z0-9_-]+|\{\{[^{}]{1,60}\}\}"
    r"|\$\{(?:var|local|data|module|each|aws_[a-z_]{1,40})\.[^{}\n]{1,120}\}"  # of Terraform, not filled in
)


def is_in(text: str) -> bool:
    """Tell whether something is still to be filled in."""
    return PLACEHOLDER.search(text) is not None


def notes(statement: dict[str, Any], path: Path, values: Values) -> Iterator[Note]:
    """Yield each place that was not filled in."""
    for at, text in _every_text(statement, path):
        found = PLACEHOLDER.search(text)
        if found:
            yield Note(
                "placeholder",
                "error",
                at,
                _("%(found)s is a place to fill in, and was left as it is.", found=shown(found[0])),
                _("Put %(meant)s there.", meant=_meant(at, values)),
            )


def _meant(path: Path, values: Values) -> str:
    if "sts:ExternalId" in path or "Condition" in path:
        return _("your External ID %(external_id)s", external_id=values.access.external_id)
    if "Principal" in path:
        return _("the ARN that the document below has there")
    if "Resource" in path and values.access.key:
        return _("your CMK ARN %(key)s", key=values.access.key)
    return _("your own value")


def _every_text(value: object, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for at, each in enumerate(value):
            yield from _every_text(each, (*path, at))
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from _every_text(each, (*path, name))
