"""Policy → text, in the style of the text it came from: what did not change stands as it stood; pure."""

from __future__ import annotations

import json
import re
from typing import Any

from keys.proof.pasted.characters import REFUSED
from keys.proof.pasted.findings import Policy
from keys.proof.pasted.json_document import Document

INDENT = re.compile(r"[{\[][ \t]*(?:\r\n|\r|\n)([ \t]+)\S")


def render(policy: Policy, document: Document) -> str:
    """Return a policy as text.

    Objects and lists of `policy` that are those of the document keep their very characters, as long as the text
    there has no flaw and the policy does not stand inside an answer (it would be indented too far).
    """
    found = INDENT.search(document.source)
    indent = found[1] if found and len(found[1]) <= 8 and not document.prefix else "  "
    verbatim = (
        not document.flaws
        and not document.prefix
        and not document.wrapped
        and found is not None
        and not REFUSED.search(document.source)
    )
    text = _text(policy, document, indent, 0, verbatim)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _text(value: Any, document: Document, indent: str, depth: int, verbatim: bool) -> str:
    if verbatim and id(value) in document.spans:
        start, end = document.spans[id(value)]
        text = document.source[start:end]
        _, newline, last = text.replace("\r", "\n").rpartition("\n")
        if not newline or last == indent * depth + last[-1:]:  # it would stand askew at another depth than it stood
            return text
    if not isinstance(value, dict | list) or not value:
        return json.dumps(value)
    inner, outer = "\n" + indent * (depth + 1), "\n" + indent * depth
    if isinstance(value, dict):
        parts = [
            f"{json.dumps(name)}: {_text(each, document, indent, depth + 1, verbatim)}" for name, each in value.items()
        ]
        return "{" + inner + f",{inner}".join(parts) + outer + "}"
    parts = [_text(each, document, indent, depth + 1, verbatim) for each in value]
    return "[" + inner + f",{inner}".join(parts) + outer + "]"
