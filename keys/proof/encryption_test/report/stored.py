"""A sentence that a row keeps in English, made again in the language of whoever reads it; pure.

Rows, the API and tickets keep finished English sentences. Each was made of a template with named places: where a
catalog has that template in another language, the values are read out of the sentence and put into it. A sentence that
no template makes (of an earlier release) stays English.
"""

from __future__ import annotations

import re
from functools import cache

from byokportal.translation import translate as _
from keys import errors
from keys.proof.encryption_test import CHECKS, remedies
from keys.proof.encryption_test.checks import hygiene, role

PLACE = re.compile(r"\{(\w+)\}")
WITH_PLACES = (
    hygiene.FROM_ELSEWHERE,
    hygiene.NOT_ROTATED,
    hygiene.ROTATION_UNSEEN,
    hygiene.ACROSS_ACCOUNTS,
    hygiene.MAY_GRANT,
    hygiene.ANSWERS_US,
    role.LETS_THE_ACCOUNT_IN,
    remedies.OF_ITS_OWN,
)
# What may follow a remedy.
BESIDES = re.compile(r"(?P<text>.*) (?P<besides>If a Deny there covers .*)", re.DOTALL)


def again(text: str) -> str:
    """Return a sentence of a row in the language of the moment; the very sentence in English."""
    if not text or _(PROBE) == PROBE:
        return text
    found = _(text)
    if found != text:
        return found
    if (both := BESIDES.fullmatch(text)) and (besides := _filled((remedies.BESIDES,), both["besides"])):
        return f"{again(both['text'])} {besides}"
    for sentences in _templates():
        if filled := _filled(sentences, text):
            return filled
    return text


PROBE = remedies.SPARE  # a sentence that is in every catalog


@cache
def _templates() -> tuple[tuple[str, ...], ...]:
    own = [(check.remedy,) for check in CHECKS if check.remedy and check.remedy not in remedies.REMEDIES.values()]
    return (*remedies.SENTENCES.values(), *own, *((each,) for each in WITH_PLACES), (errors.RoleArnTaken.detail,))


@cache
def _pattern(sentences: tuple[str, ...]) -> re.Pattern[str]:
    """Return what the sentences make, with whatever values; a value that stands twice is the same both times."""
    template, made, at, seen = " ".join(sentences), "", 0, set[str]()
    for place in PLACE.finditer(template):
        made += re.escape(template[at : place.start()])
        made += f"(?P={place[1]})" if place[1] in seen else f"(?P<{place[1]}>{_value(place[1])})"
        seen.add(place[1])
        at = place.end()
    return re.compile(made + re.escape(template[at:]), re.DOTALL)


def _value(name: str) -> str:
    """Return what may stand in a place: an ARN ends at a blank, so that what may follow it is not taken for its end."""
    return r"\S+" if name.endswith("_arn") else r"(?: in .*?)?" if name == "of_its_own" else r".*?"


def _filled(sentences: tuple[str, ...], text: str) -> str:
    """Return the sentences in the language of the moment with the values of a text; "" where they do not make it."""
    found = _pattern(sentences).fullmatch(text)
    if found is None:
        return ""
    values = {name: again(value) if name == "of_its_own" else value for name, value in found.groupdict().items()}
    return " ".join(_(sentence).format_map(values) for sentence in sentences)
