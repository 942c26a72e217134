"""The Role ARN and the CMK ARN in what a deployment printed; pure.

Taken are the outputs of a stack (`aws cloudformation describe-stacks`, also by `--query`, or copied from the console),
`terraform output` with and without `-json`, the line that our script prints, and ARNs that stand alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from byokportal import secret_texts
from byokportal.errors import InvalidInput, SecretPasted
from byokportal.translation import translate as _
from keys.arns import SECRETS, KeyArn, RoleArn
from keys.errors import ArnRefused
from keys.proof.pasted import json_document

MAX_TEXT = 65_536  # characters
FIELD = "outputs"
ROLE = re.compile(r"arn:aws[a-z-]{0,12}:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]{1,576}", re.ASCII)
KEY = re.compile(r"arn:aws[a-z-]{0,12}:kms:[a-z0-9-]{1,30}:[0-9]{12}:key/[A-Za-z0-9-]{1,64}", re.ASCII)
LINE = re.compile(r"^[ \t]*([A-Za-z_][A-Za-z0-9_]{0,80})[ \t]*[=\t:][ \t]*\"?(arn:[^\s\"]+)", re.MULTILINE | re.ASCII)
Arn = TypeVar("Arn", RoleArn, KeyArn)


@dataclass(frozen=True, slots=True)
class Arns:
    """What was found; None is an ARN that does not stand there."""

    role: RoleArn | None
    key: KeyArn | None


def read(text: str, *, service_role: RoleArn) -> Arns:
    """Find both ARNs, or the one that is there.

    Args:
        text: as it was printed or copied.
        service_role: ours, which a stack lists among its parameters.

    Raises:
        SecretPasted: a secret stands in it.
        InvalidInput: there is no ARN in it, or more than one of a kind that could be meant.
    """
    if len(text) > MAX_TEXT:
        _refuse(_("This has %(text)s characters. Paste the outputs alone.", text=f"{len(text):,}"))
    secret = secret_texts.found_in(text) or next((what for pattern, what in SECRETS[:2] if pattern.search(text)), "")
    if secret:
        why = _(
            "This holds %(secret)s. We did not keep it. It was sent to us, so rotate it now, then paste "
            "the outputs alone.",
            secret=secret,
        )
        raise SecretPasted(why=why, errors={FIELD: [why]})
    value = json_document.parse(text).value
    named = list(_named(value)) if isinstance(value, dict | list) else list(_lines(text))
    if isinstance(value, dict) and ("Stacks" in value or "Outputs" in value):
        text = "\n".join(each for _, each in named)  # a stack names other roles too, such as CloudFormation's own
    role = _one(RoleArn, _of(named, "rolearn") or _anywhere(ROLE, text), "role", without=str(service_role))
    key = _one(KeyArn, _of(named, "keyarn") or _anywhere(KEY, text), "key")
    if role is None and key is None:
        _refuse(
            _(
                "There is no Role ARN and no CMK ARN in this. Paste the outputs of the stack, what terraform "
                "output -json prints, or the Role ARN alone."
            )
        )
    return Arns(role, key)


def _named(value: Any, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yield name and text of each output: {"OutputKey": …, "OutputValue": …}, {name: {"value": …}} or {name: text}."""
    if depth > 6:
        return
    if isinstance(value, list):
        for each in value:
            yield from _named(each, depth + 1)
    if not isinstance(value, dict):
        return
    if isinstance(value.get("OutputKey"), str) and isinstance(value.get("OutputValue"), str):
        yield value["OutputKey"], value["OutputValue"]
        return
    if isinstance(value.get("Outputs"), list):
        yield from _named(value["Outputs"], depth + 1)
        return
    for name, each in value.items():
        inner = each.get("value") if isinstance(each, dict) else each
        if isinstance(inner, str):
            yield name, inner
        else:
            yield from _named(each, depth + 1)


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and text of the lines `name = "text"` and `name<tab>text`."""
    for found in re.finditer(
        r"^[ \t]*([A-Za-z_][A-Za-z0-9_]{0,80})[ \t]*[=\t:][ \t]*\"?(arn:[^\s\"]+)", text, re.MULTILINE
    ):
        yield found[1], found[2]


def _of(named: list[tuple[str, str]], ending: str) -> list[str]:
    return [value for name, value in named if re.sub(r"[^a-z]", "", name.lower()).endswith(ending)]


def _anywhere(pattern: re.Pattern[str], text: str) -> list[str]:
    """Return the ARNs anywhere in a text, without the comma or full stop of a sentence at their end."""
    if pattern.fullmatch(text.strip()):
        return [text.strip()]
    return [found.rstrip(",.") for found in pattern.findall(text)]


def _one(kind: type[Arn], texts: list[str], what: str, *, without: str = "") -> Arn | None:
    """Return the one ARN among the texts, None where there is none.

    Raises:
        InvalidInput: there are several, or it cannot be one.
    """
    distinct = [text for text in dict.fromkeys(each.strip() for each in texts) if text and text != without]
    if len(distinct) > 1:
        shown = " and ".join(distinct[:2])
        _refuse(
            _("More than one role stands in this: %(shown)s. Paste the one that is for us, alone.", shown=shown)
            if what == "role"
            else _("More than one key stands in this: %(shown)s. Paste the one that is for us, alone.", shown=shown)
        )
    try:
        return kind.parse(distinct[0]) if distinct else None
    except ArnRefused as error:
        why = [sentence for sentences in error.errors.values() for sentence in sentences]
        raise InvalidInput(
            errors={
                FIELD: [
                    _("About the role: %(sentence)s", sentence=sentence)
                    if what == "role"
                    else _("About the key: %(sentence)s", sentence=sentence)
                    for sentence in why
                ]
            }
        ) from None


def _refuse(why: str) -> NoReturn:
    raise InvalidInput(errors={FIELD: [why]})
