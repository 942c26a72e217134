"""What a mistake is: what it changes, in which step, and what the documents are filled in with; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Policy = dict[str, Any]
OTHER_KEY = "00000000-0000-4000-8000-000000000000"
STALE = "AROAQQQQQQQQQQQQQQQQQ"  # what IAM shows of a role that was deleted
# What a mistake changes: the key, its state, the ARN that is given for it; the trust policy, the permissions
# policy, what else is attached to the role, the ARN that is given for it; our statement in the key policy, the
# whole key policy.
On = Literal["key", "key-state", "key-arn", "trust", "permissions", "role", "role-arn", "statement", "key-policy"]


@dataclass(frozen=True, slots=True)
class Values:
    """What the documents of one customer are filled in with."""

    account: str
    service_role_arn: str
    external_id: str
    key_arn: str = ""
    role_arn: str = ""

    @property
    def our_account(self) -> str:
        return self.service_role_arn.split(":")[4]


@dataclass(frozen=True, slots=True)
class Mistake:
    """One misconfiguration.

    Args:
        change: of a document, done in place; of an ARN, which it returns.
        options: of a key, for CreateKey; of a key's or a role's state, by the words that `engineer` knows.
        across: it shows only where role and key are in different accounts. In one account the key policy alone decides.
    """

    step: int
    words: str
    on: On
    change: Callable[[Any, Values], Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    across: bool = False


def short(action: str) -> str:
    """Return the name of an action pattern in the name of a mistake."""
    return action.removeprefix("kms:").rstrip("*")
