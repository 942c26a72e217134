"""What the documents that hold several policies are filled in with; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keys.access import Access
from keys.policies import guide
from keys.policies.choices import DEFAULT, Choices
from keys.policies.guide import ALONE, Beside, Document

ALIAS = "alias/AIforWorkByok"
KEY_DESCRIPTION = "Kore.ai BYOK"
PENDING_DAYS = 30  # the longest that KMS waits before it deletes a key (KMS API reference, ScheduleKeyDeletion)


@dataclass(frozen=True, slots=True)
class Values:
    """What the documents that hold several policies are filled in with.

    Args:
        access: with the key, unless the documents make it; the role that they make is the one that was given.
        beside: what they name too while one registration replaces another.
        choices: the tenant's own.
    """

    access: Access
    beside: Beside = ALONE
    choices: Choices = DEFAULT

    @property
    def makes_key(self) -> bool:
        return self.choices.makes_key

    @property
    def role_name(self) -> str:
        return self.access.role.name if self.access.role else guide.ROLE_NAME

    @property
    def role_path(self) -> str:
        return self.access.role.path if self.access.role else self.choices.role_path

    @property
    def role_arn(self) -> str:
        """The ARN that the role will have; "" where only AWS knows the account."""
        if self.access.role:
            return str(self.access.role)
        if self.access.key is None:
            return ""
        return f"arn:{self.access.key.partition}:iam::{self.access.key.account}:role{self.role_path}{self.role_name}"

    @property
    def policy_name(self) -> str:
        """Return the guide's name, or one of its own for a role of another name:
        the guide's may be attached to the role that serves."""
        default = guide.POLICY_NAME
        return default if self.role_name == guide.ROLE_NAME else f"{default}-{self.role_name}"

    @property
    def trust(self) -> Document:
        return guide.trust_policy(str(self.access.service_role), self.access.external_id)

    def permissions(self, key: Any) -> Document:
        return guide.permissions_policy(key, self.beside.keys, self.access.actions)

    def statement(self, role: Any) -> Document:
        return guide.key_policy_statement(role, self.beside.roles, self.access.actions)

    @property
    def keeps(self) -> str:
        """Return a warning where the same key has to go on letting another role in, "" otherwise."""
        if not self.beside.roles:
            return ""
        return (
            f"Keep {' and '.join(self.beside.roles)} until the move to the new role is over and no backup needs the "
            "old one: make this beside it, not in its place."
        )
