"""A row of the conformance table: a situation, what AWS says to it, and the page or recording it rests on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.localaws.conformance.world import World

IAM = "https://docs.aws.amazon.com/IAM/latest/UserGuide/"
KMS = "https://docs.aws.amazon.com/kms/latest/developerguide/"
STS_API, IAM_API, KMS_API = (
    f"https://docs.aws.amazon.com/{name}/latest/APIReference/" for name in ("STS", "IAM", "kms")
)
# Answers recorded from AWS: tests marked as validated against it.
LOCALSTACK = "https://github.com/localstack/localstack/blob/main/tests/aws/services/"
TRAIL_API = "https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/"


@dataclass(frozen=True)
class Row:
    """`code` is empty where AWS does it; `words` has to be part of the message, `message` the whole of it."""

    name: str
    page: str
    act: Callable[[World], Any]
    code: str = ""
    status: int = 0
    words: str = ""
    message: str | None = None
    local: bool = False  # cannot be brought about from outside in real AWS
    check: Callable[[World, Any], None] | None = None


TABLE: list[Row] = []


def allowed(
    page: str, *, local: bool = False, name: str = ""
) -> Callable[[Callable[[World], Any]], Callable[[World], Any]]:
    """The call works; what the function asserts itself holds."""

    def add(act: Callable[[World], Any]) -> Callable[[World], Any]:
        TABLE.append(Row(name or act.__name__, page, act, local=local))
        return act

    return add


def refused(
    page: str,
    code: str,
    status: int,
    words: str = "",
    *,
    message: str | None = None,
    local: bool = False,
    name: str = "",
) -> Callable[[Callable[[World], Any]], Callable[[World], Any]]:
    """The last call that the function makes is refused with that code, status and message."""

    def add(act: Callable[[World], Any]) -> Callable[[World], Any]:
        TABLE.append(Row(name or act.__name__, page, act, code, status, words, message, local))
        return act

    return add
