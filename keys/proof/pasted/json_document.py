"""Text → policy, with the place of every element: reads through slips of the pen, and names each; pure.

AWS takes strict JSON only (RFC 8259). We read on where the meaning is plain (`json_reader`),
so that the corrected document keeps what stands there.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any

from byokportal.translation import translate as _
from keys.proof.pasted import characters
from keys.proof.pasted.findings import Flaw, Path, Policy, shown
from keys.proof.pasted.json_reader import ELEMENT, HOLDERS, LINE_END, STATEMENT, How, Reader, Unreadable

MAX_TEXT = 65_536  # characters


@dataclass(slots=True)
class Document:
    """A policy with the places of its elements.

    Args:
        value: what was read; None when it is beyond reading.
        policy: the policy in it, which `unwrapping` finds.
        source: the text that the policy stands in: the pasted one, or the one inside an answer of the AWS CLI.
        spans: for each object and list of the policy, by identity, where it stands in the source.
    """

    value: Any
    source: str
    policy: Policy | None = None
    flaws: list[Flaw] = field(default_factory=list)
    places: dict[Path, int] = field(default_factory=dict)
    spans: dict[int, tuple[int, int]] = field(default_factory=dict)
    prefix: Path = ()
    starts: list[int] = field(default_factory=list)
    unread: bool = False  # some of the text was passed over, and may hold statements
    fixed_line: int = 0  # inside an escaped string everything stands on its line
    wrapped: str = ""

    def line(self, path: Path) -> int:
        """Return the 1-based line of an element of the policy, or of what it stands in."""
        if self.fixed_line:
            return self.fixed_line
        full = self.prefix + path
        while full not in self.places and full:
            full = full[:-1]
        return bisect_right(self.starts, self.places.get(full, 0))


def split_lines(text: str) -> list[str]:
    """Return the lines as the findings count them."""
    return LINE_END.split(text)


def line_starts(text: str) -> list[int]:
    return [0, *(match.end() for match in LINE_END.finditer(text))]


def parse(text: str) -> Document:
    """Read a text; whatever it is, a document comes back, with its flaws."""
    starts = line_starts(text)
    if len(text) > MAX_TEXT:
        flaw = Flaw(
            "too_long",
            1,
            _(
                "This has %(text)s characters; we read at most %(max_text)s.",
                text=f"{len(text):,}",
                max_text=f"{MAX_TEXT:,}",
            ),
            _("Paste the policy alone."),
        )
        return Document(None, text, flaws=[flaw], starts=starts)
    found = _parsed(text, text, starts)
    if characters.SMART.search(text) and (found.value is None or not _is_json(text)):
        # Same length, so every place stays where it is.
        straight = _parsed(text.translate(characters.STRAIGHT), text, starts)
        found = straight if straight.value is not None else found
    both = dict.fromkeys([*characters.flaws(text, starts), *found.flaws])
    found.flaws = sorted(both, key=lambda flaw: flaw.line)
    return found


def _parsed(text: str, source: str, starts: list[int]) -> Document:
    found, mismatched = _read(text, source, starts, "close")
    if mismatched and found.value is None:
        for how in ("skip", "swap"):
            other, _ = _read(text, source, starts, how)  # type: ignore[arg-type]
            if other.value is not None:
                return other
    return found


def _read(text: str, source: str, starts: list[int], how: How) -> tuple[Document, bool]:
    """Return a text read in one way, and whether another may read its brackets better."""
    reader = Reader(text, how, guesses=not _is_json(text))
    try:
        value = reader.read()
    except Unreadable as lost:
        value = None
        reader.slips.append((lost.code, lost.at, lost.text))
    if reader.guessed and not _is_shaped(value):
        value = None
    flaws = [_flaw(code, bisect_right(starts, at), what) for code, at, what in reader.slips]
    if reader.odd >= 0:
        flaws.append(characters.flaw(text[reader.odd], bisect_right(starts, reader.odd)))
    unread = reader.unread or (value is None and STATEMENT.search(text) is not None)
    return (
        Document(value, source, flaws=flaws, places=reader.places, spans=reader.spans, starts=starts, unread=unread),
        reader.mismatched,
    )


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _is_shaped(value: Any) -> bool:
    """Tell whether what was guessed came out as a policy: else the guess may be wrong, and nothing is built on it."""
    if isinstance(value, dict) and "Statement" not in value and value.keys() & ELEMENT:
        value = {"Statement": value}
    if isinstance(value, list):
        value = {"Statement": value}
    if not isinstance(value, dict):
        return False
    if "Statement" not in value:
        return True  # an answer of the AWS CLI, or no policy at all
    found = value["Statement"]
    return value.keys() <= {"Version", "Id", "Statement"} and all(
        isinstance(each, dict)
        and each.keys() <= ELEMENT
        and "Effect" in each
        and not any(isinstance(name, str) and name in ELEMENT for name in _inner_names(each))
        for each in (found if isinstance(found, list) else [found])
    )


def _inner_names(statement: dict[str, Any]) -> list[str]:
    return [
        str(name)
        for holder in HOLDERS
        if isinstance(statement.get(holder), dict)
        for name, inner in statement[holder].items()
        for name in (name, *(inner if isinstance(inner, dict) else ()))
    ]


def _flaw(code: str, line: int, what: str) -> Flaw:
    if code == "duplicate_key":
        return Flaw(
            code,
            line,
            (
                _(
                    "The name %(what)s stands a second time in the same object. AWS refuses that, and other "
                    "tools keep only one of the two.",
                    what=shown(what, most=40),
                )
            ),
            _("Leave one %(what)s in this object, with everything that belongs to it.", what=shown(what, most=40)),
        )
    if code == "empty":
        return Flaw(code, line, what, _("Paste the whole policy, from the first { to the last }."))
    return Flaw(
        code,
        line,
        _("%(what)s. AWS does not take this as JSON.", what=what),
        _("Mend it at this line, or use the document below."),
    )
