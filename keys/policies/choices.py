"""What a tenant chooses for the documents that make its role, and how that is read from text; pure.

Limits: IAM API reference, CreateRole and Tag (path at most 512 characters, tags at most 50 with keys of 1 to 128 and
values of up to 256 characters out of letters, digits, blanks and `_.:/=+-@`); the same for tags in the KMS API
reference, Tag. https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html and API_Tag.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from byokportal.errors import InvalidInput
from byokportal.translation import translate as _
from keys.actions import Variant
from keys.arns import MAX_LENGTH, PARTITION, ROLE_PATH

PATH_LENGTH, TAGS, TAG_KEY, TAG_VALUE = 512, 50, 128, 256
# A managed policy, the customer's own or one of AWS's (IAM guide, "IAM identifiers"). Letters, digits and signs only:
# it is written into shell and Terraform texts.
BOUNDARY = re.compile(
    rf"arn:{PARTITION.pattern}:iam::(?:[0-9]{{12}}|aws):policy/[A-Za-z0-9+=,.@_/-]{{1,640}}", re.ASCII
)
SIGNS = frozenset("_.:/=+-@ ")
Tag = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Choices:
    """What the tenant chooses for its documents; each value can stand in JSON, Terraform and a shell as it is.

    Args:
        role_path: of the role, while no Role ARN is given; then that one's path counts.
        permissions_boundary: ARN of the managed policy that bounds the role; "" for none.
        tags: of the role, its policy and a key that is made.
        makes_key: the documents make the key too, with its policy, an alias and rotation.
        actions: which actions the policies allow us: the guide's five patterns, or the exact names of our calls.
    """

    role_path: str = "/"
    permissions_boundary: str = ""
    tags: tuple[Tag, ...] = ()
    makes_key: bool = False
    actions: str = Variant.GUIDE

    @classmethod
    def read(
        cls,
        *,
        role_path: str = "/",
        permissions_boundary: str = "",
        tags: Iterable[Iterable[str]] = (),
        makes_key: bool = False,
        actions: str = Variant.GUIDE,
    ) -> Self:
        """Return what a person typed, or the database holds, as choices.

        Raises:
            InvalidInput: with the reason under its field.
        """
        wrong: dict[str, list[str]] = {}
        path, boundary = role_path.strip() or "/", permissions_boundary.strip()
        if len(path) > PATH_LENGTH or not ROLE_PATH.fullmatch(path):
            wrong["role_path"] = [
                _(
                    "A role path begins and ends with a slash and has only letters, digits and +=,.@_- between, "
                    "at most %(path_length)s characters: /security/byok/",
                    path_length=PATH_LENGTH,
                )
            ]
        if boundary and (len(boundary) > MAX_LENGTH or not BOUNDARY.fullmatch(boundary)):
            wrong["permissions_boundary"] = [
                _("A permissions boundary is the ARN of a managed policy: arn:aws:iam::111122223333:policy/Boundary")
            ]
        pairs = [tuple(each) for each in tags]
        if why := _wrong_tags(pairs):
            wrong["tags"] = [why]
        if actions not in set(Variant):
            wrong["actions"] = [_("Choose guide or narrow.")]
        if wrong:
            raise InvalidInput(errors=wrong)
        return cls(path, boundary, tuple((key, value) for key, value in pairs), makes_key, Variant(actions))


def _wrong_tags(pairs: list[tuple[str, ...]]) -> str:
    """Return what is wrong with the tags, "" when nothing is."""
    if len(pairs) > TAGS:
        return _("AWS takes at most %(tags)s tags; these are %(count)s.", tags=TAGS, count=len(pairs))
    if any(len(pair) != 2 for pair in pairs):
        return _("Write each tag as key=value, one a line.")
    for key, value in pairs:
        if not 1 <= len(key) <= TAG_KEY or len(value) > TAG_VALUE or key != key.strip():
            return _(
                "A tag has a key of 1 to %(tag_key)s and a value of up to %(tag_value)s characters.",
                tag_key=TAG_KEY,
                tag_value=TAG_VALUE,
            )
        if not all(sign.isalnum() or sign in SIGNS for sign in key + value):
            return _("A tag has only letters, digits, blanks and _.:/=+-@ in it.")
        if key.lower().startswith("aws:"):
            return _("Tags that begin with aws: are AWS's own.")
    keys = [key.lower() for key, _ in pairs]
    if len(set(keys)) < len(keys):
        return _("Two tags have the same key; AWS tells no capital letters apart there.")
    return ""


def tags_of_text(text: str) -> list[tuple[str, ...]]:
    """Return the tags of a text with one `key=value` a line; what is none is left for `Choices.read` to refuse."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [tuple(part.strip() for part in line.split("=", 1)) for line in lines]


def text_of_tags(tags: Iterable[Iterable[str]]) -> str:
    """Return tags as `tags_of_text` reads them."""
    return "\n".join("=".join(pair) for pair in tags)


DEFAULT = Choices()
