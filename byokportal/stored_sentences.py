"""Sentences that rows keep in English, said again in the language of whoever reads them; pure.

Rows, the API and our own log hold finished English sentences. Each stands in the catalog: as it is, or as a template
whose places are written in braces. A template that makes a sentence gives the values in it, and they are put into the
template of the other language (docs/adr/0023-stored-sentences-in-another-language.md). What no template makes stays
English: words of people, and sentences of earlier releases.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from itertools import islice

from byokportal import translation
from byokportal.translation import translate as _

PLACE = re.compile(r"\{(\w+)\}")
# Places that hold our own words, which are said again too; what people wrote is never looked up.
OURS = frozenset(
    [
        "at",
        "break_glass",
        "choice",
        "count",
        "days",
        "default_role",
        "ends",
        "error",
        "external_id",
        "given",
        "may",
        "may_make_owners",
        "mode",
        "month",
        "of_its_own",
        "old",
        "on",
        "priority",
        "problem",
        "remedy",
        "role",
        "since",
        "step_name",
        "suspended_by",
        "topic",
        "until",
        "unwanted",
        "what",
        "when",
        "why",
    ]
)
SENTENCES = frozenset(("problem", "remedy", "why"))  # of them those that hold whole sentences, perhaps several
# Places that hold words of people.
OF_PEOPLE = frozenset(
    ["decided_by", "description", "display_name", "group", "group_name", "into", "name", "reason", "subject", "text"]
)
WITHHELD = "external_id"  # no mail and no ticket holds it: there its place is empty, without the blank before it
DAYS = re.compile(r"(\d+(?:\.\d+)?) days?", re.ASCII)
# Between sentences, and between what is listed in one.
AT_MOST = 30  # sentences at a time; of more, none of ours is made
SENTENCE, LISTED = re.compile(r"(?<=[.!?…”:]) (?=\S)"), ("; ", ", ")


def again(text: str, *, ours: frozenset[str] = OURS) -> str:
    """Return a sentence of a row in the language of the moment; several, joined by blanks or lines, one by one.

    Args:
        ours: places in it that hold our own words.
    """
    if not text or translation.language() == translation.ENGLISH:
        return text
    return "\n".join(_line(line, ours) if line.strip() else line for line in text.split("\n"))


def again_if(text: str, ours: Iterable[str]) -> str:
    """Return a text that people write too in the language of the moment where one of these sentences of ours makes it,
    else as it stands."""
    if not text or translation.language() == translation.ENGLISH:
        return text
    made = [one for one in map(Template, ours) if one.makes(text)]
    return made[0].filled(text, OURS) if made else text


def _line(text: str, ours: frozenset[str]) -> str:
    return _whole(text, ours) or _one_by_one(text, ours) or _listed(text, ours) or text


def _whole(text: str, ours: frozenset[str]) -> str:
    """Return what the catalog makes of a text that is one sentence; "" where it is none of the catalog's."""
    if (found := _(text)) != text:
        return found
    if days := DAYS.fullmatch(text):
        return translation.ngettext("%(count)s day", "%(count)s days", 1 if days[1] == "1" else 2, count=days[1])
    made = [one for one in _templates(translation.language()) if one.makes(text)]
    return max(made, key=lambda one: len(one.own)).filled(text, ours) if made else ""


def _one_by_one(text: str, ours: frozenset[str]) -> str:
    """Return several sentences: the longest beginning that is one, then the rest."""
    for at in reversed([found.start() for found in islice(SENTENCE.finditer(text), AT_MOST)]):
        if begun := _whole(text[:at], ours):
            return f"{begun} {_line(text[at + 1 :], ours)}"
    return ""


def _listed(text: str, ours: frozenset[str]) -> str:
    """Return a list whose parts are all ours."""
    for sign in LISTED:
        parts = text.split(sign)
        said = [_whole(part, ours) or _listed(part, ours) for part in parts] if len(parts) > 1 else []
        if said and all(said):
            return sign.join(said)
    return ""


class Template:
    """A sentence of the catalog with places in braces, to read the values out of what it made."""

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence
        parts = PLACE.split(sentence)
        self.begins, self.ends = parts[0], parts[-1]
        self.own = "".join(parts[::2])
        self._pattern: re.Pattern[str] | None = None

    def makes(self, text: str) -> bool:
        """Tell whether the template, with whatever values, makes a text."""
        return text.startswith(self.begins) and text.endswith(self.ends) and self._match(text) is not None

    def filled(self, text: str, ours: frozenset[str]) -> str:
        """Return the template in the language of the moment, with the values of a text that it makes."""
        found = self._match(text)
        assert found is not None
        values = {name: again(value, ours=ours) if name in ours else value for name, value in found.groupdict().items()}
        said = _(self.sentence) if values.get(WITHHELD) != "" else _(self.sentence).replace(f" {{{WITHHELD}}}", "")
        return PLACE.sub(lambda place: values[place[1]], said)

    def _match(self, text: str) -> re.Match[str] | None:
        self._pattern = self._pattern or _pattern(self.sentence)
        return self._pattern.fullmatch(text)


@cache
def _templates(language: str) -> tuple[Template, ...]:
    found = (Template(sentence) for sentence in translation.sentences(language) if PLACE.search(sentence))
    return tuple(one for one in found if any(map(str.isalpha, one.own)))


def _pattern(sentence: str) -> re.Pattern[str]:
    """Return what a template makes; a value that stands twice is the same both times.

    A value ends where what follows it in the template begins for the first time, for good (`*+`): people choose values,
    and a pattern that tried every other end would take minutes for some of them.
    """
    made, at, seen = "", 0, set[str]()
    places = list(PLACE.finditer(sentence))
    for number, place in enumerate(places):
        before = re.escape(sentence[at : place.start()])
        made += f"{before.removesuffix(re.escape(' '))} ?" if place[1] == WITHHELD else before
        is_last = number == len(places) - 1
        behind = "" if is_last else sentence[place.end() : places[number + 1].start()]
        if not is_last and places[number + 1][1] == WITHHELD:
            behind = behind.removesuffix(" ")
        made += f"(?P={place[1]})" if place[1] in seen else f"(?P<{place[1]}>{_value(place[1], behind)})"
        seen.add(place[1])
        at = place.end()
    return re.compile(made + re.escape(sentence[at:]), re.DOTALL)


def _value(name: str, behind: str) -> str:
    """Return what may stand in a place. A value that is no sentence holds no end of one, so that a template does not
    take what follows it for a part of its last value.

    Args:
        behind: what the template has between this place and the next one; "" where it is the last one.
    """
    if name.endswith("_arn"):
        return r"\S+"
    if name == "email":
        return r"\S+@\S+|[^@]*\([a-z2-7]{8}\)"
    if name == WITHHELD:
        return r"\S*?|your External ID"
    if name == "of_its_own":
        return r"(?: in .*?)?"
    ends = rf"(?!{re.escape(behind)})" if behind else ""
    ends += "" if name in SENTENCES | OF_PEOPLE else r"(?![.!?…] )"
    return rf"(?:{ends}.)*{'+' if behind else ''}"
