"""Which actions a tenant lets us use on its key: the guide's five patterns, or the exact names of our calls; pure.

The exact names are all that serving needs: a branch key is made by GenerateDataKeyWithoutPlaintext and opened by
Decrypt, a probe asks DescribeKey and one of the two. Only a branch key that another key wraps has to be encrypted
anew, so kms:Encrypt is needed as long as there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from byokportal.translation import lazy

GUIDE = ("kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey")
NARROW = ("kms:Decrypt", "kms:GenerateDataKeyWithoutPlaintext", "kms:DescribeKey")
ENCRYPT = "kms:Encrypt"
NARROW_WITH_ENCRYPT = (ENCRYPT, *NARROW)
# Pattern → the actions of ours that it stands for; a name that is exact stands for itself.
MEMBERS = {
    "kms:ReEncrypt*": ("kms:ReEncryptFrom", "kms:ReEncryptTo"),
    "kms:GenerateDataKey*": ("kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext"),
}
NUMBERS = {3: lazy("three"), 4: lazy("four"), 7: lazy("seven")}


class Variant(StrEnum):
    """Which of the two a registration has."""

    GUIDE = "guide"
    NARROW = "narrow"


def of(variant: str, *, encrypts: bool = False) -> tuple[str, ...]:
    """Return what the documents of a variant allow.

    Args:
        encrypts: branch keys have to be wrapped anew by this key; the guide's five hold that already.
    """
    if variant != Variant.NARROW:
        return GUIDE
    return NARROW_WITH_ENCRYPT if encrypts else NARROW


def members(actions: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return each pattern with the actions of ours that it stands for."""
    return tuple((pattern, action) for pattern in actions for action in MEMBERS.get(pattern, (pattern,)))


def pattern_of(actions: Sequence[str], action: str) -> str:
    """Return the pattern of the documents that grants an action; the action itself where none does."""
    return next((pattern for pattern, member in members(actions) if member == action), action)


def left_out(actions: Sequence[str]) -> tuple[str, ...]:
    """Return what the guide's patterns would allow and these do not."""
    allowed = {action for _, action in members(actions)}
    return tuple(action for _, action in members(GUIDE) if action not in allowed)


def number(actions: Sequence[str]) -> str:
    """Return how many calls of ours the patterns stand for, in a word."""
    count = len(members(actions))
    return NUMBERS.get(count, str(count))
