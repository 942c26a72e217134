"""What a reading says: findings, and the values of the tenant that it speaks in; pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from byokportal.translation import lazy
from byokportal.translation import translate as _
from keys.access import Access
from keys.arns import Rules
from keys.policies.documents import ALONE, Beside

Kind = Literal["trust", "permissions", "key"]
# Of an action: whatever our call carries, or only if what we cannot see from here is so.
Given = Literal["given", "unseen"]
Severity = Literal["error", "warning", "info"]
Path = tuple[str | int, ...]  # from the policy down to the element: ("Statement", 0, "Principal", "AWS")
Policy = dict[str, Any]

NAMES = {"trust": lazy("trust policy"), "permissions": lazy("permissions policy"), "key": lazy("key policy")}
# Codes for which AWS would not take the text as a policy at all.
UNREADABLE = {
    "not_json",
    "foreign_notation",
    "empty",
    "too_long",
    "too_deep",
    "too_many_elements",
    "smart_quotes",
    "character",
    "byte_order_mark",
    "duplicate_key",
    "no_statement",
    "statement_only",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about a policy: the 1-based line, what is so, and what to do."""

    code: str
    severity: Severity
    line: int
    text: str
    fix: str


@dataclass(frozen=True, slots=True)
class Flaw:
    """A finding about the text itself, which may be no policy at all."""

    code: str
    line: int
    text: str
    fix: str


@dataclass(frozen=True, slots=True)
class Note:
    """A finding before its line is looked up: the path says where in the policy it stands."""

    code: str
    severity: Severity
    path: Path
    text: str
    fix: str


@dataclass(frozen=True, slots=True)
class Values:
    """What a pasted text is compared with.

    Args:
        access: the tenant's own, as far as its ARNs are given.
        beside: what the policies have to name too while one registration replaces another.
        rules: which ARNs are taken from this tenant; None reads their form alone.
        address: one that our calls come from, where they are fixed. Else one that belongs to nobody (RFC 5737): the
            customer's lists do not hold ours.
    """

    access: Access
    beside: Beside = ALONE
    rules: Rules | None = None
    address: str = "192.0.2.10"


def shown(value: object, *, most: int = 80) -> str:
    """Return a value of a stranger's document as a sentence may quote it: short, printable, on one line."""
    if isinstance(value, dict | list):
        text = json.dumps(value, ensure_ascii=False)
    else:
        text = value if isinstance(value, str) else str(value)
    blank = _(" (with a blank before or after it)") if text != text.strip() and text.strip() else ""
    text = text if len(text) <= most else f"{text[: most - 1]}…"
    clear = "".join(sign if sign.isprintable() and sign != "\u00a0" else f"\\u{ord(sign):04x}" for sign in text)
    return (clear.strip() or _("(blank)")) + blank
