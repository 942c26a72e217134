"""Characters that AWS refuses in a policy, and what a word processor put in the place of a quotation mark; pure."""

from __future__ import annotations

import re
from bisect import bisect_right

from byokportal.translation import lazy
from byokportal.translation import translate as _
from keys.proof.pasted.findings import Flaw

DOUBLE, CURLY_SINGLE = "“”„‟″＂«»", "‘’‚‛′＇"
STRAIGHT = str.maketrans(DOUBLE + CURLY_SINGLE, '"' * len(DOUBLE) + "'" * len(CURLY_SINGLE))
SMART = re.compile(f"[{DOUBLE}{CURLY_SINGLE}]")
# IAM and KMS API references: U+0009, U+000A, U+000D, U+0020 to U+00FF
REFUSED = re.compile(r"[^\t\n\r\x20-\x7e\xa0-\xff]")
CLEAR = {
    "\u00a0": lazy("a no-break space"),
    "\u200b": lazy("an invisible zero-width space"),
    "\ufeff": lazy("a byte order mark"),
    "\u2028": lazy("a line separator"),
}


def flaws(text: str, starts: list[int]) -> list[Flaw]:
    """Name the characters that AWS refuses, each kind once."""
    found: list[Flaw] = []
    if text.startswith("\ufeff"):
        found.append(
            Flaw(
                "byte_order_mark",
                1,
                _(
                    "The text begins with a byte order mark, which an editor or PowerShell put there. You cannot "
                    "see it; AWS refuses it."
                ),
                _("Save the file as UTF-8 without BOM, or copy the document below."),
            )
        )
    smart = SMART.search(text)
    if smart:
        found.append(
            Flaw(
                "smart_quotes",
                bisect_right(starts, smart.start()),
                _(
                    "%(sign)s is a quotation mark of a word processor. JSON knows the straight one only.",
                    sign=smart[0],
                ),
                _('Replace it by ", and every other one like it.'),
            )
        )
    seen: set[str] = set()
    for match in REFUSED.finditer(text):
        sign = match[0]
        if sign in seen or sign in DOUBLE + CURLY_SINGLE or (sign == "\ufeff" and match.start() == 0):
            continue
        seen.add(sign)
        if len(seen) > 10:
            break
        found.append(flaw(sign, bisect_right(starts, match.start())))
    return found


def flaw(sign: str, line: int) -> Flaw:
    """Name one character."""
    name = _(CLEAR[sign]) if sign in CLEAR else _("this character")
    return Flaw(
        "character",
        line,
        _("This line holds %(name)s (U+%(code)s), which AWS refuses in a policy.", name=name, code=f"{ord(sign):04X}"),
        _("Type the line again by hand, or copy the document below."),
    )
